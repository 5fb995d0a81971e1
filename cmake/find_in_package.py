# SPDX-License-Identifier: MIT
"""Prints the folder of a distribution's file if this Python environment has it; else nothing.

python find_in_package.py DISTRIBUTION FILE
"""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path


def main() -> None:
    """Asks the installed distribution for its files; a missing distribution is a normal answer."""
    distribution, name = sys.argv[1:]
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name == name:
            print(Path(str(file.locate())).resolve().parent.as_posix())


if __name__ == "__main__":
    main()
