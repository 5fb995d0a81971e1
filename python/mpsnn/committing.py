# SPDX-License-Identifier: MIT
"""Four ways of handing steps to a device, and the timeline of some of them: options of every app.

An application adds the options with `add_options`, takes its `Way` and `StepTimeline` from what was
parsed, and runs its steps with `Way.run` or a `Trainer`, which takes both.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mpsnn._core import (
    CommandBuffer,
    CommandQueue,
    InvalidArgumentError,
    StateError,
    Trace,
    capture,
)
from mpsnn.files import DRAWINGS, optional_module, prepare_output
from mpsnn.pipeline import Pipeline

Batch = TypeVar("Batch")
Result = TypeVar("Result")

TRACE = ".json"


@dataclass(frozen=True)
class Way:
    """How steps are handed to the device.

    Attributes:
        key: Name on the command line and in files.
        title: Name in tables.
        buffers: Command buffers in flight. With one, the host waits for each step before it
            prepares the next batch; with two it prepares and encodes while the device works.
        pieces: True: a step is committed in pieces while it is being encoded, so that the device
            begins before the host has ended. False: at its end.
    """

    key: str
    title: str
    buffers: int
    pieces: bool

    def command_buffer(self, queue: CommandQueue, label: str = "") -> CommandBuffer:
        """A command buffer that commits in pieces by itself where this way does.

        Args:
            queue: Where it is committed.
            label: Name for errors and timelines.

        Returns:
            The command buffer.
        """
        return CommandBuffer(queue, label, auto_commit=self.pieces)

    def run(
        self,
        queue: CommandQueue,
        data: Iterable[Batch],
        encode: Callable[[CommandBuffer, Batch], Result],
    ) -> Iterator[Result]:
        """Encodes and commits each batch this way; see `Pipeline.run`.

        Args:
            queue: Where the command buffers are committed.
            data: The batches; each is asked for when there is room for another step.
            encode: Records one batch on the command buffer given.

        Returns:
            What `encode` returned, in order, each when its batch has completed.

        Raises:
            BatchError: A batch failed; the failure is its `__cause__`.
        """
        return Pipeline(queue, self.buffers, auto_commit=self.pieces).run(data, encode)


SINGLE = Way("single", "single buffering", buffers=1, pieces=False)
DOUBLE = Way("double", "double buffering", buffers=2, pieces=False)
CONTINUE = Way("continue", "commitAndContinue", buffers=1, pieces=True)
BOTH = Way("both", "commitAndContinue, double buffering", buffers=2, pieces=True)
WAYS = (SINGLE, DOUBLE, CONTINUE, BOTH)


def way_named(key: str) -> Way:
    """One of the four ways.

    Args:
        key: Its key.

    Raises:
        InvalidArgumentError: No way has this key.
    """
    for way in WAYS:
        if way.key == key:
            return way
    expected = ", ".join(way.key for way in WAYS)
    raise InvalidArgumentError(f"commit: expected one of {expected}, got {key!r}")


def check_timeline(path: Path | None) -> None:
    """Tells before anything runs why a timeline could not be written at the end.

    Args:
        path: The file; None: none is wanted, and all is well.

    Raises:
        InvalidArgumentError: A suffix that is neither a trace's nor a picture's.
        FileError: The file's folder cannot be made or written to.
        MissingPackageError: A picture is wanted and matplotlib is not installed.
    """
    if path is None:
        return
    if path.suffix not in (TRACE, *DRAWINGS):
        raise InvalidArgumentError(
            f"timeline: expected a picture ({', '.join(DRAWINGS)}) or a trace ({TRACE}), got {path}"
        )
    prepare_output(path)
    if path.suffix != TRACE:
        optional_module("matplotlib", "plot", "the timeline's picture")


def write_timeline(trace: Trace, path: Path) -> None:
    """Writes a capture: a trace for Perfetto where the file ends in .json, else a picture.

    Args:
        trace: What was captured.
        path: The file; its folder is made if it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == TRACE:
        trace.save(path)
    else:
        trace.plot(path)


class StepTimeline:
    """Captures a few steps of a loop, and writes them as a picture or a trace.

    The loop calls `step` before each step and `finish` behind the last one.

    Args:
        path: File to write; None: nothing is captured, and all calls return at once.
        warm: Steps before the first one that is captured: plans are made in them.
        steps: Steps to capture; fewer where the loop ends before.

    Attributes:
        summary: What `TraceSummary` says of the capture; empty until it was written.

    Raises:
        InvalidArgumentError: See `check_timeline`; or no step is to be captured.
        FileError: See `check_timeline`.
        MissingPackageError: See `check_timeline`.
    """

    def __init__(self, path: Path | None, *, warm: int = 2, steps: int = 4) -> None:
        check_timeline(path)
        if steps < 1 or warm < 0:
            raise InvalidArgumentError(
                f"timeline: expected 1 step or more behind 0 or more, got {steps} behind {warm}"
            )
        self.path = path
        self.summary = ""
        self._first, self._behind = warm, warm + steps
        self._count = 0
        self._trace: Trace | None = None

    def step(self, drain: Callable[[], object]) -> None:
        """Says that a step follows.

        Args:
            drain: Waits for all steps in flight; called where the capture begins or ends.
        """
        if self.path is None or self._count > self._behind:
            return
        if self._count == self._first:
            drain()
            self._trace = capture()
            self._trace.start()
        if self._count == self._behind:
            drain()
            self.finish()
        self._count += 1

    def finish(self) -> None:
        """Says that no step follows and none is in flight: writes what was captured."""
        trace, self._trace = self._trace, None
        if trace is None or self.path is None:
            return
        trace.stop()
        write_timeline(trace, self.path)
        self.summary = str(trace.summary()).rstrip()

    def close(self) -> None:
        """Ends a capture that a failure has cut, without writing it."""
        if self._trace is not None:
            self._trace.stop()
            self._trace = None

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Captures all that a `with` block does, for loops too short to choose steps from.

        Wait for the command buffers before it ends.

        Raises:
            StateError: Steps of a loop are being captured.
        """
        if self.path is None:
            yield
            return
        if self._trace is not None:
            raise StateError("timeline: expected no capture of steps to run, got one that does")
        self._trace = capture()
        self._trace.start()
        try:
            yield
            self.finish()
        finally:
            self.close()

    def tell(self) -> None:
        """Prints the summary and where the timeline is, or why there is none."""
        if self.summary:
            print(self.summary)
            print(f"the timeline: {self.path}")
        elif self.path is not None:
            print(f"no timeline: the run ended before step {self._first + 1}, the first captured")


def add_options(parser: argparse.ArgumentParser, default: Way = BOTH) -> None:
    """Adds `--commit` and `--timeline` to a command.

    Args:
        parser: The command's.
        default: The way that is taken where none is named.
    """
    parser.add_argument(
        "--commit",
        choices=[way.key for way in WAYS],
        default=default.key,
        help="how steps are handed to the device: waiting for each (single, continue) or two in "
        "flight (double, both), whole (single, double) or in pieces (default %(default)s)",
    )
    parser.add_argument(
        "--timeline",
        type=Path,
        metavar="FILE",
        help="capture a few steps: a picture (.png, .svg, .pdf), or a trace for Perfetto (.json)",
    )


def way_of(arguments: argparse.Namespace) -> Way:
    """The way that `--commit` names."""
    return way_named(arguments.commit)


def timeline_of(arguments: argparse.Namespace, *, warm: int = 2, steps: int = 4) -> StepTimeline:
    """The capture that `--timeline` asks for; see `StepTimeline`."""
    return StepTimeline(arguments.timeline, warm=warm, steps=steps)
