# SPDX-License-Identifier: MIT
"""What a device does where documentation leaves it open: small measurements.

Each runs something on the device and tells what came out beside what is expected here. They are
for Apple's GPUs, whose kernels nobody could measure for this project yet; they run on every device.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

import mpsnn as mps
from mpsnn._core import _metal_probe

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Finding:
    """One answer.

    Attributes:
        what: What was looked at.
        got: What the device gave, in words or numbers; why it was refused, where it was.
        expected: What is computed here.
        verdict: "as expected", "differs", "measured" where nothing is expected, "refused" or
            "failed".
    """

    what: str
    got: str
    expected: str
    verdict: str


def _words(values: Array) -> str:
    return " ".join(f"{int(value):08x}" for value in np.ravel(values))


def _numbers(values: Array) -> str:
    return " ".join(f"{float(value):.9g}" for value in np.ravel(values))


def _compared(what: str, got: str, expected: str) -> Finding:
    return Finding(what, got, expected, "as expected" if got == expected else "differs")


def _near(what: str, got: Array, expected: Array, tolerance: float = 1e-4) -> Finding:
    agrees = got.shape == expected.shape and np.allclose(got, expected, tolerance, tolerance)
    verdict = "as expected" if agrees else "differs"
    return Finding(what, _numbers(got), _numbers(expected), verdict)


def _run(device: mps.Device, record: Callable[[mps.CommandBuffer], Any]) -> Any:  # noqa: ANN401
    commands = mps.CommandBuffer(device.command_queue())
    made = record(commands)
    commands.commit()
    commands.wait_until_completed()
    return made


def _fills(device: mps.Device, kernel: Any, *lengths: int) -> list[Array]:  # noqa: ANN401
    vectors = [mps.Vector(device, length=n, data_type=mps.DataType.UINT32) for n in lengths]

    def record(commands: mps.CommandBuffer) -> None:
        for vector in vectors:
            kernel.encode(commands, vector)

    _run(device, record)
    return [np.array(vector) for vector in vectors]


def _graph(device: mps.Device, node: mps.FilterNode, **sources: Array) -> Array:
    graph = mps.Graph(device, [node.result_image])
    (made,) = _run(device, lambda commands: graph.encode(commands, sources))
    return np.array(made)


def philox(device: mps.Device) -> list[Finding]:
    """Order of a fill beyond 4096 words, the second encode of a kernel, a seed of 33 bits."""
    (long,) = _fills(device, mps.MatrixRandomPhilox(device), 8192)
    plain = "ca462988 8049ebe0 c9f57660 f81a845b"
    threads = "f8e4cca4 5cb200db b1a574eb 097eff67"
    got = _words(long[4096:4100])
    by_thread = " (the order of 1024 threads that count up)" if got == threads else ""
    first, second = _fills(device, mps.MatrixRandomPhilox(device), 8, 8)
    (both,) = _fills(device, mps.MatrixRandomPhilox(device), 16)
    high = _fills(device, mps.MatrixRandomPhilox(device, seed=1 << 32), 4)[0]
    zero = both[:4]
    return [
        _compared("words 4096 to 4099 of one fill, seed 0", got + by_thread, plain),
        _compared("two encodes of 8 words", _words(np.concatenate([first, second])), _words(both)),
        Finding(
            "seed 2^32",
            _words(high),
            f"other than seed 0: {_words(zero)}",
            "differs" if np.array_equal(high, zero) else "as expected",
        ),
    ]


def philox_in_parts(device: mps.Device) -> list[Finding]:
    """Where a second fill of one MPSMatrixRandomPhilox begins that follows one of 5 words."""
    made = np.array(_metal_probe(device, "fill_in_parts", [5, 8]))
    (stream,) = _fills(device, mps.MatrixRandomPhilox(device), 16)
    got = _words(made)
    if np.array_equal(made[5:], stream[8:16]):
        got += " (the second fill begins with the next group of four)"
    elif np.array_equal(made[5:], stream[4:12]):
        got += " (the second fill begins with the group of four that the first one ended in)"
    return [_compared("5 words and then 8, seed 0", got, _words(stream[:13]))]


def _loss(device: mps.Device, kind: mps.LossType, y: float, t: float) -> tuple[float, float]:
    """A loss of one number, and its gradient."""
    descriptor = mps.LossDescriptor(kind, mps.ReductionType.SUM)
    prediction, label = mps.ImageNode("y"), mps.ImageNode("t")
    loss = mps.ForwardLossNode(prediction, label, descriptor)
    last = mps.InitialGradientNode(loss.result_image).training_graph()
    loss.result_image.handle, loss.result_image.export_from_graph = "loss", True
    graph = mps.Graph(device, [last[0].result_image])
    sources = {
        name: np.full((1, 1, 1, 1), value, np.float32) for name, value in (("y", y), ("t", t))
    }
    made = _run(device, lambda commands: graph.encode(commands, sources))
    return float(np.sum(np.asarray(made["loss"]))), float(np.sum(np.asarray(made[0])))


def losses(device: mps.Device) -> list[Finding]:
    """Losses on which Apple's headers contradict themselves."""
    found = []
    for kind, what, y, t, expected in (
        (mps.LossType.HINGE, "hinge, y = -0.2, t = 0.9: loss, gradient", -0.2, 0.9, (1.16, -0.8)),
        # The header forgets the label inside, and the sign of the gradient outside.
        (mps.LossType.HUBER, "huber, y = 1.5, t = 1: loss, gradient", 1.5, 1.0, (0.125, 0.5)),
        (mps.LossType.HUBER, "huber, y = -3, t = 0: loss, gradient", -3.0, 0.0, (2.5, -1.0)),
        (
            mps.LossType.KULLBACK_LEIBLER_DIVERGENCE,
            "divergence, y = ln 0.5, t = 0.25: loss, gradient",
            float(np.log(0.5)),
            0.25,
            (0.25 * float(np.log(0.25) - np.log(0.5)), -0.25),
        ),
    ):
        found.append(_measured_loss(device, what, kind, y, t, np.array(expected)))
    return found


def _measured_loss(
    device: mps.Device, what: str, kind: mps.LossType, y: float, t: float, expected: Array
) -> Finding:
    # The Metal backend refuses these losses unless they are measured.
    os.environ["MPSNN_METAL_MEASURE"] = "1"
    try:
        return _near(what, np.array(_loss(device, kind, y, t)), expected, 1e-3)
    except mps.UnsupportedError as error:
        return Finding(what, str(error), _numbers(expected), "refused")
    finally:
        del os.environ["MPSNN_METAL_MEASURE"]


def odd_windows(width: int) -> dict[str, mps.FilterNode]:
    """Nodes whose windows over a row need an odd number of pixels beyond it, by what they are.

    Args:
        width: Of the row of "x": odd.
    """
    descriptor = mps.ConvolutionDescriptor(2, 1, 1, 1, stride_in_pixels_x=2)
    weights = np.array([1, 10], np.float32).reshape(1, 1, 2, 1)
    source = mps.ConvolutionDataSource(descriptor, weights, None, "weights")
    image = mps.ImageNode("x")
    return {
        f"convolution 2 wide, stride 2, of 1 to {width}": mps.ConvolutionNode(image, source),
        f"largest of 2, stride 1, of 1 to {width}": mps.PoolingMaxNode(image, 2, 1, 1, 1),
        f"largest of 2, stride 2, of 1 to {width}": mps.PoolingMaxNode(image, 2, 1, 2, 1),
        f"largest of 4, stride 2, of 1 to {width}": mps.PoolingMaxNode(image, 4, 1, 2, 1),
    }


def padding(device: mps.Device) -> list[Finding]:
    """On which side the odd pixel stands: even windows, stride 2, default padding."""
    row = np.arange(1, 6, dtype=np.float32).reshape(1, 1, 5, 1)
    found = []
    for what, node in odd_windows(5).items():
        expected = _graph(mps.Device("cpu"), node, x=row)
        found.append(_near(what, _graph(device, node, x=row).ravel(), expected.ravel()))
    return found


def mtgp32(device: mps.Device) -> list[Finding]:
    """Words of Apple's Mersenne Twister, whose parameters are not public."""
    found = []
    for seed in (0, 1, 2):
        (words,) = _fills(device, mps.MatrixRandomMTGP32(device, seed=seed), 64)
        expected = "292b9f95 5e64b688 90d5d94d 1282ba5c …" if seed == 0 else ""
        found.append(Finding(f"64 words, seed {seed}", _words(words), expected, "measured"))
    (words,) = _fills(device, mps.MatrixRandomMTGP32(device), 1000)
    found.append(Finding("the last 8 words of 1000, seed 0", _words(words[-8:]), "", "measured"))
    return found


def dropout(device: mps.Device) -> list[Finding]:
    """Which values a dropout keeps, for one seed and shape."""
    node = mps.DropoutNode(mps.ImageNode("x"), 0.5, 7)
    kept = _graph(device, node, x=np.ones((1, 4, 8, 4), np.float32)) != 0
    rows = ["".join("1" if value else "0" for value in np.ravel(row)) for row in kept[0]]
    return [Finding("mask of (1, 4, 8, 4), seed 7", " ".join(rows), "", "measured")]


def batch_range(device: mps.Device) -> list[Finding]:
    """A product of one matrix of a batch."""
    what = "product of matrix 1 of three"
    if device.kind == "metal":
        what += " (the backend gives MPS this matrix alone)"
    ones = mps.Matrix.from_array(device, np.ones((3, 1, 1), np.float32))
    values = mps.Matrix.from_array(device, np.array([[[1]], [[2]], [[3]]], np.float32))
    result = mps.Matrix(device, rows=1, columns=1, matrices=3)
    kernel = mps.MatrixMultiplication(device, batch_start=1, batch_size=1)
    _run(device, lambda commands: kernel.encode(commands, ones, values, result))
    return [_near(what, np.array(result).ravel(), np.array([0.0, 2.0, 0.0]))]


def batch_range_of_mps(device: mps.Device) -> list[Finding]:
    """MPSMatrixMultiplication's batchStart and batchSize: on a macOS any size took all matrices."""
    left = np.array([[1, 2], [3, 4]]) * np.array([1, 2, 3]).reshape(3, 1, 1)
    products = left @ np.array([[1, 1], [0, 1]])
    found = []
    for start, size in ((0, None), (1, 1), (1, 2), (0, 2), (2, None), (0, 0)):
        arguments = [start] if size is None else [start, size]
        got = np.array(_metal_probe(device, "multiply_batch", arguments))
        expected = np.full((3, 2, 2), -1)
        stop = None if size is None else start + size
        expected[start:stop] = products[start:stop]
        what = f"products of three matrices over -1s, batchStart {start}, batchSize "
        what += "as it is" if size is None else str(size)
        found.append(_near(what, got, expected.ravel()))
    return found


def gamma(device: mps.Device) -> list[Finding]:
    """Gradients of batch normalisations: a macOS gave zeros for gamma and beta."""
    return [*_gradients_of_kernel(device), _gamma_of_graph(device)]


def _gamma_of_graph(device: mps.Device) -> Finding:
    """By MPSCNNBatchNormalization and its kin."""
    optimizer = mps.OptimizerStochasticGradientDescent(1.0)
    source = mps.BatchNormalizationDataSource(1, gamma=[2.0], label="bn", optimizer=optimizer)
    node = mps.BatchNormalizationNode(mps.ImageNode("x"), source)
    loss = mps.ForwardLossNode(
        node.result_image,
        mps.ImageNode("t"),
        mps.LossDescriptor(mps.LossType.MEAN_SQUARED_ERROR, mps.ReductionType.SUM),
    )
    last = mps.InitialGradientNode(loss.result_image).training_graph()
    graph = mps.Graph(device, [last[0].result_image])
    x = np.array([-1, 1, -1, 1], np.float32).reshape(1, 2, 2, 1)
    what = "gamma 2 after a step of 1 on the sum of (2 x)^2, in a graph"
    expected = np.array([2.0 - 16.0])
    try:
        _run(device, lambda commands: graph.encode(commands, {"x": x, "t": np.zeros_like(x)}))
        return _near(what, np.array(device.read_parameter(source, "gamma")), expected)
    except mps.UnsupportedError as error:
        return Finding(what, str(error), _numbers(expected), "refused")


def _gradients_of_kernel(device: mps.Device) -> list[Finding]:
    """By MPSMatrixBatchNormalizationGradient."""

    def vector(*values: float) -> mps.Vector:
        return mps.Vector.from_array(device, np.array(values, np.float32))

    def column(*values: float) -> mps.Matrix:
        return mps.Matrix.from_array(device, np.array(values, np.float32).reshape(-1, 1))

    of_data, of_gamma, of_beta = column(9, 9, 9, 9), vector(9), vector(9)
    kernel = mps.MatrixBatchNormalizationGradient(device)
    upstream, source = column(1, 2, 3, 4), column(-1, 1, -1, 1)
    made = (of_data, vector(2), vector(0), of_gamma, of_beta)
    _run(device, lambda to: kernel.encode(to, upstream, source, vector(0), vector(1), *made))
    return [
        _near(f"MatrixBatchNormalizationGradient: of {name}", np.array(got).ravel(), expected)
        for name, got, expected in (
            ("data", of_data, np.array([-2.0, -2.0, 2.0, 2.0])),
            ("gamma", of_gamma, np.array([2.0])),
            ("beta", of_beta, np.array([10.0])),
        )
    ]


def recurrent_gradients(device: mps.Device) -> list[Finding]:
    """A layer h = 2 x + b of one step, whose gradients begin at 100; encoded twice."""
    weights = np.array([2], np.float32).reshape(1, 1, 1, 1)
    source = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(1, 1, 1, 1), weights, np.zeros(1, np.float32)
    )
    layer = mps.RNNMatrixTrainingLayer(
        device, mps.RNNSingleGateDescriptor(1, 1, input_weights=source)
    )
    x, upstream = (mps.Matrix.from_array(device, np.array([[v]], np.float32)) for v in (3, 5))
    found = []
    for accumulates, expected in ((False, (15.0, 5.0)), (True, (130.0, 110.0))):
        layer.accumulate_weight_gradients = accumulates
        matrices = layer.create_weight_matrices()
        gradients = layer.create_weight_gradient_matrices()
        for matrix in gradients:
            matrix.write(np.full(matrix.shape, 100, np.float32))
        results = [mps.Matrix(device, rows=1, columns=1) for _ in range(2)]
        for _ in range(2):
            _run(device, partial(_step, layer, x, upstream, results, gradients, matrices))
        what = "recurrent layer, gradients of weight and bias from 100 on, two encodes that "
        got = np.array([float(np.ravel(matrix.read())[0]) for matrix in gradients])
        does = "add" if accumulates else "replace"
        found.append(_near(what + does, got, np.array(expected)))
    return found


def _step(
    layer: mps.RNNMatrixTrainingLayer,
    x: mps.Matrix,
    upstream: mps.Matrix,
    results: list[mps.Matrix],
    gradients: list[mps.Matrix],
    weights: list[mps.Matrix],
    commands: mps.CommandBuffer,
) -> None:
    forward, back = results
    kept, _ = layer.encode_forward_sequence(commands, [x], [forward], weights)
    layer.encode_gradient_sequence(commands, [x], [upstream], [back], gradients, kept, weights)


def recurrent_gradients_of_mps(device: mps.Device) -> list[Finding]:
    """MPSRNNMatrixTrainingLayer's accumulateWeightGradients, of which its header says two things.

    The layer is h = 2 x + 0.5 h0 + 1, of two steps.
    """
    x, upstream, weight, recurrent, bias = (3, 4), (5, 7), 2, 0.5, 1
    first = weight * x[0] + bias
    h = np.array([first, weight * x[1] + recurrent * first + bias])
    of_h = np.array([upstream[0] + recurrent * upstream[1], upstream[1]])
    once = np.array([of_h @ x, of_h[1] * h[0], of_h.sum()])  # of weight, recurrent weight, bias
    found = []
    for accumulates in (False, True):
        made = np.array(_metal_probe(device, "accumulate_gradients", [int(accumulates)]))
        if not accumulates:
            found.append(_near("recurrent layer of MPS, two steps", made[:2], h))
            found.append(_near("gradients of its sources", made[2:4], weight * of_h))
        what = f"of its weights from 100 on, accumulateWeightGradients {accumulates}, encode "
        for encode in (1, 2):
            got = made[1 + 3 * encode : 4 + 3 * encode]
            expected = 100 + encode * once if accumulates else once
            found.append(_near(f"{what}{encode}", got, expected))
    return found


def results(device: mps.Device) -> list[Finding]:
    """Which image is which where a graph hands out several."""
    x = mps.ImageNode("x")
    first, second, third, unseen = (mps.NeuronLinearNode(x, a=float(a)) for a in (1, 2, 3, 5))
    seen = mps.NeuronLinearNode(x, a=4.0)
    seen.result_image.handle, seen.result_image.export_from_graph = "seen", True
    last = mps.AdditionNode(third.result_image, seen.result_image)
    nodes = [node.result_image for node in (first, unseen, last, second)]
    graph = mps.Graph(device, nodes, results_are_needed=[True, False, True, True])
    ones = np.ones((2, 1, 1, 1), np.float32)
    made = _run(device, lambda commands: graph.encode(commands, {"x": ones}))
    got = np.array([np.ravel(np.array(made[key])) for key in (0, 2, 3, "seen")])
    expected = np.repeat([1.0, 7.0, 2.0, 4.0], 2).reshape(4, 2)
    return [_near("three results and an image that is exported", got, expected)]


def stale_channels(device: mps.Device) -> list[Finding]:
    """Whether what memory held before comes through where images have no four channels."""
    x = mps.ImageNode("x")
    stale = mps.Graph(device, [mps.NeuronReLUNode(x, a=1.0).result_image])
    ones = np.ones((1, 1, 1, 3), np.float32)
    source = mps.ConvolutionDataSource(mps.ConvolutionDescriptor(1, 1, 3, 1), ones)
    copy = mps.NeuronLinearNode(x).result_image
    nodes = {
        "convolution": mps.ConvolutionNode(copy, source),
        "sum of channels": mps.ReductionFeatureChannelsSumNode(copy),
        "softmax": mps.SoftMaxNode(copy),
        "Gram matrix": mps.GramMatrixCalculationNode(copy),
    }
    graphs = {what: mps.Graph(device, [node.result_image]) for what, node in nodes.items()}
    nan = np.full((4, 8, 8, 4), np.nan, np.float32)
    images = np.ones((4, 8, 8, 3), np.float32)

    def record(commands: mps.CommandBuffer) -> dict[str, mps.Image | None]:
        made = {}
        for what, graph in graphs.items():
            stale.encode(commands, {"x": nan})
            (made[what],) = graph.encode(commands, {"x": images})
        return made

    made = _run(device, record)
    values = {"convolution": 3.0, "sum of channels": 3.0, "softmax": 1 / 3, "Gram matrix": 64.0}
    return [
        _near(
            f"{what} of three channels behind NaNs",
            np.unique(np.asarray(made[what])),
            np.array([value]),
        )
        for what, value in values.items()
    ]


def upsampling(device: mps.Device) -> list[Finding]:
    """The last column of bilinear upsampling."""
    row = np.array([1, 2, 4], np.float32).reshape(1, 1, 3, 1)
    found = []
    for align in (False, True):
        node = mps.UpsamplingBilinearNode(mps.ImageNode("x"), 2, 1, align_corners=align)
        expected = _graph(mps.Device("cpu"), node, x=row).ravel()
        what = f"bilinear, twice as wide, of 1 2 4, align_corners {align}"
        found.append(_near(what, _graph(device, node, x=row).ravel(), expected))
    return found


def adam(device: mps.Device) -> list[Finding]:
    """Three steps of Adam, in bits."""
    rate, gradient, value, m, u = 0.1, 0.5, 1.0, 0.0, 0.0
    operands = [
        mps.Vector.from_array(device, np.array([v], np.float32)) for v in (gradient, value, m, u)
    ]
    update = mps.OptimizerAdamUpdate(device, learning_rate=rate)
    steps, wanted = [], []
    for t in range(1, 4):
        g, v, first, second = operands
        _run(device, lambda commands: update.encode(commands, g, v, v, first, second))  # noqa: B023
        steps.append(np.asarray(operands[1])[0])
        m, u = 0.9 * m + 0.1 * gradient, 0.999 * u + 0.001 * gradient**2
        value -= rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(u) + 1e-8)
        wanted.append(value)
    bits = _words(np.array(steps, np.float32).view(np.uint32))
    exact = _words(np.array(wanted, np.float32).view(np.uint32))
    near = np.allclose(steps, wanted, 1e-6)
    verdict = "as expected" if bits == exact else "within 1e-6" if near else "differs"
    return [Finding("three steps, bits", bits, exact, verdict)]


MEASUREMENTS: dict[str, Callable[[mps.Device], list[Finding]]] = {
    "Philox": philox,
    "Philox in parts": philox_in_parts,
    "losses": losses,
    "padding": padding,
    "MTGP32": mtgp32,
    "dropout": dropout,
    "batches": batch_range,
    "batches of MPS": batch_range_of_mps,
    "gamma": gamma,
    "recurrent gradients": recurrent_gradients,
    "recurrent gradients of MPS": recurrent_gradients_of_mps,
    "results": results,
    "stale channels": stale_channels,
    "upsampling": upsampling,
    "Adam": adam,
}


def measure_one(device: mps.Device, name: str) -> list[dict[str, str]]:
    """One measurement.

    Args:
        device: What is measured.
        name: A key of `MEASUREMENTS`.

    Returns:
        Its findings, for JSON; one that says why where the device refuses or fails.
    """
    try:
        found = MEASUREMENTS[name](device)
    except mps.UnsupportedError as error:
        found = [Finding(name, str(error), "", "refused")]
    except mps.Error as error:  # the others are to be told, too
        found = [Finding(name, str(error), "", "failed")]
    return [asdict(finding) for finding in found]
