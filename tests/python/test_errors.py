# SPDX-License-Identifier: MIT
"""Bad input: each is an exception of a fitting type whose text names what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import mpsnn as mps
from mpsnn import _core

BUILT_IN = {
    "InvalidArgumentError": ValueError,
    "ArgumentTypeError": TypeError,
    "UnsupportedError": NotImplementedError,
    "OutOfMemoryError": MemoryError,
    "StateError": RuntimeError,
    "DeviceError": RuntimeError,
    "DeviceLostError": RuntimeError,
    "ArchiveError": ValueError,
    "FileError": OSError,
    "InternalError": RuntimeError,
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_error_is_also_a_built_in(name: str) -> None:
    error = getattr(mps, name)
    assert issubclass(error, mps.Error)
    assert issubclass(error, BUILT_IN[name])
    assert error.__module__ == "mpsnn"
    assert issubclass(mps.DeviceLostError, mps.DeviceError)


def weights(inputs: int = 3, outputs: int = 2, label: str = "enc0.1") -> mps.ConvolutionDataSource:
    descriptor = mps.ConvolutionDescriptor(3, 3, inputs, outputs)
    return mps.ConvolutionDataSource(
        descriptor, np.ones((outputs, 3, 3, inputs), np.float32), label=label
    )


def graph_of(device: mps.Device) -> mps.Graph:
    graph = mps.Graph(device, [mps.ConvolutionNode(mps.ImageNode("noisy"), weights()).result_image])
    graph.label = "net"
    return graph


def encode(graph: mps.Graph, sources: object) -> None:
    graph.encode(mps.CommandBuffer(graph.device.command_queue()), sources)  # type: ignore[arg-type]


def ones(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.ones(shape, dtype)


GOOD = ones(1, 4, 4, 3)

SOURCES: dict[str, tuple[object, type[mps.Error], str]] = {
    "wrong channels": (
        {"noisy": ones(1, 4, 4, 9)},
        mps.InvalidArgumentError,
        r'ConvolutionNode "enc0.1": source: expected 3 feature channels, got 9',
    ),
    "rank 2": (
        {"noisy": ones(4, 4)},
        mps.InvalidArgumentError,
        r'source "noisy": expected an array \(N, H, W, C\) or \(H, W, C\), got shape \(4, 4\)',
    ),
    "rank 5": (
        {"noisy": ones(1, 1, 4, 4, 3)},
        mps.InvalidArgumentError,
        r'source "noisy".*\(1, 1, 4, 4, 3\)',
    ),
    "float64": (
        {"noisy": ones(1, 4, 4, 3, dtype=np.float64)},
        mps.ArgumentTypeError,
        r'Graph "net": source "noisy": expected float32, got float64',
    ),
    "float16": (
        {"noisy": ones(1, 4, 4, 3, dtype=np.float16)},
        mps.ArgumentTypeError,
        "expected float32, got float16",
    ),
    "uint8": (
        {"noisy": ones(1, 4, 4, 3, dtype=np.uint8)},
        mps.ArgumentTypeError,
        "expected float32, got uint8",
    ),
    "big endian": (
        {"noisy": GOOD.astype(">f4")},
        mps.ArgumentTypeError,
        "expected float32, got >f4",
    ),
    "no array": ({"noisy": None}, mps.ArgumentTypeError, r'source "noisy".*got NoneType'),
    "text": ({"noisy": "noise.png"}, mps.ArgumentTypeError, r'source "noisy".*got str'),
    "ragged": ({"noisy": [[1.0], [1.0, 2.0]]}, mps.ArgumentTypeError, r'source "noisy".*got list'),
    "empty": ({"noisy": ones(0, 4, 4, 3)}, mps.InvalidArgumentError, r"\(0, 4, 4, 3\)"),
    "missing": ({}, mps.InvalidArgumentError, '"noisy"'),
    "unknown": ({"noisy": GOOD, "nosy": GOOD}, mps.InvalidArgumentError, '"nosy"'),
    "too short a list": (
        [],
        mps.InvalidArgumentError,
        "expected 1 in the order of source_handles, got 0",
    ),
    "too long a list": ([GOOD, GOOD], mps.InvalidArgumentError, "expected 1 in the order.*got 2"),
    "neither dict nor list": (
        GOOD,
        mps.ArgumentTypeError,
        "expected a dict or a list, got ndarray",
    ),
    "number for a key": (
        {3: GOOD},
        mps.ArgumentTypeError,
        "expected handles or image nodes as keys, got 3",
    ),
    "twice": (
        {"noisy": GOOD, mps.ImageNode("noisy"): GOOD},
        mps.InvalidArgumentError,
        r'source "noisy": expected one image, got two',
    ),
}


@pytest.mark.parametrize("name", SOURCES)
def test_bad_sources(cpu: mps.Device, name: str) -> None:
    sources, error, text = SOURCES[name]
    with pytest.raises(error, match=text):
        encode(graph_of(cpu), sources)


def test_an_image_of_another_device(cpu: mps.Device) -> None:
    with pytest.raises(mps.InvalidArgumentError, match=r'"noisy".*"cpu".*"null"'):
        encode(graph_of(cpu), {"noisy": mps.Image(mps.Device("null"), GOOD)})


def test_a_failed_encode_records_nothing(cpu: mps.Device) -> None:
    graph, commands = graph_of(cpu), mps.CommandBuffer(cpu.command_queue())
    with pytest.raises(mps.InvalidArgumentError):
        graph.encode(commands, {})
    outputs = graph.encode(commands, {"noisy": GOOD})
    commands.commit()
    assert np.asarray(outputs[0]).shape == (1, 4, 4, 2)


x, y = mps.ImageNode("x"), mps.ImageNode("y")

NODES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "unknown class": (
        lambda: mps.FilterNode("AbacusNode", [x]),
        mps.InvalidArgumentError,
        "AbacusNode",
    ),
    "too many sources": (
        lambda: mps.FilterNode("NeuronReLUNode", [x, y]),
        mps.InvalidArgumentError,
        "NeuronReLUNode",
    ),
    "unknown parameter": (
        lambda: mps.FilterNode("NeuronReLUNode", [x], {"slope": 1.0}),
        mps.InvalidArgumentError,
        "NeuronReLUNode.*slope",
    ),
    "missing parameter": (
        lambda: mps.FilterNode("PoolingMaxNode", [x]),
        mps.InvalidArgumentError,
        "PoolingMaxNode.*kernel_width",
    ),
    "wrong type": (
        lambda: mps.PoolingMaxNode(x, 2.5),  # type: ignore[arg-type]
        mps.InvalidArgumentError,
        "PoolingMaxNode.*kernel_width: expected an integer, got 2.5",
    ),
    "no value at all": (
        lambda: mps.NeuronReLUNode(x, object()),  # type: ignore[arg-type]
        mps.ArgumentTypeError,
        "a: expected a number",
    ),
    "beyond 64 bits": (
        lambda: mps.PoolingMaxNode(x, 1 << 70),
        mps.InvalidArgumentError,
        "kernel_width: expected an integer of 64 bits",
    ),
    "a list with text in it": (
        lambda: mps.NeuronPReLUNode(x, [0.5, "1"]),  # type: ignore[list-item]
        mps.ArgumentTypeError,
        "a: expected a number, got '1'",
    ),
    "a flag that is none": (
        lambda: mps.UpsamplingBilinearNode(x, 2, align_corners="no"),  # type: ignore[arg-type]
        mps.InvalidArgumentError,
        'align_corners: expected a bool, got "no"',
    ),
    "below its range": (
        lambda: mps.PoolingMaxNode(x, 0),
        mps.InvalidArgumentError,
        "kernel_width: expected >= 1, got 0",
    ),
    "not finite": (
        lambda: mps.NeuronReLUNode(x, float("nan")),
        mps.InvalidArgumentError,
        "NeuronReLUNode.*a: expected",
    ),
    "unsupported edge mode": (
        lambda: mps.ConvolutionNode(x, weights(), mps.ImageEdgeMode.MIRROR),
        mps.UnsupportedError,
        r"ConvolutionNode.*edge_mode: expected ZERO or CLAMP, got MIRROR",
    ),
    "not a node": (
        lambda: mps.NeuronReLUNode("x"),  # type: ignore[arg-type]
        mps.ArgumentTypeError,
        "^NeuronReLUNode: source: expected an ImageNode or a FilterNode, got str$",
    ),
    "no second node": (
        lambda: mps.AdditionNode(x, None),  # type: ignore[arg-type]
        mps.ArgumentTypeError,
        "^AdditionNode: secondary_source: expected an ImageNode or a FilterNode, got NoneType$",
    ),
    "a number among nodes": (
        lambda: mps.ConcatenationNode([x, 3]),  # type: ignore[list-item]
        mps.ArgumentTypeError,
        r"^ConcatenationNode: sources\[1\]: expected an ImageNode or a FilterNode, got int$",
    ),
    "weights of another class": (
        lambda: mps.ConvolutionNode(x, 3),  # type: ignore[arg-type]
        mps.ArgumentTypeError,
        "^ConvolutionNode: weights: expected a ConvolutionDataSource, got int$",
    ),
    "a number as label": (
        lambda: mps.NeuronReLUNode(x, label=3),  # type: ignore[arg-type]
        mps.ArgumentTypeError,
        "^NeuronReLUNode: label: expected a text, got int$",
    ),
    "a function as padding": (
        lambda: mps.PoolingMaxNode(x, 2, padding_policy=len),  # type: ignore[arg-type]
        mps.ArgumentTypeError,
        "padding_policy: expected a PaddingPolicy or None, got builtin_function_or_method$",
    ),
    "a type as descriptor": (
        lambda: mps.ForwardLossNode(x, x, mps.LossType.HUBER),  # type: ignore[arg-type]
        mps.ArgumentTypeError,
        "^ForwardLossNode: loss_descriptor: expected a LossDescriptor, got LossType$",
    ),
    "a number as handler": (
        lambda: mps.NeuronReLUNode(x).training_graph(x, 3),  # type: ignore[arg-type]
        mps.ArgumentTypeError,
        "node_handler: expected a function or None, got int$",
    ),
    "a format of integers": (
        lambda: setattr(mps.ImageNode("x"), "format", mps.DataType.INT32),
        mps.UnsupportedError,
        'image "x": format: expected float32 or float16, got int32',
    ),
    "no weights": (
        lambda: mps.FilterNode("ConvolutionNode", [x]),
        mps.InvalidArgumentError,
        "ConvolutionNode.*weights",
    ),
    "no derivative": (
        lambda: mps.InitialGradientNode(x).gradient_filters(y),
        mps.InvalidArgumentError,
        "InitialGradientNode",
    ),
    "clamped the wrong way": (
        lambda: mps.AdditionNode(x, y, minimum_value=1.0, maximum_value=0.0),
        mps.InvalidArgumentError,
        "maximum_value: expected >= 1, got 0",
    ),
}


@pytest.mark.parametrize("name", NODES)
def test_bad_nodes(name: str) -> None:
    make, error, text = NODES[name]
    with pytest.raises(error, match=text):
        make()


def test_a_typing_error_in_an_attribute_is_refused() -> None:
    node = mps.NeuronReLUNode(x)
    with pytest.raises(AttributeError):
        node.lable = "relu"  # type: ignore[attr-defined]


def device() -> mps.Device:
    return mps.Device("cpu")


loss = mps.LossDescriptor(mps.LossType.MEAN_SQUARED_ERROR)

GRAPHS: dict[str, tuple[Callable[[], object], str]] = {
    "no results": (lambda: mps.Graph(device(), []), "result"),
    "a result that no node makes": (lambda: mps.Graph(device(), [x]), '"x"'),
    "a flag too few": (
        lambda: mps.Graph(device(), [mps.NeuronReLUNode(x).result_image], []),
        "1.*0",
    ),
    "two sources with one handle": (
        lambda: mps.Graph(
            device(), [mps.AdditionNode(mps.ImageNode("x"), mps.ImageNode("x")).result_image]
        ),
        '"x"',
    ),
    "a source without a handle": (
        lambda: mps.Graph(device(), [mps.NeuronReLUNode(mps.ImageNode()).result_image]),
        "handle",
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_bad_graphs(name: str) -> None:
    make, text = GRAPHS[name]
    with pytest.raises(mps.InvalidArgumentError, match=text):
        make()


def fit(node: mps.FilterNode, **sizes: tuple[int, ...]) -> None:
    encode(
        mps.Graph(device(), [node.result_image]),
        {name: ones(*size) for name, size in sizes.items()},
    )


VALID = mps.PaddingPolicy(mps.PaddingMethod.SIZE_VALID_ONLY)

SIZES: dict[str, tuple[Callable[[], object], str]] = {
    "a loss between different shapes": (
        lambda: fit(
            mps.ForwardLossNode(x, y, loss, label="loss.rgb"), x=(1, 4, 4, 3), y=(1, 4, 4, 1)
        ),
        r'ForwardLossNode "loss.rgb": labels: expected \(1, 4, 4, 3\), got \(1, 4, 4, 1\)',
    ),
    "an addition of different shapes": (
        lambda: fit(mps.AdditionNode(x, y, label="skip"), x=(1, 4, 4, 3), y=(1, 5, 4, 3)),
        r'AdditionNode "skip": secondary_source: expected .*got \(1, 5, 4, 3\)',
    ),
    "a concatenation of different heights": (
        lambda: fit(mps.ConcatenationNode([x, y], label="cat"), x=(1, 4, 4, 3), y=(1, 5, 4, 2)),
        r'ConcatenationNode "cat": sources\[1\]: expected \(1, 4, 4, 2\), got \(1, 5, 4, 2\)',
    ),
    "a size that the window does not fit": (
        lambda: fit(mps.PoolingMaxNode(x, 3, label="pool", padding_policy=VALID), x=(1, 2, 4, 3)),
        r'PoolingMaxNode "pool": source: expected at least 3 rows, got 2',
    ),
    "slopes for other channels": (
        lambda: fit(mps.NeuronPReLUNode(x, [0.5, 0.25]), x=(1, 2, 4, 3)),
        r"NeuronPReLUNode.*source: expected 2 feature channels, got 3",
    ),
    "a skip over a pooling that does not divide": (
        lambda: fit(
            mps.AdditionNode(
                mps.UpsamplingNearestNode(mps.PoolingMaxNode(x, 2), 2), x, label="skip"
            ),
            x=(1, 5, 4, 3),
        ),
        r'AdditionNode "skip".*\(1, 6, 4, 3\).*\(1, 5, 4, 3\)',
    ),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_that_do_not_fit(name: str) -> None:
    run, text = SIZES[name]
    with pytest.raises(mps.InvalidArgumentError, match=text):
        run()


DATA_SOURCES: dict[str, tuple[Callable[[], object], type[mps.Error], str]] = {
    "shape": (
        lambda: mps.ConvolutionDataSource(
            mps.ConvolutionDescriptor(3, 3, 4, 8), ones(8, 3, 3, 3), label="c"
        ),
        mps.InvalidArgumentError,
        r'ConvolutionDataSource "c": weights: expected shape \(8, 3, 3, 4\), got \(8, 3, 3, 3\)',
    ),
    "bias": (
        lambda: mps.ConvolutionDataSource(
            mps.ConvolutionDescriptor(1, 1, 1, 2), ones(2, 1, 1, 1), ones(3)
        ),
        mps.InvalidArgumentError,
        r"bias_terms: expected shape \(2,\), got \(3,\)",
    ),
    "type": (
        lambda: mps.ConvolutionDataSource(
            mps.ConvolutionDescriptor(1, 1, 1, 1), ones(1, 1, 1, 1, dtype=np.float64)
        ),
        mps.ArgumentTypeError,
        "weights: expected float32, float16 or uint8, got float64",
    ),
    "groups": (
        lambda: mps.ConvolutionDataSource(
            mps.ConvolutionDescriptor(1, 1, 3, 2, groups=2), ones(2, 1, 1, 1)
        ),
        mps.InvalidArgumentError,
        "groups|input_feature_channels",
    ),
    "no groups": (
        lambda: mps.ConvolutionDataSource(
            mps.ConvolutionDescriptor(1, 1, 1, 1, groups=0), ones(1, 1, 1, 1)
        ),
        mps.InvalidArgumentError,
        "groups",
    ),
    "stride": (
        lambda: mps.ConvolutionDataSource(
            mps.ConvolutionDescriptor(1, 1, 1, 1, stride_in_pixels_y=0), ones(1, 1, 1, 1)
        ),
        mps.InvalidArgumentError,
        "stride",
    ),
    "unknown parameter": (
        lambda: weights().initial("wieghts"),
        mps.InvalidArgumentError,
        "wieghts",
    ),
    "unknown parameter to set": (
        lambda: weights().set_initial("wieghts", ones(1)),
        mps.InvalidArgumentError,
        "wieghts",
    ),
    "new values of another shape": (
        lambda: weights().set_initial("weights", ones(1)),
        mps.InvalidArgumentError,
        r"expected shape \(2, 3, 3, 3\), got \(1,\)",
    ),
    "unknown parameter on a device": (
        lambda: device().read_parameter(weights(), "wieghts"),
        mps.InvalidArgumentError,
        "wieghts",
    ),
    "values for a device of another shape": (
        lambda: device().write_parameter(weights(), "weights", ones(2)),
        mps.InvalidArgumentError,
        r"shape|54",
    ),
}


@pytest.mark.parametrize("name", DATA_SOURCES)
def test_bad_data_sources(name: str) -> None:
    make, error, text = DATA_SOURCES[name]
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
def test_bad_learning_rates(rate: float) -> None:
    with pytest.raises(mps.InvalidArgumentError, match="learning_rate"):
        mps.OptimizerAdam(rate)
    optimizer = mps.OptimizerAdam()
    with pytest.raises(mps.InvalidArgumentError, match="learning_rate"):
        optimizer.learning_rate = rate
    assert optimizer.learning_rate == 1e-3


def test_training_a_fused_neuron_is_refused() -> None:
    descriptor = mps.ConvolutionDescriptor(
        1, 1, 1, 1, fused_neuron_descriptor=mps.NeuronDescriptor(mps.NeuronType.RELU)
    )
    source = mps.ConvolutionDataSource(descriptor, ones(1, 1, 1, 1))
    node = mps.ConvolutionNode(x, source, label="fused")
    with pytest.raises(mps.InvalidArgumentError, match=r'"fused": fused_neuron_descriptor'):
        node.training_graph(y)


def test_unknown_device() -> None:
    with pytest.raises(mps.InvalidArgumentError, match=r'expected one of .*"cpu".*got "abacus"'):
        mps.Device("abacus")


HALF = mps.DataType.FLOAT16

IMAGES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "size below 1": (
        lambda: mps.Image(device(), size=(1, 0, 2, 3)),
        mps.InvalidArgumentError,
        r"\(1, 0, 2, 3\)",
    ),
    "three numbers": (lambda: mps.Image(device(), size=(1, 2, 3)), TypeError, "size"),  # type: ignore[arg-type]
    "rank": (
        lambda: mps.Image(device(), ones(2, 2)),
        mps.InvalidArgumentError,
        r"got shape \(2, 2\)",
    ),
    "type": (
        lambda: mps.Image(device(), ones(1, 1, 1, 1, dtype=int)),
        mps.ArgumentTypeError,
        "got int64",
    ),
    "more than there is": (
        lambda: mps.Image(device(), size=(1 << 20, 1 << 15, 1 << 15, 4)),
        mps.OutOfMemoryError,
        "18014398509481984 bytes",
    ),
    "more than can be counted": (
        lambda: mps.Image(device(), size=(1 << 40, 1 << 40, 1 << 40, 4)),
        mps.InvalidArgumentError,
        r"size: expected \(N, H, W, C\).*got \(1099511627776",
    ),
    "half floats in a graph": (
        lambda: encode(graph_of(device()), [mps.Image(device(), size=(1, 4, 4, 3), format=HALF)]),
        mps.ArgumentTypeError,
        r'source "noisy": expected float32, got float16',
    ),
}


@pytest.mark.parametrize("name", IMAGES)
def test_bad_images(name: str) -> None:
    make, error, text = IMAGES[name]
    with pytest.raises(error, match=text):
        make()


def test_native_errors_keep_their_text() -> None:
    with pytest.raises(mps.Error) as caught:
        _core.FilterNode("AbacusNode", [x])
    assert str(caught.value)
    assert caught.value.args == (str(caught.value),)


@pytest.mark.parametrize("kind", [mps.MatrixNeuron, mps.NeuronReLUNode, mps.ConvolutionDataSource])
def test_objects_whose_constructor_failed_can_be_shown(kind: type) -> None:
    assert repr(kind.__new__(kind)) == f"<mpsnn.{kind.__name__}, not constructed>"
