# SPDX-License-Identifier: MIT
"""Margins, crops and reshaping."""

from __future__ import annotations

from cases import Case, Size

SIZES: list[Size] = [(1, 1, 1, 1), (2, 5, 4, 3), (1, 3, 7, 8)]
ZERO, CLAMP, MIRROR, MIRROR_WITH_EDGE, CONSTANT = range(5)


def pad(
    size: Size, before: tuple[int, int, int], after: tuple[int, int, int], **more: object
) -> Case:
    """Margins are (x, y, channel)."""
    names = ("x", "y", "channel")
    sizes = {f"padding_size_before_{n}": b for n, b in zip(names, before, strict=True)}
    sizes |= {f"padding_size_after_{n}": a for n, a in zip(names, after, strict=True)}
    return Case("PadNode", (size,), {**sizes, **more}, differentiable=True)


PAD = [
    pad(size, before, after, edge_mode=mode)
    for size in SIZES
    for mode in (ZERO, CLAMP, MIRROR, MIRROR_WITH_EDGE, CONSTANT)
    # More than the image in the last ones: it is mirrored again and again.
    for before, after in [((1, 2, 0), (2, 0, 0)), ((0, 1, 2), (1, 0, 1)), ((9, 0, 4), (0, 11, 5))]
] + [
    pad(SIZES[1], (1, 1, 1), (2, 3, 0), fill_value=-2.5),
    pad(SIZES[1], (0, 0, 0), (0, 0, 3), edge_mode=CONSTANT, fill_value=1.0),
    Case("PadNode", (SIZES[1],), {"padding_size_after_y": 2}),
    Case("PadNode", (SIZES[1],), {}),
]

CROP = [
    Case("CropNode", (SIZES[1],), attributes)
    for attributes in (
        {},
        {"origin_x": 1, "origin_y": 2, "origin_feature_channel": 1},
        {"result_width": 2, "result_height": 1, "result_feature_channels": 2},
        {"result_width": 3, "origin_x": 1, "result_height": 2, "origin_y": 2},
        {"result_feature_channels": 1, "origin_feature_channel": 2},
    )
] + [Case("CropNode", (SIZES[0],), {"result_width": 1})]

RESHAPE = [
    Case(
        "ReshapeNode",
        (size,),
        {"result_width": width, "result_height": height, "result_feature_channels": channels},
    )
    for size, height, width, channels in [
        (SIZES[0], 1, 1, 1),
        (SIZES[1], 1, 1, 60),
        (SIZES[1], 6, 5, 2),
        (SIZES[2], 8, 7, 3),
    ]
]
CASES = [*PAD, *CROP, *RESHAPE]
