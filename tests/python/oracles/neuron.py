# SPDX-License-Identifier: MIT
"""The ReLU family. At exactly 0 the derivative is that of the negative side."""

from __future__ import annotations

import jax.numpy as jnp
from cases import Case

from oracles import Array, Oracle, Parameters


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


ORACLES = {
    "NeuronReLUNode": Oracle(relu, bounded_by_result=True),
    "NeuronReLUNNode": Oracle(relun, bounded_by_result=True),
    "NeuronPReLUNode": Oracle(prelu, bounded_by_result=True),
}
