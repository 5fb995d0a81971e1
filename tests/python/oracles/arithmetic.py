# SPDX-License-Identifier: MIT
"""Arithmetic of two images, broadcast against each other."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from cases import Case
from cases.arithmetic import (
    EQUAL,
    GREATER,
    GREATER_OR_EQUAL,
    LESS,
    LESS_OR_EQUAL,
    NOT_EQUAL,
)

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


def unclamped_product(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """P primary_scale s secondary_scale + bias."""
    primary, secondary = sources
    a = case.attributes
    scale = a.get("primary_scale", 1.0) * a.get("secondary_scale", 1.0)
    return primary * secondary * scale + a.get("bias", 0.0)


def unclamped_quotient(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """P primary_scale / (s secondary_scale) + bias."""
    primary, secondary = sources
    a = case.attributes
    quotient = primary * a.get("primary_scale", 1.0) / (secondary * a.get("secondary_scale", 1.0))
    return quotient + a.get("bias", 0.0)


def multiplication(case: Case, sources: list[Array], parameters: Parameters) -> Array:
    """The product, clamped."""
    return clamped(case, unclamped_product(case, sources, parameters))


def division(case: Case, sources: list[Array], parameters: Parameters) -> Array:
    """The quotient, clamped."""
    return clamped(case, unclamped_quotient(case, sources, parameters))


def comparison(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """1 where the comparison holds."""
    primary, secondary = sources
    kind = case.attributes.get("comparison_type", EQUAL)
    near = jnp.abs(primary - secondary) <= case.attributes.get("threshold", 0.0)
    holds = {
        EQUAL: near,
        NOT_EQUAL: ~near,
        LESS: primary < secondary,
        LESS_OR_EQUAL: primary <= secondary,
        GREATER: primary > secondary,
        GREATER_OR_EQUAL: primary >= secondary,
    }
    return holds[kind].astype(jnp.float64)


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
    "MultiplicationNode": Oracle(
        multiplication, differentiable=unclamped_product, gradient_terms=gradient_terms
    ),
    "DivisionNode": Oracle(
        division, differentiable=unclamped_quotient, gradient_terms=gradient_terms
    ),
    "ComparisonNode": Oracle(comparison),
}
