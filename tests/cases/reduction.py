# SPDX-License-Identifier: MIT
"""Reductions along rows, columns, channels and all pixels."""

from __future__ import annotations

from cases import Case, Size

SIZES: list[Size] = [(1, 1, 1, 1), (2, 5, 7, 3), (1, 9, 1, 6), (3, 2, 4, 17)]
# Many values to reduce, and many beside each other.
LARGE: list[Size] = [(1, 130, 3, 70), (2, 3, 200, 40)]
# Wide enough for registers, with some values left over.
CHANNELS: list[Size] = [(1, 2, 3, 16), (1, 2, 2, 45)]


def reductions(axis: str, kinds: tuple[str, ...], sizes: list[Size]) -> list[Case]:
    """Every kind at every size; means of whole numbers come out rounded once, gradients twice."""
    return [
        Case(f"Reduction{axis}{kind}Node", (size,), exact_gradients=kind != "Mean")
        for kind in kinds
        for size in sizes
    ]


CLIPS = [[1, 2, 3, 2], [0, 0, 7, 1]]  # x, y, width, height
CLIPPED = [
    Case(
        f"Reduction{name}Node",
        ((2, 5, 7, 3),),
        {"clip_rect_source": clip},
        exact_gradients=not name.endswith("Mean"),
        differentiable="Argument" not in name,
    )
    for name in [
        *(f"{axis}{kind}" for axis in ("Row", "Column") for kind in ("Min", "Max", "Mean", "Sum")),
        *(
            f"FeatureChannels{kind}"
            for kind in ("Min", "Max", "Mean", "Sum", "ArgumentMin", "ArgumentMax")
        ),
        "SpatialMean",
    ]
    for clip in CLIPS
]

CASES = [
    *CLIPPED,
    *reductions("Row", ("Min", "Max", "Mean", "Sum"), SIZES + LARGE),
    *reductions("Column", ("Min", "Max", "Mean", "Sum"), SIZES + LARGE),
    *reductions("FeatureChannels", ("Min", "Max", "Mean", "Sum"), SIZES + CHANNELS),
    *reductions("Spatial", ("Mean",), SIZES + LARGE),
    *(
        Case("ReductionFeatureChannelsSumNode", (size,), {"weight": weight})
        for size in SIZES[1:]
        for weight in (0.5, -3.0)
    ),
    *(
        Case(f"ReductionFeatureChannelsArgument{kind}Node", (size,), differentiable=False)
        for kind in ("Min", "Max")
        for size in SIZES + CHANNELS
    ),
]
