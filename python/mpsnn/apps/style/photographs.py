# SPDX-License-Identifier: MIT
"""What is trained on: cutouts of photographs, the user's or those that scikit-image ships."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

import mpsnn as mps
from mpsnn.apps.pictures import Picture, resized
from mpsnn.files import optional_module

EXTRA = "style"
TRAINED = ("astronaut", "camera", "rocket")
UNSEEN = "chelsea"
STYLES = ("coffee", "retina")
HALF = 2  # bundled photographs are taken at half of their size: cutouts then hold whole things


def bundled(name: str) -> Picture:
    """A photograph that scikit-image ships.

    Args:
        name: A function of `skimage.data`: "astronaut", "chelsea", "brick", ….

    Returns:
        (H, W, 3), 0 to 1.

    Raises:
        MissingPackageError: scikit-image is not installed.
    """
    data = optional_module("skimage.data", EXTRA, "the bundled photographs")
    pixels = np.asarray(getattr(data, name)(), np.float32) / np.float32(255)
    return np.repeat(pixels[..., None], 3, 2) if pixels.ndim == 2 else pixels[..., :3]


def halved(picture: Picture) -> Picture:
    """A picture at half of its height and width."""
    return resized(picture, (picture.shape[0] // HALF, picture.shape[1] // HALF), EXTRA)


def square(picture: Picture, edge: int) -> Picture:
    """The largest square in the upper left of a picture, resized.

    Args:
        picture: (H, W, 3).
        edge: New height and width.
    """
    least = min(picture.shape[:2])
    return resized(picture[:least, :least], (edge, edge), EXTRA)


def check(photographs: Sequence[Picture], edge: int, names: Sequence[str] = ()) -> None:
    """Checks that cutouts can be made.

    Args:
        photographs: (H, W, 3) each.
        edge: Height and width of a cutout.
        names: What the photographs are called, for the error.

    Raises:
        InvalidArgumentError: There is no photograph, or one is smaller than a cutout.
    """
    if not photographs:
        raise mps.InvalidArgumentError("style: photographs: expected 1 or more, got none")
    for index, picture in enumerate(photographs):
        if min(picture.shape[:2]) < edge:
            raise mps.InvalidArgumentError(
                f"style: photograph {names[index] if names else index}: expected {edge} x {edge} "
                f"pixels or more, got {picture.shape[0]} x {picture.shape[1]}"
            )


def cutouts(
    photographs: Sequence[Picture],
    edge: int,
    batch: int,
    steps: int,
    generator: np.random.Generator,
) -> Iterator[Picture]:
    """Random cutouts, half of them mirrored.

    Args:
        photographs: Where they come from, each as often as it is large.
        edge: Their height and width.
        batch: Cutouts of a batch.
        steps: Number of batches.
        generator: Where chance comes from.

    Yields:
        Batches (N, edge, edge, 3).
    """
    areas = np.array([picture.shape[0] * picture.shape[1] for picture in photographs], float)
    for _ in range(steps):
        pictures = np.empty((batch, edge, edge, 3), np.float32)
        for index in range(batch):
            picture = photographs[generator.choice(len(photographs), p=areas / areas.sum())]
            y, x = (int(generator.integers(extent - edge + 1)) for extent in picture.shape[:2])
            cut = picture[y : y + edge, x : x + edge]
            pictures[index] = cut[:, ::-1] if generator.random() < 0.5 else cut
        yield pictures
