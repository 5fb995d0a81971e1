# SPDX-License-Identifier: MIT
"""Neurons."""

from __future__ import annotations

import math

from cases import Case, Size

SIZES: list[Size] = [(1, 1, 1, 1), (1, 3, 5, 3), (3, 7, 4, 5), (2, 8, 8, 16)]

RELU = (
    [Case("NeuronReLUNode", (size,)) for size in SIZES]
    + [Case("NeuronReLUNode", (size,), {"a": a}) for size in SIZES[1:3] for a in (0.25, -0.5, 1.0)]
    + [Case("NeuronReLUNNode", (size,)) for size in SIZES]
    + [
        Case("NeuronReLUNNode", (size,), {"a": a, "b": b})
        for size in SIZES[1:3]
        for a, b in [(0.0, 6.0), (0.25, 1.5), (-0.5, 2.0)]
    ]
    + [
        Case(
            "NeuronPReLUNode", (size,), {"a": [0.25 * channel - 0.5 for channel in range(size[3])]}
        )
        for size in SIZES
    ]
)


def case(
    node: str, size: Size, exact: bool = False, values: str = "any", **attributes: float
) -> Case:
    """A neuron; few of them give whole numbers."""
    return Case(node, (size,), attributes, exact=exact, ranges=(values,))


# Parameters away from the defaults, each alone and all together.
PARAMETERS: dict[str, list[dict[str, float]]] = {
    "NeuronLinearNode": [{"a": -2.0}, {"b": 3.0}, {"a": 0.5, "b": -0.75}],
    "NeuronSigmoidNode": [],
    "NeuronHardSigmoidNode": [{"a": 0.5}, {"b": -0.25}, {"a": -0.25, "b": 0.75}],
    "NeuronTanHNode": [{"a": 2.0}, {"b": 0.5}, {"a": -1.5, "b": -0.25}, {"a": 0.0}],
    "NeuronAbsoluteNode": [],
    "NeuronSoftPlusNode": [{"a": 2.0}, {"b": -0.5}, {"a": -1.5, "b": 4.0}, {"a": 0.0}],
    "NeuronSoftSignNode": [],
    "NeuronELUNode": [{"a": 0.25}, {"a": -0.5}],
    "NeuronGeLUNode": [],
}
# Neurons of whole numbers that are whole numbers or exact fractions.
EXACT = {"NeuronLinearNode", "NeuronAbsoluteNode"}

SMOOTH = [
    case(node, size, node in EXACT, **attributes)
    for node, others in PARAMETERS.items()
    for size, attributes in [
        *((size, {}) for size in SIZES),
        *((SIZES[1], attributes) for attributes in others),
        *((SIZES[2], attributes) for attributes in others[-1:]),
    ]
]
BASES = [
    *(case("NeuronPowerNode", size, exact=True, c=2.0) for size in SIZES),
    case("NeuronPowerNode", SIZES[1], exact=True),
    case("NeuronPowerNode", SIZES[1], exact=True, a=2.0, b=-1.0, c=3.0),
    case("NeuronPowerNode", SIZES[1], exact=True, a=-1.0, b=2.0, c=2.0),
    case("NeuronPowerNode", SIZES[2], a=0.5, b=2.0, c=5.0),
    case("NeuronPowerNode", SIZES[2], values="nonzero", c=-2.0),
    case("NeuronPowerNode", SIZES[1], values="positive", a=2.0, b=0.5, c=0.5),
    case("NeuronPowerNode", SIZES[2], values="positive", c=-1.25),
    *(case("NeuronExponentialNode", size) for size in SIZES),
    *(case("NeuronExponentialNode", SIZES[1], a=-0.5, b=1.5, c=c) for c in (-1.0, 2.0, 0.3)),
    case("NeuronExponentialNode", SIZES[1], a=11.0, b=2.0, c=10.0),
    *(case("NeuronLogarithmNode", size, values="positive") for size in SIZES),
    *(
        case("NeuronLogarithmNode", SIZES[1], values="positive", a=1.5, b=0.25, c=c)
        for c in (-1.0, 10.0, 0.5)
    ),
]
CASES = [*RELU, *SMOOTH, *BASES]

NAN, INFINITE = math.nan, math.inf
# What becomes of NaN, infinity and -infinity: results, then derivatives, by the formulas.
Corners = tuple[dict[str, float | list[float]], tuple[float, ...], tuple[float, ...]]
CORNERS: dict[str, list[Corners]] = {
    "NeuronReLUNode": [
        ({}, (NAN, INFINITE, 0.0), (0.0, 1.0, 0.0)),
        ({"a": 0.25}, (NAN, INFINITE, -INFINITE), (0.25, 1.0, 0.25)),
    ],
    "NeuronReLUNNode": [
        ({}, (NAN, 6.0, -INFINITE), (1.0, 0.0, 1.0)),
        ({"a": 0.0, "b": 2.0}, (NAN, 2.0, 0.0), (0.0, 0.0, 0.0)),
    ],
    "NeuronPReLUNode": [({"a": [0.5] * 12}, (NAN, INFINITE, -INFINITE), (0.5, 1.0, 0.5))],
    "NeuronLinearNode": [({"a": -2.0, "b": 1.0}, (NAN, -INFINITE, INFINITE), (-2.0,) * 3)],
    "NeuronSigmoidNode": [({}, (NAN, 1.0, 0.0), (NAN, 0.0, 0.0))],
    "NeuronHardSigmoidNode": [
        ({}, (NAN, 1.0, 0.0), (NAN, 0.0, 0.0)),
        ({"a": -0.5}, (NAN, 0.0, 1.0), (NAN, 0.0, 0.0)),
    ],
    "NeuronTanHNode": [({"a": 2.0}, (NAN, 2.0, -2.0), (NAN, 0.0, 0.0))],
    "NeuronAbsoluteNode": [({}, (NAN, INFINITE, INFINITE), (NAN, 1.0, -1.0))],
    "NeuronSoftPlusNode": [({"a": 2.0}, (NAN, INFINITE, 0.0), (NAN, 2.0, 0.0))],
    "NeuronSoftSignNode": [({}, (NAN, NAN, NAN), (NAN, 0.0, 0.0))],
    "NeuronELUNode": [({"a": 0.5}, (NAN, INFINITE, -0.5), (NAN, 1.0, 0.0))],
    "NeuronPowerNode": [
        ({"c": 2.0}, (NAN, INFINITE, INFINITE), (NAN, INFINITE, -INFINITE)),
        ({"c": 3.0}, (NAN, INFINITE, -INFINITE), (NAN, INFINITE, INFINITE)),
        ({"c": -1.0}, (NAN, 0.0, 0.0), (NAN, 0.0, 0.0)),
        ({"c": 0.5}, (NAN, INFINITE, INFINITE), (NAN, 0.0, 0.0)),  # as C's pow
    ],
    "NeuronExponentialNode": [
        ({}, (NAN, INFINITE, 0.0), (NAN, INFINITE, 0.0)),
        ({"c": 0.5}, (NAN, 0.0, INFINITE), (NAN, 0.0, -INFINITE)),
    ],
    "NeuronLogarithmNode": [({"c": 2.0}, (NAN, INFINITE, NAN), (NAN, 0.0, 0.0))],
    "NeuronGeLUNode": [({}, (NAN, INFINITE, NAN), (NAN, 1.0, 0.0))],
}
