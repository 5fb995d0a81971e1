# SPDX-License-Identifier: MIT
# ruff: noqa: ANN401 (operands, parameters and values of all kinds pass through)
"""What the kernels of matrices must come to: formulas in float64, gradients by JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.special
import numpy as np
import scipy.linalg
from cases.matrix_kernels import KernelCase

jax.config.update("jax_enable_x64", True)

Values = list[
    Any
]  # operands as float64 or integer arrays, matrices with their batch; None: left out
Expected = dict[int, Any]
FLOAT_MIN = 1.17549435e-38


def neuron(a: dict[str, Any]) -> Callable[[Any], Any]:
    """The neuron of a kernel's parameters."""
    p, q, r = (a.get(f"neuron_parameter_{n}", 0.0) for n in "abc")
    slopes = jnp.asarray(a.get("neuron_parameters", []))
    functions: list[Callable[[Any], Any]] = [
        lambda x: x,
        lambda x: jnp.where(x > 0, x, p * x),
        lambda x: p * x + q,
        lambda x: 1 / (1 + jnp.exp(-x)),
        lambda x: jnp.clip(p * x + q, 0, 1),
        lambda x: p * jnp.tanh(q * x),
        jnp.abs,
        lambda x: p * jnp.log1p(jnp.exp(q * x)),
        lambda x: x / (1 + jnp.abs(x)),
        lambda x: jnp.where(x > 0, x, p * (jnp.exp(x) - 1)),
        lambda x: jnp.where(x > 0, x, slopes * x),
        lambda x: jnp.minimum(jnp.where(x > 0, x, p * x), q),
        lambda x: (p * x + q) ** r,
        lambda x: r ** (p * x + q),
        lambda x: jnp.log(p * x + q) / jnp.log(r),
        lambda x: 0.5 * x * (1 + jax.scipy.special.erf(x * np.sqrt(0.5))),
    ]
    return functions[a.get("neuron_type", 0)]


def window(
    a: dict[str, Any],
    matrix: Any,
    origin: str = "",
    rows: int = -1,
    columns: int = -1,
) -> Any:
    """A view of the part of matrices (k, rows, columns) that takes part."""
    row, column = a.get(origin, [0, 0])
    start, size = a.get("batch_start", 0), a.get("batch_size", -1)
    if matrix.shape[0] > 1:
        matrix = matrix[start:] if size < 0 else matrix[start : start + size]
    rows = matrix.shape[1] - row if rows < 0 else rows
    columns = matrix.shape[2] - column if columns < 0 else columns
    return matrix[:, row : row + rows, column : column + columns]


PRIMARY, SECONDARY, SOURCE, RESULT = (
    "primary_source_matrix_origin",
    "secondary_source_matrix_origin",
    "source_matrix_origin",
    "result_matrix_origin",
)


def written(whole: Any, view_of: Callable[[Any], Any], value: Any) -> Any:
    """The whole operand with its part replaced."""
    copy = whole.copy()
    view_of(copy)[...] = value
    return copy


def multiplication(case: KernelCase, v: Values) -> Expected:
    """Alpha op(L) op(R) + beta C."""
    a = case.attributes
    m, n, k = (
        a.get(f"{name}", -1) for name in ("result_rows", "result_columns", "interior_columns")
    )
    turn_left, turn_right = a.get("transpose_left", False), a.get("transpose_right", False)

    def result(c: Any) -> Any:
        return window(a, c, RESULT, m, n)

    c = result(v[2])
    m, n = c.shape[1:]
    left = window(a, v[0], "left_matrix_origin", *((k, m) if turn_left else (m, k)))
    left = left.transpose(0, 2, 1) if turn_left else left
    k = left.shape[2]
    right = window(a, v[1], "right_matrix_origin", *((n, k) if turn_right else (k, n)))
    right = right.transpose(0, 2, 1) if turn_right else right
    value = a.get("alpha", 1.0) * (left.astype(float) @ right.astype(float))
    value = value + a.get("beta", 0.0) * c
    return {2: written(v[2], result, np.rint(value) if case.dtype(2) == "int32" else value)}


def vector_multiplication(case: KernelCase, v: Values) -> Expected:
    """Alpha op(A) x + beta y."""
    a = case.attributes
    rows, columns = a.get("rows", -1), a.get("columns", -1)
    turn = a.get("transpose", False)
    matrix = window(a, v[0], PRIMARY, *((columns, rows) if turn else (rows, columns)))
    matrix = (matrix.transpose(0, 2, 1) if turn else matrix).astype(float)

    def part(vectors: Any, length: int) -> Any:
        start, size = a.get("batch_start", 0), a.get("batch_size", -1)
        if vectors.shape[0] > 1:
            vectors = vectors[start:] if size < 0 else vectors[start : start + size]
        return vectors[:, :length]

    x = part(v[1], matrix.shape[2]).astype(float)
    y = part(v[2], matrix.shape[1])
    value = a.get("alpha", 1.0) * np.einsum("krc,kc->kr", matrix, x) + a.get("beta", 0.0) * y
    return {2: written(v[2], lambda whole: part(whole, matrix.shape[1]), value)}


def extents(a: dict[str, Any]) -> tuple[int, int]:
    """Rows and columns that neurons and normalisations treat."""
    return (
        a.get("source_number_of_feature_vectors", -1),
        a.get("source_input_feature_channels", -1),
    )


def neuron_forward(case: KernelCase, v: Values) -> Expected:
    """f(alpha x + bias)."""
    a = case.attributes

    def result(y: Any) -> Any:
        return window(a, y, RESULT, *extents(a))

    rows, columns = result(v[1]).shape[1:]
    x = window(a, v[0], SOURCE, rows, columns).astype(float)
    bias = 0 if v[2] is None else v[2][0][:columns]
    value = np.asarray(neuron(a)(a.get("alpha", 1.0) * x + bias))
    if "float" not in case.dtype(1):
        info = np.iinfo(case.dtype(1))
        value = np.clip(np.rint(value), info.min, info.max)
    return {1: written(v[1], result, value)}


def neuron_gradient(case: KernelCase, v: Values) -> Expected:
    """By JAX."""
    a = case.attributes

    def result(y: Any) -> Any:
        return window(a, y, RESULT, *extents(a))

    rows, columns = result(v[2]).shape[1:]
    g = window(a, v[0], PRIMARY, rows, columns)
    x = jnp.asarray(window(a, v[1], SECONDARY, rows, columns))
    bias = jnp.zeros(columns) if v[3] is None else jnp.asarray(v[3][0][:columns])
    _, pull = jax.vjp(lambda x, b: neuron(a)(a.get("alpha", 1.0) * x + b), x, bias)
    data, bias_gradient = pull(jnp.asarray(g))
    expected = {2: written(v[2], result, data)}
    if v[4] is not None:
        expected[4] = written(v[4], lambda b: b[:, :columns], bias_gradient)
    return expected


def connected(case: KernelCase, v: Values) -> Expected:
    """Forward, or a gradient of the layer without neuron by JAX."""
    a = case.attributes
    rows = a.get("source_number_of_feature_vectors", -1)
    inputs = a.get("source_input_feature_channels", -1)
    outputs = a.get("source_output_feature_channels", -1)
    kinds = {
        "encode": ((rows, inputs), (inputs, outputs), (rows, outputs)),
        "encode_gradient_for_data": ((rows, outputs), (inputs, outputs), (rows, inputs)),
    }.get(case.method, ((rows, outputs), (rows, inputs), (inputs, outputs)))

    first, second = window(a, v[0], PRIMARY, *kinds[0]), window(a, v[1], SECONDARY, *kinds[1])
    alpha = a.get("alpha", 1.0)

    def result(y: Any) -> Any:
        return window(a, y, RESULT, *kinds[2])

    if case.method == "encode":
        bias = 0 if v[3] is None else v[3][0][: second.shape[2]]
        return {2: written(v[2], result, neuron(a)(alpha * (first @ second) + bias))}
    if case.method == "encode_gradient_for_data":
        return {2: written(v[2], result, alpha * (first @ second.transpose(0, 2, 1)))}
    expected = {2: written(v[2], result, alpha * (second.transpose(0, 2, 1) @ first))}
    if v[3] is not None:
        expected[3] = written(v[3], lambda b: b[:, : first.shape[2]], first.sum((0, 1)))
    return expected


def normalized(a: dict[str, Any], x: Any, mean: Any, variance: Any, gamma: Any, beta: Any) -> Any:
    """The formula, with the root."""
    return neuron(a)((x - mean) * gamma / jnp.sqrt(variance + a.get("epsilon", FLOAT_MIN)) + beta)


def normalization(case: KernelCase, v: Values) -> Expected:
    """With statistics that are given or computed."""
    a = case.attributes

    def result(y: Any) -> Any:
        return window(a, y, RESULT, *extents(a))

    rows, columns = result(v[3]).shape[1:]
    x = window(a, v[0], SOURCE, rows, columns)[0]
    mean, variance = (v[i][0][:columns] for i in (1, 2))
    expected: Expected = {}
    if a.get("compute_statistics"):
        mean, variance = x.mean(0), x.var(0)
        expected = {
            i: written(v[i], lambda w: w[0, :columns], s) for i, s in ((1, mean), (2, variance))
        }
    gamma, beta = (d if v[i] is None else v[i][0][:columns] for i, d in ((4, 1.0), (5, 0.0)))
    return {**expected, 3: written(v[3], result, normalized(a, x, mean, variance, gamma, beta))}


def normalization_gradient(case: KernelCase, v: Values) -> Expected:
    """Through batch statistics: JAX differentiates them too, at the statistics that are given."""
    a = case.attributes

    def result(y: Any) -> Any:
        return window(a, y, RESULT, *extents(a))

    rows, columns = result(v[4]).shape[1:]
    g = jnp.asarray(window(a, v[0], PRIMARY, rows, columns)[0])
    x = window(a, v[1], SECONDARY, rows, columns)[0]
    mean, variance = (v[i][0][:columns] for i in (2, 3))
    gamma, beta = (
        np.full(columns, d) if v[i] is None else v[i][0][:columns] for i, d in ((5, 1.0), (6, 0.0))
    )
    root = np.sqrt(variance + a.get("epsilon", FLOAT_MIN))
    hat = (x - mean) / root
    _, pull = jax.vjp(neuron(a), jnp.asarray(hat * gamma + beta))
    own = np.asarray(pull(g)[0])
    data = gamma / root * (own - own.mean(0) - hat * (own * hat).mean(0))
    expected = {4: written(v[4], result, data)}
    for i, value in ((7, (own * hat).sum(0)), (8, own.sum(0))):
        if v[i] is not None:
            expected[i] = written(v[i], lambda s: s[0, :columns], value)
    return expected


def softmax(case: KernelCase, v: Values) -> Expected:
    """Rows; the logarithm where the class says so."""
    a = case.attributes
    rows, columns = a.get("source_rows", -1), a.get("source_columns", -1)
    log = "Log" in case.kernel
    function = jax.nn.log_softmax if log else jax.nn.softmax

    def result(y: Any) -> Any:
        return window(a, y, RESULT, rows, columns)

    if not case.kernel.endswith("Gradient"):
        size = result(v[1]).shape[1:]
        return {1: written(v[1], result, function(window(a, v[0], SOURCE, *size), axis=-1))}
    size = result(v[2]).shape[1:]
    g, y = window(a, v[0], PRIMARY, *size), window(a, v[1], SECONDARY, *size)
    if log:
        value = g - np.exp(y) * g.sum(-1, keepdims=True)
    else:
        value = y * (g - (g * y).sum(-1, keepdims=True))
    return {2: written(v[2], result, value)}


def top_k(case: KernelCase, v: Values) -> Expected:
    """By a stable sort."""
    a = case.attributes
    k = a["number_of_top_k_values"]
    x = window(a, v[0], SOURCE, a.get("source_rows", -1), a.get("source_columns", -1))
    order = np.argsort(-x, axis=-1, kind="stable")[..., :k]

    def result(y: Any) -> Any:
        return window(a, y, RESULT, x.shape[1], k)

    return {
        1: written(v[1], result, order + a.get("index_offset", 0)),
        2: written(v[2], result, np.take_along_axis(x, order, -1)),
    }


def matrix_sum(case: KernelCase, v: Values) -> Expected:
    """Operands: sources, result, scales, offsets, bias."""
    a = case.attributes
    sources, turn, start = v[0], a.get("transpose", False), a.get("start_index", 0)
    size = a.get("rows", -1), a.get("columns", -1)

    def result(y: Any) -> Any:
        return window(a, y, RESULT, *(size[::-1] if turn else size))

    rows, columns = result(v[1]).shape[1:]
    if turn:
        rows, columns = columns, rows
    total = np.zeros((rows, columns))
    for k, source in enumerate(sources):
        row, column = (0, 0) if v[3] is None else v[3][0][2 * (start + k) :][:2].astype(int)
        scale = 1.0 if v[2] is None else v[2][0][start + k]
        total += scale * source[0][row : row + rows, column : column + columns]
    total = total.T if turn else total
    bias = 0 if v[4] is None else v[4][0][: total.shape[1]]
    return {1: written(v[1], result, neuron(a)(total + bias))}


def matrix_copy(case: KernelCase, v: Values) -> Expected:
    """Operands: sources, destinations, offsets, row places, column places."""
    a = case.attributes
    results = [d.copy() for d in v[1]]
    for k, source in enumerate(v[0]):
        o = a.get("offsets", [0] * 4 * len(v[0]))[4 * k :][:4]
        if v[2] is not None:
            o = v[2][0][4 * k :][:4].astype(int)
        own = source[0][o[0] :, o[1] :]
        own = own.T if a.get("sources_are_transposed") else own
        rows, columns = a.get("copy_rows", own.shape[0]), a.get("copy_columns", own.shape[1])
        own = own[:rows, :columns]
        own = own.T if a.get("destinations_are_transposed") else own
        for i in range(own.shape[0]):
            for j in range(own.shape[1]):
                row, column = i, j
                if v[3] is not None:
                    row = int(v[3][0][a.get("row_permute_offset", 0) + i])
                if v[4] is not None:
                    column = int(v[4][0][a.get("column_permute_offset", 0) + j])
                value = own[i, j] if "float" in case.dtype(1) else np.rint(own[i, j])
                results[k][0, o[2] + row, o[3] + column] = value
    return {1: results}


def lu(case: KernelCase, v: Values) -> Expected:
    """LAPACK's, by SciPy in float64."""
    a = case.attributes
    size = a.get("rows", -1), a.get("columns", -1)
    sources = window(a, v[0], SOURCE, *size)
    factors, pivots = sources.copy(), window(a, v[2], "", 1, min(sources.shape[1:])).copy()
    for k, source in enumerate(sources):
        factors[k], own = scipy.linalg.lu_factor(source)
        pivots[k, 0] = own[: pivots.shape[2]]
    expected = {
        1: written(v[1], lambda y: window(a, y, RESULT, *sources.shape[1:]), factors),
        2: written(v[2], lambda y: window(a, y, "", 1, min(sources.shape[1:])), pivots),
    }
    if v[3] is not None:
        expected[3] = written(v[3], lambda s: s[0, : len(sources)], 0)
    return expected


def cholesky(case: KernelCase, v: Values) -> Expected:
    """The other triangle is the source's."""
    a = case.attributes
    order = a.get("order", -1)
    sources = window(a, v[0], SOURCE, order, order)
    lower = a.get("lower", True)
    factors = sources.copy()
    for k, source in enumerate(sources):
        own = np.linalg.cholesky(source)
        factors[k] = (
            np.tril(own) + np.triu(source, 1) if lower else np.triu(own.T) + np.tril(source, -1)
        )
    expected = {1: written(v[1], lambda y: window(a, y, RESULT, *sources.shape[1:]), factors)}
    if v[2] is not None:
        expected[2] = written(v[2], lambda s: s[0, : len(sources)], 0)
    return expected


def solve(case: KernelCase, v: Values) -> Expected:
    """The three solves, by numpy's solve of the full matrix."""
    a = case.attributes
    at = len(v) - 1
    right = a.get("right", False)
    order, sides = a.get("order", -1), a.get("number_of_right_hand_sides", -1)
    b = window(a, v[1], SECONDARY, *((sides, order) if right else (order, sides)))
    order = b.shape[2 if right else 1]
    factors = window(a, v[0], PRIMARY, order, order)
    value = np.empty(b.shape)
    for k in range(len(b)):
        own = factors[k if len(factors) > 1 else 0]
        if case.kernel == "MatrixSolveLU":
            pivots = window(a, v[2], "", 1, order)[k if len(factors) > 1 else 0, 0].astype(int)
            full = (np.tril(own, -1) + np.eye(order)) @ np.triu(own)
            for i, pivot in reversed(list(enumerate(pivots))):
                full[[i, pivot]] = full[[pivot, i]]
            full = full.T if a.get("transpose") else full
        elif case.kernel == "MatrixSolveCholesky":
            full = (
                np.triu(own).T @ np.triu(own) if a.get("upper") else np.tril(own) @ np.tril(own).T
            )
        else:
            full = np.triu(own) if a.get("upper") else np.tril(own)
            if a.get("unit"):
                full = full - np.diag(np.diag(full)) + np.eye(order)
            full = full.T if a.get("transpose") else full
        scaled = a.get("alpha", 1.0) * b[k]
        value[k] = np.linalg.solve(full.T, scaled.T).T if right else np.linalg.solve(full, scaled)
    return {at: written(v[at], lambda y: window(a, y, RESULT, *b.shape[1:]), value)}


def array_multiplication(case: KernelCase, v: Values) -> Expected:
    """Numpy broadcasts leading dimensions by itself."""
    a = case.attributes
    addend = 0 if v[3] is None else a.get("beta", 1.0) * v[3]
    return {2: a.get("alpha", 1.0) * (v[0] @ v[1]) + addend}


def gather(case: KernelCase, v: Values) -> Expected:
    """numpy.take, or its transpose."""
    axis = case.attributes.get("axis", 0)
    indices = v[1].astype(int)
    if case.kernel == "NDArrayGather":
        return {2: np.take(v[0], indices, axis)}
    result = np.zeros(v[2].shape)
    moved = np.moveaxis(result, axis, 0)
    np.add.at(moved, indices, np.moveaxis(v[0], axis, 0))
    return {2: result}


def strided_slice(case: KernelCase, v: Values) -> Expected:
    """Slices of numpy."""
    a = case.attributes
    gradient = case.kernel.endswith("Gradient")
    whole, part = (v[1], v[0]) if gradient else (v[0], v[1])
    rank = whole.ndim
    starts, strides = a.get("starts", [0] * rank), a.get("strides", [1] * rank)
    cut = tuple(slice(b, b + n * s, s) for b, s, n in zip(starts, strides, part.shape, strict=True))
    if not gradient:
        return {1: whole[cut]}
    result = np.zeros(whole.shape)
    result[cut] = part
    return {1: result}


def update(case: KernelCase, v: Values) -> Expected:
    """Clip, rescale, regularise; then the optimizer's formula."""
    a = case.attributes
    g, value, rate = v[0], v[1], a.get("learning_rate", 1e-3)
    if a.get("apply_gradient_clipping"):
        g = np.clip(g, a["gradient_clip_min"], a["gradient_clip_max"])
    g = g * a.get("gradient_rescale", 1.0)
    kind, scale = a.get("regularization_type", 0), a.get("regularization_scale", 0.0)
    g = g + (np.sign(value), value)[kind - 1] * scale if kind else g
    if "RMSProp" in case.kernel:
        decay = a.get("decay", 0.9)
        squares = decay * v[3] + (1 - decay) * g**2
        return {2: value - rate * g / (np.sqrt(squares) + a.get("epsilon", 1e-8)), 3: squares}
    if "Adam" in case.kernel:
        beta1, beta2, t = a.get("beta1", 0.9), a.get("beta2", 0.999), a.get("time_step", 0) + 1
        momentum = beta1 * v[3] + (1 - beta1) * g
        velocity = beta2 * v[4] + (1 - beta2) * g**2
        expected = {3: momentum, 4: velocity}
        root = velocity
        if v[5] is not None:
            root = expected[5] = np.maximum(v[5], velocity)
        rate = rate * np.sqrt(1 - beta2**t) / (1 - beta1**t)
        return {2: value - rate * momentum / (np.sqrt(root) + a.get("epsilon", 1e-8)), **expected}
    if v[3] is None:
        return {2: value - rate * g}
    mu = a["momentum_scale"]
    if a.get("use_nesterov_momentum"):
        momentum = mu * v[3] + g
        return {2: value - rate * (g + mu * momentum), 3: momentum}
    momentum = mu * v[3] + rate * g
    return {2: value - momentum, 3: momentum}


ORACLES: dict[str, Callable[[KernelCase, Values], Expected]] = {
    "MatrixMultiplication": multiplication,
    "MatrixVectorMultiplication": vector_multiplication,
    "MatrixNeuron": neuron_forward,
    "MatrixNeuronGradient": neuron_gradient,
    "MatrixFullyConnected": connected,
    "MatrixFullyConnectedGradient": connected,
    "MatrixBatchNormalization": normalization,
    "MatrixBatchNormalizationGradient": normalization_gradient,
    "MatrixSoftMax": softmax,
    "MatrixLogSoftMax": softmax,
    "MatrixSoftMaxGradient": softmax,
    "MatrixLogSoftMaxGradient": softmax,
    "MatrixFindTopK": top_k,
    "MatrixSum": matrix_sum,
    "MatrixCopy": matrix_copy,
    "MatrixDecompositionLU": lu,
    "MatrixDecompositionCholesky": cholesky,
    "MatrixSolveTriangular": solve,
    "MatrixSolveLU": solve,
    "MatrixSolveCholesky": solve,
    "NDArrayMatrixMultiplication": array_multiplication,
    "NDArrayGather": gather,
    "NDArrayGatherGradient": gather,
    "NDArrayStridedSlice": strided_slice,
    "NDArrayStridedSliceGradient": strided_slice,
    "OptimizerStochasticGradientDescentUpdate": update,
    "OptimizerAdamUpdate": update,
    "OptimizerRMSPropUpdate": update,
}
