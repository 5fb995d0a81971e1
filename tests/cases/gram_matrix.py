# SPDX-License-Identifier: MIT
"""Gram matrices: channel counts around a register's width, few and many pixels."""

from __future__ import annotations

from cases import Case

CASES = [
    Case("GramMatrixCalculationNode", (size,))
    for size in [
        (1, 1, 1, 1),
        (2, 3, 5, 3),
        (1, 20, 17, 16),
        (3, 7, 5, 37),
        (1, 2, 2, 130),
        (2, 33, 31, 4),
    ]
] + [
    Case("GramMatrixCalculationNode", (size,), {"alpha": alpha})
    for size, alpha in [((2, 4, 4, 5), 0.0625), ((1, 3, 3, 20), -2.0)]
]
