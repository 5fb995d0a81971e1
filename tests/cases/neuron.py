# SPDX-License-Identifier: MIT
"""Neurons of the ReLU family."""

from __future__ import annotations

from cases import Case, Size

SIZES: list[Size] = [(1, 1, 1, 1), (1, 3, 5, 3), (3, 7, 4, 5), (2, 8, 8, 16)]

CASES = (
    [Case("NeuronReLUNode", (size,)) for size in SIZES]
    + [Case("NeuronReLUNode", (size,), {"a": a}) for size in SIZES[1:3] for a in (0.25, -0.5, 1.0)]
    + [Case("NeuronReLUNNode", (size,)) for size in SIZES]
    + [
        Case("NeuronReLUNNode", (size,), {"a": a, "b": b})
        for size in SIZES[1:3]
        for a, b in [(0.0, 6.0), (0.25, 1.5), (-0.5, 2.0)]
    ]
    + [
        Case(
            "NeuronPReLUNode", (size,), {"a": [0.25 * channel - 0.5 for channel in range(size[3])]}
        )
        for size in SIZES
    ]
)
