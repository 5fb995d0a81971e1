# SPDX-License-Identifier: MIT
"""Arithmetic of two images, broadcast against each other."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from cases import Case

from oracles import Array, Oracle, Parameters, absolute


def unclamped_sum(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """P primary_scale + s secondary_scale + bias."""
    primary, secondary = sources
    a = case.attributes
    scaled = primary * a.get("primary_scale", 1.0) + secondary * a.get("secondary_scale", 1.0)
    return scaled + a.get("bias", 0.0)


def unclamped_difference(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """P primary_scale - s secondary_scale + bias."""
    primary, secondary = sources
    a = case.attributes
    scaled = primary * a.get("primary_scale", 1.0) - secondary * a.get("secondary_scale", 1.0)
    return scaled + a.get("bias", 0.0)


def clamped(case: Case, values: Array) -> Array:
    """Between minimum_value and maximum_value."""
    a = case.attributes
    return jnp.clip(values, a.get("minimum_value", -np.inf), a.get("maximum_value", np.inf))


def addition(case: Case, sources: list[Array], parameters: Parameters) -> Array:
    """The sum, clamped."""
    return clamped(case, unclamped_sum(case, sources, parameters))


def subtraction(case: Case, sources: list[Array], parameters: Parameters) -> Array:
    """The difference, clamped."""
    return clamped(case, unclamped_difference(case, sources, parameters))


def of_absolutes(case: Case, sources: list[Array], parameters: Parameters) -> Array:
    """All parts' absolute values added up: no part cancels another's rounding."""
    return unclamped_sum(absolute(case), [jnp.abs(source) for source in sources], parameters)


def gradient_terms(_case: Case, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """All values that a broadcast one went into."""
    return int(np.prod(shapes["result"]))


# Gradients ignore bias and clamping, as Apple's do.
ORACLES = {
    "AdditionNode": Oracle(addition, differentiable=unclamped_sum, gradient_terms=gradient_terms),
    "SubtractionNode": Oracle(
        subtraction,
        differentiable=unclamped_difference,
        magnitude=of_absolutes,
        gradient_terms=gradient_terms,
    ),
}
