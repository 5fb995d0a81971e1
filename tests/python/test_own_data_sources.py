# SPDX-License-Identifier: MIT
"""Data sources written in Python, training styles, reading values again."""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

import mpsnn as mps

Floats = NDArray[np.float32]
RANDOM = np.random.Generator(np.random.Philox(12))
CPU = mps.TrainingStyle.UPDATE_DEVICE_CPU
GPU = mps.TrainingStyle.UPDATE_DEVICE_GPU
NONE = mps.TrainingStyle.UPDATE_DEVICE_NONE
DESCRIPTOR = mps.ConvolutionDescriptor(1, 1, 3, 2)


class Lazy(mps.ConvolutionDataSource):
    """Gives weights and bias when they are asked for."""

    def __init__(self, scale: float = 1.0, label: str = "lazy") -> None:
        super().__init__(DESCRIPTOR, None, label=label, has_bias=True)
        self.scale = scale
        self.calls: list[str] = []
        self.is_there = True

    def load(self) -> bool:
        """Says whether the values are there."""
        self.calls.append("load")
        return self.is_there

    def values(self, parameter: str) -> Floats:
        """What a parameter has."""
        self.calls.append(parameter)
        if parameter == "bias":
            return np.array([1, 2], np.float32)
        return np.arange(6, dtype=np.float32).reshape(2, 1, 1, 3) * np.float32(self.scale)

    def purge(self) -> None:
        """Is told that all was read."""
        self.calls.append("purge")


ROUND = ["load", "bias", "weights", "purge"]


def run(device: mps.Device, graph: mps.Graph, **sources: Floats) -> mps.GraphOutputs:
    """One encode, run to its end."""
    commands = mps.CommandBuffer(device.command_queue())
    outputs = graph.encode(commands, sources)
    commands.commit()
    commands.wait_until_completed()
    return outputs


def integers(*shape: int) -> Floats:
    """Small whole numbers."""
    return RANDOM.integers(-3, 4, shape).astype(np.float32)


def forward(device: mps.Device, weights: mps.ConvolutionDataSource) -> mps.Graph:
    """One convolution."""
    return mps.Graph(device, [mps.ConvolutionNode(mps.ImageNode("x"), weights).result_image])


def trainer(
    device: mps.Device, weights: mps.ConvolutionDataSource, style: mps.TrainingStyle
) -> mps.Graph:
    """A convolution's gradient node, given the gradient."""
    node = mps.ConvolutionNode(mps.ImageNode("x"), weights)
    gradient = node.gradient_filter(mps.ImageNode("g"))
    gradient.training_style = style
    return mps.Graph(device, [gradient.result_image], [False])


def expected_gradients(x: Floats, g: Floats) -> tuple[Floats, Floats]:
    """Of weights and bias."""
    weights = np.einsum("nyxo,nyxi->oi", g, x).reshape(2, 1, 1, 3)
    return weights, g.sum((0, 1, 2))


def test_values_are_loaded_once(device: mps.Device) -> None:
    weights = Lazy()
    graph = forward(device, weights)
    assert sorted(weights.calls) == sorted(ROUND)
    assert weights.calls[0] == "load"
    assert weights.calls[-1] == "purge"
    x = integers(1, 2, 2, 3)
    result = np.asarray(run(device, graph, x=x)[0])
    np.testing.assert_array_equal(
        result, x @ np.arange(6, dtype=np.float32).reshape(2, 3).T + [1, 2]
    )
    forward(device, weights)
    run(device, graph, x=x)
    assert len(weights.calls) == len(ROUND), "the device has the values"


def test_the_object_lives_as_long_as_its_nodes(device: mps.Device) -> None:
    node = mps.ConvolutionNode(mps.ImageNode("x"), Lazy(2.0))
    gc.collect()
    graph = mps.Graph(device, [node.result_image])
    source = graph.data_sources[0]
    assert isinstance(source, Lazy)
    assert source.scale == 2.0
    assert source is node.weights
    weights = device.read_parameter(source, "weights")
    np.testing.assert_array_equal(weights.ravel(), np.arange(6) * 2)


def test_reload_reads_again(device: mps.Device) -> None:
    weights = Lazy()
    graph = forward(device, weights)
    x = integers(1, 2, 2, 3)
    before = np.asarray(run(device, graph, x=x)[0]).copy()
    weights.scale = 3.0
    weights.calls.clear()
    np.testing.assert_array_equal(np.asarray(run(device, graph, x=x)[0]), before)
    graph.reload_from_data_sources()
    assert weights.calls.count("load") == weights.calls.count("purge") == 1
    after = np.asarray(run(device, graph, x=x)[0])
    np.testing.assert_array_equal(after - [1, 2], 3 * (before - [1, 2]))


def test_reload_of_built_in_data_sources_undoes_training(device: mps.Device) -> None:
    first = integers(2, 1, 1, 3)
    weights = mps.ConvolutionDataSource(
        DESCRIPTOR, first, optimizer=mps.OptimizerAdam(0.1), label="w"
    )
    graph = trainer(device, weights, GPU)
    run(device, graph, x=integers(1, 2, 2, 3), g=integers(1, 2, 2, 2))
    assert not np.array_equal(device.read_parameter(weights, "weights"), first)
    graph.reload_from_data_sources()
    np.testing.assert_array_equal(device.read_parameter(weights, "weights"), first)
    assert device.time_step(weights) == 1
    second = integers(2, 1, 1, 3)
    weights.set_initial("weights", second)
    graph.reload_from_data_sources()
    np.testing.assert_array_equal(device.read_parameter(weights, "weights"), second)


@pytest.mark.parametrize("change", ["write", "reload", "train"])
def test_what_is_made_of_weights_follows_them(device: mps.Device, change: str) -> None:
    """Signs and turned weights are kept from encode to encode."""
    first = np.array([1, -2, 3, -1, 2, -3], np.float32).reshape(2, 1, 1, 3)
    weights = mps.ConvolutionDataSource(
        DESCRIPTOR, first, optimizer=mps.OptimizerStochasticGradientDescent(1.0), label="w"
    )
    x = mps.ImageNode("x")
    binary, transposed = (
        mps.BinaryConvolutionNode(x, weights),
        mps.ConvolutionTransposeNode(x, weights),
    )
    graph = mps.Graph(device, [binary.result_image, transposed.result_image])
    image = integers(1, 2, 2, 3)
    for now in (first, -2 * first):
        if now is not first:
            if change == "write":
                device.write_parameter(weights, "weights", now)
            elif change == "reload":
                weights.set_initial("weights", now)
                graph.reload_from_data_sources()
            else:  # the gradient of one pixel is the step: 3 times the weights
                for o in range(2):
                    g = np.zeros((1, 1, 1, 2), np.float32)
                    g[..., o] = 1
                    run(device, trainer(device, weights, GPU), x=3 * first[o][None], g=g)
        for _ in range(2):
            signs, turned = (np.asarray(each) for each in run(device, graph, x=image))
            np.testing.assert_array_equal(signs, image @ np.sign(now.reshape(2, 3)).T)
            np.testing.assert_array_equal(turned, image @ now.reshape(2, 3).T)


def test_reload_waits_for_work_in_flight(device: mps.Device) -> None:
    weights = Lazy()
    graph = forward(device, weights)
    x = integers(1, 2, 2, 3)
    queue = device.command_queue()
    expected = x @ np.arange(6, dtype=np.float32).reshape(2, 3).T + [1, 2]
    results = []
    for _ in range(20):
        commands = mps.CommandBuffer(queue)
        results.append(graph.encode(commands, {"x": x})[0])
        commands.commit()
    weights.scale = 0.0
    graph.reload_from_data_sources()
    for result in results:
        np.testing.assert_array_equal(np.asarray(result), expected)
    np.testing.assert_array_equal(np.asarray(run(device, graph, x=x)[0]), 0 * expected + [1, 2])


def test_a_data_source_that_cannot_be_loaded(device: mps.Device) -> None:
    weights = Lazy(label="absent")
    weights.is_there = False
    with pytest.raises(mps.StateError, match='"absent": load: expected true, got false'):
        forward(device, weights)
    assert weights.calls == ["load"], "no purge where load said no"
    weights.is_there = True
    graph = forward(device, weights)
    weights.is_there = False
    with pytest.raises(mps.StateError, match='"absent": load'):
        graph.reload_from_data_sources()


class Raising(Lazy):
    """Cannot be loaded."""

    def load(self) -> bool:
        """Says whether the values are there."""
        super().load()
        raise OSError("no such file")


class Short(Lazy):
    """Gives too few values."""

    def values(self, parameter: str) -> Floats:
        """What a parameter has."""
        return super().values(parameter)[:1]


class Wrong(Lazy):
    """Gives another type."""

    def values(self, parameter: str) -> Floats:
        """What a parameter has."""
        return super().values(parameter).astype(np.float64)  # type: ignore[return-value]


class Nothing(mps.ConvolutionDataSource):
    """Without values."""


def test_errors_name_the_data_source_and_stay_balanced(device: mps.Device) -> None:
    raising = Raising(label="disk")
    with pytest.raises(mps.StateError, match='"disk": load: OSError: no such file') as caught:
        forward(device, raising)
    assert isinstance(caught.value.__cause__, OSError)
    for kind, text in ((Short, "expected shape"), (Wrong, "expected float32")):
        wrong = kind(label="odd")
        with pytest.raises(mps.StateError, match=f'"odd": values: .*{text}'):
            forward(device, wrong)
        assert wrong.calls.count("load") == wrong.calls.count("purge") == 1
    with pytest.raises(mps.StateError, match=r'"none": values: .*an override'):
        forward(device, Nothing(DESCRIPTOR, None, label="none"))
    with pytest.raises(mps.InvalidArgumentError, match="a class that overrides values"):
        mps.ConvolutionDataSource(DESCRIPTOR, None)


def test_construction_that_fails_half_way_is_balanced(device: mps.Device) -> None:
    good, bad = Lazy(label="good"), Raising(label="bad")
    image = mps.ImageNode("x")
    nodes = [mps.ConvolutionNode(image, each) for each in (good, bad)]
    with pytest.raises(mps.StateError, match='"bad"'):
        mps.Graph(device, [node.result_image for node in nodes])
    assert good.calls.count("load") == good.calls.count("purge") == 1
    assert bad.calls == ["load"]


class ByHand(Lazy):
    """Descends by one."""

    seen: tuple[dict[str, Floats], dict[str, Floats]] | None = None
    answer: Callable[[dict[str, Floats], dict[str, Floats]], object] = staticmethod(
        lambda gradients, values: {name: values[name] - gradients[name] for name in gradients}
    )

    def update_with_gradient_state(
        self, gradient_state: dict[str, Floats], source_state: dict[str, Floats]
    ) -> dict[str, Floats] | None:
        """New values by the host."""
        self.seen = gradient_state, source_state
        return self.answer(gradient_state, source_state)  # type: ignore[return-value]


def test_an_update_on_the_host(device: mps.Device) -> None:
    weights = ByHand()
    assert weights.is_updated
    graph = trainer(device, weights, CPU)
    infer = forward(device, weights)
    x, g = integers(2, 3, 4, 3), integers(2, 3, 4, 2)
    slope, bias_slope = expected_gradients(x, g)
    before = device.read_parameter(weights, "weights"), device.read_parameter(weights, "bias")
    commands = mps.CommandBuffer(device.command_queue())
    graph.encode(commands, {"x": x, "g": g})
    result = infer.encode(commands, {"x": x})[0]  # recorded before the update has run
    commands.commit()
    after = before[0] - slope, before[1] - bias_slope
    np.testing.assert_array_equal(np.asarray(result), x @ after[0].reshape(2, 3).T + after[1])
    assert weights.seen is not None
    np.testing.assert_array_equal(weights.seen[0]["weights"], slope)
    np.testing.assert_array_equal(weights.seen[0]["bias"], bias_slope)
    np.testing.assert_array_equal(weights.seen[1]["weights"], before[0])
    np.testing.assert_array_equal(device.read_parameter(weights, "bias"), after[1])
    assert device.time_step(weights) == 1


def test_an_update_on_the_host_may_change_nothing_or_a_part(device: mps.Device) -> None:
    weights = ByHand()
    graph = trainer(device, weights, CPU)
    x, g = integers(2, 3, 4, 3), integers(2, 3, 4, 2)
    before = device.read_parameter(weights, "weights"), device.read_parameter(weights, "bias")
    weights.answer = lambda _gradients, _values: None
    run(device, graph, x=x, g=g)
    np.testing.assert_array_equal(device.read_parameter(weights, "weights"), before[0])
    weights.answer = lambda _gradients, values: {"bias": values["bias"] + 1}
    run(device, graph, x=x, g=g)
    np.testing.assert_array_equal(device.read_parameter(weights, "weights"), before[0])
    np.testing.assert_array_equal(device.read_parameter(weights, "bias"), before[1] + 1)


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (lambda _g, v: {"bias": v["bias"][:1]}, mps.InvalidArgumentError, "bias: expected shape"),
        (lambda _g, v: {"scale": v["bias"]}, mps.InvalidArgumentError, 'got "scale"'),
        (lambda _g, v: [v], mps.ArgumentTypeError, "expected a dict or None, got list"),
        (lambda _g, _v: 1 / 0, ZeroDivisionError, "division by zero"),
    ],
)
def test_a_bad_update_is_the_command_buffers_failure(
    device: mps.Device,
    answer: Callable[[dict[str, Floats], dict[str, Floats]], object],
    error: type[Exception],
    text: str,
) -> None:
    weights = ByHand(label="hand")
    weights.answer = answer
    graph = trainer(device, weights, CPU)
    with pytest.raises((error, mps.DeviceError), match=text):
        run(device, graph, x=integers(1, 2, 2, 3), g=integers(1, 2, 2, 2))
    weights.answer = lambda _gradients, _values: None
    run(device, graph, x=integers(1, 2, 2, 3), g=integers(1, 2, 2, 2))


def test_gradients_of_several_nodes_are_added_up(device: mps.Device) -> None:
    weights = ByHand()
    images = {name: integers(1, 2, 2, 3) for name in ("x0", "x1")}
    g = integers(1, 2, 2, 2)
    nodes = []
    for name in images:
        node = mps.ConvolutionNode(mps.ImageNode(name), weights)
        node.training_style = CPU
        nodes.append(node)
    both = mps.AdditionNode(*nodes)
    ends = both.training_graph(mps.ImageNode("g"))
    graph = mps.Graph(device, [end.result_image for end in ends], [False] * len(ends))
    run(device, graph, **images, g=g)
    expected = sum(expected_gradients(x, g)[0] for x in images.values())
    assert weights.seen is not None
    np.testing.assert_array_equal(weights.seen[0]["weights"], expected)


class OnDevice(Lazy):
    """Descends by a half with nodes of its own."""

    def update_with_command_buffer(
        self,
        commands: mps.CommandBuffer,
        gradient_state: dict[str, mps.Image],
        source_state: dict[str, mps.Image],
    ) -> dict[str, mps.Image] | None:
        """New values by the device."""
        value, slope = mps.ImageNode("value"), mps.ImageNode("slope")
        step = mps.SubtractionNode(value, slope, secondary_scale=0.5)
        device = gradient_state["weights"].device
        graph = mps.Graph(device, [step.result_image])
        changed = {}
        for name, gradient in gradient_state.items():
            sources = {"value": source_state[name], "slope": gradient}
            image = graph.encode(commands, sources)[0]
            assert image is not None
            changed[name] = image
        return changed


def test_an_update_on_the_device(device: mps.Device) -> None:
    weights = OnDevice()
    graph, infer = trainer(device, weights, GPU), forward(device, weights)
    x, g = integers(2, 3, 4, 3), integers(2, 3, 4, 2)
    slope, bias_slope = expected_gradients(x, g)
    value, bias = device.read_parameter(weights, "weights"), device.read_parameter(weights, "bias")
    queue = device.command_queue()
    results = []
    for _ in range(2):
        commands = mps.CommandBuffer(queue)
        graph.encode(commands, {"x": x, "g": g})
        results.append(infer.encode(commands, {"x": x})[0])
        commands.commit()
    for result in results:
        value, bias = value - slope / 2, bias - bias_slope / 2
        np.testing.assert_array_equal(np.asarray(result), x @ value.reshape(2, 3).T + bias)


def test_an_update_on_the_device_of_a_wrong_size(device: mps.Device) -> None:
    class Odd(Lazy):
        def update_with_command_buffer(
            self,
            commands: mps.CommandBuffer,
            gradient_state: dict[str, mps.Image],
            source_state: dict[str, mps.Image],
        ) -> dict[str, mps.Image] | None:
            del commands, source_state
            return {"weights": gradient_state["bias"]}

    graph = trainer(device, Odd(label="odd"), GPU)
    with pytest.raises(mps.InvalidArgumentError, match='"odd": update_with_command_buffer'):
        run(device, graph, x=integers(1, 2, 2, 3), g=integers(1, 2, 2, 2))


@pytest.mark.parametrize(("kind", "style"), [(ByHand, GPU), (OnDevice, CPU)])
def test_a_style_that_the_data_source_does_not_have(
    device: mps.Device, kind: type[Lazy], style: mps.TrainingStyle
) -> None:
    graph = trainer(device, kind(label="one way"), style)
    with pytest.raises(mps.InvalidArgumentError, match=r'training_style: .*"one way"'):
        run(device, graph, x=integers(1, 2, 2, 3), g=integers(1, 2, 2, 2))


def test_one_data_source_is_trained_in_one_way(device: mps.Device) -> None:
    weights = mps.ConvolutionDataSource(
        DESCRIPTOR, integers(2, 1, 1, 3), optimizer=mps.OptimizerAdam()
    )
    ends = []
    for name, style in (("x", CPU), ("y", GPU)):
        node = mps.ConvolutionNode(mps.ImageNode(name), weights)
        end = node.gradient_filter(mps.ImageNode(f"{name}.g"))
        end.training_style = style
        ends.append(end.result_image)
    graph = mps.Graph(device, ends, [False, False])
    x, g = integers(1, 2, 2, 3), integers(1, 2, 2, 2)
    with pytest.raises(mps.InvalidArgumentError, match="training_style: expected that of"):
        run(device, graph, **{"x": x, "y": x, "x.g": g, "y.g": g})


def descriptor(kind: mps.RegularizationType) -> mps.OptimizerDescriptor:
    """Everything away from its default."""
    settings = mps.OptimizerDescriptor()
    settings.learning_rate = 0.125
    settings.gradient_rescale = 0.5
    settings.apply_gradient_clipping = True
    settings.gradient_clip_min = -4
    settings.gradient_clip_max = 3
    settings.regularization_type = kind
    settings.regularization_scale = 0.25
    return settings


L1, L2 = mps.RegularizationType.L1, mps.RegularizationType.L2
OPTIMIZERS = {
    "sgd": lambda: mps.OptimizerStochasticGradientDescent(0.125),
    "momentum": lambda: mps.OptimizerStochasticGradientDescent(descriptor(L1), 0.5, False),
    "nesterov": lambda: mps.OptimizerStochasticGradientDescent(descriptor(L2), 0.5, True),
    "adam": lambda: mps.OptimizerAdam(descriptor(L1), time_step=3),
    "amsgrad": lambda: mps.OptimizerAdam(0.125, use_amsgrad=True),
    "rms": lambda: mps.OptimizerRMSProp(descriptor(L2), 0.75, 1e-3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_on_the_host_are_those_of_the_device(device: mps.Device, name: str) -> None:
    first = integers(2, 1, 1, 3)
    sources = [
        mps.ConvolutionDataSource(
            DESCRIPTOR, first, integers(2) * 0 + 1, optimizer=OPTIMIZERS[name]()
        )
        for _ in range(2)
    ]
    graphs = [
        trainer(device, source, style) for source, style in zip(sources, (CPU, GPU), strict=True)
    ]
    for _ in range(4):
        x = RANDOM.standard_normal((2, 3, 4, 3)).astype(np.float32)
        g = RANDOM.standard_normal((2, 3, 4, 2)).astype(np.float32)
        for graph in graphs:
            run(device, graph, x=x, g=g)
    on_host, on_device = sources
    for parameter in device.parameter_names(on_host):
        np.testing.assert_allclose(
            device.read_parameter(on_host, parameter),
            device.read_parameter(on_device, parameter),
            rtol=2e-5,
            atol=2e-6,
        )
    assert device.time_step(on_host) == device.time_step(on_device)


def test_a_changed_learning_rate_counts_from_the_next_encode(device: mps.Device) -> None:
    optimizer = mps.OptimizerStochasticGradientDescent(1.0)
    first = integers(2, 1, 1, 3)
    weights = mps.ConvolutionDataSource(DESCRIPTOR, first, optimizer=optimizer)
    graph = trainer(device, weights, CPU)
    x, g = integers(2, 3, 4, 3), integers(2, 3, 4, 2)
    slope = expected_gradients(x, g)[0]
    commands = mps.CommandBuffer(device.command_queue())
    graph.encode(commands, {"x": x, "g": g})
    optimizer.learning_rate = 0.5
    graph.encode(commands, {"x": x, "g": g})
    commands.commit()
    commands.wait_until_completed()
    np.testing.assert_array_equal(device.read_parameter(weights, "weights"), first - 1.5 * slope)


def test_no_update_without_a_style(device: mps.Device) -> None:
    weights = ByHand()
    graph = trainer(device, weights, NONE)
    before = device.read_parameter(weights, "weights")
    run(device, graph, x=integers(1, 2, 2, 3), g=integers(1, 2, 2, 2))
    assert weights.seen is None
    np.testing.assert_array_equal(device.read_parameter(weights, "weights"), before)


def test_a_skipped_step_updates_nothing(device: mps.Device) -> None:
    weights = ByHand()
    graph = trainer(device, weights, CPU)
    commands = mps.CommandBuffer(device.command_queue())
    flag = mps.Buffer(device, np.zeros(1, np.int32))
    commands.predicate = mps.Predicate(flag, 0)
    graph.encode(commands, {"x": integers(1, 2, 2, 3), "g": integers(1, 2, 2, 2)})
    commands.commit()
    commands.wait_until_completed()
    assert weights.seen is None


def test_other_queues_wait_for_the_update(device: mps.Device) -> None:
    weights = ByHand()
    weights.answer = lambda _gradients, values: {"bias": values["bias"] + 1}
    graph, infer = trainer(device, weights, CPU), forward(device, weights)
    x, g = np.zeros((1, 2, 2, 3), np.float32), integers(1, 2, 2, 2)
    queues = [device.command_queue() for _ in range(2)]
    for count in range(1, 20):
        train, test = (mps.CommandBuffer(queue) for queue in queues)
        graph.encode(train, {"x": x, "g": g})
        train.commit()
        result = infer.encode(test, {"x": x})[0]
        test.commit()
        assert np.asarray(result)[0, 0, 0, 0] == 1 + count


def normalisation(kind: str) -> mps.NormalizationDataSource:
    """A normalisation of one's own."""
    base = getattr(mps, f"{kind}NormalizationDataSource")

    class Own(base):  # type: ignore[misc, valid-type]
        def values(self, parameter: str) -> Floats:
            if parameter == "gamma":
                return np.array([1, 2, 3, 4], np.float32)
            result: Floats = super().values(parameter)
            return result

        def update_with_gradient_state(
            self, gradient_state: dict[str, Floats], source_state: dict[str, Floats]
        ) -> dict[str, Floats] | None:
            assert set(gradient_state) == {"gamma", "beta"}
            return {"beta": source_state["beta"] - gradient_state["beta"]}

    made = Own(4, 2) if kind == "Group" else Own(4)
    assert isinstance(made, mps.NormalizationDataSource)
    return made


@pytest.mark.parametrize("kind", ["Batch", "Instance", "Group"])
def test_normalisations_of_ones_own(device: mps.Device, kind: str) -> None:
    weights = normalisation(kind)
    node = getattr(mps, f"{kind}NormalizationNode")(mps.ImageNode("x"), weights)
    node.training_style = CPU
    end = node.gradient_filter(mps.ImageNode("g"))
    graph = mps.Graph(device, [node.result_image, end.result_image])
    x, g = RANDOM.standard_normal((2, 3, 4, 4)).astype(np.float32), integers(2, 3, 4, 4)
    axes = {"Batch": (0, 1, 2), "Instance": (1, 2)}.get(kind)
    result = np.asarray(run(device, graph, x=x, g=g)[0])
    if axes:
        deviation = result.std(axes)
        np.testing.assert_allclose(deviation, np.broadcast_to([1, 2, 3, 4], deviation.shape), 1e-4)
    np.testing.assert_array_equal(device.read_parameter(weights, "gamma"), [1, 2, 3, 4])
    np.testing.assert_array_equal(device.read_parameter(weights, "beta"), -g.sum((0, 1, 2)))
