# SPDX-License-Identifier: MIT
"""Handwritten digits: scikit-learn's small ones, or MNIST's from its IDX files."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpsnn import FileError, InvalidArgumentError
from mpsnn.files import optional_module

CLASSES = 10
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
UNSIGNED_BYTE = 8


@dataclass(frozen=True)
class Digits:
    """Pictures of digits.

    Attributes:
        images: (N, H, W, 1) of float32, -1 (paper) to 1 (ink).
        labels: (N), 0 to 9.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels) or not len(self.images):
            raise InvalidArgumentError(
                f"digits: expected a label for each of 1 picture or more, got {len(self.images)} "
                f"pictures and {len(self.labels)} labels"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def edge(self) -> int:
        """Height and width in pixels."""
        return int(self.images.shape[1])

    def parted(self, every: int = 5) -> tuple[Digits, Digits]:
        """Parts the digits.

        Args:
            every: Which ones go to the second part.

        Returns:
            Those to train on, and every fifth one, to test with.
        """
        held = np.arange(len(self)) % every == every - 1
        return (
            Digits(self.images[~held], self.labels[~held]),
            Digits(self.images[held], self.labels[held]),
        )


def bundled() -> Digits:
    """The 1797 digits of 8 x 8 pixels that scikit-learn ships (Alpaydin and Kaynak, 1998).

    Raises:
        MissingPackageError: scikit-learn is not installed.
    """
    datasets = optional_module("sklearn.datasets", "gan", "the bundled digits")
    content = datasets.load_digits()
    images = np.asarray(content.images, np.float32)[..., None] / np.float32(8) - np.float32(1)
    return Digits(images, np.asarray(content.target, np.uint8))


def mnist(folder: str | Path) -> Digits:
    """MNIST's 60,000 digits of 28 x 28 pixels (LeCun, Cortes and Burges).

    Args:
        folder: Where `train-images-idx3-ubyte` and `train-labels-idx1-ubyte` are, as they are or
            with `.gz` behind.

    Raises:
        FileError: A file is missing, damaged or something else.
    """
    folder = Path(folder)
    images, labels = (_read(_find(folder, name), dims) for name, dims in zip(FILES, (3, 1), strict=True))
    if images.shape[1] != images.shape[2] or images.shape[1] % 4 or len(images) != len(labels):
        raise FileError(
            f"{folder}: expected square pictures of a multiple of 4 pixels and as many labels, "
            f"got {images.shape} and {labels.shape}"
        )
    if labels.max() >= CLASSES:
        raise FileError(f"{folder}: labels: expected 0 to 9, got {labels.max()}")
    return Digits(images[..., None] / np.float32(127.5) - np.float32(1), labels)


def _find(folder: Path, name: str) -> Path:
    for suffix in ("", ".gz"):
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return path
    raise FileError(f"{folder}: expected MNIST's files, {name} or {name}.gz is missing")


def _read(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """An IDX file: zeros, element type, dimensions, extents (big-endian), values."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise FileError(f"{path}: cannot be decompressed: {error}") from error
    start = 4 + 4 * dimensions
    if len(data) < start or data[:4] != bytes((0, 0, UNSIGNED_BYTE, dimensions)):
        raise FileError(
            f"{path}: expected an IDX file of bytes in {dimensions} dimensions, got one that "
            f"begins with {data[:4].hex(' ') or 'nothing'}"
        )
    extents = np.frombuffer(data, ">u4", dimensions, 4).astype(np.int64)
    if len(data) != start + int(extents.prod()) or not extents.all():
        raise FileError(
            f"{path}: expected {' x '.join(map(str, extents))} values, got {len(data) - start}"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(extents)
