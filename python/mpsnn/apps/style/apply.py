# SPDX-License-Identifier: MIT
"""The finished net: restored from an archive and applied to photographs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import mpsnn as mps
from mpsnn.apps.pictures import Picture
from mpsnn.apps.style.model import DIVISOR, ModelOptions, check_size
from mpsnn.committing import SINGLE, Way

OPTIONS_KEY = "style.model"
BORDER = 32  # mirrored pixels around a picture: the zeros that convolutions add show inside of it


def graph_key(style: int) -> str:
    """Key of a style's graph in archives."""
    return f"style.{style}"


class Styliser:
    """A net for use, on one device.

    Args:
        graphs: Graphs of `model.build_inference`, one a style.
    """

    def __init__(self, graphs: Sequence[mps.Graph]) -> None:
        self.graphs = list(graphs)
        self._queue = graphs[0].device.command_queue("style")

    @classmethod
    def load(cls, path: str | Path, device: mps.Device | None = None) -> Styliser:
        """Restores a net from an archive that training wrote.

        Args:
            path: The archive.
            device: Where it shall run; None: the best here.

        Raises:
            FileError: The file cannot be read.
            ArchiveError: It is damaged, or of something else.
        """
        archive = mps.KeyedUnarchiver(device or mps.Device()).open(str(path))
        if OPTIONS_KEY not in archive.metadata:
            raise mps.ArchiveError(
                f"{path}: expected an archive of `mpsnn style train`, it has no '{OPTIONS_KEY}'"
            )
        try:
            options = ModelOptions(**json.loads(archive.metadata[OPTIONS_KEY]))
        except (TypeError, ValueError) as error:
            raise mps.ArchiveError(f"{path}: the net's sizes cannot be read: {error}") from error
        return cls([archive.decode_graph(graph_key(style)) for style in range(options.styles)])

    def __call__(
        self, picture: Picture, style: int = 0, *, pad: bool = False, way: Way = SINGLE
    ) -> Picture:
        """Paints a photograph.

        Args:
            picture: (H, W, 3), 0 to 1.
            style: Which style, counted from 0.
            pad: Mirror the picture at its lower and right edge to a size that the net can take, and
                cut the result; False: such a size is an error.
            way: How the work is handed to the device.

        Returns:
            The stylised picture, of the same shape.

        Raises:
            InvalidArgumentError: The shape does not fit, or there is no such style.
        """
        if not 0 <= style < len(self.graphs):
            raise mps.InvalidArgumentError(
                f"style: expected 0 to {len(self.graphs) - 1}, the styles of the net, got {style}"
            )
        if picture.ndim != 3 or picture.shape[2] != 3:
            raise mps.InvalidArgumentError(
                f"style: picture: expected shape (H, W, 3), got {picture.shape}"
            )
        height, width = picture.shape[:2]
        if pad:
            margin = ((0, -height % DIVISOR), (0, -width % DIVISOR), (0, 0))
            picture = np.pad(picture, margin, mode="symmetric")
        check_size(*picture.shape[:2])
        around = np.pad(picture, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), mode="symmetric")
        source = np.ascontiguousarray(around[None], np.float32)
        graph = self.graphs[style]
        (image,) = way.run(
            self._queue,
            [source],
            lambda commands, batch: graph.encode(commands, {"content": batch})["stylised"],
        )
        stylised: Picture = np.array(image, np.float32)[0, BORDER:, BORDER:]
        return stylised[:height, :width]
