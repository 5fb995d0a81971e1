# SPDX-License-Identifier: MIT
"""Max pooling: of equal maxima the first in row order is taken."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from cases import ZERO, Case

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


def forward(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """The largest value of each window."""
    (source,) = sources
    _, height, width, channels = source.shape
    kernel, stride = window(case)
    rows = window_positions(height, kernel[0], stride[0], 1, case.padding, "y")
    columns = window_positions(width, kernel[1], stride[1], 1, case.padding, "x")
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


def gradient_terms(case: Case, _shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The windows that a pixel can lie in."""
    kernel, _ = window(case)
    return kernel[0] * kernel[1]


ORACLES = {"PoolingMaxNode": Oracle(forward, gradient_terms=gradient_terms, bounded_by_result=True)}
