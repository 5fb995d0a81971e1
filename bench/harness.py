# SPDX-License-Identifier: MIT
"""Timing beside a peer: one process a contestant, rounds interleaved, medians with their spread."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mpsnn.measuring import PeakMemory, Spread, run_contestant

__all__ = ["Contestant", "PeakMemory", "compare", "report"]

THREADS = 2


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
        result = run_contestant(self.name, self.command, THREADS)
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
        ratio = Spread.of_ratios(one.medians, peer.medians)
        memory = max(one.memory)
        print(
            f"| {one.name} | {statistics.median(one.medians) * 1e3:.1f} | "
            f"{min(one.times) * 1e3:.1f}-{max(one.times) * 1e3:.1f} | {memory:.0f} | "
            f"{ratio.text()} | {memory / max(peer.memory):.2f} |"
        )
