# SPDX-License-Identifier: MIT
"""The run that trains generator and discriminator against each other."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

import mpsnn as mps
from mpsnn.apps.gan.apply import (
    ACCURACY_KEY,
    CLASSIFIER_KEY,
    GENERATOR_KEY,
    MODEL_KEY,
    Generator,
    RandomLatents,
    asked_digits,
)
from mpsnn.apps.gan.average import WeightAverage, kept_share
from mpsnn.apps.gan.data import CLASSES, Digits, one_hot
from mpsnn.apps.gan.model import (
    DIGITS,
    FAKE_LABELS,
    LATENT,
    LOSS,
    REAL,
    REAL_LABELS,
    ModelOptions,
    Nets,
)
from mpsnn.apps.gan.quality import Classifier
from mpsnn.committing import BOTH, StepTimeline, Way
from mpsnn.files import prepare_output
from mpsnn.memory import check_step_fits
from mpsnn.training import Batch, EpochRecord, StepSchedule, Trainer, check_resumed

RUN_KEY, RANDOM_KEY, LOSSES_KEY = "gan run", "random", "gan generator losses"
DISCRIMINATOR_STEP, GENERATOR_STEP = "training", "generator training"
JUDGED = 512
JUDGED_SEED = 1_000_000


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Args:
        epochs: Passes over the digits, in all.
        batch: Pictures of a step, simulated and real ones each.
        learning_rate: Adam's rate of the first epochs, of both nets.
        halve_every: Epochs after which the rate halves; 0: never.
        beta1: Adam's decay of the first moment.
        real_label: What real pictures are labelled in the discriminator's step; a little below 1
            keeps it from being too sure.
        averaging: Share of the old average that each epoch leaves in the running average of the
            generator's weights, which is what draws; 0: the latest weights draw.
        judge_every: Epochs between two measures of quality.
        seed: Of the order of digits and of the generator's random numbers.
        checkpoint_every: Epochs between checkpoints.
        model: Size of the nets.
    """

    epochs: int = 20
    batch: int = 32
    learning_rate: float = 1e-3
    halve_every: int = 7
    beta1: float = 0.5
    real_label: float = 0.9
    averaging: float = 0.8
    judge_every: int = 4
    seed: int = 0
    checkpoint_every: int = 5
    model: ModelOptions = field(default_factory=ModelOptions)

    def __post_init__(self) -> None:
        if not 0.0 < self.real_label <= 1.0:
            raise mps.InvalidArgumentError(
                f"gan: real_label: expected above 0 and up to 1, got {self.real_label}"
            )
        if not 0.0 <= self.averaging < 1.0:
            raise mps.InvalidArgumentError(
                f"gan: averaging: expected from 0 to below 1, got {self.averaging}"
            )
        least = {"epochs": 1, "batch": 1, "judge_every": 1, "checkpoint_every": 1}
        for name, smallest in {**least, "halve_every": 0, "seed": 0}.items():
            if getattr(self, name) < smallest:
                raise mps.InvalidArgumentError(
                    f"gan: {name}: expected {smallest} or more, got {getattr(self, name)}"
                )
        if not 0.0 < self.learning_rate < math.inf:
            raise mps.InvalidArgumentError(
                f"gan: learning_rate: expected more than 0, and finite, got {self.learning_rate}"
            )

    def fixed(self) -> dict[str, object]:
        """What a resumed run must share with the run that wrote the checkpoint."""
        values = asdict(self)
        for name in ("epochs", "checkpoint_every", "judge_every"):
            del values[name]
        return values


class AdversarialTrainer(Trainer):
    """A trainer whose step is two: the discriminator's, then the generator's.

    All of it is recorded on one command buffer: random numbers, their copy to an image, the first
    graph; new random numbers, their copy, the second graph. The host reads nothing in between.
    """

    def __init__(
        self,
        discriminator_step: mps.Graph,
        generator_step: mps.Graph,
        average: WeightAverage,
        latents: RandomLatents,
        digits: Digits,
        options: TrainOptions,
        *,
        on_epoch: Callable[[EpochRecord], None],
        archived: dict[str, mps.Graph],
        metadata: dict[str, str],
        checkpoint: Path | None = None,
        way: Way = BOTH,
        timeline: StepTimeline | None = None,
        progress: bool = True,
    ) -> None:
        super().__init__(
            discriminator_step,
            self._digits_of_epoch,
            schedule=StepSchedule(options.learning_rate, options.halve_every),
            seed=options.seed,
            on_epoch=self._finish,
            checkpoint=checkpoint,
            checkpoint_every=options.checkpoint_every,
            archived={GENERATOR_STEP: generator_step, **archived},
            metadata=metadata,
            way=way,
            timeline=timeline,
            progress=progress,
            steps=len(digits) // options.batch,
        )
        self.generator_step = generator_step
        self._average, self._averaging = average, options.averaging
        self._latents = latents
        self._digits, self._batch = digits, options.batch
        self._judge = on_epoch
        # Of this epoch's steps: those that were read, and behind them those that were not yet.
        self._losses: list[float] = []
        self._unread: list[mps.Image] = []
        device = self.device
        fake, real, soft = (
            mps.Image(device, np.full((options.batch, 1, 1, 1), value, np.float32))
            for value in (0.0, 1.0, options.real_label)
        )
        self._labels = {FAKE_LABELS: fake, REAL_LABELS: soft}
        self._wanted = {REAL_LABELS: real}

    def _digits_of_epoch(self, _epoch: int, generator: np.random.Generator) -> Iterator[Batch]:
        for pictures, labels in self._digits.batches(self._batch, generator):
            yield {REAL: pictures, DIGITS: one_hot(labels)}

    def encode(self, commands: mps.CommandBuffer, batch: Batch) -> mps.Image:
        """Records both steps.

        Args:
            commands: Where they are recorded.
            batch: Real pictures, and which digits they show: the same are drawn beside them.

        Returns:
            The discriminator's loss.
        """
        latent = self._latents.encode(commands, self._batch)
        first = self.graph.encode(commands, {LATENT: latent, **batch, **self._labels})
        latent = self._latents.encode(commands, self._batch)
        asked = {LATENT: latent, DIGITS: batch[DIGITS], **self._wanted}
        second = self.generator_step.encode(commands, asked)
        self._unread.append(second[LOSS])
        return first[LOSS]

    def set_learning_rate(self, rate: float) -> None:
        """Sets the rate of both nets.

        Args:
            rate: The new learning rate.
        """
        for graph in (self.graph, self.generator_step):
            for source in graph.data_sources:
                if source.optimizer is not None:
                    source.optimizer.learning_rate = rate

    def resume(self, archive: mps.Archive) -> None:
        """Goes on where a checkpoint stands.

        Args:
            archive: The checkpoint.

        Raises:
            ArchiveError: It holds no state of such a run.
        """
        super().resume(archive)
        self._losses = _generator_losses(archive, self.state.batch)

    def archive(self, archiver: mps.KeyedArchiver) -> None:
        """Adds all graphs, the random numbers' place in their sequence, and the epoch's losses.

        Args:
            archiver: Where they go.
        """
        super().archive(archiver)
        archiver.encode(RANDOM_KEY, self._latents.random)
        archiver.set_metadata(LOSSES_KEY, json.dumps(self._read_losses()))

    def _read_losses(self) -> list[float]:
        """The generator's loss of each of this epoch's steps; waits for those that still run."""
        self._losses += [float(np.asarray(image).sum()) for image in self._unread]
        self._unread.clear()
        return self._losses

    def _finish(self, record: EpochRecord) -> None:
        record.measures["generator"] = float(np.mean(self._read_losses()))
        self._losses = []
        self._average.update(kept_share(self._averaging, record.epoch))
        self._judge(record)


def train(
    digits: Digits,
    options: TrainOptions,
    *,
    archive: Path | None = None,
    resume: bool = False,
    device: mps.Device | None = None,
    progress: bool = True,
    on_judged: Callable[[EpochRecord | None, Generator], None] | None = None,
    way: Way = BOTH,
    timeline: StepTimeline | None = None,
) -> tuple[Generator, AdversarialTrainer]:
    """Trains a generator of digits.

    Args:
        digits: The real ones.
        options: How to train.
        archive: File for checkpoints and the finished nets; None: none is written.
        resume: Go on from that file instead of from fresh weights.
        device: Where to train; None: the best here.
        progress: Draw progress bars.
        on_judged: Called before the first epoch, with None, and after each epoch whose quality was
            measured; the record's measures then have "recognised" and "spread".
        way: How steps are handed to the device; changes no number.
        timeline: Captures a few of the first steps; None: none.

    Returns:
        The generator with its judge, and the trainer. `trainer.interrupted` tells whether Ctrl-C
        ended the run early.

    Raises:
        InvalidArgumentError: Digits of another size than the nets', fewer than a batch, a step
            larger than the memory, or options or digits that differ from those of the run to be
            resumed.
        ArchiveError: The checkpoint is damaged or of something else.
        FileError: A checkpoint cannot be read or written.
        KeyboardInterrupt: Ctrl-C while the judge is trained, when there is nothing to go on from.
    """
    device = device or mps.Device()
    _check(digits, options)
    if archive is not None:
        prepare_output(archive)  # before the judge is trained
    run: dict[str, object] = {**options.fixed(), "digits": digits.summary}
    stored = _open_checkpoint(archive, device, run) if resume else None
    if stored is not None:
        generator = Generator.from_archive(stored, archive or "")
        first, second = (stored.decode_graph(k) for k in (DISCRIMINATOR_STEP, GENERATOR_STEP))
        random = stored.decode_kernel(RANDOM_KEY)
        latents = RandomLatents(_philox(random), options.model.latent)
    else:
        generator, first, second = _fresh(digits, options, device, progress=progress)
        latents = RandomLatents.seeded(device, options.model.latent, options.seed)
        if on_judged is not None:
            on_judged(None, generator)
    classifier = generator.classifier
    if classifier is None:
        raise mps.ArchiveError(f"{archive}: expected a classifier beside the generator, got none")

    def judge(record: EpochRecord) -> None:
        if (record.epoch + 1) % options.judge_every and record.epoch + 1 != options.epochs:
            return
        quality = classifier.quality(generator(JUDGED, JUDGED_SEED), asked_digits(JUDGED))
        record.measures |= {"recognised": quality.recognised, "spread": quality.spread}
        if on_judged is not None:
            on_judged(record, generator)

    trainer = AdversarialTrainer(
        first,
        second,
        WeightAverage(generator.graph, second),
        latents,
        digits,
        options,
        on_epoch=judge,
        checkpoint=archive,
        archived={GENERATOR_KEY: generator.graph, CLASSIFIER_KEY: classifier.graph},
        metadata={
            MODEL_KEY: json.dumps(asdict(options.model)),
            RUN_KEY: json.dumps(run),
            ACCURACY_KEY: repr(classifier.accuracy),
        },
        way=way,
        timeline=timeline,
        progress=progress,
    )
    if stored is not None:
        trainer.resume(stored)
    trainer.run(options.epochs)
    return generator, trainer


def _check(digits: Digits, options: TrainOptions) -> None:
    if digits.edge != options.model.edge:
        raise mps.InvalidArgumentError(
            f"gan: digits: expected pictures of {options.model.edge} x {options.model.edge} as "
            f"the nets, got {digits.edge} x {digits.edge}"
        )
    if options.batch > len(digits):
        raise mps.InvalidArgumentError(
            f"gan: batch: expected 1 to {len(digits)}, the number of pictures, got {options.batch}"
        )


def _fresh(
    digits: Digits, options: TrainOptions, device: mps.Device, *, progress: bool
) -> tuple[Generator, mps.Graph, mps.Graph]:
    adam = [mps.OptimizerAdam(options.learning_rate, options.beta1) for _ in range(2)]
    nets = Nets(options.model, *adam)
    first = nets.discriminator_training(device, options.batch)
    second = nets.generator_training(device, options.batch)
    _check_step(first, options)
    classifier = Classifier.trained(digits, device, options.seed, progress=progress)
    average = Nets(options.model)  # weights of its own, which begin as the same
    generator = Generator(average.inference(device), options.model, classifier)
    return generator, first, second


def _check_step(first: mps.Graph, options: TrainOptions) -> None:
    """Refuses a batch whose step cannot fit, before the judge is trained."""
    count, edge = options.batch, options.model.edge
    sizes = {
        LATENT: (count, 1, 1, options.model.latent),
        DIGITS: (count, 1, 1, CLASSES),
        REAL: (count, edge, edge, 1),
        FAKE_LABELS: (count, 1, 1, 1),
        REAL_LABELS: (count, 1, 1, 1),
    }
    check_step_fits("gan: batch", first, sizes, f"{count} pictures of {edge} x {edge}")


def _philox(kernel: mps.DeviceKernel) -> mps.MatrixRandomPhilox:
    if not isinstance(kernel, mps.MatrixRandomPhilox):
        raise mps.ArchiveError(
            f"checkpoint: {RANDOM_KEY}: expected a MatrixRandomPhilox, got {kernel.class_name}"
        )
    return kernel


def _generator_losses(archive: mps.Archive, steps: int) -> list[float]:
    """The generator's losses of the epoch's steps that were done when a checkpoint was written."""
    try:
        losses = [float(loss) for loss in json.loads(archive.metadata[LOSSES_KEY])]
    except (KeyError, TypeError, ValueError) as error:
        raise mps.ArchiveError(
            f"checkpoint: {LOSSES_KEY}: expected a list of numbers, it cannot be read: {error}"
        ) from error
    if len(losses) != steps:
        raise mps.ArchiveError(
            f"checkpoint: {LOSSES_KEY}: expected {steps}, one of each step of the epoch, got "
            f"{len(losses)}"
        )
    return losses


def _open_checkpoint(path: Path | None, device: mps.Device, run: dict[str, object]) -> mps.Archive:
    if path is None:
        raise mps.InvalidArgumentError("resume: expected the archive to go on from, got none")
    stored = mps.KeyedUnarchiver(device).open(str(path))
    if RUN_KEY not in stored.metadata:
        raise mps.ArchiveError(f"{path}: expected a gan's checkpoint, it has no '{RUN_KEY}'")
    try:
        before = dict(json.loads(stored.metadata[RUN_KEY]))
    except (TypeError, ValueError) as error:
        raise mps.ArchiveError(f"{path}: the run's options cannot be read: {error}") from error
    check_resumed(before, run, path)
    return stored
