# SPDX-License-Identifier: MIT
"""Automatic pieces, prefetched heaps, pipelines, asyncio, events, memory."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

import mpsnn as mps
from mpsnn.measuring import resident

ONES = np.ones((1, 2, 2, 1), np.float32)


@pytest.fixture
def queue(cpu: mps.Device) -> mps.CommandQueue:
    return cpu.command_queue("work")


def doubles(device: mps.Device, length: int = 3) -> mps.Graph:
    """Multiplies x by two to the power of the length."""
    image = mps.ImageNode("x")
    for _ in range(length):
        image = mps.AdditionNode(image, image).result_image
    return mps.Graph(device, [image])


def test_encode_commits_pieces_by_itself(cpu: mps.Device, queue: mps.CommandQueue) -> None:
    graph = doubles(cpu)
    commands = mps.CommandBuffer(queue)
    assert commands.auto_commit
    assert commands.commit_threshold == mps.CommitThreshold()
    commands.commit_threshold = mps.CommitThreshold(flops=0)
    result = graph.encode(commands, {"x": ONES})[0]
    assert commands.piece_count == 3
    commands.commit()
    assert np.asarray(result).max() == 8

    whole = mps.CommandBuffer(queue, "whole", auto_commit=False)
    whole.commit_threshold = mps.CommitThreshold(flops=0)
    graph.encode(whole, {"x": ONES})
    assert (whole.auto_commit, whole.piece_count) == (False, 0)
    whole.commit()
    whole.wait_until_completed()


def test_a_prefetched_heap_need_not_grow(cpu: mps.Device) -> None:
    queue = cpu.command_queue("prefetched")
    commands = mps.CommandBuffer(queue)
    commands.prefetch_heap(1 << 20)

    def heap() -> int:
        return next(q.heap for q in cpu.memory_stats().queues if q.label == "prefetched")

    held = heap()
    assert held >= 1 << 20
    doubles(cpu).encode(commands, {"x": np.ones((1, 64, 64, 16), np.float32)})
    assert heap() == held
    commands.commit()
    commands.wait_until_completed()
    cpu.trim()
    assert heap() == 0


def test_times_are_those_of_the_work(queue: mps.CommandQueue) -> None:
    commands = mps.CommandBuffer(queue)
    assert commands.times.kernel_start == 0
    commands.encode_host_function("sleep", lambda: time.sleep(0.02))
    commands.commit()
    commands.wait_until_completed()
    times = commands.times
    assert times.gpu_end - times.gpu_start >= 0.02
    assert times.kernel_start <= times.kernel_end <= times.gpu_end


def test_completed_can_be_awaited(queue: mps.CommandQueue) -> None:
    async def run() -> list[str]:
        order: list[str] = []
        event = threading.Event()
        commands = mps.CommandBuffer(queue)
        commands.encode_host_function("wait", lambda: event.wait(20))
        commands.commit()

        async def other() -> None:
            order.append("other ran meanwhile")
            event.set()

        task = asyncio.create_task(other())
        await commands.completed()
        order.append("completed")
        await task
        await commands.completed()  # again, of work that has ended
        return order

    assert asyncio.run(run()) == ["other ran meanwhile", "completed"]


def test_awaiting_raises_the_failure(queue: mps.CommandQueue) -> None:
    def fail() -> None:
        raise KeyError("lost")

    async def run() -> None:
        commands = mps.CommandBuffer(queue)
        commands.encode_host_function("fails", fail)
        commands.commit()
        with pytest.raises(mps.DeviceError, match=r'"fails"') as caught:
            await commands.completed()
        assert isinstance(caught.value.__cause__, KeyError)
        with pytest.raises(mps.StateError):
            mps.CommandBuffer(queue).completed()

    asyncio.run(run())
    queue.wait_until_idle()  # it was told


def test_awaiting_may_be_cancelled_and_outlived(queue: mps.CommandQueue) -> None:
    event = threading.Event()
    commands = mps.CommandBuffer(queue)
    commands.encode_host_function("wait", lambda: event.wait(20))
    commands.commit()

    async def run() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(commands.completed(), 0.01)

    asyncio.run(run())  # its loop is closed when the work ends
    event.set()
    commands.wait_until_completed()


def test_a_pipeline_keeps_so_many_in_flight(cpu: mps.Device, queue: mps.CommandQueue) -> None:
    graph = doubles(cpu)
    made = yielded = 0
    most = 0

    def data() -> Iterator[np.ndarray]:
        nonlocal made, most
        for i in range(10):
            made += 1
            most = max(most, made - yielded)
            yield np.full((1, 1, 1, 1), i, np.float32)

    for result in mps.Pipeline(queue).run(data(), lambda c, x: graph.encode(c, {"x": x})):
        assert np.asarray(result[0]).item() == 8 * yielded
        yielded += 1
    assert (made, yielded, most) == (10, 10, 2)
    assert list(mps.Pipeline(queue).run([], lambda _c, x: x)) == []
    with pytest.raises(mps.InvalidArgumentError, match="buffers"):
        mps.Pipeline(queue, 0)


def fail_at(number: int) -> None:
    msg = f"lost {number}"
    raise KeyError(msg)


def test_a_pipeline_raises_the_first_error_with_its_batch(queue: mps.CommandQueue) -> None:
    def encode(commands: mps.CommandBuffer, number: int) -> int:
        if number >= 3:
            commands.encode_host_function("load", lambda: fail_at(number))
        return number

    done = []
    with pytest.raises(mps.BatchError, match=r"batch 3: .*lost 3") as caught:
        done.extend(mps.Pipeline(queue, 3).run(range(100), encode))
    assert caught.value.batch == 3
    assert isinstance(caught.value.__cause__, mps.DeviceError)
    queue.wait_until_idle()  # nothing is in flight, and nothing is left to tell


def test_a_pipeline_lets_errors_of_its_user_through(queue: mps.CommandQueue) -> None:
    ended: list[int] = []

    def encode(commands: mps.CommandBuffer, number: int) -> int:
        commands.encode_host_function("slow", lambda: time.sleep(0.01))
        commands.add_completed_handler(lambda _: ended.append(number))
        if number == 3:
            fail_at(number)
        return number

    with pytest.raises(KeyError, match="lost 3"):
        list(mps.Pipeline(queue).run(range(100), encode))
    assert ended == [0, 1, 2]


def test_a_pipeline_may_be_left_early(queue: mps.CommandQueue) -> None:
    def encode(commands: mps.CommandBuffer, number: int) -> int:
        if number == 1:
            commands.encode_host_function("load", lambda: fail_at(number))
        return number

    results = mps.Pipeline(queue, 3).run(range(9), encode)
    assert next(results) == 0
    with pytest.raises(mps.BatchError, match="batch 1"):
        results.close()


def test_events_order_queues_and_the_host(cpu: mps.Device, queue: mps.CommandQueue) -> None:
    other = cpu.command_queue("other")
    event = mps.SharedEvent(cpu, "turn")
    order: list[str] = []
    waits, signals = mps.CommandBuffer(queue), mps.CommandBuffer(other)
    waits.encode_wait_for_event(event, 2)
    waits.encode_host_function("b", lambda: order.append("b"))
    waits.encode_signal_event(event, 3)
    waits.commit()
    assert not event.wait(1, seconds=0.01)
    signals.encode_wait_for_event(event, 1)
    signals.encode_host_function("a", lambda: order.append("a"))
    signals.encode_signal_event(event, 2)
    signals.commit()
    event.signal(1)
    assert event.wait(3)
    assert order == ["a", "b"]
    assert event.signaled_value == 3
    with pytest.raises(mps.InvalidArgumentError, match="seconds"):
        event.wait(9, seconds=-1)


def test_a_dropped_signal_is_an_error_for_those_who_wait(
    cpu: mps.Device, queue: mps.CommandQueue
) -> None:
    event = mps.SharedEvent(cpu, "never")
    dropped = mps.CommandBuffer(queue, "dropped")
    dropped.encode_signal_event(event, 1)
    del dropped
    with pytest.raises(mps.StateError, match=r'"dropped".*never committed'):
        event.wait(1)


def test_memory_that_runs_out_in_an_encode_loses_nothing() -> None:
    null = mps.NullDevice(memory_bytes=1 << 20)
    graph = doubles(null.device)
    queue = null.device.command_queue()
    commands = mps.CommandBuffer(queue)
    graph.encode(commands, {"x": ONES})
    with pytest.raises(mps.OutOfMemoryError):
        graph.encode(commands, {"x": np.ones((1, 256, 256, 3), np.float32)})
    graph.encode(commands, {"x": ONES})
    commands.commit()
    commands.wait_until_completed()
    assert len(null.commands) == 6


def test_a_queue_dropped_with_work_in_flight_ends_it(cpu: mps.Device) -> None:
    ended: list[int] = []
    queue = cpu.command_queue()
    for i in range(3):
        commands = mps.CommandBuffer(queue)
        commands.encode_host_function("slow", lambda: time.sleep(0.01))
        commands.add_completed_handler(lambda _, i=i: ended.append(i))
        commands.commit()
    del commands, queue
    assert ended == [0, 1, 2]


def test_nothing_keeps_what_has_run(cpu: mps.Device, queue: mps.CommandQueue) -> None:
    class Big:
        pass

    big = Big()
    gone = weakref.ref(big)
    commands = mps.CommandBuffer(queue)
    commands.encode_host_function("use", lambda big=big: id(big))
    commands.add_completed_handler(lambda _, big=big: id(big))
    del big
    commands.commit()
    commands.wait_until_completed()
    assert gone() is None
    assert cpu.memory_stats().current > 0


@pytest.mark.long
def test_memory_stays_flat_over_many_sizes() -> None:
    """20,000 encodes of small graphs of 40 sizes: plans are bounded, nothing piles up."""
    device = mps.NullDevice().device
    queue = device.command_queue()
    graph = doubles(device)
    sizes = [np.ones((1, 1 + i % 8, 1 + i // 8, 4), np.float32) for i in range(40)]

    def run(count: int) -> None:
        pipeline = mps.Pipeline(queue)
        data = (sizes[(7 * i) % 40] for i in range(count))
        for _ in pipeline.run(data, lambda c, x: graph.encode(c, {"x": x})):
            pass

    run(2000)
    before, before_rss = device.memory_stats(), resident("VmRSS")
    run(18_000)
    after, after_rss = device.memory_stats(), resident("VmRSS")
    assert not after_rss > before_rss + 4  # MiB; NaN where the system does not tell
    assert graph.plan_count == graph.plan_limit == 16
    assert (after.current, after.heap) == (before.current, before.heap)
    assert after.peak <= before.peak + 4096
    assert [q.arenas for q in after.queues] == [q.arenas for q in before.queues]


def test_plans_are_bounded_and_can_be_dropped(cpu: mps.Device, queue: mps.CommandQueue) -> None:
    graph = doubles(cpu)

    def encode(count: int) -> None:
        for i in range(count):
            commands = mps.CommandBuffer(queue)
            graph.encode(commands, {"x": np.ones((1, 1, i + 1, 1), np.float32)})
            commands.commit()

    encode(20)
    assert graph.plan_count == 16
    graph.plan_limit = 4
    assert graph.plan_count == 4
    encode(20)
    assert (graph.plan_count, graph.plan_limit) == (4, 4)
    graph.trim()
    assert graph.plan_count == 0
    with pytest.raises(mps.InvalidArgumentError, match="plan_limit"):
        graph.plan_limit = 0
    queue.wait_until_idle()
