# SPDX-License-Identifier: MIT
"""Generator and discriminator, and the training graphs that follow from them.

The generator makes a picture from random numbers and the digit that is asked for, by transposed
convolutions, each with batch normalisation and a ReLU, the last with a tanh. The discriminator
answers with one number for each digit: high for a real picture of that one; of the digit asked for
it counts. Each graph has nodes of its own; the weights live in the data sources of
`Nets`, so that what one graph trains is what the others read.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

import mpsnn as mps
from mpsnn.apps.gan.data import CLASSES
from mpsnn.initializers import RandomNumbers, normal

# Generator and discriminator halve or double the edge this often.
SCALINGS = 2
DIVISOR = 1 << SCALINGS
KERNEL = 4
LEAK = 0.2
# As in the DCGAN paper (Radford et al. 2015): small normal weights.
DEVIATION = 0.02
EPSILON = 1e-5

LATENT, REAL, SAMPLES, LOSS = "latent", "real", "samples", "loss"
FAKE_LABELS, REAL_LABELS = "fake labels", "real labels"
DIGITS = "digits"  # which digit each picture shows or shall show, (N, 1, 1, 10), 1 there and else 0


@dataclass(frozen=True)
class ModelOptions:
    """Size of both nets.

    Args:
        edge: Height and width of the pictures, a multiple of 4.
        latent: Random numbers that a picture is made of.
        width: Channels of both nets where the pictures are largest; they double with each halving.
        dropout: Share of its values that the discriminator drops in training, so that it does not
            learn a small set by heart; 0: none.
        seed: Seed of the first weights.
    """

    edge: int = 16
    latent: int = 32
    width: int = 32
    dropout: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.edge < DIVISOR or self.edge % DIVISOR:
            raise mps.InvalidArgumentError(
                f"gan: edge: expected a multiple of {DIVISOR}, got {self.edge}"
            )
        for name, smallest in {"latent": 1, "width": 1, "seed": 0}.items():
            if getattr(self, name) < smallest:
                raise mps.InvalidArgumentError(
                    f"gan: {name}: expected {smallest} or more, got {getattr(self, name)}"
                )
        if not 0.0 <= self.dropout < 1.0:
            raise mps.InvalidArgumentError(
                f"gan: dropout: expected from 0 to below 1, got {self.dropout}"
            )


class Nets:
    """The weights of both nets, and builders of the graphs that use them.

    Args:
        options: Size of the nets.
        generator_optimizer: Updates the generator's weights; None: they stay.
        discriminator_optimizer: Updates the discriminator's; None: they stay.

    Attributes:
        generator: The generator's data sources by name.
        norms: Its normalisations, by the names of the layers before them.
        discriminator: The discriminator's data sources by name.
        discriminator_norms: Its normalisations.
    """

    def __init__(
        self,
        options: ModelOptions,
        generator_optimizer: mps.Optimizer | None = None,
        discriminator_optimizer: mps.Optimizer | None = None,
    ) -> None:
        self.options = options
        numbers = RandomNumbers(options.seed)
        start, width = options.edge // DIVISOR, options.width

        def convolution(
            label: str, kernel: int, inputs: int, outputs: int, optimizer: mps.Optimizer | None
        ) -> mps.ConvolutionDataSource:
            stride = 2 if label.endswith(("up", "down")) else 1
            descriptor = mps.ConvolutionDescriptor(
                kernel,
                kernel,
                inputs,
                outputs,
                stride_in_pixels_x=stride,
                stride_in_pixels_y=stride,
            )
            weights = normal((outputs, kernel, kernel, inputs), numbers, 0.0, DEVIATION)
            bias = np.zeros(outputs, np.float32)
            return mps.ConvolutionDataSource(descriptor, weights, bias, label, optimizer)

        self.generator = {
            label: convolution(f"generator.{label}", kernel, inputs, outputs, generator_optimizer)
            for label, kernel, inputs, outputs in (
                ("start", start, options.latent + CLASSES, 4 * width),
                ("first.up", KERNEL, 4 * width, 2 * width),
                ("second.up", KERNEL, 2 * width, 1),
            )
        }

        def normalisation(
            weights: mps.ConvolutionDataSource, optimizer: mps.Optimizer | None
        ) -> mps.BatchNormalizationDataSource:
            return mps.BatchNormalizationDataSource(
                weights.descriptor.output_feature_channels,
                epsilon=EPSILON,
                momentum=0.9,
                label=f"{weights.label}.norm",
                optimizer=optimizer,
            )

        self.norms = {
            label: normalisation(self.generator[label], generator_optimizer)
            for label in ("start", "first.up")
        }
        self.discriminator = {
            label: convolution(
                f"discriminator.{label}", kernel, inputs, outputs, discriminator_optimizer
            )
            for label, kernel, inputs, outputs in (
                ("first.down", KERNEL, 1, 2 * width),
                ("second.down", KERNEL, 2 * width, 4 * width),
                ("last", start, 4 * width, CLASSES),
            )
        }
        self.discriminator_norms = {
            "second.down": normalisation(self.discriminator["second.down"], discriminator_optimizer)
        }

    def generate(
        self, latent: mps.ImageNode, digits: mps.ImageNode, *, frozen: bool = False
    ) -> mps.ImageNode:
        """The generator's nodes.

        Args:
            latent: Random numbers, (N, 1, 1, latent).
            digits: The digits to draw, (N, 1, 1, 10).
            frozen: For a graph that trains something else: use the statistics of the batch, as in
                training, and leave the stored ones alone.

        Returns:
            Pictures from -1 to 1, (N, edge, edge, 1).
        """
        image = mps.ConcatenationNode([latent, digits], label="generator.source").result_image
        for label, weights in self.generator.items():
            # One pixel becomes a square of the kernel's size; later ones double the edge.
            pad = 0 if label == "start" else 1
            image = mps.ConvolutionTransposeNode(
                image,
                weights,
                label=f"generator.{label}",
                padding_policy=mps.PaddingPolicy.with_pads(pad, pad, pad, pad),
            ).result_image
            if label in self.norms:
                flags = mps.BatchNormalizationFlags
                image = self._normalise(
                    image,
                    self.norms[label],
                    flags.CALCULATE_STATISTICS_ALWAYS if frozen else flags.DEFAULT,
                    f"generator.{label}.norm",
                    frozen=frozen,
                )
                image = mps.NeuronReLUNode(image, label=f"generator.{label}.relu").result_image
        return mps.NeuronTanHNode(image, label="generator.tanh").result_image

    def _normalise(
        self,
        image: mps.ImageNode,
        norm: mps.BatchNormalizationDataSource,
        flags: mps.BatchNormalizationFlags,
        label: str,
        *,
        frozen: bool,
    ) -> mps.ImageNode:
        node = mps.BatchNormalizationNode(image, norm, flags, label=label)
        if frozen:
            node.training_style = mps.TrainingStyle.UPDATE_DEVICE_NONE
        return node.result_image

    def discriminate(
        self,
        picture: mps.ImageNode,
        digits: mps.ImageNode,
        role: str,
        *,
        frozen: bool = False,
    ) -> mps.ImageNode:
        """The discriminator's nodes.

        Its normalisation always takes the statistics of the batch, which is all simulated or all
        real: it is never used on single pictures.

        Args:
            picture: Pictures from -1 to 1, (N, edge, edge, 1).
            digits: Which digits they should show, (N, 1, 1, 10).
            role: Which pictures they are, for the nodes' labels.
            frozen: Its weights stay; gradients go through it all the same.

        Returns:
            The answer before the sigmoid, (N, 1, 1, 1).
        """
        image = picture
        for label, weights in self.discriminator.items():
            name = f"discriminator.{label}.{role}"
            node: mps.FilterNode
            if label == "last":
                node = mps.FullyConnectedNode(image, weights, label=name)
            else:
                policy = mps.PaddingPolicy.with_pads(1, 1, 1, 1)
                node = mps.ConvolutionNode(image, weights, label=name, padding_policy=policy)
            if frozen:
                node.training_style = mps.TrainingStyle.UPDATE_DEVICE_NONE
            image = node.result_image
            if label in self.discriminator_norms:
                image = self._normalise(
                    image,
                    self.discriminator_norms[label],
                    mps.BatchNormalizationFlags.CALCULATE_STATISTICS_ALWAYS,
                    f"{name}.norm",
                    frozen=frozen,
                )
            if label != "last":
                image = mps.NeuronReLUNode(image, LEAK, label=f"{name}.relu").result_image
                image = self._drop(image, name)
        asked = mps.MultiplicationNode(image, digits, label=f"discriminator.asked.{role}")
        answer = mps.ReductionFeatureChannelsSumNode(asked, label=f"discriminator.answer.{role}")
        return answer.result_image

    def _drop(self, image: mps.ImageNode, name: str) -> mps.ImageNode:
        if self.options.dropout == 0.0:
            return image
        seed = zlib.crc32(name.encode()) ^ self.options.seed  # a sequence a node
        label = f"{name}.dropout"
        return mps.DropoutNode(image, 1.0 - self.options.dropout, seed, label=label).result_image

    def inference(self, device: mps.Device) -> mps.Graph:
        """Compiles the generator for use, with the stored statistics.

        Args:
            device: Where it shall run.

        Returns:
            A graph from "latent" (N, 1, 1, latent) and "digits" (N, 1, 1, 10) to "samples"
            (N, edge, edge, 1).
        """
        samples = self.generate(mps.ImageNode(LATENT), mps.ImageNode(DIGITS))
        samples.handle = SAMPLES
        return mps.Graph(device, [samples])

    def discriminator_training(self, device: mps.Device, batch: int) -> mps.Graph:
        """Compiles the discriminator's step: two losses, of simulated and of real pictures.

        The generator runs in the same graph, and no gradient goes into it.

        Args:
            device: Where it shall run.
            batch: Pictures of each kind in a step.

        Returns:
            A graph of "latent", "digits", "real" (N, edge, edge, 1), "fake labels" and "real
            labels" (N, 1, 1, 1) that exports "loss", one value a pair; their sum is the mean.
        """
        digits = mps.ImageNode(DIGITS)
        simulated = self.generate(mps.ImageNode(LATENT), digits, frozen=True)
        simulated.stop_gradient = True
        fake, real = (
            _loss(self.discriminate(picture, digits, role), labels, batch, role)
            for picture, role, labels in (
                (simulated, "fake", FAKE_LABELS),
                (mps.ImageNode(REAL), "real", REAL_LABELS),
            )
        )
        both = mps.AdditionNode(fake, real, label="discriminator.loss").result_image
        return _training_graph(device, both, "discriminator step")

    def generator_training(self, device: mps.Device, batch: int) -> mps.Graph:
        """Compiles the generator's step: one loss, of simulated pictures labelled real.

        The gradient goes through the discriminator, whose weights stay.

        Args:
            device: Where it shall run.
            batch: Pictures of a step.

        Returns:
            A graph of "latent", "digits" and "real labels" that exports "loss", one value a
            picture.
        """
        digits = mps.ImageNode(DIGITS)
        simulated = self.generate(mps.ImageNode(LATENT), digits)
        answer = self.discriminate(simulated, digits, "fake", frozen=True)
        loss = _loss(answer, REAL_LABELS, batch, "generator")
        return _training_graph(device, loss, "generator step")


def _loss(answer: mps.ImageNode, labels: str, batch: int, role: str) -> mps.ImageNode:
    """Cross entropy with a weight of one over the batch: reductions do not scale gradients."""
    descriptor = mps.LossDescriptor(
        mps.LossType.SIGMOID_CROSS_ENTROPY, mps.ReductionType.SUM, weight=1.0 / batch
    )
    label = f"loss.{role}"
    return mps.ForwardLossNode(answer, mps.ImageNode(labels), descriptor, label=label).result_image


def _training_graph(device: mps.Device, loss: mps.ImageNode, label: str) -> mps.Graph:
    loss.handle, loss.export_from_graph = LOSS, True
    ends = mps.InitialGradientNode(loss).training_graph()
    graph = mps.Graph(device, [end.result_image for end in ends], [False] * len(ends))
    graph.label = label
    return graph
