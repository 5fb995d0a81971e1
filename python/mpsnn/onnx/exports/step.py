# SPDX-License-Identifier: MIT
"""One node on its way to ONNX: what the tables' functions are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from mpsnn._core import (
    DataSource,
    Device,
    FilterNode,
    Graph,
    ImageEdgeMode,
    ImageNode,
    NullDevice,
    Padding,
    PaddingPlacement,
    PaddingPolicy,
    PaddingQuery,
    UnsupportedError,
)
from mpsnn.onnx.geometry import Pads, Window, X, Y, placed
from mpsnn.onnx.writer import Writer

Size = tuple[int, int, int, int]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Step:
    """A node with its sources as ONNX's values, NCHW.

    Attributes:
        writer: Where the nodes go.
        device: Whose weights are written.
        node: The node.
        inputs: ONNX's names of its sources.
        sources: Sizes (N, H, W, C) of its sources.
        result: Size of its result.
    """

    writer: Writer
    device: Device
    node: FilterNode
    inputs: Sequence[str]
    sources: Sequence[Size]
    result: Size

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The node's parameters by name."""
        return self.node.attributes

    @property
    def weights(self) -> DataSource:
        """Its data source."""
        return cast("DataSource", self.node.weights)

    @property
    def input(self) -> str:
        """Its first source."""
        return self.inputs[0]

    def emit(self, operator: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 (what ONNX takes)
        """Adds an ONNX node that belongs to this one."""
        return self.writer.emit(operator, inputs, self.node.label, **attributes)

    def constant(self, values: NDArray[Any], what: str) -> str:
        """Adds an array that belongs to this node."""
        return self.writer.constant(values, f"{self.node.label}.{what}")

    def parameter(self, name: str) -> Floats:
        """A parameter of the data source, as the device has it now."""
        return self.device.read_parameter(self.weights, name)

    def scaled(self, value: str, factor: float) -> str:
        """The value times a number."""
        return value if factor == 1 else self.emit("Mul", value, self.writer.scalar(factor))

    def shifted(self, value: str, summand: float) -> str:
        """The value plus a number."""
        return value if summand == 0 else self.emit("Add", value, self.writer.scalar(summand))

    def reshaped(self, value: str, *shape: int) -> str:
        """The value in another shape; 0 is the batch, which stays."""
        return self.emit("Reshape", value, self.writer.integers(shape))

    def padded(self, value: str, pads: Pads, mode: str = "constant", fill: float = 0.0) -> str:
        """Rows and columns around the value, or without some of its own."""
        if pads.values == (0, 0, 0, 0):
            return value
        sizes = self.writer.integers([0, 0, pads.top, pads.left, 0, 0, pads.bottom, pads.right])
        if mode == "constant":
            return self.emit("Pad", value, sizes, self.writer.scalar(fill))
        return self.emit("Pad", value, sizes, mode=mode)

    def refuse(self, reason: str) -> NoReturn:
        """Fails with an error that names the node.

        Args:
            reason: Why ONNX cannot say it.

        Raises:
            UnsupportedError: Always.
        """
        msg = f"export_model: {self.node.label} ({self.node.class_name}): {reason}"
        raise UnsupportedError(msg)


@dataclass(frozen=True)
class Windows:
    """A filter's windows in its source."""

    y: Window
    x: Window
    pads: Pads
    edge_mode: ImageEdgeMode | None  # None: the node's own

    @property
    def kernel(self) -> list[int]:
        """Rows and columns."""
        return [self.y.kernel, self.x.kernel]

    @property
    def strides(self) -> list[int]:
        """From window to window along y and x."""
        return [self.y.stride, self.x.stride]

    @property
    def dilations(self) -> list[int]:
        """Within a window along y and x."""
        return [self.y.dilation, self.x.dilation]


def windows_of(step: Step, y: Window, x: Window) -> Windows:
    """Where the padding policy puts the windows of a filter that reads its source in windows."""
    policy = step.node.padding_policy
    edge_mode = policy.edge_mode
    _, height, width, _ = step.sources[0]
    if policy.padding is None:
        top = placed(policy, Y, y, height)[1]
        left = placed(policy, X, x, width)[1]
    else:
        answer = own_placement(step, policy.padding)
        top, left = y.extent // 2 - answer.offset_y, x.extent // 2 - answer.offset_x
        edge_mode = answer.edge_mode
    bottom = y.after(height, step.result[1], top)
    right = x.after(width, step.result[2], left)
    if edge_mode is None and "edge_mode" in step.attributes:
        edge_mode = ImageEdgeMode(step.attributes["edge_mode"])
    return Windows(y, x, Pads(top, left, bottom, right), edge_mode)


class _Probe(Padding):
    """Asks another policy and keeps its answer."""

    def __init__(self, own: Padding) -> None:
        super().__init__()
        self._own = own
        self.answer: PaddingPlacement | None = None

    def label(self) -> str:
        return self._own.label()

    def padding_method(self) -> int:
        return self._own.padding_method()

    def destination(self, query: PaddingQuery) -> PaddingPlacement:
        self.answer = self._own.destination(query)
        return self.answer


def own_placement(step: Step, own: Padding) -> PaddingPlacement:
    """What a policy of one's own answers for this node; asked through a copy of the node."""
    probe = _Probe(own)
    images = [ImageNode(f"source{i}") for i in range(len(step.sources))]
    copy = FilterNode(
        step.node.class_name,
        images,
        dict(step.attributes),
        step.node.weights,
        label=step.node.label,
        padding_policy=PaddingPolicy(probe),
    )
    sizes = {f"source{i}": size for i, size in enumerate(step.sources)}
    Graph(NullDevice().device, [copy]).plan_text(sizes)
    return cast("PaddingPlacement", probe.answer)
