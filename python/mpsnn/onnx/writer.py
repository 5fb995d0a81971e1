# SPDX-License-Identifier: MIT
"""The ONNX graph that grows while nodes are exported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

# Gelu came with 20, GroupNormalization by channels with 21.
OPSET = 21
IR_VERSION = 10


class Writer:
    """Nodes, constants and names of a graph in the making."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._names: set[str] = set()
        self._known: dict[tuple[object, ...], str] = {}

    def name(self, wanted: str) -> str:
        """A name that no other value and no other node has."""
        found, number = wanted, 1
        while found in self._names:
            number += 1
            found = f"{wanted}.{number}"
        self._names.add(found)
        return found

    def emit(self, operator: str, inputs: Sequence[str], label: str, **attributes: Any) -> str:  # noqa: ANN401 (what ONNX takes)
        """Adds a node with one output.

        Args:
            operator: ONNX's name of it.
            inputs: Names of values; "" for those left out.
            label: From which the names of node and value are made.
            attributes: By ONNX's names; None: left out.

        Returns:
            The value's name.
        """
        name = self.name(label)
        given = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **given))
        return name

    def constant(self, values: NDArray[Any], label: str) -> str:
        """Adds an initializer; small ones of equal values are shared.

        Args:
            values: Its elements.
            label: From which its name is made.

        Returns:
            The value's name.
        """
        values = np.ascontiguousarray(values)
        key = (values.dtype.str, values.shape, values.tobytes()) if values.size <= 16 else None
        if key is not None and key in self._known:
            return self._known[key]
        name = self.name(label)
        self.constants.append(numpy_helper.from_array(values, name))
        if key is not None:
            self._known[key] = name
        return name

    def scalar(self, value: float) -> str:
        """A float32 number."""
        return self.constant(np.float32(value).reshape(()), "number")

    def integers(self, values: Sequence[int]) -> str:
        """A list of int64."""
        return self.constant(np.array(values, np.int64), "integers")

    def cast(self, value: str, element_type: int, label: str) -> str:
        """The value in another element type."""
        return self.emit("Cast", [value], label, to=element_type)

    def rename(self, value: str, name: str) -> None:
        """Gives a value that a node made the name of an output."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=self.name(name)))

    def model(self, name: str, version: str) -> onnx.ModelProto:
        """The finished model, checked by the package `onnx`."""
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="mpsnn",
            producer_version=version,
        )
        onnx.checker.check_model(model)
        return model


FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
