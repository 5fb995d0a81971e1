# SPDX-License-Identifier: MIT
"""ONNX's operators as nodes: a function an operator, and how the first tensors are laid out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mpsnn.onnx.imports import elementwise, shapes, statistics, windows
from mpsnn.onnx.imports.statistics import channels_last
from mpsnn.onnx.imports.step import Step, Value
from mpsnn.onnx.tensor import IN_ORDER, STANDARD, Axes, C, N, without_batch

__all__ = ["CONSTANTS", "ROWS", "Step", "Value", "layout_for"]

# What makes a node's outputs, by ONNX's name of the operator.
ROWS: dict[str, Callable[[Step], list[Value]]] = {
    **elementwise.ROWS,
    **shapes.ROWS,
    **statistics.ROWS,
    **windows.ROWS,
}

# Which inputs must be known when a model is read, where not all but the first may be computed.
CONSTANTS: dict[str, tuple[int, ...]] = {
    "BatchNormalization": (1, 2, 3, 4),
    "Clip": (1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Dropout": (1, 2),
    "Gather": (1,),
    "Gemm": (1,),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "MatMul": (1,),
    "PRelu": (1,),
    "Pad": (1, 2, 3),
    "Pow": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
    **{name: (1,) for name in ROWS if name.startswith("Reduce")},
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
