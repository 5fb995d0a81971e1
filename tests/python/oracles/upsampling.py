# SPDX-License-Identifier: MIT
"""Upsampling: a matrix for the rows and one for the columns."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from cases import Case
from numpy.typing import NDArray

from oracles import Array, Oracle, Parameters


def factors(case: Case) -> tuple[int, int]:
    """Scale of height and width."""
    x = case.attributes["integer_scale_factor_x"]
    return case.attributes.get("integer_scale_factor_y", x), x


def nearest_matrix(size: int, factor: int) -> NDArray[np.float64]:
    """Each row of the result is the source row that it lies in."""
    return np.repeat(np.eye(size), factor, axis=0)


def bilinear_matrix(size: int, factor: int, *, align_corners: bool) -> NDArray[np.float64]:
    """Row y of the result reads position y / scale, or y (in - 1) / (out - 1)."""
    out = size * factor
    matrix = np.zeros((out, size))
    for y in range(out):
        position = y / factor if not align_corners else y * (size - 1) / max(out - 1, 1)
        low = min(int(position), size - 1)
        high = min(low + 1, size - 1)
        matrix[y, low] += 1 - (position - low)
        matrix[y, high] += position - low
    return matrix


def nearest(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """Replicates pixels."""
    (source,) = sources
    y, x = factors(case)
    rows, columns = nearest_matrix(source.shape[1], y), nearest_matrix(source.shape[2], x)
    return jnp.einsum("yh,xw,nhwc->nyxc", rows, columns, source)


def bilinear(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """Interpolates along rows and columns."""
    (source,) = sources
    y, x = factors(case)
    align = bool(case.attributes.get("align_corners", False))
    rows = bilinear_matrix(source.shape[1], y, align_corners=align)
    columns = bilinear_matrix(source.shape[2], x, align_corners=align)
    return jnp.einsum("yh,xw,nhwc->nyxc", rows, columns, source)


def terms(_case: Case, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Four pixels; positions are computed in float32 too, to within their own size."""
    _, height, width, _ = shapes["source0"]
    return 4 * (height + width)


def gradient_terms(case: Case, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The pixels that read one source pixel."""
    y, x = factors(case)
    return 9 * y * x + terms(case, shapes)


ORACLES = {
    "UpsamplingNearestNode": Oracle(nearest, gradient_terms=gradient_terms),
    "UpsamplingBilinearNode": Oracle(bilinear, terms=terms, gradient_terms=gradient_terms),
}
