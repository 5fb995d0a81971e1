# SPDX-License-Identifier: MIT
"""Bad input to the nodes that work on images alone, family by family."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import mpsnn as mps

x, y, g = (mps.ImageNode(name) for name in "xyg")

Row = tuple[Callable[[], object], type[mps.Error], str]

EXCLUDE = mps.PaddingPolicy(mps.PaddingMethod.EXCLUDE_EDGES | mps.PaddingMethod.SIZE_SAME)


def plan(node: mps.FilterNode, **sizes: tuple[int, int, int, int]) -> str:
    """Plans a node for sources of these sizes."""
    return mps.Graph(mps.Device("cpu"), [node.result_image]).plan_text(sizes)


POOLING: dict[str, Row] = {
    "an edge mode that pooling does not have": (
        lambda: mps.PoolingAverageNode(x, 2, edge_mode=mps.ImageEdgeMode.MIRROR),
        mps.UnsupportedError,
        "PoolingAverageNode.*edge_mode: expected ZERO or CLAMP, got MIRROR",
    ),
    "a negative border": (
        lambda: mps.PoolingAverageNode(x, 2, zero_pad_size_x=-1),
        mps.InvalidArgumentError,
        "PoolingAverageNode.*zero_pad_size_x: expected >= 0, got -1",
    ),
    "edges excluded from a maximum": (
        lambda: mps.PoolingMaxNode(x, 2, padding_policy=EXCLUDE),
        mps.InvalidArgumentError,
        "PoolingMaxNode.*padding_policy: expected no EXCLUDE_EDGES",
    ),
    "no gaps at all": (
        lambda: mps.DilatedPoolingMaxNode(x, 2, dilation_rate_x=0),
        mps.InvalidArgumentError,
        "DilatedPoolingMaxNode.*dilation_rate_x: expected >= 1, got 0",
    ),
    "a dilated window that does not fit": (
        lambda: plan(
            mps.DilatedPoolingMaxNode(
                x, 3, dilation_rate_x=2, dilation_rate_y=2, padding_policy=mps.PaddingPolicy(0)
            ),
            x=(1, 4, 8, 1),
        ),
        mps.InvalidArgumentError,
        "DilatedPoolingMaxNode.*source: expected at least 5 rows, got 4",
    ),
    "a gradient of another size": (
        lambda: plan(mps.PoolingAverageGradientNode(g, x, 2), g=(1, 4, 4, 1), x=(1, 4, 4, 1)),
        mps.InvalidArgumentError,
        r"PoolingAverageGradientNode.*source_gradient: expected \(1, 2, 2, 1\), got \(1, 4, 4, 1\)",
    ),
    "a norm of another size": (
        lambda: plan(
            mps.PoolingL2NormGradientNode(g, x, y, 2),
            g=(1, 2, 2, 1),
            x=(1, 4, 4, 1),
            y=(1, 4, 2, 1),
        ),
        mps.InvalidArgumentError,
        r"PoolingL2NormGradientNode.*result_image: expected \(1, 2, 2, 1\), got \(1, 4, 2, 1\)",
    ),
}

NEURON: dict[str, Row] = {
    "a base that is not positive": (
        lambda: mps.NeuronExponentialNode(x, c=0.0),
        mps.InvalidArgumentError,
        "NeuronExponentialNode.*c: expected > 0, or -1 for e, got 0",
    ),
    "a logarithm to the base of 1": (
        lambda: mps.NeuronLogarithmNode(x, c=1.0),
        mps.InvalidArgumentError,
        "NeuronLogarithmNode.*c: expected > 0 and not 1, or -1 for e, got 1",
    ),
    "the gradient of such a logarithm": (
        lambda: mps.NeuronGradientNode(g, x, mps.NeuronType.LOGARITHM, 1.0, 0.0, -2.0),
        mps.InvalidArgumentError,
        "NeuronGradientNode.*c: expected > 0 and not 1, or -1 for e, got -2",
    ),
    "the gradient of no neuron": (
        lambda: mps.NeuronGradientNode(g, x, mps.NeuronType.NONE),
        mps.UnsupportedError,
        "NeuronGradientNode.*neuron_type: expected RELU.*got NONE",
    ),
    "a factor that is not finite": (
        lambda: mps.NeuronTanHNode(x, float("inf")),
        mps.InvalidArgumentError,
        "NeuronTanHNode.*a: expected .*got inf",
    ),
    "PReLU in a convolution's descriptor": (
        lambda: fused(mps.NeuronDescriptor(mps.NeuronType.PRELU)),
        mps.UnsupportedError,
        "ConvolutionNode.*fused_neuron_descriptor: expected a neuron that is not PRELU, got PRELU",
    ),
    "a wrong base in a convolution's descriptor": (
        lambda: fused(mps.NeuronDescriptor(mps.NeuronType.LOGARITHM, 1.0, 0.0, 0.0)),
        mps.InvalidArgumentError,
        "ConvolutionNode.*fused_neuron_descriptor.c: expected > 0 and not 1, or -1 for e, got 0",
    ),
}


def fused(neuron: mps.NeuronDescriptor) -> mps.ConvolutionNode:
    """A convolution with a neuron in its descriptor."""
    descriptor = mps.ConvolutionDescriptor(1, 1, 1, 1, fused_neuron_descriptor=neuron)
    return mps.ConvolutionNode(
        x, mps.ConvolutionDataSource(descriptor, np.ones((1, 1, 1, 1), np.float32))
    )


ARITHMETIC: dict[str, Row] = {
    "sizes that cannot be broadcast": (
        lambda: plan(mps.MultiplicationNode(x, y), x=(1, 4, 4, 3), y=(1, 2, 4, 3)),
        mps.InvalidArgumentError,
        r"MultiplicationNode.*secondary_source: expected \(1, 4, 4, 3\), or 1 where",
    ),
    "limits the wrong way round": (
        lambda: mps.DivisionNode(x, y, minimum_value=1.0, maximum_value=0.0),
        mps.InvalidArgumentError,
        "DivisionNode.*maximum_value: expected >= 1, got 0",
    ),
    "a quotient by nothing": (
        lambda: mps.DivisionNode(x, y, secondary_scale=0.0),
        mps.InvalidArgumentError,
        "DivisionNode.*secondary_scale: expected a number that is not 0, got 0",
    ),
    "a comparison that there is not": (
        lambda: mps.FilterNode("ComparisonNode", [x, y], {"comparison_type": 6}),
        mps.InvalidArgumentError,
        "ComparisonNode.*comparison_type",
    ),
    "a negative threshold": (
        lambda: mps.ComparisonNode(x, y, threshold=-1.0),
        mps.InvalidArgumentError,
        "ComparisonNode.*threshold: expected 0 to .*got -1",
    ),
    "the derivative of a comparison": (
        lambda: mps.ComparisonNode(x, y, label="mask").training_graph(g),
        mps.InvalidArgumentError,
        'ComparisonNode "mask": gradient: expected a node that has a derivative',
    ),
    "a gradient of another size": (
        lambda: plan(
            mps.MultiplicationGradientNode(g, x, y), g=(1, 4, 4, 1), x=(1, 4, 4, 3), y=(1, 1, 1, 3)
        ),
        mps.InvalidArgumentError,
        r"MultiplicationGradientNode.*source_gradient: expected \(1, 4, 4, 3\)",
    ),
}

REDUCTION: dict[str, Row] = {
    "the derivative of an index": (
        lambda: mps.ReductionFeatureChannelsArgumentMaxNode(x, label="class").training_graph(g),
        mps.InvalidArgumentError,
        'ReductionFeatureChannelsArgumentMaxNode "class": gradient: expected a node that has a',
    ),
    "a gradient of another size": (
        lambda: plan(mps.ReductionRowSumGradientNode(g, x), g=(1, 1, 4, 3), x=(1, 4, 4, 3)),
        mps.InvalidArgumentError,
        r"ReductionRowSumGradientNode.*source_gradient: expected \(1, 4, 1, 3\)",
    ),
    "a maximum of another size": (
        lambda: plan(
            mps.ReductionColumnMaxGradientNode(g, x, y),
            g=(1, 1, 4, 3),
            x=(1, 4, 4, 3),
            y=(1, 4, 4, 3),
        ),
        mps.InvalidArgumentError,
        r"ReductionColumnMaxGradientNode.*result_image: expected \(1, 1, 4, 3\)",
    ),
}

SHAPE: dict[str, Row] = {
    "a rectangle of three numbers": (
        lambda: mps.ReductionRowMaxNode(x, [0, 0, 2]),
        mps.InvalidArgumentError,
        "ReductionRowMaxNode.*clip_rect_source: expected none or 4 numbers.*got 3",
    ),
    "an empty rectangle": (
        lambda: mps.ReductionSpatialMeanNode(x, [0, 0, 0, 2]),
        mps.InvalidArgumentError,
        "ReductionSpatialMeanNode.*clip_rect_source: expected a width and a height >= 1, got 0",
    ),
    "a rectangle that reaches outside": (
        lambda: plan(mps.ReductionColumnSumNode(x, [3, 0, 2, 4]), x=(1, 4, 4, 1)),
        mps.InvalidArgumentError,
        r"clip_rect_source: expected a rectangle in 4 columns and 4 rows, got 2 x 4 at \(3, 0\)",
    ),
    "a negative margin": (
        lambda: mps.PadNode(x, padding_size_before_x=-1),
        mps.InvalidArgumentError,
        "PadNode.*padding_size_before_x: expected 0 to .*got -1",
    ),
    "a gradient of the unpadded size": (
        lambda: plan(
            mps.PadGradientNode(g, x, padding_size_after_y=2), g=(1, 4, 4, 1), x=(1, 4, 4, 1)
        ),
        mps.InvalidArgumentError,
        r"PadGradientNode.*source_gradient: expected \(1, 6, 4, 1\), got \(1, 4, 4, 1\)",
    ),
    "a crop that reaches outside": (
        lambda: plan(mps.CropNode(x, 3, origin_x=2), x=(1, 4, 4, 1)),
        mps.InvalidArgumentError,
        "CropNode.*result_width: expected a part of the source's 4 from 2 on, got 3",
    ),
    "a crop of nothing": (
        lambda: plan(mps.CropNode(x, origin_feature_channel=2), x=(1, 4, 4, 2)),
        mps.InvalidArgumentError,
        "CropNode.*result_feature_channels: expected a part of the source's 2 from 2 on, got 0",
    ),
    "a reshaping that loses values": (
        lambda: plan(mps.ReshapeNode(x, 2, 2, 3), x=(1, 4, 4, 1)),
        mps.InvalidArgumentError,
        r"ReshapeNode.*source: expected as many values as \(1, 2, 2, 3\), got \(1, 4, 4, 1\)",
    ),
    "a reshaping beyond all memory": (
        lambda: plan(mps.ReshapeNode(x, 1 << 30, 1 << 30, 1 << 30), x=(1, 4, 4, 1)),
        mps.InvalidArgumentError,
        "ReshapeNode.*source: expected as many values as",
    ),
    "a resizing to nothing": (
        lambda: mps.BilinearScaleNode(x, 0, 4),
        mps.InvalidArgumentError,
        "BilinearScaleNode.*result_width: expected 1 to .*got 0",
    ),
    "a transform of two numbers": (
        lambda: mps.LanczosScaleNode(x, 4, 4, [1.0, 1.0]),
        mps.InvalidArgumentError,
        "LanczosScaleNode.*transform: expected none or 4 numbers.*got 2",
    ),
    "a transform that flattens": (
        lambda: mps.LanczosScaleNode(x, 4, 4, [0.0, 1.0, 0.0, 0.0]),
        mps.InvalidArgumentError,
        "LanczosScaleNode.*transform: expected scales from 2.*got 0",
    ),
    "a gradient of another size": (
        lambda: plan(mps.BilinearScaleGradientNode(g, x, 2, 2), g=(1, 4, 4, 1), x=(1, 4, 4, 1)),
        mps.InvalidArgumentError,
        r"BilinearScaleGradientNode.*source_gradient: expected \(1, 2, 2, 1\)",
    ),
}


def weights(descriptor: mps.ConvolutionDescriptor) -> mps.ConvolutionDataSource:
    """A data source of ones."""
    return mps.ConvolutionDataSource(descriptor, np.ones(descriptor.weight_shape, np.float32))


def depth_wise() -> mps.ConvolutionDataSource:
    """Four channels from two, each by itself."""
    return weights(mps.DepthWiseConvolutionDescriptor(3, 3, 2, 4))


DENSE = mps.ConvolutionDescriptor(3, 3, 2, 4, stride_in_pixels_x=2, stride_in_pixels_y=2)
DILATED = mps.ConvolutionDescriptor(3, 3, 2, 4, dilation_rate_x=2)

CONVOLUTION: dict[str, Row] = {
    "channels that do not make pixels": (
        lambda: weights(mps.SubPixelConvolutionDescriptor(3, 3, 2, 6, 2)),
        mps.InvalidArgumentError,
        r"output_feature_channels: expected a multiple of the square of .*\(2\), got 6",
    ),
    "no factor": (
        lambda: weights(mps.SubPixelConvolutionDescriptor(3, 3, 2, 4, 0)),
        mps.InvalidArgumentError,
        "sub_pixel_scale_factor: expected .*got 0",
    ),
    "a factor whose square is too much": (
        lambda: weights(mps.SubPixelConvolutionDescriptor(3, 3, 2, 4, 1 << 40)),
        mps.InvalidArgumentError,
        "output_feature_channels: expected a multiple of the square",
    ),
    "channels that are no multiple": (
        lambda: mps.ConvolutionDataSource(
            mps.DepthWiseConvolutionDescriptor(3, 3, 2, 3), np.ones((3, 3, 3, 1), np.float32)
        ),
        mps.InvalidArgumentError,
        r"output_feature_channels: expected a multiple of groups \(2\), got 3",
    ),
    "a transposed convolution of other channels": (
        lambda: plan(mps.ConvolutionTransposeNode(x, weights(DENSE)), x=(1, 4, 4, 3)),
        mps.InvalidArgumentError,
        "ConvolutionTransposeNode.*source: expected 2 feature channels, got 3",
    ),
    "a transposed convolution that leaves nothing": (
        lambda: plan(
            mps.ConvolutionTransposeNode(x, weights(DENSE), padding_policy=mps.PaddingPolicy(0)),
            x=(1, 1, 4, 2),
        ),
        mps.InvalidArgumentError,
        "ConvolutionTransposeNode.*source: expected .*at least one row, got 1",
    ),
    "a size that the convolution does not make": (
        lambda: plan(
            mps.ConvolutionTransposeNode(x, weights(DENSE), convolution_source=y),
            x=(1, 4, 4, 2),
            y=(1, 8, 9, 4),
        ),
        mps.InvalidArgumentError,
        "ConvolutionTransposeNode.*convolution_source: expected .*4 columns, got 9",
    ),
    "channels that the result does not have": (
        lambda: plan(
            mps.ConvolutionTransposeNode(x, weights(DENSE), convolution_source=y),
            x=(1, 4, 4, 2),
            y=(1, 8, 8, 3),
        ),
        mps.InvalidArgumentError,
        r"ConvolutionTransposeNode.*convolution_source: expected 1 images of 4 .*\(1, 8, 8, 3\)",
    ),
    "a transposed sub-pixel convolution": (
        lambda: mps.ConvolutionTransposeNode(
            x, weights(mps.SubPixelConvolutionDescriptor(3, 3, 2, 4, 2))
        ),
        mps.InvalidArgumentError,
        "ConvolutionTransposeNode.*weights: expected a descriptor with sub_pixel_scale_factor 1",
    ),
    "binary groups": (
        lambda: mps.BinaryConvolutionNode(x, depth_wise()),
        mps.InvalidArgumentError,
        "BinaryConvolutionNode.*weights: expected a descriptor with groups 1, got 2",
    ),
    "too few scales": (
        lambda: mps.BinaryConvolutionNode(x, weights(DENSE), output_scale_terms=[1.0]),
        mps.InvalidArgumentError,
        "BinaryConvolutionNode.*output_scale_terms: expected none or 4 values.*got 1",
    ),
    "beta over gaps": (
        lambda: mps.BinaryConvolutionNode(x, weights(DILATED), use_beta_scaling=True),
        mps.InvalidArgumentError,
        "BinaryConvolutionNode.*use_beta_scaling: expected false with a dilated window, got true",
    ),
    "a binary layer with strides": (
        lambda: mps.BinaryFullyConnectedNode(x, weights(DENSE)),
        mps.InvalidArgumentError,
        "BinaryFullyConnectedNode.*weights: expected .*strides and dilation rates of 1, got 2",
    ),
    "a binary layer of another size": (
        lambda: plan(
            mps.BinaryFullyConnectedNode(x, weights(mps.ConvolutionDescriptor(3, 3, 2, 4))),
            x=(1, 3, 4, 2),
        ),
        mps.InvalidArgumentError,
        r"BinaryFullyConnectedNode.*source: expected \(1, 3, 3, 2\), got \(1, 3, 4, 2\)",
    ),
    "the derivative of a binary convolution": (
        lambda: mps.BinaryConvolutionNode(x, weights(DENSE), label="bits").training_graph(g),
        mps.InvalidArgumentError,
        'BinaryConvolutionNode "bits": gradient: expected a node that has a derivative',
    ),
}

FAMILIES: dict[str, dict[str, Row]] = {
    "pooling": POOLING,
    "neuron": NEURON,
    "arithmetic": ARITHMETIC,
    "reduction": REDUCTION,
    "shape": SHAPE,
    "convolution": CONVOLUTION,
}


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [row for rows in FAMILIES.values() for row in rows.values()],
    ids=[f"{family}: {name}" for family, rows in FAMILIES.items() for name in rows],
)
def test_bad_input(make: Callable[[], object], error: type[mps.Error], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def encode(device: mps.Device, node: mps.FilterNode, **arrays: np.ndarray) -> np.ndarray:
    """The node's result."""
    commands = mps.CommandBuffer(device.command_queue())
    result = mps.Graph(device, [node.result_image]).encode(commands, arrays)[0]
    commands.commit()
    assert result is not None
    return np.array(result)


def test_nan_is_not_hidden_by_a_pooling(cpu: mps.Device) -> None:
    image = np.zeros((1, 4, 4, 1), np.float32)
    image[0, 0, 0, 0] = np.nan
    for node in (
        mps.PoolingAverageNode(x, 2),
        mps.PoolingL2NormNode(x, 2),
        mps.DilatedPoolingMaxNode(x, 2, 1, 1, 1, dilation_rate_x=1, dilation_rate_y=1),
    ):
        got = encode(cpu, node, x=image)
        assert np.isnan(got[0, 0, 0, 0])
        assert not np.isnan(got).all()


INF, NAN = float("inf"), float("nan")

# What comes out at minus infinity, infinity, NaN, 0 and -200.
LIMITS: dict[str, tuple[mps.FilterNode, list[float]]] = {
    "linear": (mps.NeuronLinearNode(x, 2.0), [-INF, INF, NAN, 0.0, -400.0]),
    "sigmoid": (mps.NeuronSigmoidNode(x), [0.0, 1.0, NAN, 0.5, 0.0]),
    "hard sigmoid": (mps.NeuronHardSigmoidNode(x), [0.0, 1.0, NAN, 0.5, 0.0]),
    "tanh": (mps.NeuronTanHNode(x), [-1.0, 1.0, NAN, 0.0, -1.0]),
    "absolute": (mps.NeuronAbsoluteNode(x), [INF, INF, NAN, 0.0, 200.0]),
    "soft plus": (mps.NeuronSoftPlusNode(x), [0.0, INF, NAN, float(np.log(np.float64(2))), 0.0]),
    "elu": (mps.NeuronELUNode(x), [-1.0, INF, NAN, 0.0, -1.0]),
    "square": (mps.NeuronPowerNode(x, c=2.0), [INF, INF, NAN, 0.0, 40000.0]),
    "odd power": (mps.NeuronPowerNode(x, c=5.0), [-INF, INF, NAN, 0.0, -3.2e11]),
    "reciprocal": (mps.NeuronPowerNode(x, c=-1.0), [0.0, 0.0, NAN, INF, -0.005]),
    "root": (mps.NeuronPowerNode(x, c=0.5), [INF, INF, NAN, 0.0, NAN]),
    "zeroth power": (mps.NeuronPowerNode(x, c=0.0), [1.0, 1.0, 1.0, 1.0, 1.0]),
    "exponential": (mps.NeuronExponentialNode(x), [0.0, INF, NAN, 1.0, 0.0]),
    "logarithm": (mps.NeuronLogarithmNode(x), [NAN, INF, NAN, -INF, NAN]),
    "gelu": (mps.NeuronGeLUNode(x), [NAN, INF, NAN, 0.0, 0.0]),
    "quotient": (mps.DivisionNode(x, x), [NAN, NAN, NAN, NAN, 1.0]),
    "equal": (mps.ComparisonNode(x, x), [1.0, 1.0, 0.0, 1.0, 1.0]),
    "not equal": (
        mps.ComparisonNode(x, x, mps.ComparisonType.NOT_EQUAL),
        [0.0, 0.0, 1.0, 0.0, 0.0],
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_infinities_and_nan_go_through_as_the_formula_says(cpu: mps.Device, name: str) -> None:
    node, expected = LIMITS[name]
    image = np.array([-INF, INF, NAN, 0.0, -200.0], np.float32)
    # As one pixel's channels, and in front of more than a register's width.
    for columns in (1, 7):
        tiled = np.tile(image, columns).reshape(1, 1, columns, 5)
        got = encode(cpu, node, x=tiled)
        np.testing.assert_allclose(got[0, 0], np.tile(expected, (columns, 1)), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["Min", "Max", "ArgumentMin", "ArgumentMax"])
def test_nan_is_not_hidden_by_a_reduction(cpu: mps.Device, kind: str) -> None:
    image = np.zeros((1, 2, 1, 40), np.float32)
    image[0, 1, 0, 37] = NAN
    node = getattr(mps, f"ReductionFeatureChannels{kind}Node")(x)
    expected = 37.0 if kind.startswith("Argument") else NAN
    np.testing.assert_array_equal(encode(cpu, node, x=image)[0, :, 0, 0], [0.0, expected])


def test_a_mask_stops_the_training_graph(cpu: mps.Device) -> None:
    mask = mps.ComparisonNode(x, y, mps.ComparisonType.GREATER)
    mask.result_image.stop_gradient = True
    last = mps.MultiplicationNode(x, mask).training_graph(g)
    values = np.array([1.0, -1.0, 2.0], np.float32).reshape(1, 1, 1, 3)
    zeros = np.zeros_like(values)
    got = encode(cpu, last[0], x=values, y=zeros, g=values)
    np.testing.assert_array_equal(got.ravel(), [1.0, 0.0, 2.0])
