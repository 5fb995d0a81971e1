# SPDX-License-Identifier: MIT
"""Random numbers: destinations, seeds and distributions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from math import inf
from typing import Any

from mpsnn import DataType, MatrixRandomDistribution

UINT32, FLOAT32, FLOAT16 = DataType.UINT32, DataType.FLOAT32, DataType.FLOAT16
UNIFORM, NORMAL = MatrixRandomDistribution.UNIFORM, MatrixRandomDistribution.NORMAL


@dataclass(frozen=True)
class RandomCase:
    """A destination and the kernel that fills it."""

    id: str
    kernel: str
    shape: tuple[int, ...]  # (matrices, rows, columns) or (vectors, length)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    gap: int = 0  # elements left free after each row, or vector
    offset: int = 0  # elements before the first
    method: str = "encode"


def _table(kernel: str) -> list[RandomCase]:
    name = kernel.removeprefix("MatrixRandom").lower()
    float32 = {"data_type": FLOAT32}
    float16 = {"data_type": FLOAT16}

    def case(
        label: str, shape: tuple[int, ...], gap: int = 0, offset: int = 0, **attributes: object
    ) -> RandomCase:
        return RandomCase(f"{name}-{label}", kernel, shape, attributes, gap, offset)

    uniform = {"distribution_type": UNIFORM, "minimum": -2.0, "maximum": 3.0}
    normal = {
        "distribution_type": NORMAL,
        "minimum": -inf,
        "maximum": inf,
        "mean": 2.0,
        "standard_deviation": 3.0,
    }
    truncated = {**normal, "minimum": 1.0, "maximum": 6.5}
    return [
        case("one", (1, 1)),
        case("vector", (1, 1027), seed=1),
        case("matrix", (1, 33, 65), seed=2),
        case("columns of one", (1, 300, 1), gap=3, seed=2**64 - 1),
        case("strided", (2, 17, 61), gap=5, offset=3, seed=2**63),
        case("batches", (5, 7, 9), gap=1, seed=3, batch_start=1, batch_size=3),
        case("vectors", (4, 1000), gap=8, offset=1, seed=2**32 + 5, batch_start=2, batch_size=2),
        case("[0, 1)", (1, 40, 41), seed=4, **float32),
        case("[0, 1) of float16", (1, 40, 41), gap=3, seed=4, **float16),
        case("uniform", (1, 60, 70), gap=2, seed=5, **float32, **uniform),
        case("uniform of float16", (2, 1000), gap=1, seed=6, **float16, **uniform),
        case("normal", (1, 90, 100), seed=7, **float32, **normal),
        case("normal of float16", (1, 2100), seed=8, **float16, **normal),
        case("truncated", (1, 50, 60), gap=4, seed=9, **float32, **truncated),
        case("truncated of float16", (1, 50, 60), seed=9, **float16, **truncated),
        case("upper tail", (1, 900), seed=10, **float32, **{**normal, "minimum": 14.0}),
        case("lower tail", (1, 900), seed=11, **float32, **{**normal, "maximum": -22.0}),
    ]


KERNEL_CASES = [*_table("MatrixRandomPhilox"), *_table("MatrixRandomMTGP32")]
# Bounds where rounding would leave them, and sums that overflow.
BOUNDS = [
    (data_type, minimum, maximum)
    for data_type, (minimum, maximum) in product(
        (FLOAT32, FLOAT16),
        ((0.0, 1.0), (-1.0, -0.5), (1.0, 1.001), (1000.0, 1001.0), (-0.3, 0.7), (0.0, 6e-8)),
    )
] + [(FLOAT32, -3.4e38, 3.4e38), (FLOAT32, 1.0, 1.0000002), (FLOAT32, 0.0, 2e-45)]
