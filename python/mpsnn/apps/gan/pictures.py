# SPDX-License-Identifier: MIT
"""Grids of digits, and the losses and the quality over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn.apps.gan.data import FloatArray
from mpsnn.apps.pictures import write
from mpsnn.files import atomic_path, optional_module
from mpsnn.training import EpochRecord

GAP = 2


def grid(pictures: FloatArray, columns: int, zoom: int = 2) -> NDArray[np.uint8]:
    """Sets pictures side by side, row by row.

    Args:
        pictures: (N, edge, edge, 1), paper -1 and ink 1.
        columns: Pictures of a row; the last row may be short.
        zoom: Edge of the square that a pixel becomes.

    Returns:
        One grey picture, ink white on black.

    Raises:
        InvalidArgumentError: Pictures of another shape, or a number below 1.
    """
    if pictures.ndim != 4 or pictures.shape[3] != 1 or 0 in pictures.shape:
        raise mps.InvalidArgumentError(
            f"grid: pictures: expected shape (N, edge, edge, 1), got {pictures.shape}"
        )
    if columns < 1 or zoom < 1:
        raise mps.InvalidArgumentError(
            f"grid: columns and zoom: expected 1 or more, got {columns} and {zoom}"
        )
    count, height, width = pictures.shape[:3]
    rows = -(-count // columns)
    grey = np.clip((pictures[..., 0] + 1.0) * 127.5 + 0.5, 0, 255).astype(np.uint8)
    cells = np.full((rows * columns, height + GAP, width + GAP), 40, np.uint8)
    cells[:count, :height, :width] = grey
    sheet = cells.reshape(rows, columns, height + GAP, width + GAP).swapaxes(1, 2)
    whole = sheet.reshape(rows * (height + GAP), columns * (width + GAP))[:-GAP, :-GAP]
    return np.asarray(whole.repeat(zoom, axis=0).repeat(zoom, axis=1), np.uint8)


def save_grid(path: str | Path, pictures: FloatArray, columns: int, zoom: int = 2) -> None:
    """Writes a grid of pictures; see `grid`.

    Args:
        path: Where to write; the suffix picks the format, one of
            `mpsnn.apps.pictures.WRITTEN`.
        pictures: As for `grid`.
        columns: As for `grid`.
        zoom: As for `grid`.

    Raises:
        MissingPackageError: Pillow is not installed.
        InvalidArgumentError: As for `grid`.
        FileError: The suffix is another, or nothing can be written there.
    """
    write(path, grid(pictures, columns, zoom) / 255, "gan")


def save_curves(path: str | Path, history: Sequence[EpochRecord]) -> None:
    """Draws both losses, and the quality where it was measured, over the epochs.

    Args:
        path: Where to write; the suffix picks the format, such as .png or .svg.
        history: Records of a run, one or more.

    Raises:
        MissingPackageError: Matplotlib is not installed.
    """
    agg = optional_module("matplotlib.backends.backend_agg", "gan", "drawing curves")
    figures = optional_module("matplotlib.figure", "gan", "drawing curves")
    figure = figures.Figure(figsize=(7, 4), layout="constrained")
    agg.FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    epochs = [record.epoch + 1 for record in history]
    axes.plot(epochs, [record.loss for record in history], label="discriminator's loss")
    axes.plot(epochs, [r.measures["generator"] for r in history], label="generator's loss")
    axes.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    axes.grid(alpha=0.3)
    judged = [record for record in history if "recognised" in record.measures]
    quality = axes.twinx()
    for name, colour in (("recognised", "tab:green"), ("spread", "tab:red")):
        values = [record.measures[name] for record in judged]
        places = [record.epoch + 1 for record in judged]
        quality.plot(places, values, color=colour, marker="o", markersize=3, label=name)
    quality.set(ylabel="share recognised, spread over digits", ylim=(0, 1.02))
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    with atomic_path(path) as draft:
        figure.savefig(draft, dpi=110)
