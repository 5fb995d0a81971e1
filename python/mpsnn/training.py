# SPDX-License-Identifier: MIT
"""The training loop that all applications share.

A `Trainer` runs one compiled training graph over batches: it keeps the device busy by committing
the next step before it reads the last loss, follows a learning-rate schedule, draws progress, calls
the application at the end of each epoch, and writes checkpoints from which a run continues bit for
bit.
"""

from __future__ import annotations

import json
import math
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import numpy as np

from mpsnn._core import (
    Archive,
    ArchiveError,
    CommandBuffer,
    Device,
    Graph,
    Image,
    InvalidArgumentError,
    KeyedArchiver,
    Matrix,
    Optimizer,
    StateError,
)
from mpsnn.committing import BOTH, StepTimeline, Way
from mpsnn.files import prepare_output

METADATA_KEY = "trainer"

Item = TypeVar("Item")
Batch = Mapping[str, "np.ndarray[Any, Any] | Image"]


@dataclass(frozen=True)
class StepSchedule:
    """Multiplies the learning rate by `factor` every `every` epochs.

    Args:
        learning_rate: Rate of the first epochs.
        every: Epochs between two changes; 0 never changes it.
        factor: What the rate is multiplied by.

    Raises:
        InvalidArgumentError: A number that makes no schedule.
    """

    learning_rate: float
    every: int = 0
    factor: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.learning_rate < math.inf:
            raise InvalidArgumentError(
                f"learning_rate: expected a finite number from 0 on, got {self.learning_rate}"
            )
        if self.every < 0 or not 0.0 < self.factor < math.inf:
            raise InvalidArgumentError(
                "schedule: expected a change every 0 epochs or more by a factor above 0, got every "
                f"{self.every} by {self.factor}"
            )

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        return self.learning_rate * self.factor ** (epoch // self.every if self.every else 0)


@dataclass
class EpochRecord:
    """What is known of one finished epoch."""

    epoch: int
    loss: float
    learning_rate: float
    images_per_second: float
    measures: dict[str, float] = field(default_factory=dict)


@dataclass
class TrainerState:
    """Where a run stands; stored in checkpoints as JSON beside weights and moments."""

    epoch: int = 0
    batch: int = 0
    losses: list[float] = field(default_factory=list)
    random: dict[str, Any] = field(default_factory=dict)
    history: list[EpochRecord] = field(default_factory=list)

    def to_json(self) -> str:
        """The state as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TrainerState:
        """Reads what `to_json` wrote.

        Raises:
            ArchiveError: The text is not a trainer's state.
        """
        try:
            values = json.loads(text)
            values["history"] = [EpochRecord(**record) for record in values["history"]]
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise ArchiveError(
                f"checkpoint: the trainer's state cannot be read: {error}"
            ) from error


class Trainer:
    """Trains one graph.

    A step that is more than one graph is a subclass: `encode`, `set_learning_rate` and `archive`
    are there to be replaced.

    Args:
        graph: A training graph that exports its loss, one value an image, under `loss`.
        batches: Called with the epoch and a random generator; gives the epoch's batches, each a
            mapping from source handle to an array (N, H, W, C). The same epoch and generator state
            must give the same batches: resuming depends on it.
        schedule: Learning rate of each epoch, set on every optimizer of the graph.
        seed: Seed of the generator that `batches` gets.
        on_epoch: Called after each epoch with its record; may add to `record.measures`.
        checkpoint: File that `save` writes; None: no checkpoints.
        checkpoint_every: Epochs between two checkpoints.
        archived: Further graphs for the checkpoint by key, beside the graph itself (`"training"`).
        metadata: Further texts for the checkpoint by key.
        loss: Handle of the exported loss image.
        way: How steps are handed to the device; changes no number.
        timeline: Captures a few of the first steps; None: none.
        progress: Draw a progress bar on stderr.
        title: What the bar begins with; "": nothing.
        steps: Steps of an epoch, so that the bar moves within the first one; 0: not known before
            it has run.

    Raises:
        FileError: The checkpoint's file could not be written; told before the first step.

    Attributes:
        interrupted: Ctrl-C ended the last `run` early.
        nothing_left: The last `run` found all its epochs done.

    Ctrl-C ends the loop after the step that runs; a second one raises KeyboardInterrupt at once.
    """

    def __init__(
        self,
        graph: Graph,
        batches: Callable[[int, np.random.Generator], Iterable[Batch]],
        *,
        schedule: StepSchedule,
        seed: int = 0,
        on_epoch: Callable[[EpochRecord], None] | None = None,
        checkpoint: Path | None = None,
        checkpoint_every: int = 1,
        archived: Mapping[str, Graph] | None = None,
        metadata: Mapping[str, str] | None = None,
        loss: str = "loss",
        way: Way = BOTH,
        timeline: StepTimeline | None = None,
        progress: bool = True,
        title: str = "",
        steps: int = 0,
    ) -> None:
        self.graph = graph
        self.device: Device = graph.device
        self.queue = self.device.command_queue("training")
        self.schedule = schedule
        self.state = TrainerState(random=_random_state(np.random.Generator(np.random.Philox(seed))))
        self.interrupted = self.nothing_left = False
        self._batches = batches
        self._on_epoch = on_epoch
        if checkpoint is not None:
            prepare_output(checkpoint)
        self._checkpoint = checkpoint
        self._checkpoint_every = checkpoint_every
        self._archived = dict(archived or {})
        self._metadata = dict(metadata or {})
        self._loss = loss
        self._way = way
        self._timeline = timeline or StepTimeline(None)
        self._progress = progress
        self._title, self._steps = title, steps

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimizers of the graph's data sources."""
        return [s.optimizer for s in self.graph.data_sources if s.optimizer is not None]

    def resume(self, archive: Archive) -> None:
        """Goes on where a checkpoint stands. Weights and moments come with the archive's graphs.

        Raises:
            ArchiveError: The archive holds no trainer's state.
        """
        if METADATA_KEY not in archive.metadata:
            raise ArchiveError("checkpoint: holds no trainer's state, cannot be resumed from")
        self.state = TrainerState.from_json(archive.metadata[METADATA_KEY])

    def run(self, epochs: int) -> list[EpochRecord]:
        """Trains until `epochs` epochs are done in all, those before a resume included.

        Returns:
            The record of every epoch so far.
        """
        state = self.state
        self.nothing_left = state.epoch >= epochs
        progress = _Progress(
            state.epoch,
            epochs,
            state.batch,
            length=self._steps,
            title=self._title,
            on=self._progress,
        )
        with _interrupt_flag(self), closing(self._timeline), closing(progress) as bar:
            while self.state.epoch < epochs and not self.interrupted:
                record = self._run_epoch(bar)
                if record is None:
                    break
                self._finish_epoch(record, bar, last=self.state.epoch + 1 == epochs)
            self._timeline.finish()
        if self.interrupted:
            self.save()
        return self.state.history

    def save(self) -> None:
        """Writes the checkpoint, atomically; does nothing where no file was named."""
        if self._checkpoint is None:
            return
        archiver = KeyedArchiver()
        self.archive(archiver)
        for key, text in self._metadata.items():
            archiver.set_metadata(key, text)
        archiver.set_metadata(METADATA_KEY, self.state.to_json())
        archiver.write(str(self._checkpoint))

    def tell_nothing_left(self, epochs: int) -> None:
        """Prints that the last `run` had nothing to do, where that is so.

        Args:
            epochs: What the run was asked for, in all.
        """
        if self.nothing_left:
            print(f"nothing was left to train: of {epochs} epochs {self.state.epoch} were done")

    def tell_interrupted(self, epochs: int, go_on: str = "") -> None:
        """Prints where Ctrl-C ended the last `run`: also that all of it had been trained by then.

        Args:
            epochs: What the run was asked for, in all.
            go_on: How the rest is trained; "": not told.
        """
        if self.state.epoch < epochs:
            again = f"; go on with {go_on}" if go_on else ""
            print(f"interrupted in epoch {self.state.epoch + 1}{again}")
            return
        written = f"; what it made is in {self._checkpoint}" if self._checkpoint else ""
        print(f"interrupted when the training was complete, all {epochs} epochs{written}")

    def archive(self, archiver: KeyedArchiver) -> None:
        """Adds what is trained to a checkpoint.

        Args:
            archiver: Where it goes, beside the run's state and the metadata.
        """
        archiver.encode("training", self.graph)
        for key, graph in self._archived.items():
            archiver.encode(key, graph)

    def set_learning_rate(self, rate: float) -> None:
        """Sets the rate of the steps that follow.

        Args:
            rate: The new learning rate.
        """
        for optimizer in self.optimizers:
            optimizer.learning_rate = rate

    def encode(self, commands: CommandBuffer, batch: Batch) -> Image | Matrix:
        """Records a step.

        Args:
            commands: Where it is recorded.
            batch: One of the epoch's batches.

        Returns:
            The loss, one value an image, whose sum is shown.
        """
        return self.graph.encode(commands, dict(batch))[self._loss]

    def _run_epoch(self, bar: _Progress) -> EpochRecord | None:
        state = self.state
        rate = self.schedule.rate(state.epoch)
        self.set_learning_rate(rate)
        generator = _generator(state.random)
        started, images = time.perf_counter(), 0
        pending: deque[Image | Matrix] = deque()

        def collect_all() -> None:
            nonlocal images
            while pending:
                images += self._collect(pending, bar)

        for index, batch in enumerate(self._batches(state.epoch, generator)):
            if index < state.batch:
                continue
            self._timeline.step(collect_all)
            pending.append(self._commit(batch))
            if len(pending) >= self._way.buffers:
                images += self._collect(pending, bar)
            if self.interrupted:
                break
        collect_all()
        if self.interrupted:
            return None
        if not state.losses:
            raise ValueError(f"training: epoch {state.epoch} has no batches")
        state.random = _random_state(generator)
        seconds = time.perf_counter() - started
        return EpochRecord(state.epoch, float(np.mean(state.losses)), rate, images / seconds)

    def _commit(self, batch: Batch) -> Image | Matrix:
        commands = self._way.command_buffer(self.queue)
        loss = self.encode(commands, batch)
        commands.commit()
        return loss

    def _collect(self, pending: deque[Image | Matrix], bar: _Progress) -> int:
        values = np.asarray(pending.popleft(), dtype=np.float64)
        loss = float(values.sum())
        if not math.isfinite(loss):  # all that follows would be lost, the checkpoint too
            state = self.state
            raise StateError(
                f"training: epoch {state.epoch + 1}, step {state.batch + 1}: expected a finite "
                f"loss, got {loss}; try a lower learning rate"
            )
        self.state.losses.append(loss)
        self.state.batch += 1
        bar.step(loss, len(values))
        return len(values)

    def _finish_epoch(self, record: EpochRecord, bar: _Progress, *, last: bool) -> None:
        if self._on_epoch is not None:
            bar.clear()
            self._on_epoch(record)
        state = self.state
        state.history.append(record)
        state.epoch, state.batch, state.losses = state.epoch + 1, 0, []
        bar.epoch(record)
        if last or state.epoch % self._checkpoint_every == 0:
            self.save()


def check_resumed(
    before: Mapping[str, object], now: Mapping[str, object], path: str | Path
) -> None:
    """Refuses to go on from a checkpoint with other options or data than its run had.

    Args:
        before: What the checkpoint's run had, by name.
        now: What this run has.
        path: The checkpoint, for the error.

    Raises:
        InvalidArgumentError: They differ; the text names the first that does, and both values.
    """
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise InvalidArgumentError(
                f"resume: {name}: expected {before.get(name)} as in {path}, got {now.get(name)}"
            )


def with_progress(
    items: Sequence[Item], title: str, unit: str, *, on: bool = True
) -> Iterator[Item]:
    """Goes through items under a progress bar on stderr: tqdm where it is installed, else a line.

    Args:
        items: What is gone through.
        title: What is done with them.
        unit: What the items are.
        on: Show anything at all.

    Yields:
        The items.
    """
    if not on:
        yield from items
        return
    try:
        from tqdm import tqdm
    except ImportError:
        print(f"{title}: {len(items)} {unit}", file=sys.stderr, flush=True)
        yield from items
        return
    with tqdm(items, desc=title, unit=f" {unit}", file=sys.stderr, dynamic_ncols=True) as bar:
        yield from bar


def _random_state(generator: np.random.Generator) -> dict[str, Any]:
    """A generator's state as plain lists and numbers, for JSON."""
    text = json.dumps(
        generator.bit_generator.state, default=lambda value: np.asarray(value).tolist()
    )
    return dict(json.loads(text))


def _generator(state: dict[str, Any]) -> np.random.Generator:
    """A generator that stands where `_random_state` found it."""
    bits = np.random.Philox()
    inner = {key: np.asarray(value, dtype=np.uint64) for key, value in state["state"].items()}
    buffer = np.asarray(state["buffer"], dtype=np.uint64)
    restored: Any = {**state, "state": inner, "buffer": buffer}
    bits.state = restored
    return np.random.Generator(bits)


@contextmanager
def _interrupt_flag(trainer: Trainer) -> Iterator[None]:
    """Turns the first Ctrl-C into `trainer.interrupted`, so that no step is cut in half."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_interrupt(_signum: int, _frame: FrameType | None) -> None:
        if trainer.interrupted:
            raise KeyboardInterrupt
        trainer.interrupted = True

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


class _Progress:
    """A bar over epochs: tqdm where it is installed, else a line an epoch.

    The bar moves within an epoch as soon as it is known how many steps one has, at the latest after
    the first, and the remaining time follows from all steps since the run began.

    Args:
        done: Epochs that were done before.
        epochs: Epochs in all.
        skipped: Steps of the next epoch that were done before.
        length: Steps of an epoch; 0: not known yet.
        title: What is trained; "": not told.
        on: Draw at all.
    """

    FORMAT = "{l_bar}{bar}| {n:.1f}/{total} epochs [{elapsed}<{remaining}{postfix}]"

    def __init__(
        self,
        done: int,
        epochs: int,
        skipped: int = 0,
        *,
        length: int = 0,
        title: str = "",
        on: bool,
    ) -> None:
        self._on, self._title = on, title
        self._bar: Any = None
        self._texts: dict[str, str] = {}
        self._started, self._images = time.perf_counter(), 0
        self._done, self._skipped = done, 0 if length else skipped
        self._steps, self._length = skipped, length
        if on:
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self._bar = tqdm(
                total=epochs,
                initial=done + (skipped / length if length else 0),
                desc=title or None,
                smoothing=0,  # the mean speed since the start
                miniters=0,  # a step is a small part of an epoch
                bar_format=self.FORMAT,
                file=sys.stderr,
                dynamic_ncols=True,
            )

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()

    def clear(self) -> None:
        """Frees the bar's line for what the application prints; the next step draws it again."""
        if self._bar is not None:
            self._bar.clear()

    def step(self, loss: float, images: int) -> None:
        """Shows the loss of one step, and the speed so far."""
        self._images += images
        self._steps += 1
        if self._bar is not None:
            self._texts["loss"] = f"{loss:.5f}"
            speed = self._images / (time.perf_counter() - self._started)
            self._texts["images/s"] = f"{speed:.1f}"
            self._bar.set_postfix(self._texts, refresh=False)
            part = min(self._steps / self._length, 1.0) if self._length else 0.0
            self._bar.update(self._done + part - self._bar.n)

    def epoch(self, record: EpochRecord) -> None:
        """Shows a finished epoch."""
        self._done, self._length, self._steps = record.epoch + 1, self._steps, 0
        self._texts = {
            "loss": f"{record.loss:.5f}",
            **{name: f"{value:.2f}" for name, value in record.measures.items()},
            "images/s": f"{record.images_per_second:.1f}",
        }
        if self._bar is not None:
            if self._skipped:  # now it is known which part of an epoch that was
                self._bar.initial += self._skipped / self._length
                self._skipped = 0
            self._bar.set_postfix(self._texts, refresh=False)
            self._bar.update(self._done - self._bar.n)
        elif self._on:
            text = "  ".join(f"{name} {value}" for name, value in self._texts.items())
            title = f"{self._title}: " if self._title else ""
            print(f"{title}epoch {record.epoch + 1}: {text}", file=sys.stderr, flush=True)
