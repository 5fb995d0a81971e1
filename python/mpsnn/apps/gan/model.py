# SPDX-License-Identifier: MIT
"""Generator and discriminator, and the two training graphs in which they meet.

The generator makes a picture of random numbers; the discriminator says whether a picture is real.
Both training graphs use the same data sources, so that each sees the other's latest weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import mpsnn as mps
from mpsnn.initializers import RandomNumbers, normal

KERNEL = 4  # of all layers with a stride of 2, so that each pixel is covered alike
HALVINGS = 2
MOMENTUM = 0.9
EPSILON = 1e-5
SLOPE = 0.2  # of the discriminator's ReLUs below 0


@dataclass(frozen=True)
class ModelOptions:
    """Size of the nets.

    Args:
        edge: Height and width of the pictures, a multiple of 4.
        latent: Random numbers that a picture is made of.
        width: Channels at half size; twice as many at a quarter.
        seed: Seed of the first weights.
    """

    edge: int = 8
    latent: int = 32
    width: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if self.edge < 1 << HALVINGS or self.edge % (1 << HALVINGS):
            raise mps.InvalidArgumentError(
                f"gan: edge: expected a multiple of {1 << HALVINGS}, got {self.edge}"
            )
        for name in ("latent", "width"):
            if getattr(self, name) < 1:
                raise mps.InvalidArgumentError(
                    f"gan: {name}: expected 1 or more, got {getattr(self, name)}"
                )


class _Weights:
    """Makes data sources with fresh weights."""

    def __init__(self, seed: int, optimizer: mps.Optimizer | None) -> None:
        self._numbers = RandomNumbers(seed)
        self._optimizer = optimizer

    def convolution(
        self, name: str, kernel: int, inputs: int, outputs: int, stride: int = 1, *, fan_in: int = 0
    ) -> mps.ConvolutionDataSource:
        descriptor = mps.ConvolutionDescriptor(
            kernel, kernel, inputs, outputs, stride_in_pixels_x=stride, stride_in_pixels_y=stride
        )
        deviation = (2.0 / (fan_in or kernel * kernel * inputs)) ** 0.5
        weights = normal((outputs, kernel, kernel, inputs), self._numbers, 0.0, deviation)
        bias = np.zeros(outputs, np.float32)
        return mps.ConvolutionDataSource(descriptor, weights, bias, name, self._optimizer)

    def normalization(self, name: str, channels: int) -> mps.BatchNormalizationDataSource:
        return mps.BatchNormalizationDataSource(
            channels, epsilon=EPSILON, momentum=MOMENTUM, label=name, optimizer=self._optimizer
        )


class Generator:
    """Random numbers to pictures: a fully connected layer and two transposed convolutions.

    Args:
        options: The net's size.
        optimizer: Updates all weights where a training graph is made.
    """

    def __init__(self, options: ModelOptions, optimizer: mps.Optimizer | None = None) -> None:
        self.options = options
        self._base = options.edge >> HALVINGS
        make = _Weights(options.seed, optimizer)
        w, cells = options.width, self._base**2
        self._seed = make.convolution("generator.seed", 1, options.latent, 2 * w * cells)
        self._half = make.convolution("generator.half", KERNEL, 2 * w, w, 2, fan_in=8 * w)
        self._whole = make.convolution("generator.whole", KERNEL, w, 1, 2, fan_in=8 * w)
        self._norms = [
            make.normalization("generator.norm0", 2 * w),
            make.normalization("generator.norm1", w),
        ]
        self.sources = [self._seed, self._half, self._whole, *self._norms]

    def __call__(self, noise: mps.ImageNode) -> mps.ImageNode:
        """Applies the net.

        Args:
            noise: (N, 1, 1, latent).

        Returns:
            Pictures (N, edge, edge, 1), -1 to 1.
        """
        base, pads = self._base, mps.PaddingPolicy.with_pads(1, 1, 1, 1)
        x: mps.FilterNode = mps.FullyConnectedNode(noise, self._seed, label="seed")
        x = mps.ReshapeNode(x, base, base, 2 * self.options.width, label="cells")
        x = mps.BatchNormalizationNode(x, self._norms[0], label="norm0")
        x = mps.NeuronReLUNode(x, label="relu0")
        x = mps.ConvolutionTransposeNode(x, self._half, label="half", padding_policy=pads)
        x = mps.BatchNormalizationNode(x, self._norms[1], label="norm1")
        x = mps.NeuronReLUNode(x, label="relu1")
        x = mps.ConvolutionTransposeNode(x, self._whole, label="whole", padding_policy=pads)
        return mps.NeuronTanHNode(x, label="picture").result_image


class Discriminator:
    """Pictures to one number each, above 0 where the picture is taken for a real one.

    Args:
        options: The net's size.
        optimizer: Updates all weights where a training graph is made.
    """

    def __init__(self, options: ModelOptions, optimizer: mps.Optimizer | None = None) -> None:
        make = _Weights(options.seed + 1, optimizer)
        w, base = options.width, options.edge >> HALVINGS
        self.sources = [
            make.convolution("discriminator.half", KERNEL, 1, w, 2),
            make.convolution("discriminator.quarter", KERNEL, w, 2 * w, 2),
            make.convolution("discriminator.logit", base, 2 * w, 1),
        ]

    def __call__(self, picture: mps.ImageNode, label: str, *, frozen: bool = False) -> mps.ImageNode:
        """Applies the net.

        Args:
            picture: (N, edge, edge, 1).
            label: Begins the nodes' labels.
            frozen: A training graph goes through and leaves the weights as they are.

        Returns:
            Logits (N, 1, 1, 1).
        """
        pads = mps.PaddingPolicy.with_pads(1, 1, 1, 1)
        half, quarter, logit = self.sources
        first = mps.ConvolutionNode(picture, half, label=f"{label}.half", padding_policy=pads)
        x = mps.NeuronReLUNode(first, SLOPE, label=f"{label}.relu0")
        second = mps.ConvolutionNode(x, quarter, label=f"{label}.quarter", padding_policy=pads)
        x = mps.NeuronReLUNode(second, SLOPE, label=f"{label}.relu1")
        last = mps.FullyConnectedNode(x, logit, label=f"{label}.logit")
        if frozen:
            for node in (first, second, last):
                node.training_style = mps.TrainingStyle.UPDATE_DEVICE_NONE
        return last.result_image


def _loss(logits: mps.ImageNode, labels: str, batch: int, label: str) -> mps.ImageNode:
    descriptor = mps.LossDescriptor(
        mps.LossType.SIGMOID_CROSS_ENTROPY, mps.ReductionType.SUM, weight=1.0 / batch
    )
    node = mps.ForwardLossNode(logits, mps.ImageNode(labels), descriptor, label=label)
    return node.result_image


def _training(device: mps.Device, loss: mps.ImageNode) -> mps.Graph:
    loss.handle, loss.export_from_graph = "loss", True
    last = mps.InitialGradientNode(loss, label="start").training_graph()
    return mps.Graph(
        device, [node.result_image for node in last], results_are_needed=[False] * len(last)
    )


def build_generator(device: mps.Device, generator: Generator) -> mps.Graph:
    """Compiles the generator for use.

    Args:
        device: Where it shall run.
        generator: The net.

    Returns:
        A graph from "noise" (N, 1, 1, latent) to "picture" (N, edge, edge, 1).
    """
    picture = generator(mps.ImageNode("noise"))
    picture.handle = "picture"
    return mps.Graph(device, [picture])


def build_generator_training(
    device: mps.Device, generator: Generator, discriminator: Discriminator, batch: int
) -> mps.Graph:
    """Compiles the generator's step: one loss, that its pictures are not taken for real ones.

    The gradient goes through the discriminator, whose weights stay.

    Args:
        device: Where it shall run.
        generator: Its data sources carry an optimizer.
        discriminator: Applied, not trained.
        batch: Pictures of a step.

    Returns:
        A graph of "noise" (N, 1, 1, latent) and "real" (N, 1, 1, 1), the label of real pictures;
        exports "picture" and "loss", one value a picture, whose sum is the batch's mean.
    """
    picture = generator(mps.ImageNode("noise"))
    picture.handle, picture.export_from_graph = "picture", True
    logits = discriminator(picture, "judged", frozen=True)
    return _training(device, _loss(logits, "real", batch, "loss.generator"))


def build_discriminator_training(
    device: mps.Device, discriminator: Discriminator, batch: int
) -> mps.Graph:
    """Compiles the discriminator's step: the losses of simulated and of real pictures, added.

    Args:
        device: Where it shall run.
        discriminator: Its data sources carry an optimizer; both applications share them.
        batch: Pictures of a step, of each kind.

    Returns:
        A graph of "simulated" and "pictures" (N, edge, edge, 1) and their labels "fake" and "real"
        (N, 1, 1, 1); exports "loss", one value a pair, whose sum is the batch's mean.
    """
    simulated, pictures = mps.ImageNode("simulated"), mps.ImageNode("pictures")
    simulated.stop_gradient = pictures.stop_gradient = True
    fake = _loss(discriminator(simulated, "simulated"), "fake", batch, "loss.simulated")
    real = _loss(discriminator(pictures, "real"), "real", batch, "loss.real")
    return _training(device, mps.AdditionNode(fake, real, label="loss").result_image)
