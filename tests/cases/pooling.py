# SPDX-License-Identifier: MIT
"""Max pooling: windows, strides, paddings, edge modes."""

from __future__ import annotations

from cases import (
    BOTTOM_RIGHT,
    CLAMP,
    FULL,
    REMAINDER_BOTTOM_RIGHT,
    SAME,
    TOP_LEFT,
    VALID,
    ZERO,
    Case,
    Size,
)


def case(
    source: Size,
    kernel: tuple[int, int],
    stride: tuple[int, int] | None = None,
    padding: int | None = None,
    edge_mode: int | None = None,
) -> Case:
    """A pooling; kernel and stride are (height, width)."""
    attributes = {"kernel_width": kernel[1], "kernel_height": kernel[0]}
    if stride is not None:
        attributes |= {"stride_in_pixels_x": stride[1], "stride_in_pixels_y": stride[0]}
    if edge_mode is not None:
        attributes["edge_mode"] = edge_mode
    return Case("PoolingMaxNode", (source,), attributes, padding=padding)


WINDOWS = [
    ((2, 2), None),
    ((3, 3), (2, 2)),
    ((3, 3), (1, 1)),
    ((1, 2), None),
    ((2, 3), (3, 1)),
    ((5, 4), (2, 3)),
]

CASES = (
    [case((1, 8, 6, channels), (2, 2)) for channels in (1, 3, 5, 8, 16)]
    + [
        case(size, *window)
        for size in [(1, 1, 1, 3), (3, 7, 9, 5), (2, 6, 1, 4)]
        for window in WINDOWS
    ]
    + [
        case((2, 7, 6, 3), *window, padding=padding)
        for padding in (
            VALID,
            FULL,
            SAME | REMAINDER_BOTTOM_RIGHT,
            SAME | TOP_LEFT,
            SAME | BOTTOM_RIGHT,
        )
        for window in [((2, 2), None), ((3, 3), (2, 2)), ((2, 3), (1, 2))]
    ]
    + [
        case((2, 5, 6, 3), *window, padding=padding, edge_mode=edge)
        for edge in (ZERO, CLAMP)
        for padding in (SAME, FULL)
        for window in WINDOWS[1:5]
    ]
    # Only the width is given: the rest follows from it.
    + [Case("PoolingMaxNode", ((1, 4, 6, 2),), {"kernel_width": 2})]
)
