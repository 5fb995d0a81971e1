# SPDX-License-Identifier: MIT
"""Normalisation by mean and variance."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from cases import Case

from oracles import Array, Doubles, Formula, Oracle, Parameters

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


def by_image(case: Case, sources: list[Array], parameters: Parameters) -> Array:
    """By the statistics of groups of channels of each image; a channel a group by default."""
    (x,) = sources
    assert case.normalization is not None
    n, height, width, channels = x.shape
    groups = case.normalization.groups or channels
    parted = x.reshape(n, height, width, groups, channels // groups)
    mean = parted.mean(axis=(1, 2, 4), keepdims=True)
    variance = ((parted - mean) ** 2).mean(axis=(1, 2, 4), keepdims=True)
    normalized = (parted - mean) / jnp.sqrt(variance + epsilon_of(case))
    return normalized.reshape(x.shape) * parameters["gamma"] + parameters["beta"]


def image_sizes(
    case: Case, sources: list[Doubles], parameters: Mapping[str, Doubles], gradient: Doubles
) -> tuple[float, float]:
    """As those of a batch, for the image whose values lie closest."""
    (x,) = sources
    assert case.normalization is not None
    n, height, width, channels = x.shape
    groups = case.normalization.groups or channels
    parted = x.reshape(n, height, width, groups, channels // groups)
    mean, variance = parted.mean(axis=(1, 2, 4)), parted.var(axis=(1, 2, 4))
    inverse = (1 / np.sqrt(variance + epsilon_of(case))).max()
    largest, normalized = np.abs(gradient).max(), (np.abs(x).max() + np.abs(mean).max()) * inverse
    size = np.abs(parameters["gamma"]).max() * inverse * largest * (2 + normalized**2)
    total = np.abs(gradient).sum(axis=(0, 1, 2)).max() * (1 + normalized)
    return float(size), float(total)


def window_sum(x: Array, height: int, width: int) -> Array:
    """Sums over p - k // 2 … p + (k - 1) // 2, zeros outside."""
    padded = jnp.pad(
        x, ((0, 0), (height // 2, (height - 1) // 2), (width // 2, (width - 1) // 2), (0, 0))
    )
    _, rows, columns, _ = x.shape
    parts = [padded[:, i : i + rows, j : j + columns] for i in range(height) for j in range(width)]
    return jnp.sum(jnp.stack(parts), axis=0)


def window_of(case: Case) -> tuple[int, int]:
    """Height and width; the height follows the width."""
    width = case.attributes.get("kernel_width", 3)
    return case.attributes.get("kernel_height", width), width


def spatial(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """X / (delta + alpha / (kw kh) Σ X²)^beta."""
    (x,) = sources
    a = case.attributes
    height, width = window_of(case)
    squares = window_sum(x**2, height, width) / (height * width)
    return x / (a.get("delta", 1.0) + a.get("alpha", 1.0) * squares) ** a.get("beta", 5.0)


def contrast(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """Pm + ps (x - p0 mean) / (delta + alpha variance)^beta."""
    (x,) = sources
    a = case.attributes
    height, width = window_of(case)
    mean = window_sum(x, height, width) / (height * width)
    variance = window_sum(x**2, height, width) / (height * width) - mean**2
    power = (a.get("delta", 2.0**-10) + a.get("alpha", 1.0) * variance) ** a.get("beta", 0.5)
    return a.get("pm", 0.0) + a.get("ps", 1.0) * (x - a.get("p0", 1.0) * mean) / power


def cross_channel(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """X / (delta + alpha / N Σ X²)^beta over channels c - N // 2 … c + (N - 1) // 2."""
    (x,) = sources
    a = case.attributes
    size, channels = a.get("kernel_size", 5), x.shape[3]
    padded = jnp.pad(x**2, ((0, 0), (0, 0), (0, 0), (size // 2, (size - 1) // 2)))
    squares = sum(padded[..., k : k + channels] for k in range(size)) / size
    return x / (a.get("delta", 1.0) + a.get("alpha", 1.0) * squares) ** a.get("beta", 5.0)


def window_sizes(
    case: Case, sources: list[Doubles], _parameters: Mapping[str, Doubles], gradient: Doubles
) -> tuple[float, float]:
    """The direct term, and those of the windows that hold a pixel; their denominators are least."""
    a = case.attributes
    is_contrast = case.node.startswith("Local")
    beta = a.get("beta", 0.5 if is_contrast else 5.0)
    delta, alpha = a.get("delta", 2.0**-10 if is_contrast else 1.0), a.get("alpha", 1.0)
    (x,) = sources
    largest = float(np.abs(x).max())
    # The least variance that a window with two different values has.
    least = delta + (alpha * float(x.var()) / 100 if is_contrast and x.size > 3 else 0.0)
    most = least if beta >= 0 else delta + alpha * largest**2
    outer = abs(a.get("ps", 1.0)) * most**-beta * float(np.abs(gradient).max())
    inner = 1 + 4 * alpha * abs(beta) * (1 + abs(a.get("p0", 1.0))) ** 2 * largest**2 / least
    return outer * inner, 0.0


def window_terms(case: Case, _shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Summands of a window; and an exponent multiplies the errors of the base."""
    height, width = window_of(case)
    count = case.attributes.get("kernel_size", 5) if "Channel" in case.node else height * width
    return count + 30


def _window(formula: Formula) -> Oracle:
    return Oracle(
        formula,
        terms=window_terms,
        gradient_terms=window_terms,
        bounded_by_result=True,
        gradient_sizes=window_sizes,
    )


def _image() -> Oracle:
    return Oracle(by_image, bounded_by_result=True, gradient_sizes=image_sizes)


ORACLES = {
    "BatchNormalizationNode": Oracle(
        batch, differentiable=trained_batch, bounded_by_result=True, gradient_sizes=batch_sizes
    ),
    "InstanceNormalizationNode": _image(),
    "GroupNormalizationNode": _image(),
    "SpatialNormalizationNode": _window(spatial),
    "LocalContrastNormalizationNode": _window(contrast),
    "CrossChannelNormalizationNode": _window(cross_channel),
}
