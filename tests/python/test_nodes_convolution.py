# SPDX-License-Identifier: MIT
"""Convolution nodes against their formulas and JAX's derivatives."""

from __future__ import annotations

import numpy as np
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


@pytest.mark.parametrize(("edge", "channels"), [(4, 1024), (4, 4096), (64, 16)])
def test_batches_that_no_memory_holds_are_planned(edge: int, channels: int) -> None:
    """Pixels and channels of a hundred million images: oneDNN divides by zero there."""
    weights = np.zeros((channels, 1, 1, 256), np.float32)
    descriptor = mps.ConvolutionDescriptor(1, 1, 256, channels)
    node = mps.ConvolutionNode(
        mps.ImageNode("x"), mps.ConvolutionDataSource(descriptor, weights, label="wide")
    )
    graph = mps.Graph(mps.Device("cpu"), [node.result_image])
    count = 10**8
    cost = graph.cost({"x": (count, edge, edge, 256)})
    assert cost.flops == 2 * count * edge * edge * 256 * channels
