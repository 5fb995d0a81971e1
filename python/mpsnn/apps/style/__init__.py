# SPDX-License-Identifier: MIT
"""Style transfer: one pass of a trained net paints a photograph in the style of a picture.

`features` holds the net that the losses look through, `model` the transformer net and its training
graph, `photographs` what is trained on, `train` the run, `apply` the finished net, `cli` the
command `mpsnn style`.
"""

from mpsnn.apps.style.apply import Styliser
from mpsnn.apps.style.features import FeatureNet
from mpsnn.apps.style.model import LossOptions, ModelOptions, Transformer
from mpsnn.apps.style.train import TrainOptions, train

__all__ = [
    "FeatureNet",
    "LossOptions",
    "ModelOptions",
    "Styliser",
    "TrainOptions",
    "Transformer",
    "train",
]
