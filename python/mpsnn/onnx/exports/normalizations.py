# SPDX-License-Identifier: MIT
"""Normalisations, softmax and Gram matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from mpsnn._core import (
    BatchNormalizationFlags,
    GroupNormalizationDataSource,
    NormalizationDataSource,
)
from mpsnn.onnx.exports.poolings import around, mean_around
from mpsnn.onnx.exports.step import Step


def _epsilon(step: Step) -> float:
    return cast("NormalizationDataSource", step.weights).epsilon


def _gamma_and_beta(step: Step) -> list[str]:
    return [step.constant(step.parameter(name), name) for name in ("gamma", "beta")]


def _batch(step: Step) -> str:
    flags = BatchNormalizationFlags(step.attributes["flags"])
    if flags == BatchNormalizationFlags.CALCULATE_STATISTICS_ALWAYS:
        return _over_batch(step)
    statistics = [step.constant(step.parameter(name), name) for name in ("mean", "variance")]
    inputs = [step.input, *_gamma_and_beta(step), *statistics]
    return step.emit("BatchNormalization", *inputs, epsilon=_epsilon(step))


def _over_batch(step: Step) -> str:
    """By the batch's own statistics: ONNX's training mode would hand on running ones, too."""
    axes = step.writer.integers([0, 2, 3])
    mean = step.emit("ReduceMean", step.input, axes)
    centred = step.emit("Sub", step.input, mean)
    variance = step.emit("ReduceMean", step.emit("Mul", centred, centred), axes)
    deviation = step.emit("Sqrt", step.shifted(variance, _epsilon(step)))
    gamma, beta = (
        step.constant(step.parameter(name).reshape(-1, 1, 1), name) for name in ("gamma", "beta")
    )
    return step.emit("Add", step.emit("Mul", step.emit("Div", centred, deviation), gamma), beta)


def _instance(step: Step) -> str:
    inputs = [step.input, *_gamma_and_beta(step)]
    return step.emit("InstanceNormalization", *inputs, epsilon=_epsilon(step))


def _group(step: Step) -> str:
    groups = cast("GroupNormalizationDataSource", step.weights).number_of_groups
    inputs = [step.input, *_gamma_and_beta(step)]
    return step.emit("GroupNormalization", *inputs, epsilon=_epsilon(step), num_groups=groups)


def _divided(step: Step, value: str, base: str) -> str:
    """Value / (delta + alpha * base)^beta."""
    a = step.attributes
    denominator = step.shifted(step.scaled(base, a["alpha"]), a["delta"])
    return step.emit("Div", value, step.emit("Pow", denominator, step.writer.scalar(a["beta"])))


def _spatial(step: Step) -> str:
    a = step.attributes
    squares = step.emit("Mul", step.input, step.input)
    mean = mean_around(step, squares, a["kernel_height"], a["kernel_width"])
    return _divided(step, step.input, mean)


def _local_contrast(step: Step) -> str:
    a, x = step.attributes, step.input
    size = a["kernel_height"], a["kernel_width"]
    mean = mean_around(step, x, *size)
    squares = mean_around(step, step.emit("Mul", x, x), *size)
    variance = step.emit("Sub", squares, step.emit("Mul", mean, mean))
    # The difference of two rounded numbers may be a little below 0.
    variance = step.emit("Max", variance, step.writer.scalar(0.0))
    centred = step.emit("Sub", x, step.scaled(mean, a["p0"]))
    return step.shifted(step.scaled(_divided(step, centred, variance), a["ps"]), a["pm"])


def _cross_channel(step: Step) -> str:
    a, size = step.attributes, step.attributes["kernel_size"]
    if size % 2:  # ONNX's even windows lie on the other side
        return step.emit(
            "LRN", step.input, size=size, alpha=a["alpha"], beta=a["beta"], bias=a["delta"]
        )
    _, height, width, channels = step.sources[0]
    before, behind = around(size)
    rows = step.reshaped(step.emit("Mul", step.input, step.input), 0, 1, channels, height * width)
    sizes = step.writer.integers([0, 0, before, 0, 0, 0, behind, 0])
    padded = step.emit("Pad", rows, sizes, step.writer.scalar(0.0))
    mean = step.emit("AveragePool", padded, kernel_shape=[size, 1])
    return _divided(step, step.input, step.reshaped(mean, 0, channels, height, width))


def _softmax(step: Step) -> str:
    return step.emit("Softmax", step.input, axis=1)


def _log_softmax(step: Step) -> str:
    return step.emit("LogSoftmax", step.input, axis=1)


def _gram_matrix(step: Step) -> str:
    _, height, width, channels = step.sources[0]
    rows = step.reshaped(step.input, 0, channels, height * width)
    columns = step.emit("Transpose", rows, perm=[0, 2, 1])
    products = step.scaled(step.emit("MatMul", rows, columns), step.attributes["alpha"])
    return step.reshaped(products, 0, channels, 1, channels)


ROWS: dict[str, Callable[[Step], str]] = {
    "BatchNormalizationNode": _batch,
    "InstanceNormalizationNode": _instance,
    "GroupNormalizationNode": _group,
    "SpatialNormalizationNode": _spatial,
    "LocalContrastNormalizationNode": _local_contrast,
    "CrossChannelNormalizationNode": _cross_channel,
    "SoftMaxNode": _softmax,
    "LogSoftMaxNode": _log_softmax,
    "GramMatrixCalculationNode": _gram_matrix,
}
