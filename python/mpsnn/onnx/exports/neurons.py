# SPDX-License-Identifier: MIT
"""Neurons as ONNX's activations and arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from mpsnn._core import NeuronDescriptor, NeuronType
from mpsnn.onnx.exports.step import Step

# Parameters a, b and c.
Function = Callable[[Step, str, float, float, float], str]


def _relu(step: Step, x: str, a: float, _b: float, _c: float) -> str:
    return step.emit("Relu", x) if a == 0 else step.emit("LeakyRelu", x, alpha=a)


def _relu_n(step: Step, x: str, a: float, b: float, _c: float) -> str:
    number = step.writer.scalar
    if a == 0 and b >= 0:
        return step.emit("Clip", x, number(0.0), number(b))
    return step.emit("Min", step.emit("LeakyRelu", x, alpha=a), number(b))


def _linear(step: Step, x: str, a: float, b: float, _c: float) -> str:
    moved = step.shifted(step.scaled(x, a), b)
    return step.emit("Identity", x) if moved == x else moved


def _sigmoid(step: Step, x: str, _a: float, _b: float, _c: float) -> str:
    return step.emit("Sigmoid", x)


def _hard_sigmoid(step: Step, x: str, a: float, b: float, _c: float) -> str:
    return step.emit("HardSigmoid", x, alpha=a, beta=b)


def _tanh(step: Step, x: str, a: float, b: float, _c: float) -> str:
    return step.scaled(step.emit("Tanh", step.scaled(x, b)), a)


def _absolute(step: Step, x: str, _a: float, _b: float, _c: float) -> str:
    return step.emit("Abs", x)


def _soft_plus(step: Step, x: str, a: float, b: float, _c: float) -> str:
    return step.scaled(step.emit("Softplus", step.scaled(x, b)), a)


def _soft_sign(step: Step, x: str, _a: float, _b: float, _c: float) -> str:
    return step.emit("Softsign", x)


def _elu(step: Step, x: str, a: float, _b: float, _c: float) -> str:
    return step.emit("Elu", x, alpha=a)


def _power(step: Step, x: str, a: float, b: float, c: float) -> str:
    return step.emit("Pow", _linear(step, x, a, b, 0.0), step.writer.scalar(c))


def _exponential(step: Step, x: str, a: float, b: float, c: float) -> str:
    exponent = _linear(step, x, a, b, 0.0)
    if c == -1:
        return step.emit("Exp", exponent)
    return step.emit("Pow", step.writer.scalar(c), exponent)


def _logarithm(step: Step, x: str, a: float, b: float, c: float) -> str:
    natural = step.emit("Log", _linear(step, x, a, b, 0.0))
    return natural if c == -1 else step.scaled(natural, 1 / math.log(c))


def _gelu(step: Step, x: str, _a: float, _b: float, _c: float) -> str:
    return step.emit("Gelu", x)


FUNCTIONS: dict[NeuronType, Function] = {
    NeuronType.RELU: _relu,
    NeuronType.RELUN: _relu_n,
    NeuronType.LINEAR: _linear,
    NeuronType.SIGMOID: _sigmoid,
    NeuronType.HARD_SIGMOID: _hard_sigmoid,
    NeuronType.TANH: _tanh,
    NeuronType.ABSOLUTE: _absolute,
    NeuronType.SOFT_PLUS: _soft_plus,
    NeuronType.SOFT_SIGN: _soft_sign,
    NeuronType.ELU: _elu,
    NeuronType.POWER: _power,
    NeuronType.EXPONENTIAL: _exponential,
    NeuronType.LOGARITHM: _logarithm,
    NeuronType.GELU: _gelu,
}


def fused(step: Step, value: str, neuron: NeuronDescriptor) -> str:
    """The value after a convolution's fused neuron."""
    if neuron.type == NeuronType.NONE:
        return value
    return FUNCTIONS[neuron.type](step, value, neuron.a, neuron.b, neuron.c)


def _neuron(step: Step) -> str:
    kind = NeuronType(step.attributes["neuron_type"])
    a, b, c = (float(step.attributes.get(name, 0.0)) for name in "abc")
    return FUNCTIONS[kind](step, step.input, a, b, c)


def _prelu(step: Step) -> str:
    slopes: Sequence[float] = step.attributes["a"]
    return step.emit(
        "PRelu", step.input, step.constant(np.array(slopes, np.float32).reshape(-1, 1, 1), "slopes")
    )


ROWS: dict[str, Callable[[Step], str]] = {
    "NeuronPReLUNode": _prelu,
    **dict.fromkeys(
        (
            "NeuronReLUNode",
            "NeuronReLUNNode",
            "NeuronLinearNode",
            "NeuronSigmoidNode",
            "NeuronHardSigmoidNode",
            "NeuronTanHNode",
            "NeuronAbsoluteNode",
            "NeuronSoftPlusNode",
            "NeuronSoftSignNode",
            "NeuronELUNode",
            "NeuronPowerNode",
            "NeuronExponentialNode",
            "NeuronLogarithmNode",
            "NeuronGeLUNode",
        ),
        _neuron,
    ),
}
