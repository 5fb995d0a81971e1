# SPDX-License-Identifier: MIT
"""Pooling nodes against their formulas and JAX's derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from cases.pooling import CASES
from node_tests import Run, check_forward, check_gradients, encode, runs

import mpsnn as mps


@pytest.mark.parametrize("run", runs(CASES), ids=lambda run: run.id)
def test_forward(device: mps.Device, run: Run) -> None:
    check_forward(device, run)


@pytest.mark.parametrize("run", runs(CASES, gradients=True), ids=lambda run: run.id)
def test_gradients(device: mps.Device, run: Run) -> None:
    check_gradients(device, run)


NANS = [
    pytest.param((3, 3), (3, 3), {}, [(1, 1)], (1, 1), id="centre"),
    pytest.param((3, 3), (3, 3), {}, [(2, 2), (1, 2), (2, 0)], (1, 2), id="first-in-row-order"),
    pytest.param((2, 2), (2, 2), {}, [(1, 0)], (1, 0), id="2x2"),
    pytest.param((2, 2), (2, 2), {}, [(1, 1)], (1, 1), id="2x2-last"),
    pytest.param((3, 3), (2, 2), {"dilation": 2}, [(2, 0), (1, 1)], (2, 0), id="dilated"),
]


@pytest.mark.parametrize(("size", "window", "options", "nans", "where"), NANS)
def test_a_maximum_that_is_nan_takes_the_gradient(
    device: mps.Device,
    size: tuple[int, int],
    window: tuple[int, int],
    options: dict[str, int],
    nans: list[tuple[int, int]],
    where: tuple[int, int],
) -> None:
    """The first NaN of the window in row order, in every channel; those without one as always."""
    channels = 7
    x = np.arange(1, 1 + np.prod(size), dtype=np.float32).reshape(1, *size, 1)
    x = np.repeat(x, channels, axis=3)
    for row, column in nans:
        x[0, row, column, :-1] = np.nan
    source = mps.ImageNode("x")
    arguments = {"kernel_height": window[0], "kernel_width": window[1]}
    if options:
        arguments |= {f"dilation_rate_{axis}": options["dilation"] for axis in "xy"}
    name = "DilatedPoolingMaxNode" if options else "PoolingMaxNode"
    node = mps.FilterNode(name, [source], arguments)
    node.padding_policy = mps.PaddingPolicy(mps.PaddingMethod(0))
    gradient = node.gradient_filter(mps.ImageNode("g"))
    graph = mps.Graph(device, [node.result_image, gradient.result_image])
    result, got = encode(device, graph, {"x": x, "g": np.ones((1, 1, 1, channels), np.float32)})
    assert np.isnan(np.asarray(result)).ravel().tolist() == [True] * (channels - 1) + [False]
    expected = np.zeros_like(x)
    expected[0, where[0], where[1], :-1] = 1
    expected[0, -1, -1, -1] = 1
    np.testing.assert_array_equal(np.asarray(got), expected)
