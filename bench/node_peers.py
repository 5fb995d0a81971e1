# SPDX-License-Identifier: MIT
"""PyTorch's counterpart of each row of node_cases.py, written by hand as its users would.

Images lie channels-last, which is NHWC in memory: PyTorch's fast way for most of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as f

Arguments = Mapping[str, Any]
# Sources, weights and bias, arguments of our node: a result.
Peer = Callable[[Sequence[Tensor], Mapping[str, Tensor], Arguments], Tensor]

PEERS: dict[str, Peer] = {}


def unary(function: Callable[[Tensor], Tensor]) -> Peer:
    """Of one source, without parameters."""
    return lambda sources, _weights, _arguments: function(sources[0])


def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Peer:
    """Of two sources."""
    return lambda sources, _weights, _arguments: function(sources[0], sources[1])


def prelu(
    sources: Sequence[Tensor], weights: Mapping[str, Tensor], _arguments: Arguments
) -> Tensor:
    """Slopes a channel."""
    return f.prelu(sources[0], weights["channels"])


def slice_of(sources: Sequence[Tensor], _weights: Any, a: Arguments) -> Tensor:
    """The cut-out, copied."""
    y, x = a["origin_y"], a["origin_x"]
    cut = sources[0][:, :, y : y + a["result_height"], x : x + a["result_width"]]
    return cut.contiguous(memory_format=torch.channels_last)


def reshaped(sources: Sequence[Tensor], _weights: Any, a: Arguments) -> Tensor:
    """Values in NHWC order under another size."""
    image = sources[0].permute(0, 2, 3, 1)
    size = (image.shape[0], a["result_height"], a["result_width"], a["result_feature_channels"])
    return image.reshape(size).clone().permute(0, 3, 1, 2)


def dilated(x: Tensor) -> Tensor:
    """The margin apart: max_pool2d takes at most half of a kernel."""
    margin = f.pad(x, (2, 2, 2, 2), value=-float("inf"))
    return f.max_pool2d(margin, 3, 1, 0, 2)


def spatial(x: Tensor) -> Tensor:
    """By the mean square of a window."""
    return x / (1.0 + f.avg_pool2d(x * x, 5, 1, 2)) ** 0.75


def contrast(x: Tensor) -> Tensor:
    """By mean and variance of a window."""
    mean = f.avg_pool2d(x, 5, 1, 2)
    variance = f.avg_pool2d(x * x, 5, 1, 2) - mean * mean
    return (x - mean) / (2.0**-10 + variance) ** 0.5


def gram(x: Tensor) -> Tensor:
    """Products of channels, summed over the pixels."""
    rows = x.permute(0, 2, 3, 1).flatten(1, 2)
    return torch.bmm(rows.transpose(1, 2), rows)[:, None].permute(0, 3, 1, 2)


def normalized(
    function: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Peer:
    """With gamma and beta."""
    return lambda sources, weights, _a: function(sources[0], weights["gamma"], weights["beta"])


def convolution(**options: Any) -> Peer:
    """With weights and bias."""

    def run(sources: Sequence[Tensor], weights: Mapping[str, Tensor], _a: Arguments) -> Tensor:
        return f.conv2d(sources[0], weights["weights"], weights["bias"], **options)

    return run


def depthwise(sources: Sequence[Tensor], weights: Mapping[str, Tensor], _a: Any) -> Tensor:
    """A kernel a channel."""
    channels = sources[0].shape[1]
    return f.conv2d(sources[0], weights["weights"], weights["bias"], padding=1, groups=channels)


def transposed(sources: Sequence[Tensor], weights: Mapping[str, Tensor], _a: Any) -> Tensor:
    """Weights are (in, out, kernel, kernel)."""
    return f.conv_transpose2d(sources[0], weights["transposed"], weights["bias"], stride=2)


def connected(sources: Sequence[Tensor], weights: Mapping[str, Tensor], _a: Any) -> Tensor:
    """A matrix product."""
    kernel = weights["weights"].flatten(1)
    return f.linear(sources[0].flatten(1), kernel, weights["bias"])[:, :, None, None]


def binary_connected(sources: Sequence[Tensor], weights: Mapping[str, Tensor], _a: Any) -> Tensor:
    """With the signs of the weights."""
    kernel = weights["signs"].flatten(1)
    return f.linear(sources[0].flatten(1), kernel, weights["bias"])[:, :, None, None]


def binary_convolution(sources: Sequence[Tensor], weights: Mapping[str, Tensor], _a: Any) -> Tensor:
    """With the signs of the weights."""
    return f.conv2d(sources[0], weights["signs"], weights["bias"], padding=1)


def rows_of(x: Tensor) -> Tensor:
    """(pixels, channels)."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def gradient_of(function: Callable[[Tensor, Tensor], Tensor]) -> Peer:
    """The gradient of a loss as a result."""

    def run(sources: Sequence[Tensor], _weights: Any, _a: Arguments) -> Tensor:
        with torch.enable_grad():
            predictions = sources[0].detach().requires_grad_()
            loss = function(predictions, sources[1])
            return torch.autograd.grad(loss, predictions)[0]

    return run


def squared(y: Tensor, t: Tensor) -> Tensor:
    """Summed over all."""
    return f.mse_loss(y, t, reduction="sum")


def softmax_entropy(y: Tensor, t: Tensor) -> Tensor:
    """Of labels that are distributions, summed over all."""
    return f.cross_entropy(rows_of(y), rows_of(t), reduction="sum")


PEERS |= {
    "Convolution 3x3": convolution(padding=1),
    "Convolution 1x1": convolution(),
    "Convolution depthwise": depthwise,
    "ConvolutionTranspose": transposed,
    "BinaryConvolution": binary_convolution,
    "BinaryFullyConnected": binary_connected,
    "FullyConnected": connected,
    "NeuronReLU": unary(f.relu),
    "NeuronReLUN": unary(f.relu6),
    "NeuronPReLU": prelu,
    "NeuronLinear": unary(lambda x: torch.add(0.5, x, alpha=1.5)),
    "NeuronSigmoid": unary(torch.sigmoid),
    "NeuronHardSigmoid": unary(f.hardsigmoid),
    "NeuronTanH": unary(torch.tanh),
    "NeuronAbsolute": unary(torch.abs),
    "NeuronSoftPlus": unary(f.softplus),
    "NeuronSoftSign": unary(f.softsign),
    "NeuronELU": unary(f.elu),
    "NeuronPower": unary(lambda x: torch.pow(x, 1.7)),
    "NeuronExponential": unary(torch.exp),
    "NeuronLogarithm": unary(torch.log),
    "NeuronGeLU": unary(f.gelu),
    "PoolingMax 2x2": unary(lambda x: f.max_pool2d(x, 2)),
    "PoolingMax 3x3/1": unary(lambda x: f.max_pool2d(x, 3, 1, 1)),
    "PoolingAverage 2x2": unary(lambda x: f.avg_pool2d(x, 2)),
    "PoolingAverage 3x3/1": unary(lambda x: f.avg_pool2d(x, 3, 1, 1, count_include_pad=False)),
    "PoolingL2Norm": unary(lambda x: f.lp_pool2d(x, 2.0, 2)),
    "DilatedPoolingMax": unary(dilated),
    "UpsamplingNearest": unary(lambda x: f.interpolate(x, scale_factor=2)),
    "UpsamplingBilinear": unary(lambda x: f.interpolate(x, scale_factor=2, mode="bilinear")),
    "UpsamplingBilinear corners": unary(
        lambda x: f.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
    ),
    "BilinearScale": unary(lambda x: f.interpolate(x, scale_factor=2, mode="bilinear")),
    "Addition": binary(torch.add),
    "Addition a channel": binary(torch.add),
    "Subtraction": binary(torch.sub),
    "Multiplication": binary(torch.mul),
    "Division": binary(torch.div),
    "Comparison": binary(lambda a, b: torch.lt(a, b).float()),
    "Pad constant": unary(lambda x: f.pad(x, (1, 1, 1, 1))),
    "Pad mirror": unary(lambda x: f.pad(x, (1, 1, 1, 1), mode="reflect")),
    "Crop": slice_of,
    "Reshape": reshaped,
    "Concatenation": binary(lambda a, b: torch.cat([a, b], 1)),
    "BatchNormalization": normalized(
        lambda x, gamma, beta: f.batch_norm(x, None, None, gamma, beta, training=True)
    ),
    "InstanceNormalization": normalized(
        # Its own instance_norm makes wrong gradients of channels-last images.
        lambda x, gamma, beta: f.group_norm(x, x.shape[1], gamma, beta)
    ),
    "GroupNormalization": normalized(lambda x, gamma, beta: f.group_norm(x, 8, gamma, beta)),
    "SpatialNormalization": unary(spatial),
    "LocalContrastNormalization": unary(contrast),
    "CrossChannelNormalization": unary(lambda x: f.local_response_norm(x, 5, 1.0, 0.75, 1.0)),
    "GramMatrixCalculation": unary(gram),
    "Dropout": unary(lambda x: f.dropout(x, 0.5)),
    "SoftMax": unary(lambda x: torch.softmax(x, 1)),
    "SoftMax classes": unary(lambda x: torch.softmax(x, 1)),
    "LogSoftMax": unary(lambda x: torch.log_softmax(x, 1)),
    "ForwardLoss squared": binary(squared),
    "ForwardLoss softmax": binary(softmax_entropy),
    "Loss squared": gradient_of(squared),
    "Loss softmax": gradient_of(softmax_entropy),
    "InitialGradient": unary(torch.ones_like),
}


def along(function: Callable[..., Tensor], dim: int) -> Peer:
    """A reduction that keeps the dimension."""
    return lambda sources, _weights, _arguments: function(sources[0], dim, keepdim=True)


DIMENSIONS = {"Row": 3, "Column": 2, "FeatureChannels": 1}
REDUCTIONS = {"Min": torch.amin, "Max": torch.amax, "Mean": torch.mean, "Sum": torch.sum}
PEERS |= {
    f"Reduction{axis}{kind}": along(function, dim)
    for axis, dim in DIMENSIONS.items()
    for kind, function in REDUCTIONS.items()
}
PEERS |= {
    "ReductionFeatureChannelsArgumentMin": unary(lambda x: torch.argmin(x, 1, keepdim=True)),
    "ReductionFeatureChannelsArgumentMax": unary(lambda x: torch.argmax(x, 1, keepdim=True)),
    "ReductionSpatialMean": unary(lambda x: torch.mean(x, (2, 3), keepdim=True)),
}
