# SPDX-License-Identifier: MIT
"""States: labels that are given to a loss, and what nodes leave beside their images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from case_nets import source_arrays
from cases import Case
from cases.loss import CASES
from numpy.typing import NDArray
from oracles.loss import loss

import mpsnn as mps

Floats = NDArray[np.float32]
RANDOM = np.random.Generator(np.random.Philox(11))
SQUARED = mps.LossType.MEAN_SQUARED_ERROR
SUM = mps.ReductionType.SUM
NONE = mps.ReductionType.NONE


def run(
    device: mps.Device,
    graph: mps.Graph,
    sources: dict[str, Floats],
    states: dict[str, dict[str, mps.Image] | mps.LossLabels] | None = None,
) -> mps.GraphOutputs:
    """One encode, run to its end."""
    commands = mps.CommandBuffer(device.command_queue())
    outputs = graph.encode(commands, sources, states)
    commands.commit()
    commands.wait_until_completed()
    return outputs


def integers(*shape: int) -> Floats:
    """Small whole numbers."""
    return RANDOM.integers(-3, 4, shape).astype(np.float32)


def loss_graph(
    device: mps.Device, reduction: mps.ReductionType = SUM, kind: mps.LossType = SQUARED
) -> mps.Graph:
    """A loss whose labels come in a state."""
    node = mps.LossNode(mps.ImageNode("y"), None, mps.LossDescriptor(kind, reduction))
    return mps.Graph(device, [node.result_image])


FORWARD = [case for case in CASES if case.node == "ForwardLossNode"]


@pytest.mark.parametrize("case", FORWARD, ids=lambda case: case.id)
def test_every_loss_with_labels_in_a_state(device: mps.Device, case: Case) -> None:
    arrays = list(source_arrays(case, integers=False).values())
    options = {**case.attributes}
    descriptor = mps.LossDescriptor(
        mps.LossType(options.pop("loss_type")),
        mps.ReductionType(options.pop("reduction_type", mps.ReductionType.MEAN)),
        **options,
    )
    node = mps.LossNode(mps.ImageNode("y"), None, descriptor)
    graph = mps.Graph(device, [node.result_image])
    labels = mps.LossLabels(device, *arrays[1:])
    result = run(device, graph, {"y": arrays[0]}, {"labels": labels})[0]
    doubles = [array.astype(np.float64) for array in arrays]
    value = np.asarray(loss(case, doubles, {}))
    np.testing.assert_allclose(np.asarray(labels.loss_image), value, rtol=2e-5, atol=2e-5)
    assert result is not None
    forward = mps.LossNode(*[mps.ImageNode(name) for name in "yt"], descriptor)
    if len(arrays) == 2:
        images = dict(zip("yt", arrays, strict=True))
        same = run(device, mps.Graph(device, [forward.result_image]), images)[0]
        np.testing.assert_array_equal(np.asarray(result), np.asarray(same))


def test_a_loss_with_weights_is_exact(device: mps.Device) -> None:
    y, t, w = integers(2, 3, 4, 5), integers(2, 3, 4, 5), integers(2, 3, 4, 5)
    graph = loss_graph(device)
    labels = mps.LossLabels(device, t, w, label="three")
    gradient = run(device, graph, {"y": y}, {"labels": labels})[0]
    np.testing.assert_array_equal(np.asarray(gradient), 2 * w * (y - t))
    expected = np.sum(w * (y - t) ** 2, axis=(1, 2, 3), keepdims=True)
    np.testing.assert_array_equal(np.asarray(labels.loss_image), expected)
    np.testing.assert_array_equal(np.asarray(labels.labels_image), t)
    np.testing.assert_array_equal(np.asarray(labels.weights_image), w)
    assert graph.source_state_handles == ["labels"]
    assert graph.source_handles == ["y"]


def test_an_unreduced_loss_has_the_sources_size(device: mps.Device) -> None:
    y, t = integers(1, 3, 4, 5), integers(1, 3, 4, 5)
    labels = mps.LossLabels(device, t, loss_image_size=(1, 3, 4, 5))
    run(device, loss_graph(device, NONE), {"y": y}, {"labels": labels})
    np.testing.assert_array_equal(np.asarray(labels.loss_image), (y - t) ** 2)


def test_labels_serve_encode_after_encode(device: mps.Device) -> None:
    graph = loss_graph(device)
    t = integers(2, 2, 2, 2)
    labels = mps.LossLabels(device, t)
    queue = device.command_queue()
    losses, expected = [], []
    for _ in range(3):
        y = integers(2, 2, 2, 2)
        commands = mps.CommandBuffer(queue)
        graph.encode(commands, {"y": y}, {"labels": labels})
        losses.append(labels.loss_image)
        expected.append(np.sum((y - t) ** 2, axis=(1, 2, 3), keepdims=True))
        commands.commit()
    for image, value in zip(losses, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(image), value)


def test_a_net_trains_with_labels_in_a_state(device: mps.Device) -> None:
    values = np.zeros((1, 1, 1, 3), np.float32)
    weights = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(1, 1, 3, 1),
        values,
        optimizer=mps.OptimizerStochasticGradientDescent(0.05),
    )
    guess = mps.ConvolutionNode(mps.ImageNode("x"), weights)
    descriptor = mps.LossDescriptor(SQUARED, SUM, weight=1 / 64)
    start = mps.LossNode(guess, None, descriptor)
    start.input_labels.handle = "truth"
    step = mps.Graph(device, [start.training_graph()[-1].result_image], [False])
    assert step.source_state_handles == ["truth"]
    true = np.array([1, -2, 0.5], np.float32)
    x = RANDOM.standard_normal((4, 4, 4, 3)).astype(np.float32)
    labels = mps.LossLabels(device, (x @ true)[..., None])
    losses = []
    for _ in range(200):
        run(device, step, {"x": x}, {"truth": labels})
        losses.append(float(np.asarray(labels.loss_image).sum()))
    assert losses[-1] < 1e-6 * losses[0]
    np.testing.assert_allclose(device.read_parameter(weights, "weights")[0, 0, 0], true, atol=1e-3)


def test_yolo_leaves_its_loss(device: mps.Device) -> None:
    descriptor = mps.YOLOLossDescriptor([1.0, 2.0, 2.0, 1.0])
    shape = (2, 3, 4, 14)
    y = RANDOM.standard_normal(shape).astype(np.float32)
    t = RANDOM.random(shape, dtype=np.float32) + np.float32(0.1)
    images = [mps.ImageNode(name) for name in "yt"]
    whole = mps.YOLOLossNode(*images, descriptor, computes_loss=True)
    gradient = mps.YOLOLossNode(*images, descriptor)
    sources = {"y": y, "t": t}
    expected = [
        np.asarray(run(device, mps.Graph(device, [node.result_image]), sources)[0])
        for node in (gradient, whole)
    ]
    node = mps.YOLOLossNode(images[0], None, descriptor)
    labels = mps.LossLabels(device, t)
    result = run(device, mps.Graph(device, [node.result_image]), {"y": y}, {"labels": labels})[0]
    np.testing.assert_array_equal(np.asarray(result), expected[0])
    np.testing.assert_array_equal(np.asarray(labels.loss_image), expected[1])


def test_state_nodes_are_keys(device: mps.Device) -> None:
    node = mps.LossNode(mps.ImageNode("y"), None, mps.LossDescriptor(SQUARED, SUM))
    graph = mps.Graph(device, [node.result_image])
    labels = mps.LossLabels(device, np.zeros((1, 1, 1, 1), np.float32))
    commands = mps.CommandBuffer(device.command_queue())
    graph.encode(commands, {"y": np.ones((1, 1, 1, 1), np.float32)}, {node.input_labels: labels})
    commands.commit()
    assert np.asarray(labels.loss_image).item() == 1
    assert node.input_labels == node.input_labels
    assert node.input_labels.names == ["labels", "weights"]
    assert node.input_labels.producer is None


def test_plans_and_drawings_of_graphs_with_labels(cpu: mps.Device) -> None:
    graph = loss_graph(cpu)
    size = (2, 3, 4, 5)
    text = graph.plan_text({"y": size, "labels": size})
    assert "labels.loss" in text
    assert "labels.weights" in graph.plan_text({"y": size, "labels": size, "labels.weights": size})
    assert "labels.labels" in graph.dot()
    with pytest.raises(mps.InvalidArgumentError, match='a size for the state "labels"'):
        graph.plan_text({"y": size})


def test_labels_go_through_archives(cpu: mps.Device, tmp_path: Path) -> None:
    node = mps.LossNode(mps.ImageNode("y"), None, mps.LossDescriptor(SQUARED, SUM))
    node.input_labels.handle = "truth"
    path = tmp_path / "loss.safetensors"
    archiver = mps.KeyedArchiver()
    archiver.encode("loss", mps.Graph(cpu, [node.result_image]))
    archiver.write(path)
    graph = mps.KeyedUnarchiver(cpu).open(path).decode_graph("loss")
    assert graph.source_state_handles == ["truth"]
    y, t = integers(1, 2, 2, 2), integers(1, 2, 2, 2)
    labels = mps.LossLabels(cpu, t)
    run(cpu, graph, {"y": y}, {"truth": labels})
    assert np.asarray(labels.loss_image).item() == np.sum((y - t) ** 2)


def test_wrong_labels_are_refused(device: mps.Device) -> None:
    graph = loss_graph(device)
    y = integers(2, 3, 4, 5)
    labels = mps.LossLabels(device, integers(2, 3, 4, 5))
    with pytest.raises(mps.InvalidArgumentError, match='labels for the state "labels", got none'):
        run(device, graph, {"y": y})
    with pytest.raises(mps.InvalidArgumentError, match='unknown state "other"'):
        run(device, graph, {"y": y}, {"labels": labels, "other": labels})
    with pytest.raises(mps.ArgumentTypeError, match='state "labels": expected a LossLabels or'):
        run(device, graph, {"y": y}, {"labels": y})  # type: ignore[dict-item]
    with pytest.raises(mps.InvalidArgumentError, match="labels: expected"):
        run(device, graph, {"y": integers(2, 3, 4, 4)}, {"labels": labels})
    with pytest.raises(mps.InvalidArgumentError, match="weights: expected"):
        mps.LossLabels(device, y, integers(2, 3, 4, 4))
    with pytest.raises(mps.InvalidArgumentError, match="loss_image_size: expected"):
        mps.LossLabels(device, y, loss_image_size=(2, 3, 1, 1))
    unreduced = mps.LossLabels(device, y, loss_image_size=(2, 3, 4, 5))
    with pytest.raises(mps.InvalidArgumentError, match="by the loss's reduction"):
        run(device, graph, {"y": y}, {"labels": unreduced})
    with pytest.raises(mps.StateError, match="expected an encode with these labels"):
        _ = unreduced.loss_image


def test_wrong_label_nodes_are_refused(cpu: mps.Device) -> None:
    y = mps.ImageNode("y")
    descriptor = mps.LossDescriptor(SQUARED, SUM)
    with pytest.raises(mps.InvalidArgumentError, match="weights: expected none without labels"):
        mps.LossNode(y, None, descriptor, mps.ImageNode("w"))
    with pytest.raises(mps.InvalidArgumentError, match="input_labels: expected a loss"):
        _ = mps.LossNode(y, mps.ImageNode("t"), descriptor).input_labels
    with pytest.raises(mps.InvalidArgumentError, match="input_labels: expected a loss"):
        _ = mps.NeuronReLUNode(y).input_labels
    with pytest.raises(mps.InvalidArgumentError, match="result_state: expected a node that has"):
        _ = mps.NeuronReLUNode(y).result_state
    losses = [mps.LossNode(y, None, descriptor) for _ in range(2)]
    with pytest.raises(mps.InvalidArgumentError, match='one state with the handle "labels"'):
        mps.Graph(cpu, [node.result_image for node in losses])
    losses[0].input_labels.handle = ""
    with pytest.raises(mps.InvalidArgumentError, match="a handle for each state"):
        mps.Graph(cpu, [losses[0].result_image])
    with pytest.raises(mps.InvalidArgumentError, match="a state that a filter makes"):
        losses[1].input_labels.export_from_graph = True
    cosine = mps.LossNode(y, None, mps.LossDescriptor(mps.LossType.COSINE_DISTANCE, SUM))
    labels = mps.LossLabels(cpu, integers(1, 2, 2, 2), integers(1, 2, 2, 2))
    with pytest.raises(mps.InvalidArgumentError, match="none for a cosine distance"):
        run(
            cpu,
            mps.Graph(cpu, [cosine.result_image]),
            {"y": integers(1, 2, 2, 2)},
            {"labels": labels},
        )


def exported(node: mps.FilterNode, handle: str) -> mps.FilterNode:
    """The node, its state exported."""
    node.result_state.handle = handle
    node.result_state.export_from_graph = True
    return node


def test_normalisations_leave_their_statistics(device: mps.Device) -> None:
    x = RANDOM.standard_normal((3, 4, 5, 6)).astype(np.float32) * 2 + 1
    image = mps.ImageNode("x")
    always = mps.BatchNormalizationFlags.CALCULATE_STATISTICS_ALWAYS
    stored = mps.BatchNormalizationDataSource(
        6, mean=np.arange(6, dtype=np.float32), variance=np.arange(1, 7, dtype=np.float32)
    )
    nodes = {
        "batch": mps.BatchNormalizationNode(image, mps.BatchNormalizationDataSource(6), always),
        "stored": mps.BatchNormalizationNode(image, stored),
        "instance": mps.InstanceNormalizationNode(image, mps.InstanceNormalizationDataSource(6)),
        "group": mps.GroupNormalizationNode(image, mps.GroupNormalizationDataSource(6, 2)),
    }
    graph = mps.Graph(device, [exported(node, name).result_image for name, node in nodes.items()])
    assert graph.result_state_handles == list(nodes)
    states = run(device, graph, {"x": x}).states
    doubles = x.astype(np.float64)
    groups = doubles.reshape(3, 4, 5, 2, 3)
    expected = {
        "batch": (doubles.mean((0, 1, 2)), doubles.var((0, 1, 2))),
        "stored": (np.arange(6), np.arange(1, 7)),
        "instance": (doubles.mean((1, 2)), doubles.var((1, 2))),
        "group": (groups.mean((1, 2, 4)), groups.var((1, 2, 4))),
    }
    for name, (mean, variance) in expected.items():
        got = states[name]
        assert sorted(got) == ["mean", "variance"] == sorted(nodes[name].result_state.names)
        shape = (1,) * (4 - mean.ndim) + mean.shape
        np.testing.assert_allclose(np.asarray(got["mean"]), mean.reshape(shape), rtol=1e-5)
        np.testing.assert_allclose(np.asarray(got["variance"]), variance.reshape(shape), rtol=1e-5)


def test_dropouts_leave_their_masks(device: mps.Device) -> None:
    x = np.full((2, 5, 6, 7), 3, np.float32)
    node = exported(mps.DropoutNode(mps.ImageNode("x"), 0.25, seed=5), "mask")
    graph = mps.Graph(device, [node.result_image])
    masks = []
    for _ in range(2):
        outputs = run(device, graph, {"x": x})
        mask = np.asarray(outputs.states["mask"]["mask"]).copy()
        assert set(np.unique(mask)) == {np.float32(0), np.float32(4)}
        np.testing.assert_array_equal(np.asarray(outputs[0]), x * mask)
        masks.append(mask)
    assert not np.array_equal(*masks)


@pytest.mark.parametrize("trained", [False, True])
def test_gradient_nodes_leave_gradients(device: mps.Device, *, trained: bool) -> None:
    x, g = integers(2, 4, 4, 3), integers(2, 4, 4, 2)
    optimizer = mps.OptimizerStochasticGradientDescent(1.0) if trained else None
    before = integers(2, 1, 1, 3)
    weights = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(1, 1, 3, 2), before, integers(2), optimizer=optimizer
    )
    node = mps.ConvolutionNode(mps.ImageNode("x"), weights)
    gradient = exported(node.gradient_filter(mps.ImageNode("g")), "gradients")
    gradient.training_style = (
        mps.TrainingStyle.UPDATE_DEVICE_GPU if trained else mps.TrainingStyle.UPDATE_DEVICE_NONE
    )
    graph = mps.Graph(device, [gradient.result_image], [False])
    state = run(device, graph, {"x": x, "g": g}).states["gradients"]
    expected = np.einsum("nyxo,nyxi->oi", g, x).reshape(2, 1, 1, 3)
    np.testing.assert_array_equal(np.asarray(state["weights"]), expected)
    np.testing.assert_array_equal(np.asarray(state["bias"]).ravel(), g.sum((0, 1, 2)))
    after = device.read_parameter(weights, "weights")
    np.testing.assert_array_equal(after, before - expected if trained else before)


CHANNELS = 6


def normalization(kind: str) -> tuple[mps.FilterNode, mps.DataSource]:
    """A normalisation of the image "x" by statistics of the image, and its data source."""
    x, gamma = mps.ImageNode("x"), np.linspace(0.5, 2, CHANNELS, dtype=np.float32)
    if kind == "batch":
        batch = mps.BatchNormalizationDataSource(CHANNELS, gamma=gamma)
        always = mps.BatchNormalizationFlags.CALCULATE_STATISTICS_ALWAYS
        return mps.BatchNormalizationNode(x, batch, always), batch
    if kind == "instance":
        instance = mps.InstanceNormalizationDataSource(CHANNELS, gamma=gamma)
        return mps.InstanceNormalizationNode(x, instance), instance
    groups = mps.GroupNormalizationDataSource(CHANNELS, 2, gamma=gamma)
    return mps.GroupNormalizationNode(x, groups), groups


def gradient_in_a_graph_of_its_own(device: mps.Device, forward: mps.FilterNode) -> mps.Graph:
    """The gradient node of `forward`, without its forward node: that one's state is given."""
    gradient = forward.gradient_filter(mps.ImageNode("g"))
    gradient.use_source_state("forward")
    return mps.Graph(device, [exported(gradient, "gradients").result_image])


@pytest.mark.parametrize("kind", ["batch", "instance", "group"])
def test_statistics_go_from_graph_to_graph(device: mps.Device, kind: str) -> None:
    x, g = (RANDOM.standard_normal((3, 4, 5, CHANNELS)).astype(np.float32) for _ in range(2))
    node, _ = normalization(kind)
    together = mps.Graph(
        device,
        [exported(node.gradient_filter(mps.ImageNode("g")), "gradients").result_image],
    )
    wanted = run(device, together, {"x": x, "g": g})
    forward = mps.Graph(device, [exported(node, "statistics").result_image])
    apart = gradient_in_a_graph_of_its_own(device, node)
    assert apart.source_state_handles == ["forward"]
    assert "normalization_statistics" not in apart.plan_text(
        {"x": x.shape, "g": g.shape} | statistics_sizes(kind)
    )
    left = run(device, forward, {"x": x}).states["statistics"]
    got = run(device, apart, {"x": x, "g": g}, {"forward": left})
    np.testing.assert_array_equal(np.asarray(got[0]), np.asarray(wanted[0]))
    for name in ("gamma", "beta"):
        np.testing.assert_array_equal(
            np.asarray(got.states["gradients"][name]), np.asarray(wanted.states["gradients"][name])
        )
    # It is this state that counts: another one gives other gradients.
    other = run(device, forward, {"x": 2 * x + 1}).states["statistics"]
    changed = run(device, apart, {"x": x, "g": g}, {"forward": other})
    assert np.abs(np.asarray(changed[0]) - np.asarray(wanted[0])).max() > 0.1


def statistics_sizes(kind: str) -> dict[str, tuple[int, int, int, int]]:
    """Sizes of a state's arrays for (3, 4, 5, 6)."""
    size = {"batch": (1, 1, 1, 6), "instance": (1, 1, 3, 6), "group": (1, 1, 3, 2)}[kind]
    return {"forward.mean": size, "forward.variance": size}


@pytest.mark.parametrize("kind", [mps.DataType.FLOAT32, mps.DataType.FLOAT16])
def test_masks_go_from_graph_to_graph(device: mps.Device, kind: mps.DataType) -> None:
    x, g = integers(2, 5, 6, 7), integers(2, 5, 6, 7)
    node = exported(mps.DropoutNode(mps.ImageNode("x"), 0.25, seed=5), "mask")
    forward = mps.Graph(device, [node.result_image])
    gradient = mps.DropoutGradientNode(
        mps.ImageNode("g"), mps.ImageNode("x"), mps.DropoutState(), 0.25
    )
    state = gradient.use_source_state("mask")
    assert (state.names, state.producer, state.handle) == (["mask"], None, "mask")
    backward = mps.Graph(device, [gradient.result_image], format=kind)
    commands = mps.CommandBuffer(device.command_queue())
    masks = [forward.encode(commands, {"x": x}).states["mask"] for _ in range(2)]
    results = [backward.encode(commands, {"x": x, "g": g}, {state: mask})[0] for mask in masks]
    commands.commit()
    for mask, result in zip(masks, results, strict=True):
        np.testing.assert_array_equal(np.asarray(result), g * np.asarray(mask["mask"]))
    assert not np.array_equal(np.asarray(results[0]), np.asarray(results[1]))


def test_source_states_go_through_archives(cpu: mps.Device, tmp_path: Path) -> None:
    x, g = (RANDOM.standard_normal((3, 4, 5, CHANNELS)).astype(np.float32) for _ in range(2))
    node, _ = normalization("group")
    left = run(cpu, mps.Graph(cpu, [exported(node, "s").result_image]), {"x": x}).states["s"]
    apart = gradient_in_a_graph_of_its_own(cpu, node)
    archiver = mps.KeyedArchiver()
    archiver.encode("gradient", apart)
    archiver.write(tmp_path / "gradient.safetensors")
    restored = mps.KeyedUnarchiver(cpu).open(tmp_path / "gradient.safetensors")
    graph = restored.decode_graph("gradient")
    assert graph.source_state_handles == ["forward"]
    results = [run(cpu, each, {"x": x, "g": g}, {"forward": left})[0] for each in (apart, graph)]
    np.testing.assert_array_equal(np.asarray(results[0]), np.asarray(results[1]))


def test_wrong_source_states_are_refused(device: mps.Device) -> None:
    x = integers(3, 4, 5, CHANNELS)
    node, _ = normalization("instance")
    graph = gradient_in_a_graph_of_its_own(device, node)
    good = run(device, mps.Graph(device, [exported(node, "s").result_image]), {"x": x}).states["s"]
    sources = {"x": x, "g": x}
    labels = mps.LossLabels(device, x)
    other = mps.Image(device, np.zeros((1, 1, 3, 5), np.float32))
    half = mps.Image(device, np.zeros((1, 1, 3, 6), np.float16))
    with pytest.raises(mps.InvalidArgumentError, match='arrays for the state "forward", got none'):
        run(device, graph, sources)
    with pytest.raises(mps.InvalidArgumentError, match='arrays "mean", "variance", got a LossLab'):
        run(device, graph, sources, {"forward": labels})
    with pytest.raises(mps.InvalidArgumentError, match=r'"mean", "variance", got "mean"$'):
        run(device, graph, sources, {"forward": {"mean": good["mean"]}})
    with pytest.raises(mps.InvalidArgumentError, match='got "mean", "more", "variance"'):
        run(device, graph, sources, {"forward": {**good, "more": good["mean"]}})
    with pytest.raises(mps.InvalidArgumentError, match=r'Gradient.*state "mean": expected \(1, 1'):
        run(device, graph, sources, {"forward": {**good, "mean": other}})
    with pytest.raises(
        mps.ArgumentTypeError, match='state "forward": expected float32, got float1'
    ):
        run(device, graph, sources, {"forward": {**good, "mean": half}})
    with pytest.raises(mps.InvalidArgumentError, match='a LossLabels, got the arrays "mean", "var'):
        run(device, loss_graph(device), {"y": x}, {"labels": good})
    with pytest.raises(mps.InvalidArgumentError, match="use_source_state: expected a grad"):
        node.use_source_state("state")
    gradient = node.gradient_filter(mps.ImageNode("g"))
    with pytest.raises(mps.InvalidArgumentError, match="handle: expected a name, got none"):
        gradient.use_source_state("")
    gradient.use_source_state("state")
    with pytest.raises(mps.InvalidArgumentError, match="expected one call, got a second one"):
        gradient.use_source_state("state")
    with pytest.raises(mps.InvalidArgumentError, match=r'size for the state "forward.variance"'):
        graph.plan_text({"x": x.shape, "g": x.shape, "forward.mean": (1, 1, 3, 6)})
