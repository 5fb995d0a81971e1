# SPDX-License-Identifier: MIT
"""The denoiser's training run: data, schedule, validation, checkpoints."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

import mpsnn as mps
from mpsnn.apps.denoise.apply import GRAPH_KEY, OPTIONS_KEY, Denoiser, with_unused_channel
from mpsnn.apps.denoise.dataset import Batch, DataSet
from mpsnn.apps.denoise.metrics import psnr
from mpsnn.apps.denoise.model import (
    COLOURS,
    INPUT_CHANNELS,
    INPUTS,
    ModelOptions,
    build_inference,
    build_net,
    build_training,
)
from mpsnn.committing import BOTH, StepTimeline, Way
from mpsnn.files import prepare_output
from mpsnn.memory import check_step_fits
from mpsnn.training import Batch as SourceBatch
from mpsnn.training import EpochRecord, StepSchedule, Trainer, check_resumed

RUN_KEY = "run"

# Gives the training pictures of the n-th refresh.
DataFactory = Callable[[int], DataSet]


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Args:
        epochs: Passes over the training set, in all.
        batch: Images of a step.
        learning_rate: Rate of the first epochs.
        halve_every: Epochs after which the learning rate halves; 0: never.
        refresh_every: Epochs after which new training pictures come; 0: never.
        validate_every: Epochs between validations.
        crop: Height and width of random cutouts; None: whole pictures.
        mirror: Mirror half of the pictures, normals with them.
        repeats: Cutouts of each picture an epoch.
        edge_weight: Weight of the loss on edges.
        seed: Seed of order, cutouts and mirroring.
        checkpoint_every: Epochs between checkpoints.
        model: Size of the net.
    """

    epochs: int = 3000
    batch: int = 4
    learning_rate: float = 1e-3
    halve_every: int = 1000
    refresh_every: int = 100
    validate_every: int = 100
    crop: tuple[int, int] | None = None
    mirror: bool = False
    repeats: int = 1
    edge_weight: float = 1.0
    seed: int = 0
    checkpoint_every: int = 10
    model: ModelOptions = field(default_factory=ModelOptions)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "validate_every", "repeats", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise mps.InvalidArgumentError(
                    f"denoise: {name}: expected 1 or more, got {getattr(self, name)}"
                )
        for name in ("halve_every", "refresh_every", "edge_weight", "seed"):
            if not 0 <= getattr(self, name) < math.inf:
                raise mps.InvalidArgumentError(
                    f"denoise: {name}: expected 0 or more, got {getattr(self, name)}"
                )

    def fixed(self) -> dict[str, object]:
        """What a resumed run must share with the run that wrote the checkpoint."""
        values = asdict(self)
        for name in ("epochs", "checkpoint_every", "model"):
            del values[name]
        return dict(json.loads(json.dumps(values)))


def sources_of(batch: Batch) -> SourceBatch:
    """The training graph's sources for a batch of pictures."""
    sources = {name: with_unused_channel(getattr(batch, name)) for name in INPUTS}
    return {**sources, "clean": np.ascontiguousarray(batch.clean)}


def mean_psnr(denoiser: Denoiser, pictures: DataSet) -> float:
    """Mean PSNR of the denoised pictures against the clean ones, in dB."""
    values = [
        psnr(denoiser(picture.noisy, picture.albedo, picture.normals), picture.clean)
        for picture in (pictures[index] for index in range(len(pictures)))
    ]
    return float(np.mean(values))


def check(
    options: TrainOptions,
    count: int,
    size: tuple[int, int],
    validation: tuple[int, int] | None = None,
    device: mps.Device | None = None,
) -> None:
    """Tells what cannot be trained, before the pictures are made.

    Args:
        options: How to train.
        count: Training pictures.
        size: Their height and width.
        validation: Height and width of the pictures never trained on; None: there are none.
        device: Where to train: whether a step fits in memory is told, too; None: it is not.

    Raises:
        InvalidArgumentError: No pictures, a batch larger than the pass, a cutout larger than the
            pictures, sizes that the net cannot take, or a step larger than the memory.
    """
    for name, value in (("count", count), ("size", min(size))):
        if value < 1:
            raise mps.InvalidArgumentError(f"denoise: {name}: expected 1 or more, got {value}")
    there = count * options.repeats
    if options.batch > there:
        raise mps.InvalidArgumentError(
            f"denoise: batch: expected 1 to {there}, the {count} pictures times {options.repeats} "
            f"repeats, got {options.batch}"
        )
    window = options.crop or size
    if not all(1 <= part <= whole for part, whole in zip(window, size, strict=True)):
        raise mps.InvalidArgumentError(
            f"denoise: crop: expected 1 x 1 to {size[0]} x {size[1]}, the pictures' size, got "
            f"{window[0]} x {window[1]}"
        )
    options.model.check_size(*window)
    if validation is not None:
        options.model.check_size(*validation)
    if device is not None:
        net = build_net(options.model, mps.OptimizerAdam(options.learning_rate))
        _check_step(
            build_training(device, net, options.batch, window, options.edge_weight), options, window
        )


def _check_step(training: mps.Graph, options: TrainOptions, size: tuple[int, int]) -> None:
    sizes = dict.fromkeys(INPUTS, (options.batch, *size, INPUT_CHANNELS))
    sizes["clean"] = (options.batch, *size, COLOURS)
    got = f"{options.batch} pictures of {size[0]} x {size[1]}"
    check_step_fits("denoise: batch", training, sizes, got)


def train(
    data: DataFactory,
    validation: DataSet | None,
    options: TrainOptions,
    *,
    archive: Path | None = None,
    resume: bool = False,
    device: mps.Device | None = None,
    progress: bool = True,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    way: Way = BOTH,
    timeline: StepTimeline | None = None,
) -> tuple[Denoiser, Trainer]:
    """Trains a denoiser.

    Args:
        data: Training pictures of the n-th refresh, counted from 0; called when they are needed.
        validation: Pictures never trained on; None: no validation.
        options: How to train.
        archive: File for checkpoints and the finished net; None: none is written.
        resume: Go on from that file instead of from fresh weights.
        device: Where to train; None: the best here.
        progress: Draw a progress bar.
        on_epoch: Called after each epoch, after the validation.
        way: How steps are handed to the device; changes no number.
        timeline: Captures a few of the first steps; None: none.

    Returns:
        The denoiser and the trainer with the history of losses. `trainer.interrupted` tells
        whether Ctrl-C ended the run early.

    Raises:
        InvalidArgumentError: As for `check`, or options that differ from those of the run to be
            resumed.
        ArchiveError: The checkpoint is damaged or of something else.
        FileError: A checkpoint cannot be read or written.
    """
    device = device or mps.Device()
    if archive is not None:
        prepare_output(archive)
    if resume:
        if archive is None:
            raise mps.InvalidArgumentError("resume: expected the archive to go on from, got none")
        stored = _open_checkpoint(archive, device, options)
    first = data(0)
    check(options, len(first), first.size, None if validation is None else validation.size)
    size = options.crop or first.size
    if resume:
        training = stored.decode_graph("training")
        inference = stored.decode_graph(GRAPH_KEY)
    else:
        net = build_net(options.model, mps.OptimizerAdam(options.learning_rate))
        inference = build_inference(device, net)
        training = build_training(device, net, options.batch, size, options.edge_weight)
    _check_step(training, options, size)
    denoiser = Denoiser(inference, options.model)

    def finish_epoch(record: EpochRecord) -> None:
        if validation is not None and (record.epoch + 1) % options.validate_every == 0:
            record.measures["psnr"] = mean_psnr(denoiser, validation)
        if on_epoch is not None:
            on_epoch(record)

    trainer = Trainer(
        training,
        _Batches(data, first, options),
        schedule=StepSchedule(options.learning_rate, options.halve_every, 0.5),
        seed=options.seed,
        on_epoch=finish_epoch,
        checkpoint=archive,
        checkpoint_every=options.checkpoint_every,
        archived={GRAPH_KEY: inference},
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
    return denoiser, trainer


class _Batches:
    """The batches of an epoch; asks for new pictures where a refresh is due."""

    def __init__(self, data: DataFactory, first: DataSet, options: TrainOptions) -> None:
        self._data, self._options = data, options
        self._refresh, self._pictures = 0, first

    def __call__(self, epoch: int, generator: np.random.Generator) -> Iterator[SourceBatch]:
        options = self._options
        refresh = epoch // options.refresh_every if options.refresh_every else 0
        if refresh != self._refresh:
            self._refresh, self._pictures = refresh, self._data(refresh)
        batches = self._pictures.batches(
            options.batch,
            generator,
            crop=options.crop,
            mirror=options.mirror,
            repeats=options.repeats,
        )
        return map(sources_of, batches)


def _open_checkpoint(path: Path, device: mps.Device, options: TrainOptions) -> mps.Archive:
    stored = mps.KeyedUnarchiver(device).open(str(path))
    wanted = {OPTIONS_KEY: asdict(options.model), RUN_KEY: options.fixed()}
    for key, values in wanted.items():
        if key not in stored.metadata:
            raise mps.ArchiveError(f"{path}: expected a denoiser's checkpoint, it has no '{key}'")
        check_resumed(json.loads(stored.metadata[key]), json.loads(json.dumps(values)), path)
    return stored
