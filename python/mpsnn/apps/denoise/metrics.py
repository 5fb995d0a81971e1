# SPDX-License-Identifier: MIT
"""How close two pictures are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mpsnn.apps.denoise.dataset import optional_module

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["psnr", "ssim"]

SSIM_WINDOW = 7


def psnr(a: NDArray[np.floating], b: NDArray[np.floating], peak: float = 1.0) -> float:
    """Measures the peak signal-to-noise ratio over all values of two arrays.

    Args:
        a: Pictures of any shape.
        b: Pictures of the same shape.
        peak: The value of white.

    Returns:
        ``10 log10(peak^2 / mean((a - b)^2))`` in decibels; infinite for equal arrays.

    Raises:
        ValueError: The shapes differ or the arrays are empty.
    """
    _check(a, b)
    error = float(np.mean((np.asarray(a, np.float64) - np.asarray(b, np.float64)) ** 2))
    return float("inf") if error == 0.0 else float(10.0 * np.log10(peak**2 / error))


def ssim(a: NDArray[np.floating], b: NDArray[np.floating], peak: float = 1.0) -> float:
    """Measures the structural similarity of colour pictures.

    Args:
        a: One picture (H, W, C), or several (N, H, W, C), of which the mean is taken.
        b: Pictures of the same shape.
        peak: The value of white.

    Returns:
        The mean similarity over windows of 7 x 7 pixels and over channels, 1 for equal pictures.

    Raises:
        ImportError: scikit-image is not installed.
        ValueError: The shapes differ, have another rank, or are smaller than the window.
    """
    _check(a, b)
    if a.ndim not in (3, 4) or min(a.shape[-3:-1]) < SSIM_WINDOW:
        raise ValueError(f"expected (H, W, C) or (N, H, W, C) from 7 x 7 pixels on, got {a.shape}")
    compare = optional_module("skimage.metrics").structural_similarity
    pairs = zip(a.reshape(-1, *a.shape[-3:]), b.reshape(-1, *b.shape[-3:]), strict=True)
    values = [
        compare(
            np.asarray(one, np.float64),
            np.asarray(other, np.float64),
            win_size=SSIM_WINDOW,
            channel_axis=-1,
            data_range=peak,
        )
        for one, other in pairs
    ]
    return float(np.mean(values))


def _check(a: NDArray[np.floating], b: NDArray[np.floating]) -> None:
    if a.shape != b.shape or a.size == 0:
        raise ValueError(f"expected two arrays of one shape with values, got {a.shape}, {b.shape}")
