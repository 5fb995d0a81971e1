# SPDX-License-Identifier: MIT
"""Convolution: a cross-correlation over gathered windows."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
from cases import CLAMP, Case, Convolution

from oracles import Array, Oracle, Parameters, take_rows, window_positions


def geometry(case: Case) -> Convolution:
    """The convolution of a case, which must have one."""
    assert case.convolution is not None
    return case.convolution


def forward(case: Case, sources: list[Array], parameters: Parameters) -> Array:
    """result[n,y,x,o] = bias[o] + Σ weights[o,i,j,c] · source[n, y s + i d - top, …, c]."""
    c = geometry(case)
    (source,) = sources
    _, height, width, channels = source.shape
    clamp = case.attributes.get("edge_mode") == CLAMP
    rows = window_positions(height, c.kernel[0], c.stride[0], c.dilation[0], case.padding, "y")
    columns = window_positions(width, c.kernel[1], c.stride[1], c.dilation[1], case.padding, "x")
    windows = take_rows(source, rows, 1, clamp=clamp)  # n, y, i, w, c
    windows = take_rows(windows, columns, 3, clamp=clamp)  # n, y, i, x, j, c
    n, y, i, x, j, _ = windows.shape
    windows = windows.reshape(n, y, i, x, j, c.groups, channels // c.groups)
    weights = parameters["weights"].reshape(c.groups, c.outputs // c.groups, i, j, -1)
    result = jnp.einsum("nyixjgc,goijc->nyxgo", windows, weights).reshape(n, y, x, c.outputs)
    return result + parameters["bias"] if c.bias else result


def terms(case: Case, _shapes: Mapping[str, tuple[int, ...]]) -> int:
    """A window of one group's input channels."""
    c = geometry(case)
    return c.kernel[0] * c.kernel[1] * c.inputs // c.groups + 1


def gradient_terms(case: Case, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """A window of one group's output channels; with CLAMP, border pixels are read many times."""
    c = geometry(case)
    count = c.kernel[0] * c.kernel[1] * c.outputs // c.groups
    _, y, x, _ = shapes["result"]
    return count * y * x if case.attributes.get("edge_mode") == CLAMP else count


def parameter_terms(_case: Case, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Every pixel of every image."""
    n, y, x, _ = shapes["result"]
    return n * y * x


def fully_connected(case: Case, sources: list[Array], parameters: Parameters) -> Array:
    """result[n,o] = bias[o] + Σ weights[o,y,x,c] · source[n,y,x,c]."""
    result = jnp.einsum("nyxc,oyxc->no", sources[0], parameters["weights"])[:, None, None, :]
    return result + parameters["bias"] if geometry(case).bias else result


def connected_gradient_terms(case: Case, _shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Every feature channel of the result."""
    return geometry(case).outputs


ORACLES = {
    "FullyConnectedNode": Oracle(
        fully_connected,
        terms=terms,
        gradient_terms=connected_gradient_terms,
        parameter_terms=parameter_terms,
    ),
    "ConvolutionNode": Oracle(
        forward,
        terms=terms,
        gradient_terms=gradient_terms,
        parameter_terms=parameter_terms,
    ),
}
