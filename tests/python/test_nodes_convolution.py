# SPDX-License-Identifier: MIT
"""Convolution nodes against their formulas and JAX's derivatives."""

from __future__ import annotations

import pytest
from cases.convolution import CASES
from node_tests import Run, check_forward, check_gradients, runs

import mpsnn as mps


@pytest.mark.parametrize("run", runs(CASES), ids=lambda run: run.id)
def test_forward(device: mps.Device, run: Run) -> None:
    check_forward(device, run)


@pytest.mark.parametrize("run", runs(CASES, gradients=True), ids=lambda run: run.id)
def test_gradients(device: mps.Device, run: Run) -> None:
    check_gradients(device, run)
