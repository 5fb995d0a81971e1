# SPDX-License-Identifier: MIT
"""Picture files: every kind of them is read as it is seen, and written as its ending says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mpsnn as mps
from mpsnn.apps import pictures
from mpsnn.apps.caption.pictures import read_picture

EXTRA = "style"


def ramp(dtype: str, white: float) -> np.ndarray:
    """Black to white in 5 columns of 4 rows."""
    return np.tile(np.linspace(0, white, 5), (4, 1)).astype(dtype)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    """The file."""
    image.save(path, **options)  # type: ignore[arg-type]
    return path


GREY = np.repeat(np.linspace(0, 1, 5)[None, :, None], 4, 0).repeat(3, 2)


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, Image.fromarray(ramp("uint16", 65535)))
    np.testing.assert_allclose(pictures.read(path, EXTRA), GREY, rtol=0, atol=1 / 255)


def test_big_endian_sixteen_bits(tmp_path: Path) -> None:
    image = Image.frombytes("I;16B", (5, 4), ramp(">u2", 65535).tobytes())
    path = saved(tmp_path / "deep.tif", image)
    np.testing.assert_allclose(pictures.read(path, EXTRA), GREY, rtol=0, atol=1 / 255)


@pytest.mark.parametrize(("dtype", "mode"), [("float32", "F"), ("int32", "I")])
def test_values_without_a_range_are_refused(tmp_path: Path, dtype: str, mode: str) -> None:
    path = saved(tmp_path / "data.tif", Image.fromarray(ramp(dtype, 1000)))
    with pytest.raises(
        mps.FileError, match=rf"data\.tif: .*8 or 16 bits a channel, got .*'{mode}'"
    ):
        pictures.read(path, EXTRA)
    with pytest.raises(mps.FileError, match=r"data\.tif: .*8 or 16 bits"):
        read_picture(path, 16)


def test_pictures_are_turned_as_their_exif_says(tmp_path: Path) -> None:
    seen = np.zeros((16, 8, 3), np.uint8)
    seen[:, :4] = 255  # white on the left
    held = Image.fromarray(np.rot90(seen))  # as the camera was held
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it a quarter to the right
    path = saved(tmp_path / "held.png", held, exif=exif)
    assert np.array_equal(pictures.read(path, EXTRA), seen.astype(np.float32) / 255)
    assert read_picture(path, 8)[:, 0].mean() > 0.9


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_are_white(tmp_path: Path, mode: str) -> None:
    pixels = np.zeros((2, 4, 4), np.uint8)
    pixels[:, :2, 3] = 255  # black, its right half transparent
    path = saved(tmp_path / "clear.png", Image.fromarray(pixels).convert(mode))
    with Image.open(path) as stored:
        assert stored.has_transparency_data
    assert np.array_equal(pictures.read(path, EXTRA)[0, :, 0], [0, 0, 1, 1])


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_other_modes_are_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.full((4, 4, 3), 255, np.uint8)).convert(mode)
    path = saved(tmp_path / ("white.png" if mode in "1LPRGB" else "white.tif"), image)
    made = pictures.read(path, EXTRA)
    assert made.shape == (4, 4, 3)
    assert made.min() > 0.97


def test_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    for name, text in {
        "text.png": "it cannot be read",
        "none.png": "there is no such file",
        ".": "it is a folder",
    }.items():
        with pytest.raises(mps.FileError, match=f"expected a picture, {text}"):
            pictures.read(tmp_path / name, EXTRA)


@pytest.mark.parametrize("suffix", pictures.WRITTEN)
@pytest.mark.parametrize("shape", [(9, 7, 3), (9, 7)])
def test_the_ending_says_the_format(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    path = tmp_path / f"made{suffix.upper()}"
    picture = np.full(shape, 0.4, np.float32)
    pictures.write(path, picture, EXTRA)
    with Image.open(path) as image:
        assert image.format == Image.registered_extensions()[suffix]
    read = pictures.read(path, EXTRA)
    np.testing.assert_allclose(read, np.full((9, 7, 3), 0.4), rtol=0, atol=0.01)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["made", "made.txt", "made.pdf"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(mps.FileError, match=r"expected a file ending in \.bmp, \.jpeg, "):
        pictures.write(tmp_path / name, np.zeros((2, 2, 3)), EXTRA)
    assert not list(tmp_path.iterdir())
