# SPDX-License-Identifier: MIT
"""Runs a case on a device and compares it with its oracle: forward, then every gradient."""

from __future__ import annotations

import numpy as np
from case_nets import (
    GRADIENT,
    RUNNING,
    Floats,
    build,
    gradient_nodes,
    parameters_of,
    source_arrays,
    values,
)
from cases import Case
from oracles import Doubles, oracle_of

import mpsnn as mps


def encode(device: mps.Device, graph: mps.Graph, sources: dict[str, Floats]) -> mps.GraphOutputs:
    """Runs a graph with those of the sources that it has."""
    commands = mps.CommandBuffer(device.command_queue())
    outputs = graph.encode(commands, {name: sources[name] for name in graph.source_handles})
    commands.commit()
    commands.wait_until_completed()
    return outputs


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
    arrays = source_arrays(case, integers=integers)
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
    arrays = source_arrays(case, integers=integers)
    oracle = oracle_of(case.node)
    shape = oracle.result(case, *doubles(arrays, parameters))[0].shape
    gradient = values(case, shape, GRADIENT, integers=integers)
    nodes = gradient_nodes(net, mps.ImageNode(GRADIENT))
    graph = mps.Graph(device, [node.result_image for node in nodes.values()])
    results = encode(device, graph, {**arrays, GRADIENT: gradient})
    expected = oracle.gradients(case, *doubles(arrays, parameters), gradient.astype(np.float64))
    exact = integers and case.exact and case.exact_gradients
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
        if name in RUNNING:
            continue
        after = device.read_parameter(net.weights, name)
        error = expected.parameter_errors[name]
        # The step itself rounds once: the gradient is read from a difference.
        error = error + 2.0**-23 * (np.abs(before) + np.abs(after))
        compare(
            f"gradient of {name}", before - after, expected.parameters[name], error, exact=exact
        )
