# SPDX-License-Identifier: MIT
"""Runs a case on a device and compares it with its oracle: forward, then every gradient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

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
from numpy.typing import NDArray
from oracles import Doubles, oracle_of

import mpsnn as mps

Halves = NDArray[np.float16]
Images = dict[str, Floats | Halves]

FLOAT, HALF = mps.DataType.FLOAT32, mps.DataType.FLOAT16
# Half the distance from 1 to the next float16, and half its smallest number.
HALF_UNIT, HALF_TINY = 2.0**-11, 2.0**-25
# From here on a number rounds to infinity.
HALF_INFINITE = 65520.0
# Cases of a class that run with any numbers in float16, and with results of another format.
ROUNDED, MIXED = 3, 1


@dataclass(frozen=True)
class Run:
    """A case with its values and formats.

    Attributes:
        case: The case.
        integers: Small integers as values, not any numbers.
        source: Format of the sources and their gradients.
        result: Format of the result and its gradient.
    """

    case: Case
    integers: bool
    source: mps.DataType = FLOAT
    result: mps.DataType = FLOAT

    @property
    def id(self) -> str:
        """A name for test reports."""
        parts = [self.case.id, "exact" if self.integers else "random"]
        formats = dict.fromkeys([self.source.name.lower(), self.result.name.lower()])
        return "-".join(parts if self.result == self.source == FLOAT else [*parts, *formats])


def runs(cases: Iterable[Case], *, gradients: bool = False) -> list[Run]:
    """Every case with both kinds of values in float32 and with integers in float16.

    The first cases of a class also run with any numbers in float16 and with a result of the other
    format: what rounding does depends on the class, not on the geometry.
    """
    found: list[Run] = []
    seen: Counter[str] = Counter()
    for case in cases:
        if gradients and not case.differentiable:
            continue
        found += [Run(case, True), Run(case, False), Run(case, True, HALF, HALF)]
        found += [Run(case, False, HALF, HALF)] * (seen[case.node] < ROUNDED)
        if seen[case.node] < MIXED:
            found += [Run(case, integers, HALF, FLOAT) for integers in (True, False)]
            found += [Run(case, integers, FLOAT, HALF) for integers in (True, False)]
        seen[case.node] += 1
    return found


def encode(device: mps.Device, graph: mps.Graph, sources: Images) -> mps.GraphOutputs:
    """Runs a graph with those of the sources that it has."""
    commands = mps.CommandBuffer(device.command_queue())
    outputs = graph.encode(commands, {name: sources[name] for name in graph.source_handles})
    commands.commit()
    commands.wait_until_completed()
    return outputs


def in_format(array: Floats, image_format: mps.DataType) -> Floats | Halves:
    """The array as an image of that format holds it."""
    return array.astype(np.float16) if image_format == HALF else array


def compare(
    name: str, got: Floats | Halves, expected: Doubles, error: Doubles, *, exact: bool
) -> None:
    """Equal bit for bit once rounded, or within the errors of float32 and of the rounding."""
    assert got.shape == expected.shape, f"{name}: {got.shape}, expected {expected.shape}"
    is_half = got.dtype == np.float16
    with np.errstate(over="ignore"):
        rounded = expected.astype(got.dtype)
    if exact:
        np.testing.assert_array_equal(got, rounded, err_msg=name)
        return
    if is_half:
        error = error + HALF_UNIT * (np.abs(expected) + error) + HALF_TINY
        overflows = (np.abs(expected) + error >= HALF_INFINITE) & np.isinf(got)
        got = np.where(overflows, rounded, got)
        expected = np.where(overflows, rounded, expected)
    same = got == expected
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(got.astype(np.float64) - expected))
    worst = np.unravel_index(np.argmax(difference - error), difference.shape)
    assert np.all(difference <= error + 1e-37), (
        f"{name}: at {worst} got {got[worst]}, expected {expected[worst]} ± {error[worst]}"
    )


def images_of(run: Run) -> Images:
    """Values for the sources in their format."""
    arrays = source_arrays(run.case, integers=run.integers)
    return {name: in_format(array, run.source) for name, array in arrays.items()}


def check_forward(device: mps.Device, run: Run) -> None:
    """Compares the result with the formula."""
    case = run.case
    parameters = parameters_of(case, integers=run.integers)
    net = build(case, parameters, run.source, run.result, integers=run.integers)
    images = images_of(run)
    graph = mps.Graph(device, [net.node.result_image])
    image = encode(device, graph, images)[0]
    assert image is not None
    assert image.format == run.result
    expected, error = oracle_of(case.node).result(case, *doubles(images, parameters))
    compare("result", np.asarray(image), expected, error, exact=run.integers and case.exact)


def doubles(
    images: Images, parameters: dict[str, Floats]
) -> tuple[list[Doubles], dict[str, Doubles]]:
    """Sources and parameters for the oracle."""
    return (
        [array.astype(np.float64) for array in images.values()],
        {name: array.astype(np.float64) for name, array in parameters.items()},
    )


def check_gradients(device: mps.Device, run: Run) -> None:
    """Compares the gradients of all sources and parameters with JAX's."""
    case = run.case
    parameters = parameters_of(case, integers=run.integers)
    net = build(case, parameters, run.source, run.result, integers=run.integers)
    images = images_of(run)
    oracle = oracle_of(case.node)
    shape = oracle.result(case, *doubles(images, parameters))[0].shape
    gradient = in_format(values(case, shape, GRADIENT, integers=run.integers), run.result)
    source = mps.ImageNode(GRADIENT)
    source.format = run.result
    nodes = gradient_nodes(net, source)
    graph = mps.Graph(device, [node.result_image for node in nodes.values()])
    results = encode(device, graph, {**images, GRADIENT: gradient})
    expected = oracle.gradients(case, *doubles(images, parameters), gradient.astype(np.float64))
    exact = run.integers and case.exact and case.exact_gradients
    assert nodes, "no source has a gradient"
    for index, result in zip(nodes, results, strict=True):
        assert result is not None
        assert result.format == run.source
        error = expected.source_errors[index]
        if oracle.reads_result and run.result == HALF:
            error = error + 4 * HALF_UNIT * expected.source_sizes[index]
        compare(
            f"gradient of source {index}",
            np.asarray(result),
            expected.sources[index],
            error,
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
