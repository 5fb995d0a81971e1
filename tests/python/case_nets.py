# SPDX-License-Identifier: MIT
"""The nodes of a case, and values for its sources. Knows no oracle."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from cases import Case
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn import _core

Floats = NDArray[np.float32]

GRADIENT = "gradient"


@dataclass
class Net:
    """The node of a case with its sources and data source."""

    node: mps.FilterNode
    sources: list[mps.ImageNode]
    weights: mps.DataSource | None


# Parameters that no optimizer updates.
RUNNING = ("mean", "variance")


def values(case: Case, shape: tuple[int, ...], name: str, *, integers: bool) -> Floats:
    """Reproducible values: small integers, whose sums are exact, or normal floats."""
    seed = zlib.crc32(f"{case.id} {name}".encode())
    generator = np.random.Generator(np.random.Philox(seed))
    if integers:
        return generator.integers(-3, 4, shape).astype(np.float32)
    return generator.standard_normal(shape, dtype=np.float32)


def source_arrays(case: Case, *, integers: bool) -> dict[str, Floats]:
    """Values for the sources, each in its range."""
    arrays = {}
    for i, size in enumerate(case.sources):
        name = f"source{i}"
        array = values(case, size, name, integers=integers)
        kind = case.ranges[i] if i < len(case.ranges) else "any"
        arrays[name] = in_range(array, kind)
    return arrays


def in_range(array: Floats, kind: str) -> Floats:
    """The values brought into a range of `cases.RANGES`."""
    if kind == "distribution":
        return distribution(array)
    if kind.startswith("boxes"):
        return boxes(array, int(kind.removeprefix("boxes")))
    ranges: dict[str, Callable[[Floats], Floats]] = {
        "any": lambda x: x,
        "binary": lambda x: x > 0,
        "negative": lambda x: -np.abs(x),
        "positive": lambda x: np.abs(x) + 1,
        "nonzero": lambda x: np.copysign(np.abs(x) + 1, x),
        "probability": lambda x: 0.1 + 0.8 / (1 + np.exp(-x)),
    }
    return ranges[kind](array).astype(np.float32)


def distribution(array: Floats) -> Floats:
    """Shares of the channels in steps of 1 / 1024: they add up to 1 in float16, too."""
    exponentials = np.exp(array)
    shares = exponentials / exponentials.sum(axis=3, keepdims=True)
    steps = np.maximum(np.round(shares * 1024), 1)
    rest = 1024 - steps.sum(axis=3, keepdims=True)
    largest = np.argmax(steps, axis=3, keepdims=True)
    np.put_along_axis(steps, largest, np.take_along_axis(steps, largest, 3) + rest, 3)
    return (steps / 1024).astype(np.float32)


def boxes(array: Floats, anchors: int) -> Floats:
    """Labels of objects in about half of the cells, the same for all anchors of a cell."""
    parted = array.reshape(*array.shape[:3], anchors, -1).copy()
    first = parted[:, :, :, :1]
    parted[..., 0:2] = 0.1 + 0.8 / (1 + np.exp(-first[..., 0:2]))
    parted[..., 2:4] = 0.3 + np.abs(first[..., 2:4])
    parted[..., 4] = first[..., 4] > 0
    parted[..., 5:] = in_range(first[..., 0, 5:], "distribution")[..., None, :]
    return parted.reshape(array.shape)


def parameters_of(case: Case, *, integers: bool) -> dict[str, Floats]:
    """First values of the data source's parameters."""
    if case.normalization is not None:
        return normalization_parameters(case, integers=integers)
    c = case.convolution
    if c is None:
        return {}
    arrays = {"weights": stored_weights(case, integers=integers).numbers}
    if c.bias:
        arrays["bias"] = values(case, (c.outputs,), "bias", integers=integers)
    return arrays


@dataclass
class StoredWeights:
    """Weights as they are given, and the numbers that they stand for."""

    given: NDArray[Any]
    numbers: Floats
    ranges: Floats | None = None
    lookup_table: Floats | None = None


def stored_weights(case: Case, *, integers: bool) -> StoredWeights:
    """The weights of a convolution, in the element type that the case asks for."""
    c = case.convolution
    assert c is not None
    shape = (c.outputs, *c.kernel, c.inputs // c.groups)
    numbers = values(case, shape, "weights", integers=integers)
    if c.stored == "float32":
        return StoredWeights(numbers, numbers)
    if c.stored == "float16":
        halves = numbers.astype(np.float16)
        return StoredWeights(halves, halves.astype(np.float32))
    # Small integers are the steps around the middle; any number takes any step.
    width = 3 if integers else 127
    steps = (128 + np.clip(np.round(numbers * (width / 3)), -width, width)).astype(np.uint8)
    if c.stored == "linear":
        low = np.arange(c.outputs) * (-1.0 if integers else -0.01) - (127.0 if integers else 0.7)
        ranges = np.stack([low, low + (255.0 if integers else 1.3)], 1).astype(np.float32)
        low64, high64 = ranges.astype(np.float64).T.reshape(2, c.outputs, 1, 1, 1)
        exact = steps.astype(np.float64) / 255 * (high64 - low64) + low64
        return StoredWeights(steps, exact.astype(np.float32), ranges=ranges)
    table = values(case, (256,), "lookup_table", integers=integers)
    return StoredWeights(steps, table[steps], lookup_table=table)


def normalization_parameters(case: Case, *, integers: bool) -> dict[str, Floats]:
    """Gamma and beta, and what a batch normalisation keeps besides."""
    shape = (case.sources[0][3],)
    names = ["gamma", "beta"]
    if case.node.startswith("Batch"):
        names += RUNNING
    arrays = {name: values(case, shape, name, integers=integers) for name in names}
    if "variance" in arrays:
        arrays["variance"] = np.abs(arrays["variance"]) + np.float32(0.5)
    return arrays


def normalization_source(case: Case, parameters: dict[str, Floats]) -> mps.DataSource:
    """The data source of a normalisation."""
    options = case.normalization
    assert options is not None
    epsilon = {} if options.epsilon is None else {"epsilon": options.epsilon}
    shared: dict[str, Any] = {**parameters, **epsilon, "label": "weights"}
    channels, step = case.sources[0][3], mps.OptimizerStochasticGradientDescent(1.0)
    if options.groups is not None:
        return mps.GroupNormalizationDataSource(channels, options.groups, optimizer=step, **shared)
    if case.node.startswith("Instance"):
        return mps.InstanceNormalizationDataSource(channels, optimizer=step, **shared)
    return mps.BatchNormalizationDataSource(channels, optimizer=step, **shared)


def data_source(
    case: Case, parameters: dict[str, Floats], *, integers: bool
) -> mps.DataSource | None:
    """The data source; a step of its optimizer takes the gradient off the weights."""
    if case.normalization is not None:
        return normalization_source(case, parameters)
    c = case.convolution
    if c is None:
        return None
    stored = stored_weights(case, integers=integers)
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
    descriptor.sub_pixel_scale_factor = c.sub_pixel
    return mps.ConvolutionDataSource(
        descriptor,
        parameters["weights"] if c.stored == "float32" else stored.given,
        parameters.get("bias"),
        "weights",
        mps.OptimizerStochasticGradientDescent(1.0),
        ranges=stored.ranges,
        lookup_table=stored.lookup_table,
    )


def build(
    case: Case,
    parameters: dict[str, Floats],
    source_format: mps.DataType | None = None,
    result_format: mps.DataType | None = None,
    *,
    integers: bool = True,
) -> Net:
    """The nodes of a case, with images of these formats.

    `integers` is that of the parameters.
    """
    sources = [mps.ImageNode(f"source{i}") for i in range(len(case.sources))]
    for source in sources:
        source.format = source_format
    weights = data_source(case, parameters, integers=integers)
    node = mps.FilterNode(case.node, sources, dict(case.attributes), weights, label="tested")
    if case.padding is not None:
        node.padding_policy = mps.PaddingPolicy(case.padding)
    node.result_image.format = result_format
    return Net(node, sources, weights)


def gradient_nodes(net: Net, gradient: mps.ImageNode) -> dict[int, mps.FilterNode]:
    """The gradient node of each source that has one, by the source's index.

    Those that a training graph makes only for trained sources are among them.
    """
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
    specs = next(row for row in _core.node_table() if row["name"] == net.node.class_name)["sources"]
    derivatives = [specs[min(i, len(specs) - 1)]["derivative"] for i in range(len(net.sources))]
    differentiable = [i for i, derivative in enumerate(derivatives) if derivative != "none"]
    made = zip(differentiable, net.node.gradient_filters(gradient), strict=True)
    only_trained = {i: node for i, node in made if derivatives[i] == "if_trained"}
    return found | only_trained
