# SPDX-License-Identifier: MIT
"""Matrices, vectors and arrays as numpy and others see them; kernels of one's own."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest

import mpsnn as mps

RANDOM = np.random.default_rng(5)
TYPES = ["float32", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"]
VIEWS = [(mps.Matrix, (3, 4)), (mps.Matrix, (2, 3, 4)), (mps.Vector, (5,)), (mps.Vector, (2, 5))]
VIEWS += [(mps.NDArray, shape) for shape in [(1,), (1, 4), (2, 1, 3), (2, 3, 4, 2, 2)]]
View = type[mps.Matrix] | type[mps.Vector] | type[mps.NDArray]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("view", "shape"), VIEWS)
def test_arrays_go_in_and_out(
    cpu: mps.Device, view: View, shape: tuple[int, ...], dtype: str
) -> None:
    array = RANDOM.integers(0, 100, shape).astype(dtype)
    copy = view.from_array(cpu, array)
    assert copy.shape == shape
    assert copy.bytes == array.nbytes
    np.testing.assert_array_equal(np.asarray(copy), array)
    np.testing.assert_array_equal(copy.read(), array)
    assert np.asarray(copy).dtype == array.dtype
    copy.write(array + 1)
    np.testing.assert_array_equal(memoryview(copy), array + 1)
    assert not np.shares_memory(np.asarray(copy), array)


@pytest.mark.parametrize(("view", "shape"), VIEWS)
def test_wrap_shares_memory_and_keeps_the_array(
    cpu: mps.Device, view: View, shape: tuple[int, ...]
) -> None:
    array = np.zeros(shape, np.float32)
    held = sys.getrefcount(array)
    shared = view.wrap(cpu, array)
    array[...] = 3
    np.testing.assert_array_equal(np.asarray(shared), array)
    assert sys.getrefcount(array) > held
    del shared
    gc.collect()
    assert sys.getrefcount(array) == held


def test_views_of_strided_arrays(cpu: mps.Device) -> None:
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    rows = mps.Matrix.wrap(cpu, array[:, ::2, 1:4])
    assert rows.strides == (80, 40, 4)
    np.testing.assert_array_equal(rows.read(), array[:, ::2, 1:4])
    turned = mps.NDArray.wrap(cpu, array.transpose(2, 0, 1))
    np.testing.assert_array_equal(turned.read(), array.transpose(2, 0, 1))
    turned.write(np.zeros((5, 3, 4), np.float32))
    assert not array.any()


def test_what_cannot_be_shared_is_refused(cpu: mps.Device) -> None:
    array = np.zeros((4, 4), np.float32)
    with pytest.raises(mps.InvalidArgumentError, match="elements lie together"):
        mps.Matrix.wrap(cpu, array.T)
    with pytest.raises(mps.InvalidArgumentError, match="positive strides"):
        mps.Matrix.wrap(cpu, array[::-1])
    frozen = array.copy()
    frozen.setflags(write=False)
    with pytest.raises(mps.InvalidArgumentError, match="writable"):
        mps.Matrix.wrap(cpu, frozen)
    with pytest.raises(mps.ArgumentTypeError, match="float64"):
        mps.Matrix.wrap(cpu, array.astype(np.float64))
    with pytest.raises(mps.InvalidArgumentError, match="2 to 3 dimensions"):
        mps.Matrix.from_array(cpu, np.zeros(3, np.float32))
    matrix = mps.Matrix(cpu, rows=4, columns=4)
    with pytest.raises(mps.ArgumentTypeError, match="expected float32, got int32"):
        matrix.write(array.astype(np.int32))
    with pytest.raises(mps.InvalidArgumentError, match=r"expected shape \(4, 4\), got \(4, 3\)"):
        matrix.write(array[:, :3])


def test_views_of_one_buffer(cpu: mps.Device) -> None:
    buffer = mps.Buffer(cpu, 64)
    matrix = mps.Matrix(buffer, rows=2, columns=2, row_bytes=16, offset=4)
    vector = mps.Vector(buffer, length=16)
    matrix.write(np.array([[1, 2], [3, 4]], np.float32))
    np.testing.assert_array_equal(
        np.asarray(vector), [0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    )
    assert (matrix.rows, matrix.columns, matrix.matrices) == (2, 2, 1)
    assert (matrix.row_bytes, matrix.offset, matrix.buffer) == (16, 4, buffer)
    assert repr(vector) == "<mpsnn.Vector (16,) float32>"


def test_dlpack_both_ways(cpu: mps.Device) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    matrix = mps.Matrix.from_dlpack(cpu, array)
    assert np.shares_memory(np.asarray(matrix), array)
    assert np.shares_memory(np.from_dlpack(matrix), array)
    assert matrix.__dlpack_device__() == array.__dlpack_device__()


def test_torch_and_jax_through_dlpack(cpu: mps.Device) -> None:
    jnp = pytest.importorskip("jax.numpy")
    from_jax = mps.Matrix.from_array(cpu, np.asarray(jnp.ones((2, 3), jnp.float32)))
    np.testing.assert_array_equal(jnp.from_dlpack(from_jax), np.ones((2, 3)))
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    shared = mps.Matrix.from_dlpack(cpu, tensor)
    tensor[0, 0] = 7
    assert np.asarray(shared)[0, 0] == 7
    assert torch.from_dlpack(shared).data_ptr() == tensor.data_ptr()


def test_reading_waits_for_what_was_committed(cpu: mps.Device) -> None:
    x = mps.Matrix.from_array(cpu, np.zeros((64, 64), np.float32))
    kernel = mps.MatrixSoftMax(cpu)
    commands = mps.CommandBuffer(cpu.command_queue())
    for _ in range(50):
        kernel.encode(commands, x, x)
    before = x.read()
    assert not before.any()  # what was not committed is not seen
    commands.commit()
    np.testing.assert_allclose(np.asarray(x), 1 / 64, rtol=1e-5)


def test_a_host_kernel_gets_arrays(cpu: mps.Device) -> None:
    def double(source: np.ndarray, image: np.ndarray, result: np.ndarray) -> None:
        assert not source.flags.writeable
        assert image.shape == (1, 2, 2, 1)
        result[...] = 2 * source + image.sum()

    source = mps.Matrix.from_array(cpu, np.arange(4, dtype=np.int32).reshape(2, 2))
    image = mps.Image(cpu, np.ones((1, 2, 2, 1), np.float32))
    result = mps.Matrix(cpu, rows=2, columns=2, data_type=mps.DataType.INT32)
    commands = mps.CommandBuffer(cpu.command_queue())
    mps.HostKernel(double, "double").encode(commands, [source, image], [result])
    commands.commit()
    np.testing.assert_array_equal(np.asarray(result), [[4, 6], [8, 10]])


def test_a_host_kernel_writes_strided_parts(cpu: mps.Device) -> None:
    whole = np.zeros((4, 4), np.float32)
    part = mps.Matrix.wrap(cpu, whole[1:3, 1:3])
    commands = mps.CommandBuffer(cpu.command_queue())
    mps.HostKernel(lambda to: to.fill(1)).encode(commands, writes=[part])
    commands.commit()
    commands.wait_until_completed()
    assert whole.sum() == 4
    assert whole[1:3, 1:3].all()


def test_a_host_kernels_exception_is_the_commands_error(cpu: mps.Device) -> None:
    result = mps.Matrix(cpu, rows=1, columns=1)
    commands = mps.CommandBuffer(cpu.command_queue())
    mps.HostKernel(lambda _to: 1 / 0, "broken").encode(commands, writes=[result])
    commands.commit()
    with pytest.raises(mps.DeviceError, match="broken") as raised:
        commands.wait_until_completed()
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_a_host_kernel_obeys_predicates(cpu: mps.Device) -> None:
    calls: list[int] = []
    commands = mps.CommandBuffer(cpu.command_queue())
    predicate = mps.Predicate(cpu)
    commands.predicate = predicate
    kernel = mps.HostKernel(lambda: calls.append(1) if predicate.value else None)
    kernel.encode(commands)
    stop = mps.HostKernel(lambda: setattr(predicate, "value", 0))
    stop.encode(commands)
    kernel.encode(commands)
    commands.commit()
    commands.wait_until_completed()
    assert calls == [1]


def test_host_kernels_refuse_what_is_no_operand(cpu: mps.Device) -> None:
    commands = mps.CommandBuffer(cpu.command_queue())
    with pytest.raises(mps.ArgumentTypeError, match="expected a Matrix, Vector, NDArray or Image"):
        mps.HostKernel(print).encode(commands, [np.zeros(3)])  # type: ignore[list-item]
    with pytest.raises(mps.ArgumentTypeError, match="expected a function"):
        mps.HostKernel(3)  # type: ignore[arg-type]
