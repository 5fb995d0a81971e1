# SPDX-License-Identifier: MIT
"""First values of weights: distributions, one sequence a seed, the same in pieces."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from oracles import random_words as oracle

import mpsnn as mps
from mpsnn import initializers
from mpsnn.initializers import RandomNumbers

SHAPE = (64, 3, 3, 32)
FAN_IN, FAN_OUT = 9 * 32, 9 * 64
BOTH = FAN_IN + FAN_OUT
COUNT = math.prod(SHAPE)
Initializer = Callable[..., NDArray[np.float32]]


@pytest.mark.parametrize(
    ("function", "deviation", "bound"),
    [
        (initializers.uniform, math.sqrt(1 / 12), 1.0),
        (initializers.normal, 1.0, 5.3),
        (initializers.truncated_normal, 0.8796, 2.0),
        (initializers.he_normal, math.sqrt(2 / FAN_IN), 5.3 * math.sqrt(2 / FAN_IN)),
        (initializers.he_uniform, math.sqrt(2 / FAN_IN), math.sqrt(6 / FAN_IN)),
        (initializers.glorot_normal, math.sqrt(2 / BOTH), 5.3 * math.sqrt(2 / BOTH)),
        (initializers.glorot_uniform, math.sqrt(2 / BOTH), math.sqrt(6 / BOTH)),
    ],
)
def test_values(device: mps.Device, function: Initializer, deviation: float, bound: float) -> None:
    weights = function(SHAPE, RandomNumbers(3, device))
    assert weights.shape == SHAPE
    assert weights.dtype == np.float32
    assert abs(weights.std() / deviation - 1) < 5 / math.sqrt(2 * COUNT)
    mean = 0.5 if function is initializers.uniform else 0.0
    assert abs(weights.mean() - mean) < 4 * deviation / math.sqrt(COUNT)
    assert np.abs(weights).max() <= bound


def test_normal_values_are_those_of_the_sequence(device: mps.Device) -> None:
    numbers = RandomNumbers(2**40 + 1, device)
    first = initializers.normal((5, 7), numbers, 1.0, 2.0)
    second = initializers.uniform((11,), numbers, -1.0, 1.0)
    words: NDArray[Any] = oracle.philox_words(2**40 + 1, 0, 46)
    assert np.allclose(first.ravel(), oracle.normal(words[:35], 1, 2), atol=1e-5)
    assert np.allclose(second, oracle.uniform(words[35:], -1, 1), atol=1e-7)
    assert numbers.position == 46


@pytest.mark.parametrize("shape", [(24, 3, 3, 8), (8, 2), (5, 5), (2, 8)])
def test_orthogonal(device: mps.Device, shape: tuple[int, ...]) -> None:
    matrix = initializers.orthogonal(shape, RandomNumbers(1, device), 2.0).reshape(shape[0], -1)
    rows, columns = matrix.shape
    product = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
    assert np.allclose(product, 4 * np.eye(min(rows, columns)), atol=1e-5)


def test_bad_seed(device: mps.Device) -> None:
    with pytest.raises(ValueError, match="MatrixRandomPhilox: seed: expected"):
        RandomNumbers(-1, device)
