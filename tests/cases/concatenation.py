# SPDX-License-Identifier: MIT
"""Concatenation of one to five images along the channels."""

from __future__ import annotations

from cases import Case

CHANNELS = [(1,), (1, 1), (2, 2), (3, 1), (1, 4), (4, 4, 4), (5, 8, 3), (16, 1, 3, 2, 5)]

CASES = [
    Case("ConcatenationNode", tuple((n, h, w, channels) for channels in case))
    for case in CHANNELS
    for n, h, w in [(1, 1, 1), (1, 3, 4), (3, 5, 2)]
]
