# SPDX-License-Identifier: MIT
"""What all tests share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import mpsnn as mps

# The case tables lie beside this folder: other languages' tests and the benchmarks read them too.
ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "bench")]

# JAX is an oracle in float64 and lends memory: on the host, also where it has a GPU.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# The null device records commands and computes nothing.
COMPUTING = [kind for kind in mps.Device.available() if kind != "null"]


@pytest.fixture(scope="session", params=COMPUTING)
def device(request: pytest.FixtureRequest) -> mps.Device:
    """Each device of this build and machine that computes."""
    return mps.Device(request.param)


@pytest.fixture
def cpu() -> mps.Device:
    """The CPU."""
    return mps.Device("cpu")
