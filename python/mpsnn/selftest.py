# SPDX-License-Identifier: MIT
"""The command `mpsnn selftest`: checks a device and prints a report to send back.

In a checkout it runs the shared case tables of `tests/cases`, each case against its formula (JAX
and pytest are needed: `pip install -e '.[test]'`), then seven measurements of what documentation
leaves open. Elsewhere there are no tables, and it says so.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mpsnn as mps
from mpsnn.files import prepare_output
from mpsnn.measurements import measure

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

Check = Callable[[], object]
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
STATES = ("passed", "refused", "failed", "differs")
# Where MPS computes numbers of its own, which the tables cannot know (docs/metal.md).
OWN_NUMBERS = {
    "DropoutNode": "the mask is of MPS's own generator",
    "LanczosScaleNode": "Apple does not say how far its window reaches",
    "YOLOLossNode": "Apple does not publish the formula",
}


def add_parser(commands: Commands) -> None:
    """Adds `selftest` to the commands of `mpsnn`.

    Args:
        commands: What `ArgumentParser.add_subparsers` returned.
    """
    parser = commands.add_parser(
        "selftest",
        help="check a device",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="", help="device kind (default: the best here)")
    parser.add_argument("--name", default="", help="which device of that kind, by its name")
    parser.add_argument("--quick", action="store_true", help="one case a class")
    parser.add_argument("--no-cases", action="store_true", help="measurements only")
    parser.add_argument("--tests", type=Path, help="the checkout's folder `tests` (default: found)")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    parser.set_defaults(run=_main)


def find_tests() -> Path | None:
    """The folder `tests` of the checkout that this runs in, or of the package's.

    Returns:
        The folder; None where there is none.
    """
    for start in (Path.cwd(), Path(__file__).resolve()):
        for folder in (start, *start.parents):
            if (folder / "tests/cases/matrix_kernels.py").is_file():
                return folder / "tests"
    return None


def _node_cases(device: mps.Device) -> Iterator[tuple[str, str, Check]]:
    """Class, name and check of every case of a node."""
    tests: Any = importlib.import_module("node_tests")
    for family in NODE_FAMILIES:
        cases = importlib.import_module(f"cases.{family}").CASES
        for run in (tests.Run(case, case.exact) for case in cases):
            forward = partial(tests.check_forward, device, run)
            yield run.case.node, f"{run.id}, forward", forward
            if not run.case.differentiable:
                continue
            back = tests.Run(run.case, integers=False)
            gradients = partial(tests.check_gradients, device, back)
            yield f"{run.case.node}, gradient", f"{back.id}, gradient", gradients


def _kernel_cases(device: mps.Device) -> Iterator[tuple[str, str, Check]]:
    """The same of every kernel of matrices and images."""
    matrices: Any = importlib.import_module("test_matrix_kernels")
    memory: Any = importlib.import_module("kernel_memory").Memory
    for case in matrices.KERNEL_CASES:
        yield case.kernel, case.name, partial(matrices.check_case, device, case, memory)
    images: Any = importlib.import_module("test_image_kernels")
    formats = (np.float32, np.float32)
    for case in images.KERNEL_CASES:
        yield case.kernel, case.id, partial(images.test_values, device, case, formats)


def run_cases(device: mps.Device, *, quick: bool) -> dict[str, Any]:
    """Runs the shared case tables, whose folders are in sys.path.

    Args:
        device: What is checked.
        quick: Only the first case of a class.

    Returns:
        Counts of each class, the cases that failed, why classes were refused, and why numbers may
        differ.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    failures: list[dict[str, str]] = []
    refusals: dict[str, str] = {}
    differences: dict[str, str] = {}
    for each in (_node_cases(device), _kernel_cases(device)):
        for name, case, check in each:
            if quick and counts[name]:
                continue
            try:
                check()
                counts[name]["passed"] += 1
            except mps.UnsupportedError as error:
                counts[name]["refused"] += 1
                refusals.setdefault(name, " ".join(str(error).split()))
            except (AssertionError, mps.Error, ValueError, TypeError) as error:
                reason = OWN_NUMBERS.get(name.partition(",")[0])
                if reason and device.kind == "metal" and isinstance(error, AssertionError):
                    counts[name]["differs"] += 1
                    differences[name] = reason
                    continue
                counts[name]["failed"] += 1
                failures.append({"case": case, "error": " ".join(str(error).split())[:400]})
    return {
        "classes": {name: dict(count) for name, count in sorted(counts.items())},
        "failures": failures,
        "refusals": refusals,
        "differences": differences,
    }


def report(
    device: mps.Device, *, tests: Path | None, cases: bool = True, quick: bool = False
) -> dict[str, Any]:
    """All that is told of a device.

    Args:
        device: What is checked.
        tests: The checkout's folder of tests; None: there is none.
        cases: Whether the case tables run.
        quick: Only the first case of a class.

    Returns:
        What can be written as JSON.
    """
    made: dict[str, Any] = {
        "mpsnn": mps.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": {"kind": device.kind, "name": device.name},
        "not run": [],
    }
    if not cases:
        made["not run"].append("case tables: not asked for")
    elif tests is None:
        made["not run"].append("case tables: they are in a checkout's folder tests/cases, not here")
    else:
        sys.path[:0] = [str(tests), str(tests / "python")]
        try:
            made["cases"] = run_cases(device, quick=quick)
        except ImportError as error:
            made["not run"].append(f"case tables: {error}; pip install -e '.[test]' brings it")
    made["measurements"] = {
        name: [finding.as_dict() for finding in findings]
        for name, findings in measure(device).items()
    }
    return made


def text_of(made: dict[str, Any]) -> str:
    """The report in words.

    Args:
        made: What `report` returned.

    Returns:
        Lines.
    """
    device = made["device"]
    lines = [
        f"mpsnn {made['mpsnn']}, python {made['python']}, {made['system']}",
        f"device {device['kind']}: {device['name']}",
        *(f"not run: {reason}" for reason in made["not run"]),
    ]
    if "cases" in made:
        cases = made["cases"]
        total: Counter[str] = Counter()
        for count in cases["classes"].values():
            total.update(count)
        lines += [
            "",
            "cases: " + ", ".join(f"{total[k]} {k}" for k in STATES if total[k] or k != "differs"),
        ]
        lines += [f"  failed: {one['case']}: {one['error']}" for one in cases["failures"]]
        lines += [f"  refused: {name}: {why}" for name, why in sorted(cases["refusals"].items())]
        lines += [f"  differs: {name}: {why}" for name, why in sorted(cases["differences"].items())]
    for name, findings in made["measurements"].items():
        lines += ["", f"{name}:"]
        for one in findings:
            lines.append(f"  {one['what']}: {one['verdict']}")
            lines.append(f"    got      {one['got']}")
            lines += [f"    expected {one['expected']}"] * bool(one["expected"])
    return "\n".join(lines)


def _main(options: argparse.Namespace) -> None:
    device = mps.Device(options.device, name=options.name)
    if options.json is not None:
        prepare_output(options.json)
    tests = options.tests or find_tests()
    made = report(device, tests=tests, cases=not options.no_cases, quick=options.quick)
    print(text_of(made))
    if options.json is not None:
        options.json.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    failures = made.get("cases", {}).get("failures", [])
    if failures:
        raise mps.Error(f"selftest: {len(failures)} cases failed")
