# SPDX-License-Identifier: MIT
"""Numbers of axes that are looked at before ONNX's shape inference, which ends the process there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Operators with windows: whether they have weights.
WINDOWED = {
    "AveragePool": False,
    "Conv": True,
    "ConvTranspose": True,
    "LpPool": False,
    "MaxPool": False,
}


def fault_of(
    operator: str, attributes: Mapping[str, Any], shapes: Sequence[Sequence[int] | None]
) -> str | None:
    """What is wrong with the numbers of axes of an operator's operands and attributes.

    Args:
        operator: ONNX's name.
        attributes: By ONNX's names.
        shapes: Of its inputs; None: left out.

    Returns:
        The fault in words; None: there is none.
    """
    if any(shape is not None and len(shape) > 8 for shape in shapes):
        return "expected inputs of few axes"
    if operator not in WINDOWED:
        return None
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
