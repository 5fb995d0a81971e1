# SPDX-License-Identifier: MIT
"""The command `mpsnn selftest`: checks a device and prints a report to send back.

In a checkout it runs the shared case tables of `tests/cases`, each case against its formula (JAX
and pytest are needed: `pip install -e '.[test]'`), then measurements of what documentation
leaves open. Elsewhere there are no tables, and it says so. All of it runs in a child process: a
case that ends the process is told as failed, and the rest goes on. The file of --json is written
anew after each class. A case or a measurement that takes ten minutes is ended and told as failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import signal
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import mpsnn as mps
from mpsnn.files import prepare_output
from mpsnn.selftest_cases import Event, Task, arguments_of, run_items

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

STATES = ("passed", "refused", "failed", "differs", "not run")
# A class whose cases ended so many processes is left: each new one takes seconds.
DEATHS_OF_A_CLASS = 3
# What takes longer hangs.
SECONDS_OF_AN_ITEM = 600.0


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
    parser.add_argument("--in-process", action="store_true", help="no child process: for debuggers")
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


def _ending(how: str, log: IO[bytes]) -> str:
    """How a child process ended, and the last that it wrote."""
    log.seek(0)
    said = " ".join(log.read().decode(errors="replace").split())
    return how + (f": … {said[-400:]}" if said else "")


def _lines(pipe: IO[bytes]) -> Iterator[bytes]:
    """Whole lines of a child process until it ends; it may end within one.

    Raises:
        TimeoutError: None came for too long, behind the first one.
    """
    rest = b""
    seconds: float | None = None
    while select.select([pipe], [], [], seconds)[0]:
        new = os.read(pipe.fileno(), 1 << 16)
        if not new:
            return
        *lines, rest = (rest + new).split(b"\n")
        yield from lines
        seconds = SECONDS_OF_AN_ITEM
    raise TimeoutError(f"the process hung: nothing within {SECONDS_OF_AN_ITEM:g} seconds")


def _run_child(task: Task, start: int, leave: frozenset[str]) -> Iterator[Event]:
    """Events of one child process; the last one is {"status", "text"}: how it ended."""
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as log, os.fdopen(reader, "rb", buffering=0) as pipe:
        try:
            arguments = arguments_of(task, start=start, leave=leave, pipe=writer)
            process = subprocess.Popen(arguments, pass_fds=[writer], stderr=log)
        finally:
            os.close(writer)
        try:
            for line in _lines(pipe):
                yield json.loads(line)
            status = process.wait()
            how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
            yield {"status": status, "text": _ending(f"the process ended with {how}", log)}
        except TimeoutError as error:
            yield {"status": -signal.SIGKILL, "text": _ending(str(error), log)}
        finally:
            process.kill()
            process.wait()


def run_children(task: Task) -> Iterator[Event]:
    """Runs cases and measurements in child processes, one after another where one ends early.

    Args:
        task: What runs.

    Yields:
        Events as `run_items` does, without "begin"; of what ends a process, that it failed.

    Raises:
        Error: A child process ended before it ran anything.
    """
    start = 0
    deaths: Counter[str] = Counter()
    while True:
        leave = frozenset(name for name, n in deaths.items() if n >= DEATHS_OF_A_CLASS)
        now: Event = {}  # what runs
        for event in _run_child(task, start, leave):
            if "begin" in event or "end" in event:
                now = event
            elif "status" not in event:
                now = {}
                yield event
        if "begin" in now:
            deaths[now["name"]] += 1
            start = now["begin"] + 1
            yield _death(now, event["text"])
        elif "end" in now:
            if event["status"] != 0:
                yield _death({"name": "end of the process", "case": "end"}, event["text"])
            return
        else:
            raise mps.Error(f"selftest: {event['text']}")


def _death(begun: Event, why: str) -> Event:
    """The event of a case or a measurement that ended its process."""
    if begun["case"]:
        told = {"name": begun["name"], "case": begun["case"]}
        return told | {"outcome": "failed", "text": why}
    finding = {"what": begun["name"], "got": why, "expected": "", "verdict": "failed"}
    return {"name": begun["name"], "findings": [finding]}


class _Collected:
    """The report while events come."""

    def __init__(self, device: mps.Device, not_run: list[str]) -> None:
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._made: dict[str, Any] = {
            "mpsnn": mps.__version__,
            "python": platform.python_version(),
            "system": platform.platform(),
            "device": {"kind": device.kind, "name": device.name},
            "complete": False,
            "not run": not_run,
            "measurements": {},
        }
        self._failures: list[dict[str, str]] = []
        self._reasons: dict[str, dict[str, str]] = {"refused": {}, "differs": {}}

    def add(self, event: Event) -> None:
        if "begin" in event:
            return
        if "not run" in event:
            self._made["not run"].append(event["not run"])
        elif "findings" in event:
            self._made["measurements"][event["name"]] = event["findings"]
        else:
            name, outcome = event["name"], event["outcome"]
            self._counts[name][outcome] += 1
            if outcome == "failed":
                failure = {"class": name, "case": event["case"], "error": event["text"]}
                self._failures.append(failure)
            elif outcome in self._reasons:
                self._reasons[outcome].setdefault(name, event["text"])

    def report(self, *, complete: bool = False) -> dict[str, Any]:
        made = self._made | {"complete": complete}
        if self._counts:
            made["cases"] = {
                "classes": {name: dict(count) for name, count in sorted(self._counts.items())},
                "failures": self._failures,
                "refusals": self._reasons["refused"],
                "differences": self._reasons["differs"],
            }
        return made


def _ignore(_: dict[str, Any]) -> None:
    pass


def report(
    device: mps.Device,
    *,
    tests: Path | None,
    cases: bool = True,
    quick: bool = False,
    in_process: bool = False,
    progress: Callable[[dict[str, Any]], None] = _ignore,
) -> dict[str, Any]:
    """All that is told of a device.

    Args:
        device: What is checked.
        tests: The checkout's folder of tests; None: there is none.
        cases: Whether the case tables run.
        quick: Only the first case of a class.
        in_process: Runs here, where whatever ends the process ends this one.
        progress: Gets the report so far after each class and each measurement.

    Returns:
        What can be written as JSON.

    Raises:
        Error: A child process ended before it ran anything.
    """
    not_run = []
    if not cases:
        not_run.append("case tables: not asked for")
    elif tests is None:
        not_run.append("case tables: they are in a checkout's folder tests/cases, not here")
    folder = str(tests.resolve()) if cases and tests is not None else ""
    task = Task(device.kind, device.name, folder, quick)
    collected = _Collected(device, not_run)
    last = None
    for event in run_items(device, task) if in_process else run_children(task):
        if last is not None and event.get("name", last) != last:
            progress(collected.report())
        last = event.get("name", last)
        collected.add(event)
    made = collected.report(complete=True)
    progress(made)
    return made


def _lines_of_cases(cases: dict[str, Any]) -> list[str]:
    total: Counter[str] = Counter()
    for count in cases["classes"].values():
        total.update(count)
    told = [f"{total[k]} {k}" for k in STATES if total[k] or k in STATES[:3]]
    lines = ["", "cases: " + ", ".join(told)]
    lines += [f"  failed: {one['case']}: {one['error']}" for one in cases["failures"]]
    lines += [f"  refused: {name}: {why}" for name, why in sorted(cases["refusals"].items())]
    lines += [f"  differs: {name}: {why}" for name, why in sorted(cases["differences"].items())]
    lines += [
        f"  not run: {name}: {count['not run']} cases: {DEATHS_OF_A_CLASS} ended their processes"
        for name, count in cases["classes"].items()
        if "not run" in count
    ]
    return lines


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
        lines += _lines_of_cases(made["cases"])
    for name, findings in made["measurements"].items():
        lines += ["", f"{name}:"]
        for one in findings:
            lines.append(f"  {one['what']}: {one['verdict']}")
            lines.append(f"    got      {one['got']}")
            lines += [f"    expected {one['expected']}"] * bool(one["expected"])
    return "\n".join(lines)


def _write(path: Path, made: dict[str, Any]) -> None:
    """Whole or not at all, whenever this process ends."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    new.replace(path)


def _main(options: argparse.Namespace) -> None:
    device = mps.Device(options.device, name=options.name)
    if options.json is not None:
        prepare_output(options.json)
    made = report(
        device,
        tests=options.tests or find_tests(),
        cases=not options.no_cases,
        quick=options.quick,
        in_process=options.in_process,
        progress=_ignore if options.json is None else lambda so_far: _write(options.json, so_far),
    )
    print(text_of(made))
    failures = made.get("cases", {}).get("failures", [])
    if failures:
        raise mps.Error(f"selftest: {len(failures)} cases failed")
