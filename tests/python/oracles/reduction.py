# SPDX-License-Identifier: MIT
"""Reductions. Of equal values the first is taken."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from cases import Case

from oracles import Array, Formula, Oracle, Parameters

# Which dimensions go: a row's values lie along x.
AXES = {"Row": (2,), "Column": (1,), "FeatureChannels": (3,), "Spatial": (1, 2)}


def clipped(case: Case, source: Array) -> Array:
    """The rectangle that is read."""
    clip = case.attributes.get("clip_rect_source")
    if clip is None:
        return source
    x, y, width, height = clip
    return source[:, y : y + height, x : x + width]


def total(case: Case, sources: list[Array], _parameters: Parameters, *, axis: str) -> Array:
    """Weight times the sum."""
    weight = case.attributes.get("weight", 1.0)
    return weight * clipped(case, sources[0]).sum(AXES[axis], keepdims=True)


def mean(case: Case, sources: list[Array], _parameters: Parameters, *, axis: str) -> Array:
    """The mean."""
    return clipped(case, sources[0]).mean(AXES[axis], keepdims=True)


def extremum(
    case: Case, sources: list[Array], _parameters: Parameters, *, axis: str, sign: float
) -> Array:
    """The first of the largest values of the source times the sign."""
    (dimension,) = AXES[axis]
    source = clipped(case, sources[0])
    first = jnp.argmax(sign * source, axis=dimension, keepdims=True)
    return jnp.take_along_axis(source, first, axis=dimension)


def argument(
    case: Case, sources: list[Array], _parameters: Parameters, *, axis: str, sign: float
) -> Array:
    """Its index."""
    first = jnp.argmax(sign * clipped(case, sources[0]), axis=AXES[axis][0], keepdims=True)
    return first.astype(jnp.float64)


def absolute_weight(
    case: Case, sources: list[Array], parameters: Parameters, *, axis: str
) -> Array:
    """The sum without cancellation."""
    return jnp.abs(total(case, [jnp.abs(sources[0])], parameters, axis=axis))


def formulas(axis: str) -> dict[str, Formula]:
    """All that can be done along an axis."""
    return {
        "Min": partial(extremum, axis=axis, sign=-1.0),
        "Max": partial(extremum, axis=axis, sign=1.0),
        "Mean": partial(mean, axis=axis),
        "Sum": partial(total, axis=axis),
        "ArgumentMin": partial(argument, axis=axis, sign=-1.0),
        "ArgumentMax": partial(argument, axis=axis, sign=1.0),
    }


ORACLES = {
    f"Reduction{axis}{kind}Node": Oracle(
        formula,
        magnitude=partial(absolute_weight, axis=axis) if kind == "Sum" else None,
        bounded_by_result=kind in ("Min", "Max"),
    )
    for axis in AXES
    for kind, formula in formulas(axis).items()
}
