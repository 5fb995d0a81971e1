# SPDX-License-Identifier: MIT
"""Softmax: channel counts around a register's width, one channel, many pixels."""

from __future__ import annotations

from cases import Case, Size

SIZES: list[Size] = [
    (1, 1, 1, 1),
    (2, 3, 5, 1),
    (1, 1, 1, 10),
    (4, 1, 1, 1000),
    (3, 5, 7, 3),
    (2, 4, 6, 16),
    (1, 9, 5, 37),
]

CASES = [
    Case(node, (size,), exact=False) for node in ("SoftMaxNode", "LogSoftMaxNode") for size in SIZES
]
