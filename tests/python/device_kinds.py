# SPDX-License-Identifier: MIT
"""Which devices run which tests.

A GPU's backend refuses what its vendor's library cannot hold, by design, and is as exact as that
library: tests written for the CPU say nothing of it. A GPU runs the case tables as `mpsnn selftest`
does (test_gpus.py), which tells refusals from failures.
"""

from __future__ import annotations

import mpsnn as mps

GPUS = ("metal", "metal-double", "cuda")


def host_kinds() -> list[str]:
    """Kinds of this build and machine that run on the host, the null device among them."""
    return [kind for kind in mps.Device.available() if kind not in GPUS]


def gpu_kinds() -> list[str]:
    """Kinds of this build and machine that are GPUs."""
    return [kind for kind in mps.Device.available() if kind in GPUS]
