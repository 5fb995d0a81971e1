# SPDX-License-Identifier: MIT
"""Convolutions of all kinds: weights go from OHWI to OIHW."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np

from mpsnn._core import (
    BinaryConvolutionType,
    ConvolutionDataSource,
    ConvolutionDescriptor,
    ImageEdgeMode,
)
from mpsnn.onnx.exports.neurons import fused
from mpsnn.onnx.exports.step import Floats, Step, Windows, own_placement, windows_of
from mpsnn.onnx.geometry import Pads, Window, X, Y, placed

NO_PADS = Pads(0, 0, 0, 0)


def _descriptor(step: Step) -> ConvolutionDescriptor:
    return cast("ConvolutionDataSource", step.weights).descriptor


def _has_bias(step: Step) -> bool:
    return cast("ConvolutionDataSource", step.weights).has_bias


def _axes(d: ConvolutionDescriptor) -> tuple[Window, Window]:
    return (
        Window(d.kernel_height, d.stride_in_pixels_y, d.dilation_rate_y),
        Window(d.kernel_width, d.stride_in_pixels_x, d.dilation_rate_x),
    )


def _convolved(
    step: Step, value: str, windows: Windows, weights: Floats, bias: Floats | None, groups: int
) -> str:
    """A Conv of weights OHWI; pads that it cannot say become a Pad before it."""
    pads = windows.pads
    if windows.edge_mode == ImageEdgeMode.CLAMP:
        value, pads = step.padded(value, pads, "edge"), NO_PADS
    elif min(pads.values) < 0:
        value, pads = step.padded(value, pads), NO_PADS
    inputs = [value, step.constant(weights.transpose(0, 3, 1, 2), "weights")]
    inputs += [] if bias is None else [step.constant(bias, "bias")]
    return step.emit(
        "Conv",
        *inputs,
        kernel_shape=windows.kernel,
        strides=windows.strides,
        dilations=windows.dilations,
        pads=list(pads.values),
        group=groups,
    )


def _convolution(step: Step) -> str:
    d = _descriptor(step)
    factor = d.sub_pixel_scale_factor
    n, height, width, channels = step.result
    before = Step(
        step.writer,
        step.device,
        step.node,
        step.inputs,
        step.sources,
        (n, height // factor, width // factor, channels * factor * factor),
    )
    bias = step.parameter("bias") if _has_bias(step) else None
    result = _convolved(
        step,
        step.input,
        windows_of(before, *_axes(d)),
        step.parameter("weights"),
        bias,
        d.groups,
    )
    result = fused(step, result, d.fused_neuron_descriptor)
    return result if factor == 1 else step.emit("DepthToSpace", result, blocksize=factor)


def _fully_connected(step: Step) -> str:
    d = _descriptor(step)
    windows = Windows(*_axes(d), NO_PADS, None)
    bias = step.parameter("bias") if _has_bias(step) else None
    result = _convolved(step, step.input, windows, step.parameter("weights"), bias, 1)
    return fused(step, result, d.fused_neuron_descriptor)


def _undone_pads(step: Step, y: Window, x: Window) -> tuple[int, int]:
    """Top and left padding of the convolution that a transposed one undoes."""
    policy = step.node.padding_policy
    like = step.sources[1] if len(step.sources) > 1 else None
    if policy.padding is not None:
        answer = own_placement(step, policy.padding)
        first = y.extent // 2 - answer.offset_y, x.extent // 2 - answer.offset_x
        return first if like else (y.extent - 1 - first[Y], x.extent - 1 - first[X])
    if policy.pads is not None:
        left, top, _, _ = policy.pads
        return top, left
    found = []
    for axis, window in ((Y, y), (X, x)):
        size = step.sources[0][1 + axis]
        if like:
            found.append(placed(policy, axis, window, like[1 + axis])[1])
            continue
        dense = Window(window.kernel, 1, window.dilation)
        stuffed = (size - 1) * window.stride + 1
        found.append(window.extent - 1 - placed(policy, axis, dense, stuffed)[1])
    return found[Y], found[X]


def _transposed_weights(d: ConvolutionDescriptor, weights: Floats) -> Floats:
    """ONNX's: (in, out / groups, height, width), each window turned by half a turn."""
    grouped = weights.reshape(d.groups, -1, *weights.shape[1:])[:, :, ::-1, ::-1]
    turned = grouped.transpose(0, 4, 1, 2, 3)  # group, in, out, height, width
    return np.ascontiguousarray(turned.reshape(-1, *turned.shape[2:]))


def _convolution_transpose(step: Step) -> str:
    d = _descriptor(step)
    y, x = _axes(d)
    top, left = _undone_pads(step, y, x)
    whole = [
        (size - 1) * window.stride + window.extent
        for size, window in zip(step.sources[0][1:3], (y, x), strict=True)
    ]
    pads = Pads(top, left, whole[Y] - step.result[1] - top, whole[X] - step.result[2] - left)
    said = pads if min(pads.values) >= 0 else NO_PADS
    inputs = [
        step.input,
        step.constant(_transposed_weights(d, step.parameter("weights")), "weights"),
    ]
    inputs += [step.constant(step.parameter("bias"), "bias")] if _has_bias(step) else []
    result = step.emit(
        "ConvTranspose",
        *(inputs if said is pads else inputs[:2]),
        kernel_shape=[d.kernel_height, d.kernel_width],
        strides=[y.stride, x.stride],
        dilations=[y.dilation, x.dilation],
        pads=list(said.values),
        group=d.groups,
    )
    if said is not pads:  # rows that no weight reaches have the bias alone
        result = step.padded(result, Pads(-pads.top, -pads.left, -pads.bottom, -pads.right))
        if len(inputs) > 2:
            bias = step.parameter("bias").reshape(-1, 1, 1)
            result = step.emit("Add", result, step.constant(bias, "bias"))
    return fused(step, result, d.fused_neuron_descriptor)


def _made_binary(step: Step, kind: BinaryConvolutionType, value: str) -> str:
    """What the weights of one bit are multiplied with."""
    zero, one = step.writer.scalar(0.0), step.writer.scalar(1.0)
    if kind == BinaryConvolutionType.BINARY_WEIGHTS:
        return value
    if kind == BinaryConvolutionType.AND:
        return step.emit("Where", step.emit("Less", value, zero), zero, one)
    return step.emit("Where", step.emit("Less", value, zero), step.writer.scalar(-1.0), one)


def _listed(step: Step, name: str, axis: int = 3) -> str | None:
    """A list of numbers, one a channel, as a constant; None where it is empty."""
    numbers = step.attributes[name]
    if not numbers:
        return None
    return step.constant(np.array(numbers, np.float32).reshape((-1,) + (1,) * (axis - 1)), name)


def _binary(step: Step) -> str:
    d = _descriptor(step)
    kind = BinaryConvolutionType(step.attributes["convolution_type"])
    y, x = _axes(d)
    is_whole = step.node.class_name == "BinaryFullyConnectedNode"
    windows = Windows(y, x, NO_PADS, None) if is_whole else windows_of(step, y, x)
    value = step.input
    for operator, name in (("Mul", "input_scale_terms"), ("Add", "input_bias_terms")):
        terms = _listed(step, name)
        value = value if terms is None else step.emit(operator, value, terms)
    positive = step.parameter("weights") > 0
    low = 0.0 if kind == BinaryConvolutionType.AND else -1.0
    bits = np.where(positive, np.float32(1.0), np.float32(low))
    result = _convolved(step, _made_binary(step, kind, value), windows, bits, None, 1)
    if step.attributes["use_beta_scaling"]:
        area = d.kernel_height * d.kernel_width * d.input_feature_channels
        mean = np.full((1, *bits.shape[1:]), 1 / area, np.float32)
        beta = _convolved(step, step.emit("Abs", value), windows, mean, None, 1)
        result = step.emit("Mul", result, beta)
    result = step.scaled(result, step.attributes["scale_value"])
    scales = _listed(step, "output_scale_terms")
    result = result if scales is None else step.emit("Mul", result, scales)
    bias = _listed(step, "output_bias_terms")
    if bias is None and _has_bias(step):
        bias = step.constant(step.parameter("bias").reshape(-1, 1, 1), "bias")
    result = result if bias is None else step.emit("Add", result, bias)
    return fused(step, result, d.fused_neuron_descriptor)


ROWS: dict[str, Callable[[Step], str]] = {
    "ConvolutionNode": _convolution,
    "ConvolutionTransposeNode": _convolution_transpose,
    "FullyConnectedNode": _fully_connected,
    "BinaryConvolutionNode": _binary,
    "BinaryFullyConnectedNode": _binary,
}
