# SPDX-License-Identifier: MIT
"""Resizing as two matrix products; the matrices hold the kernel's values at the distances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import jax.numpy as jnp
import numpy as np
from cases import Case
from numpy.typing import NDArray

from oracles import Array, Doubles, Oracle, Parameters

Kernel = Callable[[Doubles], Doubles]


def triangle(t: Doubles) -> Doubles:
    """1 at 0, 0 from a distance of 1 on."""
    return np.maximum(0.0, 1.0 - np.abs(t))


def lanczos(t: Doubles) -> Doubles:
    """sinc(t) sinc(t / 3) for |t| < 3."""
    return np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0.0)


def weights(
    source: int, result: int, scale: float, translate: float, kernel: Kernel, *, widens: bool
) -> NDArray[np.float64]:
    """What each result position takes of each source position; outside reads the nearest."""
    centres = (np.arange(result) + 0.5 - translate) / scale - 0.5
    stretch = max(1.0, 1.0 / scale) if widens else 1.0
    matrix = np.zeros((result, source))
    reach = int(3 * stretch) + 2
    for row, centre in enumerate(centres):
        at = np.arange(int(np.floor(centre)) - reach, int(np.floor(centre)) + reach + 1)
        values = kernel((at - centre) / stretch)
        np.add.at(matrix[row], np.clip(at, 0, source - 1), values / values.sum())
    return matrix


def resize(
    case: Case, sources: list[Array], _parameters: Parameters, *, kernel: Kernel, widens: bool
) -> Array:
    """Rows, then columns."""
    (x,) = sources
    a = case.attributes
    _, height, width, _ = x.shape
    out = a["result_height"], a["result_width"]
    transform = a.get("transform") or [out[1] / width, out[0] / height, 0.0, 0.0]
    rows = weights(height, out[0], transform[1], transform[3], kernel, widens=widens)
    columns = weights(width, out[1], transform[0], transform[2], kernel, widens=widens)
    return jnp.einsum("py,nyxc,qx->npqc", rows, x, columns)


def terms(_case: Case, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """At most all rows, all columns, and the rounding of the weights."""
    return sum(shapes["source0"][1:3]) + 8


def gradient_terms(_case: Case, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """At most all rows and all columns of the result."""
    return sum(shapes["result"][1:3]) + 8


ORACLES = {
    name: Oracle(
        partial(resize, kernel=kernel, widens=widens),
        terms=terms,
        gradient_terms=gradient_terms,
        bounded_by_result=True,
    )
    for name, kernel, widens in [
        ("BilinearScaleNode", triangle, False),
        ("LanczosScaleNode", lanczos, True),
    ]
}
