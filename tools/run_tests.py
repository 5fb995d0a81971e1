# SPDX-License-Identifier: MIT
"""Runs all tests: C++ (ctest), Python (pytest), the documentation's examples.

Each part runs even where one before it failed. At the end stand what this machine could not run,
with the reasons, and the closing line of each part.

    python tools/run_tests.py [--build build/dev] [--only ctest pytest docs] [-- pytest's arguments]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
# Tests and examples that name no device run on the CPU, also where there is a GPU.
os.environ.setdefault("MPSNN_DEVICE", "cpu")
PARTS = ("ctest", "pytest", "docs")


@dataclass
class Part:
    """One part of the tests and what came of it."""

    name: str
    passed: bool
    closing: str
    not_run: Counter[str] = field(default_factory=Counter)


def run(command: list[str]) -> tuple[int, list[str]]:
    """Runs a command in the project's root, showing its output; exit status and output lines."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    if process.stdout is None:
        msg = "the command's output is not a pipe"
        raise RuntimeError(msg)
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line.rstrip("\n"))
    return process.wait(), lines


def last_line(lines: list[str], pattern: str) -> str:
    """The last line that has the pattern."""
    found = [line.strip("= ") for line in lines if re.search(pattern, line)]
    return found[-1] if found else "no closing line: it did not come to an end"


def read_junit(path: Path) -> ET.Element:
    """A report written by one of the tools just run."""
    return ET.parse(path).getroot()


def run_ctest(build: Path) -> Part:
    """Builds and runs the C++ tests."""
    status, _ = run(["cmake", "--build", str(build)])
    if status != 0:
        return Part("ctest", passed=False, closing="the build failed")
    junit = build / "ctest.xml"
    command = ["ctest", "--test-dir", str(build), "--no-tests=error", "--output-on-failure"]
    status, lines = run([*command, "--output-junit", str(junit.resolve())])
    part = Part("ctest", status == 0, last_line(lines, r"tests passed|No tests were found"))
    if junit.exists():
        for output in read_junit(junit).iter("system-out"):
            for name, reason in re.findall(
                r"^SKIPPED (.+?): (.+)$", output.text or "", re.MULTILINE
            ):
                part.not_run[f"{name}: {reason}"] += 1
    return part


def run_pytest(build: Path, arguments: list[str]) -> Part:
    """Runs the Python tests."""
    junit = build / "pytest.xml"
    junit.unlink(missing_ok=True)
    status, lines = run([sys.executable, "-m", "pytest", f"--junitxml={junit}", *arguments])
    closing = last_line(lines, r"^=+ .*\b(passed|failed|errors?|no tests ran)\b.* =+$")
    part = Part("pytest", status == 0, closing)
    if junit.exists():
        for skipped in read_junit(junit).iter("skipped"):
            if skipped.get("type") == "pytest.skip":
                part.not_run[skipped.get("message", "no reason was given")] += 1
        for told in read_junit(junit).iter("property"):
            if told.get("name") == "not run":
                part.not_run[told.get("value", "")] += 1
    return part


def run_docs(build: Path) -> Part:
    """Installs the C++ library below the build folder and runs the documentation's examples."""
    prefix = build / "prefix"
    install = ["cmake", "--install", str(build), "--component", "devel", "--prefix", str(prefix)]
    subprocess.run(install, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    status, lines = run([sys.executable, "tools/check_docs.py", "--prefix", str(prefix)])
    part = Part("docs", status == 0, last_line(lines, r"^examples: "))
    for line in lines:
        if line.startswith("not run: "):
            part.not_run[line.removeprefix("not run: ")] += 1
    return part


def missing_devices() -> list[str]:
    """Kinds of devices that tests could run on but this build or machine does not have."""
    code = "import mpsnn; print(*mpsnn.Device.available())"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=False
    )
    if result.returncode != 0:
        return [f"any device: mpsnn cannot be imported: {result.stderr.strip().splitlines()[-1]}"]
    have = result.stdout.split()
    tables_only = [
        f"tests but the case tables (tests/python/test_gpus.py) on {kind}: they are the host's"
        for kind in have
        if kind not in ("cpu", "null")
    ]
    return tables_only + [
        f"all cases on {kind}: {why} (here: {', '.join(have)})"
        for kind, why in (
            ("cuda", "this build has no CUDA backend, or there is no CUDA device"),
            ("metal", "this build has no Metal backend, or there is no Metal device"),
        )
        if kind not in have
    ]


def summary(parts: list[Part]) -> None:
    """What this machine could not run, then the closing lines."""
    print("\nNot run on this machine:")
    for line in missing_devices():
        print(f"  {line}")
    for part in parts:
        for reason, count in sorted(part.not_run.items()):
            times = f" ({count} cases)" if count > 1 else ""
            print(f"  {part.name}: {reason}{times}")
    print()
    for part in parts:
        print(f"{part.name:7} {'ok    ' if part.passed else 'FAILED'} {part.closing}")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "dev")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("pytest_arguments", nargs="*", help="after --")
    arguments = parser.parse_args()
    parts: list[Part] = []
    if "ctest" in arguments.only:
        parts.append(run_ctest(arguments.build))
    if "pytest" in arguments.only:
        parts.append(run_pytest(arguments.build, arguments.pytest_arguments))
    if "docs" in arguments.only:
        parts.append(run_docs(arguments.build))
    summary(parts)
    return 0 if all(part.passed for part in parts) else 1


if __name__ == "__main__":
    sys.exit(main())
