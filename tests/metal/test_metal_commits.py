# SPDX-License-Identifier: MIT
"""How many command buffers work becomes, on the double, which counts those that are committed.

Run by tools/run_metal_double.py, as test_metal_double.py is.
"""

from __future__ import annotations

import ctypes
import os

import numpy as np
import pytest

import mpsnn as mps

double = ctypes.CDLL(os.environ["MPSNN_METAL_DOUBLE"])
double.metal_double_commits.restype = ctypes.c_long


@pytest.fixture(scope="module")
def device() -> mps.Device:
    return mps.Device("metal-double")


def committed(commands: mps.CommandBuffer) -> int:
    """Command buffers of Metal's that this one becomes."""
    before = int(double.metal_double_commits())
    commands.commit()
    commands.wait_until_completed()
    return int(double.metal_double_commits()) - before


def twice(commands: mps.CommandBuffer, count: int, x: mps.Matrix) -> None:
    for _ in range(count):
        mps.MatrixNeuron(
            commands.queue.device, neuron_type=mps.NeuronType.LINEAR, neuron_parameter_a=2.0
        ).encode(commands, x, x)


@pytest.mark.parametrize(("kernels", "expected"), [(1, 1), (16, 1), (17, 2), (40, 3)])
def test_small_kernels_share_command_buffers(
    device: mps.Device, kernels: int, expected: int
) -> None:
    x = mps.Matrix.from_array(device, np.full((1, 4), 2.0**-40, np.float32))
    commands = mps.CommandBuffer(device.command_queue())
    twice(commands, kernels, x)
    assert committed(commands) == expected
    np.testing.assert_array_equal(x, np.full((1, 4), 2.0 ** (kernels - 40), np.float32))


def test_large_kernels_have_command_buffers_of_their_own(device: mps.Device) -> None:
    """64 MiB of operands are enough; these have 2 x 32."""
    x = mps.Matrix(device, rows=1 << 11, columns=1 << 12)
    commands = mps.CommandBuffer(device.command_queue())
    twice(commands, 3, x)
    assert committed(commands) == 3


def test_a_graph_is_handed_over_at_once(device: mps.Device) -> None:
    """The double commits a piece after each of its nodes, here one, by itself."""
    graph = mps.Graph(device, [mps.NeuronReLUNode(mps.ImageNode("x")).result_image])
    image = mps.Image(device, array=np.ones((1, 2, 2, 1), np.float32))
    counts = []
    for kernels in (0, 1):
        commands = mps.CommandBuffer(device.command_queue())
        graph.encode(commands, {"x": image})
        twice(commands, kernels, mps.Matrix(device, rows=1, columns=4))
        counts.append(committed(commands))
    assert counts == [2, 3]


def test_signals_and_waits_part_command_buffers(device: mps.Device) -> None:
    """A signal is handed over with what is before it; a wait holds nothing before it."""
    event = mps.SharedEvent(device)
    x = mps.Matrix(device, rows=1, columns=4)
    signals, waits = (mps.CommandBuffer(device.command_queue()) for _ in "ab")
    twice(signals, 2, x)
    signals.encode_signal_event(event, 1)
    twice(signals, 2, x)
    assert committed(signals) == 2
    twice(waits, 2, x)
    waits.encode_wait_for_event(event, 1)
    twice(waits, 2, x)
    assert committed(waits) in (2, 3)  # nothing is encoded of what is there already


def test_predicates_of_one_command_buffer_are_each_kernels_own(device: mps.Device) -> None:
    x = mps.Matrix.from_array(device, np.ones((1, 4), np.float32))
    predicates = [mps.Predicate(device) for _ in "ab"]
    for value, predicate in enumerate(predicates):
        predicate.value = value
    commands = mps.CommandBuffer(device.command_queue())
    for i in range(6):
        commands.predicate = predicates[i % 2]
        twice(commands, 1, x)
    assert committed(commands) == 1
    np.testing.assert_array_equal(x, np.full((1, 4), 8, np.float32))
