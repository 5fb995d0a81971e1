# SPDX-License-Identifier: MIT
"""A generative adversarial network for handwritten digits.

`digits` reads what is trained on, `model` holds the two nets and their training graphs, `train` the
run, whose random numbers are made on the device, `apply` the finished generator, `classifier` the
judge, `cli` the command `mpsnn gan`.
"""

from mpsnn.apps.gan.apply import Sampler
from mpsnn.apps.gan.classifier import Classifier, Quality
from mpsnn.apps.gan.digits import Digits, bundled, mnist
from mpsnn.apps.gan.model import Discriminator, Generator, ModelOptions
from mpsnn.apps.gan.train import TrainOptions, train

__all__ = [
    "Classifier",
    "Digits",
    "Discriminator",
    "Generator",
    "ModelOptions",
    "Quality",
    "Sampler",
    "TrainOptions",
    "bundled",
    "mnist",
    "train",
]
