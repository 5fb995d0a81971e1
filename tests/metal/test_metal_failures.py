# SPDX-License-Identifier: MIT
"""What fails on the device, on the double, which fails once where it is asked to.

Run by tools/run_metal_double.py, as test_metal_double.py is.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import time
from contextlib import nullcontext

import numpy as np
import pytest

import mpsnn as mps

ALLOCATION, ENCODE, RUN, REMOVAL, SIZE, FOREIGN = 1, 2, 3, 5, 7, 8


@pytest.fixture(scope="module")
def device() -> mps.Device:
    return mps.Device("metal-double")


def fail_next(kind: int) -> None:
    """The next allocation, encode or command buffer fails; those after it do not."""
    ctypes.CDLL(os.environ["MPSNN_METAL_DOUBLE"]).metal_double_fail(kind)


def softmax(
    device: mps.Device, commands: mps.CommandBuffer, label: str = "rows"
) -> tuple[mps.Matrix, mps.Matrix]:
    x = mps.Matrix.from_array(device, np.zeros((1, 4), np.float32))
    y = mps.Matrix(device, rows=1, columns=4)
    mps.MatrixSoftMax(device, label=label).encode(commands, x, y)
    return x, y


@pytest.mark.parametrize("traces", [False, True])
def test_an_encode_that_fails_is_an_error_of_its_buffer(device: mps.Device, traces: bool) -> None:
    queue = device.command_queue()
    commands, later = mps.CommandBuffer(queue), mps.CommandBuffer(queue)
    softmax(device, commands)
    _, y = softmax(device, later)
    with mps.Trace() if traces else nullcontext():
        fail_next(ENCODE)
        commands.commit()
        with pytest.raises(mps.DeviceError, match=r"rows.*it was asked to fail"):
            commands.wait_until_completed()
        later.commit()
        later.wait_until_completed()
    np.testing.assert_array_equal(y, np.full((1, 4), 0.25, np.float32))


def test_a_command_buffer_that_fails_is_told_with_what_metal_says(device: mps.Device) -> None:
    queue = device.command_queue()
    commands, later = mps.CommandBuffer(queue), mps.CommandBuffer(queue)
    softmax(device, commands)
    _, y = softmax(device, later)
    fail_next(RUN)
    commands.commit()
    with pytest.raises(mps.DeviceError, match='"rows": command buffer: the GPU hung'):
        commands.wait_until_completed()
    later.commit()
    later.wait_until_completed()
    np.testing.assert_array_equal(y, np.full((1, 4), 0.25, np.float32))


def test_a_device_that_was_removed_is_lost(device: mps.Device) -> None:
    commands = mps.CommandBuffer(device.command_queue())
    softmax(device, commands)
    fail_next(REMOVAL)
    commands.commit()
    with pytest.raises(mps.DeviceLostError, match='"rows": command buffer: the device was removed'):
        commands.wait_until_completed()


def test_the_code_of_a_removed_device_in_another_domain_loses_none(device: mps.Device) -> None:
    commands = mps.CommandBuffer(device.command_queue())
    softmax(device, commands)
    fail_next(FOREIGN)
    commands.commit()
    with pytest.raises(mps.DeviceError, match='"rows": command buffer: no more processes') as error:
        commands.wait_until_completed()
    assert not isinstance(error.value, mps.DeviceLostError)


def test_times_are_the_devices_own(device: mps.Device) -> None:
    """Work that the device holds back begins when it is let go, not when it was encoded."""
    double = ctypes.CDLL(os.environ["MPSNN_METAL_DOUBLE"])
    commands = mps.CommandBuffer(device.command_queue())
    softmax(device, commands)
    double.metal_double_hold(1)
    commands.commit()
    time.sleep(0.05)
    released = time.monotonic()
    double.metal_double_hold(0)
    commands.wait_until_completed()
    times = commands.times
    assert released - 1e-3 <= times.gpu_start <= times.gpu_end <= time.monotonic() + 1e-3
    assert times.kernel_start < released


def test_memory_of_the_callers_that_is_too_large(device: mps.Device) -> None:
    """The double's largest buffer has 4 GiB; the pages are never touched."""
    rows = (1 << 30) + 1024
    with mmap.mmap(-1, 4 * rows, flags=mmap.MAP_PRIVATE | 0x4000) as memory:  # MAP_NORESERVE
        values = np.frombuffer(memory, np.float32).reshape(rows, 1)
        with pytest.raises(mps.UnsupportedError, match="at most 4294967296 bytes of the caller's"):
            mps.Matrix.wrap(device, values)
        del values


def test_results_of_another_size_than_planned_are_not_copied(device: mps.Device) -> None:
    """A copy into memory that is too small would end the process."""
    graph = mps.Graph(device, [mps.NeuronReLUNode(mps.ImageNode("x")).result_image])
    commands = mps.CommandBuffer(device.command_queue())
    graph.encode(commands, {"x": np.zeros((2, 3, 4, 5), np.float32)})
    fail_next(SIZE)
    commands.commit()
    text = r"expected float32 \(2, 3, 4, 5\), got dims of float32 \(2, 3, 5, 5\)"
    with pytest.raises(mps.DeviceError, match=text):
        commands.wait_until_completed()


@pytest.mark.parametrize("one_read", [False, True])
def test_a_source_that_several_nodes_read_is_given_back(device: mps.Device, one_read: bool) -> None:
    """Whichever of the two things is true that MPSNNGraph.h says (conftest.py looks for images)."""
    double = ctypes.CDLL(os.environ["MPSNN_METAL_DOUBLE"])
    x = mps.ImageNode("x")
    node = mps.AdditionNode(
        mps.NeuronReLUNode(x).result_image, mps.NeuronAbsoluteNode(x).result_image
    )
    graph = mps.Graph(device, [node.result_image])
    commands = mps.CommandBuffer(device.command_queue())
    double.metal_double_one_read(int(one_read))
    try:
        (y,) = graph.encode(commands, {"x": np.full((2, 3, 4, 5), -2, np.float32)})
        commands.commit()
        commands.wait_until_completed()
    finally:
        double.metal_double_one_read(0)
    np.testing.assert_array_equal(np.array(y), np.full((2, 3, 4, 5), 2, np.float32))


@pytest.mark.parametrize("uncounted", [False, True])
def test_reads_of_kernels_that_are_no_cnn_kernels(device: mps.Device, uncounted: bool) -> None:
    """Whether MPS counts them or not (conftest.py looks for images that were not read)."""
    double = ctypes.CDLL(os.environ["MPSNN_METAL_DOUBLE"])
    image = mps.Image(device, array=np.ones((2, 3, 4, 6), np.float32))
    graph = mps.Graph(device, [mps.NeuronReLUNode(mps.ImageNode("x")).result_image])
    blurred = mps.Image(device, size=(2, 3, 4, 6))
    commands = mps.CommandBuffer(device.command_queue())
    double.metal_double_uncounted(int(uncounted))
    try:
        (y,) = graph.encode(commands, {"x": image})
        mps.ImageBox(device, kernel_width=1, kernel_height=1).encode(commands, y, blurred)
        commands.commit()
        commands.wait_until_completed()
    finally:
        double.metal_double_uncounted(0)
    np.testing.assert_array_equal(np.array(blurred), np.ones((2, 3, 4, 6)))


@pytest.mark.parametrize("listing", [0, 1, 2, 3, 4, 6])
def test_results_are_known_however_mps_lists_them(device: mps.Device, listing: int) -> None:
    """MPSNNGraph.h leaves open where results but the first are, which are exported, too.

    Among the exported images only, or behind them again; those that are not needed may be there,
    with handles or without.
    """
    double = ctypes.CDLL(os.environ["MPSNN_METAL_DOUBLE"])
    x = mps.ImageNode("x")
    first, second, third, unseen = (mps.NeuronLinearNode(x, a=float(a)) for a in (1, 2, 3, 5))
    seen = mps.NeuronLinearNode(x, a=4.0)
    seen.result_image.handle = "seen"
    seen.result_image.export_from_graph = True
    last = mps.AdditionNode(third.result_image, seen.result_image)
    results = [one.result_image for one in (first, unseen, second, last)]
    graph = mps.Graph(device, results, results_are_needed=[True, False, True, True])
    commands = mps.CommandBuffer(device.command_queue())
    double.metal_double_list(listing)
    try:
        made = graph.encode(commands, {"x": np.ones((2, 1, 1, 1), np.float32)})
        commands.commit()
        commands.wait_until_completed()
    finally:
        double.metal_double_list(0)
    assert made[1] is None
    images = [made[0], made[2], made[3], made["seen"]]
    assert [float(np.array(one)[1, 0, 0, 0]) for one in images] == [1, 2, 7, 4]


def test_a_handler_may_wait_for_the_same_graph_on_another_queue(device: mps.Device) -> None:
    """Work that waits for the device runs handlers of earlier work, and must hold no lock then.

    Generators have one of their own: they are a queue's each, as one would be ordered.
    """
    normal = mps.MatrixRandomDistributionDescriptor.normal(0.0, 1.0)
    kernels = {
        label: mps.MatrixRandomPhilox(
            device, data_type=mps.DataType.FLOAT32, distribution_descriptor=normal
        )
        for label in ("first", "second")
    }
    source = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(1, 1, 1, 1), np.ones((1, 1, 1, 1), np.float32)
    )
    graph = mps.Graph(device, [mps.ConvolutionNode(mps.ImageNode("x"), source).result_image])
    first, second = device.command_queue("first"), device.command_queue("second")
    done: list[str] = []

    def work(queue: mps.CommandQueue) -> mps.CommandBuffer:
        commands = mps.CommandBuffer(queue)
        kernels[queue.label].encode(commands, mps.Matrix(device, rows=4, columns=4))
        graph.encode(commands, {"x": np.ones((1, 1, 1, 1), np.float32)})
        return commands

    def handler(_: mps.CommandBuffer) -> None:
        other = work(second)
        other.commit()
        other.wait_until_completed()
        done.append("other")

    def steps() -> None:
        for _ in range(4):
            commands = work(first)
            commands.add_completed_handler(handler)
            commands.commit()
        first.wait_until_idle()

    thread = threading.Thread(target=steps, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert done == ["other"] * 4


def test_no_normal_number_is_nan(device: mps.Device) -> None:
    """The first word of this seed is 0x14e, whose 23 bits above are 0: NaN, by Apple's kernel."""
    found = []
    for one in (device, mps.Device("cpu")):
        normal = mps.MatrixRandomDistributionDescriptor.normal(2.0, 3.0)
        kernel = mps.MatrixRandomPhilox(
            one,
            data_type=mps.DataType.FLOAT32,
            seed=75465,
            distribution_descriptor=normal,
        )
        result = mps.Matrix(one, rows=1, columns=5)
        commands = mps.CommandBuffer(one.command_queue())
        kernel.encode(commands, result)
        commands.commit()
        found.append(np.array(result))
    assert np.isfinite(found[0]).all()
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert found[0][0, 0] == pytest.approx(2 - 3 * 5.294704, abs=1e-5)


def test_memory_that_the_device_has_not(device: mps.Device) -> None:
    device.trim()
    fail_next(ALLOCATION)
    with pytest.raises(
        mps.OutOfMemoryError, match=r'"Metal double" has no .* bytes of memory left'
    ):
        mps.Matrix(device, rows=1000, columns=1000)
    mps.Matrix(device, rows=1000, columns=1000)


def test_memory_of_a_kernel_that_the_device_has_not(device: mps.Device) -> None:
    """The status of a factorisation."""
    factors = mps.MatrixDecompositionLU(device)
    for fails in (True, False):
        x = mps.Matrix.from_array(device, np.eye(2, dtype=np.float32))
        pivots = mps.Matrix(device, rows=1, columns=2, data_type=mps.DataType.UINT32)
        commands = mps.CommandBuffer(device.command_queue())
        factors.encode(commands, x, x, pivots)
        fail_next(ALLOCATION if fails else 0)
        commands.commit()
        if fails:
            with pytest.raises(mps.DeviceError, match="the device has no memory left"):
                commands.wait_until_completed()
        else:
            commands.wait_until_completed()


@pytest.mark.parametrize("value", [0, 1])
def test_an_optimizer_under_a_predicate(device: mps.Device, value: int) -> None:
    v, g, m, u = (mps.Vector.from_array(device, np.full(3, x, np.float32)) for x in (1, 1, 0, 0))
    predicate = mps.Predicate(device)
    predicate.value = value
    commands = mps.CommandBuffer(device.command_queue())
    commands.predicate = predicate
    mps.OptimizerAdam(0.5).encode(commands, g, v, v, m, u)
    commands.commit()
    commands.wait_until_completed()
    np.testing.assert_allclose(v, np.full(3, 0.5 if value else 1), rtol=1e-5)


def test_a_product_that_lies_in_columns(device: mps.Device) -> None:
    generator = np.random.default_rng(2)
    left, right = (
        generator.integers(-3, 4, shape).astype(np.float32) for shape in ((2, 3), (3, 4))
    )
    result = mps.NDArray(device, shape=[4, 2])
    commands = mps.CommandBuffer(device.command_queue())
    mps.NDArrayMatrixMultiplication(device).encode(
        commands,
        mps.NDArray.from_array(device, left),
        mps.NDArray.from_array(device, right),
        result.transposed(0, 1),
    )
    commands.commit()
    np.testing.assert_array_equal(result, (left @ right).T)


def test_a_gradient_without_a_factor_is_refused(device: mps.Device) -> None:
    x, g, y = (mps.Matrix(device, rows=2, columns=2) for _ in range(3))
    bias = mps.Vector(device, length=2)
    with pytest.raises(mps.UnsupportedError, match="its gradient is times alpha, which is 0"):
        mps.MatrixNeuronGradient(device, alpha=0.0).encode(
            mps.CommandBuffer(device.command_queue()),
            g,
            x,
            y,
            result_gradient_for_bias_vector=bias,
        )
