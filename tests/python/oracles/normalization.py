# SPDX-License-Identifier: MIT
"""Normalisation by mean and variance."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from cases import Case

from oracles import Array, Doubles, Oracle, Parameters

ALWAYS, NEVER = 1, 2
# The smallest normal float32: the default.
TINY = float(np.finfo(np.float32).tiny)


def epsilon_of(case: Case) -> float:
    """What is added to the variance."""
    assert case.normalization is not None
    epsilon = case.normalization.epsilon
    return TINY if epsilon is None else epsilon


def normalize(case: Case, x: Array, mean: Array, variance: Array, parameters: Parameters) -> Array:
    """(x - mean) gamma / sqrt(variance + epsilon) + beta."""
    scale = parameters["gamma"] / jnp.sqrt(variance + epsilon_of(case))
    return (x - mean) * scale + parameters["beta"]


def by_batch(case: Case, sources: list[Array], parameters: Parameters) -> Array:
    """By the statistics of each channel over the batch."""
    (x,) = sources
    mean = x.mean(axis=(0, 1, 2))
    return normalize(case, x, mean, ((x - mean) ** 2).mean(axis=(0, 1, 2)), parameters)


def by_stored(case: Case, sources: list[Array], parameters: Parameters) -> Array:
    """By the stored statistics."""
    return normalize(case, sources[0], parameters["mean"], parameters["variance"], parameters)


def batch(case: Case, sources: list[Array], parameters: Parameters) -> Array:
    """What an inference graph computes: by the stored statistics unless a flag says otherwise."""
    formula = by_batch if case.attributes.get("flags") == ALWAYS else by_stored
    return formula(case, sources, parameters)


def trained_batch(case: Case, sources: list[Array], parameters: Parameters) -> Array:
    """What a training graph differentiates."""
    formula = by_stored if case.attributes.get("flags") == NEVER else by_batch
    return formula(case, sources, parameters)


def batch_sizes(
    case: Case, sources: list[Doubles], parameters: Mapping[str, Doubles], gradient: Doubles
) -> tuple[float, float]:
    """The three terms of a source's gradient, and those of the sums of gamma and beta."""
    (x,) = sources
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    if case.attributes.get("flags") == NEVER:
        mean, variance = parameters["mean"], parameters["variance"]
    inverse = 1 / np.sqrt(variance + epsilon_of(case))
    largest = np.abs(gradient).max()
    normalized = (np.abs(x) + np.abs(mean)) * inverse
    size = (np.abs(parameters["gamma"]) * inverse).max() * largest * (2 + normalized.max() ** 2)
    total = np.abs(gradient).sum(axis=(0, 1, 2)).max() * (1 + normalized.max())
    return float(size), float(total)


ORACLES = {
    "BatchNormalizationNode": Oracle(
        batch, differentiable=trained_batch, bounded_by_result=True, gradient_sizes=batch_sizes
    )
}
