# SPDX-License-Identifier: MIT
"""Neurons. Where a function has a corner the derivative is the one that the node's page names."""

from __future__ import annotations

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import jax.scipy.special
from cases import Case

from oracles import Array, Formula, Oracle, Parameters


def relu(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """X for x >= 0, a x else."""
    (x,) = sources
    return jnp.where(x > 0, x, case.attributes.get("a", 0.0) * x)


def relun(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """min(x >= 0 ? x : a x, b)."""
    (x,) = sources
    a, b = case.attributes.get("a", 1.0), case.attributes.get("b", 6.0)
    return jnp.where(x >= b, b, jnp.where(x > 0, x, a * x))


def prelu(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """ReLU with a slope of its own for each channel."""
    (x,) = sources
    return jnp.where(x > 0, x, jnp.asarray(case.attributes["a"]) * x)


def parameter(case: Case, name: str, default: float) -> float:
    """One of a, b and c."""
    value = case.attributes.get(name, default)
    assert isinstance(value, float)
    return value


def linear(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """A x + b."""
    return parameter(case, "a", 1.0) * sources[0] + parameter(case, "b", 0.0)


def sigmoid(_case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """1 / (1 + e^-x)."""
    return 1 / (1 + jnp.exp(-sources[0]))


def hard_sigmoid(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """A x + b between 0 and 1, flat at the corners."""
    line = parameter(case, "a", 0.2) * sources[0] + parameter(case, "b", 0.5)
    return jnp.where(line <= 0, 0.0, jnp.where(line >= 1, 1.0, line))


def tanh(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """Hyperbolic tangent with factors outside (a) and inside (b)."""
    return parameter(case, "a", 1.0) * jnp.tanh(parameter(case, "b", 1.0) * sources[0])


def absolute(_case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """|x|, flat at 0."""
    (x,) = sources
    return jnp.where(x > 0, x, jnp.where(x < 0, -x, 0.0))


def soft_plus(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """A log(1 + e^(b x))."""
    return parameter(case, "a", 1.0) * jnp.log1p(jnp.exp(parameter(case, "b", 1.0) * sources[0]))


def soft_sign(_case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """X / (1 + |x|)."""
    (x,) = sources
    # The slope is 1 at 0 from both sides; JAX would take |x|'s there.
    return x / (1 + x * jnp.where(x < 0, -1.0, 1.0))


def elu(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """X for x >= 0, a (e^x - 1) else; at 0 the slope is a."""
    (x,) = sources
    negative = parameter(case, "a", 1.0) * jnp.expm1(jnp.minimum(x, 0.0))
    # minimum's slope at 0 is a half in JAX: the source itself where it is not positive.
    exact = parameter(case, "a", 1.0) * jnp.expm1(jnp.where(x > 0, 0.0, x))
    return jnp.where(x > 0, x, jnp.where(x == 0, exact, negative))


def power(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """(a x + b)^c."""
    base = parameter(case, "a", 1.0) * sources[0] + parameter(case, "b", 0.0)
    c = parameter(case, "c", 1.0)
    return base ** int(c) if c == int(c) else base**c


def base_of(case: Case) -> float:
    """C, or e where it is -1."""
    c = parameter(case, "c", -1.0)
    return math.e if c == -1 else c


def exponential(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """c^(a x + b)."""
    exponent = parameter(case, "a", 1.0) * sources[0] + parameter(case, "b", 0.0)
    return jnp.exp(exponent * math.log(base_of(case)))


def logarithm(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """log_c(a x + b)."""
    argument = parameter(case, "a", 1.0) * sources[0] + parameter(case, "b", 0.0)
    return jnp.log(argument) / math.log(base_of(case))


def gelu(_case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """X (1 + erf(x / sqrt(2))) / 2."""
    (x,) = sources
    return 0.5 * x * (1 + jax.scipy.special.erf(x * math.sqrt(0.5)))


FORMULAS: dict[str, Formula] = {
    "NeuronReLUNode": relu,
    "NeuronReLUNNode": relun,
    "NeuronPReLUNode": prelu,
    "NeuronLinearNode": linear,
    "NeuronSigmoidNode": sigmoid,
    "NeuronHardSigmoidNode": hard_sigmoid,
    "NeuronTanHNode": tanh,
    "NeuronAbsoluteNode": absolute,
    "NeuronSoftPlusNode": soft_plus,
    "NeuronSoftSignNode": soft_sign,
    "NeuronELUNode": elu,
    "NeuronPowerNode": power,
    "NeuronExponentialNode": exponential,
    "NeuronLogarithmNode": logarithm,
    "NeuronGeLUNode": gelu,
}


def two_terms(_case: Case, _shapes: Mapping[str, tuple[int, ...]]) -> int:
    """GeLU's slope is a difference of two terms on the left; each is a product of several."""
    return 16


def exponent_size(_case: Case, _shapes: Mapping[str, tuple[int, ...]]) -> int:
    """A rounding of the exponent counts as many times as the exponent is large: up to 88."""
    return 88


ORACLES = {name: Oracle(formula, bounded_by_result=True) for name, formula in FORMULAS.items()}
ORACLES["NeuronGeLUNode"] = Oracle(gelu, gradient_terms=two_terms, bounded_by_result=True)
ORACLES["NeuronExponentialNode"] = Oracle(
    exponential, terms=exponent_size, gradient_terms=exponent_size, bounded_by_result=True
)
