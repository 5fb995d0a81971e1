# SPDX-License-Identifier: MIT
"""Values that Apple's kernels were measured to give."""

from __future__ import annotations

import numpy as np
import pytest

import mpsnn as mps

x, g = mps.ImageNode("x"), mps.ImageNode("g")
ZERO = mps.ImageEdgeMode.ZERO


def encode(device: mps.Device, node: mps.FilterNode, **arrays: np.ndarray) -> np.ndarray:
    """The node's result."""
    commands = mps.CommandBuffer(device.command_queue())
    result = mps.Graph(device, [node.result_image]).encode(commands, arrays)[0]
    commands.commit()
    assert result is not None
    return np.array(result)


def counting(size: int) -> np.ndarray:
    """1, 2, 3 … as a square image."""
    return np.arange(1, size * size + 1, dtype=np.float32).reshape(1, size, size, 1)


AVERAGES = {
    3: [[0.25, 0.75, 1.25], [1.25, 3, 4], [2.75, 6, 7]],
    4: np.array([[1, 3, 5, 7], [6, 14, 18, 22], [14, 30, 34, 38], [22, 46, 50, 54]]) / 4,
}


@pytest.mark.parametrize("size", AVERAGES)
def test_averages_of_2_by_2_with_zeros_outside(cpu: mps.Device, size: int) -> None:
    node = mps.PoolingAverageNode(x, 2, 2, 1, 1, ZERO)
    np.testing.assert_array_equal(encode(cpu, node, x=counting(size))[0, :, :, 0], AVERAGES[size])


def test_zeros_outside_divide_by_the_whole_window(cpu: mps.Device) -> None:
    node = mps.PoolingAverageNode(x, 3, 3, 1, 1, ZERO, zero_pad_size_x=1, zero_pad_size_y=1)
    corner = encode(cpu, node, x=counting(3))[0, 0, 0, 0]
    assert corner == np.float32(12 / 9)


NEURONS = [
    (mps.NeuronTanHNode(x, 3.0), 0.5, 1.38635159),
    (mps.NeuronHardSigmoidNode(x, 1 / 6, 0.5), 1.5, 0.75),
    # Apple's own float arithmetic gives 2.74181002e-06 and -3.3158809e-04 here.
    (mps.NeuronSoftPlusNode(x), -12.825, float(np.log1p(np.exp(-12.825)))),
    (mps.NeuronGeLUNode(x), -3.75, -0.00033156476),
]


@pytest.mark.parametrize(("node", "at", "expected"), NEURONS, ids=str)
def test_neurons(cpu: mps.Device, node: mps.FilterNode, at: float, expected: float) -> None:
    got = encode(cpu, node, x=np.full((1, 1, 1, 1), at, np.float32))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_slope_of_a_sigmoid(cpu: mps.Device) -> None:
    node = mps.NeuronGradientNode(g, x, mps.NeuronType.SIGMOID)
    at, ones = (np.full((1, 1, 1, 1), value, np.float32) for value in (-0.75, 1.0))
    np.testing.assert_allclose(encode(cpu, node, x=at, g=ones), 0.217894986, rtol=1e-6)
