# SPDX-License-Identifier: MIT
"""Pictures in and out, for the applications: photographs that are read, grids that are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpsnn import FileError, InvalidArgumentError
from mpsnn.files import atomic_path, optional_module

Picture = NDArray[np.float32]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def read(path: str | Path, extra: str) -> Picture:
    """Reads a picture.

    Args:
        path: A file that Pillow knows: PNG, JPEG, ….
        extra: The extra of mpsnn that brings Pillow, for the error.

    Returns:
        (H, W, 3), 0 to 1.

    Raises:
        FileError: There is no such file, or it is no picture.
        MissingPackageError: Pillow is not installed.
    """
    images = optional_module("PIL.Image", extra, "reading pictures")
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path}: expected a picture, there is no such file")
    try:
        with images.open(path) as picture:
            pixels: Picture = np.asarray(picture.convert("RGB"), np.float32)
    except (OSError, ValueError, SyntaxError, images.DecompressionBombError) as error:
        # Pillow's, for damaged files of any kind, and for pictures too large for any use
        raise FileError(f"{path}: expected a picture, it cannot be read: {error}") from error
    return np.asarray(pixels / 255, np.float32)


def read_folder(path: str | Path, extra: str) -> list[Picture]:
    """Reads all pictures of a folder, in the order of their names.

    Args:
        path: The folder; files with other suffixes than a picture's are passed over.
        extra: As for `read`.

    Returns:
        At least one picture.

    Raises:
        FileError: There is no such folder, no picture in it, or one that cannot be read.
        MissingPackageError: Pillow is not installed.
    """
    return [read(file, extra) for file in picture_files(path)]


def picture_files(path: str | Path) -> list[Path]:
    """The pictures of a folder, in the order of their names.

    Args:
        path: The folder; files with other suffixes than a picture's are passed over.

    Returns:
        At least one file.

    Raises:
        FileError: There is no such folder, or no picture in it.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileError(f"{path}: expected a folder of pictures, there is no such folder")
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise FileError(f"{path}: expected pictures ({', '.join(SUFFIXES)}), got none")
    return files


def resized(picture: Picture, size: tuple[int, int], extra: str) -> Picture:
    """A picture in another size, each pixel an average of those that it covers.

    Args:
        picture: (H, W, 3).
        size: New height and width.
        extra: As for `read`.

    Returns:
        (height, width, 3), 0 to 1.

    Raises:
        MissingPackageError: Pillow is not installed.
    """
    images = optional_module("PIL.Image", extra, "resizing pictures")
    scaled = images.fromarray(to_bytes(picture)).resize(size[::-1], images.Resampling.BOX)
    pixels: Picture = np.asarray(scaled, np.float32)
    return np.asarray(pixels / 255, np.float32)


def to_bytes(picture: NDArray[np.floating]) -> NDArray[np.uint8]:
    """A picture as 8-bit values; what is outside of 0 to 1 is clipped."""
    return np.asarray(np.clip(np.nan_to_num(picture), 0.0, 1.0) * 255.0 + 0.5, np.uint8)


def write(path: str | Path, picture: NDArray[np.floating], extra: str) -> None:
    """Writes a picture as PNG, atomically.

    Args:
        path: Where to; its folder is made.
        picture: (H, W, 3) or (H, W); values outside of 0 to 1 are clipped.
        extra: As for `read`.

    Raises:
        InvalidArgumentError: The shape is another.
        MissingPackageError: Pillow is not installed.
    """
    if picture.ndim not in (2, 3) or (picture.ndim == 3 and picture.shape[2] != 3):
        raise InvalidArgumentError(
            f"picture: expected shape (H, W, 3) or (H, W), got {picture.shape}"
        )
    images = optional_module("PIL.Image", extra, "writing pictures")
    with atomic_path(path) as draft:
        images.fromarray(to_bytes(picture)).save(draft, format="PNG")


def grid(
    pictures: Sequence[NDArray[np.floating]], columns: int, gap: int = 2
) -> NDArray[np.float32]:
    """Sets pictures of one size side by side, row after row.

    Args:
        pictures: (H, W, 3) or (H, W) each; at least one.
        columns: Pictures in a row.
        gap: White pixels between two of them.

    Returns:
        One picture with as many dimensions.

    Raises:
        InvalidArgumentError: There are none, or they differ in shape.
    """
    shapes = {picture.shape for picture in pictures}
    if len(shapes) != 1 or columns < 1:
        raise InvalidArgumentError(
            f"grid: expected pictures of one shape in 1 column or more, got {sorted(shapes)} in "
            f"{columns}"
        )
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    size = (rows * (height + gap) - gap, columns * (width + gap) - gap)
    result = np.ones((*size, *pictures[0].shape[2:]), np.float32)
    for index, picture in enumerate(pictures):
        y, x = index // columns * (height + gap), index % columns * (width + gap)
        result[y : y + height, x : x + width] = picture
    return result
