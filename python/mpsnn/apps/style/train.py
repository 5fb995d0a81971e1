# SPDX-License-Identifier: MIT
"""The training run: cutouts in, checkpoints out, a preview now and then."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

import mpsnn as mps
from mpsnn.apps.pictures import Picture
from mpsnn.apps.style.apply import OPTIONS_KEY, Styliser, graph_key
from mpsnn.apps.style.features import COLOUR_LAYER, STYLE_LAYERS, FeatureNet
from mpsnn.apps.style.model import (
    LossOptions,
    ModelOptions,
    Transformer,
    build_inference,
    build_targets,
    build_training,
    check_size,
    repeated,
)
from mpsnn.apps.style.photographs import check, cutouts, square
from mpsnn.committing import BOTH, StepTimeline, Way
from mpsnn.files import prepare_output
from mpsnn.memory import array_bytes, check_step_fits
from mpsnn.training import Batch, EpochRecord, StepSchedule, Trainer, check_resumed

RUN_KEY = "style.run"
STYLE = "style"  # which style a batch is for
REFERENCE_EDGE = 128
FEATURE_DIVISOR = 8  # poolings before the last style layer


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Args:
        epochs: In all; an epoch ends with a preview.
        steps: Steps of an epoch; the styles take turns.
        batch: Cutouts of a step.
        edge: Height and width of the cutouts, a multiple of 8.
        learning_rate: Rate of the first epochs.
        halve_every: Epochs after which the learning rate halves; 0: never.
        seed: Seed of the cutouts.
        checkpoint_every: Epochs between checkpoints.
        losses: Weights of the losses.
        model: Size of the net.
    """

    epochs: int = 40
    steps: int = 250
    batch: int = 4
    edge: int = 192
    learning_rate: float = 1e-3
    halve_every: int = 15
    seed: int = 0
    checkpoint_every: int = 1
    losses: LossOptions = field(default_factory=LossOptions)
    model: ModelOptions = field(default_factory=ModelOptions)

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "batch", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise mps.InvalidArgumentError(
                    f"style: {name}: expected 1 or more, got {getattr(self, name)}"
                )
        for name in ("halve_every", "seed"):
            if getattr(self, name) < 0:
                raise mps.InvalidArgumentError(
                    f"style: {name}: expected 0 or more, got {getattr(self, name)}"
                )
        if self.edge % FEATURE_DIVISOR:
            raise mps.InvalidArgumentError(
                f"style: edge: expected a multiple of {FEATURE_DIVISOR}, got {self.edge}"
            )
        check_size(self.edge, self.edge)

    def fixed(self) -> dict[str, object]:
        """What a resumed run must share with the run that wrote the checkpoint."""
        values = asdict(self)
        for name in ("epochs", "checkpoint_every", "model"):
            del values[name]
        return values


def style_targets(
    device: mps.Device, features: FeatureNet, picture: Picture
) -> dict[str, np.ndarray]:
    """Gram matrices of a style's picture.

    Args:
        device: Where they are computed.
        features: The feature net.
        picture: (H, W, 3), 0 to 1; rows and columns beyond a multiple of 8 are not used.

    Returns:
        (1, 1, C, C) by name: "gram.colour", "gram.relu1_2" ….

    Raises:
        InvalidArgumentError: The picture is too small or has another shape, or the feature net does
            not see it: there is nothing that a loss could be a share of.
    """
    _check_style(picture)
    height, width = (extent - extent % FEATURE_DIVISOR for extent in picture.shape[:2])
    graph = build_targets(device, features, (height, width))
    commands = mps.CommandBuffer(device.command_queue("style targets"))
    outputs = graph.encode(commands, {"style": picture[None, :height, :width].copy()})
    commands.commit()
    commands.wait_until_completed()
    names = [f"gram.{layer}" for layer in (COLOUR_LAYER, *STYLE_LAYERS)]
    targets = {name: np.array(outputs[name]) for name in names}
    for name, gram in targets.items():
        if not 0.0 < float(np.square(gram, dtype=np.float64).sum()) < math.inf:
            raise mps.InvalidArgumentError(
                f"style: picture of a style: expected features in {name.removeprefix('gram.')}, "
                "got none, or no numbers: other weights of the feature net are needed"
            )
    return targets


class StyleTrainer(Trainer):
    """Trains the styles in turn: each has a graph, and they share the convolutions.

    Args:
        graphs: The styles' training graphs.
        targets: The Gram matrices of each style, repeated for a batch.
        arguments: See `Trainer`.
    """

    def __init__(
        self,
        graphs: Sequence[mps.Graph],
        targets: Sequence[dict[str, np.ndarray]],
        batches: Callable[[int, np.random.Generator], Iterator[Batch]],
        **arguments: object,
    ) -> None:
        super().__init__(graphs[0], batches, **arguments)  # type: ignore[arg-type]
        self._graphs = list(graphs)
        device = graphs[0].device
        self._targets = [  # they stay on the device
            {name: mps.Image(device, array) for name, array in arrays.items()} for arrays in targets
        ]

    def encode(self, commands: mps.CommandBuffer, batch: Batch) -> mps.Image:
        """Records a step of the batch's style."""
        style = int(np.asarray(batch[STYLE]))
        sources = {"content": batch["content"], **self._targets[style]}
        return self._graphs[style].encode(commands, sources)["loss"]

    def archive(self, archiver: mps.KeyedArchiver) -> None:
        """Adds the other styles' training graphs."""
        super().archive(archiver)
        for style, graph in enumerate(self._graphs[1:], 1):
            archiver.encode(f"training.{style}", graph)


def train(
    photographs: Sequence[Picture],
    styles: Sequence[Picture],
    features: FeatureNet,
    options: TrainOptions,
    *,
    archive: Path | None = None,
    resume: bool = False,
    device: mps.Device | None = None,
    progress: bool = True,
    on_epoch: Callable[[EpochRecord, Styliser], None] | None = None,
    way: Way = BOTH,
    timeline: StepTimeline | None = None,
) -> tuple[Styliser, Trainer]:
    """Trains a net for one or more styles.

    Args:
        photographs: What it learns to paint; each at least as large as a cutout.
        styles: A picture of each style.
        features: The net that the losses look through.
        options: How to train; `options.model.styles` is the number of styles.
        archive: File for checkpoints and the finished net; None: none is written.
        resume: Go on from that file instead of from fresh weights.
        device: Where to train; None: the best here.
        progress: Draw a progress bar.
        on_epoch: Called after each epoch with its record and the net.
        way: How steps are handed to the device; changes no number.
        timeline: Captures a few of the first steps; None: none.

    Returns:
        The net, and the trainer with the history of losses.

    Raises:
        InvalidArgumentError: Pictures that do not fit, a step larger than the memory, or options
            that differ from those of the run to be resumed.
        ArchiveError: The checkpoint is damaged or of something else.
        FileError: A checkpoint cannot be read or written.
    """
    device = device or mps.Device()
    check(photographs, options.edge)
    if len(styles) != options.model.styles:
        raise mps.InvalidArgumentError(
            f"style: styles: expected {options.model.styles} pictures, got {len(styles)}"
        )
    for picture in styles:
        _check_style(picture)
    if archive is not None:
        prepare_output(archive)  # before the feature net is applied
    features.standardise(device, np.stack([_reference(picture) for picture in styles]))
    targets = [style_targets(device, features, picture) for picture in styles]
    seen = _checksum(array for arrays in targets for array in arrays.values())
    run = {
        **options.fixed(),
        "styles": f"{len(styles)} seen through the feature net, checksum {seen:08x}",
        "photographs": f"{len(photographs)}, checksum {_checksum(photographs):08x}",
    }
    indices = range(len(styles))
    if resume:
        stored = _open_checkpoint(archive, device, asdict(options.model), run)
        training = [stored.decode_graph(f"training.{i}" if i else "training") for i in indices]
        inference = [stored.decode_graph(graph_key(i)) for i in indices]
    else:
        net = Transformer(options.model, mps.OptimizerAdam(options.learning_rate))
        size = (options.edge, options.edge)
        inference = [build_inference(device, net, i) for i in indices]
        training = [
            build_training(
                device, net, features, targets[i], i, options.batch, size, options.losses
            )
            for i in indices
        ]
    _check_memory(training[0], targets, options)
    styliser = Styliser(inference)

    def batches(epoch: int, generator: np.random.Generator) -> Iterator[Batch]:
        cuts = cutouts(photographs, options.edge, options.batch, options.steps, generator)
        for step, content in enumerate(cuts, epoch * options.steps):
            yield {"content": content, STYLE: np.array(step % len(styles))}

    trainer = StyleTrainer(
        training,
        [repeated(arrays, options.batch) for arrays in targets],
        batches,
        schedule=StepSchedule(options.learning_rate, options.halve_every, 0.5),
        seed=options.seed,
        on_epoch=None if on_epoch is None else lambda record: on_epoch(record, styliser),
        checkpoint=archive,
        checkpoint_every=options.checkpoint_every,
        archived={graph_key(i): graph for i, graph in enumerate(inference)},
        metadata={OPTIONS_KEY: json.dumps(asdict(options.model)), RUN_KEY: json.dumps(run)},
        way=way,
        timeline=timeline,
        progress=progress,
        steps=options.steps,
    )
    if resume:
        trainer.resume(stored)
    trainer.run(options.epochs)
    return styliser, trainer


def _check_style(picture: Picture) -> None:
    least = 2 * FEATURE_DIVISOR
    if picture.ndim != 3 or picture.shape[2] != 3 or min(picture.shape[:2]) < least:
        raise mps.InvalidArgumentError(
            f"style: picture of a style: expected shape (H, W, 3) of {least} x {least} pixels or "
            f"more, got {picture.shape}"
        )


def _check_memory(
    training: mps.Graph, targets: Sequence[dict[str, np.ndarray]], options: TrainOptions
) -> None:
    """Refuses a batch whose step cannot fit before any of it is allocated."""
    count, edge = options.batch, options.edge
    grams = {name: (count, *array.shape[1:]) for name, array in targets[0].items()}
    check_step_fits(
        "style: batch",
        training,
        {**grams, "content": (count, edge, edge, 3)},
        f"{count} cutouts of {edge} x {edge}",
        (len(targets) - 1) * array_bytes(*grams.values()),
    )


def _reference(picture: Picture) -> Picture:
    """A style's picture in one size, so that its own size does not matter to random features."""
    return square(picture, REFERENCE_EDGE)


def _checksum(arrays: Iterable[np.ndarray]) -> int:
    """Tells styles and feature nets apart, or photographs."""
    checksum = 0
    for array in arrays:
        checksum = zlib.crc32(f"{array.shape}".encode() + array.tobytes(), checksum)
    return checksum


def _open_checkpoint(
    path: Path | None, device: mps.Device, model: dict[str, object], run: dict[str, object]
) -> mps.Archive:
    if path is None:
        raise mps.InvalidArgumentError("resume: expected the archive to go on from, got none")
    stored = mps.KeyedUnarchiver(device).open(str(path))
    for key, now in ((OPTIONS_KEY, model), (RUN_KEY, run)):
        if key not in stored.metadata:
            raise mps.ArchiveError(
                f"{path}: expected a checkpoint of `mpsnn style train`, it has no '{key}'"
            )
        try:
            before = dict(json.loads(stored.metadata[key]))
        except (TypeError, ValueError) as error:
            raise mps.ArchiveError(f"{path}: the run's options cannot be read: {error}") from error
        check_resumed(before, now, path)
    return stored
