# SPDX-License-Identifier: MIT
"""Handwritten digits: scikit-learn's bundled ones, or MNIST's files."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn.files import optional_module

FloatArray = NDArray[np.float32]

CLASSES = 10
BYTES = 0x08  # the element type of IDX files that MNIST has
MNIST_PICTURES, MNIST_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@dataclass(frozen=True)
class Digits:
    """Pictures of digits, and which digits they show.

    Args:
        pictures: (N, edge, edge, 1), paper -1 and ink 1.
        labels: (N,), from 0 to 9.
    """

    pictures: FloatArray
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        shape, labels = self.pictures.shape, self.labels
        if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 1 or 0 in shape:
            raise mps.InvalidArgumentError(
                f"digits: pictures: expected shape (N, edge, edge, 1), got {shape}"
            )
        if labels.shape != shape[:1] or labels.min() < 0 or labels.max() >= CLASSES:
            raise mps.InvalidArgumentError(
                f"digits: labels: expected {shape[0]} numbers from 0 to {CLASSES - 1}, got shape "
                f"{labels.shape} from {labels.min(initial=0)} to {labels.max(initial=0)}"
            )

    @property
    def edge(self) -> int:
        """Height and width in pixels."""
        return int(self.pictures.shape[1])

    @property
    def summary(self) -> str:
        """What tells one set from another: how many, their size, and a checksum."""
        checksum = zlib.crc32(np.ascontiguousarray(self.labels, "<i8").data)
        checksum = zlib.crc32(np.ascontiguousarray(self.pictures, "<f4").data, checksum)
        return f"{len(self)} digits of {self.edge} x {self.edge} (checksum {checksum:08x})"

    def __len__(self) -> int:
        return len(self.pictures)

    def split(self, share: float, seed: int = 0) -> tuple[Digits, Digits]:
        """Two disjoint sets in random order.

        Args:
            share: Of the first one.
            seed: Of the order.
        """
        order = np.random.Generator(np.random.Philox(seed)).permutation(len(self))
        cut = int(share * len(self))
        first, second = order[:cut], order[cut:]
        return (
            Digits(self.pictures[first], self.labels[first]),
            Digits(self.pictures[second], self.labels[second]),
        )

    def batches(
        self, size: int, generator: np.random.Generator
    ) -> Iterator[tuple[FloatArray, NDArray[np.int64]]]:
        """Whole batches in random order; what is left over comes another time.

        Args:
            size: Pictures of a batch.
            generator: Makes the order.

        Yields:
            Pictures and labels.

        Raises:
            InvalidArgumentError: There are fewer pictures than that.
        """
        if not 1 <= size <= len(self):
            raise mps.InvalidArgumentError(
                f"gan: batch: expected 1 to {len(self)}, the number of pictures, got {size}"
            )
        order = generator.permutation(len(self))
        for start in range(0, len(self) - size + 1, size):
            chosen = order[start : start + size]
            yield self.pictures[chosen], self.labels[chosen]


def one_hot(labels: NDArray[np.int64]) -> FloatArray:
    """Labels (N,) as images (N, 1, 1, 10): 1 in the label's channel, else 0."""
    return np.eye(CLASSES, dtype=np.float32)[labels].reshape(-1, 1, 1, CLASSES)


def enlarged(pictures: FloatArray, edge: int) -> FloatArray:
    """Enlarges pictures linearly between the centres of their pixels.

    Args:
        pictures: (N, H, W, C).
        edge: Height and width of the result.

    Returns:
        (N, edge, edge, C).
    """
    rows, columns = (_interpolation(size, edge) for size in pictures.shape[1:3])
    result: FloatArray = np.einsum("yh,nhwc,xw->nyxc", rows, pictures, columns).astype(np.float32)
    return result


def _interpolation(size: int, edge: int) -> NDArray[np.float64]:
    places = np.clip((np.arange(edge) + 0.5) * size / edge - 0.5, 0, size - 1)
    distance = np.abs(places[:, None] - np.arange(size)[None, :])
    return np.maximum(0.0, 1.0 - distance)


def bundled(edge: int = 16) -> Digits:
    """The 1797 digits of 8 x 8 pixels that scikit-learn brings along.

    Args:
        edge: What they are enlarged to.

    Raises:
        MissingPackageError: scikit-learn is not installed.
    """
    data = optional_module("sklearn.datasets", "gan", "the bundled digits").load_digits()
    pictures = np.asarray(data.images, np.float32)[..., None] / 8.0 - 1.0
    return Digits(enlarged(pictures, edge), np.asarray(data.target, np.int64))


def mnist(folder: str | Path) -> Digits:
    """MNIST's training set from its IDX files, which may be compressed (.gz).

    Args:
        folder: Where `train-images-idx3-ubyte` and `train-labels-idx1-ubyte` are.

    Raises:
        FileError: A file is missing, damaged, or of another format; the text names it.
    """
    pictures = _idx(Path(folder) / MNIST_PICTURES, 3)
    labels = _idx(Path(folder) / MNIST_LABELS, 1)
    if len(pictures) != len(labels):
        raise mps.FileError(
            f"{folder}: expected as many labels as pictures, got {len(labels)} and {len(pictures)}"
        )
    scaled = pictures[..., None].astype(np.float32) / 127.5 - 1.0
    return Digits(scaled, labels.astype(np.int64))


def _idx(path: Path, rank: int) -> NDArray[np.uint8]:
    packed = path.with_name(f"{path.name}.gz")
    try:
        if path.exists() or not packed.exists():
            content = path.read_bytes()
        else:
            path, content = packed, gzip.decompress(packed.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise mps.FileError(f"{path}: cannot be read: {error}") from error
    magic, header = bytes((0, 0, BYTES, rank)), 4 + 4 * rank
    if content[:4] != magic or len(content) < header:
        raise mps.FileError(
            f"{path}: expected an IDX file of {rank} dimensions of bytes, beginning with "
            f"{magic.hex()}, got {content[:4].hex() or 'an empty file'}"
        )
    shape = tuple(int(extent) for extent in np.frombuffer(content, ">u4", rank, 4))
    if len(content) - header != math.prod(shape):
        raise mps.FileError(
            f"{path}: expected {math.prod(shape)} bytes behind the header for {shape}, "
            f"got {len(content) - header}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
