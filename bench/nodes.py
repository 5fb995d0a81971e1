# SPDX-License-Identifier: MIT
"""Every node, forward and gradient, at three sizes, against PyTorch on two threads.

    python bench/nodes.py [--nodes Pooling Neuron] [--sizes small large] [--rounds 5] [--json FILE]

Both contestants are processes that live through the whole run and work in turn, a few milliseconds
each: what disturbs the machine meets both. Rounds in which other programs took processors away
are repeated. What is timed:

- ours: making a command buffer, encoding a graph of just the node, commit and wait; for small
  images eight encodes share the command buffer. Sources are images that exist, results are new.
- PyTorch: the call, eager, channels-last, its memory kept by malloc and in huge pages, as ours is.
- gradients: of all sources and weights, and a step of gradient descent for the weights. Where our
  gradient needs the forward result or statistics, both make the result as well ("with forward").
- the copy: PyTorch's `copy_` of as many bytes, reads and writes counted; ours moves the bytes that
  the node cannot do without. Memory-bound nodes have a figure there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness import THREADS
from mpsnn import _core
from mpsnn.measuring import Spread
from node_cases import CASES, SIZES, Moved, NodeCase

# Threads of a contestant that waits spin for some milliseconds before they sleep.
PAUSE = 0.02
LOST = 0.1
RETRIES = 4


class Contestant:
    """A process that measures what it is asked to."""

    def __init__(self, who: str) -> None:
        self.who = who
        threads = str(THREADS)
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        if who == "torch":
            # Without these most of its time with large images is page faults.
            environment |= {
                "MALLOC_MMAP_MAX_": "0",
                "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
                "MALLOC_TOP_PAD_": str(64 << 20),
                "THP_MEM_ALLOC_ENABLE": "1",
            }
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("node_contestants.py")), who],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, do: str, step: str = "", **more: Any) -> dict[str, Any]:
        """Sends a request and waits for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, "step": step, **more}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.who} ended with status {self.process.wait()}: {do} {more}")
        return dict(json.loads(line))

    def sample(self, step: str, seconds: float) -> tuple[float, bool]:
        """Seconds of a run, and whether it was undisturbed; disturbed ones are tried again."""
        best: dict[str, float] = {"seconds": 0.0, "lost": float("inf")}
        for _ in range(RETRIES):
            time.sleep(PAUSE)
            found = self.ask("sample", step, seconds=seconds)
            if found["lost"] < best["lost"]:
                best = found
            if best["lost"] <= LOST:
                break
        return best["seconds"], best["lost"] <= LOST

    def end(self) -> None:
        """Lets it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@dataclass
class Measured:
    """A node, forward or gradient, at one size."""

    case: str
    size: str
    gradient: bool
    with_forward: bool = False
    kernels: list[str] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    torch: list[float] = field(default_factory=list)
    copy: list[float] = field(default_factory=list)
    moved: int = 0
    disturbed: int = 0
    difference: float | None = None

    @property
    def ratio(self) -> Spread | None:
        """Our time over PyTorch's."""
        return Spread.of_ratios(self.ours, self.torch) if self.torch else None

    @property
    def bandwidth(self) -> Spread | None:
        """Our bandwidth over the copy's."""
        return Spread.of_ratios(self.copy, self.ours) if self.copy else None

    def name(self) -> str:
        """For the table."""
        if not self.gradient:
            return self.case
        return f"{self.case}, gradient" + (" with forward" if self.with_forward else "")


def bytes_moved(case: NodeCase, size: str, result: int, moved: tuple[float, float]) -> int:
    """What a memory-bound node reads and writes at least."""
    source = max(int(np.prod(shape)) for shape in case.sources[size])
    return int(4 * (moved[0] * source + moved[1] * result))


def moved_images(moved: Moved | None, case: NodeCase, *, gradient: bool) -> tuple[float, float]:
    """Streams of sources and results, or none."""
    if moved is None:
        return 0, 0
    found = (moved.gradient or (0, 0)) if gradient else moved.forward
    if case.node == "GramMatrixCalculationNode" and not gradient:
        return 1, 1
    return found


def difference(folder: str) -> float:
    """The largest difference of two contestants' results, over the largest value."""
    worst = 0.0
    for path in sorted(Path(folder).glob("ours*.npy")):
        ours, theirs = np.load(path), np.load(path.with_name(path.name.replace("ours", "torch")))
        if ours.size > theirs.size:  # a loss of the batch stands in image 0
            ours = ours[:1]
        if ours.shape != theirs.shape:
            return float("inf")
        scale = max(float(np.abs(theirs).max()), 1e-30)
        worst = max(worst, float(np.abs(ours - theirs).max()) / scale)
    return worst


def measure(
    case: NodeCase,
    size: str,
    contestants: dict[str, Contestant],
    options: argparse.Namespace,
    *,
    gradient: bool,
) -> Measured:
    """Prepares both, then lets them work in turn."""
    ours, torch = contestants["mpsnn"], contestants["torch"]
    found = Measured(case.id, size, gradient)
    request: dict[str, Any] = {"case": case.id, "size": size, "gradient": gradient}
    has_peer = not case.peer.startswith("none")
    with tempfile.TemporaryDirectory() as folder:
        saves = case.same_values and has_peer and size == "small"
        facts = ours.ask(
            "prepare", "node", **request, **({"save": f"{folder}/ours"} if saves else {})
        )
        found.kernels, found.with_forward = facts["kernels"], facts["with_forward"]
        if has_peer:
            request["with_forward"] = found.with_forward
            torch.ask(
                "prepare", "node", **request, **({"save": f"{folder}/torch"} if saves else {})
            )
        if saves:
            found.difference = difference(folder)
    streams = moved_images(case.moved, case, gradient=gradient)
    found.moved = bytes_moved(case, size, facts["result"], streams)
    if found.moved:
        torch.ask("prepare", "copy", moved=found.moved)
    for _ in range(options.rounds):
        seconds, quiet = ours.sample("node", options.seconds)
        found.ours.append(seconds)
        found.disturbed += not quiet
        if has_peer:
            seconds, quiet = torch.sample("node", options.seconds)
            found.torch.append(seconds)
            found.disturbed += not quiet
        if found.moved:
            found.copy.append(torch.sample("copy", options.seconds)[0])
    for contestant in contestants.values():
        contestant.ask("forget")
    return found


def row(found: Measured) -> str:
    """Of the table."""
    ours = statistics.median(found.ours) * 1e6
    theirs = f"{statistics.median(found.torch) * 1e6:.1f}" if found.torch else "-"
    ratio, bandwidth = found.ratio, found.bandwidth
    mark = " *" if found.disturbed else ""
    return (
        f"| {found.name()} | {found.size} | {ours:.1f} | {theirs} | "
        f"{ratio.text() if ratio else '-'}{mark} | {bandwidth.text() if bandwidth else '-'} |"
    )


def cell(found: Measured | None) -> str:
    """A size's ratio, with the share of the copy bandwidth behind it."""
    if found is None:
        return ""
    ratio, share = found.ratio, found.bandwidth
    first = f"{ratio.median:.2f}" if ratio else f"{statistics.median(found.ours) * 1e6:.0f} µs"
    return first + (f" ({share.median:.2f})" if share else "")


def overview(all_found: Sequence[Measured]) -> str:
    """A line a node: time over PyTorch's, and in brackets bandwidth over the copy's."""
    sizes = [size for size in SIZES if any(m.size == size for m in all_found)]
    by_key = {(m.name(), m.size): m for m in all_found}
    lines = [f"| node | {' | '.join(sizes)} |", "|---" * (1 + len(sizes)) + "|"]
    for name in dict.fromkeys(m.name() for m in all_found):
        cells = [cell(by_key.get((name, size))) for size in sizes]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


HEADER = """| node | size | µs | PyTorch µs | time / PyTorch | bandwidth / copy |
|---|---|---|---|---|---|"""


def summary(all_found: Sequence[Measured]) -> str:
    """How many reach the goals."""
    lines = []
    for size in SIZES:
        ratios = [m.ratio.median for m in all_found if m.size == size and m.ratio is not None]
        shares = [
            m.bandwidth.median for m in all_found if m.size == size and m.bandwidth is not None
        ]
        if ratios:
            quick = sum(ratio <= 1 for ratio in ratios)
            middle = statistics.median(ratios)
            lines.append(
                f"{size}: {quick} of {len(ratios)} not slower than PyTorch, median ratio "
                f"{middle:.2f}; {sum(s >= 0.8 for s in shares)} of {len(shares)} memory-bound ones "
                "at 0.8 of the copy bandwidth or more"
            )
    return "\n".join(lines)


def check_complete() -> dict[str, bool]:
    """Whether each forward class has a gradient; every class of the table must have a row."""
    table = {row["name"]: row for row in _core.node_table()}
    forward = {
        name: bool(row["has_derivative"]) for name, row in table.items() if not row["gradient"]
    }
    missing = sorted(set(forward) - {case.node for case in CASES})
    if missing:
        sys.exit(f"bench/node_cases.py has no row for {', '.join(missing)}")
    return forward


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description="Every node against PyTorch.")
    parser.add_argument("--nodes", nargs="*", help="rows whose name starts so")
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=SIZES)
    parser.add_argument("--rounds", type=int, default=5, help="samples of each contestant")
    parser.add_argument("--seconds", type=float, default=0.03, help="of a sample")
    parser.add_argument("--pass", dest="passes", choices=["forward", "gradient"], nargs="*")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    differentiable = check_complete()
    cases = [c for c in CASES if not options.nodes or c.id.startswith(tuple(options.nodes))]
    passes = options.passes or ["forward", "gradient"]
    contestants = {who: Contestant(who) for who in ("mpsnn", "torch")}
    all_found = []
    print(HEADER, flush=True)
    for case in cases:
        for gradient in (False, True):
            if ("gradient" if gradient else "forward") not in passes:
                continue
            if gradient and not differentiable[case.node]:
                continue
            for size in options.sizes:
                found = measure(case, size, contestants, options, gradient=gradient)
                all_found.append(found)
                print(row(found), flush=True)
                if found.difference is not None and found.difference > 1e-3:
                    print(f"{found.name()} differs from PyTorch's by {found.difference:.2g}")
    print("\n" + overview(all_found))
    print("\n" + summary(all_found))
    for contestant in contestants.values():
        contestant.end()
    if options.json:
        figures = [
            asdict(m)
            | {"ratio": m.ratio.median if m.ratio else None}
            | {"share": m.bandwidth.median if m.bandwidth else None}
            for m in all_found
        ]
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
