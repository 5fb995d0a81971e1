# SPDX-License-Identifier: MIT
"""First values for weights, drawn from a given random generator so that a seed fixes a run."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def he_normal(
    shape: tuple[int, int, int, int], generator: np.random.Generator
) -> NDArray[np.float32]:
    """Normal values that keep the variance of activations through ReLUs (He et al. 2015).

    Args:
        shape: OHWI: output channels, kernel height, kernel width, input channels of a group.
        generator: Where the numbers come from.

    Returns:
        Weights of mean 0 and variance 2 / (height · width · input channels).
    """
    fan_in = math.prod(shape[1:])
    values: NDArray[np.float32] = generator.standard_normal(shape, dtype=np.float32)
    values *= np.float32(math.sqrt(2.0 / fan_in))
    return values
