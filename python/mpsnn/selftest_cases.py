# SPDX-License-Identifier: MIT
"""What `mpsnn selftest` runs: the shared case tables of a checkout, then the measurements.

Run as a program it is the child process of a selftest: what Metal ends a process for ends the child
only, and `mpsnn.selftest` goes on behind it with another one.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

import mpsnn as mps
from mpsnn.measurements import MEASUREMENTS, measure_one

Event = dict[str, Any]
NODE_FAMILIES = (
    "arithmetic",
    "concatenation",
    "convolution",
    "dropout",
    "gram_matrix",
    "loss",
    "neuron",
    "normalization",
    "padding",
    "pooling",
    "reduction",
    "resize",
    "softmax",
    "upsampling",
)
# Where MPS computes numbers of its own, which the tables cannot know (docs/metal.md).
OWN_NUMBERS = {
    "DropoutNode": "the mask is of MPS's own generator",
    "LanczosScaleNode": "Apple does not say how far its window reaches",
    "YOLOLossNode": "Apple does not publish the formula",
}


@dataclass(frozen=True)
class Task:
    """What a selftest runs, as a child process is told.

    Attributes:
        kind: Of the device.
        name: Which device of that kind.
        tests: The checkout's folder of tests; empty: no case tables.
        quick: Only the first case of a class.
    """

    kind: str
    name: str
    tests: str = ""
    quick: bool = False


@dataclass(frozen=True)
class Item:
    """A case of a class, or a measurement.

    Attributes:
        name: The class, or the measurement.
        case: The case's name; empty: a measurement.
        check: Runs it; returns a measurement's findings.
    """

    name: str
    case: str
    check: Callable[[], object]


def _node_cases(device: mps.Device) -> Iterator[Item]:
    """Every case of a node."""
    tests: Any = importlib.import_module("node_tests")
    for family in NODE_FAMILIES:
        cases = importlib.import_module(f"cases.{family}").CASES
        for run in (tests.Run(case, case.exact) for case in cases):
            forward = partial(tests.check_forward, device, run)
            yield Item(run.case.node, f"{run.id}, forward", forward)
            if not run.case.differentiable:
                continue
            back = tests.Run(run.case, integers=False)
            gradients = partial(tests.check_gradients, device, back)
            yield Item(f"{run.case.node}, gradient", f"{back.id}, gradient", gradients)


def _kernel_cases(device: mps.Device) -> Iterator[Item]:
    """The same of every kernel of matrices and images, random numbers and recurrent layers."""
    matrices: Any = importlib.import_module("test_matrix_kernels")
    memory: Any = importlib.import_module("kernel_memory").Memory
    for case in matrices.KERNEL_CASES:
        yield Item(case.kernel, case.name, partial(matrices.check_case, device, case, memory))
    images: Any = importlib.import_module("test_image_kernels")
    formats = (np.float32, np.float32)
    for case in images.KERNEL_CASES:
        yield Item(case.kernel, case.id, partial(images.test_values, device, case, formats))
    numbers: Any = importlib.import_module("test_random")
    for case in numbers.KERNEL_CASES:
        if case.kernel != "MatrixRandomMTGP32":  # whose words are MPS's own: a measurement
            yield Item(case.kernel, case.id, partial(numbers.test_case, device, case))
    layers: Any = importlib.import_module("test_recurrent")
    for case in importlib.import_module("cases.recurrent").RECURRENT_CASES:
        name = f"{case.kernel}, {layers.identify(case)}"
        yield Item(case.kernel, name, partial(layers.check_case, device, case))


def _quick(items: Iterator[Item]) -> Iterator[Item]:
    """The first of each class."""
    seen: set[str] = set()
    for item in items:
        if item.name not in seen:
            seen.add(item.name)
            yield item


def _measurements(device: mps.Device) -> Iterator[Item]:
    for name in MEASUREMENTS:
        yield Item(name, "", partial(measure_one, device, name))


def _outcome(device: mps.Device, item: Item) -> Event:
    """Runs one item; what came of it and why."""
    told: Event = {"name": item.name, "case": item.case}
    if not item.case:
        return {"name": item.name, "findings": item.check()}
    try:
        item.check()
    except mps.UnsupportedError as error:
        return told | {"outcome": "refused", "text": " ".join(str(error).split())}
    except (AssertionError, mps.Error, ValueError, TypeError) as error:
        reason = OWN_NUMBERS.get(item.name.partition(",")[0])
        if reason and device.kind == "metal" and isinstance(error, AssertionError):
            return told | {"outcome": "differs", "text": reason}
        return told | {"outcome": "failed", "text": " ".join(str(error).split())[:400]}
    return told | {"outcome": "passed", "text": ""}


def run_items(
    device: mps.Device, task: Task, *, start: int = 0, leave: frozenset[str] = frozenset()
) -> Iterator[Event]:
    """Runs cases and measurements one by one.

    Args:
        device: What is checked.
        task: What runs.
        start: How many of the first items are passed over.
        leave: Classes whose cases are not run.

    Yields:
        {"begin": the item's number, "name", "case"} before each item; then {"name", "case",
        "outcome", "text"} of a case or {"name", "findings"} of a measurement; {"not run": why}.
    """
    items = _measurements(device)
    if task.tests:
        folders = (task.tests, f"{task.tests}/python")
        sys.path[:0] = [folder for folder in folders if folder not in sys.path]
        try:
            cases = list(chain(_node_cases(device), _kernel_cases(device)))
            items = chain(_quick(iter(cases)) if task.quick else cases, items)
        except ImportError as error:
            yield {"not run": f"case tables: {error}; pip install -e '.[test]' brings it"}
    for number, item in enumerate(items):
        if number < start:
            continue
        if item.case and item.name in leave:
            yield {"name": item.name, "case": item.case, "outcome": "not run", "text": ""}
            continue
        yield {"begin": number, "name": item.name, "case": item.case}
        yield _outcome(device, item)


def _main() -> None:
    """The child process: tells a pipe, a line an event; the last one is {"end": true}."""
    given = json.loads(sys.argv[1])
    # The formulas are on the host, also where JAX has a GPU.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    task = Task(**given["task"])
    device = mps.Device(task.kind, name=task.name)
    leave = frozenset(given["leave"])
    for event in run_items(device, task, start=given["start"], leave=leave):
        os.write(given["pipe"], (json.dumps(event) + "\n").encode())
    os.write(given["pipe"], b'{"end": true}\n')


def arguments_of(task: Task, *, start: int, leave: frozenset[str], pipe: int) -> list[str]:
    """The command line of a child process.

    Args:
        task: What runs.
        start: How many of the first items are passed over.
        leave: Classes whose cases are not run.
        pipe: The file descriptor that it tells.

    Returns:
        Program and arguments.
    """
    given = {"task": asdict(task), "start": start, "leave": sorted(leave), "pipe": pipe}
    return [sys.executable, "-m", "mpsnn.selftest_cases", json.dumps(given)]


if __name__ == "__main__":
    _main()
