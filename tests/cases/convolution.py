# SPDX-License-Identifier: MIT
"""Convolution: every kernel shape, stride, dilation, group count, padding and edge mode."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from cases import (
    BOTTOM_RIGHT,
    CLAMP,
    FULL,
    REMAINDER_BOTTOM_LEFT,
    REMAINDER_BOTTOM_RIGHT,
    REMAINDER_TOP_RIGHT,
    SAME,
    STORED,
    TOP_LEFT,
    VALID,
    ZERO,
    Case,
    Convolution,
    Size,
)

# Types of binary convolutions (BinaryConvolutionType).
BINARY_WEIGHTS, XNOR, AND = range(3)


def case(
    source: Size,
    outputs: int,
    kernel: tuple[int, int] = (3, 3),
    *,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    bias: bool = True,
    padding: int | None = None,
    edge_mode: int | None = None,
) -> Case:
    """A convolution of one source."""
    geometry = Convolution(kernel, source[3], outputs, stride, dilation, groups, bias)
    attributes = {} if edge_mode is None else {"edge_mode": edge_mode}
    return Case("ConvolutionNode", (source,), attributes, geometry, padding)


CHANNELS = [
    case((1, 5, 7, inputs), outputs) for inputs, outputs in product((1, 3, 5, 8, 16), (1, 3, 8, 16))
]
KERNELS = [
    case((1, 6, 5, 3), 4, (height, width), bias=bias)
    for (height, width), bias in product(
        [(1, 1), (1, 3), (3, 1), (2, 2), (4, 4), (5, 5), (7, 3)], (True, False)
    )
]
IMAGES = [
    case(size, 5)
    for size in [
        (1, 1, 1, 3),
        (1, 1, 9, 3),
        (1, 9, 1, 3),
        (3, 2, 2, 3),
        (3, 13, 17, 3),
        (2, 32, 16, 8),
    ]
]
STRIDES = [
    case((2, 9, 8, 3), 5, kernel, stride=stride)
    for kernel, stride in product(
        [(1, 1), (2, 2), (3, 3), (5, 4)], [(2, 2), (1, 3), (3, 2), (4, 4)]
    )
]
DILATIONS = [
    case((1, 11, 9, 4), 6, kernel, dilation=dilation, stride=stride)
    for kernel, dilation, stride in [
        ((3, 3), (2, 2), (1, 1)),
        ((3, 3), (1, 3), (1, 1)),
        ((2, 2), (3, 2), (1, 1)),
        ((3, 2), (2, 2), (2, 2)),
        ((3, 3), (4, 5), (1, 1)),
    ]
]
GROUPS = [
    case((2, 6, 7, inputs), outputs, kernel, groups=groups, stride=stride)
    for inputs, outputs, groups, kernel, stride in [
        (4, 4, 2, (3, 3), (1, 1)),
        (8, 16, 4, (3, 3), (1, 1)),
        (6, 9, 3, (2, 3), (1, 2)),
        (5, 5, 5, (3, 3), (1, 1)),
        (3, 6, 3, (5, 5), (2, 2)),
        (16, 16, 16, (3, 3), (1, 1)),
    ]
]
PADDINGS = [
    case((1, 7, 6, 3), 4, kernel, stride=stride, padding=align | remainder | size)
    for size, align, remainder in [
        (VALID, 0, 0),
        (FULL, 0, 0),
        (SAME, 0, REMAINDER_TOP_RIGHT),
        (SAME, 0, REMAINDER_BOTTOM_LEFT),
        (SAME, 0, REMAINDER_BOTTOM_RIGHT),
        (SAME, TOP_LEFT, 0),
        (SAME, BOTTOM_RIGHT, 0),
        (FULL, TOP_LEFT, 0),
        (FULL, BOTTOM_RIGHT, REMAINDER_BOTTOM_RIGHT),
        (VALID, TOP_LEFT, REMAINDER_BOTTOM_RIGHT),
    ]
    for kernel, stride in [((3, 3), (1, 1)), ((2, 4), (1, 1)), ((3, 2), (2, 2)), ((2, 2), (3, 3))]
]
EDGES = [
    case((2, 5, 6, 3), 4, kernel, stride=stride, dilation=dilation, padding=padding, edge_mode=edge)
    for edge in (ZERO, CLAMP)
    for kernel, stride, dilation, padding in [
        ((3, 3), (1, 1), (1, 1), None),
        ((4, 2), (2, 1), (1, 1), FULL),
        ((3, 3), (1, 2), (2, 3), None),
        ((7, 7), (1, 1), (1, 1), None),
    ]
]
# Widths of real nets, and what reaches every kernel: many outputs, many groups, edges.
WIDE = [
    case((2, 16, 16, 12), 32),
    case((1, 12, 10, 32), 64),
    case((1, 16, 16, 32), 3),
    case((2, 9, 9, 24), 40, stride=(2, 2)),
    case((1, 10, 10, 16), 32, dilation=(2, 2)),
    case((2, 8, 8, 16), 32, groups=4),
    case((1, 8, 9, 16), 32, edge_mode=CLAMP),
    case((2, 8, 9, 16), 32, (3, 2), groups=2, edge_mode=CLAMP),
    case((2, 8, 9, 16), 32, (3, 2), groups=2, stride=(2, 1), edge_mode=CLAMP),
    case((1, 9, 8, 16), 24, (2, 2), stride=(3, 3), padding=VALID),
    case((1, 12, 12, 3), 3, (5, 5), groups=3, bias=False),
    case((2, 6, 5, 12), 12, (3, 3), groups=12),
    case((1, 16, 16, 32), 32),
    case((2, 17, 15, 32), 48, bias=False),
    case((1, 20, 18, 48), 32, padding=VALID),
    case((1, 15, 16, 32), 32, padding=FULL | TOP_LEFT),
    case((1, 17, 18, 32), 32, padding=SAME | BOTTOM_RIGHT),
]
# A window that never meets the image: offsets may lie wholly outside.
OUTSIDE = [case((1, 2, 2, 2), 3, (5, 5), padding=FULL, dilation=(2, 2))]


def sub_pixel(convolved: Case, factor: int) -> Case:
    """The same with channels that become pixels."""
    assert convolved.convolution is not None
    return replace(convolved, convolution=replace(convolved.convolution, sub_pixel=factor))


SUB_PIXEL = [
    sub_pixel(case((1, 1, 1, 1), 4, (1, 1)), 2),
    sub_pixel(case((2, 3, 5, 3), 12), 2),
    sub_pixel(case((1, 4, 3, 2), 18, (2, 3), stride=(2, 1), bias=False), 3),
    sub_pixel(case((2, 7, 6, 4), 16, groups=2, padding=VALID), 4),
    sub_pixel(case((1, 8, 8, 16), 32), 2),
]


def transpose(
    source: Size,
    outputs: int,
    kernel: tuple[int, int] = (3, 3),
    *,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    bias: bool = True,
    padding: int | None = None,
    like: tuple[int, int] | None = None,
) -> Case:
    """A transposed convolution; `like` is the size of what the undone convolution read."""
    made = case(
        source,
        outputs,
        kernel,
        stride=stride,
        dilation=dilation,
        groups=groups,
        bias=bias,
        padding=padding,
    )
    sizes = (source,) if like is None else (source, (source[0], *like, outputs))
    return replace(made, node="ConvolutionTransposeNode", sources=sizes)


TRANSPOSE = [
    transpose((1, 1, 1, 1), 1),
    transpose((2, 5, 4, 3), 5),
    *(
        transpose((2, 4, 3, 3), 4, kernel, stride=(2, 2), padding=padding)
        for kernel in [(2, 2), (3, 3), (4, 3)]
        for padding in (None, FULL, SAME | REMAINDER_BOTTOM_RIGHT, SAME | TOP_LEFT)
    ),
    transpose((1, 5, 6, 4), 2, (2, 3), padding=VALID),
    transpose((1, 5, 6, 4), 2, (3, 2), stride=(3, 1), padding=FULL | BOTTOM_RIGHT, bias=False),
    transpose((1, 3, 4, 2), 3, (2, 3), stride=(2, 3), dilation=(2, 1), padding=FULL),
    transpose((2, 3, 4, 6), 4, groups=2, stride=(2, 1)),
    transpose((1, 6, 5, 8), 8, (2, 2), groups=8, stride=(2, 2), padding=FULL),
    transpose((2, 4, 3, 3), 5, stride=(2, 2), like=(7, 6)),
    transpose((2, 4, 3, 3), 5, stride=(2, 2), like=(8, 5), padding=SAME | REMAINDER_BOTTOM_RIGHT),
    transpose((1, 3, 3, 2), 2, (4, 2), stride=(2, 1), like=(8, 4), padding=VALID),
    transpose((2, 8, 9, 16), 32, (4, 4), stride=(2, 2), padding=FULL),
    transpose((1, 8, 8, 32), 16, (2, 2), stride=(2, 2)),
]


def binary(made: Case, node: str = "BinaryConvolutionNode", **attributes: object) -> Case:
    """The same geometry with weights of one bit; means are rounded."""
    exact = not attributes.get("use_beta_scaling", False)
    return replace(made, node=node, attributes=attributes, exact=exact, differentiable=False)


FEW: Size = (2, 5, 6, 3)
LISTS = {
    "output_bias_terms": [0.5, -1.0, 2.0, 0.0],
    "output_scale_terms": [1.0, -0.5, 0.25, 2.0],
    "input_bias_terms": [1.0, -1.0, 0.5],
    "input_scale_terms": [2.0, -1.0, 0.5],
}
TYPES = (BINARY_WEIGHTS, XNOR, AND)
BINARY = (
    [binary(case(FEW, 4), convolution_type=kind) for kind in TYPES]
    + [binary(case((1, 1, 1, 1), 1, (1, 1), bias=False), convolution_type=kind) for kind in TYPES]
    + [binary(case(FEW, 4), convolution_type=kind, scale_value=0.5, **LISTS) for kind in TYPES]
    + [
        binary(case(FEW, 4, bias=False), convolution_type=kind, use_beta_scaling=True, **lists)
        for kind in TYPES
        for lists in ({}, LISTS)
    ]
    + [
        binary(
            case((1, 7, 6, 33), 8, (2, 3), stride=(2, 1), padding=padding), convolution_type=kind
        )
        for kind in TYPES
        for padding in (VALID, FULL)
    ]
    + [
        binary(case((1, 7, 6, 8), 4, (2, 3), stride=(2, 1), padding=VALID), use_beta_scaling=True),
        binary(case((1, 9, 8, 4), 4, dilation=(2, 3)), convolution_type=XNOR),
        binary(case((1, 9, 8, 4), 4, dilation=(2, 3), padding=VALID), convolution_type=AND),
        binary(case(FEW, 4, padding=VALID), convolution_type=XNOR, scale_value=0.5, **LISTS),
    ]
    + [
        binary(case(FEW, 4, (5, 6)), "BinaryFullyConnectedNode", convolution_type=kind)
        for kind in TYPES
    ]
    + [
        binary(case(FEW, 4, (5, 6)), "BinaryFullyConnectedNode", scale_value=0.5, **LISTS),
        binary(
            case((3, 1, 1, 40), 7, (1, 1), bias=False),
            "BinaryFullyConnectedNode",
            convolution_type=XNOR,
            use_beta_scaling=True,
        ),
    ]
)

FULLY_CONNECTED = [
    Case(
        "FullyConnectedNode",
        (size,),
        convolution=Convolution(size[1:3], size[3], outputs, bias=bias),
        padding=None,
    )
    for size, outputs, bias in [
        ((1, 1, 1, 1), 1, True),
        ((3, 1, 1, 10), 7, True),
        ((2, 1, 1, 64), 10, False),
        ((2, 4, 3, 5), 6, True),
        ((5, 2, 7, 3), 16, False),
        ((1, 6, 6, 8), 33, True),
        ((4, 1, 1, 130), 100, True),
    ]
]

# Weights of every element type, for every class that takes them.
STORED_WEIGHTS = [
    replace(made, convolution=replace(made.convolution, stored=stored))
    for made in [
        case((1, 6, 5, 3), 4),
        case((2, 9, 8, 4), 6, (3, 2), stride=(2, 1), groups=2, bias=False),
        case((1, 7, 6, 5), 5, groups=5),
        *SUB_PIXEL[:1],
        *TRANSPOSE[:1],
        *FULLY_CONNECTED[3:4],
        binary(case(FEW, 4)),
        binary(case(FEW, 4, (5, 6)), "BinaryFullyConnectedNode"),
    ]
    for stored in STORED[1:]
]

CASES = (
    CHANNELS
    + KERNELS
    + IMAGES
    + STRIDES
    + DILATIONS
    + GROUPS
    + PADDINGS
    + EDGES
    + WIDE
    + OUTSIDE
    + FULLY_CONNECTED
    + SUB_PIXEL
    + TRANSPOSE
    + BINARY
    + STORED_WEIGHTS
)
