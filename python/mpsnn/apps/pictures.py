# SPDX-License-Identifier: MIT
"""Pictures in and out, for the applications: photographs that are read, grids that are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mpsnn import FileError, InvalidArgumentError
from mpsnn.files import atomic_path, optional_module, prepare_output

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

Picture = NDArray[np.float32]

WRITTEN = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
BEST_OF: dict[str, dict[str, int]] = {  # of formats that lose something
    ".jpeg": {"quality": 95},
    ".jpg": {"quality": 95},
    ".webp": {"lossless": True},
}
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def shown(path: str | Path, extra: str) -> NDArray[np.uint8]:
    """Reads a picture as it is meant to be seen.

    It is turned as its EXIF data say, transparent parts are white, 16 bits become 8.

    Args:
        path: A file that Pillow knows: PNG, JPEG, ….
        extra: The extra of mpsnn that brings Pillow, for the error.

    Returns:
        (H, W, 3).

    Raises:
        FileError: There is no such file, it is no picture, or one whose values have no range:
            floats, 32-bit integers.
        MissingPackageError: Pillow is not installed.
    """
    images = optional_module("PIL.Image", extra, "reading pictures")
    path = Path(path)
    if not path.is_file():
        found = "it is a folder" if path.is_dir() else "there is no such file"
        raise FileError(f"{path}: expected a picture, {found}")
    try:
        with images.open(path) as picture:
            return _as_rgb(picture, extra)
    except (OSError, ValueError, SyntaxError, images.DecompressionBombError) as error:
        # Pillow's, for damaged files of any kind, and for pictures too large for any use
        raise FileError(f"{path}: expected a picture, it cannot be read: {error}") from error


def _as_rgb(picture: PillowImage, extra: str) -> NDArray[np.uint8]:
    """The pixels of Pillow's image."""
    images = optional_module("PIL.Image", extra, "reading pictures")
    operations = optional_module("PIL.ImageOps", extra, "reading pictures")
    upright = operations.exif_transpose(picture)
    # Older Pillows make 32 bits of a PNG's 16.
    if upright.mode.startswith("I;16") or (upright.mode == "I" and picture.format == "PNG"):
        values = np.asarray(upright).astype(np.float64) / 257  # 65535 is white
        return np.repeat(np.asarray(values + 0.5, np.uint8)[..., None], 3, axis=2)
    if upright.mode in ("I", "F"):
        raise ValueError(
            f"expected 8 or 16 bits a channel, got mode {upright.mode!r}: its values have no range"
        )
    if upright.has_transparency_data:
        over = upright.convert("RGBA")
        upright = images.alpha_composite(images.new("RGBA", over.size, "white"), over)
    return np.asarray(upright.convert("RGB"))


def read(path: str | Path, extra: str) -> Picture:
    """Reads a picture, as `shown` does.

    Args:
        path: A file that Pillow knows: PNG, JPEG, ….
        extra: The extra of mpsnn that brings Pillow, for the error.

    Returns:
        (H, W, 3), 0 to 1.

    Raises:
        FileError: There is no such file, it is no picture, or one whose values have no range.
        MissingPackageError: Pillow is not installed.
    """
    pixels: Picture = np.asarray(shown(path, extra), np.float32)
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
    """Writes a picture, atomically.

    Args:
        path: Where to; its folder is made, its ending (one of `WRITTEN`) says the format.
        picture: (H, W, 3) or (H, W); values outside of 0 to 1 are clipped.
        extra: As for `read`.

    Raises:
        InvalidArgumentError: The shape is another.
        FileError: Another ending, or the file cannot be written.
        MissingPackageError: Pillow is not installed.
    """
    if picture.ndim not in (2, 3) or (picture.ndim == 3 and picture.shape[2] != 3):
        raise InvalidArgumentError(
            f"picture: expected shape (H, W, 3) or (H, W), got {picture.shape}"
        )
    images = optional_module("PIL.Image", extra, "writing pictures")
    prepare_output(path, WRITTEN)
    with atomic_path(path) as draft:
        images.fromarray(to_bytes(picture)).save(draft, **BEST_OF.get(draft.suffix.lower(), {}))


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
