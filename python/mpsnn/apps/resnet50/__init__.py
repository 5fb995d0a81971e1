# SPDX-License-Identifier: MIT
"""Training of ResNet-50 on pictures of 32 x 32 pixels, and how fast four ways of encoding are.

Example:
    >>> from mpsnn.apps.resnet50.images import synthetic
    >>> pictures = synthetic(100, seed=1)
    >>> pictures.images.shape, pictures.labels.shape
    ((100, 32, 32, 3), (100,))
"""
