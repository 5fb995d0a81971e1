# SPDX-License-Identifier: MIT
"""Kernels with their operands, encoded together as often as wanted."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

import numpy as np
import pytest

import mpsnn as mps


def matrix(device: mps.Device, value: float, rows: int = 2, columns: int = 2) -> mps.Matrix:
    """All elements are the value."""
    return mps.Matrix.from_array(device, np.full((rows, columns), value, np.float32))


def doubling(device: mps.Device) -> mps.MatrixNeuron:
    """2x + 1."""
    return mps.MatrixNeuron(
        device,
        neuron_type=mps.NeuronType.LINEAR,
        neuron_parameter_a=2.0,
        neuron_parameter_b=1.0,
        label="twice",
    )


def run(sequence: mps.KernelSequence, times: int = 1) -> None:
    """Encoded so often on one command buffer."""
    commands = mps.CommandBuffer(sequence.device.command_queue())
    for _ in range(times):
        sequence.encode(commands)
    commands.commit()
    commands.wait_until_completed()


def test_each_encode_runs_all_kernels_in_their_order(device: mps.Device) -> None:
    x, y = matrix(device, 1), matrix(device, 0)
    copy = mps.MatrixCopy(device)
    sequence = mps.KernelSequence(device, "step")
    sequence.add(doubling(device), [x, y, None])
    sequence.add(copy, [[y], [x], None, None, None])
    assert (len(sequence), sequence.label) == (2, "step")
    run(sequence, 3)
    assert (x.read() == 15).all()  # 1, 3, 7, 15
    run(sequence)
    assert (x.read() == 31).all()


def test_kernels_with_temporaries_and_other_methods(device: mps.Device) -> None:
    generator = np.random.default_rng(4)
    a, b = (
        mps.Matrix.from_array(device, generator.random((4, 4)).astype(np.float32)) for _ in "ab"
    )
    once, gradient = matrix(device, 0, 4, 4), matrix(device, 0, 4, 4)
    sequence = mps.KernelSequence(device)
    sequence.add(mps.MatrixMultiplication(device), [a, b, once])
    back = mps.MatrixFullyConnectedGradient(device)
    sequence.add(back, [a, b, gradient], method="encode_gradient_for_data")
    commands = mps.CommandBuffer(device.command_queue())
    for _ in range(3):
        sequence.encode(commands)
        commands.commit_and_continue()
    commands.commit()
    np.testing.assert_allclose(once.read(), a.read() @ b.read(), rtol=1e-5)
    np.testing.assert_allclose(gradient.read(), a.read() @ b.read().T, rtol=1e-5)


def test_a_generator_goes_on(device: mps.Device) -> None:
    kernel, twin = (mps.MatrixRandomPhilox(device, seed=7) for _ in range(2))
    integers = mps.DataType.UINT32
    first, second = (mps.Matrix(device, rows=2, columns=4, data_type=integers) for _ in range(2))
    sequence = mps.KernelSequence(device)
    sequence.add(kernel, [first])
    run(sequence, 3)
    commands = mps.CommandBuffer(device.command_queue())
    for _ in range(3):
        twin.encode(commands, second)
    commands.commit()
    assert np.array_equal(first.read(), second.read())


def test_parameters_are_those_of_when_a_kernel_was_added(device: mps.Device) -> None:
    kernel, y = doubling(device), matrix(device, 0)
    sequence = mps.KernelSequence(device)
    sequence.add(kernel, [matrix(device, 1), y, None])
    kernel.neuron_parameter_a = 5.0
    run(sequence)
    assert (y.read() == 3).all()
    sequence.add(kernel, [matrix(device, 1), y, None], changed={"neuron_parameter_b": 3.0})
    run(sequence)
    assert (y.read() == 8).all()


def test_predicates_are_those_of_each_encode(device: mps.Device) -> None:
    x = matrix(device, 1)
    sequence = mps.KernelSequence(device)
    sequence.add(doubling(device), [x, x, None])
    flags = mps.Buffer(device, np.array([0, 1], np.int32))
    commands = mps.CommandBuffer(device.command_queue())
    for place in (0, 1, 0):
        commands.predicate = mps.Predicate(flags, 4 * place)
        sequence.encode(commands)
    commands.commit()
    assert (x.read() == 3).all()


def test_it_holds_kernels_and_memory(device: mps.Device) -> None:
    y = matrix(device, 0)
    sequence = mps.KernelSequence(device)
    sequence.add(doubling(device), [matrix(device, 4), y, None])
    gc.collect()
    run(sequence)
    assert (y.read() == 9).all()


def test_several_threads_encode_it(device: mps.Device) -> None:
    x, y = matrix(device, 1), matrix(device, 0)
    sequence = mps.KernelSequence(device)
    sequence.add(mps.MatrixMultiplication(device, beta=1.0), [x, x, y])  # adds 2
    threads = [threading.Thread(target=run, args=(sequence, 25)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (y.read() == 200).all()


def test_labels_in_a_timeline(cpu: mps.Device) -> None:
    sequence = mps.KernelSequence(cpu, "step")
    sequence.add(doubling(cpu), [matrix(cpu, 1), matrix(cpu, 0), None])
    with mps.capture() as trace:
        run(sequence, 2)
    names = [span.name for span in trace.spans if span.kind == mps.SpanKind.ENCODE]
    assert names == ["step", "step"]
    assert [span.name for span in trace.spans if span.kernel] == ["twice", "twice"]


BAD: dict[str, tuple[Callable[[mps.KernelSequence], None], type[mps.Error], str]] = {
    "sizes": (
        lambda s: s.add(doubling(s.device), [matrix(s.device, 1), matrix(s.device, 0, 3), None]),
        mps.InvalidArgumentError,
        'MatrixNeuron "twice": ',
    ),
    "too few operands": (
        lambda s: s.add(doubling(s.device), [matrix(s.device, 1)]),
        mps.InvalidArgumentError,
        'MatrixNeuron "twice": ',
    ),
    "no operand": (
        lambda s: s.add(doubling(s.device), [1, 2, None]),  # type: ignore[list-item]
        mps.ArgumentTypeError,
        "operand: expected a Matrix, Vector, NDArray or Image, got 1",
    ),
    "overlap": (
        lambda s: s.add(mps.MatrixMultiplication(s.device), [m := matrix(s.device, 1), m, m]),
        mps.InvalidArgumentError,
        "memory apart from",
    ),
    "a method that there is not": (
        lambda s: s.add(doubling(s.device), [], method="decode"),
        mps.InvalidArgumentError,
        'MatrixNeuron "twice": method: expected encode, got "decode"',
    ),
    "a parameter that there is not": (
        lambda s: s.add(
            doubling(s.device), [matrix(s.device, 1)] * 2 + [None], changed={"gamma": 1.0}
        ),
        mps.InvalidArgumentError,
        "gamma",
    ),
    "a kernel of another device": (
        lambda s: s.add(doubling(mps.Device("cpu")), []),
        mps.InvalidArgumentError,
        'KernelSequence "step": kernel: expected one of device "null", got MatrixNeuron "twice" of',
    ),
    "a command buffer of another device": (
        lambda s: s.encode(mps.CommandBuffer(mps.Device("cpu").command_queue())),
        mps.InvalidArgumentError,
        'KernelSequence "step": commands: expected a command buffer of device "null", got one of',
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_leave_the_sequence_as_it_was(name: str) -> None:
    call, error, text = BAD[name]
    device = mps.Device("null")
    sequence = mps.KernelSequence(device, "step")
    sequence.add(doubling(device), [matrix(device, 1), matrix(device, 0), None])
    with pytest.raises(error, match=text):
        call(sequence)
    assert len(sequence) == 1
    run(sequence)
