# SPDX-License-Identifier: MIT
"""The heaps in which MPS places temporary images, which each queue keeps for itself.

The double refuses a heap that is handed out again while the device may still use it.
Run by tools/run_metal_double.py, as test_metal_double.py is.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import mpsnn as mps

ALLOCATION, HEAP = 1, 6
double = ctypes.CDLL(os.environ["MPSNN_METAL_DOUBLE"])


@contextmanager
def switched(switch: str) -> Iterator[None]:
    getattr(double, switch)(1)
    try:
        yield
    finally:
        getattr(double, switch)(0)


@pytest.fixture(params=[False, True], ids=["late", "early"])
def retires_early(request: pytest.FixtureRequest) -> Iterator[bool]:
    """MPS gives heaps back when the device is done, or as soon as nothing is left in them."""
    if not request.param:
        yield False
        return
    with switched("metal_double_retire_early"):
        yield True


@pytest.fixture
def device() -> mps.Device:
    device = mps.Device("metal-double")
    device.trim()
    assert device.memory_stats().heap == 0
    return device


def squares(device: mps.Device) -> mps.Graph:
    """|x|^2, of three nodes."""
    x = mps.ImageNode("x")
    node = mps.MultiplicationNode(
        mps.NeuronAbsoluteNode(x).result_image, mps.NeuronAbsoluteNode(x).result_image
    )
    return mps.Graph(device, [node.result_image])


def image(device: mps.Device, height: int, value: float = 3.0) -> mps.Image:
    return mps.Image(device, array=np.full((1, height, 64, 4), value, np.float32))


def encoded(
    graph: mps.Graph, queue: mps.CommandQueue, x: mps.Image
) -> tuple[mps.CommandBuffer, mps.Image]:
    commands = mps.CommandBuffer(queue)
    (y,) = graph.encode(commands, {"x": x})
    commands.commit()
    return commands, y


def own_heaps(device: mps.Device, queue: str) -> int:
    (found,) = [one for one in device.memory_stats().queues if one.label == queue]
    return found.heap


@pytest.mark.usefixtures("retires_early")
def test_heaps_are_counted_kept_and_given_back(device: mps.Device) -> None:
    graph, queue = squares(device), device.command_queue("one")
    before = device.memory_stats()
    x = image(device, 64)
    encoded(graph, queue, x)[0].wait_until_completed()
    stats = device.memory_stats()
    # Three nodes' images, and the first result as it is handed out, 64 KiB each.
    held = own_heaps(device, "one")
    assert held >= 4 * 64 * 64 * 16
    assert stats.heap == held
    assert stats.current >= before.current + held
    assert stats.peak >= stats.current
    for _ in range(5):
        encoded(graph, queue, x)[0].wait_until_completed()
        assert own_heaps(device, "one") == held
    device.trim()
    assert own_heaps(device, "one") == 0
    assert device.memory_stats().current <= stats.current - held
    del queue
    assert device.memory_stats().heap == 0


@pytest.mark.usefixtures("retires_early")
def test_no_heap_serves_twice_at_once(device: mps.Device) -> None:
    """Four buffers are encoded while the device is held; results are each one's own."""
    graph, queue = squares(device), device.command_queue("one")
    alone, _ = encoded(graph, queue, image(device, 64))
    alone.wait_until_completed()
    held = own_heaps(device, "one")
    with switched("metal_double_hold"):
        runs = [encoded(graph, queue, image(device, 64, float(i))) for i in range(4)]
    for i, (commands, y) in enumerate(runs):
        commands.wait_until_completed()
        np.testing.assert_array_equal(np.array(y), np.full((1, 64, 64, 4), float(i * i)))
    # One is run, one waits behind it, and one is encoded.
    assert held < own_heaps(device, "one") <= 3 * held
    device.trim()
    assert own_heaps(device, "one") == 0


@pytest.mark.usefixtures("retires_early")
def test_pieces_carry_heaps_on(device: mps.Device) -> None:
    graph, queue = squares(device), device.command_queue("one")
    commands = mps.CommandBuffer(queue)
    (between,) = graph.encode(commands, {"x": image(device, 16)})
    commands.commit_and_continue()
    (y,) = graph.encode(commands, {"x": between})
    commands.commit()
    commands.wait_until_completed()
    np.testing.assert_array_equal(np.array(y), np.full((1, 16, 64, 4), 81.0))
    device.trim()
    assert own_heaps(device, "one") == 0


def test_heaps_that_are_too_small_make_room(device: mps.Device) -> None:
    graph, queue = squares(device), device.command_queue("one")
    encoded(graph, queue, image(device, 16))[0].wait_until_completed()
    small = own_heaps(device, "one")
    encoded(graph, queue, image(device, 256))[0].wait_until_completed()
    large = own_heaps(device, "one")
    assert small < large
    for _ in range(3):
        for height in (16, 256):
            encoded(graph, queue, image(device, height))[0].wait_until_completed()
            assert own_heaps(device, "one") <= large


def test_predicates_and_queues_have_heaps(device: mps.Device) -> None:
    """Under a predicate the command buffer is wrapped; another queue has heaps of its own."""
    graph, queue = squares(device), device.command_queue("one")
    commands = mps.CommandBuffer(queue)
    commands.predicate = mps.Predicate(device=device)
    (y,) = graph.encode(commands, {"x": image(device, 16)})
    commands.commit()
    commands.wait_until_completed()
    np.testing.assert_array_equal(np.array(y), np.full((1, 16, 64, 4), 9.0))
    other = device.command_queue("other")
    encoded(graph, other, image(device, 16))[0].wait_until_completed()
    assert own_heaps(device, "one") > 0
    assert own_heaps(device, "other") > 0
    assert device.memory_stats().heap == own_heaps(device, "one") + own_heaps(device, "other")


def test_without_memory_for_a_heap_mps_takes_one_of_its_own(device: mps.Device) -> None:
    graph, queue = squares(device), device.command_queue("one")
    double.metal_double_fail(HEAP)
    commands, y = encoded(graph, queue, image(device, 16))
    commands.wait_until_completed()
    np.testing.assert_array_equal(np.array(y), np.full((1, 16, 64, 4), 9.0))


@pytest.mark.usefixtures("retires_early")
def test_idle_heaps_make_room_for_memory(device: mps.Device) -> None:
    graph, queue, other = squares(device), device.command_queue("one"), device.command_queue("two")
    x = image(device, 64)
    kept = [encoded(graph, each, x) for each in (queue, other)]
    for commands, _ in kept:
        commands.wait_until_completed()
    assert own_heaps(device, "one") > 0
    assert own_heaps(device, "two") > 0
    stats = device.memory_stats()
    assert stats.cached == 0
    double.metal_double_fail(ALLOCATION)
    made = mps.Buffer(device, 1 << 20)
    assert device.memory_stats().heap == 0
    assert device.memory_stats().current == stats.current - stats.heap + made.size
    # Nothing is idle now: the first refusal is the last one.
    double.metal_double_fail(ALLOCATION)
    with pytest.raises(mps.OutOfMemoryError, match="bytes of memory left"):
        mps.Buffer(device, 1 << 20)
    commands, y = encoded(graph, queue, x)
    commands.wait_until_completed()
    np.testing.assert_array_equal(np.array(y), np.full((1, 64, 64, 4), 9.0))


def test_heaps_in_use_stay_when_memory_runs_out(device: mps.Device) -> None:
    graph, queue = squares(device), device.command_queue("one")
    with switched("metal_double_hold"):
        commands, y = encoded(graph, queue, image(device, 64))
        double.metal_double_fail(ALLOCATION)
        with pytest.raises(mps.OutOfMemoryError, match="bytes of memory left"):
            mps.Buffer(device, 1 << 20)
    commands.wait_until_completed()
    np.testing.assert_array_equal(np.array(y), np.full((1, 64, 64, 4), 9.0))
