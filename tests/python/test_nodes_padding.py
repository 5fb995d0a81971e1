# SPDX-License-Identifier: MIT
"""Padding, cropping and reshaping nodes against their formulas and JAX's derivatives."""

from __future__ import annotations

import pytest
from cases import Case
from cases.padding import CASES
from node_tests import check_forward, check_gradients

import mpsnn as mps

INTEGERS = pytest.mark.parametrize("integers", [True, False], ids=["exact", "random"])


@INTEGERS
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_forward(device: mps.Device, case: Case, *, integers: bool) -> None:
    check_forward(device, case, integers=integers)


@INTEGERS
@pytest.mark.parametrize("case", [c for c in CASES if c.differentiable], ids=lambda case: case.id)
def test_gradients(device: mps.Device, case: Case, *, integers: bool) -> None:
    check_gradients(device, case, integers=integers)
