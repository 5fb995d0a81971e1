# SPDX-License-Identifier: MIT
"""Normalisation: sizes, epsilon, flags."""

from __future__ import annotations

from cases import Case, Normalization, Size

SIZES: list[Size] = [
    (1, 1, 1, 1),
    (1, 1, 1, 7),
    (3, 1, 1, 5),
    (1, 5, 7, 3),
    (2, 6, 5, 4),
    (3, 9, 8, 10),
    (2, 16, 16, 16),
    (2, 7, 5, 130),
]
AUTOMATIC, ALWAYS, NEVER = 0, 1, 2


def case(
    node: str,
    size: Size,
    *,
    epsilon: float | None = None,
    groups: int | None = None,
    **attributes: int,
) -> Case:
    """A normalisation by statistics of the image."""
    return Case(
        node, (size,), attributes, exact=False, normalization=Normalization(epsilon, groups)
    )


BATCH = (
    [case("BatchNormalizationNode", size, epsilon=1e-3) for size in SIZES]
    + [case("BatchNormalizationNode", size) for size in SIZES[3:5]]
    + [
        case("BatchNormalizationNode", size, epsilon=0.25, flags=flags)
        for size in (SIZES[2], SIZES[4], SIZES[7])
        for flags in (ALWAYS, NEVER)
    ]
    + [case("BatchNormalizationNode", (1, 1, 1, 6))]
)

INSTANCE = [case("InstanceNormalizationNode", size, epsilon=1e-3) for size in SIZES] + [
    case("InstanceNormalizationNode", SIZES[4])
]

GROUP = [
    case("GroupNormalizationNode", size, epsilon=epsilon, groups=groups)
    for size, groups, epsilon in [
        ((1, 1, 1, 1), 1, 0.25),
        ((3, 1, 1, 6), 3, 1e-3),
        ((1, 5, 7, 3), 3, 1e-3),
        ((2, 6, 5, 4), 2, None),
        ((3, 9, 8, 10), 1, 1e-3),
        ((2, 8, 8, 32), 8, 1e-3),
        ((2, 7, 5, 130), 5, 0.25),
    ]
]


def window(node: str, size: Size, **attributes: float) -> Case:
    """A normalisation by windows."""
    return Case(node, (size,), attributes, exact=False)


PIXEL_SIZES: list[Size] = [(1, 1, 1, 3), (1, 4, 4, 1), (2, 5, 7, 3), (3, 9, 6, 8), (1, 17, 3, 20)]
WINDOWS = [
    window(node, size)
    for node in ("SpatialNormalizationNode", "LocalContrastNormalizationNode")
    for size in PIXEL_SIZES
] + [
    window(node, size, kernel_width=width, kernel_height=height, **parameters)
    for node in ("SpatialNormalizationNode", "LocalContrastNormalizationNode")
    for size, width, height, parameters in [
        ((2, 5, 7, 3), 1, 1, {"alpha": 0.5, "beta": 0.75, "delta": 2.0}),
        ((2, 5, 7, 3), 2, 4, {"alpha": 2.0, "beta": 1.0, "delta": 0.5}),
        ((1, 4, 6, 5), 5, 3, {"alpha": 0.25, "beta": 0.5, "delta": 1.0}),
        ((1, 3, 2, 4), 9, 7, {"alpha": 0.25, "beta": 2.0, "delta": 1.0}),
        ((1, 5, 4, 2), 3, 3, {"alpha": 0.0, "beta": 3.0, "delta": 1.5}),
        ((1, 5, 4, 2), 3, 5, {"alpha": 1.5, "beta": -0.5, "delta": 1.5}),
    ]
]
CONTRAST = [
    window("LocalContrastNormalizationNode", (2, 5, 7, 3), p0=0.5, pm=0.25, ps=-2.0),
    window("LocalContrastNormalizationNode", (1, 6, 4, 8), p0=0.0, beta=0.75, delta=0.25),
]
CHANNELS = [
    window("CrossChannelNormalizationNode", size)
    for size in [(1, 1, 1, 1), (2, 3, 5, 3), (1, 7, 6, 16), (2, 4, 5, 37)]
] + [
    window("CrossChannelNormalizationNode", size, kernel_size=count, **parameters)
    for size, count, parameters in [
        ((2, 3, 5, 7), 1, {"alpha": 0.5, "beta": 0.75, "delta": 2.0}),
        ((2, 3, 5, 7), 2, {"alpha": 2.0, "beta": 1.0, "delta": 0.5}),
        ((1, 3, 2, 40), 4, {"alpha": 1e-4, "beta": 0.75, "delta": 1.0}),
        ((1, 3, 2, 5), 30, {"alpha": 0.25, "beta": 0.5, "delta": 1.0}),
        ((1, 2, 2, 6000), 3, {"beta": 2.0}),
    ]
]

CASES = BATCH + INSTANCE + GROUP + WINDOWS + CONTRAST + CHANNELS
