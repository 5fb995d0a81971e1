# SPDX-License-Identifier: MIT
"""A generative adversarial network that draws handwritten digits.

`model` holds the two nets and their training graphs, `data` the digits, `train` the run, `average`
the weights that draw, `quality` the classifier that judges samples, `apply` the finished generator,
`cli` the command `mpsnn gan`.
"""

from mpsnn.apps.gan.apply import Generator
from mpsnn.apps.gan.data import Digits, bundled, mnist
from mpsnn.apps.gan.model import ModelOptions, Nets
from mpsnn.apps.gan.quality import Classifier, Quality
from mpsnn.apps.gan.train import TrainOptions, train

__all__ = [
    "Classifier",
    "Digits",
    "Generator",
    "ModelOptions",
    "Nets",
    "Quality",
    "TrainOptions",
    "bundled",
    "mnist",
    "train",
]
