# SPDX-License-Identifier: MIT
"""Arithmetic of two images: scales, bias, clamping, broadcasting."""

from __future__ import annotations

from cases import Case, Size

SAME: Size = (3, 5, 4, 6)
BROADCAST: list[tuple[Size, Size]] = [
    (SAME, (1, 5, 4, 6)),
    (SAME, (3, 1, 4, 6)),
    (SAME, (3, 5, 1, 6)),
    (SAME, (3, 5, 4, 1)),
    (SAME, (1, 1, 1, 1)),
    ((1, 1, 1, 6), SAME),
    ((3, 1, 1, 1), SAME),
    ((3, 5, 1, 1), (1, 1, 4, 6)),
    # As many columns, or rows, as channels: what is broadcast cannot be told by its count.
    ((1, 3, 4, 4), (1, 1, 4, 1)),
    ((1, 4, 3, 4), (1, 4, 1, 1)),
]
PARAMETERS = [
    {"primary_scale": 2.0},
    {"secondary_scale": -0.5},
    {"primary_scale": 0.5, "secondary_scale": 3.0, "bias": 1.25},
    {"bias": -2.0, "minimum_value": -1.0, "maximum_value": 2.5},
    {"primary_scale": 0.0, "secondary_scale": 1.0},
]

ALL = {"primary_scale": 2.0, "secondary_scale": -0.5, "bias": 1.0}

SIZES: list[Size] = [(1, 1, 1, 1), (1, 1, 7, 3), (3, 5, 4, 5), (2, 8, 8, 16)]
# Quotients and what is added to them are rounded.
DIVISION = {"exact": False, "ranges": ("nonzero", "nonzero")}

SCALED = [
    Case(node, pair, parameters, **(DIVISION if node == "DivisionNode" else {}))
    for node in ("AdditionNode", "SubtractionNode", "MultiplicationNode", "DivisionNode")
    for pair, parameters in [
        *(((size, size), {}) for size in SIZES),
        *((pair, {}) for pair in BROADCAST),
        *(((SAME, SAME), parameters) for parameters in PARAMETERS),
        *((pair, ALL) for pair in BROADCAST[3:]),
    ]
]

EQUAL, NOT_EQUAL, LESS, LESS_OR_EQUAL, GREATER, GREATER_OR_EQUAL = range(6)

COMPARISON = [
    Case("ComparisonNode", pair, parameters, differentiable=False)
    for pair, parameters in [
        *(((size, size), {}) for size in SIZES),
        *(((SAME, SAME), {"comparison_type": kind}) for kind in range(1, 6)),
        *(((SAME, SAME), {"comparison_type": kind, "threshold": 1.0}) for kind in range(6)),
        *((pair, {"comparison_type": kind % 6}) for kind, pair in enumerate(BROADCAST)),
    ]
]
CASES = [*SCALED, *COMPARISON]
