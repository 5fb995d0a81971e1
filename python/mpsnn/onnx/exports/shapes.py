# SPDX-License-Identifier: MIT
"""Margins, crops, other shapes, other sizes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mpsnn._core import ImageEdgeMode
from mpsnn.onnx.exports.step import Floats, Step

# Channels, rows, columns: the axes 1, 2 and 3 of NCHW by their names in our parameters.
NAMES = ("channel", "y", "x")
LANCZOS = 3  # lobes of the kernel


def _pad(step: Step) -> str:
    a = step.attributes
    before = [a[f"padding_size_before_{name}"] for name in NAMES]
    after = [a[f"padding_size_after_{name}"] for name in NAMES]
    mode = ImageEdgeMode(a["edge_mode"])
    if mode in {ImageEdgeMode.MIRROR, ImageEdgeMode.MIRROR_WITH_EDGE}:
        return _mirrored(step, before, after, mode)
    sizes = step.writer.integers([0, *before, 0, *after])
    if mode == ImageEdgeMode.CLAMP:
        return step.emit("Pad", step.input, sizes, mode="edge")
    fill = a["fill_value"] if mode == ImageEdgeMode.CONSTANT else 0.0
    return step.emit("Pad", step.input, sizes, step.writer.scalar(fill))


def _mirrored(step: Step, before: list[int], after: list[int], mode: ImageEdgeMode) -> str:
    """By indices: ONNX's mirror is narrower than the image and never repeats the edge."""
    value = step.input
    _, height, width, channels = step.sources[0]
    for axis, size in enumerate((channels, height, width)):
        if before[axis] == after[axis] == 0:
            continue
        position = np.arange(-before[axis], size + after[axis])
        if mode == ImageEdgeMode.MIRROR:
            period = max(2 * size - 2, 1)
            index = position % period
            index = np.where(index < size, index, period - index)
        else:
            index = position % (2 * size)
            index = np.where(index < size, index, 2 * size - 1 - index)
        value = step.emit("Gather", value, step.writer.integers(index.tolist()), axis=axis + 1)
    return step.emit("Identity", value) if value == step.input else value


def _crop(step: Step) -> str:
    a = step.attributes
    starts = [a["origin_feature_channel"], a["origin_y"], a["origin_x"]]
    _, height, width, channels = step.result
    ends = [start + size for start, size in zip(starts, (channels, height, width), strict=True)]
    integers = step.writer.integers
    return step.emit("Slice", step.input, integers(starts), integers(ends), integers([1, 2, 3]))


def _reshape(step: Step) -> str:
    """In the order of NHWC: channels are last around the reshaping where there are pixels."""
    _, height, width, channels = step.result
    value = step.input
    if step.sources[0][1:3] != (1, 1):
        value = step.emit("Transpose", value, perm=[0, 2, 3, 1])
    if (height, width) == (1, 1):
        return step.reshaped(value, 0, channels, 1, 1)
    value = step.reshaped(value, 0, height, width, channels)
    return step.emit("Transpose", value, perm=[0, 3, 1, 2])


def _resized(step: Step, mode: str, coordinates: str) -> str:
    _, height, width, _ = step.sources[0]
    _, rows, columns, _ = step.result
    scales = np.array([1, 1, rows / height, columns / width], np.float32)
    return step.emit(
        "Resize",
        step.input,
        "",
        step.writer.constant(scales, "scales"),
        mode=mode,
        coordinate_transformation_mode=coordinates,
        nearest_mode="floor" if mode == "nearest" else None,
    )


def _nearest(step: Step) -> str:
    return _resized(step, "nearest", "asymmetric")


def _bilinear(step: Step) -> str:
    corners = step.attributes["align_corners"]
    return _resized(step, "linear", "align_corners" if corners else "asymmetric")


def _lanczos(distance: Floats) -> Floats:
    return np.where(
        np.abs(distance) < LANCZOS, np.sinc(distance) * np.sinc(distance / LANCZOS), 0.0
    )


def _triangle(distance: Floats) -> Floats:
    return np.maximum(1.0 - np.abs(distance), 0.0)


def _weights(size: int, result: int, scale: float, translate: float, *, lanczos: bool) -> Floats:
    """Rows by result, columns by source: how much of each source value a result takes."""
    centres = (np.arange(result) + 0.5 - translate) / scale - 0.5
    reach, kernel = (LANCZOS, _lanczos) if lanczos else (1, _triangle)
    widened = max(1.0 / scale, 1.0) if lanczos else 1.0
    matrix = np.zeros((result, size))
    span = int(np.ceil(reach * widened))
    for row, centre in enumerate(centres):
        taps = np.arange(int(np.floor(centre)) - span, int(np.floor(centre)) + span + 2)
        shares = kernel((taps - centre) / widened)
        np.add.at(matrix[row], np.clip(taps, 0, size - 1), shares / shares.sum())
    return matrix.astype(np.float32)


def _scaled(step: Step) -> str:
    """As two products with matrices of weights: ONNX has neither the kernel nor the transform."""
    _, height, width, _ = step.sources[0]
    _, rows, columns, _ = step.result
    lanczos = step.node.class_name == "LanczosScaleNode"
    scale_x, scale_y, translate_x, translate_y = step.attributes["transform"] or (
        columns / width,
        rows / height,
        0.0,
        0.0,
    )
    y = _weights(height, rows, scale_y, translate_y, lanczos=lanczos)
    x = _weights(width, columns, scale_x, translate_x, lanczos=lanczos)
    wide = step.emit("MatMul", step.input, step.constant(x.T, "columns"))
    return step.emit("MatMul", step.constant(y, "rows"), wide)


def _bilinear_scale(step: Step) -> str:
    if step.attributes["transform"]:
        return _scaled(step)
    _, rows, columns, _ = step.result  # scales, rounded to float32, may miss the size by one
    return step.emit(
        "Resize",
        step.input,
        "",
        "",
        step.writer.integers([rows, columns]),
        axes=[2, 3],
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )


ROWS: dict[str, Callable[[Step], str]] = {
    "PadNode": _pad,
    "CropNode": _crop,
    "ReshapeNode": _reshape,
    "UpsamplingNearestNode": _nearest,
    "UpsamplingBilinearNode": _bilinear,
    "BilinearScaleNode": _bilinear_scale,
    "LanczosScaleNode": _scaled,
}
