# SPDX-License-Identifier: MIT
"""Each GPU of this machine: the shared case tables and the measurements, as `mpsnn selftest`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from device_kinds import gpu_kinds

import mpsnn as mps
from mpsnn import selftest

TESTS = Path(__file__).resolve().parents[1]


NONE_HERE = pytest.param(
    "", marks=pytest.mark.skip("no GPU here that this build has a backend for")
)


@pytest.mark.long
@pytest.mark.parametrize("kind", gpu_kinds() or [NONE_HERE])
def test_case_tables(kind: str, record_property: Callable[[str, object], None]) -> None:
    """What was refused stands in the closing lines of tools/run_tests.py."""
    made = selftest.report(mps.Device(kind), tests=TESTS)
    assert not made["not run"]
    assert not made["cases"]["failures"]
    for state in ("refusals", "differences"):
        for name, why in made["cases"][state].items():
            record_property("not run", f"{name} on {kind}, some cases: {why}")
    failed = [
        one
        for findings in made["measurements"].values()
        for one in findings
        if one["verdict"] == "failed"
    ]
    assert not failed
    passed = sum(count.get("passed", 0) for count in made["cases"]["classes"].values())
    refused = sum(count.get("refused", 0) for count in made["cases"]["classes"].values())
    assert passed > refused
