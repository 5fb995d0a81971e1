# SPDX-License-Identifier: MIT
"""Arithmetic nodes against their formulas and JAX's derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from cases.arithmetic import CASES
from node_tests import Run, check_forward, check_gradients, encode, runs

import mpsnn as mps


@pytest.mark.parametrize("run", runs(CASES), ids=lambda run: run.id)
def test_forward(device: mps.Device, run: Run) -> None:
    check_forward(device, run)


@pytest.mark.parametrize("run", runs(CASES, gradients=True), ids=lambda run: run.id)
def test_gradients(device: mps.Device, run: Run) -> None:
    check_gradients(device, run)


@pytest.mark.parametrize(
    ("node", "primary", "secondary"),
    [
        ("AdditionNode", np.inf, np.inf),
        ("SubtractionNode", np.inf, -np.inf),
        ("MultiplicationNode", np.inf, np.inf),
        ("MultiplicationNode", 3e38, 3e38),
        ("DivisionNode", 1.0, 0.0),
    ],
)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_default_limits_clamp_nothing(
    device: mps.Device, node: str, primary: float, secondary: float, sign: float
) -> None:
    shape = (1, 2, 3, 7)
    names = ("p", "s")
    arrays = {"p": np.full(shape, primary, np.float32), "s": np.full(shape, secondary, np.float32)}

    def result(**limits: float) -> np.ndarray:
        options = {"primary_scale": sign, **limits}
        if node in ("AdditionNode", "SubtractionNode"):
            options["secondary_scale"] = sign
        made = mps.FilterNode(node, [mps.ImageNode(name) for name in names], options)
        return np.asarray(encode(device, mps.Graph(device, [made.result_image]), arrays)[0])

    infinite = np.full(shape, sign * np.inf, np.float32)
    np.testing.assert_array_equal(result(), infinite)
    # Each by itself: the other one is away from its default.
    one, other = ("minimum_value", "maximum_value")[:: int(sign)]
    np.testing.assert_array_equal(result(**{one: -2.0 * sign}), infinite)
    np.testing.assert_array_equal(result(**{other: 2.0 * sign}), np.full(shape, 2 * sign))
