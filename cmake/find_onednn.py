# SPDX-License-Identifier: MIT
"""Prints the folder of oneDNN's CMake package if this Python environment has it; else nothing."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path


def main() -> None:
    """Asks the installed distribution for its files; a missing distribution is a normal answer."""
    try:
        files = importlib.metadata.files("onednn-devel-cpu-gomp") or []
    except importlib.metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name == "dnnl-config.cmake":
            print(Path(str(file.locate())).resolve().parent.as_posix())


if __name__ == "__main__":
    main()
