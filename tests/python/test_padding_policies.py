# SPDX-License-Identifier: MIT
"""Padding policies of one's own and ready ones, against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import mpsnn as mps

torch = pytest.importorskip("torch")
Floats = NDArray[np.float32]
RANDOM = np.random.Generator(np.random.Philox(13))
CLAMP = mps.ImageEdgeMode.CLAMP
VALID = mps.PaddingMethod.SIZE_VALID_ONLY


class PyTorchPadding(mps.Padding):
    """The same number of zeros on all sides, as PyTorch's `padding`."""

    def __init__(self, pad: int, edge_mode: mps.ImageEdgeMode | None = None) -> None:
        super().__init__()
        self.pad = pad
        self.edge_mode = edge_mode
        self.queries: list[mps.PaddingQuery] = []

    def label(self) -> str:
        """How errors call it."""
        return f"PyTorch {self.pad}"

    def destination(self, query: mps.PaddingQuery) -> mps.PaddingPlacement:
        """Where the windows lie."""
        self.queries.append(query)

        def along(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
            extent = (kernel - 1) * dilation + 1
            return (size + 2 * self.pad - extent) // stride + 1, extent // 2 - self.pad

        height, offset_y = along(
            query.source_height,
            query.kernel_height,
            query.stride_in_pixels_y,
            query.dilation_rate_y,
        )
        width, offset_x = along(
            query.source_width, query.kernel_width, query.stride_in_pixels_x, query.dilation_rate_x
        )
        return mps.PaddingPlacement(height, width, offset_y, offset_x, self.edge_mode)


def integers(*shape: int) -> Floats:
    """Small whole numbers."""
    return RANDOM.integers(-3, 4, shape).astype(np.float32)


def run(device: mps.Device, graph: mps.Graph, **sources: Floats) -> list[Floats]:
    """Results of one encode."""
    commands = mps.CommandBuffer(device.command_queue())
    outputs = graph.encode(commands, sources)
    commands.commit()
    commands.wait_until_completed()
    return [np.asarray(result) for result in outputs]


def nchw(array: Floats) -> object:
    """As PyTorch wants it, in float64."""
    return torch.tensor(array.astype(np.float64)).permute(0, 3, 1, 2).requires_grad_()


def nhwc(tensor: object) -> Floats:
    """And back."""
    return tensor.detach().permute(0, 2, 3, 1).numpy().astype(np.float32)  # type: ignore[attr-defined, no-any-return]


def check(
    device: mps.Device, node: mps.FilterNode, x: Floats, other: Callable[[object], object]
) -> None:
    """Result and gradient of the source, exactly."""
    source = nchw(x)
    expected = other(source)
    g = integers(*nhwc(expected).shape)
    expected.backward(nchw(g).detach())  # type: ignore[attr-defined]
    gradient = node.gradient_filter(mps.ImageNode("g"))
    graph = mps.Graph(device, [node.result_image, gradient.result_image])
    result, slope = run(device, graph, x=x, g=g)
    np.testing.assert_array_equal(result, nhwc(expected))
    np.testing.assert_array_equal(slope, nhwc(source.grad))  # type: ignore[attr-defined]


def policies(pad: int) -> list[mps.PaddingPolicy]:
    """Two ways to the same padding."""
    return [
        mps.PaddingPolicy(PyTorchPadding(pad)),
        mps.PaddingPolicy.with_pads(pad, pad, pad, pad),
    ]


CONVOLUTIONS = [  # kernel, stride, dilation, pad, height, width
    (3, 1, 1, 1, 5, 6),
    (3, 2, 1, 1, 8, 7),
    (3, 2, 1, 0, 8, 8),
    (5, 3, 1, 2, 11, 10),
    (4, 2, 1, 1, 9, 8),
    (2, 2, 1, 1, 5, 5),
    (3, 1, 2, 2, 7, 9),
    (7, 2, 1, 3, 13, 12),
    (3, 1, 1, 2, 4, 4),
]


@pytest.mark.parametrize("own", [0, 1])
@pytest.mark.parametrize(("k", "s", "d", "p", "h", "w"), CONVOLUTIONS)
def test_convolutions_padded_as_pytorch_does(
    device: mps.Device, k: int, s: int, d: int, p: int, h: int, w: int, own: int
) -> None:
    x, values, bias = integers(2, h, w, 4), integers(6, k, k, 4), integers(6)
    weights = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(
            k, k, 4, 6, stride_in_pixels_x=s, stride_in_pixels_y=s, dilation_rate_x=d,
            dilation_rate_y=d,
        ),
        values,
        bias,
    )  # fmt: skip
    node = mps.ConvolutionNode(mps.ImageNode("x"), weights, padding_policy=policies(p)[own])
    doubles = nchw(values).detach(), torch.tensor(bias.astype(np.float64))  # type: ignore[attr-defined]
    check(
        device,
        node,
        x,
        lambda source: torch.nn.functional.conv2d(
            source, *doubles, stride=s, padding=p, dilation=d
        ),
    )


@pytest.mark.parametrize(("k", "s", "d", "p", "h", "w"), CONVOLUTIONS)
def test_gradients_of_weights_under_explicit_pads(
    device: mps.Device, k: int, s: int, d: int, p: int, h: int, w: int
) -> None:
    x, values = integers(2, h, w, 4), integers(6, k, k, 4)
    weights = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(
            k, k, 4, 6, stride_in_pixels_x=s, stride_in_pixels_y=s, dilation_rate_x=d,
            dilation_rate_y=d,
        ),
        values,
        optimizer=mps.OptimizerStochasticGradientDescent(1.0),
    )  # fmt: skip
    tensor = nchw(values)
    expected = torch.nn.functional.conv2d(
        nchw(x).detach(), tensor, stride=s, padding=p, dilation=d  # type: ignore[attr-defined]
    )  # fmt: skip
    g = integers(*nhwc(expected).shape)
    expected.backward(nchw(g).detach())  # type: ignore[attr-defined]
    node = mps.ConvolutionNode(
        mps.ImageNode("x"), weights, padding_policy=mps.PaddingPolicy.with_pads(p, p, p, p)
    )
    gradient = node.gradient_filter(mps.ImageNode("g"))
    run(device, mps.Graph(device, [gradient.result_image]), x=x, g=g)
    np.testing.assert_array_equal(
        values - device.read_parameter(weights, "weights"),
        nhwc(tensor.grad),  # type: ignore[attr-defined]
    )


def test_unequal_pads(device: mps.Device) -> None:
    x, values = integers(1, 6, 5, 3), integers(2, 3, 3, 3)
    weights = mps.ConvolutionDataSource(mps.ConvolutionDescriptor(3, 3, 3, 2), values)
    policy = mps.PaddingPolicy.with_pads(2, 0, 1, 1)
    assert policy.pads == [2, 0, 1, 1]
    assert repr(policy) == "PaddingPolicy.with_pads(2, 0, 1, 1)"
    node = mps.ConvolutionNode(mps.ImageNode("x"), weights, padding_policy=policy)
    kernel = nchw(values).detach()  # type: ignore[attr-defined]
    check(
        device,
        node,
        x,
        lambda source: torch.nn.functional.conv2d(
            torch.nn.functional.pad(source, (2, 1, 0, 1)), kernel
        ),
    )


POOLINGS = [(2, 2, 1, 7, 6), (3, 2, 1, 8, 9), (3, 1, 1, 5, 4), (3, 3, 0, 10, 11)]


@pytest.mark.parametrize("own", [0, 1])
@pytest.mark.parametrize(("k", "s", "p", "h", "w"), POOLINGS)
def test_poolings_padded_as_pytorch_does(
    device: mps.Device, k: int, s: int, p: int, h: int, w: int, own: int
) -> None:
    x = RANDOM.permutation(2 * h * w * 3).reshape(2, h, w, 3).astype(np.float32)
    policy = [
        mps.PaddingPolicy(PyTorchPadding(p, CLAMP)),
        mps.PaddingPolicy.with_pads(p, p, p, p),
    ][own]
    node = mps.PoolingMaxNode(mps.ImageNode("x"), k, k, s, s, padding_policy=policy)
    pool = torch.nn.functional.max_pool2d
    if own == 0:
        check(device, node, x, lambda source: pool(source, k, s, p))
    average = mps.PoolingAverageNode(mps.ImageNode("x"), k, k, s, s, padding_policy=policy)
    expected = torch.nn.functional.avg_pool2d(nchw(x), k, s, p, count_include_pad=own == 1)
    result = run(device, mps.Graph(device, [average.result_image]), x=x)[0]
    np.testing.assert_allclose(result, nhwc(expected), rtol=1e-6)


def test_averages_as_tensorflow_makes_them(device: mps.Device) -> None:
    x = integers(1, 5, 4, 2)
    same = mps.PaddingPolicy.tensorflow_average_pooling()
    node = mps.PoolingAverageNode(
        mps.ImageNode("x"), 2, edge_mode=mps.ImageEdgeMode.ZERO, padding_policy=same
    )
    result = run(device, mps.Graph(device, [node.result_image]), x=x)[0]
    assert result.shape == (1, 3, 2, 2)
    np.testing.assert_array_equal(result[0, 0, 0], x[0, :2, :2].mean((0, 1)))
    np.testing.assert_array_equal(result[0, 2, 0], x[0, 4:, :2].mean((0, 1)))
    valid = mps.PaddingPolicy.tensorflow_average_pooling_valid_only()
    node.padding_policy = valid
    result = run(device, mps.Graph(device, [node.result_image]), x=x)[0]
    assert result.shape == (1, 2, 2, 2)
    assert same.edge_mode == valid.edge_mode == CLAMP


TRANSPOSED = [(3, 2, 1, 4, 5), (4, 2, 1, 3, 4), (3, 1, 0, 4, 4), (2, 3, 0, 3, 2), (5, 2, 2, 4, 3)]


@pytest.mark.parametrize(("k", "s", "p", "h", "w"), TRANSPOSED)
def test_transposed_convolutions_padded_as_pytorch_does(
    device: mps.Device, k: int, s: int, p: int, h: int, w: int
) -> None:
    x, values = integers(1, h, w, 3), integers(2, k, k, 3)
    weights = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(k, k, 3, 2, stride_in_pixels_x=s, stride_in_pixels_y=s), values
    )
    # PyTorch turns the weights by half a turn and has (in, out, height, width).
    kernel = torch.tensor(values[:, ::-1, ::-1].astype(np.float64).copy()).permute(3, 0, 1, 2)
    node = mps.ConvolutionTransposeNode(
        mps.ImageNode("x"), weights, padding_policy=mps.PaddingPolicy.with_pads(p, p, p, p)
    )
    transposed = torch.nn.functional.conv_transpose2d
    check(device, node, x, lambda source: transposed(source, kernel, stride=s, padding=p))
    undone = PyTorchPadding(k - 1 - p)  # of the source with its zeros
    node.padding_policy = mps.PaddingPolicy(undone)
    check(device, node, x, lambda source: transposed(source, kernel, stride=s, padding=p))
    assert undone.queries[0].source_height == (h - 1) * s + 1
    assert undone.queries[0].stride_in_pixels_y == 1


def test_a_policy_is_asked_with_what_the_bits_suggest(device: mps.Device) -> None:
    class Suggested(PyTorchPadding):
        def padding_method(self) -> int:
            return VALID

        def destination(self, query: mps.PaddingQuery) -> mps.PaddingPlacement:
            self.queries.append(query)
            return query.suggested

    asked = Suggested(0)
    node = mps.PoolingMaxNode(mps.ImageNode("x"), 3, 2, 2, 1, label="pool")
    node.padding_policy = mps.PaddingPolicy(asked)
    assert node.padding_policy.padding is asked
    assert node.padding_policy.method == VALID | mps.PaddingMethod.CUSTOM
    x = integers(1, 7, 8, 2)
    own = run(device, mps.Graph(device, [node.result_image]), x=x)[0]
    query = asked.queries[0]
    assert query.label == "pool"
    assert (query.source_height, query.source_width) == (7, 8)
    assert (query.kernel_height, query.kernel_width) == (2, 3)
    assert (query.stride_in_pixels_y, query.stride_in_pixels_x) == (1, 2)
    assert (query.dilation_rate_y, query.dilation_rate_x) == (1, 1)
    assert query.suggested == mps.PaddingPlacement(6, 3, 1, 1)
    node.padding_policy = mps.PaddingPolicy(VALID)
    np.testing.assert_array_equal(own, run(device, mps.Graph(device, [node.result_image]), x=x)[0])


class Answers(mps.Padding):
    """Gives one answer."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer

    def destination(self, query: mps.PaddingQuery) -> mps.PaddingPlacement:
        """Where the windows lie."""
        del query
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (mps.PaddingPlacement(9, 2, 1, 1), mps.InvalidArgumentError, "9 windows of 2"),
        (mps.PaddingPlacement(2, 2, -1, 1), mps.InvalidArgumentError, "the first 2 before it"),
        (mps.PaddingPlacement(0, 2, 1, 1), mps.InvalidArgumentError, "0 windows"),
        (mps.PaddingPlacement(2, 2**40, 1, 1), mps.InvalidArgumentError, "columns"),
        ((2, 2), mps.ArgumentTypeError, "expected a PaddingPlacement, got tuple"),
        (KeyError("nothing"), KeyError, "nothing"),
    ],
)
def test_bad_answers_are_errors(
    device: mps.Device, answer: object, error: type[Exception], text: str
) -> None:
    node = mps.PoolingMaxNode(mps.ImageNode("x"), 2)
    node.padding_policy = mps.PaddingPolicy(Answers(answer))
    graph = mps.Graph(device, [node.result_image])
    with pytest.raises(error, match=text):
        run(device, graph, x=integers(1, 4, 4, 1))


def test_bad_policies_are_refused(cpu: mps.Device) -> None:
    node = mps.PoolingMaxNode(mps.ImageNode("x"), 2)
    with pytest.raises(mps.InvalidArgumentError, match="the bit CUSTOM together"):
        node.padding_policy = mps.PaddingPolicy(mps.PaddingMethod.CUSTOM)
    with pytest.raises(mps.InvalidArgumentError, match="pads >= 0"):
        node.padding_policy = mps.PaddingPolicy.with_pads(0, 0, -1, 0)
    node.padding_policy = mps.PaddingPolicy(mps.Padding())
    with pytest.raises(mps.UnsupportedError, match="overrides destination"):
        run(cpu, mps.Graph(cpu, [node.result_image]), x=integers(1, 4, 4, 1))
    values = integers(1, 3, 3, 1)
    weights = mps.ConvolutionDataSource(mps.ConvolutionDescriptor(3, 3, 1, 1), values)
    transposed = mps.ConvolutionTransposeNode(
        mps.ImageNode("x"), weights, padding_policy=mps.PaddingPolicy.tensorflow_average_pooling()
    )
    with pytest.raises(mps.UnsupportedError, match="the edge mode ZERO, got CLAMP"):
        run(cpu, mps.Graph(cpu, [transposed.result_image]), x=integers(1, 4, 4, 1))


@pytest.mark.parametrize(
    "policy",
    [
        mps.PaddingPolicy.with_pads(1, 0, 2, 1),
        mps.PaddingPolicy.tensorflow_average_pooling(),
        mps.PaddingPolicy(VALID),
    ],
)
def test_policies_of_the_library_go_through_archives(
    cpu: mps.Device, tmp_path: Path, policy: mps.PaddingPolicy
) -> None:
    node = mps.PoolingAverageNode(mps.ImageNode("x"), 3, 3, 2, 2, padding_policy=policy)
    graph = mps.Graph(cpu, [node.result_image])
    archiver = mps.KeyedArchiver()
    archiver.encode("net", graph)
    archiver.write(tmp_path / "net.safetensors")
    read = mps.KeyedUnarchiver(cpu).open(tmp_path / "net.safetensors").decode_graph("net")
    assert read.nodes[0].padding_policy == policy
    x = integers(1, 7, 8, 2)
    np.testing.assert_array_equal(run(cpu, read, x=x)[0], run(cpu, graph, x=x)[0])


def test_policies_of_ones_own_are_not_archived(cpu: mps.Device) -> None:
    node = mps.PoolingMaxNode(mps.ImageNode("x"), 3, label="pool")
    node.padding_policy = mps.PaddingPolicy(PyTorchPadding(1))
    with pytest.raises(mps.InvalidArgumentError, match=r'"pool": padding_policy.*"?PyTorch 1'):
        mps.KeyedArchiver().encode("net", mps.Graph(cpu, [node.result_image]))
