# SPDX-License-Identifier: MIT
"""Pictures to look at: PNG files, a comparison in three bands, and the loss over the steps.

Every file is written under another name first and then moved into place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mpsnn.apps.denoise.dataset import atomic_path, optional_module

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["bands", "loss_curve", "save_png"]


def save_png(path: str | Path, image: NDArray[np.floating], *, linear: bool = False) -> None:
    """Writes a picture as an 8-bit PNG.

    Pictures in the training space are shown as they are, for the tone map ends in the gamma that
    a screen expects. Linear values, such as an albedo, need the sRGB curve: ``linear=True``.

    Args:
        path: Where to write.
        image: Shape (H, W, 3) or (H, W); values outside [0, 1] are clipped.
        linear: Applies the sRGB curve.

    Raises:
        ImportError: Pillow is not installed.
        ValueError: The shape is another.
    """
    pixels = _to_bytes(_srgb(image) if linear else image)
    picture = optional_module("PIL.Image").fromarray(pixels)
    with atomic_path(path) as draft:
        picture.save(draft, format="PNG")


def bands(
    path: str | Path,
    noisy: NDArray[np.floating],
    denoised: NDArray[np.floating],
    clean: NDArray[np.floating],
    captions: Sequence[str] = ("noisy", "denoised", "clean"),
    *,
    zoom: int = 2,
) -> None:
    """Writes one picture of three bands: noisy over denoised over clean.

    Args:
        path: Where to write the PNG, (3 H zoom) high and (W zoom) wide, or (N W zoom) wide.
        noisy: A picture (H, W, 3) in the training space, or several (N, H, W, 3) to be set
            side by side.
        denoised: The same shape.
        clean: The same shape.
        captions: Three labels, drawn in the upper left of each band.
        zoom: Edge of the square that a pixel becomes.

    Raises:
        ImportError: Pillow is not installed.
        ValueError: The shapes differ, there are not three captions, or the zoom is not positive.
    """
    if not noisy.shape == denoised.shape == clean.shape:
        raise ValueError(
            f"expected three bands of one shape, got {noisy.shape}, {denoised.shape}, {clean.shape}"
        )
    if len(captions) != 3 or zoom < 1:
        raise ValueError(f"expected 3 captions and a zoom from 1 on, got {captions!r}, {zoom}")
    rows = [_side_by_side(band) for band in (noisy, denoised, clean)]
    pixels = _to_bytes(np.concatenate(rows)).repeat(zoom, axis=0).repeat(zoom, axis=1)
    picture = optional_module("PIL.Image").fromarray(pixels)
    pen = optional_module("PIL.ImageDraw").Draw(picture)
    for index, caption in enumerate(captions):
        place = (6, index * len(pixels) // 3 + 5)
        left, upper, right, lower = pen.textbbox(place, caption)
        pen.rectangle((left - 4, upper - 3, right + 4, lower + 3), fill=(16, 16, 16))
        pen.text(place, caption, fill=(255, 255, 255))
    with atomic_path(path) as draft:
        picture.save(draft, format="PNG")


def loss_curve(
    path: str | Path,
    epochs: Sequence[float],
    losses: Sequence[float],
    validation: tuple[Sequence[float], Sequence[float]] | None = None,
) -> None:
    """Draws the loss over the epochs of a training, on a logarithmic scale.

    Args:
        path: Where to write; the suffix picks the format, such as .png or .svg.
        epochs: Epoch numbers.
        losses: The training loss of each of them.
        validation: Epoch numbers and PSNR in dB of the validations, if there were any; drawn
            against an axis of its own.

    Raises:
        ImportError: Matplotlib is not installed.
        ValueError: There are not as many epochs as losses, or none.
    """
    curves = {"training": (epochs, losses)}
    if validation is not None:
        curves["validation"] = validation
    for name, (x, y) in curves.items():
        if len(x) != len(y) or len(x) == 0:
            raise ValueError(f"{name}: expected one value per epoch, got {len(y)} for {len(x)}")
    # A figure without pyplot leaves the program's own choice of a screen backend alone.
    agg = optional_module("matplotlib.backends.backend_agg")
    figure = optional_module("matplotlib.figure").Figure(figsize=(7, 4), layout="constrained")
    agg.FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(epochs, losses, linewidth=1.0)
    axes.set(xlabel="epoch", ylabel="training loss")
    if all(value > 0 for value in losses):
        axes.set_yscale("log")
    axes.grid(alpha=0.3, which="both")
    if validation is not None:
        quality = axes.twinx()
        quality.plot(*validation, color="tab:orange", linewidth=1.0, marker="o", markersize=3)
        quality.set_ylabel("validation PSNR in dB", color="tab:orange")
    with atomic_path(path) as draft:
        figure.savefig(draft, dpi=120)


def _srgb(linear: NDArray[np.floating]) -> NDArray[np.floating]:
    x = np.clip(linear, 0.0, 1.0)
    return np.asarray(np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055))


def _to_bytes(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[-1] != 3) or image.size == 0:
        raise ValueError(f"expected a picture of shape (H, W, 3) or (H, W), got {image.shape}")
    return np.asarray(np.clip(np.nan_to_num(image), 0.0, 1.0) * 255.0 + 0.5, np.uint8)


def _side_by_side(band: NDArray[np.floating]) -> NDArray[np.floating]:
    if band.ndim not in (3, 4) or band.shape[-1] != 3:
        raise ValueError(f"expected a band of shape (H, W, 3) or (N, H, W, 3), got {band.shape}")
    return band if band.ndim == 3 else np.concatenate(list(band), axis=1)
