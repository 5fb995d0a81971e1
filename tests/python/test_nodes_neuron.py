# SPDX-License-Identifier: MIT
"""Neuron nodes against their formulas and JAX's derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from cases.neuron import CASES, CORNERS, Corners
from node_tests import Run, check_forward, check_gradients, encode, runs

import mpsnn as mps


@pytest.mark.parametrize("run", runs(CASES), ids=lambda run: run.id)
def test_forward(device: mps.Device, run: Run) -> None:
    check_forward(device, run)


@pytest.mark.parametrize("run", runs(CASES, gradients=True), ids=lambda run: run.id)
def test_gradients(device: mps.Device, run: Run) -> None:
    check_gradients(device, run)


CORNER_CASES = [
    pytest.param(name, corners, id=f"{name}-{i}")
    for name, rows in CORNERS.items()
    for i, corners in enumerate(rows)
]


@pytest.mark.parametrize("with_result", [False, True])
@pytest.mark.parametrize(("name", "corners"), CORNER_CASES)
def test_not_numbers(device: mps.Device, name: str, corners: Corners, *, with_result: bool) -> None:
    """NaN and infinities, in whole vectors and in rests, beside numbers.

    Where a graph computes the result, too, some neurons' gradients are made from it.
    """
    attributes, results, slopes = corners
    node = mps.FilterNode(name, [mps.ImageNode("x")], dict(attributes))
    gradient = node.gradient_filter(mps.ImageNode("g"))
    tested = [(node, results)] * with_result + [(gradient, tuple(2 * np.array(slopes)))]
    graph = mps.Graph(device, [one.result_image for one, _ in tested])
    x = np.tile(np.float32([np.nan, np.inf, -np.inf, 0.5]), (1, 3, 5, 3))
    got = encode(device, graph, {"x": x, "g": np.full_like(x, 2)})
    for image, (_, expected) in zip(got, tested, strict=True):
        array = np.asarray(image)
        np.testing.assert_array_equal(array, np.where(np.isfinite(x), array, corner(x, expected)))
        assert np.all(np.isfinite(array[np.isfinite(x)]))


def corner(x: np.ndarray, values: tuple[float, ...]) -> np.ndarray:
    """The value for NaN, for infinity or for -infinity."""
    return np.where(np.isnan(x), values[0], np.where(x > 0, values[1], values[2]))


def test_every_neuron_has_corners() -> None:
    assert {case.node for case in CASES} == set(CORNERS)
