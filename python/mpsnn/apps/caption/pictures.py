# SPDX-License-Identifier: MIT
"""Picture files: folders with captions to train on, single files, and a picture of the results."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import mpsnn as mps
from mpsnn.apps.caption.scenes import Captioned, FloatArray
from mpsnn.apps.caption.words import END_WORD, STEPS
from mpsnn.apps.pictures import shown
from mpsnn.files import atomic_path, optional_module
from mpsnn.training import with_progress

CAPTIONS = "captions.tsv"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # which some editors write
USER = "mpsnn caption"
EXTRA = "caption"


def read_picture(path: Path, size: int) -> FloatArray:
    """Reads a picture file and scales it to the net's size.

    Args:
        path: Any format that Pillow reads.
        size: Height and width; the picture is cut to a square about its centre first.

    Returns:
        (size, size, 3), from 0 to 1.

    Raises:
        FileError: As for `mpsnn.apps.pictures.shown`.
        MissingPackageError: Pillow is not installed.
    """
    seen = shown(path, EXTRA)
    images = optional_module("PIL.Image", EXTRA, USER)
    operations = optional_module("PIL.ImageOps", EXTRA, USER)
    square = operations.fit(images.fromarray(seen), (size, size), images.Resampling.BILINEAR)
    pixels: FloatArray = np.asarray(square, np.float32) / np.float32(255)
    return pixels


def load_folder(folder: Path, size: int, *, progress: bool = False) -> Captioned:
    """Reads pictures with captions.

    Args:
        folder: Has "captions.tsv": a line a picture, its file name, a tab, its sentence. Sentences
            are taken in lower case, their full stops and commas left out.
        size: Height and width that the pictures are scaled to.
        progress: Draw a progress bar.

    Returns:
        The pictures and sentences, in the file's order.

    Raises:
        FileError: The file or a picture is missing or cannot be read, or a line is none; the text
            names the line.
    """
    rows = _rows(folder)
    pictures, origins = [], []
    for row in with_progress(rows, f"reading {folder}", "pictures", on=progress):
        picture, checksum = _read(folder / row.name, size, row.place)
        pictures.append(picture)
        origins.append(f"{row.name} {checksum:08x}")
    return Captioned(np.stack(pictures), [row.sentence for row in rows], tuple(origins))


def count_pictures(folder: Path) -> int:
    """How many pictures `load_folder` reads.

    Args:
        folder: As for `load_folder`.

    Raises:
        FileError: The file of captions is missing or cannot be read, or a line is none.
    """
    return len(_rows(folder))


def _rows(folder: Path) -> list[_Row]:
    """The lines of the captions, one at least."""
    path = folder / CAPTIONS
    try:
        lines = path.read_bytes().removeprefix(BYTE_ORDER_MARK).splitlines()
    except OSError as error:
        raise mps.FileError(f"{path}: expected captions, cannot be read: {error}") from error
    rows = [_row(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise mps.FileError(f"{path}: expected a line a picture, got none")
    return rows


def _read(path: Path, size: int, place: str) -> tuple[FloatArray, int]:
    """A picture of a line, and its file's checksum."""
    try:
        return read_picture(path, size), zlib.crc32(path.read_bytes())
    except (mps.FileError, OSError) as error:
        raise mps.FileError(f"{place}: {error}") from error


class _Row(NamedTuple):
    place: str
    name: str
    sentence: str


def _row(line: bytes, place: str) -> _Row:
    """A line of the captions: all of them are checked before a picture is read."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise mps.FileError(
            f"{place}: expected text in UTF-8, got {line[:40]!r}: {error}"
        ) from error
    columns = text.split("\t")
    words = columns[-1].lower().replace(".", " ").replace(",", " ").split()
    if len(columns) != 2 or not columns[0].strip() or not words:
        raise mps.FileError(
            f"{place}: expected a file name, a tab and a sentence, got {len(columns)} columns: "
            f"{text!r}"
        )
    if len(words) >= STEPS:
        raise mps.FileError(
            f"{place}: expected a sentence of at most {STEPS - 1} words, got {len(words)}: "
            f"{' '.join(words)!r}"
        )
    if END_WORD in words:
        raise mps.FileError(
            f"{place}: expected a sentence without {END_WORD!r}, which is the end's, got {text!r}"
        )
    return _Row(place, columns[0], " ".join(words))


def grid(
    path: Path,
    pictures: FloatArray,
    captions: Sequence[str],
    right: Sequence[bool] | None = None,
    *,
    columns: int = 4,
) -> None:
    """Draws pictures with their captions below.

    Args:
        path: Where to write; the suffix says the format.
        pictures: (N, H, W, 3), from 0 to 1.
        captions: N sentences.
        right: Whether each is right: a wrong one is drawn in red. None: not known.
        columns: Pictures in a row.

    Raises:
        InvalidArgumentError: Not as many captions as pictures.
        MissingPackageError: Matplotlib is not installed.
    """
    if len(pictures) != len(captions) or not len(captions):
        raise mps.InvalidArgumentError(
            f"grid: expected a caption a picture, got {len(captions)} for {len(pictures)}"
        )
    figures = optional_module("matplotlib.figure", EXTRA, USER)
    agg = optional_module("matplotlib.backends.backend_agg", EXTRA, USER)
    columns = min(columns, len(captions))
    rows = -(-len(captions) // columns)
    figure = figures.Figure(figsize=(2.6 * columns, 3.0 * rows), layout="constrained")
    agg.FigureCanvasAgg(figure)
    all_axes = np.atleast_1d(figure.subplots(rows, columns)).reshape(-1)
    for axes in all_axes:
        axes.set_axis_off()
    for index, caption in enumerate(captions):
        good = right is None or right[index]
        axes = all_axes[index]
        axes.imshow(np.clip(pictures[index], 0, 1), interpolation="nearest")
        axes.set_title(
            _wrapped(caption), fontsize=9, y=-0.05, va="top", color="black" if good else "#CC0000"
        )
    with atomic_path(path) as draft:
        figure.savefig(draft, dpi=100)


def _wrapped(text: str, width: int = 26) -> str:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
