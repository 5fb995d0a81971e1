# SPDX-License-Identifier: MIT
"""Measuring beside a peer: a process of its own for each contestant, rounds interleaved.

A contestant is a command that prints one line of JSON at its end. Machines are shared and noisy:
only ratios inside one run mean anything, so each round runs every contestant once, and a ratio is
the median over the rounds.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpsnn._core import Error


class ContestantError(Error, RuntimeError):
    """A contestant's process failed; the text ends in the end of what it wrote to stderr."""


def resident(key: str) -> float:
    """MiB of `VmRSS` (now) or `VmHWM` (highest so far) of this process; NaN where unknown."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    for line in status.read_text(encoding="utf-8").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024.0
    return float("nan")


class PeakMemory:
    """Peak resident memory over what the process held when this was made, in MiB."""

    def __init__(self) -> None:
        self.forget()
        self._before = resident("VmRSS")

    def forget(self) -> None:
        """Forgets the peak so far; what the process held at first stays the base."""
        clear = Path("/proc/self/clear_refs")
        if clear.exists():
            clear.write_text("5", encoding="ascii")  # resets VmHWM

    def mebibytes(self) -> float:
        """MiB of the peak so far; NaN where the system does not tell."""
        return resident("VmHWM") - self._before


def available_processors() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_contestant(name: str, arguments: Sequence[str], threads: int) -> dict[str, Any]:
    """Runs a Python program in a process of its own.

    Args:
        name: Who it is, for the error.
        arguments: What follows `python` on the command line.
        threads: Threads of its libraries.

    Returns:
        The last line that it printed, read as JSON.

    Raises:
        ContestantError: It failed; the text ends in the end of what it wrote to stderr.
    """
    text = str(threads)
    environment = {**os.environ, "OMP_NUM_THREADS": text, "MKL_NUM_THREADS": text}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise ContestantError(f"{name} failed (status {done.returncode}):\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


@dataclass(frozen=True)
class Spread:
    """A median with the smallest and largest value."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    @classmethod
    def of_ratios(cls, values: Sequence[float], references: Sequence[float]) -> Spread:
        """The spread of each round's value over that round's reference."""
        return cls.of([a / b for a, b in zip(values, references, strict=True)])

    def text(self, digits: int = 2) -> str:
        """As "1.02 (0.98-1.05)"."""
        return f"{self.median:.{digits}f} ({self.least:.{digits}f}-{self.most:.{digits}f})"
