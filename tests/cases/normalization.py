# SPDX-License-Identifier: MIT
"""Normalisation: sizes, epsilon, flags."""

from __future__ import annotations

from cases import Case, Normalization, Size

SIZES: list[Size] = [
    (1, 1, 1, 1),
    (1, 1, 1, 7),
    (3, 1, 1, 5),
    (1, 5, 7, 3),
    (2, 6, 5, 4),
    (3, 9, 8, 10),
    (2, 16, 16, 16),
    (2, 7, 5, 130),
]
AUTOMATIC, ALWAYS, NEVER = 0, 1, 2


def case(
    node: str, size: Size, *, epsilon: float | None = None, momentum: float = 0.9, **attributes: int
) -> Case:
    """A normalisation."""
    return Case(
        node,
        (size,),
        attributes,
        exact=False,
        normalization=Normalization(epsilon, momentum),
    )


BATCH = (
    [case("BatchNormalizationNode", size, epsilon=1e-3) for size in SIZES]
    + [case("BatchNormalizationNode", size) for size in SIZES[3:5]]
    + [
        case("BatchNormalizationNode", size, epsilon=0.25, flags=flags)
        for size in (SIZES[2], SIZES[4], SIZES[7])
        for flags in (ALWAYS, NEVER)
    ]
    + [case("BatchNormalizationNode", (1, 1, 1, 6))]
)

CASES = BATCH
