# SPDX-License-Identifier: MIT
"""Graphs for inference as ONNX models."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from math import prod
from operator import index

import numpy as np
import onnx
from onnx import helper

from mpsnn._core import (
    ArgumentTypeError,
    CommandBuffer,
    DataType,
    FilterNode,
    Graph,
    ImageNode,
    InvalidArgumentError,
    NullDevice,
    UnsupportedError,
    __version__,
)
from mpsnn.files import atomic_path
from mpsnn.onnx.exports import REFUSED, ROWS, Step
from mpsnn.onnx.writer import FLOAT, HALF, Writer

Size = tuple[int, int, int, int]
SourceSize = Sequence[int | None]

LAYOUTS = ("NHWC", "NCHW")
LARGEST_IMAGE = 2**31 - 1  # values, as in models that are read
LARGEST_MODEL = 2**31 - 1  # bytes: protobuf's bound


def export_model(
    graph: Graph,
    path: str | os.PathLike[str] | None,
    sizes: Mapping[str, SourceSize],
    *,
    layout: str = "NHWC",
    name: str = "mpsnn",
) -> onnx.ModelProto:
    """Writes a graph for inference as an ONNX model of opset 21.

    Weights are those that the graph's device has now. Images of float16 are stored so between the
    nodes, too; all arithmetic is in float32, as here.

    Args:
        graph: The graph.
        path: The file, replaced if it is there; None: none is written.
        sizes: (N, H, W, C) of each source by its handle. N may be None: any batch.
        layout: Of the model's inputs and outputs. "NHWC": as `Graph.encode` takes and gives images,
            with transpositions at the borders; "NCHW": as most ONNX models.
        name: The ONNX graph's name.

    Returns:
        The model. Its inputs have the sources' handles; its outputs are the graph's results and
        exported images by their handles or, without one, their nodes' labels.

    Raises:
        InvalidArgumentError: A size is missing, unknown or does not fit; another layout.
        UnsupportedError: A node that ONNX cannot say, with the reason; a graph that trains; a model
            of more than 2 GiB.
        FileError: The file cannot be written.
        ArgumentTypeError: What is given is no graph, or the sizes are no mapping.
    """
    for argument, given, wanted in (("graph", graph, Graph), ("sizes", sizes, Mapping)):
        if not isinstance(given, wanted):
            msg = f"export_model: {argument}: expected a {wanted.__name__}, got {given!r}"
            raise ArgumentTypeError(msg)
    if layout not in LAYOUTS:
        msg = f"export_model: layout: expected one of {', '.join(LAYOUTS)}, got {layout!r}"
        raise InvalidArgumentError(msg)
    _check_nodes(graph)
    export = _Export(graph, _checked_sizes(graph, sizes), layout)
    model = export.run(name)
    if path is not None:
        with atomic_path(os.fspath(path)) as draft:
            draft.write_bytes(model.SerializeToString())
    return model


def _check_nodes(graph: Graph) -> None:
    if graph.source_state_handles:
        msg = f"export_model: {graph.label}: states: ONNX has none for {graph.source_state_handles}"
        raise UnsupportedError(msg)
    for node in graph.nodes:
        if node.class_name in ROWS:
            continue
        reason = REFUSED.get(node.class_name, "ONNX has no operators for this class")
        if node.inference_node is not None or "Gradient" in node.class_name:
            reason = "a graph for inference has no gradients"
        msg = f"export_model: {node.label} ({node.class_name}): {reason}"
        raise UnsupportedError(msg)


def _checked_sizes(graph: Graph, sizes: Mapping[str, SourceSize]) -> dict[str, SourceSize]:
    handles = graph.source_handles
    unknown = sorted(set(sizes) - set(handles))
    if unknown:
        msg = f"export_model: sizes: expected the sources {handles}, got {unknown}"
        raise InvalidArgumentError(msg)
    return {handle: _checked_size(handle, sizes.get(handle)) for handle in handles}


def _checked_size(handle: str, size: SourceSize | None) -> SourceSize:
    try:
        found = [None if extent is None else index(extent) for extent in size or ()]
    except TypeError:  # no numbers
        found = []
    extents = [extent for extent in found if extent is not None]
    fits = len(found) == 4 and None not in found[1:] and min(extents) >= 1
    if not fits or prod(extents) > LARGEST_IMAGE:
        got = "nothing" if size is None else repr(size)
        msg = (
            f"export_model: sizes: {handle}: expected (N, H, W, C), each at least 1 and at most "
            f"{LARGEST_IMAGE} together, got {got}"
        )
        raise InvalidArgumentError(msg)
    return tuple(found)


class _Export:
    """One graph on its way."""

    def __init__(self, graph: Graph, sizes: Mapping[str, SourceSize], layout: str) -> None:
        self._graph = graph
        self._layout = layout
        self._given = sizes
        self._writer = Writer()
        self._values: dict[ImageNode, str] = {}  # ONNX's names, NCHW in float32
        self._sizes: dict[ImageNode, Size] = {}
        self._formats: dict[ImageNode, DataType] = {}

    def run(self, name: str) -> onnx.ModelProto:
        """The model."""
        self._measure()
        outputs = self._outputs()
        for handle in outputs:
            self._writer.name(handle)
        sources = {
            image.handle: image
            for node in self._graph.nodes
            for image in node.sources
            if image.producer is None
        }
        for handle in self._graph.source_handles:
            self._add_input(handle, sources[handle])
        for node in self._graph.nodes:
            self._add_node(node)
        for handle, image in outputs.items():
            self._add_output(handle, image)
        self._check_bytes()
        return self._writer.model(name, __version__)

    def _measure(self) -> None:
        """Sizes and formats of all images, by the library's own rules, on no device."""
        nodes = self._graph.nodes
        every = [node.result_image for node in nodes]
        measured = Graph(NullDevice().device, every, format=self._graph.format)
        arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float16 | np.float32]]] = {}
        for handle, size in self._given.items():
            is_half = self._graph.source_format(handle) == DataType.FLOAT16
            shape = tuple(1 if extent is None else extent for extent in size)
            arrays[handle] = np.zeros(shape, np.float16 if is_half else np.float32)
        commands = CommandBuffer(measured.device.command_queue())
        for image, made in zip(every, measured.encode(commands, arrays), strict=True):
            assert made is not None  # noqa: S101 (every result is needed)
            self._sizes[image] = made.size
            self._formats[image] = made.format
        for node in nodes:
            for image in node.sources:
                if image.producer is None:
                    array = arrays[image.handle]
                    self._sizes[image] = array.shape  # type: ignore[assignment]
                    is_half = array.dtype == np.float16
                    self._formats[image] = DataType.FLOAT16 if is_half else DataType.FLOAT32
        commands.commit()

    def _outputs(self) -> dict[str, ImageNode]:
        found: dict[str, ImageNode] = {}
        graph = self._graph
        needed = zip(graph.result_images, graph.results_are_needed, strict=True)
        images = [image for image, is_needed in needed if is_needed]
        images += [node.result_image for node in graph.nodes if node.result_image.export_from_graph]
        for image in dict.fromkeys(images):
            producer = image.producer
            wanted = image.handle or (producer.label if producer else "result")
            name, number = wanted, 1
            while name in found or name in self._given:
                number += 1
                name = f"{wanted}.{number}"
            found[name] = image
        return found

    def _shape(self, image: ImageNode, *, batch: int | str) -> list[int | str]:
        _, height, width, channels = self._sizes[image]
        if self._layout == "NHWC":
            return [batch, height, width, channels]
        return [batch, channels, height, width]

    def _type(self, image: ImageNode) -> int:
        return int(HALF if self._formats[image] == DataType.FLOAT16 else FLOAT)

    def _add_input(self, handle: str, image: ImageNode) -> None:
        writer = self._writer
        value = writer.name(handle)
        batch = self._given[handle][0]
        shape = self._shape(image, batch="N" if batch is None else batch)
        element_type = self._type(image)
        writer.inputs.append(helper.make_tensor_value_info(value, element_type, shape))
        if element_type != FLOAT:
            value = writer.cast(value, FLOAT, f"{handle}.float32")
        if self._layout == "NHWC":
            value = writer.emit("Transpose", [value], f"{handle}.NCHW", perm=[0, 3, 1, 2])
        self._values[image] = value

    def _add_node(self, node: FilterNode) -> None:
        image = node.result_image
        step = Step(
            self._writer,
            self._graph.device,
            node,
            [self._values[source] for source in node.sources],
            [self._sizes[source] for source in node.sources],
            self._sizes[image],
        )
        value = ROWS[node.class_name](step)
        if self._formats[image] == DataType.FLOAT16:
            half = self._writer.cast(value, HALF, f"{node.label}.float16")
            value = self._writer.cast(half, FLOAT, f"{node.label}.float32")
        self._values[image] = value

    def _add_output(self, handle: str, image: ImageNode) -> None:
        writer, value = self._writer, self._values[image]
        element_type = self._type(image)
        if element_type != FLOAT:
            value = writer.cast(value, element_type, f"{handle}.float16")
        if self._layout == "NHWC":
            value = writer.emit("Transpose", [value], f"{handle}.NHWC", perm=[0, 2, 3, 1])
        writer.rename(value, handle)
        has_any_batch = any(size[0] is None for size in self._given.values())
        shape = self._shape(image, batch="N" if has_any_batch else self._sizes[image][0])
        writer.outputs.append(helper.make_tensor_value_info(handle, element_type, shape))

    def _check_bytes(self) -> None:
        total = sum(tensor.ByteSize() for tensor in self._writer.constants)
        if total > LARGEST_MODEL:
            msg = f"export_model: expected at most {LARGEST_MODEL} bytes of weights, got {total}"
            raise UnsupportedError(msg)
