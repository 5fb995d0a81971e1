# SPDX-License-Identifier: MIT
"""A small net that reads digits: the judge of what the generator makes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn.apps.gan.digits import CLASSES, Digits
from mpsnn.initializers import RandomNumbers, he_normal
from mpsnn.training import StepSchedule, Trainer

BATCH = 32
LEARNING_RATE = 2e-3
CONFIDENT = 0.9


@dataclass(frozen=True)
class Quality:
    """How good pictures of digits are.

    Attributes:
        recognised: Share of pictures that the classifier gives one class with a probability of at
            least 0.9.
        counts: Recognised pictures of each class.
        spread: Entropy of the counts over that of ten equal ones: 1 where all digits come alike, 0
            where one comes alone.
    """

    recognised: float
    counts: tuple[int, ...]
    spread: float

    @property
    def classes(self) -> int:
        """Classes with at least a fifth of an equal share."""
        return sum(count * 5 * CLASSES >= sum(self.counts) > 0 for count in self.counts)


class Classifier:
    """Reads digits.

    Args:
        digits: What it is trained on.
        device: Where it runs.
        epochs: Passes over the digits.
        seed: Fixes weights and order.
    """

    def __init__(
        self, digits: Digits, device: mps.Device, epochs: int = 12, seed: int = 0
    ) -> None:
        numbers = RandomNumbers(seed)
        optimizer = mps.OptimizerAdam(LEARNING_RATE)

        def source(name: str, kernel: int, inputs: int, outputs: int) -> mps.ConvolutionDataSource:
            return mps.ConvolutionDataSource(
                mps.ConvolutionDescriptor(kernel, kernel, inputs, outputs),
                he_normal((outputs, kernel, kernel, inputs), numbers),
                np.zeros(outputs, np.float32),
                name,
                optimizer,
            )

        x: mps.FilterNode = mps.ConvolutionNode(mps.ImageNode("pictures"), source("a", 3, 1, 16))
        x = mps.ConvolutionNode(mps.NeuronReLUNode(x), source("b", 3, 16, 32))
        x = mps.PoolingMaxNode(mps.NeuronReLUNode(x), 2, 2, 2, 2)
        logits = mps.FullyConnectedNode(x, source("c", digits.edge // 2, 32, CLASSES))
        probabilities = mps.SoftMaxNode(logits).result_image
        probabilities.handle = "probabilities"
        self._graph = mps.Graph(device, [probabilities])
        self._queue = device.command_queue("classifier")
        descriptor = mps.LossDescriptor(
            mps.LossType.SOFT_MAX_CROSS_ENTROPY, mps.ReductionType.SUM, weight=1.0 / BATCH
        )
        loss = mps.ForwardLossNode(logits, mps.ImageNode("labels"), descriptor).result_image
        loss.handle, loss.export_from_graph = "loss", True
        last = mps.InitialGradientNode(loss).training_graph()
        training = mps.Graph(device, [last[0].result_image], results_are_needed=[False])
        one_hot = np.eye(CLASSES, dtype=np.float32)[digits.labels][:, None, None, :]

        def batches(_epoch: int, generator: np.random.Generator) -> list[dict[str, np.ndarray]]:
            order = generator.permutation(len(digits))
            chosen = [order[i : i + BATCH] for i in range(0, len(digits) - BATCH + 1, BATCH)]
            return [{"pictures": digits.images[c], "labels": one_hot[c]} for c in chosen]

        Trainer(
            training, batches, schedule=StepSchedule(LEARNING_RATE), seed=seed, progress=False
        ).run(epochs)

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Reads pictures.

        Args:
            images: (N, H, W, 1), -1 to 1.

        Returns:
            Probabilities of the classes, (N, 10).
        """
        commands = mps.CommandBuffer(self._queue)
        outputs = self._graph.encode(commands, {"pictures": images})
        commands.commit()
        commands.wait_until_completed()
        return np.array(outputs["probabilities"], np.float32).reshape(len(images), CLASSES)

    def accuracy(self, digits: Digits) -> float:
        """Share of digits that are read right."""
        return float((self(digits.images).argmax(1) == digits.labels).mean())

    def quality(self, images: NDArray[np.float32]) -> Quality:
        """Judges pictures of digits.

        Args:
            images: (N, H, W, 1), -1 to 1.

        Returns:
            How many are recognised, and how they spread over the classes.
        """
        probabilities = self(images)
        confident = probabilities.max(1) >= CONFIDENT
        counts = np.bincount(probabilities.argmax(1)[confident], minlength=CLASSES)
        shares = counts[counts > 0] / max(counts.sum(), 1)
        spread = float(-(shares * np.log(shares)).sum() / np.log(CLASSES))
        return Quality(float(confident.mean()), tuple(int(c) for c in counts), max(spread, 0.0))
