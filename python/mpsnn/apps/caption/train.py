# SPDX-License-Identifier: MIT
"""The captioner's training run: batches, schedule, validation, checkpoints."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

import mpsnn as mps
from mpsnn.apps.caption.apply import (
    FEATURES_KEY,
    OPTIONS_KEY,
    WORDS_KEY,
    Caption,
    Captioner,
    centred,
    read_metadata,
)
from mpsnn.apps.caption.model import (
    STORE,
    DecoderSources,
    FeatureNet,
    ModelOptions,
    build_features,
    check_weights,
    first_parameters,
    store,
)
from mpsnn.apps.caption.scenes import Captioned, FloatArray
from mpsnn.apps.caption.step import TrainingStep, pack
from mpsnn.apps.caption.words import Vocabulary
from mpsnn.committing import BOTH, StepTimeline, Way
from mpsnn.files import prepare_output
from mpsnn.memory import check_step_fits
from mpsnn.training import Batch, EpochRecord, StepSchedule, Trainer, check_resumed, with_progress

RUN_KEY, DATA_KEY, ADAM_KEY, HEAD_KEY, BASE_KEY = "run", "data", "adam", "head", "base"
REFRESH = "refresh_every"
# Gives the training pictures of the n-th refresh.
DataFactory = Callable[[int], Captioned]

MOMENTS = ("momentum", "velocity")
SMALLEST = {
    **dict.fromkeys(("epochs", "batch", "validate_every", "checkpoint_every"), 1),
    **dict.fromkeys(("halve_every", "refresh_every", "seed"), 0),
}
BASE_BATCH = 8  # pictures that Inception-v3 takes at once


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Args:
        epochs: Passes over the training set, in all.
        batch: Pictures of a step; those that are left over wait for the next epoch's order.
        learning_rate: Of the first epochs.
        halve_every: Epochs after which the learning rate halves; 0: never.
        refresh_every: Epochs after which new training pictures come; 0: never.
        validate_every: Epochs between validations.
        checkpoint_every: Epochs between checkpoints.
        seed: Seed of the order.
        model: Sizes of the nets.

    Raises:
        InvalidArgumentError: A number that makes no run.
    """

    epochs: int = 21
    batch: int = 32
    learning_rate: float = 2e-3
    halve_every: int = 6
    refresh_every: int = 1
    validate_every: int = 6
    checkpoint_every: int = 4
    seed: int = 0
    model: ModelOptions = field(default_factory=ModelOptions)

    def __post_init__(self) -> None:
        for name, smallest in SMALLEST.items():
            if getattr(self, name) < smallest:
                raise mps.InvalidArgumentError(
                    f"{name}: expected {smallest} or more, got {getattr(self, name)}"
                )
        if not 0 < self.learning_rate < math.inf:
            raise mps.InvalidArgumentError(
                f"learning_rate: expected more than 0, and finite, got {self.learning_rate}"
            )

    def fixed(self) -> dict[str, object]:
        """What a resumed run must share with the run that wrote the checkpoint."""
        values = asdict(self)
        for name in ("epochs", "validate_every", "checkpoint_every", "model"):
            del values[name]
        return values


@dataclass(frozen=True)
class Accuracy:
    """How many captions are right.

    Attributes:
        words: Share of places in which the right word stands, missing and further words being
            wrong ones.
        sentences: Share of pictures whose caption is right word for word.
    """

    words: float
    sentences: float


def accuracy(found: list[str], expected: list[str]) -> Accuracy:
    """Compares captions."""
    right, total = 0, 0
    for one, other in zip(found, expected, strict=True):
        mine, theirs = one.split(), other.split()
        right += sum(a == b for a, b in zip(mine, theirs, strict=False))
        total += max(len(mine), len(theirs))
    same = sum(one == other for one, other in zip(found, expected, strict=True))
    return Accuracy(right / total, same / len(expected))


def caption_all(captioner: Captioner, data: Captioned, way: Way = BOTH) -> list[Caption]:
    """The captions of all pictures."""
    return list(captioner.each(iter(data.pictures), way=way))


def measure(captioner: Captioner, data: Captioned) -> Accuracy:
    """How many of a set's captions are right."""
    found = [caption.sentence for caption in caption_all(captioner, data)]
    return accuracy(found, data.sentences)


class CaptionTrainer(Trainer):
    """The training loop over steps of both nets.

    Args:
        step: Records a step.
        data: Training pictures of the n-th refresh.
        first: Those of the first.
        vocabulary: Their words.
        options: How to train.
        archive: The checkpoint's file; None: none is written.
        on_epoch: Called after each epoch.
        way: How steps are handed to the device.
        timeline: Captures some of them.
        progress: Draw a progress bar.
    """

    def __init__(
        self,
        step: TrainingStep,
        data: DataFactory,
        first: Captioned,
        vocabulary: Vocabulary,
        options: TrainOptions,
        *,
        archive: Path | None,
        on_epoch: Callable[[EpochRecord], None],
        way: Way,
        timeline: StepTimeline | None,
        progress: bool,
    ) -> None:
        super().__init__(
            step.features.training,
            self._epoch_batches,
            schedule=StepSchedule(options.learning_rate, options.halve_every, 0.5),
            seed=options.seed,
            on_epoch=on_epoch,
            checkpoint=archive,
            checkpoint_every=options.checkpoint_every,
            metadata={
                OPTIONS_KEY: json.dumps(asdict(options.model)),
                WORDS_KEY: json.dumps(vocabulary.words[1:]),
                RUN_KEY: json.dumps(options.fixed()),
                DATA_KEY: first.summary,
            },
            way=way,
            timeline=timeline,
            progress=progress,
            steps=len(first) // options.batch,
        )
        self.step = step
        self._options, self._vocabulary, self._data = options, vocabulary, data
        self._shown = progress
        self._refresh = 0
        self._take(first)
        length = step.weights.vector.length
        self._moments = {
            name: mps.ConvolutionDataSource(
                mps.ConvolutionDescriptor(1, 1, length, 1),
                np.zeros((1, 1, 1, length), np.float32),
                label=name,
            )
            for name in MOMENTS
        }
        self._store = store(self.device, {**step.sources.sources, **self._moments})

    def _epoch_batches(self, epoch: int, generator: np.random.Generator) -> Iterator[Batch]:
        options = self._options
        refresh = epoch // options.refresh_every if options.refresh_every else 0
        if refresh != self._refresh:
            self._take(self._data(refresh))
            if self.interrupted:
                return
            self._refresh = refresh
        order = generator.permutation(len(self._numbers))
        for first in range(0, len(order) - options.batch + 1, options.batch):
            yield {"pictures": order[first : first + options.batch]}

    def _take(self, data: Captioned) -> None:
        _check_size(data, self._options.model)
        check_batch(self._options, len(data))
        self._numbers = [self._vocabulary.numbers(sentence) for sentence in data.sentences]
        self._heads = self._made_heads(data.pictures)

    def _made_heads(self, pictures: FloatArray) -> FloatArray:
        """What the trained part of the feature net takes: made once where the rest of it stays.

        Fewer than there are pictures where the run was interrupted meanwhile.
        """
        base = self.step.features.base
        if base is None:
            return centred(pictures)
        queue = self.device.command_queue("features")
        parts: list[FloatArray] = []
        starts = range(0, len(pictures), BASE_BATCH)
        for first in with_progress(starts, "features", f"batches of {BASE_BATCH}", on=self._shown):
            commands = mps.CommandBuffer(queue)
            batch = centred(pictures[first : first + BASE_BATCH])
            heads = base.encode(commands, {"pictures": batch})["head"]
            commands.commit()
            parts.append(np.array(heads, np.float32))
            if self.interrupted:
                break
        return np.concatenate(parts)

    def set_learning_rate(self, rate: float) -> None:
        """Sets the rate of both nets."""
        super().set_learning_rate(rate)
        self.step.adam.learning_rate = rate

    def encode(self, commands: mps.CommandBuffer, batch: Batch) -> mps.Matrix:
        """Records a step on the pictures whose numbers the batch has."""
        chosen = np.asarray(batch["pictures"])
        packed = pack([self._numbers[number] for number in chosen])
        heads = np.ascontiguousarray(self._heads[chosen[packed.order]])
        return self.step.encode(commands, heads, packed)

    def archive(self, archiver: mps.KeyedArchiver) -> None:
        """Adds both nets and all that a resumed run needs."""
        step = self.step
        step.publish()
        for name, values in zip(MOMENTS, (step.momentum, step.velocity), strict=True):
            array = np.array(values.vector, np.float32).reshape(1, 1, 1, -1)
            self.device.write_parameter(self._moments[name], "weights", array)
        archiver.encode("training", self.graph)
        archiver.encode(FEATURES_KEY, step.features.whole)
        archiver.encode(HEAD_KEY, step.features.head)
        if step.features.base is not None:
            archiver.encode(BASE_KEY, step.features.base)
        archiver.encode(STORE, self._store)
        archiver.encode(ADAM_KEY, step.adam)


def train(
    data: DataFactory,
    validation: Captioned | None,
    options: TrainOptions,
    *,
    words: list[str] | None = None,
    weights: Path | None = None,
    archive: Path | None = None,
    resume: bool = False,
    device: mps.Device | None = None,
    progress: bool = True,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    way: Way = BOTH,
    timeline: StepTimeline | None = None,
) -> tuple[Captioner, Trainer]:
    """Trains a captioner.

    Args:
        data: Training pictures of the n-th refresh, counted from 0; called when they are needed.
        validation: Pictures never trained on; None: no validation.
        options: How to train.
        words: The vocabulary; None: the words of the first pictures' sentences.
        weights: Inception-v3's, a safetensors file with torchvision's names; not read by a run that
            is resumed, whose checkpoint has them.
        archive: File for checkpoints and the finished nets; None: none is written.
        resume: Go on from that file instead of from fresh weights, with the same data.
        device: Where to train; None: the best here.
        progress: Draw progress bars.
        on_epoch: Called after each epoch, after the validation.
        way: How steps are handed to the device; changes no number.
        timeline: Captures a few of the first steps; None: none.

    Returns:
        The captioner, greedy, and the trainer with the history of losses. `trainer.interrupted`
        tells whether Ctrl-C ended the run early.

    Raises:
        InvalidArgumentError: Sizes, words or weights that do not fit, a step larger than the
            memory, or options or data that differ from those of the run to be resumed.
        ArchiveError: The checkpoint is damaged or of something else.
        FileError: A checkpoint cannot be read or written.
    """
    device = device or mps.Device()
    check_weights(options.model, given=weights is not None)
    if archive is not None:
        prepare_output(archive)
    if resume:
        if archive is None:
            raise mps.InvalidArgumentError("resume: expected the archive to go on from, got none")
        stored = mps.KeyedUnarchiver(device).open(str(archive))
        vocabulary = _check_run(stored, options, str(archive))
        first = data(0)
        _check_data(stored, first, options, str(archive))
        if words and words != vocabulary.words[1:]:
            raise mps.InvalidArgumentError(
                f"resume: words: expected {vocabulary.words[1:]} as in {archive}, got {words}"
            )
        step = _restored(stored, device, options.model)
    else:
        features = _fresh_features(device, options, weights)
        first = data(0)
        vocabulary = Vocabulary(words) if words else Vocabulary.of(first.sentences)
        step = _fresh(device, features, options, len(vocabulary))

    check_batch(options, len(first))
    _check_step(step, options)

    def captioner() -> Captioner:
        step.publish()
        return Captioner(step.features.whole, step.sources, vocabulary, options.model)

    def finish_epoch(record: EpochRecord) -> None:
        last = record.epoch + 1 == options.epochs
        if validation is not None and (last or (record.epoch + 1) % options.validate_every == 0):
            found = measure(captioner(), validation)
            record.measures.update(words=found.words, sentences=found.sentences)
        if on_epoch is not None:
            on_epoch(record)

    trainer = CaptionTrainer(
        step,
        data,
        first,
        vocabulary,
        options,
        archive=archive,
        on_epoch=finish_epoch,
        way=way,
        timeline=timeline,
        progress=progress,
    )
    if resume:
        trainer.resume(stored)
    trainer.run(options.epochs)
    return captioner(), trainer


def check_batch(options: TrainOptions, count: int) -> None:
    """Checks that the pictures make a step.

    Args:
        options: How to train.
        count: Pictures to train on.

    Raises:
        InvalidArgumentError: There are fewer than a batch.
    """
    if count < options.batch:
        raise mps.InvalidArgumentError(
            f"batch: expected no more than the {count} pictures, got {options.batch}"
        )


def _check_step(step: TrainingStep, options: TrainOptions) -> None:
    """Refuses a batch whose step cannot fit, by what the convolutions alone need."""
    count, model = options.batch, options.model
    sizes = {"head": (count, *model.head_shape), "gradient": (count, 1, 1, model.embedding)}
    got = f"{count} pictures of {model.size} x {model.size}"
    check_step_fits("batch", step.features.training, sizes, got)


def _check_size(data: Captioned, model: ModelOptions) -> None:
    if data.pictures.shape[1:3] != (model.size, model.size):
        raise mps.InvalidArgumentError(
            f"captions: expected pictures of {model.size} x {model.size}, "
            f"got {data.pictures.shape[1]} x {data.pictures.shape[2]}"
        )


def _fresh_features(device: mps.Device, options: TrainOptions, weights: Path | None) -> FeatureNet:
    optimizer = mps.OptimizerAdam(options.learning_rate)
    if weights is None:
        return build_features(device, options.model, optimizer, None)
    try:
        return build_features(device, options.model, optimizer, str(weights))
    except mps.InvalidArgumentError as error:
        raise mps.InvalidArgumentError(f"{weights}: {error}") from error


def _fresh(
    device: mps.Device, features: FeatureNet, options: TrainOptions, words: int
) -> TrainingStep:
    sources = DecoderSources.from_parameters(first_parameters(options.model, words))
    adam = mps.OptimizerAdamUpdate(device, learning_rate=options.learning_rate)
    return TrainingStep(device, features, sources, options.model, adam)


def _restored(stored: mps.Archive, device: mps.Device, model: ModelOptions) -> TrainingStep:
    features = FeatureNet(
        stored.decode_graph(FEATURES_KEY),
        stored.decode_graph(BASE_KEY) if BASE_KEY in stored.keys() else None,  # noqa: SIM118
        stored.decode_graph(HEAD_KEY),
        stored.decode_graph("training"),
    )
    found = DecoderSources.from_graph(stored.decode_graph(STORE)).sources
    if not found.keys() >= set(MOMENTS):
        raise mps.ArchiveError(f"checkpoint: '{STORE}': expected {' and '.join(MOMENTS)} of Adam")
    moments = {name: found.pop(name) for name in MOMENTS}
    adam = stored.decode_kernel(ADAM_KEY)
    if not isinstance(adam, mps.OptimizerAdamUpdate):
        raise mps.ArchiveError(f"checkpoint: '{ADAM_KEY}': expected Adam's update, got {adam!r}")
    step = TrainingStep(device, features, DecoderSources(found), model, adam)
    for name, values in zip(MOMENTS, (step.momentum, step.velocity), strict=True):
        array = np.array(device.read_parameter(moments[name], "weights"), np.float32)
        values.vector.write(array.reshape(-1))
    return step


def _check_run(stored: mps.Archive, options: TrainOptions, path: str) -> Vocabulary:
    """Refuses other options than those of the run to be resumed; gives its vocabulary."""
    model, vocabulary = read_metadata(stored, path)
    for key in (RUN_KEY, DATA_KEY):
        if key not in stored.metadata:
            raise mps.ArchiveError(f"{path}: expected a captioner's checkpoint, it has no '{key}'")
    before = {**_run_of(stored, path), **asdict(model)}
    now = {**options.fixed(), **asdict(options.model)}
    # It is another where the data is: a folder's data never changes.
    check_resumed(before, {**now, REFRESH: before.get(REFRESH)}, path)
    return vocabulary


def _run_of(stored: mps.Archive, path: str) -> dict[str, object]:
    """What `TrainOptions.fixed` gave when the checkpoint was written."""
    try:
        return dict(json.loads(stored.metadata[RUN_KEY]))
    except (TypeError, ValueError) as error:
        raise mps.ArchiveError(f"{path}: the run's options cannot be read: {error}") from error


def _check_data(stored: mps.Archive, first: Captioned, options: TrainOptions, path: str) -> None:
    """Refuses other pictures than those of the run to be resumed."""
    before = stored.metadata[DATA_KEY]
    if before != first.summary:
        raise mps.InvalidArgumentError(
            f"resume: data: expected the captions and files of {path}, {before}, got "
            f"{first.summary}"
        )
    check_resumed(_run_of(stored, path), options.fixed(), path)
