#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes what follows from the node table and the native module: typed classes, stubs, reference.

The native module must be built and importable as mpsnn._core. With --check nothing is written: the
exit status is 1 and a diff is shown where a file that is kept in the repository is out of date.
What has signatures as pybind11 writes them is compared where its version is that of the kept stubs.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

sys.path.insert(0, str(Path(__file__).resolve().parent))

import gen_cpp
import gen_docs
import gen_kernels
import gen_python
import gen_stubs
import gen_tests
from gen_table import Table

ROOT = Path(__file__).resolve().parent.parent

STUBS = "python/mpsnn/_core.pyi"
# What shows signatures as pybind11 writes them, which differ from version to version.
SIGNATURES = {STUBS, "docs/reference/python.md"}
# Each file with what writes it. Order: the package can be imported after the first ones.
FILES: dict[str, Callable[[ModuleType, Table], str]] = {
    "python/mpsnn/nodes.py": lambda _core, table: gen_python.write(table),
    "python/mpsnn/kernels.py": lambda _core, table: gen_kernels.python(table),
    STUBS: lambda core, _table: gen_stubs.write(core),
    "include/mpsnn/nodes.h": lambda _core, table: gen_cpp.write(table),
    "include/mpsnn/kernels.h": lambda _core, table: gen_kernels.cpp(table),
    "tests/cpp/test_typed_classes.cpp": lambda _core, table: gen_tests.write(table),
    "docs/reference/kernels.md": lambda _core, table: gen_docs.kernels(table),
    "docs/reference/nodes.md": lambda _core, table: gen_docs.nodes(table),
    "docs/reference/apple-names.md": gen_docs.apple_names,
    "docs/reference/python.md": lambda core, _table: gen_docs.python(core),
    "docs/reference/support.md": lambda _core, table: gen_docs.support(table),
}


def load_core(path: Path | None) -> ModuleType:
    """The native module, without the package around it, which may not be generated yet."""
    if path is None:
        package = importlib.util.find_spec("mpsnn")
        folders = (package.submodule_search_locations or []) if package else []
        found = [file for folder in folders for file in Path(folder).glob("_core.*.so")]
        if not found:
            sys.exit("generate.py: mpsnn._core is not built: install the package first")
        path = found[0]
    spec = importlib.util.spec_from_file_location("mpsnn._core", path)
    if spec is None or spec.loader is None:
        sys.exit(f"generate.py: {path} is not a Python module")
    core = importlib.util.module_from_spec(spec)
    sys.modules["mpsnn._core"] = core
    spec.loader.exec_module(core)
    return core


def check(path: Path, text: str) -> bool:
    """Whether the file is what would be written; shows the difference otherwise."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    name = str(path.relative_to(ROOT))
    sys.stdout.writelines(
        difflib.unified_diff(
            old.splitlines(keepends=True), text.splitlines(keepends=True), name, f"{name} (new)"
        )
    )
    return old == text


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--core", type=Path, help="the native module's file")
    arguments = parser.parse_args()
    core = load_core(arguments.core)
    table = Table.read(core)
    kept = gen_stubs.written_with((ROOT / STUBS).read_text(encoding="utf-8"))
    here = gen_stubs.pybind11_version()
    current = True
    for name, write in FILES.items():
        if arguments.check and name in SIGNATURES and kept != here:
            print(f"{name}: not compared: it was written with {kept}, and here is {here}")
            continue
        text = write(core, table)
        if arguments.check:
            current = check(ROOT / name, text) and current
            continue
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(text, encoding="utf-8")
    if not current:
        print("out of date: run tools/generate.py", file=sys.stderr)
    return 0 if current else 1


if __name__ == "__main__":
    sys.exit(main())
