# SPDX-License-Identifier: MIT
"""Runs a case on a device and compares it with its oracle: forward, then every gradient."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import mpsnn as mps
import numpy as np
from cases import Case
from numpy.typing import NDArray
from oracles import Doubles, oracle_of

Floats = NDArray[np.float32]

GRADIENT = "gradient"


@dataclass
class Net:
    """The node of a case with its sources and data source."""

    node: mps.FilterNode
    sources: list[mps.ImageNode]
    weights: mps.ConvolutionDataSource | None


def values(case: Case, shape: tuple[int, ...], name: str, *, integers: bool) -> Floats:
    """Reproducible values: small integers, whose sums are exact, or normal floats."""
    seed = zlib.crc32(f"{case.id} {name}".encode())
    generator = np.random.Generator(np.random.Philox(seed))
    if integers:
        return generator.integers(-3, 4, shape).astype(np.float32)
    return generator.standard_normal(shape, dtype=np.float32)


def parameters_of(case: Case, *, integers: bool) -> dict[str, Floats]:
    """First values of the data source's parameters."""
    c = case.convolution
    if c is None:
        return {}
    shape = (c.outputs, *c.kernel, c.inputs // c.groups)
    arrays = {"weights": values(case, shape, "weights", integers=integers)}
    if c.bias:
        arrays["bias"] = values(case, (c.outputs,), "bias", integers=integers)
    return arrays


def data_source(case: Case, parameters: dict[str, Floats]) -> mps.ConvolutionDataSource | None:
    """The data source; a step of its optimizer takes the gradient off the weights."""
    c = case.convolution
    if c is None:
        return None
    descriptor = mps.ConvolutionDescriptor(
        c.kernel[1],
        c.kernel[0],
        c.inputs,
        c.outputs,
        stride_in_pixels_x=c.stride[1],
        stride_in_pixels_y=c.stride[0],
        dilation_rate_x=c.dilation[1],
        dilation_rate_y=c.dilation[0],
        groups=c.groups,
    )
    step = mps.OptimizerStochasticGradientDescent(1.0)
    return mps.ConvolutionDataSource(
        descriptor, parameters["weights"], parameters.get("bias"), "weights", step
    )


def build(case: Case, parameters: dict[str, Floats]) -> Net:
    """The nodes of a case."""
    sources = [mps.ImageNode(f"source{i}") for i in range(len(case.sources))]
    weights = data_source(case, parameters)
    node = mps.FilterNode(case.node, sources, dict(case.attributes), weights, label="tested")
    if case.padding is not None:
        node.padding_policy = mps.PaddingPolicy(case.padding)
    return Net(node, sources, weights)


def encode(device: mps.Device, graph: mps.Graph, sources: dict[str, Floats]) -> mps.GraphOutputs:
    """Runs a graph with those of the sources that it has."""
    commands = mps.CommandBuffer(device.command_queue())
    outputs = graph.encode(commands, {name: sources[name] for name in graph.source_handles})
    commands.commit()
    commands.wait_until_completed()
    return outputs


def gradient_nodes(net: Net, gradient: mps.ImageNode) -> dict[int, mps.FilterNode]:
    """The gradient node of each source that has one, by the source's index."""
    found: dict[int, mps.FilterNode] = {}

    def note(
        gradient_node: mps.FilterNode,
        inference_node: mps.FilterNode | None,
        inference_source: mps.ImageNode | None,
        _gradient_source: mps.ImageNode,
    ) -> None:
        assert inference_node == net.node
        assert inference_source is not None
        found[net.sources.index(inference_source)] = gradient_node

    net.node.training_graph(gradient, note)
    return found


def compare(name: str, got: Floats, expected: Doubles, error: Doubles, *, exact: bool) -> None:
    """Equal bit for bit, or within the error that float32 may make."""
    assert got.shape == expected.shape, f"{name}: {got.shape}, expected {expected.shape}"
    if exact:
        np.testing.assert_array_equal(got, expected.astype(np.float32), err_msg=name)
        return
    difference = np.abs(got.astype(np.float64) - expected)
    worst = np.unravel_index(np.argmax(difference - error), difference.shape)
    assert np.all(difference <= error + 1e-37), (
        f"{name}: at {worst} got {got[worst]}, expected {expected[worst]} ± {error[worst]}"
    )


def check_forward(device: mps.Device, case: Case, *, integers: bool) -> None:
    """Compares the result with the formula."""
    parameters = parameters_of(case, integers=integers)
    net = build(case, parameters)
    arrays = {
        f"source{i}": values(case, size, f"source{i}", integers=integers)
        for i, size in enumerate(case.sources)
    }
    graph = mps.Graph(device, [net.node.result_image])
    result = np.asarray(encode(device, graph, arrays)[0])
    expected, error = oracle_of(case.node).result(case, *doubles(arrays, parameters))
    compare("result", result, expected, error, exact=integers and case.exact)


def doubles(
    arrays: dict[str, Floats], parameters: dict[str, Floats]
) -> tuple[list[Doubles], dict[str, Doubles]]:
    """Sources and parameters for the oracle."""
    return (
        [array.astype(np.float64) for array in arrays.values()],
        {name: array.astype(np.float64) for name, array in parameters.items()},
    )


def check_gradients(device: mps.Device, case: Case, *, integers: bool) -> None:
    """Compares the gradients of all sources and parameters with JAX's."""
    parameters = parameters_of(case, integers=integers)
    net = build(case, parameters)
    arrays = {
        f"source{i}": values(case, size, f"source{i}", integers=integers)
        for i, size in enumerate(case.sources)
    }
    oracle = oracle_of(case.node)
    shape = oracle.result(case, *doubles(arrays, parameters))[0].shape
    gradient = values(case, shape, GRADIENT, integers=integers)
    nodes = gradient_nodes(net, mps.ImageNode(GRADIENT))
    graph = mps.Graph(device, [node.result_image for node in nodes.values()])
    results = encode(device, graph, {**arrays, GRADIENT: gradient})
    expected = oracle.gradients(case, *doubles(arrays, parameters), gradient.astype(np.float64))
    exact = integers and case.exact
    assert nodes, "no source has a gradient"
    for index, result in zip(nodes, results, strict=True):
        assert result is not None
        compare(
            f"gradient of source {index}",
            np.asarray(result),
            expected.sources[index],
            expected.source_errors[index],
            exact=exact,
        )
    for name, before in parameters.items():
        assert net.weights is not None
        after = device.read_parameter(net.weights, name)
        error = expected.parameter_errors[name]
        # The step itself rounds once: the gradient is read from a difference.
        error = error + 2.0**-23 * (np.abs(before) + np.abs(after))
        compare(f"gradient of {name}", before - after, expected.parameters[name], error, exact=exact)
