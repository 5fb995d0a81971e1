# SPDX-License-Identifier: MIT
"""Resizing: larger, smaller, odd ratios, transforms."""

from __future__ import annotations

from cases import Case, Size

SIZES: list[Size] = [(1, 1, 1, 1), (2, 5, 7, 3), (1, 8, 6, 16)]
RESULTS = [(1, 1), (3, 4), (10, 14), (12, 5), (8, 6)]  # height, width
# Scale x, scale y, translate x, translate y.
TRANSFORMS = [
    [1.0, 1.0, 0.0, 0.0],
    [1.0, 1.0, -2.0, -1.0],
    [2.0, 0.5, 1.5, -0.25],
    [0.75, 3.0, -20.0, 30.0],
]
# Results whose pixels all lie on the source of 5 rows and 7 columns.
INSIDE = [((3, 4), [1.0, 1.0, -2.0, -1.0]), ((6, 9), [2.0, 1.5, -3.0, -0.5])]


def resize(
    node: str, size: Size, result: tuple[int, int], transform: list[float] | None = None
) -> Case:
    """A resizing; sums of weighted values are rounded."""
    attributes: dict[str, object] = {"result_height": result[0], "result_width": result[1]}
    if transform is not None:
        attributes["transform"] = transform
    return Case(node, (size,), attributes, exact=False)


CASES = [
    case
    for node in ("BilinearScaleNode", "LanczosScaleNode")
    for case in [
        *(resize(node, size, result) for size in SIZES for result in RESULTS),
        *(resize(node, SIZES[1], RESULTS[2], transform) for transform in TRANSFORMS),
        *(resize(node, SIZES[1], result, transform) for result, transform in INSIDE),
        resize(node, (1, 33, 70, 2), (7, 9)),
    ]
]
