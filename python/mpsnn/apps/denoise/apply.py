# SPDX-License-Identifier: MIT
"""The finished denoiser: restored from an archive and applied to pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn.apps.denoise.dataset import FloatArray
from mpsnn.apps.denoise.model import COLOURS, INPUT_CHANNELS, INPUTS, ModelOptions
from mpsnn.committing import SINGLE, Way

GRAPH_KEY = "denoiser"
OPTIONS_KEY = "model"


def with_unused_channel(pictures: NDArray[np.float32]) -> FloatArray:
    """Adds the zero channel that the net's sources have: (..., 3) becomes (..., 4)."""
    padding = [(0, 0)] * (pictures.ndim - 1) + [(0, INPUT_CHANNELS - pictures.shape[-1])]
    return np.pad(np.asarray(pictures, np.float32), padding)


class Denoiser:
    """A net for use, on one device.

    Args:
        graph: A graph of `model.build_inference`.
        options: Size of the net.
    """

    def __init__(self, graph: mps.Graph, options: ModelOptions) -> None:
        self.graph = graph
        self.options = options
        self._queue = graph.device.command_queue("denoiser")

    @classmethod
    def load(cls, path: str | Path, device: mps.Device | None = None) -> Denoiser:
        """Restores a net from an archive that training wrote.

        Args:
            path: The archive.
            device: Where it shall run; None: the best here.

        Raises:
            FileError: The file cannot be read.
            ArchiveError: It is damaged, or not a denoiser's.
        """
        archive = mps.KeyedUnarchiver(device or mps.Device()).open(str(path))
        if OPTIONS_KEY not in archive.metadata or GRAPH_KEY not in set(archive.keys()):
            raise mps.ArchiveError(
                f"{path}: expected a denoiser's archive with the key '{GRAPH_KEY}', "
                f"got keys {sorted(archive.keys())}"
            )
        try:
            values = json.loads(archive.metadata[OPTIONS_KEY])
            options = ModelOptions(**{**values, "widths": tuple(values["widths"])})
        except (KeyError, TypeError, ValueError) as error:
            raise mps.ArchiveError(f"{path}: the net's sizes cannot be read: {error}") from error
        return cls(archive.decode_graph(GRAPH_KEY), options)

    def __call__(
        self,
        noisy: FloatArray,
        albedo: FloatArray,
        normals: FloatArray,
        *,
        pad: bool = False,
    ) -> FloatArray:
        """Denoises pictures.

        Args:
            noisy: Tone-mapped colour, (N, H, W, 3) or (H, W, 3).
            albedo: Same shape.
            normals: Same shape.
            pad: Mirror the pictures at their lower and right edge to a size that the poolings can
                divide, and cut the result; False: such a size is an error.

        Returns:
            Denoised colour of the same shape.

        Raises:
            InvalidArgumentError: Shapes differ or do not fit the net; the text names the array.
        """
        (denoised,) = self.each([(noisy, albedo, normals)], pad=pad)
        return denoised

    def each(
        self,
        pictures: Iterable[tuple[FloatArray, FloatArray, FloatArray]],
        *,
        way: Way = SINGLE,
        pad: bool = False,
    ) -> Iterator[FloatArray]:
        """Denoises one picture or batch after the other.

        Args:
            pictures: Colour, albedo and normals of each, as for a call; each is asked for when
                there is room in flight.
            way: How they are handed to the device.
            pad: As for a call.

        Yields:
            The denoised colour of each, in order.

        Raises:
            InvalidArgumentError: As for a call.
            BatchError: The device failed.
        """
        sizes: list[tuple[int, ...]] = []

        def sources() -> Iterator[dict[str, FloatArray]]:
            for noisy, albedo, normals in pictures:
                sizes.append(noisy.shape)
                yield self._sources(noisy, albedo, normals, pad=pad)

        def encode(commands: mps.CommandBuffer, batch: dict[str, FloatArray]) -> mps.Image:
            return self.graph.encode(commands, batch)["denoised"]

        for image in way.run(self._queue, sources(), encode):
            shape = sizes.pop(0)
            denoised = np.array(image, np.float32)[:, : shape[-3], : shape[-2], :]
            yield denoised.reshape(shape)

    def _sources(
        self, noisy: FloatArray, albedo: FloatArray, normals: FloatArray, *, pad: bool
    ) -> dict[str, FloatArray]:
        pictures = dict(zip(INPUTS, (noisy, albedo, normals), strict=True))
        shape = noisy.shape
        for name, picture in pictures.items():
            if picture.ndim not in (3, 4) or picture.shape[-1] != COLOURS or picture.shape != shape:
                raise mps.InvalidArgumentError(
                    f"denoiser: {name}: expected shape (H, W, {COLOURS}) or (N, H, W, {COLOURS}), "
                    f"the same for all, got {picture.shape} beside noisy {shape}"
                )
        height, width = shape[-3:-1]
        if pad:
            margin = [(0, 0)] * (noisy.ndim - 3) + [
                (0, -height % self.options.divisor),
                (0, -width % self.options.divisor),
                (0, 0),
            ]
            pictures = {
                name: np.pad(picture, margin, mode="symmetric")
                for name, picture in pictures.items()
            }
        else:
            self.options.check_size(height, width)
        return {name: with_unused_channel(picture) for name, picture in pictures.items()}
