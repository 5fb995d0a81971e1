# SPDX-License-Identifier: MIT
"""`mpsnn bench resnet50`: four ways of encoding the training of ResNet-50, beside PyTorch.

Every contestant runs once a round in a process of its own; ratios are those of a round, and their
median and spread are told. All four ways compute the same numbers: that is checked.
"""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mpsnn import Device, FileError, InternalError
from mpsnn.apps.resnet50 import cifar10, contestant, ways
from mpsnn.apps.resnet50.contestant import PEER, Options
from mpsnn.committing import WAYS
from mpsnn.files import atomic_path
from mpsnn.measuring import Spread, run_contestant
from mpsnn.memory import array_bytes, check_fits, check_step_fits

PEER_TITLE = "PyTorch"

Runner = Callable[[str, Options], dict[str, Any]]


@dataclass
class Contestant:
    """What was measured of one contestant, a value a round."""

    key: str
    title: str
    device: str = ""
    images_per_second: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def add(self, result: dict[str, Any]) -> None:
        """Takes in a round."""
        self.device = result["device"]
        self.losses = result["losses"]
        self.images_per_second.append(result["images_per_second"])
        self.memory.append(result["memory"])


@dataclass
class Result:
    """All that was measured; the first contestant is the reference."""

    options: Options
    contestants: list[Contestant] = field(default_factory=list)

    @property
    def reference(self) -> Contestant:
        """What the others are compared with: single buffering."""
        return self.contestants[0]

    @property
    def ours(self) -> list[Contestant]:
        """The four ways."""
        return [one for one in self.contestants if one.key != PEER]

    def speed(self, one: Contestant) -> Spread:
        """Images a second over the reference's of the same round."""
        return Spread.of_ratios(one.images_per_second, self.reference.images_per_second)

    def memory(self, one: Contestant) -> Spread:
        """Peak memory over the reference's of the same round."""
        return Spread.of_ratios(one.memory, self.reference.memory)


def peer_is_installed() -> bool:
    """Whether PyTorch is there."""
    return importlib.util.find_spec(PEER) is not None


def _in_a_process(key: str, options: Options) -> dict[str, Any]:
    return run_contestant(key, contestant.arguments(key, options), options.threads)


def run(options: Options, rounds: int, *, peer: bool, runner: Runner = _in_a_process) -> Result:
    """Measures all contestants.

    Args:
        options: What is measured.
        rounds: How often each contestant runs.
        peer: Measure PyTorch as well.
        runner: Measures one contestant once.

    Returns:
        What was measured.

    Raises:
        InternalError: The four ways did not compute the same losses, bit for bit.
        ContestantError: A contestant failed.
    """
    result = Result(options, [Contestant(way.key, way.title) for way in WAYS])
    if peer:
        result.contestants.append(Contestant(PEER, PEER_TITLE))
    for number in range(rounds):
        for one in result.contestants:
            one.add(runner(one.key, options))
            speed = f"{one.images_per_second[-1]:.2f} images/s"
            print(f"round {number + 1}/{rounds}: {one.title}: {speed}", file=sys.stderr)
            if one.key != PEER and not _same(one.losses, result.reference.losses):
                raise InternalError(
                    f"bench: {one.title}: expected the losses of {result.reference.title} "
                    f"{result.reference.losses}, got {one.losses}"
                )
    return result


def _same(losses: list[float], others: list[float]) -> bool:
    return bool(np.array_equal(losses, others, equal_nan=True))


def table(result: Result) -> str:
    """What was measured, as Markdown."""
    options, reference = result.options, result.reference
    net = f"ResNet-50, width {options.width}, {options.dataset}, batch {options.batch}, float32"
    counts = f"{options.steps} steps a round, {len(reference.memory)} rounds"
    lines = [
        f"{net}, {counts}, {options.threads} threads",
        reference.device,
        "",
        "| | images/s (min-max) | relative | peak MiB | relative |",
        "|---|---|---|---|---|",
    ]
    for one in result.contestants:
        speed, memory = Spread.of(one.images_per_second).text(), Spread.of(one.memory).median
        relative = f"{result.speed(one).text()} | {memory:.0f} | {result.memory(one).median:.2f}"
        lines.append(f"| {one.title} | {speed} | {relative} |")
    losses = f"{reference.losses[0]:.4f} to {reference.losses[-1]:.4f}"
    lines += ["", f"All four ways computed the same losses, bit for bit: {losses}."]
    if len(result.ours) < len(result.contestants):
        peer = result.contestants[-1]
        furthest = max(abs(a - b) for a, b in zip(peer.losses, reference.losses, strict=True))
        lines.append(f"{peer.device}, from the same weights: within {furthest:.1e} of these.")
    else:
        lines.append("PyTorch was not measured.")
    return "\n".join(lines)


def write_json(result: Result, path: Path) -> None:
    """Writes all that was measured.

    Args:
        result: What was measured.
        path: The file.
    """
    content = {
        "options": asdict(result.options),
        "reference": result.reference.key,
        "contestants": [asdict(one) for one in result.contestants],
    }
    with atomic_path(path) as draft:
        # NaN (memory where the system does not tell) is no JSON.
        text = json.dumps(_without_nan(content), indent=1, allow_nan=False)
        draft.write_text(text + "\n", encoding="utf-8")


def _without_nan(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_step(options: Options) -> None:
    """Refuses a batch that cannot fit, before pictures are drawn or anything is measured.

    Raises:
        InvalidArgumentError: The batch's step, or the pictures that are drawn for it, need more
            memory than the machine has.
    """
    edge, classes = cifar10.EDGE, len(cifar10.CLASSES)
    got = f"{options.batch} pictures of {edge} x {edge}"
    if options.dataset != "cifar10":
        # Drawn in float64.
        drawn = 2 * array_bytes((contestant.drawn(options), edge, edge, cifar10.CHANNELS))
        check_fits("bench: batch", "one whose pictures fit", drawn, got)
    net = ways.build_net(options.width, classes, options.seed, ways.optimizer())
    graph = ways.build_training(Device(options.device), net, options.batch).graph
    sizes = {
        "images": (options.batch, edge, edge, cifar10.CHANNELS),
        "labels": (options.batch, 1, 1, classes),
    }
    check_step_fits("bench: batch", graph, sizes, got)


def check_data(options: Options) -> None:
    """Reads the pictures once, so that what is wrong with them is told before anything is measured.

    Raises:
        FileError: CIFAR-10 is not where it should be, or damaged.
        ValueError: There are fewer pictures than a batch needs.
    """
    if options.dataset == "cifar10" and not options.data:
        raise FileError(
            "bench: data: expected CIFAR-10's archive or folder (--data), got none; get it from "
            "https://www.cs.toronto.edu/~kriz/cifar.html, or take --dataset synthetic"
        )
    there = len(contestant.pictures(options))
    if there < options.batch:
        raise ValueError(f"bench: batch: expected at most {there} (pictures), got {options.batch}")
