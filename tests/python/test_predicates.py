# SPDX-License-Identifier: MIT
"""Buffers and predicates: kernels that are switched off on the device."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import numpy as np
import pytest

import mpsnn as mps

ONES = np.ones((1, 2, 2, 1), np.float32)


@pytest.fixture
def queue(cpu: mps.Device) -> mps.CommandQueue:
    return cpu.command_queue("work")


def weight(value: float) -> mps.ConvolutionDataSource:
    """One trainable number."""
    descriptor = mps.ConvolutionDescriptor(1, 1, 1, 1)
    array = np.full((1, 1, 1, 1), value, np.float32)
    optimizer = mps.OptimizerStochasticGradientDescent(learning_rate=0.125)
    return mps.ConvolutionDataSource(descriptor, array, label="w", optimizer=optimizer)


def descent(device: mps.Device, source: mps.DataSource) -> mps.Graph:
    """A step by which the number falls: the loss is the mean of w·x."""
    node = mps.ConvolutionNode(mps.ImageNode("x"), source)
    last = node.training_graph(mps.ImageNode("gradient"))
    return mps.Graph(device, [last[0].result_image], [False])


def test_a_buffer_is_a_python_buffer_and_shares_its_memory(cpu: mps.Device) -> None:
    buffer = mps.Buffer(cpu, 16)
    view = np.frombuffer(buffer, np.int32)
    assert view.tolist() == [0, 0, 0, 0]
    view[2] = 7
    assert buffer.read(8, 4) == (7).to_bytes(4, "little")
    buffer.write(np.array([5], np.int32), 12)
    assert view.tolist() == [0, 0, 7, 5]
    assert (len(buffer), buffer.size, buffer.device == cpu) == (16, 16, True)
    assert mps.Buffer(cpu, b"abc").read() == b"abc"
    assert mps.Buffer(cpu, np.arange(3, dtype=np.uint8)).read(1) == b"\1\2"
    del buffer
    gc.collect()
    assert view[2] == 7  # the view keeps the memory


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda d: mps.Buffer(d, 0), mps.InvalidArgumentError, "Buffer: bytes"),
        (lambda d: mps.Buffer(d, 8).read(4, 8), mps.InvalidArgumentError, "its 8 bytes"),
        (lambda d: mps.Buffer(d, 8).read(9), mps.InvalidArgumentError, "0 bytes from 9"),
        (lambda d: mps.Buffer(d, 8).write(b"12345", 4), mps.InvalidArgumentError, "write"),
        (lambda d: mps.Buffer(d, [1, 2]), mps.ArgumentTypeError, "buffer protocol, got list"),
        (
            lambda d: mps.Buffer(d, np.ones((4, 4), np.int32)[:, ::2]),
            mps.InvalidArgumentError,
            "contiguous",
        ),
        (lambda d: mps.Predicate(mps.Buffer(d, 8), 2), mps.InvalidArgumentError, "multiple of 4"),
        (lambda d: mps.Predicate(mps.Buffer(d, 8), 8), mps.InvalidArgumentError, "got 8"),
        (lambda d: mps.Predicate(mps.Buffer(d, 3), 0), mps.InvalidArgumentError, "buffer's 3"),
        (lambda d: mps.Predicate(mps.Buffer(d, 8), -4), TypeError, "Predicate"),
    ],
)
def test_bad_arguments(
    cpu: mps.Device, make: Callable[[mps.Device], object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        make(cpu)


def test_a_predicate_of_another_device_is_refused(queue: mps.CommandQueue) -> None:
    commands = mps.CommandBuffer(queue, "step")
    other = mps.Predicate(mps.NullDevice().device)
    with pytest.raises(mps.InvalidArgumentError, match=r'"step": predicate: .*"cpu".*"null"'):
        commands.predicate = other
    assert commands.predicate is None


def test_a_kernel_recorded_earlier_switches_a_later_one_off(
    cpu: mps.Device, queue: mps.CommandQueue
) -> None:
    source = weight(8.0)
    step = descent(cpu, source)
    predicate = mps.Predicate(cpu)
    predicate.value = 5

    def count_down() -> None:
        predicate.value -= 1

    commands = mps.CommandBuffer(queue)
    commands.predicate = predicate
    for _ in range(20):
        step.encode(commands, {"x": ONES, "gradient": ONES})
        commands.encode_host_function("count down", count_down)
    commands.commit()
    commands.wait_until_completed()
    # Each step takes four pixels' gradients of 1 times the rate of 1/8.
    assert cpu.read_parameter(source, "weights").item() == 8.0 - 5 * 0.5
    assert cpu.time_step(source) == 5
    assert predicate.value == 0


def test_wrapped_buffers_stack_predicates(queue: mps.CommandQueue, cpu: mps.Device) -> None:
    ran: list[str] = []
    root = mps.CommandBuffer(queue, "root")
    wrapper = mps.CommandBuffer(root)
    assert wrapper.command_buffer is not None
    assert root.command_buffer is None
    assert wrapper.root_command_buffer.label == "root"
    on, off = mps.Predicate(cpu), mps.Predicate(cpu)
    off.value = 0
    for below in (on, off, None):
        for above in (on, off, None):
            root.predicate, wrapper.predicate = below, above
            name = f"{below is off or above is off}"
            wrapper.encode_host_function(name, lambda n=name: ran.append(n))
    root.commit()
    root.wait_until_completed()
    assert ran == ["False"] * 4


def test_predicates_of_one_buffer_are_independent(queue: mps.CommandQueue, cpu: mps.Device) -> None:
    buffer = mps.Buffer(cpu, np.array([0, -1, 0, 2**31 - 1, 256], np.int32))
    ran: list[int] = []
    commands = mps.CommandBuffer(queue)
    for i in range(5):
        commands.predicate = mps.Predicate(buffer, 4 * i)
        commands.encode_host_function("note", lambda i=i: ran.append(i))
    commands.commit()
    commands.wait_until_completed()
    assert ran == [1, 3, 4]


def test_a_skipped_kernel_touches_nothing(cpu: mps.Device, queue: mps.CommandQueue) -> None:
    memory = np.full((1, 4, 4, 1), 7, np.float32)
    source = weight(8.0)
    predicate = mps.Predicate(cpu)
    predicate.value = 0
    commands = mps.CommandBuffer(queue)
    commands.predicate = predicate
    descent(cpu, source).encode(commands, {"x": memory, "gradient": memory})
    commands.commit()
    commands.wait_until_completed()
    assert cpu.read_parameter(source, "weights").item() == 8.0
    assert cpu.time_step(source) == 0


def test_the_null_device_records_what_was_not_skipped() -> None:
    null = mps.NullDevice()
    node = mps.UpsamplingNearestNode(mps.ImageNode("x"), 2)
    node.label = "up"
    graph = mps.Graph(null.device, [node.result_image])
    off = mps.Predicate(null.device)
    off.value = 0
    commands = mps.CommandBuffer(null.device.command_queue())
    graph.encode(commands, {"x": ONES})
    commands.predicate = off
    graph.encode(commands, {"x": ONES})
    commands.commit()
    commands.wait_until_completed()
    assert [(c.operation, c.label) for c in null.commands] == [("upsampling_nearest", "up")]
    assert null.allocated > 0
    null.clear_commands()
    assert null.commands == []


def test_the_null_device_fails_the_nth_kernel_and_the_next_buffer_runs() -> None:
    null = mps.NullDevice()
    graph = mps.Graph(null.device, [mps.UpsamplingNearestNode(mps.ImageNode("x"), 2).result_image])
    null.fail_command(2, "broken")
    queue = null.device.command_queue()
    commands = mps.CommandBuffer(queue)
    for _ in range(5):
        graph.encode(commands, {"x": ONES})
    commands.commit()
    with pytest.raises(mps.DeviceError, match=r"UpsamplingNearest.*broken"):
        commands.wait_until_completed()
    assert len(null.commands) == 2
    again = mps.CommandBuffer(queue)
    graph.encode(again, {"x": ONES})
    again.commit()
    again.wait_until_completed()
    assert len(null.commands) == 3


def chain(device: mps.Device, length: int) -> mps.Graph:
    """Many small kernels, none of which can be left out."""
    image = mps.ImageNode("x")
    for _ in range(length):
        image = mps.AdditionNode(image, image, secondary_scale=-0.5).result_image
    return mps.Graph(device, [image])


def test_skipping_a_kernel_costs_less_than_a_microsecond(
    cpu: mps.Device, queue: mps.CommandQueue
) -> None:
    graph = chain(cpu, 1000)
    off = mps.Predicate(cpu)
    off.value = 0
    best = float("inf")
    for _ in range(10):
        commands = mps.CommandBuffer(queue, auto_commit=False)
        commands.predicate = off
        for _ in range(10):
            graph.encode(commands, {"x": ONES})
        commands.commit()
        commands.wait_until_completed()
        times = commands.times
        best = min(best, (times.gpu_end - times.gpu_start) / 10_000)
    assert best < 1e-6


def test_twenty_steps_of_which_five_run_take_the_time_of_five(
    cpu: mps.Device, queue: mps.CommandQueue
) -> None:
    generator = np.random.Generator(np.random.Philox(1))
    descriptor = mps.ConvolutionDescriptor(3, 3, 16, 16)
    weights = generator.standard_normal((16, 3, 3, 16), dtype=np.float32) * np.float32(0.1)
    source = mps.ConvolutionDataSource(descriptor, weights, optimizer=mps.OptimizerAdam())
    step = descent(cpu, source)
    images = {
        name: mps.Image(cpu, generator.random((4, 96, 96, 16), dtype=np.float32))
        for name in ("x", "gradient")
    }
    predicate = mps.Predicate(cpu)

    def count_down() -> None:
        predicate.value -= 1

    def run(steps: int) -> float:
        predicate.value = 5
        started = time.perf_counter()
        commands = mps.CommandBuffer(queue)
        commands.predicate = predicate
        for _ in range(steps):
            step.encode(commands, images)
            commands.encode_host_function("count down", count_down)
        commands.commit()
        commands.wait_until_completed()
        return time.perf_counter() - started

    run(5)
    # The machine is shared: the best of several rounds is what the work itself takes.
    for _ in range(10):
        five, twenty = (min(run(steps) for _ in range(6)) for steps in (5, 20))
        if twenty <= 1.05 * five:
            return
    pytest.fail(f"20 steps: {1e3 * twenty:.2f} ms, 5 steps: {1e3 * five:.2f} ms")
