# SPDX-License-Identifier: MIT
"""Events on the double: what its queues signal and wait for without the host, and failures.

Run by tools/run_metal_double.py, as test_metal_double.py is.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import mpsnn as mps

RUN, EVENT, LATE = 3, 4, 13
double = ctypes.CDLL(os.environ["MPSNN_METAL_DOUBLE"])
double.metal_double_event_waits.restype = ctypes.c_long


@pytest.fixture(scope="module")
def device() -> mps.Device:
    return mps.Device("metal-double")


@contextmanager
def held_device(least: int) -> Iterator[Callable[[], int]]:
    """Nothing runs until the block is left and the device was given so many waits since."""
    before = double.metal_double_event_waits()

    def waits() -> int:
        return int(double.metal_double_event_waits()) - before

    double.metal_double_hold(1)
    try:
        yield waits
        end = time.monotonic() + 30
        while waits() < least and time.monotonic() < end:
            time.sleep(0.001)
        assert waits() >= least
    finally:
        double.metal_double_hold(0)


class Pages:
    """Memory that several matrices share: nothing but events orders what uses them."""

    def __init__(self, device: mps.Device, count: int) -> None:
        self.device = device
        size = mmap.PAGESIZE
        self.rows = [
            np.frombuffer(mmap.mmap(-1, size), np.float32).reshape(1, size // 4)
            for _ in range(count)
        ]

    def __getitem__(self, i: int) -> mps.Matrix:
        return mps.Matrix.wrap(self.device, self.rows[i])

    def values(self) -> list[float]:
        """Each matrix's first element."""
        return [float(row[0, 0]) for row in self.rows]


def double_it(
    commands: mps.CommandBuffer, source: mps.Matrix, result: mps.Matrix, label: str = "twice"
) -> None:
    mps.MatrixNeuron(
        commands.queue.device,
        neuron_type=mps.NeuronType.LINEAR,
        neuron_parameter_a=2.0,
        label=label,
    ).encode(commands, source, result)


def buffers(device: mps.Device, count: int) -> list[mps.CommandBuffer]:
    return [mps.CommandBuffer(device.command_queue()) for _ in range(count)]


def test_the_device_orders_queues_by_itself(device: mps.Device) -> None:
    pages, event = Pages(device, 4), mps.SharedEvent(device)
    pages.rows[0][:] = 1
    commands = buffers(device, 3)
    with held_device(2):
        for i in (2, 1, 0):  # whoever waits is committed first
            if i > 0:
                commands[i].encode_wait_for_event(event, i)
            double_it(commands[i], pages[i], pages[i + 1])
            commands[i].encode_signal_event(event, i + 1)
            commands[i].commit()
    assert event.wait(3, 30)
    assert event.signaled_value == 3
    for one in commands:
        one.wait_until_completed()
    assert pages.values() == [1, 2, 4, 8]


def test_two_queues_take_turns_on_one_event(device: mps.Device) -> None:
    pages, event = Pages(device, 2), mps.SharedEvent(device, "turns")
    pages.rows[0][:] = 1
    ours, theirs = buffers(device, 2)
    for turn in range(10):
        ours.encode_wait_for_event(event, 2 * turn)
        double_it(ours, pages[0], pages[1])
        ours.encode_signal_event(event, 2 * turn + 1)
        theirs.encode_wait_for_event(event, 2 * turn + 1)
        double_it(theirs, pages[1], pages[0])
        theirs.encode_signal_event(event, 2 * turn + 2)
    theirs.commit()
    ours.commit()
    assert event.wait(20, 30)
    for one in (ours, theirs):
        one.wait_until_completed()
    assert pages.values() == [4.0**10, 4.0**10 / 2]


def test_a_queue_that_waits_for_the_host_holds_no_other(device: mps.Device) -> None:
    pages, event = Pages(device, 3), mps.SharedEvent(device)
    pages.rows[0][:] = 3
    waiting, other = buffers(device, 2)
    waiting.encode_wait_for_event(event, 7)
    double_it(waiting, pages[1], pages[2])
    waiting.commit()
    double_it(other, pages[0], pages[1])
    other.commit()
    other.wait_until_completed()
    time.sleep(0.02)
    assert pages.values() == [3, 6, 0]
    event.signal(8)
    waiting.wait_until_completed()
    assert pages.values() == [3, 6, 12]


def test_a_queue_passes_its_own_signal(device: mps.Device) -> None:
    event = mps.SharedEvent(device)
    queue = device.command_queue()
    first, then = mps.CommandBuffer(queue), mps.CommandBuffer(queue)
    with held_device(0):
        first.encode_signal_event(event, 1)
        first.commit()
        then.encode_wait_for_event(event, 1)
        then.encode_signal_event(event, 2)
        then.commit()
    then.wait_until_completed()
    assert event.signaled_value == 2


@pytest.mark.parametrize("has_kernel", [True, False])
def test_a_signal_behind_a_failure_is_an_error_of_who_waits(
    device: mps.Device, has_kernel: bool
) -> None:
    """With a kernel, the device fails that and signals all the same; without, it never signals."""
    pages, event = Pages(device, 2), mps.SharedEvent(device)
    failing, waiting, later = buffers(device, 3)
    called: list[int] = []
    with held_device(1):
        if has_kernel:
            double_it(failing, pages[0], pages[1])
        failing.encode_signal_event(event, 1)
        waiting.encode_wait_for_event(event, 1)
        waiting.encode_host_function("after", lambda: called.append(1))
        failing.commit()
        waiting.commit()
        double.metal_double_fail(RUN)
    with pytest.raises(mps.DeviceError, match="the GPU hung"):
        waiting.wait_until_completed()
    with pytest.raises(mps.DeviceError, match="the GPU hung"):
        failing.wait_until_completed()
    assert not called
    assert event.signaled_value == 0
    with pytest.raises(mps.DeviceError, match="the GPU hung"):
        event.wait(1)
    event.signal(1)  # someone else may still give it
    assert event.wait(1)
    later.encode_wait_for_event(event, 1)
    later.encode_signal_event(event, 2)
    later.commit()
    assert event.wait(2, 30)


def test_two_queues_that_wait_for_one_another_end_when_one_fails(device: mps.Device) -> None:
    """The failing one waits behind its signal: it must tell before it is waited for."""
    for _ in range(20):  # the device may come too late to have both waits
        there, back = mps.SharedEvent(device), mps.SharedEvent(device)
        failing, other = buffers(device, 2)
        failing.encode_signal_event(there, 1)
        failing.encode_wait_for_event(back, 1)
        failing.encode_signal_event(there, 2)
        other.encode_wait_for_event(there, 1)
        other.encode_signal_event(back, 1)
        with held_device(1) as waits:
            failing.commit()
            other.commit()
            time.sleep(0.02)
            double.metal_double_fail(RUN)
        for one in (other, failing):
            with pytest.raises(mps.DeviceError, match="the GPU hung"):
                one.wait_until_completed()
        if waits() == 2:
            return
    pytest.fail("the device never had both waits")


def test_a_later_piece_of_a_failed_buffer_signals_nothing(device: mps.Device) -> None:
    pages, event = Pages(device, 2), mps.SharedEvent(device)
    failing, waiting = buffers(device, 2)
    with held_device(1):
        double_it(failing, pages[0], pages[1])
        failing.commit_and_continue()
        failing.encode_signal_event(event, 1)
        failing.commit()
        waiting.encode_wait_for_event(event, 1)
        waiting.commit()
        double.metal_double_fail(RUN)
    with pytest.raises(mps.DeviceError, match="the GPU hung"):
        waiting.wait_until_completed()
    assert event.signaled_value == 0


def test_a_queue_that_is_destroyed_does_not_wait_for_ever(device: mps.Device) -> None:
    event = mps.SharedEvent(device, "never")
    queue = device.command_queue()
    commands = mps.CommandBuffer(queue)
    commands.encode_wait_for_event(event, 1)
    commands.encode_signal_event(event, 1)
    commands.commit()
    del queue, commands
    with pytest.raises(mps.StateError, match='SharedEvent "never": expected value 1, got 0'):
        event.wait(1)


@pytest.mark.parametrize("metal_signals", [True, False])
def test_events_between_devices(device: mps.Device, metal_signals: bool) -> None:
    cpu = mps.Device("cpu")
    event = mps.SharedEvent(device if metal_signals else cpu)
    order: list[str] = []
    signals = mps.CommandBuffer((device if metal_signals else cpu).command_queue())
    waits = mps.CommandBuffer((cpu if metal_signals else device).command_queue())
    waits.encode_wait_for_event(event, 1)
    waits.encode_host_function("waits", lambda: order.append("waited"))
    signals.encode_host_function("signals", lambda: order.append("signalled"))
    signals.encode_signal_event(event, 1)
    waits.commit()
    signals.commit()
    waits.wait_until_completed()
    assert order == ["signalled", "waited"]


def test_under_a_trace_every_step_is_waited_for(device: mps.Device) -> None:
    pages, event = Pages(device, 3), mps.SharedEvent(device, "traced")
    pages.rows[0][:] = 1
    first, then = buffers(device, 2)
    with mps.Trace():
        double_it(first, pages[0], pages[1])
        first.encode_signal_event(event, 1)
        then.encode_wait_for_event(event, 1)
        double_it(then, pages[1], pages[2])
        then.commit()
        first.commit()
        then.wait_until_completed()
    assert pages.values() == [1, 2, 4]


def test_predicates_do_not_skip_events(device: mps.Device) -> None:
    event, predicate = mps.SharedEvent(device), mps.Predicate(device)
    predicate.value = 0
    (commands,) = buffers(device, 1)
    commands.predicate = predicate
    commands.encode_signal_event(event, 1)
    commands.commit()
    assert event.wait(1, 30)


def test_an_event_that_the_device_has_not(device: mps.Device) -> None:
    double.metal_double_fail(EVENT)
    with pytest.raises(mps.DeviceError, match="event: the device makes no more"):
        mps.SharedEvent(device)
    assert mps.SharedEvent(device).signaled_value == 0


def test_a_signal_of_the_host_behind_a_greater_one_of_the_device(device: mps.Device) -> None:
    """Metal has none of the host's that only raises: what was set back is raised again."""
    pages, event = Pages(device, 3), mps.SharedEvent(device)
    pages.rows[0][:] = 1
    first, then = buffers(device, 2)
    double_it(first, pages[0], pages[1])
    first.encode_signal_event(event, 5)
    then.encode_wait_for_event(event, 5)
    double_it(then, pages[1], pages[2])
    with held_device(1) as waits:
        first.commit()
        then.commit()
        while waits() < 1:
            time.sleep(0.001)
        double.metal_double_fail(LATE)
        event.signal(3)
    assert then.wait_until_completed(30)
    assert event.signaled_value == 5
    assert pages.values() == [1, 2, 4]
