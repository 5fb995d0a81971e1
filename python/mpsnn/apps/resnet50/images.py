# SPDX-License-Identifier: MIT
"""Batches of pictures to train on: shuffled, cut, mirrored and normalised on the host."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpsnn import InvalidArgumentError
from mpsnn.apps.resnet50.cifar10 import CLASSES, EDGE, LabelledImages

# Mean and standard deviation of CIFAR-10's training pictures, of values from 0 to 1.
MEAN = np.array([0.4914, 0.4822, 0.4465], np.float32)
DEVIATION = np.array([0.2470, 0.2435, 0.2616], np.float32)
PADDING = 4


@dataclass(frozen=True)
class Batch:
    """What one step trains on.

    Attributes:
        index: Number of the batch, counted from 0.
        images: (N, 32, 32, 3) of float32, normalised.
        labels: (N, 1, 1, classes) of float32: 1 at the picture's class, 0 elsewhere.
    """

    index: int
    images: NDArray[np.float32]
    labels: NDArray[np.float32]

    @property
    def sources(self) -> dict[str, NDArray[np.float32]]:
        """The training graph's sources by handle."""
        return {"images": self.images, "labels": self.labels}


def synthetic(count: int, seed: int = 0, edge: int = EDGE) -> LabelledImages:
    """Draws pictures that can be told apart: each class has its own stripes and colours.

    Args:
        count: Number of pictures.
        seed: Fixes classes, phases and noise.
        edge: Height and width.

    Returns:
        Stripes whose direction, width and colours belong to the class, moved by a random phase,
        with noise. No single pixel gives the class away.

    Raises:
        InvalidArgumentError: The count or edge is not positive.
    """
    for name, value in (("count", count), ("edge", edge)):
        if value < 1:
            raise InvalidArgumentError(f"synthetic: {name}: expected 1 or more, got {value}")
    generator = np.random.Generator(np.random.Philox(seed))
    labels = generator.integers(0, len(CLASSES), count).astype(np.uint8)
    angle = np.pi / len(CLASSES) * labels
    waves = 2.0 + labels % 3
    y, x = np.mgrid[0:edge, 0:edge] / edge
    along = np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y
    phase = generator.random(count)
    stripes = np.sin(2 * np.pi * (waves[:, None, None] * along + phase[:, None, None]))
    hue = 2 * np.pi * (labels[:, None] / len(CLASSES) + np.arange(3) / 3)
    values = 128 + 50 * stripes[..., None] * np.cos(hue)[:, None, None, :]
    values += generator.normal(0.0, 20.0, values.shape)
    return LabelledImages(np.clip(values, 0, 255).astype(np.uint8), labels)


def normalise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Brings values to mean 0 and deviation 1 over CIFAR-10.

    Args:
        images: (N, H, W, 3), 0 to 255.

    Returns:
        (value / 255 - mean) / deviation of each colour, the same shape.
    """
    scale = np.float32(1.0) / (np.float32(255.0) * DEVIATION)
    values: NDArray[np.float32] = images * scale
    values -= MEAN / DEVIATION
    return values


def augment(
    images: NDArray[np.uint8], generator: np.random.Generator, padding: int = PADDING
) -> NDArray[np.uint8]:
    """Moves each picture by up to `padding` pixels and mirrors half of them.

    Args:
        images: (N, H, W, 3).
        generator: Where the moves come from.
        padding: Black pixels that the picture may be moved over at each side.

    Returns:
        New pictures of the same shape.
    """
    count, height, width, _ = images.shape
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = np.pad(images, around)
    top, left = generator.integers(0, 2 * padding + 1, (2, count))
    mirrored = generator.integers(0, 2, count).astype(bool)
    result = np.empty_like(images)
    for index in range(count):
        y, x = top[index], left[index]
        cut = padded[index, y : y + height, x : x + width]
        result[index] = cut[:, ::-1] if mirrored[index] else cut
    return result


def one_hot(labels: NDArray[np.uint8], classes: int) -> NDArray[np.float32]:
    """Labels as images of probabilities.

    Args:
        labels: (N), each below `classes`.
        classes: Number of classes.

    Returns:
        (N, 1, 1, classes).
    """
    values = np.zeros((len(labels), 1, 1, classes), np.float32)
    values[np.arange(len(labels)), 0, 0, labels] = 1.0
    return values


def batches(
    pictures: LabelledImages, size: int, count: int, *, seed: int = 0, augmented: bool = True
) -> Iterator[Batch]:
    """Prepares batches as they are asked for.

    Args:
        pictures: What to train on; each epoch goes over them in a new order.
        size: Pictures of a batch.
        count: Number of batches.
        seed: Fixes order, cuts and mirroring: the same seed gives the same batches.
        augmented: Cut and mirror (`augment`).

    Yields:
        The batches.

    Raises:
        InvalidArgumentError: There are fewer pictures than a batch needs, or it needs none.
    """
    if not 1 <= size <= len(pictures):
        raise InvalidArgumentError(
            f"batches: size: expected 1 to {len(pictures)} (the pictures there are), got {size}"
        )
    generator = np.random.Generator(np.random.Philox(seed))
    an_epoch = len(pictures) // size
    for epoch in range(math.ceil(count / an_epoch)):
        order = generator.permutation(len(pictures))
        for step in range(min(an_epoch, count - epoch * an_epoch)):
            chosen = np.sort(order[step * size : (step + 1) * size])
            images = pictures.images[chosen]
            if augmented:
                images = augment(images, generator)
            labels = one_hot(pictures.labels[chosen], len(pictures.classes))
            yield Batch(epoch * an_epoch + step, normalise(images), labels)
