# SPDX-License-Identifier: MIT
"""Softmax over the channels, and its logarithm."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case

from oracles import Array, Doubles, Formula, Oracle, Parameters


def softmax(_case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """e^x over the sum of the channels' e^x."""
    (x,) = sources
    powers = jnp.exp(x - jax.lax.stop_gradient(x.max(axis=3, keepdims=True)))
    return powers / powers.sum(axis=3, keepdims=True)


def log_softmax(_case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """X - ln of the sum of the channels' e^x."""
    (x,) = sources
    most = jax.lax.stop_gradient(x.max(axis=3, keepdims=True))
    return x - most - jnp.log(jnp.exp(x - most).sum(axis=3, keepdims=True))


def channels(_case: Case, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """What is summed."""
    return shapes["source0"][3]


def gradient_sizes(
    _case: Case, _sources: list[Doubles], _parameters: Mapping[str, Doubles], gradient: Doubles
) -> tuple[float, float]:
    """The gradient and a weighted mean of it are subtracted."""
    return float(np.abs(gradient).max()), 0.0


def _oracle(formula: Formula) -> Oracle:
    return Oracle(
        formula,
        terms=channels,
        gradient_terms=channels,
        bounded_by_result=True,
        reads_result=True,
        gradient_sizes=gradient_sizes,
    )


ORACLES = {"SoftMaxNode": _oracle(softmax), "LogSoftMaxNode": _oracle(log_softmax)}
