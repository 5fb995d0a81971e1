# SPDX-License-Identifier: MIT
"""What a node handler of training_graph may do: freeze, replace, export, stop."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import mpsnn as mps

Floats = NDArray[np.float32]
RANDOM = np.random.Generator(np.random.Philox(14))
NONE = mps.TrainingStyle.UPDATE_DEVICE_NONE
SOURCES = {name: RANDOM.standard_normal((2, 4, 5, 3)).astype(np.float32) for name in ("x", "g")}


class Net:
    """Three 1x1 convolutions, one after the other."""

    def __init__(self) -> None:
        generator = np.random.Generator(np.random.Philox(15))
        self.layers = [
            mps.ConvolutionDataSource(
                mps.ConvolutionDescriptor(1, 1, 3, 3),
                generator.standard_normal((3, 1, 1, 3)).astype(np.float32),
                generator.standard_normal(3).astype(np.float32),
                label=f"layer{i}",
                optimizer=mps.OptimizerStochasticGradientDescent(0.125),
            )
            for i in range(3)
        ]
        self.nodes: list[mps.FilterNode] = []
        image: mps.ImageNode | mps.FilterNode = mps.ImageNode("x")
        for layer in self.layers:
            image = mps.ConvolutionNode(image, layer)
            self.nodes.append(image)

    def values(self, device: mps.Device) -> list[list[Floats]]:
        """Weights and bias of each layer."""
        return [
            [device.read_parameter(layer, name) for name in ("weights", "bias")]
            for layer in self.layers
        ]


def train(
    device: mps.Device, ends: list[mps.FilterNode], steps: int = 3
) -> tuple[mps.Graph, mps.GraphOutputs]:
    """Some steps; the last one's outputs."""
    graph = mps.Graph(device, [end.result_image for end in ends], [False] * len(ends))
    for _ in range(steps):
        commands = mps.CommandBuffer(device.command_queue())
        outputs = graph.encode(commands, SOURCES)
        commands.commit()
        commands.wait_until_completed()
    return graph, outputs


def changed(net: Net, device: mps.Device) -> list[bool]:
    """Which layers differ from their first values, in any bit."""
    return [
        any(
            value.tobytes() != layer.initial(name).tobytes()
            for value, name in zip(values, ("weights", "bias"), strict=True)
        )
        for values, layer in zip(net.values(device), net.layers, strict=True)
    ]


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_transfer_learning_changes_the_later_weights_only(device: mps.Device, stop: int) -> None:
    net = Net()
    net.nodes[stop].result_image.stop_gradient = True
    if stop == 2:
        net.nodes[stop].result_image.stop_gradient = False
        net.nodes[1].result_image.stop_gradient = True
    train(device, net.nodes[2].training_graph(mps.ImageNode("g")))
    last = min(stop, 1)
    assert changed(net, device) == [i > last for i in range(3)]


@pytest.mark.parametrize("frozen", [0, 1, 2])
@pytest.mark.parametrize("way", ["style", "trainable"])
def test_a_handler_freezes_single_layers(device: mps.Device, frozen: int, way: str) -> None:
    def handler(
        node: mps.FilterNode, forward: mps.FilterNode | None, *_: mps.ImageNode | None
    ) -> None:
        if forward != net.nodes[frozen]:
            return
        if way == "style":
            node.training_style = NONE
        else:
            net.layers[frozen].trainable = False

    net, free = Net(), Net()
    train(device, net.nodes[2].training_graph(mps.ImageNode("g"), handler), 1)
    train(device, free.nodes[2].training_graph(mps.ImageNode("g")), 1)
    assert changed(net, device) == [i != frozen for i in range(3)]
    # In one step the others change as if nothing were frozen, bit for bit.
    for i, (values, expected) in enumerate(
        zip(net.values(device), free.values(device), strict=True)
    ):
        if i != frozen:
            for value, other in zip(values, expected, strict=True):
                np.testing.assert_array_equal(value, other)


def test_a_handler_puts_a_clipping_in_the_place_of_a_gradient(device: mps.Device) -> None:
    limit = 0.25

    def clip(
        node: mps.FilterNode, forward: mps.FilterNode | None, *_: mps.ImageNode | None
    ) -> mps.FilterNode | None:
        if forward != net.nodes[2]:
            return None
        zero = mps.NeuronLinearNode(node, 0.0, 0.0)
        return mps.AdditionNode(node, zero, minimum_value=-limit, maximum_value=limit)

    net = Net()
    before = net.values(device)
    ends = net.nodes[2].training_graph(mps.ImageNode("g"), clip)
    assert len(ends) == 1
    train(device, ends, 1)
    gradient = SOURCES["g"].astype(np.float64)
    slopes = []
    inputs = [SOURCES["x"].astype(np.float64)]
    for weights, bias in before:
        inputs.append(inputs[-1] @ weights[:, 0, 0].T.astype(np.float64) + bias)
    for i in (2, 1, 0):
        slopes.append(np.einsum("nyxo,nyxi->oi", gradient, inputs[i]))
        gradient = gradient @ before[i][0][:, 0, 0].astype(np.float64)
        if i == 2:
            assert np.abs(gradient).max() > limit
            gradient = np.clip(gradient, -limit, limit)
    for i, slope in enumerate(reversed(slopes)):
        after = before[i][0][:, 0, 0] - 0.125 * slope
        np.testing.assert_allclose(net.values(device)[i][0][:, 0, 0], after, rtol=2e-5, atol=2e-5)


def test_a_handler_stops_the_walk(device: mps.Device) -> None:
    made = []

    def handler(
        node: mps.FilterNode,
        forward: mps.FilterNode | None,
        source: mps.ImageNode | None,
        _gradient: mps.ImageNode,
    ) -> None:
        made.append(node)
        if forward == net.nodes[1]:
            assert source is not None
            source.stop_gradient = True

    net = Net()
    train(device, net.nodes[2].training_graph(mps.ImageNode("g"), handler))
    assert len(made) == 2
    assert changed(net, device) == [False, True, True]


def test_a_handler_exports_gradients_and_names_them(device: mps.Device) -> None:
    def handler(
        node: mps.FilterNode, forward: mps.FilterNode | None, *_: mps.ImageNode | None
    ) -> None:
        assert forward is not None
        node.label = f"slope of {forward.label}"
        node.result_image.handle = f"{forward.label}.source"
        node.result_image.export_from_graph = True
        node.result_state.handle = f"{forward.label}.weights"
        node.result_state.export_from_graph = True
        node.training_style = NONE

    net = Net()
    graph, outputs = train(device, net.nodes[2].training_graph(mps.ImageNode("g"), handler), 1)
    assert graph.result_state_handles == ["layer2.weights", "layer1.weights", "layer0.weights"]
    assert "slope of layer2" in [node.label for node in graph.nodes]
    weights = np.asarray(outputs.states["layer2.weights"]["weights"])
    assert weights.shape == (3, 1, 1, 3)
    bias = np.asarray(outputs.states["layer2.weights"]["bias"]).ravel()
    np.testing.assert_allclose(bias, SOURCES["g"].sum((0, 1, 2)), rtol=1e-5, atol=1e-5)
    expected = SOURCES["g"] @ net.layers[2].weights[:, 0, 0]
    np.testing.assert_allclose(np.asarray(outputs["layer2.source"]), expected, rtol=1e-5, atol=1e-5)
    assert changed(net, device) == [False] * 3


def test_bad_handlers_are_errors(device: mps.Device) -> None:
    net = Net()
    gradient = mps.ImageNode("g")
    with pytest.raises(mps.ArgumentTypeError, match=r'node_handler: .*"layer2.gradient".*got int'):
        net.nodes[2].training_graph(gradient, lambda *_: 3)  # type: ignore[arg-type, return-value]

    def larger(node: mps.FilterNode, *_: object) -> mps.FilterNode:
        return mps.UpsamplingNearestNode(node, 2, 2)

    ends = net.nodes[2].training_graph(gradient, larger)
    with pytest.raises(mps.InvalidArgumentError, match="source_gradient: expected"):
        train(device, ends)
    with pytest.raises(ZeroDivisionError):
        net.nodes[2].training_graph(gradient, lambda *_: 1 // 0)  # type: ignore[arg-type, return-value]
