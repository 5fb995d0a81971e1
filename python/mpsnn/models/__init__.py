# SPDX-License-Identifier: MIT
"""Well-known nets, built from nodes."""

from mpsnn.models.resnet import OptimizerFactory, ResNet, resnet, resnet50

__all__ = ["OptimizerFactory", "ResNet", "resnet", "resnet50"]
