# SPDX-License-Identifier: MIT
"""What `DeviceKernel.encode_method` takes, and what an encode costs the host."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mpsnn as mps

ENCODES = 200


def matrix(device: mps.Device, rows: int = 8, columns: int = 8) -> mps.Matrix:
    return mps.Matrix.from_array(device, np.eye(rows, columns, dtype=np.float32))


def test_operands_alone_in_lists_and_left_out(cpu: mps.Device) -> None:
    a, b = matrix(cpu), matrix(cpu)
    bias = mps.Vector.from_array(cpu, np.arange(8, dtype=np.float32))
    kernel = mps.MatrixFullyConnected(cpu)
    forms: list[list[Any]] = [
        [a, b, None, bias],
        [[a], (b,), None, [bias]],
        [a, b, None, None],
        [a, b, None, []],
        [a, b, None],
    ]
    commands = mps.CommandBuffer(cpu.command_queue())
    results = [matrix(cpu) for _ in forms]
    for operands, result in zip(forms, results, strict=True):
        operands[2] = result
        kernel.encode_method(commands, "encode", operands)
    commands.commit()
    eye = np.eye(8, dtype=np.float32)
    for index, result in enumerate(results):
        expected = eye + np.arange(8, dtype=np.float32) if index < 2 else eye
        np.testing.assert_array_equal(np.asarray(result), expected)


def test_other_objects_are_told(cpu: mps.Device) -> None:
    a, kernel = matrix(cpu), mps.MatrixSoftMax(cpu)
    commands = mps.CommandBuffer(cpu.command_queue())
    with pytest.raises(mps.ArgumentTypeError, match="operands: expected a list, got 3"):
        kernel.encode_method(commands, "encode", 3)  # type: ignore[arg-type]
    with pytest.raises(mps.ArgumentTypeError, match="expected a Matrix, Vector, NDArray or Image"):
        kernel.encode_method(commands, "encode", [a, "result"])  # type: ignore[list-item]
    with pytest.raises(mps.InvalidArgumentError, match="result_matrix: expected Matrix, got none"):
        kernel.encode(commands, a, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="data_type: DataType"):
        mps.Matrix(cpu, rows=1, columns=1, data_type=1)  # type: ignore[call-overload]


def fastest(call: Callable[[], object], rounds: int = 25) -> float:
    """Seconds of one call, in the fastest of some rounds."""
    found = []
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(ENCODES):
            call()
        found.append((time.perf_counter() - started) / ENCODES)
    return min(found)


def test_encoding_is_little_work(cpu: mps.Device) -> None:
    # About 1.5 times a call of numpy's; 12 times where each encode copied what it looks for.
    eye = np.eye(8, dtype=np.float32)
    out = np.empty_like(eye)
    peer = fastest(lambda: np.matmul(eye, eye, out=out))
    a, b, c = matrix(cpu), matrix(cpu), matrix(cpu)
    kernel = mps.MatrixMultiplication(cpu)
    commands = mps.CommandBuffer(cpu.command_queue(), auto_commit=False)
    kernel.encode(commands, a, b, c)
    assert fastest(lambda: kernel.encode(commands, a, b, c)) < 5 * peer
