# SPDX-License-Identifier: MIT
"""Reductions. Of equal values the first is taken."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from cases import Case

from oracles import Array, Formula, Oracle, Parameters

# Which dimensions go: a row's values lie along x.
AXES = {"Row": (2,), "Column": (1,), "FeatureChannels": (3,), "Spatial": (1, 2)}


def total(case: Case, sources: list[Array], _parameters: Parameters, *, axis: str) -> Array:
    """Weight times the sum."""
    weight = case.attributes.get("weight", 1.0)
    return weight * sources[0].sum(AXES[axis], keepdims=True)


def mean(_case: Case, sources: list[Array], _parameters: Parameters, *, axis: str) -> Array:
    """The mean."""
    return sources[0].mean(AXES[axis], keepdims=True)


def extremum(
    _case: Case, sources: list[Array], _parameters: Parameters, *, axis: str, sign: float
) -> Array:
    """The first of the largest values of the source times the sign."""
    (dimension,) = AXES[axis]
    first = jnp.argmax(sign * sources[0], axis=dimension, keepdims=True)
    return jnp.take_along_axis(sources[0], first, axis=dimension)


def argument(
    _case: Case, sources: list[Array], _parameters: Parameters, *, axis: str, sign: float
) -> Array:
    """Its index."""
    first = jnp.argmax(sign * sources[0], axis=AXES[axis][0], keepdims=True)
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
