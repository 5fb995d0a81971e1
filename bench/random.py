# SPDX-License-Identifier: MIT
"""Random numbers against numpy, PyTorch, JAX and a plain fill: runs random_numbers.py.

    python bench/random.py [--rounds 5] [--seconds 1] [--mebibytes 256] [--only normal]

The standard library has a module of this name, which numpy imports, and the folder of a script that
is run comes first in the search: imported, this file gives way to that module.
"""

import runpy
import sys
from importlib import import_module
from pathlib import Path

FOLDER = Path(__file__).resolve().parent

if __name__ == "__main__":
    runpy.run_path(str(FOLDER / "random_numbers.py"), run_name="__main__")
else:
    searched = list(sys.path)
    sys.path[:] = [folder for folder in searched if Path(folder).resolve() != FOLDER]
    del sys.modules[__name__]
    sys.modules[__name__] = import_module(__name__)
    sys.path[:] = searched
