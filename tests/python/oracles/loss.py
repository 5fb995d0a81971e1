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

    The softmax cross entropy's derivative with respect to y is softmax(y) - t, whatever the sum of
    the labels and element by element.
    """
    y, t = sources[:2]
    values = each(case, y, t)
    if case.attributes["loss_type"] == SOFT_MAX:
        constant = jax.lax.stop_gradient
        slope = y * constant(jax.nn.softmax(y, axis=3) - smoothed(case, t))
        values = each(case, constant(y), t) + slope - constant(slope)
    weights = sources[2] if len(sources) > 2 else 1.0
    values = case.attributes.get("weight", 1.0) * weights * values
    if case.attributes.get("reduction_type", MEAN) == NONE:
        return values
    return values.sum(axis=(1, 2, 3), keepdims=True)


def gradient_sizes(
    case: Case, sources: list[Doubles], _parameters: Mapping[str, Doubles], gradient: Doubles
) -> tuple[float, float]:
    """Derivatives are at most about 10 where predictions lie between 0.1 and 0.9.

    So are the losses that are the derivatives with respect to the weights image.
    """
    weight = abs(case.attributes.get("weight", 1.0))
    weights = max(1.0, np.abs(sources[2]).max()) if len(sources) > 2 else 1.0
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


def loss_gradient(case: Case, sources: list[Array], parameters: Parameters) -> Array:
    """The gradient of the summed loss with respect to the predictions."""
    if case.attributes["loss_type"] == COSINE:
        return -case.attributes.get("weight", 1.0) * sources[1]

    def total(predictions: Array) -> Array:
        return undivided(case, [predictions, *sources[1:]], parameters).sum()

    return jax.grad(total)(sources[0])


def gradient_magnitude(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """Derivatives are at most about 10, or 2 (y - t)."""
    weight = abs(case.attributes.get("weight", 1.0))
    weights = jnp.abs(sources[2]).max() if len(sources) > 2 else 1.0
    steepest = 10 + 2 * jnp.abs(sources[0]).max() + 2 * jnp.abs(sources[1]).max()
    return jnp.full(sources[0].shape, weight * weights * steepest)


def sigmoid_entropy(y: Array, t: Array | float) -> Array:
    """The cross entropy of a sigmoid."""
    return jnp.logaddexp(0.0, y) - y * t


def interval(a: Array, a_length: Array, b: Array, b_length: Array) -> Array:
    """What two intervals have in common."""
    low = jnp.maximum(a - a_length / 2, b - b_length / 2)
    return jnp.maximum(jnp.minimum(a + a_length / 2, b + b_length / 2) - low, 0.0)


def box_losses(case: Case, predictions: Array, labels: Array) -> Array:
    """The loss of every box, (N, H, W, anchors)."""
    a = case.attributes
    anchors = jnp.asarray(a["anchor_boxes"]).reshape(-1, 2)
    shape = (*predictions.shape[:3], len(anchors), -1)
    p, t = predictions.reshape(shape), labels.reshape(shape)
    there = t[..., 4] > 0
    centre, extent = jax.nn.sigmoid(p[..., 0:2]), anchors * jnp.exp(p[..., 2:4])
    common = interval(centre, extent, t[..., 0:2], t[..., 2:4]).prod(axis=-1)
    together = extent.prod(axis=-1) + t[..., 2:4].prod(axis=-1) - common
    overlap = jax.lax.stop_gradient(jnp.where(there, common / together, 0.0))
    best = jnp.argmax(jnp.where(there, overlap, -1.0), axis=-1, keepdims=True)
    is_best = jnp.arange(len(anchors)) == best
    presence = a.get("minimum_iou_for_object_presence", 0.7)
    answers = there & (is_best | (overlap >= presence))
    empty = ~answers & (overlap < a.get("maximum_iou_for_object_absence", 0.3))

    def distance(kind: int, y: Array, target: Array) -> Array:
        one = Case("", (), {"loss_type": kind, "delta": a.get("delta", 1.0)})
        return each(one, y, target).sum(axis=-1)

    wanted = jnp.log(jnp.where(t[..., 2:4] > 0, t[..., 2:4], 1.0) / anchors)
    target = overlap if a.get("rescore", True) else 1.0
    if a.get("classes_loss_type", SOFT_MAX) == SOFT_MAX:
        classes = -(t[..., 5:] * jax.nn.log_softmax(p[..., 5:], axis=-1)).sum(axis=-1)
    else:
        classes = sigmoid_entropy(p[..., 5:], t[..., 5:]).sum(axis=-1)
    of_object = (
        a.get("scale_xy", 10.0) * distance(a.get("xy_loss_type", SQUARED), centre, t[..., 0:2])
        + a.get("scale_wh", 10.0) * distance(a.get("wh_loss_type", HUBER), p[..., 2:4], wanted)
        + a.get("scale_object", 100.0) * sigmoid_entropy(p[..., 4], target)
        + a.get("scale_class", 2.0) * classes
    )
    nothing = a.get("scale_no_object", 5.0) * sigmoid_entropy(p[..., 4], 0.0)
    losses = jnp.where(answers, of_object, jnp.where(empty, nothing, 0.0))
    return a.get("weight", 1.0) * losses


def yolo(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """The loss of each image, or the gradient of the predictions."""
    predictions, labels = sources
    if not case.attributes.get("computes_loss", False):
        return jax.grad(lambda y: box_losses(case, y, labels).sum())(predictions)
    losses = box_losses(case, predictions, labels)
    total = losses.sum(axis=(1, 2, 3)).reshape(-1, 1, 1, 1)
    is_mean = case.attributes.get("reduction_type", 1) == MEAN
    return total / np.prod(losses.shape[1:]) if is_mean else total


ORACLES = {
    "ForwardLossNode": Oracle(
        loss,
        differentiable=undivided,
        magnitude=magnitude,
        terms=terms,
        gradient_terms=gradient_terms,
        gradient_sizes=gradient_sizes,
    ),
    "LossNode": Oracle(loss_gradient, magnitude=gradient_magnitude, terms=gradient_terms),
    "YOLOLossNode": Oracle(yolo, terms=terms, bounded_by_result=True),
    "InitialGradientNode": Oracle(ones),
}
