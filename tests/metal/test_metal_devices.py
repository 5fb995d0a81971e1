# SPDX-License-Identifier: MIT
"""Devices that Metal does not tell of everywhere, on the double.

Run by tools/run_metal_double.py, as test_metal_double.py is. In processes of their own, as a device
is looked for once.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

NO_DEFAULT, NO_LIST = 1, 2
PROGRAM = """
import ctypes, os, sys
import mpsnn as mps
hidden, options = int(sys.argv[1]), eval(sys.argv[2])
ctypes.CDLL(os.environ["MPSNN_METAL_DOUBLE"]).metal_double_hide_devices(hidden)
try:
    print(mps.Device("metal-double", **options).name)
except mps.Error as error:
    print(type(error).__name__, error)
"""


def found(hidden: int, options: str = "{}") -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(hidden), options],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("hidden", [0, NO_DEFAULT, NO_LIST])
def test_a_default_or_a_list_is_enough(hidden: int) -> None:
    """Programs without a window server or in sandboxes were seen to have one of the two."""
    assert found(hidden) == "Metal double"


def test_a_name_is_looked_for_in_what_there_is() -> None:
    assert found(NO_LIST, '{"name": "Metal double"}') == "Metal double"
    assert found(NO_LIST, '{"low_power": True}').startswith("InvalidArgumentError")
    assert found(0, '{"low_power": True}') == "Metal double, low power"


def test_a_machine_without_one() -> None:
    assert found(NO_DEFAULT | NO_LIST).startswith("InvalidArgumentError Device: kind")
