# SPDX-License-Identifier: MIT
"""A denoiser for ray-traced images: rendered, trained, archived, restored and applied.

`model` holds the net and its training graph, `scenes`, `render` and `dataset` the pictures, `train`
the run, `apply` the finished net, `cli` the command `mpsnn denoise`.
"""

from mpsnn.apps.denoise.apply import Denoiser
from mpsnn.apps.denoise.dataset import DataSet, load_folder
from mpsnn.apps.denoise.model import ModelOptions, build_inference, build_training
from mpsnn.apps.denoise.train import TrainOptions, train

__all__ = [
    "DataSet",
    "Denoiser",
    "ModelOptions",
    "TrainOptions",
    "build_inference",
    "build_training",
    "load_folder",
    "train",
]
