# SPDX-License-Identifier: MIT
"""Poolings. Of equal maxima the first in row order is taken; a norm of 0 has the derivative 0."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from cases import EXCLUDE_EDGES, ZERO, Case
from numpy.typing import NDArray

from oracles import Array, Oracle, Parameters, take_rows, window_positions


def window(case: Case) -> tuple[tuple[int, int], tuple[int, int]]:
    """Kernel and stride, (y, x); what is not given follows from the width."""
    a = case.attributes
    width = a["kernel_width"]
    height = a.get("kernel_height", width)
    return (height, width), (
        a.get("stride_in_pixels_y", height),
        a.get("stride_in_pixels_x", width),
    )


def dilation(case: Case) -> tuple[int, int]:
    """Dilation rates (y, x); what is not given follows from the kernel."""
    if case.node != "DilatedPoolingMaxNode":
        return 1, 1
    kernel, _ = window(case)
    a = case.attributes
    return a.get("dilation_rate_y", kernel[0]), a.get("dilation_rate_x", kernel[1])


Positions = tuple[NDArray[np.int64], NDArray[np.int64]]


def positions(case: Case, source: Array) -> Positions:
    """Source rows and columns that each window reads: (windows, kernel)."""
    _, height, width, _ = source.shape
    kernel, stride = window(case)
    rate = dilation(case)
    return (
        window_positions(height, kernel[0], stride[0], rate[0], case.padding, "y"),
        window_positions(width, kernel[1], stride[1], rate[1], case.padding, "x"),
    )


def maximum(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """The largest value of each window."""
    (source,) = sources
    _, height, width, channels = source.shape
    rows, columns = positions(case, source)
    values = take_rows(take_rows(source, rows, 1, clamp=False), columns, 3, clamp=False)
    inside = ((rows >= 0) & (rows < height))[:, :, None, None] & (
        (columns >= 0) & (columns < width)
    )[None, None]  # y, i, x, j
    if case.attributes.get("edge_mode") != ZERO:
        # The window shrinks to the image; one that lies wholly outside gives 0.
        empty = ~inside.any(axis=(1, 3), keepdims=True)
        values = jnp.where((inside | empty)[None, ..., None], values, -np.inf)
    n, y, i, x, j, _ = values.shape
    values = values.transpose(0, 1, 3, 5, 2, 4).reshape(n, y, x, channels, i * j)
    first = jnp.argmax(values, axis=-1, keepdims=True)
    return jnp.take_along_axis(values, first, axis=-1)[..., 0]


def sums(case: Case, source: Array) -> Array:
    """Sums over the windows' positions in the image."""
    rows, columns = positions(case, source)
    return take_rows(take_rows(source, rows, 1, clamp=False), columns, 3, clamp=False).sum((2, 4))


def counted(case: Case, at: NDArray[np.int64], size: int, axis: str) -> NDArray[np.int64]:
    """By how many positions a window divides along one axis."""
    border = case.attributes.get(f"zero_pad_size_{axis}", 0)
    edge_mode = case.attributes.get("edge_mode")
    if (case.padding or 0) & EXCLUDE_EDGES:
        border, edge_mode = max(-int(at[0, 0]), 0), None
    if edge_mode == ZERO:
        return np.full(at.shape[0], at.shape[1], np.int64)
    return np.maximum(((at >= -border) & (at < size + border)).sum(axis=1), 1)


def average(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """Sums divided by the positions that count."""
    (source,) = sources
    rows, columns = positions(case, source)
    count = np.outer(
        counted(case, rows, source.shape[1], "y"), counted(case, columns, source.shape[2], "x")
    )
    return sums(case, source) / count[None, :, :, None]


def l2_norm(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """Roots of the sums of squares."""
    (source,) = sources
    squares = sums(case, source * source)
    is_zero = squares == 0
    # The root of 1 where the sum is 0: JAX would multiply an infinite slope by 0.
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squares)))


def terms(case: Case, _shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The positions of a window."""
    kernel, _ = window(case)
    return kernel[0] * kernel[1]


def gradient_terms(case: Case, _shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The windows that a pixel can lie in."""
    kernel, _ = window(case)
    return kernel[0] * kernel[1]


MAXIMUM = Oracle(maximum, gradient_terms=gradient_terms, bounded_by_result=True)

ORACLES = {
    "PoolingMaxNode": MAXIMUM,
    "DilatedPoolingMaxNode": MAXIMUM,
    "PoolingAverageNode": Oracle(average, terms=terms, gradient_terms=gradient_terms),
    "PoolingL2NormNode": Oracle(
        l2_norm, terms=terms, gradient_terms=gradient_terms, reads_result=True
    ),
}
