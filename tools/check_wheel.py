# SPDX-License-Identifier: MIT
"""Checks a built wheel: its size, and the files that must and must not be in it.

python tools/check_wheel.py dist/mpsnn-*.whl
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from pathlib import Path

LIMIT = 10_000_000  # bytes, without oneDNN and OpenBLAS, which are packages of their own
NEEDED = (
    "mpsnn/py.typed",
    "mpsnn/_core.pyi",
    "mpsnn/cli.py",
    "mpsnn/coding.py",
    "licenses/LICENSE",
    "licenses/LICENSE-MTGP",
)
FOREIGN_FOLDERS = ("tests/", "include/")
FOREIGN_ENDINGS = (".a", ".cpp", ".h", ".pyc")


def problems_of(path: Path) -> list[str]:
    """What is wrong with a wheel.

    Args:
        path: The wheel.

    Returns:
        A line a problem.
    """
    problems = []
    size = path.stat().st_size
    if size >= LIMIT:
        problems.append(f"expected less than {LIMIT} bytes, got {size}")
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
    modules = [n for n in names if n.startswith("mpsnn/_core.") and n.endswith(".so")]
    if len(modules) != 1:
        problems.append(f"expected one native module, got {modules}")
    problems += [
        f"expected {needed}, which is not there"
        for needed in NEEDED
        if not any(name.endswith(needed) for name in names)
    ]
    problems += [
        f"expected no {name}"
        for name in names
        if name.endswith(FOREIGN_ENDINGS) or any(part in name for part in FOREIGN_FOLDERS)
    ]
    return problems


def main() -> int:
    """Checks the wheels of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, nargs="+")
    failed = False
    for path in parser.parse_args().wheel:
        problems = problems_of(path)
        failed = failed or bool(problems)
        for problem in problems:
            print(f"{path.name}: {problem}", file=sys.stderr)
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
