# SPDX-License-Identifier: MIT
"""What is looked at before ONNX's own shape inference, which may end the process without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Shapes = Sequence[Sequence[int] | None]

# Operators with windows: whether they have weights.
WINDOWED = {
    "AveragePool": False,
    "Conv": True,
    "ConvTranspose": True,
    "LpPool": False,
    "MaxPool": False,
}
POSITIVE = ("blocksize", "dilations", "group", "kernel_shape", "num_groups", "num_outputs")
AXES = ("axes", "axis", "perm")
MOST_AXES = 8
LARGEST = 2**31 - 1


def fault_of(
    operator: str, attributes: Mapping[str, Any], shapes: Shapes, outputs: int
) -> str | None:
    """What is wrong with an operator's attributes and its operands' numbers of axes.

    Args:
        operator: ONNX's name.
        attributes: By ONNX's names.
        shapes: Of its inputs; None: left out.
        outputs: How many there are.

    Returns:
        The fault in words; None: there is none.
    """
    if any(shape is not None and len(shape) > MOST_AXES for shape in shapes):
        return f"expected inputs of {MOST_AXES} axes at most"
    for name, value in attributes.items():
        numbers = value if isinstance(value, list) else [value]
        whole = [number for number in numbers if isinstance(number, int)]
        low, high = _range(name)
        if any(not low <= number <= high for number in whole):
            return f"{name}: expected numbers from {low} to {high}, got {value}"
    if any(len(shape) == 0 for shape in shapes[:1] if shape is not None) and "axis" in attributes:
        return "axis: expected none, as the input has no axes"
    if operator == "Split":
        said = attributes.get("num_outputs", outputs)
        sizes = shapes[1] if len(shapes) > 1 else None
        if said != outputs or (sizes is not None and tuple(sizes) != (outputs,)):
            return f"expected {outputs} parts, as many as outputs, got {said} and sizes {sizes}"
    return _fault_of_windows(attributes, shapes, operator) if operator in WINDOWED else None


def _range(name: str) -> tuple[int, int]:
    if name in AXES:
        return -MOST_AXES, MOST_AXES
    return (1 if name in POSITIVE or name == "strides" else -LARGEST), LARGEST


def _fault_of_windows(attributes: Mapping[str, Any], shapes: Shapes, operator: str) -> str | None:
    first = shapes[0] if shapes else None
    if first is None or len(first) < 3:
        return f"expected an input of 3 axes or more, got {first}"
    if WINDOWED[operator] and (len(shapes) < 2 or len(shapes[1] or ()) != len(first)):
        return f"expected weights of {len(first)} axes, got {list(shapes[1:2])}"
    count = len(first) - 2
    for name, wanted in (
        ("kernel_shape", count),
        ("strides", count),
        ("dilations", count),
        ("output_padding", count),
        ("pads", 2 * count),
    ):
        given = attributes.get(name, [])
        if given and len(given) != wanted:
            return f"{name}: expected {wanted} numbers, got {len(given)}"
    return None
