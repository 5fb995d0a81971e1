# SPDX-License-Identifier: MIT
"""Losses, and the image of ones that starts a gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from cases import ABSOLUTE, MEAN, NONE, SUM, Case

from oracles import Array, Oracle, Parameters


def loss(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """Weight · w · f(y, t), reduced over each image."""
    difference = sources[0] - sources[1]
    # Written so that the derivative of |d| is sign(d), 0 at 0; that of jnp.abs is 1 there.
    distance = difference * jnp.sign(difference)
    one = distance if case.attributes["loss_type"] == ABSOLUTE else difference**2
    weights = sources[2] if len(sources) > 2 else 1.0
    each = case.attributes.get("weight", 1.0) * weights * one
    reduction = case.attributes.get("reduction_type", MEAN)
    if reduction == NONE:
        return each
    total = each.sum(axis=(1, 2, 3), keepdims=True)
    return total / np.prod(each.shape[1:]) if reduction == MEAN else total


def magnitude(case: Case, sources: list[Array], parameters: Parameters) -> Array:
    """The loss with absolute weights: no summand cancels another."""
    weights = [jnp.abs(source) for source in sources[2:]]
    attributes = {**case.attributes, "weight": abs(case.attributes.get("weight", 1.0))}
    return loss(replace(case, attributes=attributes), sources[:2] + weights, parameters)


def undivided(case: Case, sources: list[Array], parameters: Parameters) -> Array:
    """What is differentiated: the gradient ignores that a mean divides."""
    if case.attributes.get("reduction_type", MEAN) != MEAN:
        return loss(case, sources, parameters)
    summed = replace(case, attributes={**case.attributes, "reduction_type": SUM})
    return loss(summed, sources, parameters)


def ones(_case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """One everywhere."""
    return jnp.ones_like(sources[0])


def terms(_case: Case, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The values of an image."""
    return int(np.prod(shapes["source0"][1:]))


ORACLES = {
    "ForwardLossNode": Oracle(
        loss,
        differentiable=undivided,
        magnitude=magnitude,
        terms=terms,
        bounded_by_result=True,
    ),
    "InitialGradientNode": Oracle(ones),
}
