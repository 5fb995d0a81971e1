# SPDX-License-Identifier: MIT
"""Image captioning: a feature net, an LSTM, and a search whose end the device decides.

`scenes` draws what the demo trains on, `words` are numbers, `model` holds both nets, `step` one
training step, `train` the run, `decoder` and `search` the words of a picture, `apply` the finished
captioner, `pictures` the files, `cli` the command `mpsnn caption`.
"""

from mpsnn.apps.caption.apply import Caption, Captioner
from mpsnn.apps.caption.model import ModelOptions
from mpsnn.apps.caption.scenes import Captioned, render
from mpsnn.apps.caption.train import TrainOptions, train
from mpsnn.apps.caption.words import Vocabulary

__all__ = [
    "Caption",
    "Captioned",
    "Captioner",
    "ModelOptions",
    "TrainOptions",
    "Vocabulary",
    "render",
    "train",
]
