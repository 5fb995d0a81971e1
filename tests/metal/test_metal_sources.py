# SPDX-License-Identifier: MIT
"""Data sources and states on the double: normalisations in training, labels, what is refused.

Run by tools/run_metal_double.py, as test_metal_double.py is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import mpsnn as mps

Floats = NDArray[np.float32]
States = dict[str | mps.StateNode, Mapping[str, mps.Image] | mps.LossLabels]


@pytest.fixture(scope="module")
def device() -> mps.Device:
    return mps.Device("metal-double")


def floats(shape: tuple[int, ...], seed: int) -> Floats:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def encode(
    graph: mps.Graph, sources: dict[str, Floats], states: States | None = None
) -> mps.GraphOutputs:
    commands = mps.CommandBuffer(graph.device.command_queue())
    outputs = graph.encode(commands, sources, states)
    commands.commit()
    commands.wait_until_completed()
    return outputs


def training_net(device: mps.Device, make: Callable[[mps.ImageNode], mps.FilterNode]) -> mps.Graph:
    """Trains a node to make "t" of "x"."""
    node = make(mps.ImageNode("x"))
    loss = mps.ForwardLossNode(
        node.result_image,
        mps.ImageNode("t"),
        mps.LossDescriptor(mps.LossType.MEAN_SQUARED_ERROR, mps.ReductionType.SUM, weight=0.05),
    )
    loss.result_image.handle, loss.result_image.export_from_graph = "loss", True
    last = mps.InitialGradientNode(loss.result_image).training_graph()
    return mps.Graph(device, [last[0].result_image], results_are_needed=[False])


SOURCES: list[Callable[[mps.Optimizer | None], Any]] = [
    lambda step: mps.BatchNormalizationDataSource(
        4, epsilon=1e-3, momentum=0.75, label="w", optimizer=step
    ),
    lambda step: mps.InstanceNormalizationDataSource(4, epsilon=1e-3, label="w", optimizer=step),
    lambda step: mps.GroupNormalizationDataSource(4, 2, epsilon=1e-3, label="w", optimizer=step),
]
NODES: list[Any] = [
    mps.BatchNormalizationNode,
    mps.InstanceNormalizationNode,
    mps.GroupNormalizationNode,
]


def make_node(kind: Any, source: mps.DataSource, image: mps.ImageNode) -> mps.FilterNode:  # noqa: ANN401
    made: mps.FilterNode = kind(image, source)
    return made


BATCH = {"x": floats((3, 5, 4, 4), 1) * 2 + 1, "t": floats((3, 5, 4, 4), 2)}


@pytest.mark.parametrize("kind", range(3))
@pytest.mark.parametrize("is_trained", [True, False])
def test_normalizations_train_as_on_the_cpu(
    device: mps.Device, kind: int, *, is_trained: bool
) -> None:
    losses: list[list[float]] = []
    arrays: list[dict[str, Floats]] = []
    for on in (device, mps.Device("cpu")):
        source = SOURCES[kind](mps.OptimizerAdam(0.05) if is_trained else None)
        graph = training_net(on, partial(make_node, NODES[kind], source))
        losses.append([float(np.sum(np.asarray(encode(graph, BATCH)["loss"]))) for _ in range(4)])
        names = ["gamma", "beta", *(["mean", "variance"] if kind == 0 else [])]
        arrays.append({name: on.read_parameter(source, name) for name in names})
        # What was trained is what inference reads.
        apply = mps.Graph(on, [NODES[kind](mps.ImageNode("x"), source).result_image])
        arrays[-1]["applied"] = np.asarray(encode(apply, {"x": BATCH["x"]}).results[0])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    for name, array in arrays[0].items():
        np.testing.assert_allclose(array, arrays[1][name], rtol=2e-4, atol=2e-5, err_msg=name)
    assert (losses[0][3] < losses[0][0]) == is_trained
    if kind == 0:
        assert np.all(arrays[0]["mean"] != 0)


def test_a_predicate_keeps_running_statistics(device: mps.Device) -> None:
    source = SOURCES[0](None)
    graph = training_net(device, lambda image: mps.BatchNormalizationNode(image, source))
    predicate = mps.Predicate(device)
    predicate.value = 0
    commands = mps.CommandBuffer(device.command_queue())
    commands.predicate = predicate
    graph.encode(commands, BATCH)
    commands.commit()
    commands.wait_until_completed()
    np.testing.assert_array_equal(device.read_parameter(source, "mean"), np.zeros(4))
    encode(graph, BATCH)
    expected = 0.25 * BATCH["x"].mean((0, 1, 2))
    np.testing.assert_allclose(device.read_parameter(source, "mean"), expected, rtol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", [mps.ReductionType.NONE, mps.ReductionType.SUM])
def test_labels_in_a_state(
    device: mps.Device, reduction: mps.ReductionType, *, weighted: bool
) -> None:
    made = []
    for on in (device, mps.Device("cpu")):
        descriptor = mps.LossDescriptor(mps.LossType.SIGMOID_CROSS_ENTROPY, reduction)
        node = mps.LossNode(mps.ImageNode("y"), None, descriptor)
        graph = mps.Graph(on, [node.result_image])
        images = [mps.Image(on, floats((2, 3, 5, 4), seed)) for seed in (3, 4)]
        labels = mps.LossLabels(on, images[0], images[1] if weighted else None)
        outputs = encode(graph, {"y": floats((2, 3, 5, 4), 5)}, {"labels": labels})
        made.append([np.asarray(outputs.results[0]), np.asarray(labels.loss_image)])
    for got, expected in zip(*made, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def halves(handle: str) -> mps.ImageNode:
    image = mps.ImageNode(handle)
    image.format = mps.DataType.FLOAT16
    return image


def test_losses_and_masks_beside_halves_are_floats(device: mps.Device) -> None:
    """MPS gives a result the format of its source's node, and its copies convert nothing."""
    descriptor = mps.LossDescriptor(mps.LossType.MEAN_SQUARED_ERROR, mps.ReductionType.SUM)
    loss = mps.LossNode(halves("y"), None, descriptor)
    labels = mps.LossLabels(device, mps.Image(device, np.zeros((1, 1, 2, 1), np.float32)))
    predictions = np.float16([[[[1.5], [3.0]]]])
    encode(mps.Graph(device, [loss.result_image]), {"y": predictions}, {"labels": labels})
    assert float(np.asarray(labels.loss_image).sum()) == 1.5**2 + 3**2
    node = mps.DropoutNode(halves("x"), 0.5, 7)
    node.result_state.handle, node.result_state.export_from_graph = "mask", True
    outputs = encode(mps.Graph(device, [node.result_image]), {"x": predictions})
    mask = np.asarray(outputs.states["mask"]["mask"])
    np.testing.assert_array_equal(np.asarray(outputs.results[0]), predictions * mask)


def test_yolo_labels_in_a_state(device: mps.Device) -> None:
    boxes = floats((2, 3, 4, 12), 5) ** 2 + 0.1
    boxes[..., [4, 10]] = boxes[..., [4, 10]] > 1
    made = []
    for on in (device, mps.Device("cpu")):
        node = mps.YOLOLossNode(mps.ImageNode("y"), None, mps.YOLOLossDescriptor([1, 2, 2, 1]))
        graph = mps.Graph(on, [node.result_image])
        labels = mps.LossLabels(on, mps.Image(on, boxes))
        outputs = encode(graph, {"y": floats((2, 3, 4, 12), 6)}, {"labels": labels})
        made.append([np.asarray(outputs.results[0]), np.asarray(labels.loss_image)])
    for got, expected in zip(*made, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert (made[0][1] > 0).all()


def test_yolo_labels_of_a_node_are_refused(device: mps.Device) -> None:
    labels = mps.NeuronAbsoluteNode(mps.ImageNode("t")).result_image
    descriptor = mps.YOLOLossDescriptor([1.0, 2.0])
    node = mps.YOLOLossNode(mps.ImageNode("y"), labels, descriptor, label="yolo")
    graph = mps.Graph(device, [node.result_image])
    images = {name: floats((1, 2, 2, 7), 1) for name in ("y", "t")}
    with pytest.raises(mps.UnsupportedError, match=r'"yolo".*labels: MPS takes them in a state'):
        encode(graph, images)


class OwnUpdates(mps.ConvolutionDataSource):
    """Updates itself, which nothing of MPS's optimizers does."""

    def update_with_command_buffer(
        self,
        commands: mps.CommandBuffer,  # noqa: ARG002
        gradient_state: dict[str, mps.Image],  # noqa: ARG002
        source_state: dict[str, mps.Image],
    ) -> dict[str, mps.Image]:
        """The weights as they are."""
        return source_state


def convolution(
    kind: type[mps.ConvolutionDataSource] = mps.ConvolutionDataSource,
) -> mps.ConvolutionDataSource:
    return kind(
        mps.ConvolutionDescriptor(1, 1, 4, 4),
        floats((4, 1, 1, 4), 6),
        None,
        "w",
        mps.OptimizerAdam(0.01),
    )


@pytest.mark.parametrize("is_convolution", [True, False])
def test_every_node_of_a_data_source_sees_what_one_of_them_trains(
    device: mps.Device, *, is_convolution: bool
) -> None:
    """MPS has a copy of the weights for each node; an update reaches the trained one's only."""
    found: list[list[Floats]] = []
    for on in (device, mps.Device("cpu")):
        source = convolution() if is_convolution else SOURCES[1](mps.OptimizerAdam(0.05))
        kind: Any = mps.ConvolutionNode if is_convolution else NODES[1]
        x = mps.ImageNode("x")
        other = kind(x, source)
        trained = kind(x, source)
        loss = mps.ForwardLossNode(
            trained.result_image,
            mps.ImageNode("t"),
            mps.LossDescriptor(mps.LossType.MEAN_SQUARED_ERROR, mps.ReductionType.SUM, weight=0.05),
        )
        last = mps.InitialGradientNode(loss.result_image).training_graph()
        results = [last[0].result_image, other.result_image]
        graph = mps.Graph(on, results, results_are_needed=[False, True])
        found.append([np.asarray(encode(graph, BATCH)[1]) for _ in range(3)])
    for got, expected in zip(*found, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)
    assert np.abs(found[0][2] - found[0][0]).max() > 1e-3


def refused(graph: mps.Graph, reason: str) -> None:
    with pytest.raises(mps.UnsupportedError, match=reason):
        encode(graph, {name: BATCH.get(name, BATCH["x"]) for name in graph.source_handles})


def test_updates_without_an_optimizer_are_refused(device: mps.Device) -> None:
    source = convolution(OwnUpdates)
    graph = training_net(device, lambda image: mps.ConvolutionNode(image, source))
    refused(graph, "training_style: expected UPDATE_DEVICE_GPU and an optimizer")

    def on_cpu(image: mps.ImageNode) -> mps.FilterNode:
        node = mps.ConvolutionNode(image, convolution())
        node.training_style = mps.TrainingStyle.UPDATE_DEVICE_CPU
        return node

    refused(training_net(device, on_cpu), "got UPDATE_DEVICE_CPU")


@pytest.mark.parametrize("terms", [{}, {"output_scale_terms": [2.0, 2.0, 2.0, 2.0]}])
def test_a_binary_convolution_sees_changed_weights(
    device: mps.Device, terms: dict[str, list[float]]
) -> None:
    source = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(1, 1, 4, 4), floats((4, 1, 1, 4), 6), floats((4,), 7), "w"
    )
    node = mps.BinaryConvolutionNode(mps.ImageNode("x"), source, **terms)
    graph, scale = mps.Graph(device, [node.result_image]), 2.0 if terms else 1.0
    for sign in (1.0, -1.0):
        device.write_parameter(source, "weights", np.full((4, 1, 1, 4), sign, np.float32))
        device.write_parameter(source, "bias", np.full(4, 5 * sign, np.float32))
        (result,) = encode(graph, {"x": BATCH["x"]}).results
        expected = scale * sign * BATCH["x"].sum(-1, keepdims=True) + 5 * sign
        np.testing.assert_allclose(np.asarray(result), np.repeat(expected, 4, -1), rtol=1e-5)


def test_a_binary_convolution_of_trained_weights_is_refused(device: mps.Device) -> None:
    source = convolution()

    image = mps.ImageNode("x")
    loss = mps.InitialGradientNode(mps.ConvolutionNode(image, source).result_image)
    binary = mps.BinaryConvolutionNode(image, source, label="b")
    graph = mps.Graph(device, [loss.training_graph()[0].result_image, binary.result_image])
    refused(graph, r'"b".*weights: MPS.s binary convolution reads them once')


def test_statistics_in_states_are_refused(device: mps.Device) -> None:
    node = mps.InstanceNormalizationNode(mps.ImageNode("x"), SOURCES[1](None), label="n")
    gradient = node.gradient_filter(mps.ImageNode("g"))
    gradient.use_source_state("s")
    graph = mps.Graph(device, [gradient.result_image])
    given = {part: mps.Image(device, floats((1, 1, 3, 4), 8)) for part in ("mean", "variance")}
    with pytest.raises(mps.UnsupportedError, match=r'"n.gradient".*use_source_state: .*got "s"'):
        encode(graph, {"x": BATCH["x"], "g": BATCH["t"]}, {"s": given})
    node.result_state.handle, node.result_state.export_from_graph = "s", True
    graph = mps.Graph(device, [node.result_image])
    with pytest.raises(mps.UnsupportedError, match=r'"n".*result_state: expected no state but'):
        encode(graph, {"x": BATCH["x"]})


def test_a_dropout_mask_goes_from_graph_to_graph(device: mps.Device) -> None:
    node = mps.DropoutNode(mps.ImageNode("x"), 0.5, 7)
    node.result_state.handle, node.result_state.export_from_graph = "mask", True
    beside = node.gradient_filter(mps.ImageNode("g"))
    forward = mps.Graph(device, [node.result_image, beside.result_image])
    after = node.gradient_filter(mps.ImageNode("g"))
    after.use_source_state("mask")
    backward = mps.Graph(device, [after.result_image])
    images = {"x": BATCH["x"], "g": BATCH["t"]}
    masks = []
    for _ in range(2):
        outputs = encode(forward, images)
        mask = outputs.states["mask"]["mask"]
        masks.append(np.asarray(mask))
        assert set(np.unique(masks[-1])) == {0, 2}
        np.testing.assert_array_equal(np.asarray(outputs.results[0]), images["x"] * masks[-1])
        expected = images["g"] * masks[-1]
        np.testing.assert_array_equal(np.asarray(outputs.results[1]), expected)
        needed = {name: images[name] for name in backward.source_handles}
        (result,) = encode(backward, needed, {"mask": {"mask": mask}}).results
        np.testing.assert_array_equal(np.asarray(result), expected)
    assert (masks[0] != masks[1]).any()


def test_a_gradient_through_stored_statistics_is_refused(device: mps.Device) -> None:
    def never(image: mps.ImageNode) -> mps.FilterNode:
        flags = mps.BatchNormalizationFlags.CALCULATE_STATISTICS_NEVER
        return mps.BatchNormalizationNode(image, SOURCES[0](None), flags=flags)

    refused(training_net(device, never), "flags: MPS's gradient takes stored statistics")


def test_two_nodes_of_moving_statistics_are_refused(device: mps.Device) -> None:
    source = SOURCES[0](None)

    def twice(image: mps.ImageNode) -> mps.FilterNode:
        first = mps.BatchNormalizationNode(image, source)
        return mps.BatchNormalizationNode(first.result_image, source)

    refused(training_net(device, twice), "another node trains the same data source")
