# SPDX-License-Identifier: MIT
"""Normalisation beyond single nodes: running statistics, flags, sharing, fusion, archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from case_nets import Floats

import mpsnn as mps

SGD = mps.OptimizerStochasticGradientDescent
SHAPE = (2, 4, 5, 3)


def floats(shape: tuple[int, ...] = SHAPE, seed: int = 0, mean: float = 0.0) -> Floats:
    generator = np.random.Generator(np.random.Philox(seed))
    return generator.standard_normal(shape, dtype=np.float32) + np.float32(mean)


def source(
    channels: int = 3, optimizer: mps.Optimizer | None = None, momentum: float = 0.75
) -> mps.BatchNormalizationDataSource:
    return mps.BatchNormalizationDataSource(
        channels,
        gamma=floats((channels,), 5),
        beta=floats((channels,), 6),
        mean=floats((channels,), 7),
        variance=np.abs(floats((channels,), 8)) + np.float32(0.5),
        epsilon=1e-3,
        momentum=momentum,
        label="norm",
        optimizer=optimizer,
    )


def run(
    device: mps.Device, images: list[mps.ImageNode], **arrays: Floats
) -> tuple[list[Floats], mps.Graph]:
    graph = mps.Graph(device, images)
    commands = mps.CommandBuffer(device.command_queue())
    outputs = graph.encode(commands, {name: arrays[name] for name in graph.source_handles})
    commands.commit()
    return [np.array(image) for image in outputs], graph


def train(device: mps.Device, node: mps.FilterNode, x: Floats, g: Floats) -> list[Floats]:
    """Result and source gradient of a node in a training graph."""
    last = node.training_graph(mps.ImageNode("g"))[0]
    return run(device, [node.result_image, last.result_image], x=x, g=g)[0]


def read(device: mps.Device, data: mps.DataSource) -> dict[str, Floats]:
    return {name: device.read_parameter(data, name) for name in data.parameters}


def batch_statistics(x: Floats) -> tuple[np.ndarray, np.ndarray]:
    wide = x.astype(np.float64)
    return wide.mean(axis=(0, 1, 2)), wide.var(axis=(0, 1, 2))


def test_running_statistics_move_on_where_the_net_is_trained(device: mps.Device) -> None:
    data = source()
    node = mps.BatchNormalizationNode(mps.ImageNode("x"), data)
    expected = read(device, data)
    for step in range(3):
        x = floats(seed=20 + step)
        train(device, node, x, floats(seed=30))
        for name, value in zip(("mean", "variance"), batch_statistics(x), strict=True):
            expected[name] = 0.75 * expected[name] + 0.25 * value
    after = read(device, data)
    for name, value in expected.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    # Inference uses them from now on.
    (result,), _ = run(device, [node.result_image], x=x)
    scale = after["gamma"] / np.sqrt(after["variance"] + 1e-3)
    np.testing.assert_allclose(
        result, (x - after["mean"]) * scale + after["beta"], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("how", ["inference", "always", "never", "frozen", "style"])
def test_running_statistics_stay(device: mps.Device, how: str) -> None:
    data = source()
    flags = {
        "always": mps.BatchNormalizationFlags.CALCULATE_STATISTICS_ALWAYS,
        "never": mps.BatchNormalizationFlags.CALCULATE_STATISTICS_NEVER,
    }.get(how, mps.BatchNormalizationFlags.DEFAULT)
    node = mps.BatchNormalizationNode(mps.ImageNode("x"), data, flags)
    data.trainable = how != "frozen"
    if how == "style":
        node.training_style = mps.TrainingStyle.UPDATE_DEVICE_NONE
    before = read(device, data)
    x = floats(seed=1)
    if how in ("inference", "always"):
        (result,), _ = run(device, [node.result_image], x=x)
    else:
        result = train(device, node, x, floats(seed=2))[0]
    for name, value in read(device, data).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    mean, variance = batch_statistics(x)
    if how in ("inference", "never"):
        mean, variance = before["mean"], before["variance"]
    scale = before["gamma"] / np.sqrt(variance + 1e-3)
    np.testing.assert_allclose(result, (x - mean) * scale + before["beta"], rtol=1e-5, atol=1e-5)


def test_freezing_between_two_encodes_of_one_graph(device: mps.Device) -> None:
    data = source()
    node = mps.BatchNormalizationNode(mps.ImageNode("x"), data)
    graph = mps.Graph(device, [node.training_graph(mps.ImageNode("g"))[0].result_image])

    def step() -> bool:
        before = read(device, data)
        commands = mps.CommandBuffer(device.command_queue())
        graph.encode(commands, {"x": floats(seed=1), "g": floats(seed=2)})
        commands.commit()
        after = read(device, data)
        return not np.array_equal(before["mean"], after["mean"])

    assert step()
    data.trainable = False
    assert not step()
    data.trainable = True
    assert step()


def test_gamma_and_beta_are_trained_and_statistics_are_not_by_the_optimizer(
    device: mps.Device,
) -> None:
    data = source(optimizer=mps.OptimizerAdam(0.1), momentum=1.0)
    before = read(device, data)
    node = mps.BatchNormalizationNode(mps.ImageNode("x"), data)
    train(device, node, floats(seed=1), floats(seed=2))
    after = read(device, data)
    # The first step of Adam is as long as the learning rate.
    for name in ("gamma", "beta"):
        np.testing.assert_allclose(np.abs(after[name] - before[name]), 0.1, rtol=1e-4)
    for name in ("mean", "variance"):
        np.testing.assert_array_equal(after[name], before[name])
    assert device.time_step(data) == 1
    assert device.parameter_names(data) == [
        "gamma",
        "gamma.momentum",
        "gamma.velocity",
        "beta",
        "beta.momentum",
        "beta.velocity",
        "mean",
        "variance",
    ]
    assert set(data.parameters) == {"gamma", "beta", "mean", "variance"}


def test_two_nodes_of_one_data_source_move_its_statistics_one_after_the_other(
    device: mps.Device,
) -> None:
    data = source()
    before = read(device, data)
    nodes = [mps.BatchNormalizationNode(mps.ImageNode(name), data) for name in "xy"]
    total = mps.AdditionNode(*nodes)
    ends = total.training_graph(mps.ImageNode("g"))
    x, y = floats(seed=1), floats(seed=2, mean=3)
    run(device, [end.result_image for end in ends], x=x, y=y, g=floats(seed=3))
    mean = before["mean"].astype(np.float64)
    for array in (x, y):
        mean = 0.75 * mean + 0.25 * batch_statistics(array)[0]
    np.testing.assert_allclose(device.read_parameter(data, "mean"), mean, rtol=1e-5, atol=1e-6)


def test_a_gradient_node_made_by_hand_shares_the_statistics(device: mps.Device) -> None:
    x, g = floats(seed=1), floats(seed=2)
    results = []
    for by_hand in (False, True):
        data = source(optimizer=SGD(1.0))
        image, gradient = mps.ImageNode("x"), mps.ImageNode("g")
        node = mps.BatchNormalizationNode(image, data)
        last = (
            mps.BatchNormalizationGradientNode(gradient, image, data)
            if by_hand
            else node.gradient_filter(gradient)
        )
        # The gradient first: whoever comes first computes the statistics.
        images = [last.result_image, node.result_image]
        arrays, graph = run(device, images[::-1] if by_hand else images, x=x, g=g)
        plan = graph.plan_text({"x": x.shape, "g": g.shape})
        assert plan.count("[normalization_statistics/") == 1
        arrays = arrays[::-1] if by_hand else arrays
        results.append([*arrays, *read(device, data).values()])
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("neuron", ["relu", "relun"])
@pytest.mark.parametrize("shape", [(1, 3, 3, 3), (2, 5, 7, 24), (1, 2, 2, 200)])
def test_a_neuron_is_fused(device: mps.Device, neuron: str, shape: tuple[int, ...]) -> None:
    x, g = floats(shape, 1), floats(shape, 2)
    results = []
    for apart in (False, True):
        data = source(shape[3], SGD(1.0))
        node = mps.BatchNormalizationNode(mps.ImageNode("x"), data)
        node.result_image.handle = "between"
        node.result_image.export_from_graph = apart
        last = (
            mps.NeuronReLUNode(node, 0.25)
            if neuron == "relu"
            else mps.NeuronReLUNNode(node, 0.0, 0.5)
        )
        end = last.training_graph(mps.ImageNode("g"))[0]
        arrays, graph = run(device, [last.result_image, end.result_image], x=x, g=g)
        plan = graph.plan_text({"x": x.shape, "g": g.shape})
        assert ("[neuron/" in plan) == apart
        results.append([*arrays, *read(device, data).values()])
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("kind", ["NeuronSigmoidNode", "NeuronTanHNode", "NeuronGeLUNode"])
def test_any_neuron_is_fused_in_inference(device: mps.Device, kind: str) -> None:
    x = floats((2, 5, 7, 6), 1)
    results = []
    for apart in (False, True):
        node = mps.BatchNormalizationNode(mps.ImageNode("x"), source(6))
        node.result_image.handle = "between"
        node.result_image.export_from_graph = apart
        last = mps.FilterNode(kind, [node])
        (result,), graph = run(device, [last.result_image], x=x)
        assert ("[neuron/" in graph.plan_text({"x": x.shape})) == apart
        results.append(result)
    np.testing.assert_array_equal(results[0], results[1])


def test_a_large_mean_costs_no_accuracy(device: mps.Device) -> None:
    x = floats((4, 32, 32, 5), 1) + np.array([0, 10, 1e3, 1e5, -1e6], np.float32)
    data = mps.BatchNormalizationDataSource(5, epsilon=1e-5, momentum=0.0)
    node = mps.BatchNormalizationNode(mps.ImageNode("x"), data)
    train(device, node, x, x)
    mean, variance = batch_statistics(x)
    np.testing.assert_allclose(device.read_parameter(data, "mean"), mean, rtol=2e-7)
    np.testing.assert_allclose(device.read_parameter(data, "variance"), variance, rtol=1e-6)


def test_apple_values_of_the_gradient(device: mps.Device) -> None:
    """A matrix of four rows and three columns, as measured; through the statistics of the rows."""
    x = np.array([[1, 2, 3], [4, 5, 7], [2, 8, 1], [9, 1, 5]], np.float32).reshape(4, 1, 1, 3)
    data = mps.BatchNormalizationDataSource(
        3,
        gamma=[1.5, 0.75, 2],
        beta=[0.5, -0.5, 1],
        mean=[4, 5, 4],
        variance=[8, 6, 6],
        epsilon=1e-3,
    )
    node = mps.BatchNormalizationNode(mps.ImageNode("x"), data)
    (result,), _ = run(device, [node.result_image], x=x)
    expected = [
        [-1.090891, -1.418482, 0.183571],
        [0.5, -0.5, 3.449286],
        [-0.560594, 0.418482, -1.449286],
        [3.151485, -1.724643, 1.816429],
    ]
    np.testing.assert_allclose(result.reshape(4, 3), expected, atol=2e-6)


def test_archives_keep_all_of_it(device: mps.Device, tmp_path: Path) -> None:
    data = source(optimizer=mps.OptimizerAdam(0.01))
    node = mps.BatchNormalizationNode(mps.ImageNode("x"), data)
    last = node.training_graph(mps.ImageNode("g"))[0]
    graph = mps.Graph(device, [node.result_image, last.result_image])

    def step(trained: mps.Graph) -> list[bytes]:
        commands = mps.CommandBuffer(device.command_queue())
        outputs = trained.encode(commands, {"x": floats(seed=1), "g": floats(seed=2)})
        commands.commit()
        return [np.array(image).tobytes() for image in outputs]

    step(graph)
    archiver = mps.KeyedArchiver()
    archiver.encode("net", graph)
    archiver.write(tmp_path / "net.safetensors")
    restored = mps.KeyedUnarchiver(device).open(tmp_path / "net.safetensors").decode_graph("net")
    again = restored.data_sources[0]
    assert isinstance(again, mps.BatchNormalizationDataSource)
    assert (again.momentum, again.epsilon, again.label) == (0.75, 1e-3, "norm")
    for _ in range(3):
        assert step(restored) == step(graph)
    for name in device.parameter_names(data):
        np.testing.assert_array_equal(
            device.read_parameter(again, name), device.read_parameter(data, name)
        )


def test_defaults() -> None:
    data = mps.BatchNormalizationDataSource(4)
    assert data.epsilon == np.finfo(np.float32).tiny
    assert data.momentum == 0.9
    assert data.number_of_feature_channels == 4
    for name, value in {"gamma": 1, "beta": 0, "mean": 0, "variance": 1}.items():
        np.testing.assert_array_equal(data.initial(name), np.full(4, value, np.float32))
    data.set_initial("mean", np.full(4, 2, np.float32))
    np.testing.assert_array_equal(data.initial("mean"), np.full(4, 2, np.float32))


BAD = {
    "no channels": (lambda: mps.BatchNormalizationDataSource(0), "feature_channels: expected >= 1"),
    "epsilon": (
        lambda: mps.BatchNormalizationDataSource(2, epsilon=-1.0),
        "epsilon: expected a finite number >= 0, got -1",
    ),
    "momentum": (
        lambda: mps.BatchNormalizationDataSource(2, momentum=1.5, label="n"),
        'BatchNormalizationDataSource "n": momentum: expected 0 to 1, got 1.5',
    ),
    "length": (
        lambda: mps.BatchNormalizationDataSource(2, gamma=[1, 2, 3]),
        r"gamma: expected shape \(2,\), got \(3,\)",
    ),
    "parameter": (
        lambda: mps.BatchNormalizationDataSource(2).initial("weights"),
        'parameter: expected gamma or beta or mean or variance, got "weights"',
    ),
    "data source": (
        lambda: mps.FilterNode(
            "BatchNormalizationNode",
            [mps.ImageNode("x")],
            {},
            mps.ConvolutionDataSource(mps.ConvolutionDescriptor(1, 1, 1, 1), [[[[1]]]]),
        ),
        "weights: expected BatchNormalizationDataSource, got ConvolutionDataSource",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str) -> None:
    make, text = BAD[name]
    with pytest.raises(mps.InvalidArgumentError, match=text):
        make()


OTHERS = {
    "groups": (
        lambda: mps.GroupNormalizationDataSource(6, 4, label="n"),
        'GroupNormalizationDataSource "n": number_of_groups: expected a divisor of 6 .*, got 4',
    ),
    "no groups": (lambda: mps.GroupNormalizationDataSource(6, 0), "number_of_groups: expected"),
    "length": (
        lambda: mps.InstanceNormalizationDataSource(2, beta=[1, 2, 3]),
        r"beta: expected shape \(2,\), got \(3,\)",
    ),
    "no statistics": (
        lambda: mps.InstanceNormalizationDataSource(2).initial("mean"),
        'parameter: expected gamma or beta, got "mean"',
    ),
    "kernel": (
        lambda: mps.SpatialNormalizationNode(mps.ImageNode("x"), 0),
        "kernel_width: expected >= 1, got 0",
    ),
    "alpha": (
        lambda: mps.CrossChannelNormalizationNode(mps.ImageNode("x"), 5, -1.0),
        "alpha: expected",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_bad_input_of_others(name: str) -> None:
    make, text = OTHERS[name]
    with pytest.raises(mps.InvalidArgumentError, match=text):
        make()


@pytest.mark.parametrize("kind", ["instance", "group"])
def test_archives_of_image_normalizations(device: mps.Device, tmp_path: Path, kind: str) -> None:
    shape = (2, 4, 5, 6)
    shared = {"gamma": floats((6,), 5), "beta": floats((6,), 6), "epsilon": 0.125}
    adam = mps.OptimizerAdam(0.01)
    data: mps.NormalizationDataSource
    node: mps.FilterNode
    if kind == "instance":
        data = mps.InstanceNormalizationDataSource(6, label="n", optimizer=adam, **shared)
        node = mps.InstanceNormalizationNode(mps.ImageNode("x"), data)
    else:
        data = mps.GroupNormalizationDataSource(6, 3, label="n", optimizer=adam, **shared)
        node = mps.GroupNormalizationNode(mps.ImageNode("x"), data)
    last = node.training_graph(mps.ImageNode("g"))[0]
    graph = mps.Graph(device, [node.result_image, last.result_image])

    def step(trained: mps.Graph) -> list[bytes]:
        commands = mps.CommandBuffer(device.command_queue())
        outputs = trained.encode(commands, {"x": floats(shape, 1), "g": floats(shape, 2)})
        commands.commit()
        return [np.array(image).tobytes() for image in outputs]

    step(graph)
    archiver = mps.KeyedArchiver()
    archiver.encode("net", graph)
    archiver.write(tmp_path / "net.safetensors")
    restored = mps.KeyedUnarchiver(device).open(tmp_path / "net.safetensors").decode_graph("net")
    assert type(restored.data_sources[0]) is type(data)
    assert restored.data_sources[0].attributes == data.attributes
    for _ in range(3):
        assert step(restored) == step(graph)


def test_apple_value_of_local_contrast(device: mps.Device) -> None:
    """4 x 4 of 1 to 16, the bare kernel's alpha: the corner is -17.7777786."""
    x = np.arange(1, 17, dtype=np.float32).reshape(1, 4, 4, 1)
    node = mps.LocalContrastNormalizationNode(mps.ImageNode("x"), 3, alpha=0.0)
    (result,), _ = run(device, [node.result_image], x=x)
    np.testing.assert_allclose(result[0, 0, 0, 0], -17.7777786, rtol=2e-7)


def test_channels_must_be_those_of_the_data_source(device: mps.Device) -> None:
    node = mps.BatchNormalizationNode(mps.ImageNode("x"), source(), label="norm")
    with pytest.raises(
        mps.InvalidArgumentError,
        match='BatchNormalizationNode "norm": source: expected 3 feature channels, got 4',
    ):
        run(device, [node.result_image], x=floats((1, 2, 2, 4)))


def test_fully_connected_needs_the_whole_window(device: mps.Device) -> None:
    weights = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(3, 2, 4, 5), np.ones((5, 2, 3, 4), np.float32), label="fc"
    )
    node = mps.FullyConnectedNode(mps.ImageNode("x"), weights)
    with pytest.raises(
        mps.InvalidArgumentError,
        match=r'FullyConnectedNode "fc": source: expected the size of the weights\' window, '
        r"\(1, 2, 3, 4\), got \(1, 3, 3, 4\)",
    ):
        run(device, [node.result_image], x=floats((1, 3, 3, 4)))
    strided = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(1, 1, 1, 1, stride_in_pixels_x=2), [[[[1]]]]
    )
    with pytest.raises(mps.InvalidArgumentError, match="stride_in_pixels_x: expected 1, got 2"):
        mps.FullyConnectedNode(mps.ImageNode("x"), strided)
