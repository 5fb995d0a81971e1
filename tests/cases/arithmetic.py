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

CASES = (
    [
        Case(node, (size, size))
        for node in NODES
        for size in [(1, 1, 1, 1), (1, 1, 7, 3), (3, 5, 4, 5), (2, 8, 8, 16)]
    ]
    + [Case(node, pair) for node in NODES for pair in BROADCAST]
    + [Case(node, (SAME, SAME), parameters) for node in NODES for parameters in PARAMETERS]
    + [
        Case(node, pair, {"primary_scale": 2.0, "secondary_scale": -0.5, "bias": 1.0})
        for node in NODES
        for pair in BROADCAST[3:]
    ]
)
