# SPDX-License-Identifier: MIT
"""The finished generator: restored from an archive, it draws digits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn.apps.gan.data import CLASSES, FloatArray, one_hot
from mpsnn.apps.gan.model import DIGITS, LATENT, SAMPLES, ModelOptions
from mpsnn.apps.gan.quality import Classifier
from mpsnn.committing import SINGLE, StepTimeline, Way
from mpsnn.memory import array_bytes, check_fits

GENERATOR_KEY, CLASSIFIER_KEY = "generator", "classifier"
MODEL_KEY, ACCURACY_KEY = "gan model", "classifier accuracy"
BATCH = 64


class RandomLatents:
    """Random numbers for the generator, made on the device and copied to images there.

    Args:
        random: Makes normal float32 numbers; it keeps its place in the sequence.
        latent: Numbers of a picture.
    """

    def __init__(self, random: mps.MatrixRandomPhilox, latent: int) -> None:
        self.random = random
        self._latent = latent
        self._copy = mps.MatrixCopyToImage(random.device, label="latent")

    @classmethod
    def seeded(cls, device: mps.Device, latent: int, seed: int) -> RandomLatents:
        """A fresh sequence.

        Args:
            device: Where the numbers are made.
            latent: Numbers of a picture.
            seed: Where the sequence begins.
        """
        distribution = mps.MatrixRandomDistributionDescriptor.normal(0.0, 1.0)
        random = mps.MatrixRandomPhilox(
            device,
            data_type=mps.DataType.FLOAT32,
            seed=seed,
            distribution_descriptor=distribution,
            label="random",
        )
        return cls(random, latent)

    def encode(self, commands: mps.CommandBuffer, count: int) -> mps.Image:
        """Records the making of the next numbers.

        Args:
            commands: Where it is recorded.
            count: Pictures.

        Returns:
            The image that will hold them, (count, 1, 1, latent).
        """
        device = self.random.device
        numbers = mps.Matrix(device, rows=count, columns=self._latent)
        image = mps.Image(device, size=(count, 1, 1, self._latent))
        self.random.encode(commands, numbers)
        self._copy.encode(commands, numbers, image)
        return image


def asked_digits(count: int, digit: int | None = None) -> NDArray[np.int64]:
    """The digits that `Generator` draws.

    Args:
        count: How many.
        digit: Which one, from 0 to 9; None: 0 to 9 in turn.

    Raises:
        InvalidArgumentError: There is no such digit.
    """
    if digit is None:
        return np.arange(count, dtype=np.int64) % CLASSES
    if not 0 <= digit < CLASSES:
        raise mps.InvalidArgumentError(f"gan: digit: expected 0 to {CLASSES - 1}, got {digit}")
    return np.full(count, digit, np.int64)


class Generator:
    """A generator for use, on one device.

    Args:
        graph: A graph of `Nets.inference`.
        options: Size of the nets.
        classifier: Judges samples; None where there is none.
    """

    def __init__(
        self, graph: mps.Graph, options: ModelOptions, classifier: Classifier | None = None
    ) -> None:
        self.graph = graph
        self.options = options
        self.classifier = classifier
        self._queue = graph.device.command_queue("generator")

    @classmethod
    def load(cls, path: str | Path, device: mps.Device | None = None) -> Generator:
        """Restores a generator and its judge from an archive that training wrote.

        Args:
            path: The archive.
            device: Where it shall run; None: the best here.

        Raises:
            FileError: The file cannot be read.
            ArchiveError: It is damaged, or not one of this application.
        """
        return cls.from_archive(mps.KeyedUnarchiver(device or mps.Device()).open(str(path)), path)

    @classmethod
    def from_archive(cls, archive: mps.Archive, path: str | Path) -> Generator:
        """Restores a generator from an archive that is open.

        Args:
            archive: The archive.
            path: Its name, for errors.

        Raises:
            ArchiveError: It is damaged, or not one of this application.
        """
        keys = {GENERATOR_KEY, CLASSIFIER_KEY}
        if MODEL_KEY not in archive.metadata or not keys <= set(archive.keys()):
            raise mps.ArchiveError(
                f"{path}: expected a digit generator's archive with the keys {sorted(keys)}, "
                f"got keys {sorted(archive.keys())}"
            )
        try:
            options = ModelOptions(**json.loads(archive.metadata[MODEL_KEY]))
            accuracy = float(archive.metadata[ACCURACY_KEY])
        except (KeyError, TypeError, ValueError) as error:
            raise mps.ArchiveError(f"{path}: the nets' sizes cannot be read: {error}") from error
        classifier = Classifier(archive.decode_graph(CLASSIFIER_KEY), accuracy)
        return cls(archive.decode_graph(GENERATOR_KEY), options, classifier)

    def __call__(
        self,
        count: int,
        seed: int = 0,
        way: Way = SINGLE,
        timeline: StepTimeline | None = None,
        digit: int | None = None,
    ) -> FloatArray:
        """Draws digits.

        Args:
            count: How many.
            seed: Of the random numbers: the same seed gives the same digits.
            way: How the batches are handed to the device; changes no number.
            timeline: Captures the drawing; None: nothing does.
            digit: Which one, from 0 to 9; None: 0 to 9 in turn.

        Returns:
            Pictures (count, edge, edge, 1) from -1, paper, to 1, ink.

        Raises:
            InvalidArgumentError: A count below 1 or of more than fit in memory, or a seed or a
                digit that is none.
        """
        if count < 1:
            raise mps.InvalidArgumentError(f"gan: count: expected 1 or more, got {count}")
        if seed < 0:
            raise mps.InvalidArgumentError(f"gan: seed: expected 0 or more, got {seed}")
        edge = self.options.edge
        check_fits(
            "gan: count",
            "as many as fit",
            array_bytes((count, edge, edge, 1)),
            f"{count} of {edge} x {edge}",
        )
        latents = RandomLatents.seeded(self.graph.device, self.options.latent, seed)
        asked = one_hot(asked_digits(count, digit))
        batches = [asked[start : start + BATCH] for start in range(0, count, BATCH)]

        def encode(commands: mps.CommandBuffer, digits: FloatArray) -> mps.Image:
            sources: dict[str, mps.Image | FloatArray] = {
                LATENT: latents.encode(commands, len(digits)),
                DIGITS: digits,
            }
            return self.graph.encode(commands, sources)[SAMPLES]

        with (timeline or StepTimeline(None)).whole():
            drawn = [np.array(image) for image in way.run(self._queue, batches, encode)]
        pictures: FloatArray = np.concatenate(drawn)
        return pictures
