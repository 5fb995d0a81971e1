# SPDX-License-Identifier: MIT
# ruff: noqa: ANN401 (operands of all kinds pass through)
"""Copies of matrices by a descriptor, and optimizers encoded by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mpsnn as mps

SOURCE = np.arange(12, dtype=np.float32).reshape(3, 4)
Offsets = mps.MatrixCopyOffsets


def committed(cpu: mps.Device, record: Callable[[mps.CommandBuffer], None]) -> None:
    commands = mps.CommandBuffer(cpu.command_queue())
    record(commands)
    commands.commit()
    commands.wait_until_completed()


def copied(cpu: mps.Device, kernel: mps.MatrixCopy, descriptor: Any, **places: Any) -> None:
    committed(cpu, lambda commands: kernel.encode(commands, descriptor, **places))


def matrices(cpu: mps.Device) -> tuple[mps.Matrix, mps.Matrix]:
    return mps.Matrix.from_array(cpu, SOURCE), mps.Matrix(cpu, rows=3, columns=4)


def test_one_copy(cpu: mps.Device) -> None:
    source, destination = matrices(cpu)
    descriptor = mps.MatrixCopyDescriptor(source, destination, Offsets(1, 2, 0, 1))
    assert (descriptor.count, descriptor.offsets) == (1, [1, 2, 0, 1])
    copied(cpu, mps.MatrixCopy(cpu, copy_rows=2, copy_columns=2), descriptor)
    expected = np.zeros((3, 4))
    expected[:2, 1:3] = SOURCE[1:, 2:]
    np.testing.assert_array_equal(np.asarray(destination), expected)


def test_operations_are_set_one_by_one(cpu: mps.Device) -> None:
    """What was recorded stays as it is."""
    source, destination = matrices(cpu)
    descriptor = mps.MatrixCopyDescriptor(2)
    descriptor.set_copy_operation(0, source, destination)
    kernel = mps.MatrixCopy(cpu, copy_rows=1, copy_columns=1, offsets=[2, 2, 2, 2] * 2)
    with pytest.raises(mps.InvalidArgumentError, match=r"copy operation 1: expected to be set"):
        copied(cpu, kernel, descriptor)
    descriptor.set_copy_operation(1, source, destination, Offsets(0, 3, 2, 0))
    commands = mps.CommandBuffer(cpu.command_queue())
    kernel.encode(commands, descriptor)
    descriptor.set_copy_operation(1, source, destination, Offsets(2, 3, 1, 1))
    commands.commit()
    commands.wait_until_completed()
    expected = np.zeros((3, 4))
    expected[2, 0] = 3
    np.testing.assert_array_equal(np.asarray(destination), expected)
    copied(cpu, kernel, descriptor)
    expected[1, 1] = 11
    np.testing.assert_array_equal(np.asarray(destination), expected)
    assert kernel.offsets == [2, 2, 2, 2] * 2


def test_offsets_from_the_device_and_places(cpu: mps.Device) -> None:
    """The numbers are read when the copies run: work that is recorded before them writes some."""
    source, destination = matrices(cpu)
    numbers = mps.Vector.from_array(cpu, np.array([9, 9, 0, 1, 1, 0], np.uint32))
    descriptor = mps.MatrixCopyDescriptor([source], [destination], numbers, 8)
    assert descriptor.offsets == []
    assert descriptor.offset_vector is not None
    assert descriptor.offset_vector.length == 4
    rows = mps.Vector.from_array(cpu, np.array([7, 1, 0], np.uint32))
    kernel = mps.MatrixCopy(cpu, copy_rows=2, copy_columns=3, row_permute_offset=1)

    def raise_column(written: Any) -> None:
        written[5] = 1

    commands = mps.CommandBuffer(cpu.command_queue())
    mps.HostKernel(raise_column).encode(commands, [], [numbers])
    kernel.encode(commands, descriptor, row_permute_indices=rows)
    commands.commit()
    commands.wait_until_completed()
    expected = np.zeros((3, 4))
    expected[[2, 1], 1:] = SOURCE[:2, 1:]
    np.testing.assert_array_equal(np.asarray(destination), expected)


def test_bad_descriptors(cpu: mps.Device) -> None:
    source, destination = matrices(cpu)
    numbers = mps.Vector(cpu, length=4, data_type=mps.DataType.UINT32)
    made = mps.MatrixCopyDescriptor
    for text, make in [
        ("count: expected at least 1, got 0", lambda: made(0)),
        ("destination_matrices: expected 1 matrices", lambda: made([source], [])),
        ("source_matrices: expected at least one matrix", lambda: made([], [])),
        (
            "offset_vector: expected 4 elements from byte 4",
            lambda: made([source], [source], numbers, 4),
        ),
        ("byte_offset: expected a multiple of 4", lambda: made([source], [source], numbers, 2)),
        (
            "source_row_offset: expected at least 0, got -1",
            lambda: made(source, source, Offsets(-1)),
        ),
        ("index: expected below 2, got 2", lambda: made(2).set_copy_operation(2, source, source)),
        (
            "offsets: expected none beside a vector of offsets",
            lambda: made([source], [source], numbers).set_copy_operation(0, source, source),
        ),
        (
            "destination_matrices, offset_vector: expected none beside a descriptor",
            lambda: mps.MatrixCopy(cpu).encode(
                mps.CommandBuffer(cpu.command_queue()), made(source, destination), [destination]
            ),
        ),
        (
            "source_matrices: expected one matrix with rows and columns",
            lambda: copied(
                cpu,
                mps.MatrixCopy(cpu, copy_rows=3, copy_columns=1),
                made(source, destination, Offsets(1)),
            ),
        ),
    ]:
        with pytest.raises(mps.InvalidArgumentError, match=text):
            make()
    with pytest.raises(mps.ArgumentTypeError, match="offset_vector: expected uint32, got float32"):
        made([source], [source], mps.Vector(cpu, length=4))


GRADIENT = np.array([1.0, -2.0, 0.5, 4.0], np.float32)
VALUES = np.array([3.0, 4.0, -1.0, 0.25], np.float32)
KINDS: dict[str, Callable[[mps.Device, Any], Any]] = {
    "Vector": mps.Vector.from_array,
    "Matrix": lambda cpu, a: mps.Matrix.from_array(cpu, a.reshape(2, 2)),
    "NDArray": lambda cpu, a: mps.NDArray.from_array(cpu, a.reshape(2, 1, 2)),
    "Image": lambda cpu, a: mps.Image(cpu, a.reshape(1, 2, 2, 1)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("make", "moments"),
    [
        (lambda: mps.OptimizerStochasticGradientDescent(0.5), 0),
        (lambda: mps.OptimizerStochasticGradientDescent(0.5, 0.9, True), 1),
        (lambda: mps.OptimizerRMSProp(0.1, 0.75), 1),
        (lambda: mps.OptimizerAdam(0.1, 0.8, 0.9, 1e-6, 3), 2),
        (lambda: mps.OptimizerAdam(mps.OptimizerDescriptor(0.1), use_amsgrad=True), 3),
    ],
)
def test_optimizers_are_encoded_on_memory(
    cpu: mps.Device, make: Callable[[], Any], moments: int, kind: str
) -> None:
    """The same bits as the update kernels', two steps with two learning rates; in float64, too."""
    made = KINDS[kind]
    optimizer = make()
    own = {
        name: value
        for name, value in optimizer.attributes.items()
        if name not in {"type", "use_amsgrad"}
    }
    kernel: Any = mps.DeviceKernel(cpu, f"{type(optimizer).__name__}Update", own)
    found, expected = made(cpu, VALUES), made(cpu, VALUES)
    state = [[made(cpu, np.zeros(4, np.float32)) for _ in range(moments)] for _ in range(2)]
    g = made(cpu, GRADIENT)
    for rate in (0.5, 0.125):
        optimizer.learning_rate = rate
        kernel.set_attribute("learning_rate", rate)

        def record(commands: mps.CommandBuffer) -> None:
            optimizer.encode(commands, g, found, found, *state[0])
            lists = [[g], [expected], [expected], *([m] for m in state[1])]
            kernel.encode_method(commands, "encode", lists)

        committed(cpu, record)
    for a, b in zip((found, *state[0]), (expected, *state[1]), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert not np.array_equal(np.asarray(found).ravel(), VALUES)


def test_adam_counts_its_steps(cpu: mps.Device) -> None:
    """Steps of an optimizer are counted on from time_step; a copy of the formula in float64."""
    optimizer = mps.OptimizerAdam(0.1, 0.8, 0.9, 1e-6, 3)
    g, v = mps.Vector.from_array(cpu, GRADIENT), mps.Vector.from_array(cpu, VALUES)
    m, u = mps.Vector(cpu, length=4), mps.Vector(cpu, length=4)
    values, momentum, velocity = VALUES.astype(np.float64), np.zeros(4), np.zeros(4)
    for t in (4, 5, 6):
        committed(cpu, lambda commands: optimizer.encode(commands, g, v, v, m, u))
        momentum = 0.8 * momentum + 0.2 * GRADIENT
        velocity = 0.9 * velocity + 0.1 * GRADIENT.astype(np.float64) ** 2
        rate = 0.1 * np.sqrt(1 - 0.9**t) / (1 - 0.8**t)
        values -= rate * momentum / (np.sqrt(velocity) + 1e-6)
    np.testing.assert_allclose(np.asarray(v), values, rtol=1e-5)


def test_bad_operands_of_optimizers(cpu: mps.Device) -> None:
    commands = mps.CommandBuffer(cpu.command_queue())
    v, long = mps.Vector(cpu, length=4), mps.Vector(cpu, length=5)
    zeros = [mps.Vector(cpu, length=4) for _ in range(3)]
    adam, amsgrad = mps.OptimizerAdam(), mps.OptimizerAdam(use_amsgrad=True)
    momentum = mps.OptimizerStochasticGradientDescent(0.1, 0.5)
    with pytest.raises(mps.InvalidArgumentError, match="maximum_velocity: expected none without"):
        adam.encode(commands, v, v, v, *zeros)
    with pytest.raises(mps.InvalidArgumentError, match="maximum_velocity: expected an operand"):
        amsgrad.encode(commands, v, v, v, *zeros[:2])
    with pytest.raises(mps.InvalidArgumentError, match="momentum: expected operand"):
        momentum.encode(commands, v, v, v)
    with pytest.raises(mps.InvalidArgumentError, match="input_gradient: expected"):
        mps.OptimizerRMSProp().encode(commands, long, v, v, zeros[0])
    with pytest.raises(mps.ArgumentTypeError, match="expected a Matrix, Vector, NDArray or Image"):
        momentum.encode(commands, VALUES, v, v)  # type: ignore[arg-type]
