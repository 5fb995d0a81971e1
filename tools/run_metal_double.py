# SPDX-License-Identifier: MIT
"""Runs the tests of the Metal backend with the module that is built against the double of Metal.

    cmake --preset metal-double && cmake --build --preset metal-double --target _core
    python tools/run_metal_double.py [--build build/metal-double] [-- pytest's arguments]

The module lies beside links to the package's files, so the installed one stays as it is.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def make_package(build: Path) -> Path:
    """A folder with the package and the build's module; returns what goes into sys.path."""
    modules = sorted((build / "src/bindings").glob("_core*.so"))
    if not modules:
        raise SystemExit(f"run_metal_double: {build}: expected a built module _core, found none")
    folder = build / "python"
    shutil.rmtree(folder, ignore_errors=True)
    package = folder / "mpsnn"
    package.mkdir(parents=True)
    for path in (ROOT / "python/mpsnn").iterdir():
        if path.name != "__pycache__":
            (package / path.name).symlink_to(path)
    (package / modules[0].name).symlink_to(modules[0])
    # An editable installation would find its own module first, in child processes, too.
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "sys.meta_path[:] = [o for o in sys.meta_path if 'Redirecting' not in type(o).__name__]\n"
    )
    return folder


def main() -> int:
    """Runs pytest in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=ROOT / "build/metal-double")
    parser.add_argument("arguments", nargs="*", help="after --: for pytest")
    options = parser.parse_args()
    build = options.build.resolve()
    os.environ["MPSNN_METAL_DOUBLE"] = str(build / "libmetal_double.so")
    os.environ.setdefault("LLVM_PROFILE_FILE", str(build / "coverage/%m-%p.profraw"))
    # An editable installation would find its own module first.
    sys.meta_path[:] = [one for one in sys.meta_path if "Redirecting" not in type(one).__name__]
    folder = str(make_package(build))
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = folder
    import pytest

    return int(
        pytest.main(
            [
                "-q",
                "--no-header",
                "-r",
                "fE",
                "-p",
                "no:cacheprovider",
                str(ROOT / "tests/metal"),
                *options.arguments,
            ]
        )
    )


if __name__ == "__main__":
    sys.exit(main())
