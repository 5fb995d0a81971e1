# SPDX-License-Identifier: MIT
"""Well-known nets, built from nodes."""

from mpsnn.models.inception import InceptionV3, inception_v3
from mpsnn.models.layers import Net, OptimizerFactory
from mpsnn.models.resnet import ResNet, resnet, resnet50
from mpsnn.models.state_dict import load_state_dict, state_dict
from mpsnn.models.vgg import VGG, vgg16, vgg19

__all__ = [
    "VGG",
    "InceptionV3",
    "Net",
    "OptimizerFactory",
    "ResNet",
    "inception_v3",
    "load_state_dict",
    "resnet",
    "resnet50",
    "state_dict",
    "vgg16",
    "vgg19",
]
