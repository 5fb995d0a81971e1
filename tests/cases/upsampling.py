# SPDX-License-Identifier: MIT
"""Nearest and bilinear upsampling."""

from __future__ import annotations

from cases import Case, Size

SIZES: list[Size] = [(1, 1, 1, 1), (1, 1, 4, 3), (1, 5, 1, 5), (3, 3, 7, 8), (2, 8, 6, 16)]
FACTORS = [(1, 1), (2, 2), (4, 2), (3, 3), (1, 5)]


def _factors(y: int, x: int) -> dict[str, int]:
    return {"integer_scale_factor_x": x, "integer_scale_factor_y": y}


def _is_power_of_two(*values: int) -> bool:
    return all(value & (value - 1) == 0 for value in values)


CASES = (
    [Case("UpsamplingNearestNode", (size,), _factors(y, x)) for size in SIZES for y, x in FACTORS]
    + [Case("UpsamplingNearestNode", ((1, 2, 3, 2),), {"integer_scale_factor_x": 3})]
    + [
        Case("UpsamplingBilinearNode", (size,), _factors(y, x), exact=_is_power_of_two(y, x))
        for size in SIZES
        for y, x in FACTORS
    ]
    + [
        Case(
            "UpsamplingBilinearNode",
            (size,),
            _factors(y, x) | {"align_corners": True},
            exact=(y, x) == (1, 1),
        )
        for size in SIZES
        for y, x in FACTORS
    ]
)
