# SPDX-License-Identifier: MIT
"""How good samples are, by a small classifier that was trained on the real digits.

A sample counts as recognised where the classifier gives the digit that was asked for a probability
of 0.9 or more. The spread is the entropy of the recognised digits' frequencies, 1 where all ten are
equally frequent and 0 where there is only one: a generator that cannot draw some shows there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn.apps.gan.data import CLASSES, Digits, FloatArray, one_hot
from mpsnn.initializers import RandomNumbers, he_normal
from mpsnn.training import Batch, StepSchedule, Trainer

CONFIDENT = 0.9
WIDTH = 16
BATCH = 32
RATE = 2e-3
EPOCHS = 12
MNIST_EPOCHS = 1
LARGE_SET = 10_000
TRAINED_SHARE = 0.8


@dataclass(frozen=True)
class Quality:
    """What the classifier says of samples.

    Args:
        recognised: Share of samples that are the digit asked for with confidence.
        spread: Entropy of the recognised digits, from 0 to 1.
        counts: Recognised samples of each digit.
    """

    recognised: float
    spread: float
    counts: tuple[int, ...]

    def __str__(self) -> str:
        return (
            f"{100 * self.recognised:.1f} % recognised, spread {self.spread:.3f}, "
            f"of each digit {' '.join(map(str, self.counts))}"
        )


def quality_of(probabilities: FloatArray, asked: NDArray[np.int64]) -> Quality:
    """The quality of samples.

    Args:
        probabilities: Of each sample and digit, (N, 10).
        asked: The digits that were asked for, (N,).
    """
    confident = probabilities[np.arange(len(asked)), asked] >= CONFIDENT
    counts = np.bincount(asked[confident], minlength=CLASSES)
    shares = counts[counts > 0] / max(1, counts.sum())
    spread = abs(float(np.sum(shares * np.log(shares)))) / math.log(CLASSES)
    return Quality(float(confident.mean()), spread, tuple(int(count) for count in counts))


class Classifier:
    """Tells digits apart.

    Args:
        graph: From "pictures" to "probabilities".
        accuracy: Share of right answers on digits it was not trained on.
    """

    def __init__(self, graph: mps.Graph, accuracy: float) -> None:
        self.graph = graph
        self.accuracy = accuracy
        self._queue = graph.device.command_queue("classifier")

    @classmethod
    def trained(
        cls,
        digits: Digits,
        device: mps.Device,
        seed: int = 0,
        epochs: int | None = None,
        *,
        progress: bool = False,
    ) -> Classifier:
        """Trains one on four fifths of the digits and tests it on the others.

        Args:
            digits: The real digits.
            device: Where it is trained and used.
            seed: Of first weights and order.
            epochs: Passes over the digits; None: 12, or 1 of a set of 10000 or more.
            progress: Draw a progress bar.

        Raises:
            KeyboardInterrupt: Ctrl-C ended the training: a judge that is half trained judges wrong.
        """
        if epochs is None:
            epochs = MNIST_EPOCHS if len(digits) >= LARGE_SET else EPOCHS
        seen, unseen = digits.split(TRAINED_SHARE, seed)
        batch = min(BATCH, len(seen))
        net = ClassifierNet(digits.edge, mps.OptimizerAdam(RATE), seed)

        def batches(_epoch: int, generator: np.random.Generator) -> Iterator[Batch]:
            for pictures, labels in seen.batches(batch, generator):
                yield {"pictures": pictures, "labels": one_hot(labels)}

        trainer = Trainer(
            net.training(device, batch),
            batches,
            schedule=StepSchedule(RATE, 4),
            seed=seed,
            progress=progress,
            title="judge",
            steps=len(seen) // batch,
        )
        trainer.run(epochs)
        if trainer.interrupted:
            raise KeyboardInterrupt
        classifier = cls(net.inference(device), 0.0)
        guesses = classifier(unseen.pictures).argmax(axis=1)
        classifier.accuracy = float(np.mean(guesses == unseen.labels))
        return classifier

    def __call__(self, pictures: FloatArray) -> FloatArray:
        """Probabilities of the ten digits.

        Args:
            pictures: (N, edge, edge, 1).

        Returns:
            (N, 10).
        """
        commands = mps.CommandBuffer(self._queue)
        outputs = self.graph.encode(commands, {"pictures": pictures})
        commands.commit()
        commands.wait_until_completed()
        return np.array(outputs["probabilities"], np.float32).reshape(len(pictures), CLASSES)

    def quality(self, samples: FloatArray, asked: NDArray[np.int64]) -> Quality:
        """The quality of samples (N, edge, edge, 1) of the digits asked for (N,)."""
        return quality_of(self(samples), asked)


class ClassifierNet:
    """Two convolutions with ReLU and pooling, and a fully connected layer.

    Args:
        edge: Height and width of the pictures, a multiple of 4.
        optimizer: Updates the weights.
        seed: Of the first weights.

    Attributes:
        weights: The data sources of the three layers.
    """

    def __init__(self, edge: int, optimizer: mps.Optimizer, seed: int) -> None:
        numbers = RandomNumbers(seed)
        self.weights = [
            mps.ConvolutionDataSource(
                mps.ConvolutionDescriptor(kernel, kernel, inputs, outputs),
                he_normal((outputs, kernel, kernel, inputs), numbers),
                np.zeros(outputs, np.float32),
                f"classifier.{index}",
                optimizer,
            )
            for index, (kernel, inputs, outputs) in enumerate(
                ((3, 1, WIDTH), (3, WIDTH, 2 * WIDTH), (edge // 4, 2 * WIDTH, CLASSES))
            )
        ]

    def answer(self) -> mps.ImageNode:
        """The nodes from "pictures" to the answer before the softmax."""
        image = mps.ImageNode("pictures")
        *convolutions, last = self.weights
        for weights in convolutions:
            neuron = mps.NeuronReLUNode(mps.ConvolutionNode(image, weights))
            image = mps.PoolingMaxNode(neuron, 2, 2, 2, 2).result_image
        return mps.FullyConnectedNode(image, last).result_image

    def inference(self, device: mps.Device) -> mps.Graph:
        """The graph from "pictures" to "probabilities"."""
        probabilities = mps.SoftMaxNode(self.answer()).result_image
        probabilities.handle = "probabilities"
        return mps.Graph(device, [probabilities])

    def training(self, device: mps.Device, batch: int) -> mps.Graph:
        """The graph of a step over "pictures" and "labels", which exports its "loss"."""
        descriptor = mps.LossDescriptor(
            mps.LossType.SOFT_MAX_CROSS_ENTROPY, mps.ReductionType.SUM, weight=1.0 / batch
        )
        loss = mps.ForwardLossNode(self.answer(), mps.ImageNode("labels"), descriptor).result_image
        loss.handle, loss.export_from_graph = "loss", True
        (end,) = mps.InitialGradientNode(loss).training_graph()
        return mps.Graph(device, [end.result_image], [False])
