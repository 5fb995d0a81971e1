# SPDX-License-Identifier: MIT
"""Formats of images: which image has which, arrays in and out, what goes through float16."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_errors_archives import header_of, with_header

import mpsnn as mps

FLOAT, HALF = mps.DataType.FLOAT32, mps.DataType.FLOAT16


def ramp(*shape: int) -> np.ndarray:
    return (np.arange(np.prod(shape)).reshape(shape) - 7).astype(np.float16)


def half_source(handle: str = "x") -> mps.ImageNode:
    source = mps.ImageNode(handle)
    source.format = HALF
    return source


def run(graph: mps.Graph, sources: object) -> mps.GraphOutputs:
    commands = mps.CommandBuffer(graph.device.command_queue())
    outputs = graph.encode(commands, sources)  # type: ignore[arg-type]
    commands.commit()
    return outputs


def weights(optimizer: mps.Optimizer | None = None) -> mps.ConvolutionDataSource:
    values = np.linspace(-1, 1, 4 * 9 * 3, dtype=np.float32).reshape(4, 3, 3, 3)
    descriptor = mps.ConvolutionDescriptor(3, 3, 3, 4)
    return mps.ConvolutionDataSource(descriptor, values, None, "weights", optimizer)


def formats_of(graph: mps.Graph, sources: object) -> list[mps.DataType | None]:
    return [None if image is None else image.format for image in run(graph, sources)]


# ---- arrays


def test_an_image_takes_the_format_of_its_array(cpu: mps.Device) -> None:
    image = mps.Image(cpu, ramp(2, 3, 4, 5))
    assert image.format == HALF
    assert image.bytes == 2 * 3 * 4 * 5 * 2
    for array in (image.numpy(), image.read(), np.asarray(image)):
        assert array.dtype == np.float16
        np.testing.assert_array_equal(array, ramp(2, 3, 4, 5))
    view = memoryview(image)
    assert (view.format, view.itemsize, view.shape) == ("e", 2, (2, 3, 4, 5))
    assert view.tobytes() == ramp(2, 3, 4, 5).tobytes()
    np.testing.assert_array_equal(np.from_dlpack(image), ramp(2, 3, 4, 5))


def test_write_wrap_and_dlpack(cpu: mps.Device) -> None:
    image = mps.Image(cpu, size=(1, 2, 3, 4), format=HALF)
    image.write(ramp(1, 2, 3, 4))
    np.testing.assert_array_equal(image, ramp(1, 2, 3, 4))
    array = ramp(1, 2, 3, 4)
    for shared in (mps.Image.wrap(cpu, array), mps.Image.from_dlpack(cpu, array)):
        assert shared.format == HALF
        assert np.shares_memory(shared.numpy(), array)
    with pytest.raises(mps.ArgumentTypeError, match="array: expected float16, got float32"):
        image.write(ramp(1, 2, 3, 4).astype(np.float32))
    with pytest.raises(mps.ArgumentTypeError, match="expected float32 or float16, got float64"):
        mps.Image(cpu, ramp(1, 2, 3, 4).astype(np.float64))


def test_sources_are_of_their_format(device: mps.Device) -> None:
    graph = mps.Graph(device, [mps.NeuronReLUNode(half_source()).result_image])
    assert graph.source_format("x") == HALF
    assert graph.source_format("y") is None
    expected = np.maximum(ramp(1, 3, 4, 2), 0)
    for given in (
        ramp(1, 3, 4, 2),
        ramp(1, 3, 4, 2).tolist(),
        mps.Image(device, ramp(1, 3, 4, 2)),
        ramp(1, 4, 3, 2).transpose(0, 2, 1, 3) * 0 + ramp(1, 3, 4, 2),
    ):
        result = run(graph, {"x": given})[0]
        assert result is not None
        assert result.format == HALF
        np.testing.assert_array_equal(result, expected)
    for kind in (np.float32, np.float64, np.int16):
        name = np.dtype(kind).name
        with pytest.raises(
            mps.ArgumentTypeError, match=f'source "x": expected float16, got {name}'
        ):
            run(graph, {"x": ramp(1, 3, 4, 2).astype(kind)})
    with pytest.raises(mps.ArgumentTypeError, match='source "x": expected float16, got float32'):
        run(graph, {"x": mps.Image(device, size=(1, 3, 4, 2))})


def test_nan_and_infinity_go_through(device: mps.Device) -> None:
    array = np.array([np.nan, np.inf, -np.inf, 65504, -65504, 6e-8], np.float16)
    doubled = mps.AdditionNode(half_source("x"), half_source("y"))
    result = run(
        mps.Graph(device, [doubled.result_image]),
        {"x": array.reshape(1, 1, 2, 3), "y": array.reshape(1, 1, 2, 3)},
    )[0]
    with np.errstate(over="ignore"):
        expected = (array + array).reshape(1, 1, 2, 3)
    np.testing.assert_array_equal(result, expected)


# ---- which image has which format


def test_a_result_follows_its_first_source_unless_it_says_otherwise(device: mps.Device) -> None:
    source = half_source()
    first = mps.NeuronReLUNode(source)
    second = mps.NeuronReLUNode(first)
    second.result_image.format = FLOAT
    third = mps.NeuronReLUNode(second)
    results = [node.result_image for node in (first, second, third)]
    assert formats_of(mps.Graph(device, results), {"x": ramp(1, 2, 2, 3)}) == [HALF, FLOAT, FLOAT]


def test_a_graph_has_a_format_for_images_that_say_nothing(device: mps.Device) -> None:
    source = mps.ImageNode("x")
    first = mps.ConvolutionNode(source, weights())
    second = mps.NeuronReLUNode(first)
    third = mps.SoftMaxNode(second)
    third.result_image.format = FLOAT
    results = [node.result_image for node in (first, second, third)]
    array = ramp(1, 4, 4, 3).astype(np.float32)
    graph = mps.Graph(device, results, format=HALF)
    assert graph.format == HALF
    assert mps.Graph(device, results).format is None
    assert formats_of(graph, {"x": array}) == [HALF, HALF, FLOAT]
    assert formats_of(mps.Graph(device, results), {"x": array}) == [FLOAT, FLOAT, FLOAT]
    with pytest.raises(
        mps.UnsupportedError, match="Graph: format: expected float32 or float16, got int32"
    ):
        mps.Graph(device, results, format=mps.DataType.INT32)


def training_net() -> tuple[mps.FilterNode, list[mps.FilterNode], mps.ConvolutionDataSource]:
    """A net of float16 with two readers of one image and a loss in float32; its gradients."""
    source = half_source()
    labels = mps.ImageNode("labels")
    trained = weights(mps.OptimizerStochasticGradientDescent(2.0**-10))
    convolved = mps.ConvolutionNode(source, trained)
    both = mps.AdditionNode(mps.NeuronReLUNode(convolved), mps.NeuronTanHNode(convolved))
    both.result_image.format = FLOAT
    loss = mps.ForwardLossNode(
        both,
        labels,
        mps.LossDescriptor(mps.LossType.MEAN_SQUARED_ERROR, mps.ReductionType.SUM),
    )
    gradients: list[mps.FilterNode] = []
    mps.InitialGradientNode(loss).training_graph(
        node_handler=lambda made, *_rest: gradients.append(made)
    )
    return loss, gradients, trained


def test_a_gradient_has_the_format_of_its_image(device: mps.Device) -> None:
    loss, gradients, _ = training_net()
    graph = mps.Graph(device, [loss.result_image, *(node.result_image for node in gradients)])
    arrays = {"x": ramp(1, 4, 4, 3), "labels": np.ones((1, 4, 4, 4), np.float32)}
    found = formats_of(graph, arrays)
    names = [type(node).__name__ for node in gradients]
    expected = {
        "LossGradientNode": FLOAT,  # of the sum, which is float32
        "AdditionGradientNode": HALF,
        "NeuronGradientNode": HALF,
        "AdditionNode": HALF,  # joins the gradients of the convolution's result
        "ConvolutionGradientNode": HALF,
    }
    assert found[0] == FLOAT
    assert "AdditionNode" in names
    assert [expected[name] for name in names] == found[1:]


def test_weights_are_trained_in_float32(device: mps.Device) -> None:
    _, gradients, trained = training_net()
    graph = mps.Graph(device, [gradients[-1].result_image], [False])
    arrays = {"x": ramp(1, 4, 4, 3) / 8, "labels": np.ones((1, 4, 4, 4), np.float32)}
    run(graph, arrays)
    after = device.read_parameter(trained, "weights")
    assert after.dtype == np.float32
    assert np.any(after != after.astype(np.float16).astype(np.float32))
    assert np.any(after != trained.weights)


def test_archives_keep_formats(device: mps.Device, tmp_path: Path) -> None:
    loss, gradients, _ = training_net()
    # Without the inference nodes that its gradients belong to, as far as they do not read them.
    results = [gradients[1].result_image, gradients[-1].result_image]
    arrays = {"x": ramp(1, 4, 4, 3), "labels": np.ones((1, 4, 4, 4), np.float32)}
    for graph_format in (None, HALF):
        graph = mps.Graph(device, results, format=graph_format)
        archiver = mps.KeyedArchiver()
        archiver.encode("net", graph)
        path = tmp_path / "net.safetensors"
        archiver.write(path)
        read = mps.KeyedUnarchiver(device).open(path).decode_graph("net")
        assert read.format == graph_format
        assert read.source_format("x") == HALF
        assert formats_of(read, arrays) == formats_of(graph, arrays)
        for one, other in zip(run(graph, arrays), run(read, arrays), strict=True):
            np.testing.assert_array_equal(one, other)
    assert loss.label


def test_the_plan_says_which_kernel_runs(cpu: mps.Device) -> None:
    graph = mps.Graph(cpu, [mps.NeuronReLUNode(half_source()).result_image])
    assert "[neuron/float16: neuron/plain]" in graph.plan_text({"x": (1, 4, 4, 3)})


def test_half_the_bytes_lie_in_the_heap_between_two_nodes(cpu: mps.Device) -> None:
    def heap(source: mps.ImageNode) -> int:
        node: mps.FilterNode | mps.ImageNode = source
        for _ in range(3):
            node = mps.PoolingMaxNode(node, 3, 3, 1, 1)
        assert isinstance(node, mps.FilterNode)
        graph = mps.Graph(cpu, [node.result_image])
        return graph.cost({"x": (1, 64, 64, 8)}).heap_bytes

    image = 64 * 64 * 8
    assert heap(mps.ImageNode("x")) == 2 * 4 * image
    # Two images, and one operation's operands in float32.
    assert heap(half_source()) == 2 * 2 * image + 2 * 4 * image


@pytest.mark.parametrize("kind", [mps.PoolingMaxNode, mps.DilatedPoolingMaxNode])
def test_a_maximum_is_found_again_where_its_result_was_rounded(
    device: mps.Device, kind: type[mps.PoolingMaxNode]
) -> None:
    source = mps.ImageNode("x")
    pooled = kind(source, 2, 2, 2, 2)
    pooled.result_image.format = HALF
    gradient = half_source("gradient")
    graph = mps.Graph(device, [pooled.gradient_filter(gradient).result_image])
    array = np.array([1.0001, 1.0002, 1.0003, 1.0004], np.float32).reshape(1, 2, 2, 1)
    result = run(graph, {"x": array, "gradient": np.ones((1, 1, 1, 1), np.float16)})[0]
    assert result is not None
    assert result.format == FLOAT
    assert np.asarray(result).ravel().tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("transposed", [False, True])
def test_matrices_with_strides_and_what_the_result_held(
    cpu: mps.Device, *, transposed: bool
) -> None:
    left = np.arange(20, dtype=np.float16).reshape(4, 5)
    right = np.arange(12, dtype=np.float16).reshape(3, 4)
    held = np.full((4, 5), 2, np.float16)
    a, b, result = (
        mps.Matrix.wrap(cpu, left[:, 1:4]),
        mps.Matrix.wrap(cpu, right[:, :3] if transposed else right),
        mps.Matrix.wrap(cpu, held[:, : 3 if transposed else 4]),
    )
    before = held.copy()
    commands = mps.CommandBuffer(cpu.command_queue())
    product = mps.MatrixMultiplication(cpu, transpose_right=transposed, alpha=2.0, beta=0.5)
    product.encode(commands, a, b, result)
    commands.commit()
    commands.wait_until_completed()
    width = 3 if transposed else 4
    factor = right[:, :3].T if transposed else right
    expected = 2 * left[:, 1:4].astype(np.float64) @ factor + 1
    np.testing.assert_array_equal(held[:, :width], expected.astype(np.float16))
    np.testing.assert_array_equal(held[:, width:], before[:, width:])


# ---- weights of float16 and of 8 bits


def quantized(optimizer: mps.Optimizer | None = None) -> mps.ConvolutionDataSource:
    steps = np.arange(24, dtype=np.uint8).reshape(2, 1, 3, 4) * 10
    ranges = np.array([[-1, 1], [0, 3]], np.float32)
    descriptor = mps.ConvolutionDescriptor(3, 1, 4, 2)
    return mps.ConvolutionDataSource(descriptor, steps, None, "weights", optimizer, ranges=ranges)


def test_weights_are_kept_as_given(cpu: mps.Device) -> None:
    source = quantized()
    assert source.data_type == mps.DataType.UINT8
    assert source.weights_quantization_type == mps.WeightsQuantizationType.LINEAR
    assert source.weights.dtype == np.uint8
    assert source.lookup_table is None
    assert source.ranges is not None
    low, high = source.ranges.T.reshape(2, 2, 1, 1, 1).astype(np.float64)
    expected = (source.weights / 255 * (high - low) + low).astype(np.float32)
    np.testing.assert_array_equal(source.initial("weights"), expected)
    np.testing.assert_array_equal(cpu.read_parameter(source, "weights"), expected)
    source.set_initial("weights", expected + 1)
    assert source.weights_quantization_type == mps.WeightsQuantizationType.NONE
    assert source.weights.dtype == np.float32


def graph_with(device: mps.Device, source: mps.ConvolutionDataSource) -> mps.Graph:
    return mps.Graph(device, [mps.ConvolutionNode(mps.ImageNode("x"), source).result_image])


def step_with(device: mps.Device, source: mps.ConvolutionDataSource) -> mps.Graph:
    node = mps.ConvolutionNode(mps.ImageNode("x"), source)
    last = node.gradient_filter(mps.ImageNode("gradient"))
    return mps.Graph(device, [last.result_image], [False])


def round_trip(
    device: mps.Device, graph: mps.Graph, path: Path
) -> tuple[mps.ConvolutionDataSource, int]:
    archiver = mps.KeyedArchiver()
    archiver.encode("net", graph)
    archiver.write(path)
    read = mps.KeyedUnarchiver(device).open(path).decode_graph("net").data_sources[0]
    assert isinstance(read, mps.ConvolutionDataSource)
    return read, path.stat().st_size


def test_archives_keep_weights_as_given_until_they_are_trained(
    device: mps.Device, tmp_path: Path
) -> None:
    path = tmp_path / "net.safetensors"
    table = np.linspace(-2, 2, 256, dtype=np.float32)
    descriptor = mps.ConvolutionDescriptor(3, 1, 4, 2)
    optimizer = mps.OptimizerStochasticGradientDescent(0.5)
    by_table = mps.ConvolutionDataSource(
        descriptor, quantized().weights, None, "weights", optimizer, lookup_table=table
    )
    halves = mps.ConvolutionDataSource(
        descriptor,
        np.linspace(-1, 1, 24).astype(np.float16).reshape(2, 1, 3, 4),
        np.ones(2, np.float32),
        "weights",
        optimizer,
    )
    for source in (quantized(optimizer), by_table, halves):
        read, _ = round_trip(device, graph_with(device, source), path)
        assert read.data_type == source.data_type
        assert read.weights_quantization_type == source.weights_quantization_type
        for one, other in [
            (read.weights, source.weights),
            (read.ranges, source.ranges),
            (read.lookup_table, source.lookup_table),
            (read.initial("weights"), source.initial("weights")),
        ]:
            np.testing.assert_array_equal(one, other)  # type: ignore[arg-type]
        arrays = {
            "x": np.ones((1, 2, 4, 4), np.float32),
            "gradient": np.ones((1, 2, 4, 2), np.float32),
        }
        run(step_with(device, source), arrays)
        trained = device.read_parameter(source, "weights")
        assert np.any(trained != source.initial("weights"))
        read, _ = round_trip(device, graph_with(device, source), path)
        assert read.data_type == FLOAT
        np.testing.assert_array_equal(read.weights, trained)


def test_archives_of_8_bits_are_small(device: mps.Device, tmp_path: Path) -> None:
    descriptor = mps.ConvolutionDescriptor(1, 1, 256, 256)
    steps = np.zeros((256, 1, 1, 256), np.uint8)
    sizes = []
    for given, ranges in [
        (steps, np.tile(np.array([0, 1], np.float32), (256, 1))),
        (steps.astype(np.float16), None),
        (steps.astype(np.float32), None),
    ]:
        source = mps.ConvolutionDataSource(descriptor, given, ranges=ranges)
        sizes.append(round_trip(device, graph_with(device, source), tmp_path / "net")[1])
    assert sizes[0] < 256 * 256 + 8192
    assert sizes[1] < 2 * 256 * 256 + 8192
    assert sizes[2] > 4 * 256 * 256


def renamed(header: dict[str, Any], name: str, other: str) -> None:
    header[other] = header.pop(name)


def with_type(header: dict[str, Any], name: str, dtype: str) -> None:
    header[name]["dtype"] = dtype


def with_shape(header: dict[str, Any], name: str, shape: list[int]) -> None:
    header[name]["shape"] = shape


BAD_TENSORS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "neither": (
        lambda h: renamed(h, "weights.weights.ranges", "other"),
        "expected ranges or a lookup_table with weights of uint8, got neither",
    ),
    "type": (lambda h: with_type(h, "weights.weights", "I8"), "its type or shape is not that"),
    "shape": (
        lambda h: with_shape(h, "weights.weights", [2, 1, 4, 3]),
        "its type or shape is not that",
    ),
    "shape of ranges": (
        lambda h: with_shape(h, "weights.weights.ranges", [4]),
        "its type or shape is not that",
    ),
    "type of ranges": (
        lambda h: with_type(h, "weights.weights.ranges", "I32"),
        "its type or shape is not that",
    ),
    "no weights": (
        lambda h: renamed(h, "weights.weights", "other"),
        "expected a tensor of its weights, got none",
    ),
}


@pytest.mark.parametrize("name", BAD_TENSORS)
def test_bad_tensors_in_archives(cpu: mps.Device, tmp_path: Path, name: str) -> None:
    path = tmp_path / "net.safetensors"
    round_trip(cpu, graph_with(cpu, quantized()), path)
    data = path.read_bytes()
    change, text = BAD_TENSORS[name]
    header: dict[str, Any] = header_of(data)[1]
    change(header)
    path.write_bytes(with_header(data, header))
    with pytest.raises(mps.ArchiveError, match=text):
        mps.KeyedUnarchiver(cpu).open(path).decode_graph("net")


def test_bad_ranges_in_archives(cpu: mps.Device, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    round_trip(cpu, graph_with(cpu, quantized()), path)
    data = path.read_bytes()
    good = quantized().ranges
    assert good is not None
    path.write_bytes(data.replace(good.tobytes(), good[:, ::-1].tobytes()))
    with pytest.raises(mps.ArchiveError, match="a maximum that is not below the minimum"):
        mps.KeyedUnarchiver(cpu).open(path).decode_graph("net")


STEPS = np.zeros((2, 1, 3, 4), np.uint8)
RANGES = np.array([[-1, 1], [0, 3]], np.float32)
TABLE = np.zeros(256, np.float32)
BAD_WEIGHTS = {
    "neither": (
        {"weights": STEPS},
        mps.InvalidArgumentError,
        "weights: expected ranges or a lookup_table with weights of uint8, got neither",
    ),
    "both": (
        {"weights": STEPS, "ranges": RANGES, "lookup_table": TABLE},
        mps.InvalidArgumentError,
        "weights: expected ranges or a lookup_table with weights of uint8, got both",
    ),
    "ranges of float32": (
        {"weights": STEPS.astype(np.float32), "ranges": RANGES},
        mps.InvalidArgumentError,
        "ranges: expected none with weights of float32, got some",
    ),
    "table of float16": (
        {"weights": STEPS.astype(np.float16), "lookup_table": TABLE},
        mps.InvalidArgumentError,
        "lookup_table: expected none with weights of float16, got some",
    ),
    "maximum below minimum": (
        {"weights": STEPS, "ranges": RANGES[:, ::-1]},
        mps.InvalidArgumentError,
        "ranges: expected a maximum that is not below the minimum, got 1 to -1 for output",
    ),
    "ranges not finite": (
        {"weights": STEPS, "ranges": np.where(RANGES < 0, -np.inf, RANGES).astype(np.float32)},
        mps.InvalidArgumentError,
        "ranges: expected finite numbers, got -inf",
    ),
    "shape of ranges": (
        {"weights": STEPS, "ranges": RANGES[:1]},
        mps.InvalidArgumentError,
        r"ranges: expected shape \(2, 2\), got \(1, 2\)",
    ),
    "shape of the table": (
        {"weights": STEPS, "lookup_table": TABLE[:255]},
        mps.InvalidArgumentError,
        r"lookup_table: expected shape \(256,\), got \(255,\)",
    ),
    "table not finite": (
        {"weights": STEPS, "lookup_table": TABLE + np.float32(np.nan)},
        mps.InvalidArgumentError,
        "lookup_table: expected finite numbers, got nan",
    ),
    "table of float64": (
        {"weights": STEPS, "lookup_table": TABLE.astype(np.float64)},
        mps.ArgumentTypeError,
        "lookup_table: expected float32, got float64",
    ),
    "weights of int8": (
        {"weights": STEPS.astype(np.int8)},
        mps.ArgumentTypeError,
        "weights: expected float32, float16 or uint8, got int8",
    ),
    "shape of the weights": (
        {"weights": STEPS[:1], "ranges": RANGES},
        mps.InvalidArgumentError,
        r"weights: expected shape \(2, 1, 3, 4\), got \(1, 1, 3, 4\)",
    ),
}


@pytest.mark.parametrize("name", BAD_WEIGHTS)
def test_bad_weights(name: str) -> None:
    arguments, error, text = BAD_WEIGHTS[name]
    with pytest.raises(error, match=f'ConvolutionDataSource "net": {text}'):
        mps.ConvolutionDataSource(
            mps.ConvolutionDescriptor(3, 1, 4, 2),
            label="net",
            **arguments,  # type: ignore[arg-type]
        )
