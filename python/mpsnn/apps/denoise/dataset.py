# SPDX-License-Identifier: MIT
"""Pictures for training a denoiser: noisy and clean colour with albedo and normals.

The training space
    Renderers deliver linear radiance without an upper bound, and a mean squared error over it
    would see little but the lamps. ``tonemap`` brings radiance to [0, 1):
    ``(x / (1 + x)) ** (1 / 2.2)`` per channel. The quotient tames lamps and fireflies and can be
    inverted; the power spaces the values about as the eye does, so that errors in the shadows
    count and the result can be shown as it is. A data set holds tone-mapped colour: rendered
    samples and the files of a folder are tone-mapped when they become a ``DataSet``.

Normals
    Rendered normals are in camera space: x to the right, y up, z towards the camera. Mirroring a
    picture then mirrors the x component exactly, which ``DataSet.batches`` does. For a folder
    with world-space normals leave ``mirror`` off.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpsnn import FileError, files
from mpsnn.apps import pictures
from mpsnn.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

__all__ = [
    "ROLES",
    "Batch",
    "DataError",
    "DataSet",
    "FloatArray",
    "Sample",
    "atomic_path",
    "inverse_tonemap",
    "load_folder",
    "optional_module",
    "picture_names",
    "save_exr",
    "save_folder",
    "tonemap",
]

FloatArray = NDArray[np.float32]

ROLES = ("noisy", "clean", "albedo", "normals")
GAMMA = 2.2

EXTRA = "denoise"

# What NumPy, Mitsuba and Pillow raise on damaged files; NumPy reads its header with the tokenizer.
UNREADABLE = (
    FileError,
    OSError,
    ValueError,
    EOFError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    TokenError,
)


class DataError(ValueError):
    """Pictures that cannot be trained on; the message names the file and what is wrong."""


def optional_module(name: str) -> ModuleType:
    """Imports a package that only the denoiser needs.

    Args:
        name: A module of one of the packages in the extra ``denoise``.

    Returns:
        The module.

    Raises:
        MissingPackageError: The package is not installed; the message says how to get it.
    """
    return files.optional_module(name, EXTRA, "the denoiser")


def tonemap(radiance: NDArray[np.floating]) -> FloatArray:
    """Brings linear radiance to the training space, [0, 1).

    Args:
        radiance: Linear radiance, any shape; values below 0 count as 0.

    Returns:
        ``(x / (1 + x)) ** (1 / 2.2)``, same shape.
    """
    x = np.maximum(np.asarray(radiance, np.float32), 0.0)
    return np.asarray((x / (1.0 + x)) ** (1.0 / GAMMA), np.float32)


def inverse_tonemap(image: NDArray[np.floating]) -> FloatArray:
    """Brings pictures from the training space back to linear radiance.

    Args:
        image: Values in [0, 1), any shape; values outside are clipped.

    Returns:
        Linear radiance from 0 to about 16,000, same shape.
    """
    ratio = np.clip(np.asarray(image, np.float32), 0.0, 1.0) ** GAMMA
    return np.asarray(ratio / np.maximum(1.0 - ratio, 2.0**-14), np.float32)


@dataclass(frozen=True)
class Sample:
    """One rendered picture, float32 arrays of shape (H, W, 3).

    Attributes:
        noisy: Linear radiance of a few samples per pixel.
        clean: Linear radiance of many other samples per pixel.
        albedo: Share of light that the seen surface reflects diffusely, in [0, 1].
        normals: Normals of the seen surface in camera space, in [-1, 1]; 0 for the sky.
    """

    noisy: FloatArray
    clean: FloatArray
    albedo: FloatArray
    normals: FloatArray


class Batch(NamedTuple):
    """Pictures in the training space, float32 arrays of shape (N, H, W, 3), or one (H, W, 3)."""

    noisy: FloatArray
    clean: FloatArray
    albedo: FloatArray
    normals: FloatArray

    @property
    def inputs(self) -> FloatArray:
        """What a denoiser sees: noisy, albedo, normals side by side, shape (..., 9)."""
        return np.concatenate((self.noisy, self.albedo, self.normals), axis=-1)


@dataclass(frozen=True, eq=False)
class DataSet:
    """Pictures of one size in the training space, float32 arrays of shape (count, H, W, 3).

    Attributes:
        noisy: Tone-mapped noisy colour in [0, 1).
        clean: Tone-mapped clean colour in [0, 1).
        albedo: Albedo in [0, 1].
        normals: Normals in [-1, 1].
    """

    noisy: FloatArray
    clean: FloatArray
    albedo: FloatArray
    normals: FloatArray

    def __post_init__(self) -> None:
        shape = self.noisy.shape
        if len(shape) != 4 or shape[-1] != 3 or 0 in shape:
            raise DataError(f"noisy: expected shape (count, H, W, 3), got {shape}")
        for role in ROLES:
            array = getattr(self, role)
            if array.shape != shape or array.dtype != np.float32:
                got = f"{array.dtype} {array.shape}"
                raise DataError(f"{role}: expected float32 {shape} as noisy has, got {got}")

    def __len__(self) -> int:
        return len(self.noisy)

    def __getitem__(self, index: int) -> Batch:
        """Returns picture ``index``, arrays of shape (H, W, 3)."""
        return Batch(*(getattr(self, role)[index] for role in ROLES))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every picture in pixels."""
        return self.noisy.shape[1], self.noisy.shape[2]

    @classmethod
    def from_samples(cls, samples: Sequence[Sample]) -> DataSet:
        """Collects pictures and tone-maps their colour.

        Args:
            samples: At least one sample, all of one size.

        Returns:
            The data set, in the order of the samples.

        Raises:
            DataError: There is no sample, or the sizes differ.
        """
        if not samples:
            raise DataError("a data set needs at least one picture")
        first = samples[0].noisy.shape
        for index, sample in enumerate(samples):
            for role in ROLES:
                shape = getattr(sample, role).shape
                if shape != first:
                    raise DataError(f"picture {index}, {role}: expected {first}, got {shape}")
        return cls(
            noisy=tonemap(np.stack([sample.noisy for sample in samples])),
            clean=tonemap(np.stack([sample.clean for sample in samples])),
            albedo=np.stack([sample.albedo for sample in samples]).astype(np.float32),
            normals=np.stack([sample.normals for sample in samples]).astype(np.float32),
        )

    def batches(
        self,
        batch_size: int,
        rng: np.random.Generator,
        *,
        crop: tuple[int, int] | None = None,
        mirror: bool = False,
        repeats: int = 1,
    ) -> Iterator[Batch]:
        """Goes once through the pictures in a random order.

        Pictures that do not fill a last batch are left out of this pass.

        Args:
            batch_size: Pictures per batch, N.
            rng: Where the order, the cutouts and the mirroring come from.
            crop: Height and width of a random cutout of every picture; None for all of it.
            mirror: Mirrors every other picture left to right, with the x component of its
                normals negated; right for camera-space normals.
            repeats: How often every picture occurs in this pass, each time cut out anew.

        Yields:
            Batches with arrays of shape (N, H, W, 3), or (N, *crop, 3).

        Raises:
            DataError: The batch is larger than the pass, or the cutout than the pictures.
        """
        if not 1 <= batch_size <= len(self) * repeats:
            raise DataError(
                f"batch_size {batch_size}: expected 1 to {len(self) * repeats}, "
                f"the {len(self)} pictures times {repeats} repeats"
            )
        window = crop or self.size
        if not all(1 <= part <= whole for part, whole in zip(window, self.size, strict=True)):
            raise DataError(f"crop {crop}: expected at least 1 x 1 and at most {self.size}")
        order = rng.permutation(np.repeat(np.arange(len(self)), repeats))
        for start in range(0, len(order) - batch_size + 1, batch_size):
            cutouts = [
                self._cutout(int(index), window, rng, mirror=mirror)
                for index in order[start : start + batch_size]
            ]
            yield Batch(*(np.stack(pictures) for pictures in zip(*cutouts, strict=True)))

    def _cutout(
        self, index: int, window: tuple[int, int], rng: np.random.Generator, *, mirror: bool
    ) -> Batch:
        top, left = (
            int(rng.integers(whole - part + 1))
            for whole, part in zip(self.size, window, strict=True)
        )
        rows, columns = slice(top, top + window[0]), slice(left, left + window[1])
        cut = Batch(*(picture[rows, columns] for picture in self[index]))
        if not (mirror and rng.random() < 0.5):
            return cut
        cut = Batch(*(picture[:, ::-1] for picture in cut))
        return cut._replace(normals=cut.normals * np.array([-1, 1, 1], np.float32))


def load_folder(path: str | Path) -> DataSet:
    """Reads pictures of one's own: four files per picture, all pictures of one size.

    The files are named ``<name>.<role>.exr``, ``.npy`` or ``.png`` with the roles noisy, clean,
    albedo and normals; other files are passed over. Colour is linear radiance and is tone-mapped
    here. An NPY file holds floats of shape (H, W, 3). An EXR file has three channels; a fourth,
    alpha, is dropped. A PNG is read as ``pictures.save_png`` writes one: colour is tone-mapped
    already, albedo has the sRGB curve, and normals are ``(n + 1) / 2``.

    Args:
        path: The folder.

    Returns:
        The pictures in the order of their names.

    Raises:
        DataError: The folder is missing or holds no pictures, a file is missing or cannot be
            read, or its shape, type or values are not as described.
        ImportError: A file is EXR and Mitsuba is not installed, or PNG and Pillow is not.
    """
    files = _find_pictures(Path(path))
    samples: list[Sample] = []
    shape: tuple[int, ...] | None = None
    for parts in files.values():
        arrays = {role: _read_picture(parts[role], role) for role in ROLES}
        for role, array in arrays.items():
            shape = shape or array.shape
            if array.shape != shape:
                raise DataError(
                    f"{parts[role]}: expected shape {shape} as the pictures before it have, "
                    f"got {array.shape}"
                )
        samples.append(Sample(**arrays))
    return DataSet.from_samples(samples)


def picture_names(path: str | Path) -> list[str]:
    """Names of the pictures that `load_folder` reads, in its order.

    Args:
        path: The folder.

    Returns:
        At least one name.

    Raises:
        DataError: The folder is missing or holds no pictures, or a file is missing.
    """
    return list(_find_pictures(Path(path)))


def _find_pictures(folder: Path) -> dict[str, dict[str, Path]]:
    """Maps every picture's name to its four files, by role."""
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with pictures, found none")
    found: dict[str, dict[str, Path]] = {}
    for file in sorted(folder.iterdir()):
        name, _, role = file.stem.rpartition(".")
        if not name or role not in ROLES or file.suffix.lower() not in READERS:
            continue
        parts = found.setdefault(name, {})
        if role in parts:
            raise DataError(f"{file}: expected one {role} file, there is also {parts[role].name}")
        parts[role] = file
    if not found:
        raise DataError(f"{folder}: no <name>.<role>.exr, .npy or .png, the role one of {ROLES}")
    for name, parts in found.items():
        for role in ROLES:
            if role not in parts:
                have = ", ".join(file.name for file in parts.values())
                raise DataError(
                    f"{folder / name}.{role}.exr, .npy or .png is missing beside {have}"
                )
    return found


def _read_picture(file: Path, role: str) -> FloatArray:
    """Reads one file as float32 (H, W, 3) and checks its values."""
    try:
        pixels = READERS[file.suffix.lower()](file, role)
    except UNREADABLE as error:
        raise DataError(f"{file}: cannot be read, damaged or cut short? {error}") from error
    if pixels.ndim != 3 or pixels.shape[-1] != 3 or 0 in pixels.shape:
        raise DataError(f"{file}: expected shape (H, W, 3), got {pixels.shape}")
    if not np.issubdtype(pixels.dtype, np.floating):
        raise DataError(f"{file}: expected floats, got {pixels.dtype}")
    array = np.asarray(pixels, np.float32)
    bad = np.argwhere(~np.isfinite(array).all(axis=-1))
    if len(bad):
        row, column = bad[0]
        raise DataError(
            f"{file}: {len(bad)} pixels are NaN or infinite, the first at row {row}, "
            f"column {column}"
        )
    low = {"albedo": 0.0, "normals": -1.0}.get(role)
    slack = 1e-3  # rounding of half floats and of renderers
    if low is not None and (array.min() < low - slack or array.max() > 1.0 + slack):
        span = f"{array.min():g} to {array.max():g}"
        raise DataError(f"{file}: expected values from {low:g} to 1, got {span}")
    return array


def _read_npy(file: Path, _role: str) -> NDArray[np.generic]:
    with file.open("rb") as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def _read_exr(file: Path, _role: str) -> FloatArray:
    bitmap = _mitsuba().Bitmap(str(file))
    pixels = np.array(bitmap, np.float32)
    return pixels[..., :3] if bitmap.has_alpha() else pixels


def _read_png(file: Path, role: str) -> FloatArray:
    shown = pictures.read(file, EXTRA)
    if role == "normals":
        return np.asarray(2 * shown - 1, np.float32)
    if role == "albedo":
        curve = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
        return np.asarray(curve, np.float32)
    return inverse_tonemap(shown)


READERS: dict[str, Callable[[Path, str], NDArray[np.generic]]] = {
    ".exr": _read_exr,
    ".npy": _read_npy,
    ".png": _read_png,
}


def save_exr(path: str | Path, radiance: NDArray[np.floating]) -> None:
    """Writes linear radiance as an EXR of float32 channels.

    Args:
        path: Where to write.
        radiance: Shape (H, W, 3).

    Raises:
        ImportError: Mitsuba is not installed.
    """
    bitmap = _mitsuba().Bitmap(np.ascontiguousarray(radiance, np.float32))
    with atomic_path(path) as draft:
        bitmap.write(str(draft))


def save_folder(path: str | Path, scenes: DataSet, first_seed: int = 0) -> None:
    """Writes scenes as the EXR pictures that `load_folder` reads.

    Colour is tone-mapped in a data set and is brought back to linear radiance: it differs from
    what was rendered by roundings, and radiance above about 16,000 is cut off.

    Args:
        path: The folder; made if missing. Files in it that have the same name are replaced.
        scenes: The pictures.
        first_seed: Seed of the first scene: the files are ``scene-<seed>.<role>.exr``.

    Raises:
        FileError: The folder cannot be made or written to.
        ImportError: Mitsuba is not installed.
    """
    for index in range(len(scenes)):
        for role in ROLES:
            array = getattr(scenes, role)[index]
            linear = inverse_tonemap(array) if role in ("noisy", "clean") else array
            save_exr(Path(path) / f"scene-{first_seed + index}.{role}.exr", linear)


def _mitsuba() -> ModuleType:
    mi = optional_module("mitsuba")
    if mi.variant() is None:
        mi.set_variant("scalar_rgb")
    return mi
