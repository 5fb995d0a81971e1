# SPDX-License-Identifier: MIT
"""Gram matrices."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
from cases import Case

from oracles import Array, Oracle, Parameters


def gram(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """Alpha Σ x[f] x[c] over the pixels of each image: (N, 1, C, C)."""
    (x,) = sources
    return case.attributes.get("alpha", 1.0) * jnp.einsum("nyxf,nyxc->nfc", x, x)[:, None]


def pixels(_case: Case, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Summands of the matrix."""
    _, height, width, _ = shapes["source0"]
    return height * width


def channels(_case: Case, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Summands of the gradient: a row and a column of the matrix."""
    return 2 * shapes["source0"][3]


ORACLES = {"GramMatrixCalculationNode": Oracle(gram, terms=pixels, gradient_terms=channels)}
