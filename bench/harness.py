# SPDX-License-Identifier: MIT
"""Timing beside a peer: one process a contestant, rounds interleaved, medians with their spread."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mpsnn.measuring import PeakMemory, Spread, run_contestant

__all__ = ["Calls", "Contestant", "PeakMemory", "compare", "measured_cases", "report"]

THREADS = 2
Calls = dict[str, Callable[[], object]]


def times_of(step: Callable[[], object], seconds: float, warm: int = 3) -> list[float]:
    """How long each call took; for about so many seconds, five calls at least."""
    for _ in range(warm):
        step()
    times: list[float] = []
    started = time.perf_counter()
    while time.perf_counter() - started < seconds or len(times) < 5:
        before = time.perf_counter()
        step()
        times.append(time.perf_counter() - before)
    return times


def report(
    step: Callable[[], object], memory: PeakMemory, *, seconds: float, warm: int = 3
) -> None:
    """Runs `step` for about so many seconds and prints the JSON line that `compare` reads."""
    times = times_of(step, seconds, warm)
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


def measured_cases(
    script: str,
    description: str,
    contestants: Mapping[str, Callable[[], Calls]],
    *,
    rounds: int,
    seconds: float,
) -> dict[str, dict[str, list[float]]] | None:
    """The medians of each case, one a round, of each contestant; for a script of many cases.

    Parses the command line. Each contestant is the script itself in a process of its own, which
    prints its medians: there the result is None.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seconds", type=float, default=seconds, help="of each case and round")
    parser.add_argument("--case", default="", help="only cases with this word")
    parser.add_argument("--contestant", choices=list(contestants), help="measure only this one")
    arguments = parser.parse_args()
    if arguments.contestant:
        calls = contestants[arguments.contestant]().items()
        chosen = {case: call for case, call in calls if arguments.case in case}
        print(
            json.dumps(
                {c: statistics.median(times_of(f, arguments.seconds)) for c, f in chosen.items()}
            ),
            flush=True,
        )
        return None
    medians: dict[str, dict[str, list[float]]] = {name: {} for name in contestants}
    for _ in range(arguments.rounds):
        for name in contestants:
            command = [script, "--contestant", name, "--case", arguments.case]
            command += ["--seconds", str(arguments.seconds)]
            for case, taken in run_contestant(name, command, THREADS).items():
                medians[name].setdefault(case, []).append(taken)
    return medians
