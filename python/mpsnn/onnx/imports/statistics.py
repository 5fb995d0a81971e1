# SPDX-License-Identifier: MIT
"""Normalisations, softmax and reductions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mpsnn._core import (
    BatchNormalizationDataSource,
    BatchNormalizationFlags,
    GroupNormalizationDataSource,
    InstanceNormalizationDataSource,
)
from mpsnn.nodes import (
    AdditionNode,
    BatchNormalizationNode,
    CrossChannelNormalizationNode,
    GroupNormalizationNode,
    InstanceNormalizationNode,
    LogSoftMaxNode,
    MultiplicationNode,
    NeuronAbsoluteNode,
    NeuronExponentialNode,
    NeuronLogarithmNode,
    NeuronPowerNode,
    ReductionColumnMaxNode,
    ReductionColumnMeanNode,
    ReductionColumnMinNode,
    ReductionColumnSumNode,
    ReductionFeatureChannelsArgumentMaxNode,
    ReductionFeatureChannelsArgumentMinNode,
    ReductionFeatureChannelsMaxNode,
    ReductionFeatureChannelsMeanNode,
    ReductionFeatureChannelsMinNode,
    ReductionFeatureChannelsSumNode,
    ReductionRowMaxNode,
    ReductionRowMeanNode,
    ReductionRowMinNode,
    ReductionRowSumNode,
    SoftMaxNode,
    SubtractionNode,
)
from mpsnn.onnx.imports.step import Step, Value
from mpsnn.onnx.tensor import Axes, C, H, Image, N, Tensor, W

Row = Callable[[Step], list[Value]]
Source = Callable[..., Image]

# A node for each of the image's axes.
REDUCTIONS: dict[str, dict[int, Source]] = {
    "Max": {
        W: ReductionRowMaxNode,
        H: ReductionColumnMaxNode,
        C: ReductionFeatureChannelsMaxNode,
    },
    "Mean": {
        W: ReductionRowMeanNode,
        H: ReductionColumnMeanNode,
        C: ReductionFeatureChannelsMeanNode,
    },
    "Min": {
        W: ReductionRowMinNode,
        H: ReductionColumnMinNode,
        C: ReductionFeatureChannelsMinNode,
    },
    "Sum": {
        W: ReductionRowSumNode,
        H: ReductionColumnSumNode,
        C: ReductionFeatureChannelsSumNode,
    },
}


def _numbers(step: Step, index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.ascontiguousarray(step.constant(index).reshape(-1), np.float32)


def _epsilon(step: Step) -> float:
    """Apple's smallest where the model says 0."""
    return max(float(step.attribute("epsilon", 1e-5)), float(np.finfo(np.float32).tiny))


def _check_channels(step: Step, wanted: int) -> None:
    shape = step.floats().shape
    if len(shape) < 2 or shape[1] != wanted:
        step.refuse(f"expected {wanted} channels, as the scale has, got shape {shape}")


def _batch(step: Step) -> list[Value]:
    if step.attribute("training_mode", 0) or len(step.shapes) > 1:
        step.refuse("expected training_mode 0")
    gamma, beta, mean, variance = (_numbers(step, i) for i in (1, 2, 3, 4))
    _check_channels(step, len(gamma))
    source = BatchNormalizationDataSource(
        len(gamma),
        gamma=gamma,
        beta=beta,
        mean=mean,
        variance=variance,
        epsilon=_epsilon(step),
        label=step.name,
    )
    return [step.result(BatchNormalizationNode(step.standard(), source, label=step.name))]


def _instance(step: Step) -> list[Value]:
    gamma = _numbers(step, 1)
    _check_channels(step, len(gamma))
    source = InstanceNormalizationDataSource(
        len(gamma), gamma=gamma, beta=_numbers(step, 2), epsilon=_epsilon(step), label=step.name
    )
    return [step.result(InstanceNormalizationNode(step.standard(), source, label=step.name))]


def _group(step: Step) -> list[Value]:
    groups, channels = int(step.attribute("num_groups", 0)), step.floats().shape[1]
    if groups < 1 or channels % groups:
        step.refuse(f"num_groups: expected a divisor of {channels}, got {groups}")
    gamma, beta = _numbers(step, 1), _numbers(step, 2)
    if step.opset < 21:  # one a group
        gamma, beta = (np.repeat(x, channels // groups) for x in (gamma, beta))
    source = GroupNormalizationDataSource(
        channels, groups, gamma=gamma, beta=beta, epsilon=_epsilon(step), label=step.name
    )
    return [step.result(GroupNormalizationNode(step.standard(), source, label=step.name))]


def _layer(step: Step) -> list[Value]:
    """Step by step: any axes but the batch, and mean and deviation as further outputs."""
    x = step.floats()
    rank = step.rank(x.shape)
    axes = list(range(step.axis(-1, rank), rank))
    mean = _means(step, x, x.image, axes)
    centred = SubtractionNode(x.image, mean)
    variance = _means(step, x, MultiplicationNode(centred, centred), axes)
    inverse = NeuronPowerNode(variance, 1.0, _epsilon(step), -0.5)
    image: Image = MultiplicationNode(centred, inverse, label=step.name)
    for index, node in ((1, MultiplicationNode), (2, AdditionNode)):
        if step.has(index):
            values = step.constant(index)
            wide = values.reshape((1,) * (rank - values.ndim) + values.shape)
            image = node(image, step.constant_tensor(wide, x.axes).image)
    results = [image, mean, inverse][: len(step.shapes)]
    return [step.result(made, x.axes, index) for index, made in enumerate(results)]


def _means(step: Step, tensor: Tensor, image: Image, axes: list[int]) -> Image:
    """The means over some axes, which stay with an extent of 1."""
    for axis in axes:
        place = tensor.axes[axis]
        if place == N and tensor.shape[axis] > 1:
            step.refuse("the batch cannot be reduced")
        if place != N:
            image = REDUCTIONS["Mean"][place](image)
    return image


def _mean_variance(step: Step) -> list[Value]:
    tensor = step.floats()
    if list(step.attribute("axes", [0, 2, 3])) != [0, 2, 3] or len(tensor.shape) != 4:
        step.refuse("expected 4 axes, normalised over 0, 2 and 3")
    source = BatchNormalizationDataSource(tensor.shape[1], epsilon=1e-9, label=step.name)
    flags = BatchNormalizationFlags.CALCULATE_STATISTICS_ALWAYS
    return [step.result(BatchNormalizationNode(step.standard(), source, flags=flags))]


def _lrn(step: Step) -> list[Value]:
    size = int(step.attribute("size", 0))
    if size < 1 or size % 2 == 0:
        step.refuse(f"size: expected an odd number, got {size}")
    node = CrossChannelNormalizationNode(
        step.standard(),
        size,
        alpha=step.attribute("alpha", 1e-4),
        beta=step.attribute("beta", 0.75),
        delta=step.attribute("bias", 1.0),
        label=step.name,
    )
    return [step.result(node)]


def channels_last(shape: tuple[int, ...], axis: int) -> Axes:
    """A layout with one axis on the channels; the batch stays where it can."""
    others = [i for i in range(len(shape)) if i != axis]
    free = [N, H, W] if axis != 0 else [H, W, N]
    places = dict(zip(others, free, strict=False))
    return tuple(C if i == axis else places[i] for i in range(len(shape)))


def _over_channels(node: Source) -> Row:
    def build(step: Step) -> list[Value]:
        tensor = step.floats()
        if not tensor.shape:
            step.refuse("expected at least one axis")
        step.rank(tensor.shape)
        axes = channels_last(tensor.shape, step.axis(-1, len(tensor.shape)))
        return [step.result(node(step.place(tensor, axes), label=step.name), axes)]

    return build


def _argument(node: Source) -> Row:
    def build(step: Step) -> list[Value]:
        tensor = step.floats()
        if step.attribute("select_last_index", 0):
            step.refuse("expected select_last_index 0")
        axis = step.axis(0, step.rank(tensor.shape))
        axes = channels_last(tensor.shape, axis)
        image = node(step.place(tensor, axes), label=step.name)
        if not step.attribute("keepdims", 1):
            axes = axes[:axis] + axes[axis + 1 :]
        return [step.result(image, axes)]

    return build


def reduced_axes(step: Step, rank: int) -> list[int]:
    """Which axes a reduction takes, from the front."""
    if "axes" in step.attributes:
        given = [int(axis) for axis in step.attributes["axes"]]
    else:
        given = step.integers(1, []) if step.has(1) else []
    if not given:
        return [] if step.attribute("noop_with_empty_axes", 0) else list(range(rank))
    return sorted({axis + rank if axis < 0 else axis for axis in given})


def _reduced(step: Step, tensor: Tensor, kind: str, image: Image, axes: list[int]) -> list[Value]:
    for axis in axes:
        if tensor.shape[axis] == 0:
            step.refuse("expected no axis of 0")
        place = tensor.axes[axis]
        if place == N and tensor.shape[axis] > 1:
            step.refuse("the batch cannot be reduced")
        if place != N:
            image = REDUCTIONS[kind][place](image)
    left = tuple(
        place
        for axis, place in enumerate(tensor.axes)
        if step.attribute("keepdims", 1) or axis not in axes
    )
    return [step.result(image, left)]


def _reduction(
    kind: str,
    before: Callable[[Image], Image] | None = None,
    behind: Callable[[Image], Image] | None = None,
) -> Row:
    def build(step: Step) -> list[Value]:
        tensor = step.floats()
        axes = reduced_axes(step, step.rank(tensor.shape))
        image = tensor.image if before is None else before(tensor.image)
        (result,) = _reduced(step, tensor, kind, image, axes)
        assert isinstance(result, Tensor)  # noqa: S101 (made above)
        if behind is None:
            return [result]
        return [step.result(behind(result.image), result.axes)]

    return build


def _log_sum_exp(step: Step) -> list[Value]:
    """The largest value is taken off first, so that nothing overflows."""
    tensor = step.floats()
    axes = reduced_axes(step, step.rank(tensor.shape))
    (largest,) = _reduced(step, tensor, "Max", tensor.image, axes)
    assert isinstance(largest, Tensor)  # noqa: S101 (made above)
    shifted = NeuronExponentialNode(SubtractionNode(tensor.image, largest.image))
    (total,) = _reduced(step, tensor, "Sum", shifted, axes)
    assert isinstance(total, Tensor)  # noqa: S101 (made above)
    image = AdditionNode(NeuronLogarithmNode(total.image), largest.image)
    return [step.result(image, total.axes)]


def _square(image: Image) -> Image:
    return MultiplicationNode(image, image)


def _root(image: Image) -> Image:
    return NeuronPowerNode(image, 1.0, 0.0, 0.5)


ROWS: dict[str, Row] = {
    "ArgMax": _argument(ReductionFeatureChannelsArgumentMaxNode),
    "ArgMin": _argument(ReductionFeatureChannelsArgumentMinNode),
    "BatchNormalization": _batch,
    "GroupNormalization": _group,
    "InstanceNormalization": _instance,
    "LRN": _lrn,
    "LayerNormalization": _layer,
    "LogSoftmax": _over_channels(LogSoftMaxNode),
    "MeanVarianceNormalization": _mean_variance,
    "ReduceL1": _reduction("Sum", NeuronAbsoluteNode),
    "ReduceL2": _reduction("Sum", _square, _root),
    "ReduceLogSum": _reduction("Sum", None, NeuronLogarithmNode),
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": _reduction("Max"),
    "ReduceMean": _reduction("Mean"),
    "ReduceMin": _reduction("Min"),
    "ReduceSum": _reduction("Sum"),
    "ReduceSumSquare": _reduction("Sum", _square),
    "Softmax": _over_channels(SoftMaxNode),
}
