# SPDX-License-Identifier: MIT
"""Poolings: windows, strides, paddings, edge modes, borders, dilation."""

from __future__ import annotations

from dataclasses import replace

from cases import (
    BOTTOM_RIGHT,
    CLAMP,
    EXCLUDE_EDGES,
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

MAX = (
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

SIZES: list[Size] = [(1, 1, 1, 3), (1, 8, 6, 16), (3, 7, 9, 5), (2, 6, 1, 4)]


def average(case: Case, **attributes: int) -> Case:
    """The same windows averaged; integers divide exactly, but sums of quotients are rounded."""
    return replace(
        case,
        node="PoolingAverageNode",
        attributes={**case.attributes, **attributes},
        exact_gradients=False,
    )


AVERAGE = (
    [average(case(size, *window)) for size in SIZES for window in WINDOWS[:3] + WINDOWS[5:]]
    + [
        average(case((2, 7, 6, 3), *window, padding=padding, edge_mode=edge), **border)
        for edge, border in [
            (ZERO, {}),
            (CLAMP, {"zero_pad_size_x": 1, "zero_pad_size_y": 1}),
            (CLAMP, {"zero_pad_size_y": 3}),
        ]
        for padding in (SAME | REMAINDER_BOTTOM_RIGHT, FULL)
        for window in [((3, 3), (2, 2)), ((2, 3), (1, 2))]
    ]
    + [
        average(case((2, 7, 6, 3), (3, 4), (2, 3), padding=padding | EXCLUDE_EDGES))
        for padding in (VALID, SAME, SAME | BOTTOM_RIGHT, FULL)
    ]
    # One window over the whole image, and more than that.
    + [
        average(case(size, (size[1], size[2]), padding=VALID))
        for size in [(1, 1, 1, 1), (2, 7, 7, 40), (3, 5, 8, 3), (1, 64, 32, 2)]
    ]
    + [
        average(case((2, 3, 4, 5), (7, 8), edge_mode=edge, padding=FULL | TOP_LEFT))
        for edge in (ZERO, CLAMP)
    ]
    + [
        replace(c, exact_gradients=True)
        for c in [average(case((2, 8, 6, 7), (2, 4), padding=VALID))]
    ]
    + [average(Case("PoolingMaxNode", ((1, 4, 6, 2),), {"kernel_width": 3}))]
)

L2_NORM = [
    replace(case(size, *window, padding=padding), node="PoolingL2NormNode", exact_gradients=False)
    for size in SIZES
    for window in [WINDOWS[1], WINDOWS[3], WINDOWS[5]]
    for padding in (None, FULL)
] + [
    replace(
        case((2, 7, 6, 3), (4, 2), (2, 3), padding=VALID),
        node="PoolingL2NormNode",
        exact_gradients=False,
    ),
    Case("PoolingL2NormNode", ((1, 4, 6, 2),), {"kernel_width": 2}, exact_gradients=False),
]


def dilated(
    source: Size,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    rate: tuple[int, int],
    padding: int | None = None,
    edge_mode: int | None = None,
) -> Case:
    """A pooling with gaps in its windows; pairs are (y, x)."""
    windows = case(source, kernel, stride, padding, edge_mode)
    rates = {"dilation_rate_y": rate[0], "dilation_rate_x": rate[1]}
    return replace(
        windows, node="DilatedPoolingMaxNode", attributes={**windows.attributes, **rates}
    )


DILATED = (
    [
        dilated(size, *window)
        for size in SIZES
        for window in [((2, 2), (1, 1), (2, 3)), ((3, 3), (2, 1), (2, 2)), ((2, 2), (2, 2), (1, 1))]
    ]
    + [
        dilated((2, 7, 8, 3), (2, 3), (1, 2), (3, 2), padding, edge)
        for edge in (ZERO, CLAMP)
        for padding in (VALID, FULL, SAME | BOTTOM_RIGHT)
    ]
    + [Case("DilatedPoolingMaxNode", ((1, 6, 7, 2),), {"kernel_width": 2})]
)

CASES = [*MAX, *AVERAGE, *L2_NORM, *DILATED]
