# SPDX-License-Identifier: MIT
"""What all tests share."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

# Programs and examples that name no device run on the CPU, also where there is a GPU.
os.environ.setdefault("MPSNN_DEVICE", "cpu")

import mpsnn as mps

# The case tables lie beside this folder: other languages' tests and the benchmarks read them too.
ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "bench")]

# JAX is an oracle in float64 and lends memory: on the host, also where it has a GPU.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from device_kinds import host_kinds  # noqa: E402

# The null device records commands and computes nothing.
COMPUTING = [kind for kind in host_kinds() if kind != "null"]


@pytest.fixture(scope="session", params=COMPUTING)
def device(request: pytest.FixtureRequest) -> mps.Device:
    """Each device of this build and machine that computes on the host; GPUs: test_gpus.py."""
    return mps.Device(request.param)


@pytest.fixture(scope="session")
def transfer_learning() -> ModuleType:
    """The example of transfer learning as a module."""
    pytest.importorskip("sklearn")
    file = ROOT / "examples" / "python" / "transfer_learning.py"
    spec = importlib.util.spec_from_file_location("transfer_learning", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cpu() -> mps.Device:
    """The CPU."""
    return mps.Device("cpu")
