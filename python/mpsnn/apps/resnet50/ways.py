# SPDX-License-Identifier: MIT
"""The training step of ResNet-50, and four ways of handing it to the device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

import mpsnn as mps
from mpsnn.apps.resnet50.images import Batch
from mpsnn.committing import WAYS, Way
from mpsnn.models import ResNet, resnet50

LEARNING_RATE = 0.01
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4

__all__ = ["WAYS", "Training", "Way", "build_net", "build_training", "optimizer", "run"]


@dataclass(frozen=True)
class Training:
    """A compiled training step.

    Attributes:
        net: The net.
        graph: Takes `images` and `labels`; gives `loss`, one value an image whose sum is the
            batch's mean cross entropy, and `logits`.
    """

    net: ResNet
    graph: mps.Graph


def optimizer(learning_rate: float = LEARNING_RATE) -> mps.Optimizer:
    """Stochastic gradient descent with momentum and L2 regularisation, one for all weights."""
    descriptor = mps.OptimizerDescriptor(
        learning_rate,
        regularization_type=mps.RegularizationType.L2,
        regularization_scale=WEIGHT_DECAY,
    )
    return mps.OptimizerStochasticGradientDescent(descriptor, MOMENTUM)


def build_net(
    width: int, classes: int, seed: int = 0, optimizer: mps.Optimizer | None = None
) -> ResNet:
    """ResNet-50 for pictures of 32 x 32, with fresh weights.

    Args:
        width: Channels after the stem; ResNet-50 has 64.
        classes: Number of classes.
        seed: Fixes the first weights.
        optimizer: Updates all weights.

    Returns:
        The net, from a source `images`.
    """
    return resnet50(
        mps.ImageNode("images"),
        classes=classes,
        stem="cifar",
        width=width,
        seed=seed,
        optimizer=optimizer,
        zero_last_gamma=True,  # without it the first steps are too steep for this learning rate
    )


def build_training(device: mps.Device, net: ResNet, batch: int) -> Training:
    """Compiles the net with its loss and the training graph that follows from it.

    Args:
        device: Where it shall run.
        net: The net; its data sources carry their optimizers.
        batch: Images of a step: the loss is their mean.

    Returns:
        The step.
    """
    descriptor = mps.LossDescriptor(
        mps.LossType.SOFT_MAX_CROSS_ENTROPY, mps.ReductionType.SUM, weight=1.0 / batch
    )
    loss = mps.ForwardLossNode(net.logits, mps.ImageNode("labels"), descriptor, label="loss")
    for image, handle in ((loss.result_image, "loss"), (net.logits, "logits")):
        image.handle, image.export_from_graph = handle, True
    last = mps.InitialGradientNode(loss, label="start").training_graph()
    return Training(net, mps.Graph(device, [last[0].result_image], results_are_needed=[False]))


def run(
    way: Way, training: Training, queue: mps.CommandQueue, batches: Iterable[Batch]
) -> Iterator[float]:
    """Trains on batches.

    Args:
        way: How steps are handed to the device.
        training: The step.
        queue: Where they run.
        batches: What to train on; each is asked for when there is room for another step.

    Yields:
        The loss of each batch, when its step is done.
    """
    graph = training.graph

    def encode(commands: mps.CommandBuffer, batch: Batch) -> mps.Image:
        return graph.encode(commands, batch.sources)["loss"]

    for image in way.run(queue, batches, encode):
        yield _sum(image)


def _sum(image: mps.Image) -> float:
    return float(np.asarray(image, np.float64).sum())
