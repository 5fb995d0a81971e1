# SPDX-License-Identifier: MIT
"""A small net with a skip, a pooling, an upsampling and two losses, here and in JAX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from cases import SAME, SQUARED, SUM, Case, Convolution
from numpy.typing import NDArray
from oracles import Array, oracle_of

import mpsnn as mps

Floats = NDArray[np.float32]
Weights = dict[str, Floats]

# Layers: kernel, channels in and out.
LAYERS = {
    "first": (3, 6, 8),
    "second": (3, 8, 8),
    "bottom": (3, 8, 8),
    "up": (3, 8, 8),
    "last": (3, 8, 3),
}
EDGES = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float32)


def first_weights(seed: int = 0) -> Weights:
    """Weights and biases of all layers, and the fixed filter of the edges' loss."""
    generator = np.random.Generator(np.random.Philox(seed))
    weights: Weights = {}
    for name, (kernel, inputs, outputs) in LAYERS.items():
        shape = (outputs, kernel, kernel, inputs)
        scale = np.float32(np.sqrt(2.0 / (kernel * kernel * inputs)))
        weights[f"{name}.weights"] = generator.standard_normal(shape, dtype=np.float32) * scale
        weights[f"{name}.bias"] = generator.standard_normal(outputs, dtype=np.float32) * np.float32(
            0.1
        )
    edges = np.zeros((3, 3, 3, 3), np.float32)
    for colour in range(3):
        edges[colour, :, :, colour] = EDGES
    weights["edges.weights"] = edges
    return weights


def batch(index: int = 0, size: tuple[int, int, int] = (2, 12, 8)) -> dict[str, Floats]:
    """Sources of one step."""
    generator = np.random.Generator(np.random.Philox(100 + index))
    return {
        "picture": generator.random((*size, 3), dtype=np.float32),
        "guide": generator.random((*size, 3), dtype=np.float32),
        "target": generator.random((*size, 3), dtype=np.float32),
    }


@dataclass
class Net:
    """The net's data sources and the graph that trains it."""

    sources: dict[str, mps.ConvolutionDataSource]
    step: mps.Graph
    inference: mps.Graph

    def train(self, queue: mps.CommandQueue, sources: Mapping[str, Floats]) -> Floats:
        """One step; gives the loss of each image."""
        commands = mps.CommandBuffer(queue)
        outputs = self.step.encode(commands, dict(sources))
        commands.commit()
        return np.array(outputs["loss"]).ravel()

    def read(self, device: mps.Device) -> Weights:
        """The weights as they are on the device now."""
        return {
            f"{label}.{name}": device.read_parameter(source, name)
            for label, source in self.sources.items()
            for name in source.parameters
        }


def build(
    device: mps.Device, weights: Weights, optimizer: mps.Optimizer | None, scale: float = 1.0
) -> Net:
    """The net with these weights."""
    sources: dict[str, mps.ConvolutionDataSource] = {}
    for name in [*LAYERS, "edges"]:
        array = weights[f"{name}.weights"]
        outputs, kernel, _, inputs = array.shape
        sources[name] = mps.ConvolutionDataSource(
            mps.ConvolutionDescriptor(kernel, kernel, inputs, outputs),
            array,
            weights.get(f"{name}.bias"),
            name,
            optimizer if name in LAYERS else None,
        )
    picture, guide, target = (mps.ImageNode(name) for name in ("picture", "guide", "target"))
    joined = mps.ConcatenationNode([picture, guide])
    first = mps.NeuronReLUNode(mps.ConvolutionNode(joined, sources["first"]))
    second = mps.NeuronReLUNode(mps.ConvolutionNode(first, sources["second"]), 0.25)
    pooled = mps.PoolingMaxNode(second, 2)
    bottom = mps.NeuronReLUNode(mps.ConvolutionNode(pooled, sources["bottom"]))
    large = mps.UpsamplingBilinearNode(bottom, 2)
    skipped = mps.AdditionNode(large, second)
    up = mps.NeuronReLUNode(mps.ConvolutionNode(skipped, sources["up"]))
    output = mps.ConvolutionNode(up, sources["last"])
    descriptor = mps.LossDescriptor(
        mps.LossType.MEAN_SQUARED_ERROR, mps.ReductionType.SUM, weight=scale
    )
    colours = mps.ForwardLossNode(output, target, descriptor)
    edges = mps.ForwardLossNode(
        mps.ConvolutionNode(output, sources["edges"], label="edges.output"),
        mps.ConvolutionNode(target, sources["edges"], label="edges.target"),
        descriptor,
    )
    loss = mps.AdditionNode(colours, edges, secondary_scale=0.5, label="loss")
    loss.result_image.handle = "loss"
    loss.result_image.export_from_graph = True
    last = mps.InitialGradientNode(loss).training_graph()
    step = mps.Graph(device, [last[0].result_image], [False])
    return Net(sources, step, mps.Graph(device, [output.result_image]))


def _convolution(x: Array, weights: Mapping[str, Array], name: str) -> Array:
    array = weights[f"{name}.weights"]
    outputs, kernel, _, inputs = array.shape
    has_bias = f"{name}.bias" in weights
    geometry = Convolution((kernel, kernel), inputs, outputs, bias=has_bias)
    case = Case("ConvolutionNode", (x.shape,), convolution=geometry, padding=SAME)
    parameters = {"weights": array, "bias": weights.get(f"{name}.bias", 0.0)}
    return oracle_of("ConvolutionNode").forward(case, [x], parameters)


def _node(name: str, sources: list[Array], **attributes: object) -> Array:
    case = Case(name, tuple(s.shape for s in sources), attributes)
    return oracle_of(name).forward(case, sources, {})


def output(weights: Mapping[str, Array], sources: Mapping[str, Array]) -> Array:
    """The net's result, by JAX."""
    joined = _node("ConcatenationNode", [sources["picture"], sources["guide"]])
    first = _node("NeuronReLUNode", [_convolution(joined, weights, "first")])
    second = _node("NeuronReLUNode", [_convolution(first, weights, "second")], a=0.25)
    pooled = _node("PoolingMaxNode", [second], kernel_width=2)
    bottom = _node("NeuronReLUNode", [_convolution(pooled, weights, "bottom")])
    large = _node("UpsamplingBilinearNode", [bottom], integer_scale_factor_x=2)
    up = _node("NeuronReLUNode", [_convolution(large + second, weights, "up")])
    return _convolution(up, weights, "last")


def losses(weights: Mapping[str, Array], sources: Mapping[str, Array], scale: float = 1.0) -> Array:
    """The loss of each image, by JAX."""
    result, target = output(weights, sources), sources["target"]
    squared = {"loss_type": SQUARED, "reduction_type": SUM, "weight": scale}
    colours = _node("ForwardLossNode", [result, target], **squared)
    edges = [_convolution(image, weights, "edges") for image in (result, target)]
    return (colours + 0.5 * _node("ForwardLossNode", edges, **squared)).reshape(-1)


def total(weights: Mapping[str, Array], sources: Mapping[str, Array], scale: float = 1.0) -> Array:
    """The sum of all losses: what is differentiated."""
    return jnp.sum(losses(weights, sources, scale))
