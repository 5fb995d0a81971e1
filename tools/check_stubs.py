# SPDX-License-Identifier: MIT
"""Compares the generated stubs with the native module: mypy's stubtest, less what pybind11 hides.

python tools/check_stubs.py
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Functions of pybind11 show (*args, **kwargs), its classes have a metaclass of their own, and
# Python has names for the buffer protocol from 3.12 on only.
HIDDEN = re.compile(
    r"metaclass differs|stub does not have \*{1,2}\w+ parameter|__buffer__ is not present"
)


def main() -> int:
    """Runs the comparison."""
    command = [sys.executable, "-m", "mypy.stubtest", "mpsnn._core", "--concise"]
    command += ["--ignore-missing-stub", "--ignore-positional-only"]
    command += ["--mypy-config-file", str(ROOT / "pyproject.toml")]
    # Elsewhere, so that the module of the environment is the one that is compared.
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT / "tests")
    lines = [line for line in done.stdout.splitlines() if line.startswith("mpsnn._core")]
    if not lines or done.stderr:
        print(done.stdout, done.stderr, sep="", file=sys.stderr)
        return 1
    problems = [line for line in lines if not HIDDEN.search(line)]
    print(*problems, f"stubs: {len(problems)} differences", sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
