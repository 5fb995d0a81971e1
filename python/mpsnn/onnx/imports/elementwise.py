# SPDX-License-Identifier: MIT
"""Activations, arithmetic, comparisons, casts."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np

from mpsnn._core import ComparisonType, DataType, ImageNode
from mpsnn.nodes import (
    AdditionNode,
    ComparisonNode,
    DivisionNode,
    MultiplicationNode,
    NeuronAbsoluteNode,
    NeuronELUNode,
    NeuronExponentialNode,
    NeuronGeLUNode,
    NeuronHardSigmoidNode,
    NeuronLinearNode,
    NeuronLogarithmNode,
    NeuronPowerNode,
    NeuronPReLUNode,
    NeuronReLUNNode,
    NeuronReLUNode,
    NeuronSigmoidNode,
    NeuronSoftPlusNode,
    NeuronSoftSignNode,
    NeuronTanHNode,
    ReductionColumnMaxNode,
    ReductionColumnMinNode,
    SubtractionNode,
)
from mpsnn.onnx.imports.step import BOOLEAN, FLOATS, INDEX, Step, Value, linear
from mpsnn.onnx.tensor import STANDARD, Axes, C, H, Image, Tensor, joined, reshaped, size_of

Row = Callable[[Step], list[Value]]
SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875
GELU_CUBE = 0.044715
LARGEST = float(np.finfo(np.float32).max)


def _unary(make: Callable[[Image, Step], Image]) -> Row:
    def build(step: Step) -> list[Value]:
        source = step.floats()
        return [step.result(make(source.image, step), source.axes)]

    return build


def _hard_sigmoid(x: Image, step: Step) -> Image:
    return NeuronHardSigmoidNode(x, step.attribute("alpha", 0.2), step.attribute("beta", 0.5))


def _hard_swish(x: Image, _step: Step) -> Image:
    return MultiplicationNode(x, NeuronHardSigmoidNode(x, 1 / 6, 0.5))


def _mish(x: Image, _step: Step) -> Image:
    return MultiplicationNode(x, NeuronTanHNode(NeuronSoftPlusNode(x)))


def _swish(x: Image, step: Step) -> Image:
    return MultiplicationNode(x, NeuronSigmoidNode(linear(x, step.attribute("alpha", 1.0))))


def _selu(x: Image, step: Step) -> Image:
    exponential = NeuronELUNode(x, step.attribute("alpha", SELU_ALPHA))
    return NeuronLinearNode(exponential, step.attribute("gamma", SELU_GAMMA))


def _celu(x: Image, step: Step) -> Image:
    alpha = step.attribute("alpha", 1.0)
    return linear(NeuronELUNode(linear(x, 1 / alpha)), alpha)


def _gelu(x: Image, step: Step) -> Image:
    if step.attribute("approximate", b"none") in {b"none", "none"}:
        return NeuronGeLUNode(x)
    cubic = AdditionNode(x, NeuronPowerNode(x, 1.0, 0.0, 3.0), secondary_scale=GELU_CUBE)
    half = NeuronTanHNode(cubic, 0.5, sqrt(2 / np.pi))
    return MultiplicationNode(x, NeuronLinearNode(half, 1.0, 0.5))


def clamped(x: Image, low: float | None, high: float | None) -> Image:
    """The value between two bounds: the sum of its halves, which is exact, has bounds."""
    if low is None and high is None:
        return x
    return AdditionNode(
        x,
        x,
        primary_scale=0.5,
        secondary_scale=0.5,
        minimum_value=-LARGEST if low is None else max(low, -LARGEST),
        maximum_value=LARGEST if high is None else min(high, LARGEST),
    )


def _clip(step: Step) -> list[Value]:
    x = step.floats()
    bounds = []
    for index in (1, 2):
        bound = step.constant(index) if step.has(index) else None
        if bound is not None and bound.size != 1:
            step.refuse(f"input {index}: expected one number, got shape {bound.shape}")
        bounds.append(None if bound is None else float(bound.reshape(())[()]))
    low, high = bounds
    if low is not None and high is not None:
        low = min(low, high)  # ONNX: the upper one counts
    if low == 0 and high is not None and 0 < high < np.inf:
        return [step.result(NeuronReLUNNode(x.image, 0.0, high), x.axes)]
    return [step.result(clamped(x.image, low, high), x.axes)]


def _prelu(step: Step) -> list[Value]:
    x, slopes = step.floats(), step.constant(1)
    axes = STANDARD[len(x.shape)]
    wide = (1,) * (len(x.shape) - slopes.ndim) + slopes.shape
    channel = axes.index(C)
    others = [extent for i, extent in enumerate(wide) if i != channel]
    if any(extent != 1 for extent in others):
        step.refuse(f"slopes: expected one a channel of {x.shape}, got shape {slopes.shape}")
    values = np.broadcast_to(slopes.reshape(-1), x.shape[channel]).astype(float)
    return [step.result(NeuronPReLUNode(step.place(x, axes), values.tolist()))]


def _expanded(tensor: Tensor, rank: int) -> Tensor:
    """With axes of 1 in front; they take the image's axes that are left."""
    missing = rank - len(tensor.shape)
    free = [axis for axis in range(4) if axis not in tensor.axes]
    axes = tuple(free[:missing]) + tensor.axes
    return tensor.viewed((1,) * missing + tensor.shape, axes)


def aligned(step: Step, *indices: int) -> tuple[list[Image], Axes]:
    """The images of operands that are broadcast, in one layout: that of the widest tensor."""
    rank = step.rank(step.shape)
    tensors = [value for i in indices if isinstance(value := step.inputs[i], Tensor)]
    widest = max((_expanded(x, rank) for x in tensors), key=lambda x: np.prod(x.shape))
    images = []
    for i in indices:
        value = step.inputs[i]
        if isinstance(value, Tensor):
            images.append(step.place(_expanded(step.tensor(i), rank), widest.axes))
        else:
            assert value is not None  # noqa: S101 (ONNX's checker has looked)
            wide = value.reshape((1,) * (rank - value.ndim) + value.shape)
            images.append(step.constant_tensor(wide, widest.axes).image)
    return images, widest.axes


def _arithmetic(
    node: Callable[[Image, Image], Image],
    left: Callable[[Image, float], Image],
    right: Callable[[Image, float], Image],
) -> Row:
    """`left`: the image is the first operand and a number the second; `right`: the other way."""

    def build(step: Step) -> list[Value]:
        for i in (0, 1):
            value = step.inputs[i]
            dtype = value.dtype if value is not None else FLOATS[0]
            if dtype not in FLOATS:
                step.refuse(f"input {i}: expected float32 or float16, got {dtype}")
        for i, make in ((0, left), (1, right)):
            value, number = step.inputs[i], step.number(1 - i)
            if isinstance(value, Tensor) and number is not None and value.shape == step.shape:
                return [step.result(make(value.image, number), value.axes)]
        images, axes = aligned(step, 0, 1)
        return [step.result(node(*images), axes)]

    return build


def _quotient(step: Step) -> list[Value]:
    return _arithmetic(
        DivisionNode,
        lambda x, number: DivisionNode(x, _number(step, number)),
        lambda x, number: DivisionNode(_number(step, number), x),
    )(step)


def _number(step: Step, number: float) -> ImageNode:
    return step.add_constant(np.full((1, 1, 1, 1), number, np.float32))


def _power(step: Step) -> list[Value]:
    base, exponent = step.inputs[0], step.inputs[1]
    number = step.number(1)
    if isinstance(base, Tensor) and number is not None:
        base = step.floats()
        return [step.result(NeuronPowerNode(base.image, 1.0, 0.0, number), base.axes)]
    number = step.number(0)
    if isinstance(exponent, Tensor) and number is not None and number > 0:
        exponent = step.floats(1)
        return [step.result(NeuronExponentialNode(exponent.image, 1.0, 0.0, number), exponent.axes)]
    return step.refuse("expected a number as exponent or, above 0, as base")


def _extreme(node: type[ReductionColumnMaxNode | ReductionColumnMinNode]) -> Row:
    """The largest or smallest of tensors of one shape: they become the rows of an image."""
    is_max = node is ReductionColumnMaxNode

    def build(step: Step) -> list[Value]:
        tensors = [i for i in range(len(step.inputs)) if isinstance(step.inputs[i], Tensor)]
        numbers = [step.number(i) for i in range(len(step.inputs)) if i not in tensors]
        first = step.floats(tensors[0])
        images, axes = [first.image], first.axes
        if len(tensors) > 1:
            images, axes = aligned(step, *tensors)
        if None in numbers or any(step.floats(i).shape != step.shape for i in tensors):
            step.refuse(f"expected tensors of shape {step.shape} and numbers")
        if len(images) > 1:
            size = size_of(step.shape, axes)
            flat = size[1] * size[2] * size[3]
            parts = [reshaped(x, 1, 1, flat) for x in images]
            rows = joined(parts, [(size[0], 1, 1, flat)] * len(images), H)
            images = [reshaped(node(rows), *size[1:])]
        image = images[0]
        for number in numbers:
            image = clamped(image, number, None) if is_max else clamped(image, None, number)
        return [step.result(image, axes)]

    return build


def _sum(step: Step) -> list[Value]:
    if not any(isinstance(value, Tensor) for value in step.inputs):
        step.refuse("expected a tensor")
    for i in range(len(step.inputs)):
        step.floats(i)
    images, axes = aligned(step, *range(len(step.inputs)))
    total = images[0]
    for image in images[1:]:
        total = AdditionNode(total, image)
    if step.operator == "Mean":
        total = linear(total, 1 / len(images))
    return [step.result(total, axes)]


def _compared(kind: ComparisonType) -> Row:
    def build(step: Step) -> list[Value]:
        for i in (0, 1):
            value = step.inputs[i]
            if value is not None and value.dtype not in (*FLOATS, BOOLEAN):
                step.refuse(f"input {i}: expected float32, float16 or bool, got {value.dtype}")
        (primary, secondary), axes = aligned(step, 0, 1)
        return [step.result(ComparisonNode(primary, secondary, comparison_type=kind), axes)]

    return build


def _both(step: Step) -> list[Value]:
    (primary, secondary), axes = aligned(step, 0, 1)
    return [step.result(MultiplicationNode(primary, secondary), axes)]


def _either(step: Step) -> list[Value]:
    (primary, secondary), axes = aligned(step, 0, 1)
    return [step.result(AdditionNode(primary, secondary, maximum_value=1.0), axes)]


def _not(step: Step) -> list[Value]:
    x = step.tensor()
    return [step.result(NeuronLinearNode(x.image, -1.0, 1.0), x.axes)]


def _is_nan(step: Step) -> list[Value]:
    x = step.floats()
    kind = ComparisonType.NOT_EQUAL
    return [step.result(ComparisonNode(x.image, x.image, comparison_type=kind), x.axes)]


def _cast(step: Step) -> list[Value]:
    x, wanted = step.tensor(), step.dtypes[0]
    if wanted == x.dtype or (x.dtype in {BOOLEAN, INDEX} and wanted == FLOATS[0]):
        return [x.viewed(x.shape, x.axes, wanted)]
    if wanted == BOOLEAN:
        zero = _number(step, 0.0)
        kind = ComparisonType.NOT_EQUAL
        return [step.result(ComparisonNode(x.image, zero, comparison_type=kind), x.axes)]
    if wanted not in FLOATS:
        step.refuse(f"expected float32, float16 or bool, got {wanted}")
    node = NeuronLinearNode(x.image)
    node.result_image.format = DataType.FLOAT16 if wanted == FLOATS[1] else DataType.FLOAT32
    return [step.result(node, x.axes)]


_add = _arithmetic(
    AdditionNode, lambda x, number: linear(x, 1.0, number), lambda x, number: linear(x, 1.0, number)
)
_subtract = _arithmetic(
    SubtractionNode,
    lambda x, number: linear(x, 1.0, -number),
    lambda x, number: linear(x, -1.0, number),
)
_multiply = _arithmetic(MultiplicationNode, linear, linear)

ROWS: dict[str, Row] = {
    "Abs": _unary(lambda x, _: NeuronAbsoluteNode(x)),
    "Add": _add,
    "And": _both,
    "Cast": _cast,
    "Celu": _unary(_celu),
    "Clip": _clip,
    "Div": _quotient,
    "Elu": _unary(lambda x, step: NeuronELUNode(x, step.attribute("alpha", 1.0))),
    "Equal": _compared(ComparisonType.EQUAL),
    "Exp": _unary(lambda x, _: NeuronExponentialNode(x)),
    "Gelu": _unary(_gelu),
    "Greater": _compared(ComparisonType.GREATER),
    "GreaterOrEqual": _compared(ComparisonType.GREATER_OR_EQUAL),
    "HardSigmoid": _unary(_hard_sigmoid),
    "HardSwish": _unary(_hard_swish),
    "IsNaN": _is_nan,
    "LeakyRelu": _unary(lambda x, step: NeuronReLUNode(x, step.attribute("alpha", 0.01))),
    "Less": _compared(ComparisonType.LESS),
    "LessOrEqual": _compared(ComparisonType.LESS_OR_EQUAL),
    "Log": _unary(lambda x, _: NeuronLogarithmNode(x)),
    "Max": _extreme(ReductionColumnMaxNode),
    "Mean": _sum,
    "Min": _extreme(ReductionColumnMinNode),
    "Mish": _unary(_mish),
    "Mul": _multiply,
    "Neg": _unary(lambda x, _: NeuronLinearNode(x, -1.0)),
    "Not": _not,
    "Or": _either,
    "PRelu": _prelu,
    "Pow": _power,
    "Reciprocal": _unary(lambda x, _: NeuronPowerNode(x, 1.0, 0.0, -1.0)),
    "Relu": _unary(lambda x, _: NeuronReLUNode(x)),
    "Selu": _unary(_selu),
    "Sigmoid": _unary(lambda x, _: NeuronSigmoidNode(x)),
    "Softplus": _unary(lambda x, _: NeuronSoftPlusNode(x)),
    "Softsign": _unary(lambda x, _: NeuronSoftSignNode(x)),
    "Sqrt": _unary(lambda x, _: NeuronPowerNode(x, 1.0, 0.0, 0.5)),
    "Sub": _subtract,
    "Sum": _sum,
    "Swish": _unary(_swish),
    "Tanh": _unary(lambda x, _: NeuronTanHNode(x)),
    "Xor": _compared(ComparisonType.NOT_EQUAL),
}
