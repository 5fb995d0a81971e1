# SPDX-License-Identifier: MIT
"""Kernels of matrices against numpy and PyTorch: time of each call, in one run.

    python bench/matrix.py [--rounds 3] [--seconds 0.2] [--case WORD]

Each contestant has a process of its own and 2 threads; rounds are interleaved. A call of ours is an
encode, a commit and a wait. All are float32 but the products of integers, whose results are int32:
numpy and PyTorch get int32 operands there, since they would wrap sums of bytes at 8 bits; int8 of
PyTorch is its product of bytes.
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

import numpy as np

from harness import THREADS, Calls, measured_cases

Arrays = dict[str, np.ndarray[Any, Any]]
SQUARES = (64, 256, 1024)
INTEGER_SQUARES = (64, 256)  # numpy takes seconds for 1024
INTEGERS = ("int8", "int16")
PARTS = 64  # copies of one encode


def arrays() -> Arrays:
    """The sources of all cases."""
    random = np.random.default_rng(0)
    found: Arrays = {"tall": random.standard_normal((4096, 512), np.float32)}
    for n in SQUARES:
        a = random.standard_normal((n, n), np.float32)
        found[f"a{n}"], found[f"b{n}"] = a, random.standard_normal((n, n), np.float32)
        found[f"spd{n}"] = a @ a.T + n * np.eye(n, dtype=np.float32)
        found[f"triangle{n}"] = np.tril(a) + n * np.eye(n, dtype=np.float32)
        found[f"sides{n}"] = random.standard_normal((n, 64), np.float32)
    for n in INTEGER_SQUARES:
        for side in "ab":
            values = random.integers(-128, 128, (n, n))
            found[f"{side}int8 {n}"] = values.astype(np.int8)
            found[f"{side}int16 {n}"] = values.astype(np.int16)
    found["x"] = random.standard_normal(1024).astype(np.float32)
    return found


def numpy_calls(s: Arrays) -> Calls:
    """Numpy's, with SciPy's triangular solves and factors."""
    import scipy.linalg as la

    calls: Calls = {}
    tall, out = s["tall"], np.empty_like(s["tall"])

    def softmax() -> None:
        np.subtract(tall, tall.max(1, keepdims=True), out=out)
        np.exp(out, out=out)
        np.divide(out, out.sum(1, keepdims=True), out=out)

    def normalize() -> None:
        mean, variance = tall.mean(0), tall.var(0)
        np.subtract(tall, mean, out=out)
        np.multiply(out, 1 / np.sqrt(variance + 1e-5), out=out)

    def top() -> object:
        at = np.argpartition(tall, -8, axis=1)[:, -8:]
        own = np.take_along_axis(tall, at, 1)
        return np.take_along_axis(at, np.argsort(-own, axis=1), 1)

    for n in SQUARES:
        a, b, c = s[f"a{n}"], s[f"b{n}"], np.empty((n, n), np.float32)
        calls[f"multiplication {n}"] = partial(np.matmul, a, b, out=c)
        factors, spd, triangle = la.lu_factor(a), s[f"spd{n}"], s[f"triangle{n}"]
        factor, sides = la.cholesky(spd, lower=True), s[f"sides{n}"]
        calls[f"LU {n}"] = partial(la.lu_factor, a, check_finite=False)
        calls[f"Cholesky {n}"] = partial(np.linalg.cholesky, spd)
        calls[f"triangular solve {n}"] = partial(
            la.solve_triangular, triangle, sides, lower=True, check_finite=False
        )
        calls[f"LU solve {n}"] = partial(la.lu_solve, factors, sides, check_finite=False)
        calls[f"Cholesky solve {n}"] = partial(
            la.cho_solve, (factor, True), sides, check_finite=False
        )
    y = np.empty(1024, np.float32)
    calls["vector product 1024"] = lambda: np.matmul(s["a1024"], s["x"], out=y)
    calls["sum of 2"] = lambda: np.add(tall, tall, out=out)
    for n in INTEGER_SQUARES:
        for kind in INTEGERS:
            left, right = (s[f"{side}{kind} {n}"].astype(np.int32) for side in "ab")
            product = np.empty((n, n), np.int32)
            calls[f"{kind} product {n}"] = partial(np.matmul, left, right, out=product)
    turned = np.empty(tall.shape[::-1], np.float32)

    def copy_parts() -> None:
        for k in range(PARTS):
            out[k * 64 : k * 64 + 64, 8:] = tall[k * 64 : k * 64 + 64, :-8]

    calls["copy"] = lambda: np.copyto(out, tall)
    calls["copy, transposed"] = lambda: np.copyto(turned, tall.T)
    calls["copy of 64 parts"] = copy_parts
    calls["neuron (sigmoid)"] = lambda: np.divide(1, 1 + np.exp(-tall), out=out)
    calls["softmax"] = softmax
    calls["batch normalization"] = normalize
    calls["top 8"] = top
    return calls


def torch_calls(s: Arrays) -> Calls:
    """PyTorch's."""
    import torch

    torch.set_num_threads(THREADS)
    torch.set_grad_enabled(False)
    t = {name: torch.from_numpy(value) for name, value in s.items()}
    calls: Calls = {}
    tall, out, y = t["tall"], torch.empty_like(t["tall"]), torch.empty(1024)
    for n in SQUARES:
        a, b, c = t[f"a{n}"], t[f"b{n}"], torch.empty(n, n)
        calls[f"multiplication {n}"] = partial(torch.mm, a, b, out=c)
        (factors, pivots), spd = torch.linalg.lu_factor(a), t[f"spd{n}"]
        factor, triangle, sides = torch.linalg.cholesky(spd), t[f"triangle{n}"], t[f"sides{n}"]
        calls[f"LU {n}"] = partial(torch.linalg.lu_factor, a)
        calls[f"Cholesky {n}"] = partial(torch.linalg.cholesky, spd)
        calls[f"triangular solve {n}"] = partial(
            torch.linalg.solve_triangular, triangle, sides, upper=False
        )
        calls[f"LU solve {n}"] = partial(torch.linalg.lu_solve, factors, pivots, sides)
        calls[f"Cholesky solve {n}"] = partial(torch.cholesky_solve, sides, factor)
    calls["vector product 1024"] = lambda: torch.mv(t["a1024"], t["x"], out=y)
    calls["sum of 2"] = lambda: torch.add(tall, tall, out=out)
    for n in INTEGER_SQUARES:
        left, right = t[f"aint8 {n}"], t[f"bint8 {n}"]
        calls[f"int8 product {n}"] = partial(torch._int_mm, left, right)
        left, right = left.to(torch.int32), right.to(torch.int32)
        calls[f"int16 product {n}"] = partial(
            torch.mm, left, right, out=torch.empty(n, n, dtype=torch.int32)
        )
    turned = torch.empty(tall.shape[1], tall.shape[0])

    def copy_parts() -> None:
        for k in range(PARTS):
            out[k * 64 : k * 64 + 64, 8:].copy_(tall[k * 64 : k * 64 + 64, :-8])

    calls["copy"] = lambda: out.copy_(tall)
    calls["copy, transposed"] = lambda: turned.copy_(tall.T)
    calls["copy of 64 parts"] = copy_parts
    calls["neuron (sigmoid)"] = lambda: torch.sigmoid(tall, out=out)
    calls["softmax"] = lambda: torch.softmax(tall, 1)
    calls["batch normalization"] = lambda: torch.nn.functional.batch_norm(
        tall, None, None, training=True
    )
    calls["top 8"] = lambda: torch.topk(tall, 8, 1)
    return calls


def our_calls(s: Arrays) -> Calls:
    """Ours."""
    import mpsnn as mps

    device = mps.Device("cpu")
    queue = device.command_queue()
    m = {name: mps.Matrix.from_array(device, value) for name, value in s.items() if value.ndim == 2}
    calls: Calls = {}

    def call(name: str, kernel: Any, *operands: Any) -> None:
        def run() -> None:
            commands = mps.CommandBuffer(queue)
            kernel.encode(commands, *operands)
            commands.commit()
            commands.wait_until_completed()

        calls[name] = run

    def like(name: str) -> mps.Matrix:
        rows, columns = s[name].shape
        return mps.Matrix(device, rows=rows, columns=columns)

    def integers(rows: int, columns: int) -> mps.Matrix:
        return mps.Matrix(device, rows=rows, columns=columns, data_type=mps.DataType.UINT32)

    for n in SQUARES:
        call(
            f"multiplication {n}",
            mps.MatrixMultiplication(device),
            m[f"a{n}"],
            m[f"b{n}"],
            like(f"a{n}"),
        )
        factors, factor, x = like(f"a{n}"), like(f"a{n}"), like(f"sides{n}")
        pivots = integers(1, n)
        call(f"LU {n}", mps.MatrixDecompositionLU(device), m[f"a{n}"], factors, pivots)
        call(f"Cholesky {n}", mps.MatrixDecompositionCholesky(device), m[f"spd{n}"], factor)
        calls[f"LU {n}"]()
        calls[f"Cholesky {n}"]()
        sides = m[f"sides{n}"]
        call(
            f"triangular solve {n}", mps.MatrixSolveTriangular(device), m[f"triangle{n}"], sides, x
        )
        call(f"LU solve {n}", mps.MatrixSolveLU(device), factors, sides, pivots, x)
        call(f"Cholesky solve {n}", mps.MatrixSolveCholesky(device), factor, sides, x)
    tall, out = m["tall"], like("tall")
    source, y = mps.Vector.from_array(device, s["x"]), mps.Vector(device, length=1024)
    call("vector product 1024", mps.MatrixVectorMultiplication(device), m["a1024"], source, y)
    call("sum of 2", mps.MatrixSum(device), [tall, tall], out)
    for n in INTEGER_SQUARES:
        for kind in INTEGERS:
            product = mps.Matrix(device, rows=n, columns=n, data_type=mps.DataType.INT32)
            left, right = (m[f"{side}{kind} {n}"] for side in "ab")
            call(f"{kind} product {n}", mps.MatrixMultiplication(device), left, right, product)
    turned = mps.Matrix(device, rows=512, columns=4096)
    transposed = mps.MatrixCopy(device, sources_are_transposed=True)
    parts = mps.MatrixCopyDescriptor(PARTS)
    for k in range(PARTS):
        offsets = mps.MatrixCopyOffsets(k * 64, 0, k * 64, 8)
        parts.set_copy_operation(k, tall, out, offsets)
    call("copy", mps.MatrixCopy(device), [tall], [out])
    call("copy, transposed", transposed, [tall], [turned])
    call("copy of 64 parts", mps.MatrixCopy(device, copy_rows=64, copy_columns=504), parts)
    sigmoid = mps.MatrixNeuron(device, neuron_type=mps.NeuronType.SIGMOID)
    call("neuron (sigmoid)", sigmoid, tall, out)
    call("softmax", mps.MatrixSoftMax(device), tall, out)
    mean, variance = (mps.Vector(device, length=512) for _ in range(2))
    normalize = mps.MatrixBatchNormalization(device, compute_statistics=True, epsilon=1e-5)
    call("batch normalization", normalize, tall, mean, variance, out)
    values = mps.Matrix(device, rows=4096, columns=8)
    call("top 8", mps.MatrixFindTopK(device, 8), tall, integers(4096, 8), values)
    return calls


CONTESTANTS = {
    "mpsnn": lambda: our_calls(arrays()),
    "numpy": lambda: numpy_calls(arrays()),
    "torch": lambda: torch_calls(arrays()),
}


def main() -> None:
    """Compares, or measures one contestant."""
    medians = measured_cases(__file__, str(__doc__), CONTESTANTS, rounds=3, seconds=0.2)
    if medians is None:
        return
    print("| case | mpsnn µs | numpy µs | PyTorch µs | time / faster peer |")
    print("|---|---|---|---|---|")
    for case in medians["mpsnn"]:
        own, *peers = (statistics.median(medians[name][case]) * 1e6 for name in CONTESTANTS)
        cells = " | ".join(f"{value:.0f}" for value in (own, *peers))
        print(f"| {case} | {cells} | {own / min(peers):.2f} |")


if __name__ == "__main__":
    main()
