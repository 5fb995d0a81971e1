# SPDX-License-Identifier: MIT
"""The training run: the two nets' steps on one command buffer, checkpoints, quality."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

import mpsnn as mps
from mpsnn.apps.gan.apply import GENERATOR_KEY, OPTIONS_KEY, Noise, Sampler
from mpsnn.apps.gan.digits import Digits
from mpsnn.apps.gan.model import (
    Discriminator,
    Generator,
    ModelOptions,
    build_discriminator_training,
    build_generator,
    build_generator_training,
)
from mpsnn.committing import BOTH, StepTimeline, Way
from mpsnn.training import Batch, EpochRecord, StepSchedule, Trainer

RUN_KEY = "gan.run"
DISCRIMINATOR_KEY = "gan.discriminator"
NOISE_KEY = "gan.noise"
BETA1 = 0.5  # short memory: each net's opponent changes (Radford et al. 2016)


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Args:
        epochs: Passes over the digits, in all.
        batch: Pictures of a step, simulated and real each.
        learning_rate: Of the first epochs, for both nets.
        halve_every: Epochs after which the learning rate halves; 0: never.
        real_label: What real pictures are labelled for the discriminator; below 1 it is not driven
            to certainty (Salimans et al. 2016).
        seed: Seed of order and noise.
        checkpoint_every: Epochs between checkpoints.
        model: Size of the nets.
    """

    epochs: int = 200
    batch: int = 32
    learning_rate: float = 1e-3
    halve_every: int = 60
    real_label: float = 0.9
    seed: int = 0
    checkpoint_every: int = 10
    model: ModelOptions = field(default_factory=ModelOptions)

    def fixed(self) -> dict[str, object]:
        """What a resumed run must share with the run that wrote the checkpoint."""
        values = asdict(self)
        for name in ("epochs", "checkpoint_every", "model"):
            del values[name]
        return values


class GanTrainer(Trainer):
    """Trains both nets: a step is one command buffer, from random numbers to updated weights.

    Args:
        generator: A graph of `model.build_generator_training`.
        discriminator: A graph of `model.build_discriminator_training`.
        noise: Makes the generator's sources.
        options: How to train.
        batches: Gives the real pictures.
        arguments: See `Trainer`.
    """

    def __init__(
        self,
        generator: mps.Graph,
        discriminator: mps.Graph,
        noise: Noise,
        options: TrainOptions,
        batches: Callable[[int, np.random.Generator], Iterator[Batch]],
        **arguments: object,
    ) -> None:
        super().__init__(generator, batches, **arguments)  # type: ignore[arg-type]
        self._discriminator = discriminator
        self._noise = noise
        shape = (options.batch, 1, 1, 1)

        def label(value: float) -> mps.Image:
            return mps.Image(generator.device, np.full(shape, value, np.float32))

        self._fake, self._real, self._wanted = label(0.0), label(options.real_label), label(1.0)

    def encode(self, commands: mps.CommandBuffer, batch: Batch) -> mps.Image:
        """Records a step: noise, the generator's update, the discriminator's update.

        The discriminator is trained on the very pictures that the generator was judged by.
        """
        noise = self._noise.encode(commands)
        outputs = self.graph.encode(commands, {"noise": noise, "real": self._wanted})
        sources = {
            "simulated": outputs["picture"],
            "pictures": batch["pictures"],
            "fake": self._fake,
            "real": self._real,
        }
        return self._discriminator.encode(commands, sources)["loss"]

    def set_learning_rate(self, rate: float) -> None:
        """Sets both nets' rate."""
        for graph in (self.graph, self._discriminator):
            for source in graph.data_sources:
                if source.optimizer is not None:
                    source.optimizer.learning_rate = rate

    def archive(self, archiver: mps.KeyedArchiver) -> None:
        """Adds the discriminator's graph and the state of the random numbers."""
        super().archive(archiver)
        archiver.encode(DISCRIMINATOR_KEY, self._discriminator)
        archiver.encode(NOISE_KEY, self._noise.random)


def train(
    digits: Digits,
    options: TrainOptions,
    *,
    archive: Path | None = None,
    resume: bool = False,
    device: mps.Device | None = None,
    progress: bool = True,
    on_epoch: Callable[[EpochRecord, Sampler], None] | None = None,
    way: Way = BOTH,
    timeline: StepTimeline | None = None,
) -> tuple[Sampler, Trainer]:
    """Trains generator and discriminator.

    Args:
        digits: Real pictures, as high and wide as `options.model.edge`.
        options: How to train.
        archive: File for checkpoints and the finished net; None: none is written.
        resume: Go on from that file instead of from fresh weights.
        device: Where to train; None: the best here.
        progress: Draw a progress bar, with the discriminator's loss.
        on_epoch: Called after each epoch with its record and the generator.
        way: How steps are handed to the device; changes no number.
        timeline: Captures a few of the first steps; None: none.

    Returns:
        The generator, and the trainer with the history of losses.

    Raises:
        InvalidArgumentError: Pictures that do not fit, or options that differ from those of the run
            to be resumed.
        ArchiveError: The checkpoint is damaged or of something else.
        FileError: A checkpoint cannot be read or written.
    """
    device = device or mps.Device()
    wanted = (options.model.edge, options.model.edge, 1)
    if digits.images.shape[1:] != wanted or not 1 <= options.batch <= len(digits):
        raise mps.InvalidArgumentError(
            f"gan: digits: expected {max(options.batch, 1)} pictures or more of shape {wanted}, "
            f"got {digits.images.shape}"
        )
    random = None
    if resume:
        stored = _open_checkpoint(archive, device, options)
        training = stored.decode_graph("training")
        judging = stored.decode_graph(DISCRIMINATOR_KEY)
        inference = stored.decode_graph(GENERATOR_KEY)
        random = stored.decode_kernel(NOISE_KEY)
    else:
        rate = options.learning_rate
        generator = Generator(options.model, mps.OptimizerAdam(rate, BETA1))
        discriminator = Discriminator(options.model, mps.OptimizerAdam(rate, BETA1))
        training = build_generator_training(device, generator, discriminator, options.batch)
        judging = build_discriminator_training(device, discriminator, options.batch)
        inference = build_generator(device, generator)
    sampler = Sampler(inference, options.model)

    def batches(_epoch: int, chance: np.random.Generator) -> Iterator[Batch]:
        order = chance.permutation(len(digits))
        for first in range(0, len(order) - options.batch + 1, options.batch):
            yield {"pictures": digits.images[order[first : first + options.batch]]}

    trainer = GanTrainer(
        training,
        judging,
        Noise(device, options.batch, options.model.latent, options.seed, random),
        options,
        batches,
        schedule=StepSchedule(options.learning_rate, options.halve_every, 0.5),
        seed=options.seed,
        on_epoch=None if on_epoch is None else lambda record: on_epoch(record, sampler),
        checkpoint=archive,
        checkpoint_every=options.checkpoint_every,
        archived={GENERATOR_KEY: inference},
        metadata={
            OPTIONS_KEY: json.dumps(asdict(options.model)),
            RUN_KEY: json.dumps(options.fixed()),
        },
        way=way,
        timeline=timeline,
        progress=progress,
    )
    if resume:
        trainer.resume(stored)
    trainer.run(options.epochs)
    return sampler, trainer


def _open_checkpoint(
    path: Path | None, device: mps.Device, options: TrainOptions
) -> mps.Archive:
    if path is None:
        raise mps.InvalidArgumentError("resume: expected the archive to go on from, got none")
    stored = mps.KeyedUnarchiver(device).open(str(path))
    for key, now in ((OPTIONS_KEY, asdict(options.model)), (RUN_KEY, options.fixed())):
        if key not in stored.metadata:
            raise mps.ArchiveError(
                f"{path}: expected a checkpoint of `mpsnn gan train`, it has no '{key}'"
            )
        before = json.loads(stored.metadata[key])
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name):
                raise mps.InvalidArgumentError(
                    f"resume: {name}: expected {before.get(name)} as in {path}, "
                    f"got {now.get(name)}"
                )
    return stored
