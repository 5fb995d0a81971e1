# SPDX-License-Identifier: MIT
"""Node classes as ONNX: a function a class, and the reasons of those that have none."""

from __future__ import annotations

from collections.abc import Callable

from mpsnn.onnx.exports import arithmetic, convolutions, neurons, normalizations, poolings, shapes
from mpsnn.onnx.exports.step import Step

__all__ = ["REFUSED", "ROWS", "Step"]

# What writes a node and names its result, by the node's class.
ROWS: dict[str, Callable[[Step], str]] = {
    **arithmetic.ROWS,
    **convolutions.ROWS,
    **neurons.ROWS,
    **normalizations.ROWS,
    **poolings.ROWS,
    **shapes.ROWS,
}

_TRAINS = "a graph for inference has no losses"
REFUSED = {
    "DropoutNode": "ONNX's random numbers are others; build the graph for inference without it",
    "ForwardLossNode": _TRAINS,
    "LossNode": _TRAINS,
    "YOLOLossNode": _TRAINS,
}
