# SPDX-License-Identifier: MIT
# ruff: noqa: ANN401 (operands, parameters and values of all kinds pass through)
"""Kernels of matrices, vectors and arrays: every case against formulas in float64."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matrix_oracles
import numpy as np
import pytest
from cases import array_kernels, matrix_kernels
from cases.matrix_kernels import KernelCase

import mpsnn as mps
from mpsnn import _core

KERNEL_CASES = [*matrix_kernels.KERNEL_CASES, *array_kernels.KERNEL_CASES]
TABLE = {row["name"]: row for row in _core.kernel_table()}
GUARD = 77  # what stands around operands


def operand_specs(case: KernelCase) -> list[dict[str, Any]]:
    """Rows of the kernel table for the operands."""
    (method,) = (m for m in TABLE[case.kernel]["methods"] if m["name"] == case.method)
    return list(method["operands"])


ANY_KIND = ""


def kind_of(spec: dict[str, Any]) -> str:
    """The kind of an operand; any where it may be of several."""
    return spec["kinds"][0] if len(spec["kinds"]) == 1 else ANY_KIND


@dataclass
class Memory:
    """An operand with guards around each row, and its values."""

    operand: Any
    whole: np.ndarray
    view: np.ndarray

    def guards_hold(self) -> bool:
        """Whether nothing outside of the operand was written."""
        outside = np.ones(self.whole.shape, bool)
        outside[tuple(slice(1, -1) for _ in self.whole.shape)] = False
        return bool(np.all(self.whole[outside] == GUARD))


def make_memory(cpu: mps.Device, kind: str, values: np.ndarray) -> Memory:
    kinds: dict[str, Any] = {"Matrix": mps.Matrix, "Vector": mps.Vector, "NDArray": mps.NDArray}
    if kind == ANY_KIND:
        kind = ("Vector", "Matrix", "NDArray", "Image")[values.ndim - 1]
    if kind == "Image":
        whole = values.copy()
        return Memory(mps.Image.wrap(cpu, whole), np.full((2,) * 4, GUARD), whole)
    whole = np.full([n + 2 for n in values.shape], GUARD, values.dtype)
    view = whole[tuple(slice(1, -1) for _ in values.shape)]
    view[...] = values
    return Memory(kinds[kind].wrap(cpu, view), whole, view)


def random_values(case: KernelCase, i: int, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Eighths between -2 and 2, exact in float16; what stands for places and matrices fits."""
    random = np.random.default_rng(zlib.crc32(f"{case.name}{i}".encode()))
    dtype = case.dtype(i)
    values = random.integers(-16, 17, shape) / 8
    if name == "indices":
        values = random.integers(0, 4, shape)
    elif "permute" in name:
        values = np.concatenate([[9] * (shape[0] - 3), random.permutation(3)])
        if shape[0] in {4, 6}:
            values = np.concatenate([[9] * (shape[0] - 4), random.permutation(4)])
    elif name == "offset_vector":
        values = np.zeros(shape) if case.kernel == "MatrixCopy" else np.arange(shape[0]) % 3
    elif name == "pivot_indices":
        order = shape[-1]
        values = np.array([random.integers(k, order) for k in range(order)])
        values = np.broadcast_to(values, shape)
    elif "float" not in dtype:
        info = np.iinfo(dtype)
        values = random.integers(max(info.min, -9), 10, shape)
    elif name == "source_matrix":
        values = well_conditioned(case, values)
    elif name in {"variance_vector", "input_velocity", "input_sum_of_squares", "maximum_velocity"}:
        values = np.abs(values) + 0.5
    elif name == "input_matrix" and case.kernel == "MatrixFindTopK":
        values = random.integers(-40, 41, shape) / 8  # equal ones too
    return np.asarray(values).astype(dtype)


def well_conditioned(case: KernelCase, values: np.ndarray) -> np.ndarray:
    n = min(values.shape[-2:])
    if "Cholesky" in case.kernel:
        n += 4  # origins off the diagonal
        values = (
            (values + np.swapaxes(values, -1, -2)) / 2
            if values.shape[-1] == values.shape[-2]
            else values
        )
    if case.kernel == "MatrixDecompositionLU":
        return values
    eye = np.zeros(values.shape)
    for shift in (-2, -1, 0, 1, 2):
        eye += np.eye(*values.shape[-2:], k=shift) * (2 * n if shift == 0 else 0)
    row, column = case.attributes.get("source_matrix_origin") or case.attributes.get(
        "primary_source_matrix_origin", [0, 0]
    )
    eye = np.zeros(values.shape)
    size = min(values.shape[-2] - row, values.shape[-1] - column)
    for k in range(size):
        eye[..., row + k, column + k] = 2 * n
    values = values / 4
    if "Cholesky" in case.kernel and row != column:
        part = values[..., row : row + size, column : column + size]
        values[..., row : row + size, column : column + size] = np.tril(part) + np.swapaxes(
            np.tril(part, -1), -1, -2
        )
    return values + eye


def expanded(values: np.ndarray, kind: str) -> np.ndarray:
    """With the batch, as the oracles take operands; in float64 where they are numbers."""
    values = values.astype(np.float64)
    wanted = {"Matrix": 3, "Vector": 2}.get(kind, 0)
    return values[None] if values.ndim < wanted else values


def flat(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def tolerance(case: KernelCase, i: int) -> tuple[float, float]:
    """Relative and absolute; of sums and factors by their length."""
    half = any(case.dtype(k) == "float16" for k in range(len(case.shapes)))
    if half:
        return (4e-3, 8e-3) if "Decomposition" in case.kernel else (2e-3, 4e-3)
    if "float" not in case.dtype(i):
        return 0.0, 0.0
    return (
        (2e-4, 2e-4) if "Decomposition" in case.kernel or "Solve" in case.kernel else (2e-5, 2e-5)
    )


LAPACK_KERNELS = ("MatrixDecomposition", "MatrixSolve")


@pytest.fixture
def lapack(cpu: mps.Device) -> None:
    """Skips where the build has no LAPACK, with the library's own words."""
    one = mps.Matrix(cpu, rows=1, columns=1)
    try:
        run(cpu, mps.MatrixDecompositionCholesky(cpu), one, one)
    except mps.UnsupportedError as error:
        if "this build has no LAPACK" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.mark.parametrize("case", KERNEL_CASES, ids=lambda case: case.name)
def test_agrees_with_the_formula(
    cpu: mps.Device, case: KernelCase, request: pytest.FixtureRequest
) -> None:
    if case.kernel.startswith(LAPACK_KERNELS):
        request.getfixturevalue("lapack")
    check_case(cpu, case, make_memory)


def check_case(
    device: mps.Device, case: KernelCase, make: Callable[[mps.Device, str, np.ndarray], Any]
) -> None:
    """Runs a case with operands that `make` makes, and compares with the formula."""
    specs = operand_specs(case)
    memories: list[Any] = []
    for i, (shape, spec) in enumerate(zip(case.shapes, specs, strict=True)):
        if shape is None:
            memories.append(None)
            continue
        shapes = shape if isinstance(shape, list) else [shape]
        made = [
            make(device, kind_of(spec), random_values(case, i, s, spec["name"])) for s in shapes
        ]
        memories.append(made if isinstance(shape, list) else made[0])
    values = [
        [expanded(m.view, kind_of(s)) for m in memory]
        if isinstance(memory, list)
        else None
        if memory is None
        else expanded(memory.view, kind_of(s))
        for memory, s in zip(memories, specs, strict=True)
    ]
    expected = matrix_oracles.ORACLES[case.kernel](case, values)
    kernel = getattr(mps, case.kernel)(device, **case.attributes)
    commands = mps.CommandBuffer(device.command_queue())
    operands = [
        [m.operand for m in memory] if isinstance(memory, list) else memory and memory.operand
        for memory in memories
    ]
    getattr(kernel, case.method)(commands, *operands)
    commands.commit()
    commands.wait_until_completed()
    for i, memory in enumerate(memories):
        if memory is None:
            continue
        wanted = flat(expected.get(i, values[i]))
        rtol, atol = tolerance(case, i) if i in expected else (0.0, 0.0)
        for own, value in zip(flat(memory), wanted, strict=True):
            actual = expanded(own.view, kind_of(specs[i]))
            assert np.isfinite(actual).all()
            np.testing.assert_allclose(
                actual,
                np.asarray(value).reshape(actual.shape),
                rtol,
                atol,
                err_msg=specs[i]["name"],
            )
            assert own.guards_hold(), specs[i]["name"]


def run(cpu: mps.Device, kernel: Any, *operands: Any) -> None:
    commands = mps.CommandBuffer(cpu.command_queue())
    kernel.encode(commands, *operands)
    commands.commit()
    commands.wait_until_completed()


def matrix(cpu: mps.Device, values: Any, dtype: str = "float32") -> mps.Matrix:
    return mps.Matrix.from_array(cpu, np.array(values, dtype))


def vector(cpu: mps.Device, values: Any, dtype: str = "float32") -> mps.Vector:
    return mps.Vector.from_array(cpu, np.array(values, dtype))


def test_batch_normalization_takes_the_root_as_measured(cpu: mps.Device) -> None:
    x = matrix(cpu, [[1, 2, 3], [4, 5, 7], [2, 8, 1], [9, 1, 5]])
    y = mps.Matrix(cpu, rows=4, columns=3)
    kernel = mps.MatrixBatchNormalization(cpu, epsilon=0.001)
    mean, variance = vector(cpu, [4, 5, 4]), vector(cpu, [8, 6, 6])
    gamma, beta = vector(cpu, [1.5, 0.75, 2]), vector(cpu, [0.5, -0.5, 1])
    run(cpu, kernel, x, mean, variance, y, gamma, beta)
    measured = [-1.090891, -1.418482, 0.183571, 0.5, -0.5, 3.449286]
    measured += [-0.560594, 0.418482, -1.449286, 3.151485, -1.724643, 1.816429]
    np.testing.assert_allclose(np.asarray(y).ravel(), measured, atol=2e-6)


def test_a_sum_has_its_bias_by_column_as_measured(cpu: mps.Device) -> None:
    a, b = matrix(cpu, [[1, 2, 3], [4, 5, 6]]), matrix(cpu, [[10, 20, 30], [40, 50, 60]])
    total = mps.Matrix(cpu, rows=2, columns=3)
    commands = mps.CommandBuffer(cpu.command_queue())
    mps.MatrixSum(cpu).encode(commands, [a, b], total, bias_vector=vector(cpu, [1, 10, 100]))
    commands.commit()
    np.testing.assert_array_equal(np.asarray(total), [[12, 32, 133], [45, 65, 166]])


def test_a_sigmoids_slope_as_measured(cpu: mps.Device) -> None:
    result = mps.Matrix(cpu, rows=1, columns=1)
    kernel = mps.MatrixNeuronGradient(cpu, neuron_type=mps.NeuronType.SIGMOID)
    run(cpu, kernel, matrix(cpu, [[1]]), matrix(cpu, [[-0.75]]), result)
    assert np.asarray(result)[0, 0] == pytest.approx(0.217894986, abs=1e-7)


def test_a_neuron_counts_a_predicate_down(cpu: mps.Device) -> None:
    counter = mps.Buffer(cpu, 8)
    steps = mps.Matrix(counter, rows=1, columns=1, data_type=mps.DataType.UINT32, offset=4)
    steps.write(np.array([[3]], np.uint32))
    x = matrix(cpu, [[0.0]])
    linear = mps.NeuronType.LINEAR
    more = mps.MatrixNeuron(cpu, neuron_type=linear, neuron_parameter_a=1, neuron_parameter_b=1)
    less = mps.MatrixNeuron(cpu, neuron_type=linear, neuron_parameter_a=1, neuron_parameter_b=-1)
    commands = mps.CommandBuffer(cpu.command_queue())
    commands.predicate = mps.Predicate(counter, 4)
    for _ in range(8):
        more.encode(commands, x, x)
        less.encode(commands, steps, steps)
    commands.commit()
    assert np.asarray(x)[0, 0] == 3
    assert np.asarray(steps)[0, 0] == 0


def test_integers_are_rounded_and_clamped(cpu: mps.Device) -> None:
    linear = mps.MatrixNeuron(cpu, neuron_type=mps.NeuronType.LINEAR, neuron_parameter_a=0.5)
    x = matrix(cpu, [[1, 3, -5, 200]], "int16")
    run(cpu, linear, x, x)
    np.testing.assert_array_equal(np.asarray(x), [[0, 2, -2, 100]])
    low = mps.MatrixNeuron(
        cpu, neuron_type=mps.NeuronType.LINEAR, neuron_parameter_a=1, neuron_parameter_b=-5
    )
    y = matrix(cpu, [[0, 3, 9, 4294967295]], "uint32")
    run(cpu, low, y, y)
    np.testing.assert_array_equal(np.asarray(y), [[0, 0, 4, 4294967290]])


@pytest.mark.parametrize("shape", [(1, 9, 130), (130, 9, 1)])
def test_products_with_vectors_read_no_result_unasked(
    cpu: mps.Device, shape: tuple[int, int, int]
) -> None:
    rows, interior, columns = shape
    left, right = np.ones((rows, interior)), np.full((interior, columns), 2.0)
    result = matrix(cpu, np.full((rows, columns), np.nan))
    commands = mps.CommandBuffer(cpu.command_queue())
    mps.MatrixMultiplication(cpu).encode(commands, matrix(cpu, left), matrix(cpu, right), result)
    commands.commit()
    np.testing.assert_array_equal(np.asarray(result), left @ right)


def test_top_k_of_equal_values_and_nan(cpu: mps.Device) -> None:
    x = matrix(cpu, [[2, 5, np.nan, 5, -np.inf, 5]])
    values, indices = mps.Matrix(cpu, rows=1, columns=6), matrix(cpu, [[0] * 6], "uint32")
    run(cpu, mps.MatrixFindTopK(cpu, 6), x, indices, values)
    np.testing.assert_array_equal(np.asarray(indices), [[2, 1, 3, 5, 0, 4]])
    np.testing.assert_array_equal(np.asarray(values), [[np.nan, 5, 5, 5, 2, -np.inf]])


@pytest.mark.usefixtures("lapack")
def test_a_singular_matrix_is_a_status(cpu: mps.Device) -> None:
    status = vector(cpu, [7, 7], "int32")
    batch = np.array([[[1, 2], [2, 4]], [[1, 2], [2, 5]]], np.float32)
    a = mps.Matrix.from_array(cpu, batch)
    pivots = mps.Matrix(cpu, rows=1, columns=2, matrices=2, data_type=mps.DataType.UINT32)
    run(cpu, mps.MatrixDecompositionLU(cpu), a, a, pivots, status)
    assert list(np.asarray(status)) == [mps.MatrixDecompositionStatus.SINGULAR, 0]
    zeros = matrix(cpu, np.zeros((40, 40)))
    many = mps.Matrix(cpu, rows=1, columns=40, data_type=mps.DataType.UINT32)
    run(cpu, mps.MatrixDecompositionLU(cpu), zeros, zeros, many, status)
    assert np.asarray(status)[0] == mps.MatrixDecompositionStatus.SINGULAR
    assert not np.asarray(zeros).any()
    negative = matrix(cpu, -np.eye(70))
    run(cpu, mps.MatrixDecompositionCholesky(cpu), negative, negative, status)
    wanted = mps.MatrixDecompositionStatus.NON_POSITIVE_DEFINITE
    assert np.asarray(status)[0] == wanted


@pytest.mark.usefixtures("lapack")
@pytest.mark.parametrize("order", [1, 17, 64, 200, 513])
def test_decompositions_solve(cpu: mps.Device, order: int) -> None:
    random = np.random.default_rng(order)
    a = random.standard_normal((order, order)).astype(np.float32)
    b = random.standard_normal((order, 3)).astype(np.float32)
    factors, pivots = (
        mps.Matrix(cpu, rows=order, columns=order),
        mps.Matrix(cpu, rows=1, columns=order, data_type=mps.DataType.UINT32),
    )
    x = mps.Matrix.from_array(cpu, b)
    commands = mps.CommandBuffer(cpu.command_queue())
    mps.MatrixDecompositionLU(cpu).encode(commands, matrix(cpu, a), factors, pivots)
    mps.MatrixSolveLU(cpu).encode(commands, factors, x, pivots, x)
    spd = a @ a.T + np.eye(order, dtype=np.float32) * order
    y = mps.Matrix.from_array(cpu, b)
    mps.MatrixDecompositionCholesky(cpu).encode(commands, matrix(cpu, spd), factors)
    mps.MatrixSolveCholesky(cpu).encode(commands, factors, y, y)
    commands.commit()
    solution = np.asarray(x).astype(np.float64)
    residual = np.abs(a.astype(np.float64) @ solution - b).max()
    assert residual < 1e-5 * order * max(1.0, np.abs(solution).max())
    np.testing.assert_allclose(np.asarray(y), np.linalg.solve(spd.astype(float), b), atol=1e-5)


def test_adam_counts_its_steps_on_the_device(cpu: mps.Device) -> None:
    v, m, u = vector(cpu, [3.0, 4.0]), vector(cpu, [0.0, 0.0]), vector(cpu, [0.0, 0.0])
    update = mps.OptimizerAdamUpdate(cpu, learning_rate=0.1)
    commands = mps.CommandBuffer(cpu.command_queue())
    for rate in (0.1, 0.2, 0.4):
        update.learning_rate = rate
        update.encode(commands, vector(cpu, [1.0, -2.0]), v, v, m, u)
    commands.commit()
    # A constant gradient moves by the rate at every step.
    np.testing.assert_allclose(np.asarray(v), [3 - 0.7, 4 + 0.7], rtol=1e-5)
    assert np.frombuffer(update.read_state(), np.int64)[1] == 3
    update.time_step = 10
    assert np.frombuffer(update.read_state(), np.int64)[1] == 10


@pytest.mark.parametrize(
    "source", ["float16", "float32", "int8", "int16", "int32", "uint8", "uint16", "uint32"]
)
@pytest.mark.parametrize("result", ["float16", "float32", "int32", "uint8"])
def test_copies_convert(cpu: mps.Device, source: str, result: str) -> None:
    random = np.random.default_rng(3)
    if source == "float16":
        values = np.arange(65536, dtype=np.uint16).view(np.float16)
        values = values[~np.isnan(values)]
    elif source == "float32":
        bits = random.integers(0, 2**32, 100003, dtype=np.uint32)
        values = bits.view(np.float32)
        values = np.concatenate(
            [values[~np.isnan(values)], np.linspace(-70000, 70000, 50001, dtype=np.float32)]
        )
    else:
        info = np.iinfo(source)
        values = random.integers(info.min, info.max, 10001, dtype=np.int64, endpoint=True)
    values = np.ascontiguousarray(values.astype(source).reshape(1, -1))
    to = mps.Matrix(cpu, rows=1, columns=values.size, data_type=mps.DataType[result.upper()])
    commands = mps.CommandBuffer(cpu.command_queue())
    mps.MatrixCopy(cpu).encode(commands, [mps.Matrix.from_array(cpu, values)], [to])
    commands.commit()
    with np.errstate(over="ignore"):
        if "float" in result:
            wanted = values.astype(result)
        else:
            info = np.iinfo(result)
            wanted = np.clip(np.rint(values.astype(np.float64)), info.min, info.max).astype(result)
    np.testing.assert_array_equal(np.asarray(to), wanted)


def refuse(cpu: mps.Device, match: str, kernel: Any, *operands: Any, error: Any = None) -> None:
    with pytest.raises(error or mps.InvalidArgumentError, match=match):
        kernel.encode(mps.CommandBuffer(cpu.command_queue()), *operands)


def test_bad_input_is_named(cpu: mps.Device) -> None:
    a, b, c = (mps.Matrix(cpu, rows=r, columns=k) for r, k in ((3, 4), (5, 6), (3, 6)))
    refuse(
        cpu,
        r'MatrixMultiplication "MatrixMultiplication": right_matrix',
        mps.MatrixMultiplication(cpu),
        a,
        b,
        c,
    )
    small = matrix(cpu, np.zeros((4, 6)), "int8")
    refuse(
        cpu,
        r"element types: expected .*got \(float32, int8, float32\)",
        mps.MatrixMultiplication(cpu),
        a,
        small,
        c,
        error=mps.ArgumentTypeError,
    )
    refuse(
        cpu,
        r"input_vector: expected at least 4 elements",
        mps.MatrixVectorMultiplication(cpu),
        a,
        vector(cpu, [1, 2, 3]),
        vector(cpu, [0, 0, 0]),
    )
    values, indices = mps.Matrix(cpu, rows=3, columns=9), matrix(cpu, np.zeros((3, 9)), "uint32")
    refuse(
        cpu,
        r"number_of_top_k_values: expected at most 4, the source's columns, got 9",
        mps.MatrixFindTopK(cpu, 9),
        a,
        indices,
        values,
    )
    with pytest.raises(mps.InvalidArgumentError, match="number_of_top_k_values"):
        mps.MatrixFindTopK(cpu, 0)
    with pytest.raises(mps.InvalidArgumentError, match="row_bytes"):
        mps.Matrix(cpu, rows=2, columns=4, row_bytes=12)
    with pytest.raises(mps.InvalidArgumentError):
        mps.Vector(mps.Buffer(cpu, 16), length=5)


def test_bad_parameters_and_lists_are_named(cpu: mps.Device) -> None:
    a = mps.Matrix(cpu, rows=3, columns=4)
    ints = matrix(cpu, [[1]], "int32")
    refuse(
        cpu,
        "float32 or float16 for a neuron that is not LINEAR",
        mps.MatrixNeuron(cpu, neuron_type=mps.NeuronType.TANH),
        ints,
        ints,
        error=mps.ArgumentTypeError,
    )
    with pytest.raises(mps.InvalidArgumentError, match="neuron_parameters: expected one a column"):
        mps.MatrixNeuron(cpu, neuron_type=mps.NeuronType.PRELU)
    refuse(
        cpu,
        "neuron_parameters: expected 4 of them",
        mps.MatrixNeuron(cpu, neuron_type=mps.NeuronType.PRELU, neuron_parameters=[1.0]),
        a,
        mps.Matrix(cpu, rows=3, columns=4),
    )
    refuse(
        cpu,
        "source_matrix: expected as many rows as columns",
        mps.MatrixDecompositionCholesky(cpu),
        a,
        mps.Matrix(cpu, rows=3, columns=4),
    )
    refuse(
        cpu,
        "source_matrices: expected 2 matrices, got 1",
        mps.MatrixSum(cpu, count=2),
        [a],
        mps.Matrix(cpu, rows=3, columns=4),
    )
    refuse(
        cpu,
        "destination_matrices: expected 2 operands, as source_matrices, got 1",
        mps.MatrixCopy(cpu),
        [a, a],
        [mps.Matrix(cpu, rows=3, columns=4)],
    )
    refuse(
        cpu,
        "offsets: expected 4 numbers",
        mps.MatrixCopy(cpu, offsets=[1]),
        [a],
        [mps.Matrix(cpu, rows=3, columns=4)],
    )
    refuse(
        cpu,
        "momentum: expected operand",
        mps.OptimizerStochasticGradientDescentUpdate(cpu, momentum_scale=0.5),
        a,
        a,
        a,
    )
    three = mps.NDArray(cpu, shape=(3, 4))
    refuse(
        cpu,
        "axis: expected below 2",
        mps.NDArrayGather(cpu, axis=2),
        three,
        mps.NDArray.from_array(cpu, np.zeros(2, np.int32)),
        mps.NDArray(cpu, shape=(3, 4)),
    )


def test_places_beyond_a_matrix_fail_the_command(cpu: mps.Device) -> None:
    a, b = matrix(cpu, np.ones((3, 4))), mps.Matrix(cpu, rows=3, columns=4)

    def fails(match: str, kernel: Any, *operands: Any) -> None:
        with pytest.raises(mps.DeviceError, match=match):
            run(cpu, kernel, *operands)

    offsets = vector(cpu, [0, 9, 0, 0], "uint32")
    fails("offset_vector", mps.MatrixCopy(cpu), [a], [b], offsets)
    b = mps.Matrix(cpu, rows=3, columns=4)
    fails(
        "row_permute_indices", mps.MatrixCopy(cpu), [a], [b], None, vector(cpu, [0, 1, 3], "uint32")
    )
    b = mps.Matrix(cpu, rows=3, columns=4)
    fails("offset_vector", mps.MatrixSum(cpu), [a], b, None, vector(cpu, [1, 0], "uint32"))
    table, result = mps.NDArray(cpu, shape=(3, 4)), mps.NDArray(cpu, shape=(1, 4))
    fails(
        "index 0",
        mps.NDArrayGather(cpu),
        table,
        mps.NDArray.from_array(cpu, np.array([3], np.int32)),
        result,
    )


@pytest.mark.usefixtures("lapack")
def test_a_pivot_beyond_a_matrix_fails_the_command(cpu: mps.Device) -> None:
    pivots = matrix(cpu, [[0, 5]], "uint32")
    eye, x = matrix(cpu, np.eye(2)), matrix(cpu, np.ones((2, 1)))
    with pytest.raises(mps.DeviceError, match="pivot_indices"):
        run(cpu, mps.MatrixSolveLU(cpu), eye, x, pivots, x)
