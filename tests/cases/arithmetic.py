# SPDX-License-Identifier: MIT
"""Addition and subtraction: scales, bias, clamping, broadcasting."""

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
]
PARAMETERS = [
    {"primary_scale": 2.0},
    {"secondary_scale": -0.5},
    {"primary_scale": 0.5, "secondary_scale": 3.0, "bias": 1.25},
    {"bias": -2.0, "minimum_value": -1.0, "maximum_value": 2.5},
    {"primary_scale": 0.0, "secondary_scale": 1.0},
]

NODES = ("AdditionNode", "SubtractionNode")

ALL = {"primary_scale": 2.0, "secondary_scale": -0.5, "bias": 1.0}

CASES = [
    Case(node, pair, parameters)
    for node in ("AdditionNode", "SubtractionNode")
    for pair, parameters in [
        *(((size, size), {}) for size in [(1, 1, 1, 1), (1, 1, 7, 3), (3, 5, 4, 5), (2, 8, 8, 16)]),
        *((pair, {}) for pair in BROADCAST),
        *(((SAME, SAME), parameters) for parameters in PARAMETERS),
        *((pair, ALL) for pair in BROADCAST[3:]),
    ]
]
