# SPDX-License-Identifier: MIT
"""Losses: types, reductions, weight, weights image; and where gradients start."""

from __future__ import annotations

from cases import ABSOLUTE, MEAN, NONE, SQUARED, SUM, Case, Size

SIZES: list[Size] = [(1, 1, 1, 1), (1, 4, 8, 1), (3, 5, 7, 3), (2, 8, 4, 16)]


def case(size: Size, *, weighted: bool = False, **attributes: float) -> Case:
    """A loss; MEAN is exact only where the count is a power of two."""
    count = size[1] * size[2] * size[3]
    exact = attributes.get("reduction_type", MEAN) != MEAN or count & (count - 1) == 0
    return Case("ForwardLossNode", (size,) * (3 if weighted else 2), attributes, exact=exact)


LOSSES = (
    [
        case(size, loss_type=loss_type, reduction_type=reduction, weighted=weighted)
        for size in SIZES
        for loss_type in (ABSOLUTE, SQUARED)
        for reduction in (NONE, SUM, MEAN)
        for weighted in (False, True)
    ]
    + [
        case(
            (3, 5, 7, 3),
            loss_type=loss_type,
            reduction_type=reduction,
            weight=weight,
            weighted=weighted,
        )
        for loss_type in (ABSOLUTE, SQUARED)
        for reduction in (NONE, SUM)
        for weight, weighted in [(0.25, False), (-2.0, True)]
    ]
    + [case((1, 4, 8, 1), loss_type=SQUARED)]
)

STARTS = [
    Case("InitialGradientNode", (size,), differentiable=False)
    for size in [(1, 1, 1, 1), (3, 5, 7, 3)]
]

CASES = LOSSES + STARTS
