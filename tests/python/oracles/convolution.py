# SPDX-License-Identifier: MIT
"""Convolutions: cross-correlations over gathered windows."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from cases import CLAMP, Case, Convolution
from cases.convolution import AND, BINARY_WEIGHTS
from numpy.typing import NDArray

from oracles import Array, Oracle, Parameters, take_rows, window_positions


def geometry(case: Case) -> Convolution:
    """The convolution of a case, which must have one."""
    assert case.convolution is not None
    return case.convolution


Positions = NDArray[np.int64]


def correlate(
    c: Convolution,
    source: Array,
    rows: Positions,
    columns: Positions,
    weights: Array,
    *,
    clamp: bool,
) -> Array:
    """Σ weights[o,i,j,c] · source[n, rows[y,i], columns[x,j], c], group by group."""
    windows = take_rows(source, rows, 1, clamp=clamp)  # n, y, i, w, c
    windows = take_rows(windows, columns, 3, clamp=clamp)  # n, y, i, x, j, c
    n, y, i, x, j, channels = windows.shape
    windows = windows.reshape(n, y, i, x, j, c.groups, channels // c.groups)
    weights = weights.reshape(c.groups, c.outputs // c.groups, i, j, -1)
    return jnp.einsum("nyixjgc,goijc->nyxgo", windows, weights).reshape(n, y, x, c.outputs)


def positions(case: Case, source: Array) -> tuple[Positions, Positions]:
    """Source rows and columns of each window."""
    c = geometry(case)
    _, height, width, _ = source.shape
    return (
        window_positions(height, c.kernel[0], c.stride[0], c.dilation[0], case.padding, "y"),
        window_positions(width, c.kernel[1], c.stride[1], c.dilation[1], case.padding, "x"),
    )


def forward(case: Case, sources: list[Array], parameters: Parameters) -> Array:
    """result[n,y,x,o] = bias[o] + Σ weights[o,i,j,c] · source[n, y s + i d - top, …, c]."""
    c = geometry(case)
    (source,) = sources
    clamp = case.attributes.get("edge_mode") == CLAMP
    result = correlate(c, source, *positions(case, source), parameters["weights"], clamp=clamp)
    if c.bias:
        result = result + parameters["bias"]
    r = c.sub_pixel
    n, y, x, _ = result.shape
    # Channels (row in the block, column in the block, channel) become pixels.
    blocks = result.reshape(n, y, x, r, r, c.outputs // (r * r))
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, y * r, x * r, -1)


def transpose(case: Case, sources: list[Array], parameters: Parameters) -> Array:
    """Zeros between the source's pixels, then windows side by side."""
    c = geometry(case)
    source = sources[0]
    n, height, width, channels = source.shape
    size = [(height - 1) * c.stride[0] + 1, (width - 1) * c.stride[1] + 1]
    stuffed = jnp.zeros((n, *size, channels)).at[:, :: c.stride[0], :: c.stride[1]].set(source)
    steps = [np.arange(k) * d for k, d in zip(c.kernel, c.dilation, strict=True)]
    at = []
    for axis, name in enumerate("yx"):
        extent = int(steps[axis][-1]) + 1
        if len(sources) == 1:
            found = window_positions(
                size[axis], c.kernel[axis], 1, c.dilation[axis], case.padding, name
            )
        else:
            # The undone convolution reads from -pad on; read backwards that is its extent more.
            wide = sources[1].shape[1 + axis]
            undone = window_positions(
                wide, c.kernel[axis], c.stride[axis], c.dilation[axis], case.padding, name
            )
            assert undone.shape[0] == source.shape[1 + axis]
            pad = extent - 1 + int(undone[0, 0])
            found = np.arange(wide)[:, None] - pad + steps[axis][None]
        at.append(found)
    result = correlate(c, stuffed, at[0], at[1], parameters["weights"], clamp=False)
    return result + parameters["bias"] if c.bias else result


def binary(case: Case, sources: list[Array], parameters: Parameters) -> Array:
    """Of the weights, and but for the first type of the source, one bit counts."""
    c = geometry(case)
    a = case.attributes
    (source,) = sources

    def listed(name: str, default: float) -> Array | float:
        values = a.get(name)
        return default if values is None else jnp.asarray(values)

    scaled = source * listed("input_scale_terms", 1.0) + listed("input_bias_terms", 0.0)
    kind = a.get("convolution_type", BINARY_WEIGHTS)
    low = 0.0 if kind == AND else -1.0
    weights = jnp.where(parameters["weights"] > 0, 1.0, low)
    image = scaled if kind == BINARY_WEIGHTS else jnp.where(scaled < 0, low, 1.0)
    if case.node == "BinaryFullyConnectedNode":
        rows, columns = np.arange(c.kernel[0])[None], np.arange(c.kernel[1])[None]
    else:
        rows, columns = positions(case, source)
    result = correlate(c, image, rows, columns, weights, clamp=False)
    if a.get("use_beta_scaling"):
        sizes = jnp.abs(scaled).mean(axis=3, keepdims=True)
        windows = take_rows(take_rows(sizes, rows, 1, clamp=False), columns, 3, clamp=False)
        result = result * (windows.sum((2, 4)) / (c.kernel[0] * c.kernel[1]))
    result = result * (a.get("scale_value", 1.0) * listed("output_scale_terms", 1.0))
    if "output_bias_terms" in a:
        return result + listed("output_bias_terms", 0.0)
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
    "ConvolutionTransposeNode": Oracle(
        transpose,
        terms=terms,
        gradient_terms=gradient_terms,
        parameter_terms=parameter_terms,
    ),
    "BinaryConvolutionNode": Oracle(binary, terms=terms, bounded_by_result=True),
    "BinaryFullyConnectedNode": Oracle(binary, terms=terms, bounded_by_result=True),
}
