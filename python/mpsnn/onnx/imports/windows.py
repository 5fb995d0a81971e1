# SPDX-License-Identifier: MIT
"""Convolutions and poolings: what looks at an image through windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mpsnn._core import (
    ConvolutionDataSource,
    ConvolutionDescriptor,
    ImageEdgeMode,
    PaddingPolicy,
)
from mpsnn.nodes import (
    AdditionNode,
    ConvolutionNode,
    ConvolutionTransposeNode,
    CropNode,
    DilatedPoolingMaxNode,
    FullyConnectedNode,
    GramMatrixCalculationNode,
    MultiplicationNode,
    PadNode,
    PoolingAverageNode,
    PoolingL2NormNode,
    PoolingMaxNode,
    ReductionColumnMaxNode,
    ReductionRowMaxNode,
    ReductionSpatialMeanNode,
)
from mpsnn.onnx.geometry import Pads, Window, X, Y, policy_of_bits
from mpsnn.onnx.imports.step import Step, Value
from mpsnn.onnx.tensor import STANDARD, C, H, Image, N, Tensor, W, size_of

Row = Callable[[Step], list[Value]]
LOWEST = float(np.finfo(np.float32).min)  # less than what it is compared with


def _spatial(step: Step) -> tuple[int, int]:
    """Rows and columns of the first input."""
    tensor = step.floats()
    if len(tensor.shape) not in {3, 4}:
        step.refuse(f"expected 3 or 4 axes, got shape {tensor.shape}")
    _, height, width, _ = size_of(tensor.shape, STANDARD[len(tensor.shape)])
    return height, width


def _pair(values: Sequence[int], default: int) -> tuple[int, int]:
    """One number or two as (y, x); one axis is that of the columns."""
    found = [int(value) for value in values]
    if not found:
        return default, default
    if len(found) == 1:
        return (default, found[0])
    return found[0], found[1]


def _windows(step: Step, kernel: Sequence[int]) -> tuple[Window, Window]:
    rows, columns = _pair(kernel, 1)
    stride = _pair(step.attribute("strides", []), 1)
    dilation = _pair(step.attribute("dilations", []), 1)
    numbers = (rows, columns, *stride, *dilation)
    if min(numbers) < 1:
        step.refuse(f"expected kernel, strides and dilations of 1 or more, got {numbers}")
    return Window(rows, stride[Y], dilation[Y]), Window(columns, stride[X], dilation[X])


def _pads(step: Step, windows: tuple[Window, Window], size: tuple[int, int]) -> Pads:
    """Explicit pads, whatever way the model says them."""
    automatic = step.attribute("auto_pad", b"NOTSET")
    automatic = automatic.decode() if isinstance(automatic, bytes) else automatic
    if automatic in {"NOTSET", ""}:
        given = [int(pad) for pad in step.attribute("pads", [])]
        if min(given, default=0) < 0:
            step.refuse(f"pads: expected 0 or more, got {given}")
        if len(given) == 2:
            return Pads(0, given[0], 0, given[1])
        return Pads(*given) if given else Pads(0, 0, 0, 0)
    found = []
    for window, extent in zip(windows, size, strict=True):
        total = max(window.after(extent, -(-extent // window.stride), 0), 0)
        total = 0 if automatic == "VALID" else total
        less = total // 2
        found.append((less, total - less) if automatic == "SAME_UPPER" else (total - less, less))
    (top, bottom), (left, right) = found
    return Pads(top, left, bottom, right)


def data_source(
    step: Step,
    descriptor: ConvolutionDescriptor,
    weights: NDArray[np.floating],
    bias: NDArray[np.floating] | None,
) -> ConvolutionDataSource:
    """Weights OHWI, of float32 or float16, and a bias."""
    values = np.ascontiguousarray(weights)
    if values.dtype not in (np.float32, np.float16):
        step.refuse(f"weights: expected float32 or float16, got {values.dtype}")
    terms = None if bias is None else np.ascontiguousarray(bias.reshape(-1), np.float32)
    return ConvolutionDataSource(descriptor, values, terms, step.name)


def _bias(step: Step) -> NDArray[np.floating] | None:
    return step.constant(2) if step.has(2) else None


def _check_channels(step: Step, wanted: int) -> None:
    """ONNX's shape inference does not look at the channels of weights."""
    got = step.floats().shape[1]
    if got != wanted:
        step.refuse(f"expected {wanted} channels, as the weights have, got {got}")


def _convolution(step: Step) -> list[Value]:
    size, weights = _spatial(step), step.constant(1)
    groups = int(step.attribute("group", 1))
    if weights.ndim == 3:
        weights = weights[:, :, None, :]
    outputs, inputs, rows, columns = weights.shape
    _check_channels(step, inputs * groups)
    y, x = _windows(step, (rows, columns))
    pads = _pads(step, (y, x), size)
    descriptor = ConvolutionDescriptor(
        columns,
        rows,
        inputs * groups,
        outputs,
        stride_in_pixels_x=x.stride,
        stride_in_pixels_y=y.stride,
        dilation_rate_x=x.dilation,
        dilation_rate_y=y.dilation,
        groups=groups,
    )
    source = data_source(step, descriptor, weights.transpose(0, 2, 3, 1), _bias(step))
    node = ConvolutionNode(
        step.standard(),
        source,
        label=step.name,
        padding_policy=PaddingPolicy.with_pads(pads.left, pads.top, pads.right, pads.bottom),
    )
    return [step.result(node)]


def _convolution_transpose(step: Step) -> list[Value]:
    size, weights = _spatial(step), step.constant(1)
    groups = int(step.attribute("group", 1))
    if weights.ndim == 3:
        weights = weights[:, :, None, :]
    inputs, outputs, rows, columns = weights.shape
    _check_channels(step, inputs)
    windows = _windows(step, (rows, columns))
    # Ours: (out, height, width, in / groups), turned by half a turn.
    grouped = weights.reshape(groups, inputs // groups, outputs, rows, columns)
    turned = grouped[..., ::-1, ::-1].transpose(0, 2, 3, 4, 1)
    descriptor = ConvolutionDescriptor(
        columns,
        rows,
        inputs,
        outputs * groups,
        stride_in_pixels_x=windows[X].stride,
        stride_in_pixels_y=windows[Y].stride,
        dilation_rate_x=windows[X].dilation,
        dilation_rate_y=windows[Y].dilation,
        groups=groups,
    )
    pads, bias = _undone_pads(step, windows, size), _bias(step)
    is_wider = min(pads.values) < 0
    values = turned.reshape(-1, *turned.shape[2:])
    source = data_source(step, descriptor, values, None if is_wider else bias)
    least = [max(pad, 0) for pad in (pads.left, pads.top, pads.right, pads.bottom)]
    node: Image = ConvolutionTransposeNode(
        step.standard(),
        source,
        label=step.name,
        padding_policy=PaddingPolicy.with_pads(*least),
    )
    if is_wider:  # rows that no weight reaches have the bias alone
        node = padded(node, Pads(-pads.top, -pads.left, -pads.bottom, -pads.right), 0.0)
        if bias is not None:
            terms = np.ascontiguousarray(bias.reshape(1, 1, 1, -1), np.float32)
            node = AdditionNode(node, step.add_constant(terms))
    return [step.result(node)]


def _undone_pads(step: Step, windows: tuple[Window, Window], size: tuple[int, int]) -> Pads:
    """Pads of the convolution that is undone; those at the end follow from the result's size."""
    result = size_of(step.shape, STANDARD[len(step.shape)])[1:3]
    automatic = step.attribute("auto_pad", b"NOTSET")
    automatic = automatic.decode() if isinstance(automatic, bytes) else automatic
    given = [int(pad) for pad in step.attribute("pads", [])]
    first = (0, given[0]) if len(given) == 2 else tuple(given[:2]) or (0, 0)
    found = []
    for axis, window in enumerate(windows):
        whole = (size[axis] - 1) * window.stride + window.extent
        total = whole - result[axis]
        before = first[axis]
        asks_size = bool(step.attribute("output_shape", []))
        if automatic == "SAME_UPPER":
            before = max(total, 0) // 2
        elif automatic == "SAME_LOWER" or asks_size:
            before = max(total, 0) - max(total, 0) // 2
        found.append((before, total - before))
    (top, bottom), (left, right) = found
    return Pads(top, left, bottom, right)


def _pool_windows(step: Step) -> tuple[tuple[Window, Window], Pads, Pads]:
    """Windows, the model's pads, and pads that end where the last window ends."""
    size = _spatial(step)
    windows = _windows(step, step.attribute("kernel_shape", []))
    said = _pads(step, windows, size)
    _, rows, columns, _ = size_of(step.shape, STANDARD[len(step.shape)])
    bottom = windows[Y].after(size[Y], rows, said.top)
    right = windows[X].after(size[X], columns, said.left)
    return windows, said, Pads(said.top, said.left, bottom, right)


def padded(image: Image, pads: Pads, fill: float) -> Image:
    """Rows and columns of a number around an image; pads below 0 take none away."""
    if max(pads.values) <= 0:
        return image
    return PadNode(
        image,
        padding_size_before_y=max(pads.top, 0),
        padding_size_before_x=max(pads.left, 0),
        padding_size_after_y=max(pads.bottom, 0),
        padding_size_after_x=max(pads.right, 0),
        fill_value=fill,
    )


def _placed_windows(
    step: Step, windows: tuple[Window, Window], pads: Pads, fill: float
) -> tuple[Image, PaddingPolicy]:
    """A source and a policy: bits where they say it, else a Pad and windows inside."""
    image, size = step.standard(), _spatial(step)
    _, rows, columns, _ = size_of(step.shape, STANDARD[len(step.shape)])
    wanted = [(rows, pads.top), (columns, pads.left)]
    policy = policy_of_bits(windows, size, wanted)
    if policy is not None:
        return image, policy
    # Rows that no window reaches stay where they are.
    return padded(image, pads, fill), PaddingPolicy.with_pads(0, 0, 0, 0)


def _max_pool(step: Step) -> list[Value]:
    if len(step.shapes) > 1:
        step.refuse("expected no output `Indices`")
    if step.attribute("storage_order", 0):
        step.refuse("expected storage_order 0")
    windows, _, pads = _pool_windows(step)
    y, x = windows
    image, policy = _placed_windows(step, windows, pads, LOWEST)
    if (y.dilation, x.dilation) == (1, 1):
        node: Image = PoolingMaxNode(
            image,
            x.kernel,
            y.kernel,
            stride_in_pixels_x=x.stride,
            stride_in_pixels_y=y.stride,
            label=step.name,
            padding_policy=policy,
        )
    else:
        node = DilatedPoolingMaxNode(
            image,
            x.kernel,
            y.kernel,
            stride_in_pixels_x=x.stride,
            stride_in_pixels_y=y.stride,
            dilation_rate_x=x.dilation,
            dilation_rate_y=y.dilation,
            label=step.name,
            padding_policy=policy,
        )
    return [step.result(node)]


def _average_pool(step: Step) -> list[Value]:
    windows, said, pads = _pool_windows(step)
    y, x = windows
    if (y.dilation, x.dilation) != (1, 1):
        step.refuse("expected dilations of 1")
    image, policy = _placed_windows(step, windows, pads, 0.0)
    counted = said if step.attribute("count_include_pad", 0) else Pads(0, 0, 0, 0)
    counts = _counts(step, windows, pads, counted)
    in_image = _counts(step, windows, pads, Pads(0, 0, 0, 0))
    is_in_image = all(np.array_equal(a, b) for a, b in zip(counts, in_image, strict=True))
    is_clamped = is_in_image and policy.pads is None
    is_whole = all(np.all(n == w.kernel) for n, w in zip(counts, windows, strict=True))
    node: Image = PoolingAverageNode(
        image,
        x.kernel,
        y.kernel,
        stride_in_pixels_x=x.stride,
        stride_in_pixels_y=y.stride,
        edge_mode=ImageEdgeMode.CLAMP if is_clamped else ImageEdgeMode.ZERO,
        label=step.name,
        padding_policy=policy,
    )
    if not is_clamped and not is_whole:  # two images that are broadcast: rows, and columns
        for axis, count in enumerate(counts):
            factors = (windows[axis].kernel / np.maximum(count, 1)).astype(np.float32)
            shape = (1, -1, 1, 1) if axis == Y else (1, 1, -1, 1)
            node = MultiplicationNode(node, step.add_constant(factors.reshape(shape)))
    return [step.result(node)]


def _counts(
    step: Step, windows: tuple[Window, Window], pads: Pads, border: Pads
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Along y and x, how many positions of each window are in the image and its border."""
    height, width = _spatial(step)
    _, rows, columns, _ = size_of(step.shape, STANDARD[len(step.shape)])

    y = _counts_along(windows[Y], height, rows, pads.top, (border.top, border.bottom))
    x = _counts_along(windows[X], width, columns, pads.left, (border.left, border.right))
    return y, x


def _counts_along(
    window: Window, size: int, count: int, before: int, ends: tuple[int, int]
) -> NDArray[np.float64]:
    first = np.arange(count) * window.stride - before
    last = np.minimum(first + window.kernel, size + ends[1])
    counts: NDArray[np.float64] = np.maximum(last - np.maximum(first, -ends[0]), 0) * 1.0
    return counts


def _lp_pool(step: Step) -> list[Value]:
    if step.attribute("p", 2) != 2:
        step.refuse(f"expected p 2, got {step.attribute('p', 2)}")
    windows, _, pads = _pool_windows(step)
    y, x = windows
    if (y.dilation, x.dilation) != (1, 1):
        step.refuse("expected dilations of 1")
    image, policy = _placed_windows(step, windows, pads, 0.0)
    node = PoolingL2NormNode(
        image,
        x.kernel,
        y.kernel,
        stride_in_pixels_x=x.stride,
        stride_in_pixels_y=y.stride,
        label=step.name,
        padding_policy=policy,
    )
    return [step.result(node)]


def _global_average(step: Step) -> list[Value]:
    _spatial(step)
    return [step.result(ReductionSpatialMeanNode(step.standard(), label=step.name))]


def _global_max(step: Step) -> list[Value]:
    _spatial(step)
    columns = ReductionColumnMaxNode(ReductionRowMaxNode(step.standard()), label=step.name)
    return [step.result(columns)]


def _global_lp(step: Step) -> list[Value]:
    height, width = _spatial(step)
    if step.attribute("p", 2) != 2:
        step.refuse(f"expected p 2, got {step.attribute('p', 2)}")
    node = PoolingL2NormNode(
        step.standard(), width, height, padding_policy=PaddingPolicy.with_pads(0, 0, 0, 0)
    )
    return [step.result(node)]


def connected(
    step: Step, image: Image, weights: NDArray[np.floating], bias: NDArray[np.floating] | None
) -> Image:
    """Each pixel's channels times a matrix (out, in)."""
    outputs, inputs = weights.shape
    source = data_source(
        step, ConvolutionDescriptor(1, 1, inputs, outputs), weights[:, None, None, :], bias
    )
    return ConvolutionNode(image, source, label=step.name)


def _gemm(step: Step) -> list[Value]:
    a, weights = step.floats(), step.constant(1)
    alpha, beta = step.attribute("alpha", 1.0), step.attribute("beta", 1.0)
    if step.attribute("transA", 0):
        a = a.viewed(a.shape[::-1], a.axes[::-1])
    matrix = weights if step.attribute("transB", 0) else weights.T
    matrix = (matrix * weights.dtype.type(alpha)).astype(weights.dtype)
    outputs = matrix.shape[0]
    added, bias = None, None
    if step.has(2):
        summand = step.inputs[2]
        is_bias = (
            not isinstance(summand, Tensor)
            and summand is not None
            and (summand.size == 1 or summand.shape in {(outputs,), (1, outputs)})
        )
        if is_bias:
            terms = np.broadcast_to(step.constant(2).reshape(-1), outputs)
            bias = (terms * terms.dtype.type(beta)).astype(np.float32)
        else:
            added = step.floats(2)
    if a.flat is not None and a.flat.size[1:3] != (1, 1):
        image = _flat_connected(step, a.flat, matrix, bias)
    else:
        image = connected(step, step.place(a, (N, C)), matrix, bias)
    if added is not None:
        wide = (1,) * (2 - len(added.shape)) + added.shape
        free = [axis for axis in (N, C, H, W) if axis not in added.axes]
        added = added.viewed(wide, tuple(free[: 2 - len(added.shape)]) + added.axes)
        image = AdditionNode(image, step.place(added, (N, C)), secondary_scale=beta)
    return [step.result(image)]


def _flat_connected(
    step: Step, source: Tensor, matrix: NDArray[np.floating], bias: NDArray[np.floating] | None
) -> Image:
    """The flattened image's weights, brought into the image's own order."""
    _, height, width, channels = source.size
    shape = (matrix.shape[0], channels, height, width)
    weights = matrix.reshape(shape).transpose(0, 2, 3, 1)
    descriptor = ConvolutionDescriptor(width, height, channels, matrix.shape[0])
    return FullyConnectedNode(
        source.image, data_source(step, descriptor, weights, bias), label=step.name
    )


# Layouts of a product: batch first where there is one, the summed axis on the channels.
_LAST = {1: (C,), 2: (N, C), 3: (N, W, C), 4: (N, H, W, C)}
_NEXT_TO_LAST = {2: (C, W), 3: (N, C, W), 4: (N, H, C, W)}


def _product(step: Step) -> list[Value]:
    a, b = step.inputs[0], step.inputs[1]
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return _gram_matrix(step, step.floats(0), step.floats(1))
    if isinstance(a, Tensor):
        matrix = step.constant(1)
        rank = step.rank(a.shape)
        if matrix.ndim != 2 or rank < 1:
            step.refuse(f"expected a matrix as constant, got shape {matrix.shape}")
        a = step.floats(0)
        if a.flat is not None and a.flat.size[1:3] != (1, 1):
            return [step.result(_flat_connected(step, a.flat, matrix.T, None))]
        image = connected(step, step.place(a, _LAST[rank]), matrix.T, None)
        return [step.result(image, _LAST[rank])]
    matrix, tensor = step.constant(0), step.floats(1)
    rank = step.rank(tensor.shape)
    if matrix.ndim != 2 or rank < 2:
        step.refuse(f"expected a matrix as constant, got shape {matrix.shape}")
    axes = _NEXT_TO_LAST[rank]
    return [step.result(connected(step, step.place(tensor, axes), matrix, None), axes)]


def _gram_matrix(step: Step, a: Tensor, b: Tensor) -> list[Value]:
    """The product of a matrix with itself, transposed: all that there is of two tensors."""
    is_square = len(a.shape) in {2, 3} and len(a.shape) == len(b.shape)
    swapped = (*a.axes[:-2], a.axes[-1], a.axes[-2])
    if not is_square or b.axes != swapped or a.image is not b.image:
        step.refuse("expected a constant matrix, or a tensor and the same tensor transposed")
    axes = (C, W) if len(a.shape) == 2 else (N, C, W)
    node = GramMatrixCalculationNode(step.place(a, axes), label=step.name)
    return [step.result(node, axes)]


def crop(image: Image, size: Sequence[int], starts: Sequence[int], ends: Sequence[int]) -> Image:
    """Rows, columns and channels from `starts` up to `ends`; (H, W, C) each."""
    if tuple(starts) == (0, 0, 0) and tuple(ends) == tuple(size):
        return image
    height, width, channels = (end - start for start, end in zip(starts, ends, strict=True))
    return CropNode(
        image,
        result_height=height,
        result_width=width,
        result_feature_channels=channels,
        origin_y=starts[0],
        origin_x=starts[1],
        origin_feature_channel=starts[2],
    )


ROWS: dict[str, Row] = {
    "AveragePool": _average_pool,
    "Conv": _convolution,
    "ConvTranspose": _convolution_transpose,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "GlobalLpPool": _global_lp,
    "GlobalMaxPool": _global_max,
    "LpPool": _lp_pool,
    "MatMul": _product,
    "MaxPool": _max_pool,
}
