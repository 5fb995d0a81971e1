# SPDX-License-Identifier: MIT
"""Random numbers on the device, and the finished generator that draws from them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn.apps.gan.model import ModelOptions
from mpsnn.committing import SINGLE, Way

GENERATOR_KEY = "gan.generator"
OPTIONS_KEY = "gan.model"


class Noise:
    """Normal numbers as images: made by the device and copied there.

    Args:
        device: Where they are made.
        batch: Images of a fill.
        latent: Channels of each, which is one pixel.
        seed: Where the sequence begins.
        random: A generator that goes on instead, from an archive.
    """

    def __init__(
        self,
        device: mps.Device,
        batch: int,
        latent: int,
        seed: int = 0,
        random: mps.DeviceKernel | None = None,
    ) -> None:
        self.random = random or mps.MatrixRandomPhilox(
            device,
            data_type=mps.DataType.FLOAT32,
            seed=seed,
            distribution_descriptor=mps.MatrixRandomDistributionDescriptor.normal(0.0, 1.0),
            label="noise",
        )
        self._rows = mps.Matrix(device, rows=batch, columns=latent)
        self._image = mps.Image(device, size=(batch, 1, 1, latent))
        self._copy = mps.MatrixCopyToImage(device, label="noise to image")

    def encode(self, commands: mps.CommandBuffer) -> mps.Image:
        """Records the next numbers.

        Args:
            commands: Where they are recorded. A queue runs in order, so that all its command
                buffers share one image.

        Returns:
            The image, (batch, 1, 1, latent).
        """
        self.random.encode_method(commands, "encode", [[self._rows]])
        self._copy.encode(commands, self._rows, self._image)
        return self._image


class Sampler:
    """A generator for use, on one device.

    Args:
        graph: A graph of `model.build_generator`.
        options: Size of the net.
    """

    def __init__(self, graph: mps.Graph, options: ModelOptions) -> None:
        self.graph = graph
        self.options = options
        self._queue = graph.device.command_queue("sampling")

    @classmethod
    def load(cls, path: str | Path, device: mps.Device | None = None) -> Sampler:
        """Restores a generator from an archive that training wrote.

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
                f"{path}: expected an archive of `mpsnn gan train`, it has no '{OPTIONS_KEY}'"
            )
        options = ModelOptions(**json.loads(archive.metadata[OPTIONS_KEY]))
        return cls(archive.decode_graph(GENERATOR_KEY), options)

    def __call__(
        self, count: int, seed: int = 0, way: Way = SINGLE
    ) -> NDArray[np.float32]:
        """Draws pictures.

        Args:
            count: How many.
            seed: Where the random numbers begin.
            way: How the work is handed to the device.

        Returns:
            (count, edge, edge, 1), -1 to 1.

        Raises:
            InvalidArgumentError: The count is not positive.
        """
        if count < 1:
            raise mps.InvalidArgumentError(f"gan: count: expected 1 or more, got {count}")
        noise = Noise(self.graph.device, count, self.options.latent, seed)
        commands = way.command_buffer(self._queue)
        outputs = self.graph.encode(commands, {"noise": noise.encode(commands)})
        commands.commit()
        commands.wait_until_completed()
        return np.array(outputs["picture"], np.float32)
