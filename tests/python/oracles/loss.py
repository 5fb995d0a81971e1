# SPDX-License-Identifier: MIT
"""Losses, and the image of ones that starts a gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from cases import (
    ABSOLUTE,
    CATEGORICAL,
    COSINE,
    HINGE,
    HUBER,
    LOG,
    MEAN,
    NON_ZERO,
    NONE,
    SIGMOID,
    SOFT_MAX,
    SQUARED,
    Case,
)

from oracles import Array, Doubles, Oracle, Parameters


def smoothed(case: Case, t: Array) -> Array:
    """The labels of the cross entropies: a share s of them is spread over all classes."""
    s = case.attributes.get("label_smoothing", 0.0)
    two = case.attributes["loss_type"] == SIGMOID
    return t * (1 - s) + s / (2 if two else case.attributes.get("number_of_classes", 1))


def each(case: Case, y: Array, t: Array) -> Array:  # noqa: PLR0911
    """The loss of each element."""
    kind = case.attributes["loss_type"]
    d = y - t
    # Written so that the derivative of |d| is sign(d), 0 at 0; that of jnp.abs is 1 there.
    distance = d * jnp.sign(d)
    if kind == ABSOLUTE:
        return distance
    if kind == SQUARED:
        return d**2
    if kind == SOFT_MAX:
        return -smoothed(case, t) * jax.nn.log_softmax(y, axis=3)
    if kind == SIGMOID:
        return jnp.logaddexp(0.0, y) - y * smoothed(case, t)
    if kind == CATEGORICAL:
        return -t * jnp.log(y)
    if kind == HINGE:
        margin = 1 - (2 * t - 1) * y
        return jnp.where(margin > 0, margin, 0.0)
    if kind == HUBER:
        delta = case.attributes.get("delta", 1.0)
        return jnp.where(distance <= delta, d**2 / 2, delta**2 / 2 + delta * (distance - delta))
    if kind == COSINE:
        return -y * t
    if kind == LOG:
        e = case.attributes.get("epsilon", 1e-7)
        return -t * jnp.log(y + e) - (1 - t) * jnp.log(1 - y + e)
    return t * (jnp.log(t) - y)  # Kullback-Leibler


def divisor(case: Case, sources: list[Array], axes: tuple[int, ...]) -> Array | float:
    """What the sum is divided by; a pixel counts once for the softmax."""
    reduction = case.attributes.get("reduction_type", MEAN)
    shape = sources[0].shape
    values_a_count = shape[3] if case.attributes["loss_type"] == SOFT_MAX else 1
    if reduction == MEAN or (reduction == NON_ZERO and len(sources) == 2):
        return float(np.prod([shape[axis] for axis in axes]) / values_a_count)
    if reduction == NON_ZERO:
        counted = (sources[2] != 0).sum(axis=axes, keepdims=True)
        return jnp.where(counted == 0, 1.0, counted / values_a_count)
    return 1.0


def reduce(case: Case, sources: list[Array], values: Array) -> Array:
    """The loss of each image, or of the batch in the first image."""
    if case.attributes.get("reduction_type", MEAN) == NONE:
        return values
    weight = case.attributes.get("weight", 1.0)
    across = case.attributes.get("reduce_across_batch", False)
    axes = (0, 1, 2, 3) if across else (1, 2, 3)
    total = values.sum(axis=axes, keepdims=True)
    if case.attributes["loss_type"] == COSINE:
        total = total + weight * (values.shape[0] if across else 1)
    total = total / divisor(case, sources, axes)
    if not across:
        return total
    rest = jnp.zeros((values.shape[0] - 1, 1, 1, 1))
    return jnp.concatenate([total, rest])


def loss(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """Weight · w · f(y, t), reduced over each image."""
    weights = sources[2] if len(sources) > 2 else 1.0
    values = case.attributes.get("weight", 1.0) * weights * each(case, sources[0], sources[1])
    return reduce(case, sources, values)


def magnitude(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """The loss of absolute values: no summand cancels another; and the parts of a summand."""
    y, t = sources[:2]
    weights = jnp.abs(sources[2]) if len(sources) > 2 else 1.0
    parts = jnp.abs(each(case, y, t))
    if case.attributes["loss_type"] not in (ABSOLUTE, SQUARED):
        # Logarithms of numbers between 0.1 and 0.9 make rounding errors 10 times as large.
        parts = parts + 10 + jnp.abs(y) * (1 + jnp.abs(t))
    attributes = {**case.attributes, "weight": abs(case.attributes.get("weight", 1.0))}
    return reduce(
        replace(case, attributes=attributes), sources, attributes["weight"] * weights * parts
    )


def undivided(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """What is differentiated: the gradient ignores how the loss is reduced.

    The softmax cross entropy's derivative is softmax(y) - t, whatever the sum of the labels and
    element by element.
    """
    y, t = sources[:2]
    values = each(case, y, t)
    if case.attributes["loss_type"] == SOFT_MAX:
        values = y * jax.lax.stop_gradient(jax.nn.softmax(y, axis=3) - smoothed(case, t))
    weights = sources[2] if len(sources) > 2 else 1.0
    values = case.attributes.get("weight", 1.0) * weights * values
    if case.attributes.get("reduction_type", MEAN) == NONE:
        return values
    return values.sum(axis=(1, 2, 3), keepdims=True)


def gradient_sizes(
    case: Case, sources: list[Doubles], _parameters: Mapping[str, Doubles], gradient: Doubles
) -> tuple[float, float]:
    """Derivatives are at most about 10 where predictions lie between 0.1 and 0.9."""
    weight = abs(case.attributes.get("weight", 1.0))
    weights = np.abs(sources[2]).max() if len(sources) > 2 else 1.0
    steepest = max(10.0, 2 * np.abs(sources[0]).max() + 2 * np.abs(sources[1]).max())
    return float(steepest * weight * weights * np.abs(gradient).max()), 0.0


def ones(_case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """One everywhere."""
    return jnp.ones_like(sources[0])


def terms(_case: Case, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The values of an image."""
    return int(np.prod(shapes["source0"][1:]))


def gradient_terms(case: Case, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """A softmax sums over the channels."""
    return shapes["source0"][3] if case.attributes["loss_type"] == SOFT_MAX else 1


ORACLES = {
    "ForwardLossNode": Oracle(
        loss,
        differentiable=undivided,
        magnitude=magnitude,
        terms=terms,
        gradient_terms=gradient_terms,
        gradient_sizes=gradient_sizes,
    ),
    "InitialGradientNode": Oracle(ones),
}
