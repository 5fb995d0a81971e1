# SPDX-License-Identifier: MIT
"""The denoiser's net, and the training graph that follows from it.

Three sources of four channels each (red, green, blue, and one that stays zero) are concatenated to
one image of twelve channels. An encoder of convolutions and poolings, a bottleneck, and a decoder
of upsamplings that adds the encoder's results back in lead to a last convolution to RGB.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

import mpsnn as mps
from mpsnn.initializers import RandomNumbers, he_normal

INPUTS = ("noisy", "albedo", "normals")
INPUT_CHANNELS = 4
COLOURS = 3
EDGE_LABEL = "edges"

# Laplacian of Gaussian on 5 x 5 pixels: answers to edges, ignores flat colour.
LAPLACIAN_OF_GAUSSIAN = (
    np.array(
        [
            [0, 0, 1, 0, 0],
            [0, 1, 2, 1, 0],
            [1, 2, -16, 2, 1],
            [0, 1, 2, 1, 0],
            [0, 0, 1, 0, 0],
        ],
        np.float32,
    )
    / 16.0
)


@dataclass(frozen=True)
class ModelOptions:
    """Size of the net.

    Args:
        widths: Channels of the encoder's stages, the finest first; their number is the depth.
        convolutions: Convolution and ReLU pairs of an encoder stage and of the bottleneck.
        seed: Seed of the first weights.
    """

    widths: tuple[int, ...] = (32, 64, 128)
    convolutions: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.widths or min(self.widths) < 1:
            raise mps.InvalidArgumentError(
                f"widths: expected at least one stage of 1 channel or more, got {self.widths}"
            )
        if self.convolutions < 1:
            raise mps.InvalidArgumentError(
                f"convolutions: expected 1 or more a stage, got {self.convolutions}"
            )

    @property
    def divisor(self) -> int:
        """What height and width must be multiples of: two to the number of poolings."""
        return 1 << len(self.widths)

    def check_size(self, height: int, width: int) -> None:
        """Checks that the poolings can divide a picture.

        Raises:
            InvalidArgumentError: Height or width is not a multiple of `divisor`.
        """
        if height % self.divisor or width % self.divisor:
            raise mps.InvalidArgumentError(
                f"denoiser: height and width: expected multiples of {self.divisor} "
                f"({len(self.widths)} poolings), got {height} x {width}"
            )


@dataclass
class Net:
    """The net's nodes that others connect to, and its weights in the order they are used."""

    sources: dict[str, mps.ImageNode]
    output: mps.ImageNode
    weights: list[mps.ConvolutionDataSource] = field(default_factory=list)


class _Builder:
    """Makes convolutions with fresh weights and keeps the weights."""

    def __init__(self, options: ModelOptions, optimizer: mps.Optimizer | None) -> None:
        self.weights: list[mps.ConvolutionDataSource] = []
        self._numbers = RandomNumbers(options.seed)
        self._optimizer = optimizer

    def convolution(
        self, image: mps.ImageNode, inputs: int, outputs: int, label: str
    ) -> mps.ImageNode:
        descriptor = mps.ConvolutionDescriptor(3, 3, inputs, outputs)
        values = he_normal((outputs, 3, 3, inputs), self._numbers)
        source = mps.ConvolutionDataSource(
            descriptor, values, np.zeros(outputs, np.float32), label, self._optimizer
        )
        self.weights.append(source)
        return mps.ConvolutionNode(image, source).result_image

    def stage(self, image: mps.ImageNode, channels: Sequence[int], label: str) -> mps.ImageNode:
        """Convolution and ReLU for each pair of neighbours in `channels`."""
        for index, (inputs, outputs) in enumerate(itertools.pairwise(channels)):
            image = self.convolution(image, inputs, outputs, f"{label}.{index}")
            image = mps.NeuronReLUNode(image, label=f"{label}.{index}.relu").result_image
        return image


def build_net(options: ModelOptions, optimizer: mps.Optimizer | None = None) -> Net:
    """Makes the nodes of the net with fresh weights.

    Args:
        options: The net's size.
        optimizer: Updates all weights where a training graph is made; None: they stay.

    Returns:
        The net; its sources are named "noisy", "albedo" and "normals", (N, H, W, 4) each.
    """
    build = _Builder(options, optimizer)
    sources = {name: mps.ImageNode(name) for name in INPUTS}
    image = mps.ConcatenationNode(list(sources.values()), label="inputs").result_image
    channels, skips = INPUT_CHANNELS * len(INPUTS), []
    for stage, width in enumerate(options.widths):
        image = build.stage(image, [channels] + [width] * options.convolutions, f"encoder{stage}")
        skips.append(image)
        image = mps.PoolingMaxNode(image, 2, 2, 2, 2, label=f"encoder{stage}.pool").result_image
        channels = width
    image = build.stage(image, [channels] * (options.convolutions + 1), "bottleneck")
    for stage, width in reversed(list(enumerate(options.widths))):
        below = options.widths[max(stage - 1, 0)]
        up = mps.UpsamplingBilinearNode(image, 2, 2, label=f"decoder{stage}.up")
        joined = mps.AdditionNode(up.result_image, skips[stage], label=f"decoder{stage}.skip")
        image = build.stage(joined.result_image, [width, width, below], f"decoder{stage}")
    return Net(sources, build.convolution(image, options.widths[0], COLOURS, "rgb"), build.weights)


def build_inference(device: mps.Device, net: Net) -> mps.Graph:
    """Compiles the net for use.

    Args:
        device: Where it shall run.
        net: The net.

    Returns:
        A graph from "noisy", "albedo" and "normals" to "denoised", (N, H, W, 3).
    """
    net.output.handle = "denoised"
    return mps.Graph(device, [net.output])


def build_training(
    device: mps.Device, net: Net, batch: int, size: tuple[int, int], edge_weight: float = 1.0
) -> mps.Graph:
    """Compiles the net with its losses and the training graph that they imply.

    Two squared errors are added: one of the colours, and one of their edges, both sides filtered by
    a fixed Laplacian of Gaussian. The losses are sums with a weight of one over the number of
    values, because a loss's reduction does not scale its gradient.

    Args:
        device: Where it shall run.
        net: The net; its data sources carry the optimizer.
        batch: Images of a step.
        size: Height and width in pixels.
        edge_weight: Weight of the edges' loss beside the colours'.

    Returns:
        A graph of the net's sources and "clean" (N, H, W, 3) that exports "loss", one value an
        image; their sum is the mean over the batch.
    """
    clean = mps.ImageNode("clean")
    kernel = np.zeros((COLOURS, 5, 5, COLOURS), np.float32)
    for colour in range(COLOURS):
        kernel[colour, :, :, colour] = LAPLACIAN_OF_GAUSSIAN
    edges = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(5, 5, COLOURS, COLOURS), kernel, label=EDGE_LABEL
    )
    weight = 1.0 / (batch * size[0] * size[1] * COLOURS)

    def squared_error(
        image: mps.ImageNode, target: mps.ImageNode, factor: float, label: str
    ) -> mps.ImageNode:
        descriptor = mps.LossDescriptor(
            mps.LossType.MEAN_SQUARED_ERROR, mps.ReductionType.SUM, weight=weight * factor
        )
        return mps.ForwardLossNode(image, target, descriptor, label=label).result_image

    colour_loss = squared_error(net.output, clean, 1.0, "loss.colour")
    edge_loss = squared_error(
        mps.ConvolutionNode(net.output, edges, label="edges.denoised").result_image,
        mps.ConvolutionNode(clean, edges, label="edges.clean").result_image,
        edge_weight,
        "loss.edges",
    )
    loss = mps.AdditionNode(colour_loss, edge_loss, label="loss").result_image
    loss.handle, loss.export_from_graph = "loss", True
    start = mps.InitialGradientNode(loss, label="start")
    last = start.training_graph()
    return mps.Graph(device, [last[0].result_image], results_are_needed=[False])
