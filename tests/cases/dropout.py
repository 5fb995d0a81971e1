# SPDX-License-Identifier: MIT
"""Dropout: probabilities, seeds, shared masks."""

from __future__ import annotations

from cases import Case

X, Y, CHANNELS = (
    "mask_stride_in_pixels_x",
    "mask_stride_in_pixels_y",
    "mask_stride_in_feature_channels",
)

CASES = (
    [
        Case("DropoutNode", (size,), {"keep_probability": 0.5})
        for size in [(1, 1, 1, 1), (1, 3, 5, 3), (2, 7, 6, 5), (3, 16, 16, 16)]
    ]
    + [
        Case("DropoutNode", ((2, 7, 6, 5),), {"keep_probability": 0.25, "seed": seed})
        for seed in (1, 12345, 2**40 + 7)
    ]
    + [
        Case("DropoutNode", ((2, 7, 6, 5),), {"keep_probability": 0.5, "seed": 3, **strides})
        for strides in [
            {X: 0},
            {Y: 0},
            {CHANNELS: 0},
            {X: 0, Y: 0},
            {X: 0, Y: 0, CHANNELS: 0},
        ]
    ]
    + [Case("DropoutNode", ((1, 9, 4, 3),), {"keep_probability": 0.7}, exact=False)]
)
