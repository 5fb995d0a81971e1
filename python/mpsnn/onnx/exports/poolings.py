# SPDX-License-Identifier: MIT
"""Poolings; what ONNX's pads cannot say becomes a Pad or a factor for each pixel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mpsnn._core import ImageEdgeMode, PaddingMethod
from mpsnn.onnx.exports.step import Floats, Step, Windows, windows_of
from mpsnn.onnx.geometry import Pads, Window, X, Y

LOWEST = float(np.finfo(np.float32).min)  # less than what it is compared with


def _windows(step: Step) -> Windows:
    a = step.attributes
    return windows_of(
        step,
        Window(a["kernel_height"], a["stride_in_pixels_y"], a.get("dilation_rate_y", 1)),
        Window(a["kernel_width"], a["stride_in_pixels_x"], a.get("dilation_rate_x", 1)),
    )


def _are_pads(windows: Windows) -> bool:
    """Whether an ONNX pooling takes the pads: each less than the kernel."""
    pads, (height, width) = windows.pads.values, windows.kernel
    return min(pads) >= 0 and all(
        pad < kernel for pad, kernel in zip(pads, (height, width) * 2, strict=True)
    )


def _max(step: Step) -> str:
    windows = _windows(step)
    value, pads = step.input, list(windows.pads.values)
    is_zero = windows.edge_mode == ImageEdgeMode.ZERO and any(pads)
    if is_zero or not _are_pads(windows):
        value = step.padded(value, windows.pads, fill=0.0 if is_zero else LOWEST)
        pads = [0, 0, 0, 0]
    result = step.emit(
        "MaxPool",
        value,
        kernel_shape=windows.kernel,
        strides=windows.strides,
        dilations=windows.dilations,
        pads=pads,
    )
    reached = _reached(step, windows)
    if is_zero or reached.all():
        return result
    zero = step.writer.scalar(0.0)
    return step.emit("Where", step.constant(reached, "reached"), result, zero)


def _reached(step: Step, windows: Windows) -> NDArray[np.bool_]:
    """Rows by columns: whether a window has a position in the source; without one it gives 0."""
    along = []
    for window, source, size, before in (
        (windows.y, step.sources[0][1], step.result[1], windows.pads.top),
        (windows.x, step.sources[0][2], step.result[2], windows.pads.left),
    ):
        first = np.arange(size)[:, None] * window.stride - before
        at = first + np.arange(window.kernel) * window.dilation
        along.append(np.any((at >= 0) & (at < source), axis=1))
    reached: NDArray[np.bool_] = along[Y][:, None] & along[X]
    return reached


def _counts(window: Window, source: int, size: int, before: int, border: int) -> Floats:
    """How many positions of each window lie in the source with a border around it."""
    first = np.arange(size) * window.stride - before
    last = np.minimum(first + window.kernel, source + border)
    counts: Floats = np.maximum(last - np.maximum(first, -border), 0).astype(np.float32)
    return counts


def _divisors(step: Step, windows: Windows) -> tuple[Floats, bool]:
    """Rows by columns: what each window's sum is divided by; whether borders count."""
    a, (_, height, width, _), (_, rows, columns, _) = step.attributes, step.sources[0], step.result
    border = (a["zero_pad_size_y"], a["zero_pad_size_x"])
    excludes = int(step.node.padding_policy.method) & PaddingMethod.EXCLUDE_EDGES
    if excludes and step.node.padding_policy.pads is None:
        border = (windows.pads.top, windows.pads.left)
    elif windows.edge_mode == ImageEdgeMode.ZERO:
        area = float(np.prod(windows.kernel))
        return np.full((rows, columns), area, np.float32), True
    y = _counts(windows.y, height, rows, windows.pads.top, border[Y])
    x = _counts(windows.x, width, columns, windows.pads.left, border[X])
    return np.outer(y, x), border != (0, 0)


def _average(step: Step) -> str:
    windows = _windows(step)
    divisors, has_border = _divisors(step, windows)
    area = float(np.prod(windows.kernel))
    are_pads = _are_pads(windows)
    is_in_image = are_pads and not has_border and bool(np.all(divisors > 0))
    value, pads = step.input, list(windows.pads.values)
    if not are_pads:
        value, pads = step.padded(value, windows.pads), [0, 0, 0, 0]
    mean = step.emit(
        "AveragePool",
        value,
        kernel_shape=windows.kernel,
        strides=windows.strides,
        pads=pads,
        count_include_pad=0 if is_in_image else 1,
    )
    if is_in_image or np.all(divisors == area):
        return mean
    factors = np.float32(area) / np.maximum(divisors, 1)
    return step.emit("Mul", mean, step.constant(factors, "factors"))


def _l2_norm(step: Step) -> str:
    windows = _windows(step)
    value, pads = step.input, list(windows.pads.values)
    if not _are_pads(windows):
        value, pads = step.padded(value, windows.pads), [0, 0, 0, 0]
    return step.emit(
        "LpPool", value, kernel_shape=windows.kernel, strides=windows.strides, pads=pads, p=2
    )


def around(kernel: int) -> tuple[int, int]:
    """How far a normalisation's window reaches before and behind its pixel."""
    return kernel // 2, (kernel - 1) // 2


def mean_around(step: Step, value: str, height: int, width: int) -> str:
    """The mean of each pixel's window, with zeros outside of the image."""
    (top, bottom), (left, right) = around(height), around(width)
    return step.emit(
        "AveragePool",
        step.padded(value, Pads(top, left, bottom, right)),
        kernel_shape=[height, width],
    )


ROWS: dict[str, Callable[[Step], str]] = {
    "PoolingMaxNode": _max,
    "DilatedPoolingMaxNode": _max,
    "PoolingAverageNode": _average,
    "PoolingL2NormNode": _l2_norm,
}
