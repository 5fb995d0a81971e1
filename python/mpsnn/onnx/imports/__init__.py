# SPDX-License-Identifier: MIT
"""ONNX's operators as nodes: a function an operator, and how the first tensors are laid out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mpsnn.onnx.imports import elementwise, shapes, statistics, windows
from mpsnn.onnx.imports.statistics import channels_last
from mpsnn.onnx.imports.step import Step, Value
from mpsnn.onnx.tensor import IN_ORDER, STANDARD, Axes, C, N, without_batch

__all__ = ["ROWS", "Step", "Value", "layout_for"]

# What makes a node's outputs, by ONNX's name of the operator.
ROWS: dict[str, Callable[[Step], list[Value]]] = {
    **elementwise.ROWS,
    **shapes.ROWS,
    **statistics.ROWS,
    **windows.ROWS,
}

_WITHOUT_BATCH = {
    "Concat",
    "Flatten",
    "Gather",
    "LayerNormalization",
    "Pad",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Unsqueeze",
    *(name for name in ROWS if name.startswith("Reduce")),
}
_ONE_AXIS = {"ArgMax": 0, "ArgMin": 0, "LogSoftmax": -1, "Softmax": -1}


def layout_for(
    operator: str, attributes: Mapping[str, Any], index: int, shape: tuple[int, ...], widest: int
) -> Axes:
    """The layout of a model's input, by the first node that reads it.

    Args:
        operator: The node's.
        attributes: Its attributes by ONNX's names.
        index: Which of its operands the input is.
        shape: The input's.
        widest: The most axes that an operand of the node has.

    Returns:
        For each of ONNX's axes which of the image's it is: (N, C, H, W) where nothing asks for
        another.
    """
    rank = len(shape)
    axes: Axes | None = None
    if operator == "Transpose" and rank:
        order = list(attributes.get("perm", range(rank)[::-1]))
        if sorted(order) == list(range(rank)):  # else the node is refused when its turn comes
            axes = tuple(STANDARD[rank][order.index(i)] for i in range(rank))
    elif operator in elementwise.ROWS and rank < widest <= 4:
        axes = STANDARD[widest][widest - rank :]  # broadcast: axes are aligned at the end
    elif operator in _ONE_AXIS and rank:
        axes = channels_last(shape, int(attributes.get("axis", _ONE_AXIS[operator])) % rank)
    elif operator == "Gemm" and attributes.get("transA", 0) and index == 0 and rank == 2:
        axes = C, N
    elif operator == "MatMul" and rank == 3:
        axes = IN_ORDER[rank]
    elif operator in _WITHOUT_BATCH and (rank < 4 or operator.startswith("Reduce")):
        axes = without_batch(shape)
    return STANDARD[rank] if axes is None else axes
