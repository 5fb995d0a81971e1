# SPDX-License-Identifier: MIT
"""Whole training graphs: gradients of a net, curves of optimizers, sharing, freezing, stopping."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import nets
import numpy as np
import pytest
from nets import Weights
from oracles import Doubles

import mpsnn as mps

TRAINED = [f"{layer}.{name}" for layer in nets.LAYERS for name in ("weights", "bias")]

Update = Callable[[Doubles, Doubles, dict[str, Any], int], Doubles]


def doubles(arrays: Mapping[str, np.ndarray]) -> dict[str, Doubles]:
    return {name: array.astype(np.float64) for name, array in arrays.items()}


@jax.jit
def jax_gradients(
    weights: dict[str, Doubles], sources: dict[str, Doubles], scale: float
) -> tuple[jax.Array, dict[str, jax.Array]]:
    gradients = jax.grad(nets.total)(weights, sources, scale)
    return nets.losses(weights, sources, scale), gradients


def test_weight_gradients_of_a_net_agree_with_jax(device: mps.Device) -> None:
    weights, sources = nets.first_weights(), nets.batch()
    # A step of length one takes the gradient off the weights.
    net = nets.build(device, weights, mps.OptimizerStochasticGradientDescent(1.0))
    got = net.train(device.command_queue(), sources)
    losses, gradients = jax_gradients(doubles(weights), doubles(sources), 1.0)
    np.testing.assert_allclose(got, losses, rtol=2e-6)
    after = net.read(device)
    for name in TRAINED:
        gradient = weights[name].astype(np.float64) - after[name]
        expected = np.asarray(gradients[name])
        # Sums of some thousand terms through ten layers, and one rounding of the step itself.
        tolerance = 3e-5 * np.abs(expected).max()
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=tolerance, err_msg=name)


def test_inference_of_the_net_agrees_with_jax(device: mps.Device) -> None:
    weights, sources = nets.first_weights(), nets.batch()
    net = nets.build(device, weights, None)
    commands = mps.CommandBuffer(device.command_queue())
    given = {name: sources[name] for name in net.inference.source_handles}
    result = net.inference.encode(commands, given)[0]
    commands.commit()
    expected = np.asarray(nets.output(doubles(weights), doubles(sources)))
    np.testing.assert_allclose(
        np.asarray(result), expected, rtol=0, atol=2e-6 * np.abs(expected).max()
    )


def adam(v: Doubles, g: Doubles, state: dict[str, Any], t: int) -> Doubles:
    """Adam as in the Metal Performance Shaders' documentation: ε outside of the root."""
    rate, beta1, beta2, epsilon = 2e-3, 0.8, 0.99, 1e-6
    state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    state["u"] = beta2 * state.get("u", 0.0) + (1 - beta2) * g * g
    step = rate * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    return v - step * state["m"] / (np.sqrt(state["u"]) + epsilon)


def amsgrad(v: Doubles, g: Doubles, state: dict[str, Any], t: int) -> Doubles:
    """Adam that divides by the largest second moment so far."""
    rate, beta1, beta2, epsilon = 2e-3, 0.8, 0.5, 1e-6
    state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    state["u"] = beta2 * state.get("u", 0.0) + (1 - beta2) * g * g
    state["most"] = np.maximum(state.get("most", 0.0), state["u"])
    step = rate * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    return v - step * state["m"] / (np.sqrt(state["most"]) + epsilon)


def rms_prop(v: Doubles, g: Doubles, state: dict[str, Any], _t: int) -> Doubles:
    """ε outside of the root of the squares' average."""
    state["s"] = 0.75 * state.get("s", 0.0) + 0.25 * g * g
    return v - 1e-3 * g / (np.sqrt(state["s"]) + 1e-4)


def momentum(v: Doubles, g: Doubles, state: dict[str, Any], _t: int) -> Doubles:
    """The learning rate stands inside of the momentum."""
    state["m"] = 0.9 * state.get("m", 0.0) + 1e-3 * g
    return v - state["m"]


def nesterov(v: Doubles, g: Doubles, state: dict[str, Any], _t: int) -> Doubles:
    """M = μ m + g; v -= lr (g + μ m)."""
    state["m"] = 0.9 * state.get("m", 0.0) + g
    return v - 1e-3 * (g + 0.9 * state["m"])


def regularised(v: Doubles, g: Doubles, _state: dict[str, Any], _t: int) -> Doubles:
    """Clipped, then rescaled, then regularised."""
    g = 0.5 * np.clip(g, -0.02, 0.01)
    return v - 0.05 * (g + 0.1 * v)


def lasso(v: Doubles, g: Doubles, _state: dict[str, Any], _t: int) -> Doubles:
    """L1 adds the sign."""
    return v - 1e-3 * (g + 0.1 * np.sign(v))


SGD = mps.OptimizerStochasticGradientDescent
OPTIMIZERS: dict[str, tuple[Callable[[], mps.Optimizer], Update]] = {
    "adam": (lambda: mps.OptimizerAdam(2e-3, 0.8, 0.99, 1e-6), adam),
    "amsgrad": (lambda: mps.OptimizerAdam(2e-3, 0.8, 0.5, 1e-6, use_amsgrad=True), amsgrad),
    "rms_prop": (lambda: mps.OptimizerRMSProp(1e-3, 0.75, 1e-4), rms_prop),
    "momentum": (lambda: SGD(1e-3, 0.9), momentum),
    "nesterov": (lambda: SGD(1e-3, 0.9, use_nesterov_momentum=True), nesterov),
    "clip, rescale, L2": (
        lambda: SGD(
            mps.OptimizerDescriptor(
                0.05,
                gradient_rescale=0.5,
                apply_gradient_clipping=True,
                gradient_clip_max=0.01,
                gradient_clip_min=-0.02,
                regularization_type=mps.RegularizationType.L2,
                regularization_scale=0.1,
            )
        ),
        regularised,
    ),
    "L1": (
        lambda: SGD(
            mps.OptimizerDescriptor(
                1e-3,
                regularization_type=mps.RegularizationType.L1,
                regularization_scale=0.1,
            )
        ),
        lasso,
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_first_ten_losses_follow_an_independent_implementation(
    device: mps.Device, name: str
) -> None:
    make, update = OPTIMIZERS[name]
    weights, scale = nets.first_weights(), 1 / 576
    net = nets.build(device, weights, make(), scale)
    queue = device.command_queue()
    reference, states = doubles(weights), {key: {} for key in TRAINED}
    curve = []
    for step in range(10):
        sources = nets.batch(step % 3)
        got = net.train(queue, sources)
        losses, gradients = jax_gradients(reference, doubles(sources), scale)
        np.testing.assert_allclose(got, losses, rtol=2e-5, err_msg=f"step {step}")
        for key in TRAINED:
            gradient = np.asarray(gradients[key])
            reference[key] = update(reference[key], gradient, states[key], step + 1)
        curve.append(got.sum())
    assert curve[9] < curve[0], "the net does not learn"
    for key, value in net.read(device).items():
        np.testing.assert_allclose(value, reference[key], rtol=0, atol=1e-4, err_msg=key)
    assert device.time_step(net.sources["first"]) == 10


@pytest.mark.parametrize("name", ["adam", "momentum"])
def test_the_same_run_twice_gives_the_same_bits(device: mps.Device, name: str) -> None:
    def run() -> tuple[list[bytes], Weights]:
        net = nets.build(device, nets.first_weights(), OPTIMIZERS[name][0](), 1e-3)
        queue = device.command_queue()
        losses = [net.train(queue, nets.batch(step % 3)).tobytes() for step in range(10)]
        return losses, net.read(device)

    (first_losses, first), (second_losses, second) = run(), run()
    assert first_losses == second_losses
    for key in first:
        assert first[key].tobytes() == second[key].tobytes(), key


def convolution(
    channels: int, label: str, optimizer: mps.Optimizer | None, seed: int = 1
) -> mps.ConvolutionDataSource:
    generator = np.random.Generator(np.random.Philox(seed))
    weights = generator.integers(-2, 3, (channels, 3, 3, channels)).astype(np.float32)
    bias = generator.integers(-2, 3, channels).astype(np.float32)
    descriptor = mps.ConvolutionDescriptor(3, 3, channels, channels)
    return mps.ConvolutionDataSource(descriptor, weights, bias, label, optimizer)


def integers(shape: tuple[int, ...], seed: int = 2) -> np.ndarray:
    generator = np.random.Generator(np.random.Philox(seed))
    return generator.integers(-2, 3, shape).astype(np.float32)


def run(
    device: mps.Device, results: list[mps.ImageNode], sources: Mapping[str, np.ndarray]
) -> mps.GraphOutputs:
    graph = mps.Graph(device, results)
    commands = mps.CommandBuffer(device.command_queue())
    outputs = graph.encode(commands, {name: sources[name] for name in graph.source_handles})
    commands.commit()
    commands.wait_until_completed()
    return outputs


def test_a_shared_data_source_gets_the_sum_of_its_gradients(device: mps.Device) -> None:
    """Both uses are summed before one update, behind everything that reads the weights."""
    x, g = integers((2, 5, 4, 3)), integers((2, 5, 4, 3), 3)

    def step(label: str, uses: int) -> tuple[mps.ConvolutionDataSource, np.ndarray]:
        source = convolution(3, label, SGD(1.0, 0.5))
        image, gradient = mps.ImageNode("x"), mps.ImageNode("g")
        first = mps.ConvolutionNode(image, source)
        second = mps.ConvolutionNode(image, source) if uses == 2 else None
        last = mps.AdditionNode(first, second) if second is not None else first
        ends = last.training_graph(gradient)
        outputs = run(device, [node.result_image for node in ends], {"x": x, "g": g})
        return source, np.array(outputs[0])

    once, gradient_once = step("once", 1)
    twice, gradient_twice = step("twice", 2)
    for name in ("weights", "bias"):
        before = once.initial(name)
        single = before - device.read_parameter(once, name)
        double = before - device.read_parameter(twice, name)
        assert np.any(single)
        np.testing.assert_array_equal(double, 2 * single)
    np.testing.assert_array_equal(gradient_twice, 2 * gradient_once)
    assert device.time_step(twice) == 1, "one update, not one a use"


def test_graphs_share_the_latest_weights(device: mps.Device) -> None:
    source = convolution(3, "shared", SGD(1.0))
    image, gradient = mps.ImageNode("x"), mps.ImageNode("g")
    node = mps.ConvolutionNode(image, source)
    training = mps.Graph(device, [node.training_graph(gradient)[0].result_image], [False])
    inference = mps.Graph(device, [node.result_image])
    x, g = integers((1, 4, 4, 3)), integers((1, 4, 4, 3), 3)
    queue = device.command_queue()
    commands = mps.CommandBuffer(queue)
    before = inference.encode(commands, {"x": x})
    training.encode(commands, {"x": x, "g": g})
    after = inference.encode(commands, {"x": x})
    commands.commit()
    assert before[0] is not None
    assert after[0] is not None
    assert not np.array_equal(before[0], after[0])
    fresh = mps.ConvolutionDataSource(
        source.descriptor,
        device.read_parameter(source, "weights"),
        device.read_parameter(source, "bias"),
    )
    expected = run(device, [mps.ConvolutionNode(image, fresh).result_image], {"x": x})
    np.testing.assert_array_equal(after[0], expected[0])


@pytest.mark.parametrize("how", ["no optimizer", "not trainable"])
def test_frozen_weights_do_not_change(device: mps.Device, how: str) -> None:
    frozen = convolution(3, "frozen", None if how == "no optimizer" else mps.OptimizerAdam(0.1))
    if how == "not trainable":
        frozen.trainable = False
    trained = convolution(3, "trained", mps.OptimizerAdam(0.1), 5)
    image, gradient = mps.ImageNode("x"), mps.ImageNode("g")
    last = mps.ConvolutionNode(mps.ConvolutionNode(image, trained), frozen)
    ends = last.training_graph(gradient)
    run(
        device,
        [node.result_image for node in ends],
        {"x": integers((1, 4, 4, 3)), "g": integers((1, 4, 4, 3), 3)},
    )
    for name in ("weights", "bias"):
        assert device.read_parameter(frozen, name).tobytes() == frozen.initial(name).tobytes()
        assert not np.array_equal(device.read_parameter(trained, name), trained.initial(name))
    assert device.time_step(frozen) == 0
    assert not frozen.is_updated


def test_stop_gradient_ends_the_training_graph(device: mps.Device) -> None:
    before = convolution(3, "before", SGD(1.0))
    behind = convolution(3, "behind", SGD(1.0), 5)
    image, gradient = mps.ImageNode("x"), mps.ImageNode("g")
    first = mps.ConvolutionNode(image, before)
    first.result_image.stop_gradient = True
    last = mps.ConvolutionNode(first, behind)
    made = []
    ends = last.training_graph(gradient, lambda node, *_: made.append(node))
    assert [node.weights for node in made] == [behind]
    run(
        device,
        [ends[0].result_image],
        {"x": integers((1, 4, 4, 3)), "g": integers((1, 4, 4, 3), 3)},
    )
    assert np.array_equal(device.read_parameter(before, "weights"), before.weights)
    assert not np.array_equal(device.read_parameter(behind, "weights"), behind.weights)


def test_the_handler_sees_every_node_with_what_it_belongs_to() -> None:
    source = convolution(3, "c", SGD(1.0))
    image, gradient = mps.ImageNode("x"), mps.ImageNode("g")
    first = mps.NeuronReLUNode(image)
    left, right = mps.ConvolutionNode(first, source), mps.NeuronReLUNode(first, 0.5)
    last = mps.AdditionNode(left, right)
    calls: list[tuple[Any, ...]] = []
    ends = last.training_graph(gradient, lambda *arguments: calls.append(arguments))
    assert all(call[3] is not None for call in calls)
    by_class = {type(call[0]).__name__: call for call in calls}
    convolution_call = by_class["ConvolutionGradientNode"]
    assert isinstance(convolution_call[0], mps.ConvolutionGradientNode)
    assert convolution_call[1] == left
    assert isinstance(convolution_call[1], mps.ConvolutionNode)
    assert convolution_call[2] == first.result_image
    assert convolution_call[0].inference_node == left
    sums = [call for call in calls if call[1] is None]
    assert [type(call[0]) for call in sums] == [mps.AdditionNode], "an image with two readers"
    assert sums[0][2] is None
    assert [type(node) for node in ends] == [mps.NeuronGradientNode]
    assert ends[0].inference_node == first
    with pytest.raises(ZeroDivisionError):
        last.training_graph(gradient, lambda *_: 1 / 0)


def test_labels_get_a_gradient_only_where_they_are_trained(device: mps.Device) -> None:
    descriptor = mps.LossDescriptor(mps.LossType.MEAN_SQUARED_ERROR, mps.ReductionType.SUM)
    x, t = integers((1, 4, 4, 3)), integers((1, 4, 4, 3), 3)

    def step(labels_optimizer: mps.Optimizer | None) -> tuple[list[str], mps.ConvolutionDataSource]:
        predictions = convolution(3, "predictions", SGD(1.0))
        labels = convolution(3, "labels", labels_optimizer, 5)
        loss = mps.ForwardLossNode(
            mps.ConvolutionNode(mps.ImageNode("x"), predictions),
            mps.ConvolutionNode(mps.ImageNode("t"), labels),
            descriptor,
        )
        made: list[mps.FilterNode] = []
        ends = mps.InitialGradientNode(loss).training_graph(
            None, lambda node, *_: made.append(node)
        )
        run(device, [node.result_image for node in ends], {"x": x, "t": t})
        kinds = [node.is_labels_gradient for node in made if isinstance(node, mps.LossGradientNode)]
        return [str(kind) for kind in kinds], labels

    kinds, labels = step(None)
    assert kinds == ["False"]
    assert np.array_equal(device.read_parameter(labels, "weights"), labels.weights)
    kinds, labels = step(SGD(1.0))
    assert sorted(kinds) == ["False", "True"]
    # 2 (y - t) with the opposite sign, correlated with the labels' source.
    y = convolve(x, convolution(3, "", None))
    s = convolve(t, labels)
    expected = correlate(t, -2 * (y - s))
    change = labels.weights - device.read_parameter(labels, "weights")
    np.testing.assert_array_equal(change, expected)


def test_a_weights_image_gets_a_gradient_where_it_is_trained(device: mps.Device) -> None:
    descriptor = mps.LossDescriptor(mps.LossType.MEAN_SQUARED_ERROR, weight=0.5)
    names = ("y", "t", "v")
    arrays = {name: integers((2, 4, 4, 3), seed) for seed, name in enumerate(names)}
    y, t, v = (mps.ImageNode(name) for name in names)

    def step(optimizer: mps.Optimizer | None) -> tuple[list[mps.FilterNode], np.ndarray]:
        factors = convolution(3, "factors", optimizer, 5)
        loss = mps.ForwardLossNode(
            mps.NeuronLinearNode(y), t, descriptor, weights=mps.ConvolutionNode(v, factors)
        )
        made: list[mps.FilterNode] = []
        ends = mps.InitialGradientNode(loss).training_graph(
            None, lambda node, *_: made.append(node)
        )
        run(device, [node.result_image for node in ends], arrays)
        return made, factors.weights - device.read_parameter(factors, "weights")

    made, change = step(None)
    assert not np.any(change)
    assert [n.is_weights_gradient for n in made if isinstance(n, mps.LossGradientNode)] == [False]
    made, change = step(SGD(1.0))
    kinds = [node.is_weights_gradient for node in made if isinstance(node, mps.LossGradientNode)]
    assert sorted(kinds) == [False, True]
    # The mean does not divide the gradient: 0.5 (y - t)^2, correlated with the source.
    expected = correlate(arrays["v"], 0.5 * (arrays["y"] - arrays["t"]) ** 2)
    np.testing.assert_array_equal(change, expected)


def convolve(x: np.ndarray, source: mps.ConvolutionDataSource) -> np.ndarray:
    """A 3x3 convolution of the same size, by its definition."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    weights, bias = source.weights, source.bias_terms
    height, width = x.shape[1:3]
    windows = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    parts = [w @ weights[:, k // 3, k % 3].T for k, w in enumerate(windows)]
    return np.asarray(sum(parts) + bias)


def correlate(x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """The weights' gradient of `convolve`."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1:3]
    return np.stack(
        [
            np.stack(
                [
                    np.einsum("nyxo,nyxc->oc", gradient, padded[:, i : i + height, j : j + width])
                    for j in range(3)
                ],
                axis=1,
            )
            for i in range(3)
        ],
        axis=1,
    )


def test_training_style_none_updates_nothing(device: mps.Device) -> None:
    source = convolution(3, "c", SGD(1.0))
    node = mps.ConvolutionNode(mps.ImageNode("x"), source)
    node.training_style = mps.TrainingStyle.UPDATE_DEVICE_NONE
    ends = node.training_graph(mps.ImageNode("g"))
    assert ends[0].training_style == mps.TrainingStyle.UPDATE_DEVICE_NONE
    run(
        device,
        [ends[0].result_image],
        {"x": integers((1, 4, 4, 3)), "g": integers((1, 4, 4, 3), 3)},
    )
    assert np.array_equal(device.read_parameter(source, "weights"), source.weights)


def test_learning_rate_is_read_at_each_encode(device: mps.Device) -> None:
    optimizer = SGD(1.0)
    source = convolution(3, "c", optimizer)
    node = mps.ConvolutionNode(mps.ImageNode("x"), source)
    graph = mps.Graph(device, [node.training_graph(mps.ImageNode("g"))[0].result_image], [False])
    sources = {"x": integers((1, 4, 4, 3)), "g": integers((1, 4, 4, 3), 3)}

    def change() -> np.ndarray:
        before = device.read_parameter(source, "weights")
        commands = mps.CommandBuffer(device.command_queue())
        graph.encode(commands, sources)
        commands.commit()
        return before - device.read_parameter(source, "weights")

    first = change()
    optimizer.learning_rate = 2.0
    np.testing.assert_array_equal(change(), 2 * first)
    source.trainable = False
    assert not np.any(change()), "frozen between two encodes of one graph"
    source.trainable = True
    np.testing.assert_array_equal(change(), 2 * first)


def test_a_result_that_is_not_needed_is_not_made(device: mps.Device) -> None:
    node = mps.NeuronReLUNode(mps.ImageNode("x"))
    other = mps.NeuronReLUNode(mps.ImageNode("y"))
    graph = mps.Graph(device, [node.result_image, other.result_image], [False, True])
    commands = mps.CommandBuffer(device.command_queue())
    one = np.ones((1, 1, 1, 1), np.float32)
    outputs = graph.encode(commands, dict.fromkeys(graph.source_handles, one))
    commands.commit()
    commands.wait_until_completed()
    assert outputs[0] is None
    assert outputs[1] is not None
    assert len(outputs) == 2
