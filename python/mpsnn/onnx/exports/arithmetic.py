# SPDX-License-Identifier: MIT
"""Arithmetic of two images, comparisons, reductions, concatenation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mpsnn._core import ComparisonType
from mpsnn.onnx.exports.step import Step
from mpsnn.onnx.writer import FLOAT

LARGEST = float(np.finfo(np.float32).max)
# Axes of NCHW by what a reduction's name says.
AXES = {"FeatureChannels": (1,), "Column": (2,), "Row": (3,), "Spatial": (2, 3)}
COMPARISONS = {
    ComparisonType.LESS: "Less",
    ComparisonType.LESS_OR_EQUAL: "LessOrEqual",
    ComparisonType.GREATER: "Greater",
    ComparisonType.GREATER_OR_EQUAL: "GreaterOrEqual",
}


def _finished(step: Step, value: str) -> str:
    """Bias and clamping; bounds at the ends of float32 clamp nothing."""
    a = step.attributes
    value = step.shifted(value, a["bias"])
    for operator, name, nothing in (
        ("Max", "minimum_value", -LARGEST),
        ("Min", "maximum_value", LARGEST),
    ):
        if a[name] != nothing:
            value = step.emit(operator, value, step.writer.scalar(a[name]))
    return value


def _sum(operator: str) -> Callable[[Step], str]:
    def export(step: Step) -> str:
        a, (primary, secondary) = step.attributes, step.inputs
        scaled = (
            step.scaled(primary, a["primary_scale"]),
            step.scaled(secondary, a["secondary_scale"]),
        )
        return _finished(step, step.emit(operator, *scaled))

    return export


def _product(step: Step) -> str:
    a = step.attributes
    value = step.emit("Mul", *step.inputs)
    return _finished(step, step.scaled(value, a["primary_scale"] * a["secondary_scale"]))


def _quotient(step: Step) -> str:
    a = step.attributes
    value = step.emit("Div", *step.inputs)
    return _finished(step, step.scaled(value, a["primary_scale"] / a["secondary_scale"]))


def _comparison(step: Step) -> str:
    kind = ComparisonType(step.attributes["comparison_type"])
    if kind in COMPARISONS:
        truth = step.emit(COMPARISONS[kind], *step.inputs)
    else:
        truth = step.emit("Equal", *step.inputs)  # infinities, whose distance is no number, too
        if threshold := step.attributes["threshold"]:
            distance = step.emit("Abs", step.emit("Sub", *step.inputs))
            near = step.emit("LessOrEqual", distance, step.writer.scalar(threshold))
            truth = step.emit("Or", truth, near)
        if kind == ComparisonType.NOT_EQUAL:
            truth = step.emit("Not", truth)
    return step.emit("Cast", truth, to=FLOAT)


def _clipped(step: Step) -> str:
    clip = step.attributes["clip_rect_source"]
    if not clip:
        return step.input
    x, y, width, height = clip
    integers = step.writer.integers
    return step.emit(
        "Slice", step.input, integers([y, x]), integers([y + height, x + width]), integers([2, 3])
    )


def _reduction(operator: str, axes: tuple[int, ...]) -> Callable[[Step], str]:
    def export(step: Step) -> str:
        value = step.emit(operator, _clipped(step), step.writer.integers(axes))
        return step.scaled(value, step.attributes.get("weight", 1.0))

    return export


def _argument(operator: str) -> Callable[[Step], str]:
    def export(step: Step) -> str:
        index = step.emit(operator, _clipped(step), axis=1)
        return step.emit("Cast", index, to=FLOAT)

    return export


def _concatenation(step: Step) -> str:
    return step.emit("Concat", *step.inputs, axis=1)


ROWS: dict[str, Callable[[Step], str]] = {
    "AdditionNode": _sum("Add"),
    "SubtractionNode": _sum("Sub"),
    "MultiplicationNode": _product,
    "DivisionNode": _quotient,
    "ComparisonNode": _comparison,
    "ConcatenationNode": _concatenation,
    **{
        f"Reduction{axis}{kind}Node": _reduction(f"Reduce{kind}", AXES[axis])
        for axis in ("Row", "Column", "FeatureChannels")
        for kind in ("Min", "Max", "Mean", "Sum")
    },
    "ReductionSpatialMeanNode": _reduction("ReduceMean", AXES["Spatial"]),
    "ReductionFeatureChannelsArgumentMinNode": _argument("ArgMin"),
    "ReductionFeatureChannelsArgumentMaxNode": _argument("ArgMax"),
}
