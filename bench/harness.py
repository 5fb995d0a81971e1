# SPDX-License-Identifier: MIT
"""Timing beside a peer: one process a contestant, rounds interleaved, medians with their spread.

A contestant is a command that prints one JSON line. Machines are shared and noisy: only ratios
inside one run mean anything, and each round runs every contestant once.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

THREADS = "2"


def resident(key: str) -> float:
    """MiB of `VmRSS` (now) or `VmHWM` (highest so far) of this process; NaN where unknown."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    for line in status.read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024.0
    return float("nan")


class PeakMemory:
    """Peak resident memory over what the process held when this was made, in MiB."""

    def __init__(self) -> None:
        clear = Path("/proc/self/clear_refs")
        if clear.exists():
            clear.write_text("5")  # resets VmHWM
        self._before = resident("VmRSS")

    def mebibytes(self) -> float:
        """MiB of the peak so far."""
        return resident("VmHWM") - self._before


def report(
    step: Callable[[], object], memory: PeakMemory, *, seconds: float, warm: int = 3
) -> None:
    """Runs `step` for about so many seconds and prints the JSON line that `compare` reads."""
    for _ in range(warm):
        step()
    times: list[float] = []
    started = time.perf_counter()
    while time.perf_counter() - started < seconds or len(times) < 5:
        before = time.perf_counter()
        step()
        times.append(time.perf_counter() - before)
    print(json.dumps({"times": times, "memory": memory.mebibytes()}), flush=True)


@dataclass
class Contestant:
    """What was measured of one contestant over all rounds."""

    name: str
    command: list[str]
    medians: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Measures once more, in a process of its own."""
        environment = {**os.environ, "OMP_NUM_THREADS": THREADS, "MKL_NUM_THREADS": THREADS}
        done = subprocess.run(
            [sys.executable, *self.command],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{self.name} failed:\n{done.stderr[-2000:]}")
        result = json.loads(done.stdout.strip().splitlines()[-1])
        self.medians.append(statistics.median(result["times"]))
        self.times.extend(result["times"])
        self.memory.append(result["memory"])


def compare(title: str, contestants: Sequence[Contestant], rounds: int) -> None:
    """Runs all contestants `rounds` times in turn and prints a table; the last one is the peer."""
    for _ in range(rounds):
        for contestant in contestants:
            contestant.run()
    peer = contestants[-1]
    print(f"\n{title} ({rounds} rounds, {THREADS} threads)")
    print("| | median ms | min-max ms | peak MiB | time / peer | memory / peer |")
    print("|---|---|---|---|---|---|")
    for one in contestants:
        median = statistics.median(one.medians)
        ratios = [a / b for a, b in zip(one.medians, peer.medians, strict=True)]
        memory = max(one.memory)
        print(
            f"| {one.name} | {median * 1e3:.1f} | {min(one.times) * 1e3:.1f}-"
            f"{max(one.times) * 1e3:.1f} | {memory:.0f} | {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f}-{max(ratios):.2f}) | {memory / max(peer.memory):.2f} |"
        )
