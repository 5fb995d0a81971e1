# SPDX-License-Identifier: MIT
"""Graphs as ONNX models: ONNX Runtime computes what we do; imported again they do, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from node_tests import encode
from onnx_tools import RELATIVE, check_close, graph_of, run_onnx

import mpsnn as mps
from mpsnn import _core
from mpsnn.apps.denoise.model import ModelOptions, build_inference, build_net
from mpsnn.models import resnet50, vgg16
from mpsnn.onnx import export_model, import_model
from mpsnn.onnx.exports import REFUSED, ROWS

# Exports that our import has no nodes for, by class: what it says.
ONE_WAY = {
    "BatchNormalizationNode": "batch cannot be reduced",  # statistics of the batch
    "BinaryConvolutionNode": "Where",  # the sign of a value
    "BinaryFullyConnectedNode": "Where",
    "DilatedPoolingMaxNode": "Where",  # windows that lie in the padding
}


@pytest.mark.parametrize("node", sorted(ROWS))
def test_cases(node: str, cpu: mps.Device) -> None:
    """Every class: ONNX Runtime on the export, and our import of it."""
    made = graph_of(node, cpu)
    model = export_model(made.graph, None, made.sizes)
    relative = RELATIVE.get(node, 1e-5)
    for case, got, expected in zip(
        made.cases, run_onnx(model, made.arrays), made.results, strict=True
    ):
        check_close(case.id, got, expected, relative)
    if node in ONE_WAY:
        with pytest.raises(mps.UnsupportedError, match=ONE_WAY[node]):
            import_model(model)
        return
    imported = import_model(model)
    outputs = imported.run(cpu, {name: made.arrays[name] for name in imported.inputs})
    for case, got, expected in zip(made.cases, outputs.values(), made.results, strict=True):
        check_close(f"{case.id}, imported", got, expected, relative)


def test_every_forward_class_is_exported_or_refused() -> None:
    forward = {row["name"] for row in _core.node_table() if not row["gradient"]}
    others = forward - set(ROWS) - set(REFUSED)
    assert others == {"InitialGradientNode"} & forward
    assert not set(ROWS) & set(REFUSED)


def compare_net(
    device: mps.Device, result: mps.ImageNode | mps.FilterNode, size: tuple[int, int, int, int]
) -> onnx.ModelProto:
    """A net of one source: ours, ONNX Runtime's and the import's results."""
    graph = mps.Graph(device, [result])
    (handle,) = graph.source_handles
    values = np.random.default_rng(1).random(size, dtype=np.float32)
    (ours,) = encode(device, graph, {handle: values})
    model = export_model(graph, None, {handle: (None, *size[1:])})
    (theirs,) = run_onnx(model, {handle: values})
    check_close("ONNX Runtime", theirs, np.asarray(ours), 1e-4)
    imported = import_model(model, sizes={handle: size})
    (again,) = imported.run(device, {handle: values}).values()
    check_close("imported", again, np.asarray(ours), 1e-4)
    return model


def test_resnet50(cpu: mps.Device) -> None:
    net = resnet50(mps.ImageNode("pictures"), classes=10, width=8)
    model = compare_net(cpu, net.logits, (2, 32, 32, 3))
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("Transpose") == 2, "transposed at the borders only"
    assert operators.count("Conv") == 54


def test_vgg(cpu: mps.Device) -> None:
    net = vgg16(
        mps.ImageNode("pictures"), classes=10, size=(32, 32), grid=(1, 1), width=8, hidden=16
    )
    compare_net(cpu, net.logits, (2, 32, 32, 3))


def test_denoiser(cpu: mps.Device) -> None:
    net = build_net(ModelOptions())
    graph = build_inference(cpu, net)
    rng = np.random.default_rng(2)
    arrays = {name: rng.random((1, 16, 32, 4), np.float32) for name in graph.source_handles}
    (ours,) = encode(cpu, graph, arrays)
    model = export_model(graph, None, {name: array.shape for name, array in arrays.items()})
    (theirs,) = run_onnx(model, arrays)
    check_close("ONNX Runtime", theirs, np.asarray(ours), 1e-4)
    (again,) = import_model(model).run(cpu, arrays).values()
    check_close("imported", again, np.asarray(ours), 1e-4)


def two_layers(device: mps.Device) -> tuple[mps.Graph, mps.ConvolutionDataSource]:
    """A convolution with a neuron, of three channels."""
    rng = np.random.default_rng(3)
    weights = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(3, 3, 3, 4, stride_in_pixels_x=2),
        rng.standard_normal((4, 3, 3, 3), dtype=np.float32),
        rng.standard_normal(4, dtype=np.float32),
        "first",
    )
    node = mps.NeuronReLUNode(mps.ConvolutionNode(mps.ImageNode("x"), weights), label="relu")
    return mps.Graph(device, [node]), weights


def test_names_file_and_batch(cpu: mps.Device, tmp_path: Path) -> None:
    graph, _ = two_layers(cpu)
    path = tmp_path / "net.onnx"
    export_model(graph, path, {"x": (None, 6, 7, 3)}, layout="NCHW", name="two layers")
    model = onnx.load(path)
    assert model.graph.name == "two layers"
    assert [value.name for value in model.graph.input] == ["x"]
    assert [value.name for value in model.graph.output] == ["relu"]
    assert "Transpose" not in [node.op_type for node in model.graph.node]
    for batch in (1, 3):
        x = np.random.default_rng(batch).random((batch, 6, 7, 3), dtype=np.float32)
        (got,) = run_onnx(model, {"x": x.transpose(0, 3, 1, 2)})
        (ours,) = encode(cpu, graph, {"x": x})
        check_close("relu", got.transpose(0, 2, 3, 1), np.asarray(ours))


def test_the_weights_are_those_of_the_device(cpu: mps.Device) -> None:
    graph, weights = two_layers(cpu)
    changed = np.full((4, 3, 3, 3), 0.25, np.float32)
    cpu.write_parameter(weights, "weights", changed)
    model = export_model(graph, None, {"x": (1, 6, 7, 3)})
    x = np.ones((1, 6, 7, 3), np.float32)
    (ours,) = encode(cpu, graph, {"x": x})
    check_close("relu", run_onnx(model, {"x": x})[0], np.asarray(ours))
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    assert any(array.shape == (4, 3, 3, 3) and np.all(array == 0.25) for array in arrays)


@pytest.mark.parametrize("kind", ["EQUAL", "NOT_EQUAL"])
@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_comparisons_of_infinities(kind: str, threshold: float, cpu: mps.Device) -> None:
    node = mps.ComparisonNode(
        mps.ImageNode("x"),
        mps.ImageNode("y"),
        comparison_type=mps.ComparisonType[kind],
        threshold=threshold,
    )
    graph = mps.Graph(cpu, [node.result_image])
    inf, nan = np.inf, np.nan
    x, y = (
        np.array(values, np.float32).reshape(1, 1, 1, -1)
        for values in ((inf, inf, -inf, nan, 1.0, 1.0), (inf, -inf, -inf, nan, 1.25, 1.0))
    )
    commands = mps.CommandBuffer(cpu.command_queue())
    (ours,) = graph.encode(commands, {"x": x, "y": y})
    commands.commit()
    size = (1, 1, 1, 6)
    model = export_model(graph, None, {"x": size, "y": size}, layout="NHWC")
    (theirs,) = run_onnx(model, {"x": x, "y": y})
    np.testing.assert_array_equal(np.asarray(ours), theirs)


def test_float16_images(cpu: mps.Device) -> None:
    source = mps.ImageNode("x")
    source.format = mps.DataType.FLOAT16
    scaled = mps.NeuronLinearNode(source, 1 / 3, label="third")
    last = mps.NeuronLinearNode(scaled, 3.0)
    last.result_image.format = mps.DataType.FLOAT32
    graph = mps.Graph(cpu, [last, scaled])
    x = np.random.default_rng(0).random((1, 3, 4, 5)).astype(np.float16)
    ours = encode(cpu, graph, {"x": x})
    model = export_model(graph, None, {"x": x.shape})
    for got, image in zip(run_onnx(model, {"x": x}), ours, strict=True):
        expected = np.asarray(image)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    outputs = import_model(model).run(cpu, {"x": x})
    for got, image in zip(outputs.values(), ours, strict=True):
        np.testing.assert_array_equal(got, np.asarray(image))


class Corner(mps.Padding):
    """Windows that begin at the source's first pixel, as many as fit."""

    def destination(self, query: mps.PaddingQuery) -> mps.PaddingPlacement:
        """Windows of three rows and columns."""
        return mps.PaddingPlacement(
            query.source_height - 2, query.source_width - 2, 1, 1, mps.ImageEdgeMode.ZERO
        )


def test_a_padding_policy_of_ones_own(cpu: mps.Device) -> None:
    source = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(3, 3, 2, 2),
        np.random.default_rng(0).random((2, 3, 3, 2), dtype=np.float32),
    )
    policy = mps.PaddingPolicy(Corner())
    node = mps.ConvolutionNode(mps.ImageNode("x"), source, padding_policy=policy)
    compare_net(cpu, node, (1, 5, 6, 2))


def test_exported_images_are_outputs(cpu: mps.Device) -> None:
    first = mps.NeuronReLUNode(mps.ImageNode("x"), label="first")
    first.result_image.export_from_graph = True
    first.result_image.handle = "middle"
    graph = mps.Graph(cpu, [mps.NeuronSigmoidNode(first, label="last")])
    model = export_model(graph, None, {"x": (1, 2, 2, 1)})
    assert [value.name for value in model.graph.output] == ["last", "middle"]


def test_refusals(cpu: mps.Device) -> None:
    dropout = mps.DropoutNode(mps.ImageNode("x"), keep_probability=0.5, label="drops")
    with pytest.raises(mps.UnsupportedError, match=r"drops.*random numbers"):
        export_model(mps.Graph(cpu, [dropout]), None, {"x": (1, 2, 2, 1)})
    neuron = mps.NeuronSigmoidNode(mps.ImageNode("x"))
    gradient = neuron.gradient_filter(mps.ImageNode("g"))
    with pytest.raises(mps.UnsupportedError, match="no gradients"):
        export_model(mps.Graph(cpu, [gradient]), None, {"x": (1, 2, 2, 1), "g": (1, 2, 2, 1)})
    graph = mps.Graph(cpu, [neuron])
    with pytest.raises(mps.InvalidArgumentError, match=r"sizes: x: .*nothing"):
        export_model(graph, None, {})
    with pytest.raises(mps.InvalidArgumentError, match=r"sizes.*other"):
        export_model(graph, None, {"x": (1, 2, 2, 1), "other": (1, 2, 2, 1)})
    wrong: tuple[Any, ...] = (
        *((1, None, 2, 1), (1, 2, 2), (-1, 2, 2, 1), (0, 2, 2, 1), (1.5, 2, 2, 1)),
        *((1, 2, 2, 2**40), "NHWC", 4),
    )
    for size in wrong:
        with pytest.raises(mps.InvalidArgumentError, match=r"sizes: x: expected \(N, H, W, C\)"):
            export_model(graph, None, {"x": size})
    with pytest.raises(mps.InvalidArgumentError, match=r"layout.*'HWC'"):
        export_model(graph, None, {"x": (1, 2, 2, 1)}, layout="HWC")
    nothing: Any = None
    with pytest.raises(mps.ArgumentTypeError, match="graph: expected a Graph, got None"):
        export_model(nothing, None, {})
    with pytest.raises(mps.ArgumentTypeError, match="sizes: expected a Mapping, got None"):
        export_model(graph, None, nothing)
