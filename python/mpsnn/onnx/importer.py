# SPDX-License-Identifier: MIT
"""ONNX models as nodes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from mpsnn._core import (
    ArchiveError,
    ArgumentTypeError,
    CommandBuffer,
    DataType,
    Device,
    Error,
    FilterNode,
    Graph,
    ImageNode,
    InvalidArgumentError,
    OutOfMemoryError,
    UnsupportedError,
)
from mpsnn.nodes import NeuronLinearNode
from mpsnn.onnx.imports import ROWS, Step, Value, layout_for
from mpsnn.onnx.imports.operands import fault_of
from mpsnn.onnx.imports.step import BOOLEAN, FLOATS
from mpsnn.onnx.model_file import LARGEST_TENSOR, OLDEST_OPSET, array_of, opset_of, read_model
from mpsnn.onnx.tensor import STANDARD, Tensor, from_image, to_image

# Operators that are computed when the model is read, where all that they read is known.
FOLDED = {
    *("Add", "Cast", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Expand", "Floor"),
    *("Gather", "Identity", "Max", "Min", "Mul", "Neg", "Range", "ReduceProd", "Reshape", "Shape"),
    *("Size", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze"),
    *("Where", "CastLike", "Ceil"),
}
# Results are like the first input: the package `onnx` infers no shapes of these.
LIKE_INPUT = {"GroupNormalization", "MeanVarianceNormalization"}
LARGEST_FOLDED = LONGEST_AXIS = 2**24  # values
SHAPE_VALUES = 4096  # constants up to here take part in ONNX's shape inference


@dataclass
class ImportedModel:
    """Nodes made from an ONNX model.

    Attributes:
        name: The ONNX graph's.
        opset: The version that the model asked for.
        inputs: The model's inputs by name, in its order: their shapes in ONNX's layout.
        outputs: The outputs, likewise.
        sources: The graph's sources by the inputs' names.
        results: The graph's results by the outputs' names.
        constants: Images (N, H, W, C) by handle that are the same in each run: give them to
            `Graph.encode` beside the sources. `run` does.
        nodes: By the ONNX nodes' names, the nodes that make their first outputs.
    """

    name: str
    opset: int
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]
    sources: dict[str, ImageNode]
    results: dict[str, ImageNode]
    constants: dict[str, NDArray[Any]]
    nodes: dict[str, FilterNode]
    _inputs: dict[str, Tensor] = field(repr=False)
    _outputs: dict[str, Tensor] = field(repr=False)
    _known: dict[str, NDArray[Any]] = field(repr=False)
    _graphs: dict[int, tuple[Device, Graph]] = field(default_factory=dict, repr=False)

    def graph(self, device: Device, results: Sequence[str] | None = None) -> Graph:
        """Compiles the model for a device.

        Args:
            device: Where it runs.
            results: Outputs wanted, by name; None: all that depend on an input.

        Returns:
            A new graph: its sources have the inputs' names, its results are in this order.

        Raises:
            InvalidArgumentError: There is no such output.
        """
        names = list(self.results) if results is None else list(results)
        unknown = [name for name in names if name not in self.results]
        if unknown:
            msg = f"ImportedModel.graph: results: expected {list(self.results)}, got {unknown}"
            raise InvalidArgumentError(msg)
        return Graph(device, [self.results[name] for name in names])

    def source(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """An input's array as the graph's source wants it.

        Args:
            name: The input's name.
            array: In ONNX's layout, shape and element type.

        Returns:
            The image, (N, H, W, C).

        Raises:
            InvalidArgumentError: There is no such input, or its shape is another.
            ArgumentTypeError: Its element type is another.
        """
        if name not in self._inputs:
            msg = f"ImportedModel: inputs: expected {list(self._inputs)}, got {name!r}"
            raise InvalidArgumentError(msg)
        tensor = self._inputs[name]
        if array.shape != tensor.shape:
            msg = f"ImportedModel: {name}: expected shape {tensor.shape}, got {array.shape}"
            raise InvalidArgumentError(msg)
        if array.dtype != tensor.dtype:
            msg = f"ImportedModel: {name}: expected {tensor.dtype}, got {array.dtype}"
            raise ArgumentTypeError(msg)
        image = to_image(array, tensor.axes)
        return image.astype(np.float32) if tensor.dtype == BOOLEAN else image

    def output(self, name: str, image: NDArray[Any]) -> NDArray[Any]:
        """A result in ONNX's layout and element type.

        Args:
            name: The output's name.
            image: The graph's result, (N, H, W, C).

        Returns:
            The array.

        Raises:
            InvalidArgumentError: There is no such output that a graph makes.
        """
        if name not in self._outputs:
            msg = f"ImportedModel: outputs: expected {list(self._outputs)}, got {name!r}"
            raise InvalidArgumentError(msg)
        tensor = self._outputs[name]
        return from_image(image, tensor.shape, tensor.axes).astype(tensor.dtype)

    def run(self, device: Device, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Runs the model on arrays and waits.

        Args:
            device: Where; it keeps the compiled graph for the next run.
            inputs: An array an input, in ONNX's layout.

        Returns:
            An array an output, in ONNX's layout.

        Raises:
            InvalidArgumentError: An input is missing or unknown, or has another shape.
            ArgumentTypeError: An input has another element type.
        """
        missing = [name for name in self._inputs if name not in inputs]
        if missing:
            msg = f"ImportedModel.run: inputs: expected {list(self._inputs)}, missing {missing}"
            raise InvalidArgumentError(msg)
        images = {name: self.source(name, array) for name, array in inputs.items()}
        found: dict[str, NDArray[Any]] = dict(self._known)
        if self.results:
            if id(device) not in self._graphs:
                self._graphs[id(device)] = (device, self.graph(device))
            graph = self._graphs[id(device)][1]
            given = {**images, **self.constants}
            commands = CommandBuffer(device.command_queue())
            made = graph.encode(commands, {name: given[name] for name in graph.source_handles})
            commands.commit()
            for name, image in zip(self.results, made, strict=True):
                found[name] = self.output(name, np.asarray(image))
        return {name: found[name] for name in self.outputs}


def import_model(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto,
    *,
    sizes: Mapping[str, Sequence[int]] | None = None,
    constants: Mapping[str, NDArray[Any]] | None = None,
) -> ImportedModel:
    """Makes nodes of an ONNX model of opset 13 or newer.

    All that only depends on constants and shapes is computed now. Data outside of the file is read
    from the model's own folder only.

    Models of an older opset will do where their operators are the same in opset 13.

    Args:
        model: A file, its bytes, or a model.
        sizes: Shapes of inputs, where the model leaves some open or others are wanted.
        constants: Values of inputs that are fixed here; they are inputs no longer.

    Returns:
        The nodes, by the model's names.

    Raises:
        ArchiveError: The file is truncated, inconsistent or for another version of ONNX.
        FileError: The file cannot be read.
        InvalidArgumentError: A shape is missing, unknown or impossible.
        OutOfMemoryError: It needs more memory than there is.
        UnsupportedError: An operator, or a use of it, that there are no nodes for; the text names
            the ONNX node, its operator and the reason.
    """
    read = read_model(model)
    reader = _Reader(read, dict(sizes or {}), dict(constants or {}))
    return reader.run()


class _Reader:
    """One model on its way in."""

    def __init__(
        self,
        model: onnx.ModelProto,
        sizes: dict[str, Sequence[int]],
        constants: dict[str, NDArray[Any]],
    ) -> None:
        self._graph = model.graph
        self._opset = opset_of(model)
        self._opsets = list(model.opset_import)
        self._sizes = sizes
        self._fixed = constants
        self._values: dict[str, Value] = {}
        self._inputs: dict[str, Tensor] = {}
        self._sources: dict[str, ImageNode] = {}
        self._constants: dict[str, NDArray[Any]] = {}
        self._nodes: dict[str, FilterNode] = {}

    def run(self) -> ImportedModel:
        """The model's nodes."""
        if self._graph.sparse_initializer:
            msg = "import_model: sparse initializers: expected none"
            raise UnsupportedError(msg)
        for tensor in self._graph.initializer:
            self._values[tensor.name] = array_of(tensor)
        self._add_inputs()
        for index, node in enumerate(self._graph.node):
            name = node.name or f"{node.op_type}{index}"
            try:
                self._add_node(node, name)
            except Error as error:
                if str(error).startswith("import_model"):
                    raise
                msg = f"import_model: {name} ({node.op_type}): {error}"
                raise UnsupportedError(msg) from error
            except MemoryError as error:
                msg = f"import_model: {name} ({node.op_type}): out of memory"
                raise OutOfMemoryError(msg) from error
            except Exception as error:  # what a malformed node makes fail
                text = " ".join(str(error).split())[:400]
                msg = f"import_model: {name} ({node.op_type}): {type(error).__name__}: {text}"
                raise ArchiveError(msg) from error
        return self._model()

    def _add_inputs(self) -> None:
        names = [value.name for value in self._graph.input]
        for what, given in (("sizes", self._sizes), ("constants", self._fixed)):
            unknown = sorted(set(given) - set(names))
            if unknown:
                msg = f"import_model: {what}: expected inputs of {names}, got {unknown}"
                raise InvalidArgumentError(msg)
        for value in self._graph.input:
            if value.name in self._fixed:
                self._values[value.name] = np.asarray(self._fixed[value.name])
            elif value.name not in self._values:  # initializers may be inputs, too
                self._add_input(value)

    def _add_input(self, value: onnx.ValueInfoProto) -> None:
        name, kind = value.name, value.type.tensor_type
        if not value.type.HasField("tensor_type"):
            msg = f"import_model: {name}: expected a tensor, got {value.type.WhichOneof('value')}"
            raise UnsupportedError(msg)
        dtype = _dtype(kind.elem_type, name)
        if dtype not in (*FLOATS, BOOLEAN):
            msg = f"import_model: {name}: expected float32, float16 or bool, got {dtype}"
            raise UnsupportedError(msg)
        shape = _shape(kind, name, self._sizes.get(name))
        readers = [node for node in self._graph.node if name in node.input]
        if len(shape) > 4:
            msg = f"import_model: {name}: expected at most 4 axes, got shape {shape}"
            raise UnsupportedError(msg)
        axes = STANDARD[len(shape)]
        if readers:
            first = readers[0]
            index = list(first.input).index(name)
            widest = max(self._rank(operand, shape) for operand in first.input)
            axes = layout_for(first.op_type, _attributes(first), index, shape, widest)
        source = ImageNode(name)
        if dtype == FLOATS[1]:
            source.format = DataType.FLOAT16
        self._sources[name] = source
        tensor = Tensor(shape, dtype, axes, lambda: source)
        self._inputs[name] = tensor
        self._values[name] = tensor

    def _rank(self, operand: str, shape: tuple[int, ...]) -> int:
        """The number of axes of an operand where it is known already, else that of the shape."""
        if operand in self._values:
            return len(self._values[operand].shape)
        for value in self._graph.input:
            if value.name == operand and value.type.tensor_type.HasField("shape"):
                return len(value.type.tensor_type.shape.dim)
        return len(shape)

    def _add_node(self, node: onnx.NodeProto, name: str) -> None:
        operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        unknown = [x for x in node.input if x and x not in self._values]
        if unknown:
            msg = (
                f"import_model: {name} ({operator}): reads {unknown}, which no node before it makes"
            )
            raise ArchiveError(msg)
        inputs = [self._values[x] if x else None for x in node.input]
        is_known = not any(isinstance(value, Tensor) for value in inputs)
        is_ours = not node.domain
        if is_ours and node.op_type in {"Shape", "Size"} and isinstance(inputs[0], Tensor):
            inputs, is_known = [np.broadcast_to(np.float32(0), inputs[0].shape)], True
        foldable = is_ours and node.op_type in FOLDED and is_known
        if not foldable and (not is_ours or node.op_type not in ROWS):
            msg = f"import_model: {name} ({operator}): there are no nodes for this operator"
            raise UnsupportedError(msg)
        shapes = [None if value is None else value.shape for value in inputs]
        fault = fault_of(operator, _attributes(node), shapes, len(node.output))
        if fault is not None:
            raise ArchiveError(f"import_model: {name} ({operator}): {fault}")
        types = self._inferred(node, name, operator, inputs)
        if foldable:
            self._fold(node, name, inputs, types)
            return
        step = Step(
            name,
            operator,
            self._opset,
            _attributes(node),
            inputs,
            [shape for shape, _ in types],
            [dtype for _, dtype in types],
            self._add_constant,
        )
        if any(0 in shape for shape in step.shapes):
            step.refuse(f"expected results with values, got shapes {list(step.shapes)}")
        if is_known and inputs:
            step.refuse("all its inputs are constants, and it is not computed when a model is read")
        outputs = [output for output in node.output if output]
        made = ROWS[node.op_type](step)
        for output, value in zip(outputs, made, strict=True):
            self._values[output] = value
        if made and isinstance(made[0], Tensor):
            self._note(name, made[0])

    def _note(self, name: str, tensor: Tensor) -> None:
        """Keeps a node under the ONNX node's name; that of a view is the node it looks at."""
        if "image" not in tensor.__dict__ and tensor.flat is not None:
            return  # the flattened form may never be wanted
        image = tensor.image
        node = image if isinstance(image, FilterNode) else image.producer
        if node is not None:
            self._nodes.setdefault(name, node)

    def _inferred(
        self, node: onnx.NodeProto, name: str, operator: str, inputs: Sequence[Value | None]
    ) -> list[tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shapes and element types of the outputs, by the package `onnx`."""
        if operator in LIKE_INPUT and inputs[0] is not None:
            return [(inputs[0].shape, inputs[0].dtype)]
        types, data = {}, {}
        for key, value in zip(node.input, inputs, strict=True):
            if value is None:
                continue
            element_type = helper.np_dtype_to_tensor_dtype(value.dtype)
            types[key] = helper.make_tensor_type_proto(element_type, list(value.shape))
            if not isinstance(value, Tensor) and value.size <= SHAPE_VALUES:
                data[key] = numpy_helper.from_array(np.ascontiguousarray(value), key)
        try:
            schema = onnx.defs.get_schema(node.op_type, self._opset, "")
            self._check_version(schema, name, operator)
            found = onnx.shape_inference.infer_node_outputs(
                schema, node, types, data, opset_imports=self._opsets
            )
        except Error:
            raise
        except Exception as error:  # the package's own classes
            text = " ".join(str(error).split())[:400]
            msg = f"import_model: {name} ({operator}): {text}"
            raise ArchiveError(msg) from error
        results = []
        for output in node.output:
            if not output:
                continue
            kind = found[output].tensor_type if output in found else None
            if kind is None or not _is_static(kind):
                msg = f"import_model: {name} ({operator}): the shape of {output} is not known"
                raise UnsupportedError(msg)
            results.append((_shape(kind, output, None), _dtype(kind.elem_type, output)))
        return results

    @staticmethod
    def _check_version(schema: onnx.defs.OpSchema, name: str, operator: str) -> None:
        """Older models will do where their operators are those of opset 13."""
        if schema.since_version > OLDEST_OPSET:
            return
        oldest = onnx.defs.get_schema(operator, OLDEST_OPSET, "")
        if schema.since_version < oldest.since_version:
            version = oldest.since_version
            msg = (
                f"import_model: {name} ({operator}): expected the operator of opset {version} or "
                f"newer, got that of {schema.since_version}"
            )
            raise UnsupportedError(msg)

    def _fold(
        self,
        node: onnx.NodeProto,
        name: str,
        inputs: Sequence[Value | None],
        types: Sequence[tuple[tuple[int, ...], np.dtype[Any]]],
    ) -> None:
        if any(prod(shape) > LARGEST_FOLDED for shape, _ in types):
            msg = f"import_model: {name} ({node.op_type}): a constant of {types[0][0]} is too large"
            raise UnsupportedError(msg)
        given = {key: value for key, value in zip(node.input, inputs, strict=True) if key}
        graph = helper.make_graph(
            [node],
            "constant",
            [onnx.ValueInfoProto(name=key) for key in dict.fromkeys(given)],
            [onnx.ValueInfoProto(name=output) for output in node.output if output],
        )
        model = helper.make_model(graph, opset_imports=self._opsets)
        made = ReferenceEvaluator(model).run(None, given)
        for output, value in zip([x for x in node.output if x], made, strict=True):
            self._values[output] = np.asarray(value)

    def _add_constant(self, array: NDArray[Any]) -> ImageNode:
        handle, number = "constant", 1
        while handle in self._constants or handle in self._sources:
            number += 1
            handle = f"constant.{number}"
        self._constants[handle] = array
        node = ImageNode(handle)
        if array.dtype == FLOATS[1]:
            node.format = DataType.FLOAT16
        return node

    def _model(self) -> ImportedModel:
        outputs: dict[str, Tensor] = {}
        known: dict[str, NDArray[Any]] = {}
        results: dict[str, ImageNode] = {}
        for value in self._graph.output:
            found = self._values.get(value.name)
            if found is None:
                msg = f"import_model: output {value.name}: no node makes it"
                raise ArchiveError(msg)
            if isinstance(found, Tensor):
                outputs[value.name] = found
                results[value.name] = self._result(found, set(results.values()))
            else:
                known[value.name] = found
        names = [value.name for value in self._graph.output]
        return ImportedModel(
            self._graph.name,
            self._opset,
            {name: tensor.shape for name, tensor in self._inputs.items()},
            {name: outputs[name].shape if name in outputs else known[name].shape for name in names},
            self._sources,
            results,
            self._constants,
            self._nodes,
            self._inputs,
            outputs,
            known,
        )

    @staticmethod
    def _result(tensor: Tensor, taken: set[ImageNode]) -> ImageNode:
        """A graph's results are made by nodes, and each by one of its own."""
        image = tensor.image
        result = image.result_image if isinstance(image, FilterNode) else image
        if result.producer is None or result in taken:
            return NeuronLinearNode(result).result_image
        return result


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def _dtype(element_type: int, name: str) -> np.dtype[Any]:
    try:
        found: np.dtype[Any] = np.dtype(helper.tensor_dtype_to_np_dtype(element_type))
    except (KeyError, TypeError, ValueError) as error:
        msg = f"import_model: {name}: element type {element_type} is not known"
        raise ArchiveError(msg) from error
    return found


def _is_static(kind: onnx.TypeProto.Tensor) -> bool:
    return kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim)


def _shape(kind: onnx.TypeProto.Tensor, name: str, wanted: Sequence[int] | None) -> tuple[int, ...]:
    """A static shape: as wanted where the model leaves it open."""
    if wanted is None and not kind.HasField("shape"):
        msg = f"import_model: {name}: its shape is not known: give it in sizes"
        raise InvalidArgumentError(msg)
    said = (
        [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
        if kind.HasField("shape")
        else None
    )
    shape = list(said or []) if wanted is None else [int(extent) for extent in wanted]
    if wanted is not None and said is not None and len(said) != len(shape):
        msg = f"import_model: {name}: expected {len(said)} axes in sizes, got {tuple(shape)}"
        raise InvalidArgumentError(msg)
    static = [extent for extent in shape if extent is not None]
    if len(static) != len(shape):
        text = [dim.dim_param or dim.dim_value for dim in kind.shape.dim]
        msg = f"import_model: {name}: expected a static shape, got {text}: give it in sizes"
        raise InvalidArgumentError(msg)
    too_long = any(not 0 <= extent <= LONGEST_AXIS for extent in static)
    if too_long or prod(static) > LARGEST_TENSOR:
        msg = (
            f"import_model: {name}: expected at most {LARGEST_TENSOR} values, and {LONGEST_AXIS} "
            f"along an axis, got {static}"
        )
        raise InvalidArgumentError(msg)
    return tuple(static)
