# SPDX-License-Identifier: MIT
# ruff: noqa: ANN401 (kernels of all kinds pass through)
"""Kernels that are encoded one by one on the double: the shared cases, random numbers, predicates.

Run by tools/run_metal_double.py, with the module that is built against the double.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/python")]

import test_image_kernels as image_tests  # noqa: E402
import test_kernel_sequence as sequence_tests  # noqa: E402
import test_matrix_kernels as matrix_tests  # noqa: E402
import test_random as random_tests  # noqa: E402
from cases.image_kernels import ImageCase  # noqa: E402
from cases.matrix_kernels import KernelCase  # noqa: E402
from cases.matrix_random import KERNEL_CASES as RANDOM_CASES  # noqa: E402
from cases.matrix_random import RandomCase  # noqa: E402
from kernel_memory import Memory  # noqa: E402

import mpsnn as mps  # noqa: E402
from mpsnn import selftest, selftest_cases  # noqa: E402

# Why MPS may not hold a case of a kernel that it has; each stands in the reason of a refusal.
REASONS = (
    "it sums two matrices or more",
    "its gradient is times alpha",
    "its results are float32",
    "MPS converts float16 and float32",
    "MPS makes uint32 and float32",
    "it finds at most 16 values",
    "rows whose elements lie together",
    "there is no kernel for this operation",
    "expected one mean a column",
)
# Kernels of which no case runs: what they need is not in MPS, or not encoded yet.
REFUSED: set[str] = set()
RAN: set[str] = set()


@pytest.fixture(scope="module")
def device() -> mps.Device:
    return mps.Device("metal-double")


def check_refusal(error: mps.UnsupportedError) -> None:
    """Skips where MPS cannot; fails where the error names no reason that is known."""
    reason = str(error)
    assert any(known in reason for known in REASONS), reason
    pytest.skip(reason.splitlines()[-1].strip())


@pytest.mark.parametrize("case", matrix_tests.KERNEL_CASES, ids=lambda case: case.name)
def test_matrix_kernels(device: mps.Device, case: KernelCase) -> None:
    try:
        matrix_tests.check_case(device, case, Memory)
    except mps.UnsupportedError as error:
        check_refusal(error)
    RAN.add(case.kernel)


def test_all_matrix_kernels_ran_but_those_that_cannot() -> None:
    classes = {case.kernel for case in matrix_tests.KERNEL_CASES}
    assert classes - RAN == REFUSED & classes, sorted(classes - RAN)


@pytest.mark.parametrize("case", image_tests.KERNEL_CASES, ids=lambda case: case.id)
def test_image_kernels(device: mps.Device, case: ImageCase) -> None:
    try:
        image_tests.test_values(device, case, (np.float32, np.float32))
    except mps.UnsupportedError as error:
        check_refusal(error)
    RAN.add(case.kernel)


def test_all_image_kernels_ran_but_those_that_cannot() -> None:
    classes = {case.kernel for case in image_tests.KERNEL_CASES}
    assert classes - RAN == REFUSED & classes, sorted(classes - RAN)


MANY: tuple[int, ...] = (2, 5, 7, 11)  # more channels than a texture holds


@pytest.mark.parametrize(
    "case",
    [
        image_tests.ImageCase(
            "ImageConvolution",
            (MANY,),
            MANY,
            {"kernel_width": 3, "kernel_height": 1, "weights": [1.0, 2.0, -1.0], "bias": 1.0},
        ),
        image_tests.ImageCase("ImageBilinearScale", (MANY,), (2, 3, 9, 11), exact=False),
        image_tests.ImageCase("ImageLaplacian", (MANY,), MANY, {"clip_rect": [2, 1, 3, 2]}),
        image_tests.ImageCase("ImageSobel", (MANY,), MANY, exact=False),
    ],
    ids=lambda case: case.id,
)
def test_filters_of_many_channels(device: mps.Device, case: ImageCase) -> None:
    image_tests.test_values(device, case, (np.float32, np.float32))


def test_image_kernels_as_measured(device: mps.Device) -> None:
    image_tests.test_laplacian_as_measured(device)
    image_tests.test_sum_as_measured(device)
    image_tests.test_positions_far_away_and_not_finite(device)


def filled(
    device: mps.Device, case: RandomCase, times: int = 1, kernel: Any = None
) -> list[np.ndarray]:
    """What a random case's destination holds after each of several encodes."""
    made = []
    kernel = kernel or random_tests.make(device, case.kernel, case.attributes)
    for _ in range(times):
        data_type = case.attributes.get("data_type", mps.DataType.UINT32)
        dtype = np.dtype(data_type.name.lower())
        *batch, length = case.shape
        whole = np.zeros(case.offset + int(np.prod(batch)) * (length + case.gap), dtype)
        buffer = mps.Buffer(device, whole)
        row = (length + case.gap) * dtype.itemsize
        place: dict[str, Any] = {"data_type": data_type, "offset": case.offset * dtype.itemsize}
        operand: Any
        if len(batch) == 1:
            operand = mps.Vector(buffer, length=length, vectors=batch[0], vector_bytes=row, **place)
        else:
            operand = mps.Matrix(
                buffer, matrices=batch[0], rows=batch[1], columns=length, row_bytes=row, **place
            )
        commands = mps.CommandBuffer(device.command_queue())
        kernel.encode(commands, operand)
        commands.commit()
        commands.wait_until_completed()
        made.append(np.frombuffer(buffer.read(), dtype).copy())
    return made


@pytest.mark.parametrize(
    "case", [c for c in RANDOM_CASES if "Philox" in c.kernel], ids=lambda case: case.id
)
def test_philox_agrees_with_the_cpu(device: mps.Device, case: RandomCase) -> None:
    try:
        own = filled(device, case, 3)
    except mps.UnsupportedError as error:
        check_refusal(error)
    for a, b in zip(own, filled(mps.Device("cpu"), case, 3), strict=True):
        if case.attributes.get("distribution_type") == mps.MatrixRandomDistribution.NORMAL:
            np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-5)
        else:
            np.testing.assert_array_equal(a, b)


def test_mtgp32_goes_on_and_repeats(device: mps.Device) -> None:
    case = RandomCase("mtgp32", "MatrixRandomMTGP32", (1, 1000), {"seed": 5})
    first, second = filled(device, case, 2)
    assert np.mean(first == second) < 0.01
    whole = RandomCase("mtgp32", "MatrixRandomMTGP32", (1, 2000), {"seed": 5})
    np.testing.assert_array_equal(np.concatenate([first, second]), filled(device, whole)[0])


def test_a_stream_goes_on_from_a_state(device: mps.Device) -> None:
    """Kernels of other sizes and a copy of the state go on where the stream is."""
    odd = RandomCase("odd", "MatrixRandomPhilox", (1, 7), {"seed": 3})
    kernel = mps.MatrixRandomPhilox(device, seed=3)
    pieces = [filled(device, odd, kernel=kernel)[0]]
    restored = mps.MatrixRandomPhilox(device, seed=3)
    restored.write_state(kernel.read_state())
    even = RandomCase("even", "MatrixRandomPhilox", (1, 12), {"seed": 3})
    pieces += [filled(device, even, kernel=kernel)[0], filled(device, odd, kernel=kernel)[0]]
    whole = filled(mps.Device("cpu"), RandomCase("", "MatrixRandomPhilox", (1, 26), {"seed": 3}))[0]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    np.testing.assert_array_equal(filled(device, even, kernel=restored)[0], whole[7:19])


def test_predicates_and_pieces(device: mps.Device) -> None:
    """A skipped kernel leaves destination and state alone."""
    predicate = mps.Predicate(device)
    kernel = mps.MatrixRandomPhilox(device, data_type=mps.DataType.FLOAT32)
    numbers = [mps.Matrix(device, rows=1, columns=8) for _ in range(3)]
    total = mps.Matrix(device, rows=1, columns=8)
    ones = mps.Matrix.from_array(device, np.ones((1, 1), np.float32))
    commands = mps.CommandBuffer(device.command_queue())
    for value, matrix in zip((1, 0, 1), numbers, strict=True):
        predicate.value = value
        commands.predicate = predicate
        kernel.encode(commands, matrix)
        mps.MatrixMultiplication(device, beta=1.0).encode(commands, ones, matrix, total)
        commands.commit_and_continue()
        commands.wait_until_completed()
    commands.commit()
    commands.wait_until_completed()
    values = [np.asarray(matrix) for matrix in numbers]
    assert not values[1].any()
    plain = mps.Matrix(device, rows=1, columns=16)
    commands = mps.CommandBuffer(device.command_queue())
    mps.MatrixRandomPhilox(device, data_type=mps.DataType.FLOAT32).encode(commands, plain)
    commands.commit()
    np.testing.assert_array_equal(np.concatenate([values[0], values[2]], 1), np.asarray(plain))
    np.testing.assert_array_equal(np.asarray(total), values[0] + values[2])


def arrays(device: mps.Device, indices: list[int]) -> tuple[mps.NDArray, mps.NDArray, mps.NDArray]:
    """Source, indices and result of 2 x 2 values."""
    values = [np.ones((2, 2), np.float32) for _ in "ab"]
    first, last = (mps.NDArray.from_array(device, value) for value in values)
    return first, mps.NDArray.from_array(device, np.array(indices, np.int32)), last


@pytest.mark.parametrize("value", [0, 1])
def test_predicates_skip_what_waits_for_indices(device: mps.Device, value: int) -> None:
    source, indices, result = arrays(device, [0, 0])
    gradient = mps.NDArray.from_array(device, np.ones((2, 2), np.float32))
    predicate = mps.Predicate(device)
    predicate.value = value
    commands = mps.CommandBuffer(device.command_queue())
    commands.predicate = predicate
    mps.NDArrayGatherGradient(device).encode(commands, gradient, indices, result)
    mps.NDArrayGather(device).encode(commands, result, indices, source)
    commands.commit()
    commands.wait_until_completed()
    np.testing.assert_array_equal(result, [[2, 2], [0, 0]] if value else np.ones((2, 2)))
    np.testing.assert_array_equal(source, np.full((2, 2), 2 if value else 1))


def test_a_host_function_sees_what_ran_before_it(device: mps.Device) -> None:
    """A kernel counts down what decides whether later steps run, host functions among them."""
    memory = mps.Buffer(device, 4)
    steps_left = mps.Matrix(memory, rows=1, columns=1, data_type=mps.DataType.UINT32)
    steps_left.write(np.array([[2]], np.uint32))
    predicate = mps.Predicate(memory, 0)
    count_down = mps.MatrixNeuron(
        device, neuron_type=mps.NeuronType.LINEAR, neuron_parameter_a=1, neuron_parameter_b=-1
    )
    seen: list[int] = []
    commands = mps.CommandBuffer(device.command_queue())
    commands.predicate = predicate
    for _ in range(4):
        commands.encode_host_function("look", lambda: seen.append(predicate.value))
        count_down.encode(commands, steps_left, steps_left)
    commands.commit()
    commands.wait_until_completed()
    assert seen == [2, 1]


PIVOTS = np.array([[1, 9]], np.uint32)


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (
            lambda d, c, m: mps.MatrixCopy(d).encode(
                c, [m], [m2(d)], mps.Vector.from_array(d, np.array([0, 3, 0, 0], np.uint32))
            ),
            r'MatrixCopy "MatrixCopy": offset_vector',
        ),
        (
            lambda d, c, m: mps.MatrixSum(d).encode(
                c,
                [m, m],
                m2(d),
                offset_vector=mps.Vector.from_array(d, np.array([0, 0, 1, 0], np.uint32)),
            ),
            r'MatrixSum "MatrixSum": offset_vector',
        ),
        (
            lambda d, c, m: mps.MatrixSolveLU(d).encode(
                c, m, m2(d), mps.Matrix.from_array(d, PIVOTS), m2(d)
            ),
            r"pivot_indices: expected rows below 2",
        ),
        (
            lambda d, c, m: mps.MatrixSolveLU(d, transpose=True).encode(
                c, m, m2(d), mps.Matrix.from_array(d, PIVOTS), m2(d)
            ),
            r"pivot_indices: expected rows below 2",
        ),
        (
            lambda d, c, _: mps.NDArrayGather(d).encode(c, *arrays(d, [1, 2])),
            r'"NDArrayGather": index 1: expected 0 to 1, got 2',
        ),
        (
            lambda d, c, _: mps.NDArrayGatherGradient(d).encode(c, *arrays(d, [-1, 0])),
            r'"NDArrayGatherGradient": index 0: expected 0 to 1, got -1',
        ),
    ],
)
def test_what_the_device_reads_is_checked(device: mps.Device, encode: Any, message: str) -> None:
    commands = mps.CommandBuffer(device.command_queue())
    encode(device, commands, mps.Matrix.from_array(device, np.eye(2, dtype=np.float32)))
    commands.commit()
    with pytest.raises(mps.DeviceError, match=message):
        commands.wait_until_completed()


def test_devices_are_chosen_by_name_and_power(device: mps.Device) -> None:
    low = mps.Device("metal-double", low_power=True)
    assert low.name == "Metal double, low power"
    assert low != device
    assert mps.Device("metal-double", name="Metal double, low power") == low
    assert mps.Device("metal-double", name="Metal double") == device
    both = r'one of "Metal double", "Metal double, low power" \(low power\)'
    with pytest.raises(mps.InvalidArgumentError, match=both + ', got "M9"'):
        mps.Device("metal-double", name="M9")
    with pytest.raises(mps.InvalidArgumentError, match="of low power"):
        mps.Device("metal-double", name="Metal double", low_power=True)
    matrix = mps.Matrix.from_array(low, np.ones((2, 2), np.float32))
    with pytest.raises(mps.InvalidArgumentError, match="memory of device"):
        mps.MatrixSoftMax(device).encode(
            mps.CommandBuffer(device.command_queue()), matrix, m2(device)
        )


def test_memory_of_the_caller_is_used_where_it_is_whole_pages(device: mps.Device) -> None:
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    values = np.frombuffer(memory, np.float32).reshape(2, page // 4)
    values[:] = 3
    matrix = mps.Matrix.wrap(device, values)
    commands = mps.CommandBuffer(device.command_queue())
    mps.MatrixSoftMax(device).encode(commands, matrix, matrix)
    commands.commit()
    commands.wait_until_completed()
    np.testing.assert_allclose(values, 4 / page, rtol=1e-6)
    with pytest.raises(mps.UnsupportedError, match=f"whole pages of {page} bytes, got 16 bytes"):
        mps.Matrix.wrap(device, values[:1, :4])


def test_memory_of_the_caller_may_be_used_twice(device: mps.Device) -> None:
    page = mmap.PAGESIZE
    values = np.frombuffer(mmap.mmap(-1, 3 * page), np.float32).reshape(3, page // 4)
    values[:] = 3

    def soft_max(matrix: mps.Matrix) -> None:
        commands = mps.CommandBuffer(device.command_queue())
        mps.MatrixSoftMax(device).encode(commands, matrix, matrix)
        commands.commit()
        commands.wait_until_completed()

    whole, again = (mps.Matrix.wrap(device, values) for _ in range(2))
    second = mps.Matrix.wrap(device, values[1:2])
    soft_max(second)
    assert values[0, 0] == values[2, 0] == 3
    np.testing.assert_allclose(values[1], 4 / page, rtol=1e-6)
    soft_max(whole)  # its last row lies behind where `second` begins
    np.testing.assert_allclose(values, 4 / page, rtol=1e-6)
    del again
    values[:] = 3
    soft_max(whole)
    np.testing.assert_allclose(values, 4 / page, rtol=1e-6)


def test_a_normalisation_with_gelu_is_as_on_the_cpu(device: mps.Device) -> None:
    rows = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)

    def normalised(on: mps.Device) -> np.ndarray:
        x, mean, variance = (
            mps.Matrix.from_array(on, rows),
            mps.Vector.from_array(on, rows.mean(0)),
            mps.Vector.from_array(on, rows.var(0)),
        )
        result = mps.Matrix(on, rows=4, columns=3)
        kernel = mps.MatrixBatchNormalization(on, neuron_type=mps.NeuronType.GELU)
        commands = mps.CommandBuffer(on.command_queue())
        kernel.encode(commands, x, mean, variance, result)
        commands.commit()
        return result.read()

    wanted = normalised(mps.Device("cpu"))
    assert wanted.min() < -0.1
    np.testing.assert_allclose(normalised(device), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "test",
    [
        sequence_tests.test_each_encode_runs_all_kernels_in_their_order,
        sequence_tests.test_kernels_with_temporaries_and_other_methods,
        sequence_tests.test_a_generator_goes_on,
        sequence_tests.test_predicates_are_those_of_each_encode,
        sequence_tests.test_it_holds_kernels_and_memory,
    ],
    ids=lambda test: test.__name__,
)
def test_sequences(device: mps.Device, test: Callable[[mps.Device], None]) -> None:
    test(device)


def test_selftest_reports(device: mps.Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest_cases, "NODE_FAMILIES", ("softmax", "padding"))
    made = selftest.report(device, tests=ROOT / "tests", quick=True, in_process=True)
    assert not made["cases"]["failures"]
    assert made["cases"]["classes"]["MatrixMultiplication"] == {"passed": 1}
    findings = [one for findings in made["measurements"].values() for one in findings]
    assert not [one for one in findings if one["verdict"] == "differs"]
    assert "Metal double" in selftest.text_of(made)


def objects_alive() -> int:
    library = ctypes.CDLL(os.environ["MPSNN_METAL_DOUBLE"])
    library.metal_double_objects.restype = ctypes.c_long
    return int(library.metal_double_objects())


def test_no_object_is_left(device: mps.Device) -> None:
    kernel = mps.MatrixRandomPhilox(device, data_type=mps.DataType.FLOAT32)

    def work() -> None:
        commands = mps.CommandBuffer(device.command_queue())
        x = mps.Matrix(device, rows=4, columns=4)
        half = mps.Matrix(device, rows=4, columns=4, data_type=mps.DataType.FLOAT16)
        kernel.encode(commands, x)
        mps.MatrixSoftMax(device).encode(commands, x, half)
        mps.MatrixMultiplication(device).encode(commands, half, x, m2(device))
        commands.commit()
        commands.wait_until_completed()

    counts = []
    for _ in range(4):
        work()
        gc.collect()
        device.trim()
        counts.append(objects_alive())
    assert counts[1] == counts[2] == counts[3], counts


def m2(device: mps.Device) -> mps.Matrix:
    return mps.Matrix(device, rows=2, columns=2)
