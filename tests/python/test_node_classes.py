# SPDX-License-Identifier: MIT
"""The typed classes: constructors, identity, what comes back from C++, gradient nodes by hand."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import mpsnn as mps
from mpsnn import _core, nodes

x, y, g = (mps.ImageNode(name) for name in "xyg")


def weights(label: str = "") -> mps.ConvolutionDataSource:
    generator = np.random.default_rng(0)
    array = generator.integers(-2, 3, (2, 3, 3, 2)).astype(np.float32)
    return mps.ConvolutionDataSource(mps.ConvolutionDescriptor(3, 3, 2, 2), array, [1, -1], label)


LOSS = mps.LossDescriptor(mps.LossType.MEAN_SQUARED_ERROR, mps.ReductionType.SUM, weight=0.5)


def test_every_class_of_the_table_has_a_typed_class() -> None:
    for row in _core.node_table():
        cls = getattr(mps, row["name"])
        assert issubclass(cls, mps.FilterNode)
        assert row["name"] in mps.__all__
        assert row["apple"] in (cls.__doc__ or "")
        names = list(inspect.signature(cls).parameters)
        assert "label" in names
        assert ("padding_policy" in names) == row["has_padding"]
    assert set(nodes.__all__) == {row["name"] for row in _core.node_table()}


def test_every_public_name_is_documented() -> None:
    for name in mps.__all__:
        member = getattr(mps, name)
        if not name.startswith("__"):
            assert (member.__doc__ or "").strip(), name


def test_parameters_and_defaults() -> None:
    pool = mps.PoolingMaxNode(x, 3, stride_in_pixels_x=2, label="pool")
    assert (pool.kernel_width, pool.kernel_height) == (3, 3)
    assert (pool.stride_in_pixels_x, pool.stride_in_pixels_y) == (2, 3)
    assert pool.edge_mode is mps.ImageEdgeMode.CLAMP
    assert pool.label == "pool"
    assert pool.padding_policy == mps.PaddingPolicy()
    assert pool.padding_policy.method == mps.PaddingMethod.SIZE_SAME
    pool.padding_policy = mps.PaddingPolicy(
        mps.PaddingMethod.SIZE_FULL | mps.PaddingMethod.ALIGN_TOP_LEFT
    )
    assert int(pool.padding_policy.method) == 33
    assert mps.NeuronReLUNode(x).neuron_type is mps.NeuronType.RELU
    assert mps.NeuronPReLUNode(x, np.array([0.5, 0.25])).a == [0.5, 0.25]
    loss = mps.ForwardLossNode(x, y, LOSS)
    assert loss.loss_type is mps.LossType.MEAN_SQUARED_ERROR
    assert (loss.weight, loss.epsilon, loss.number_of_classes) == (0.5, 1e-7, 1)
    assert len(mps.ForwardLossNode(x, y, LOSS, weights=g).sources) == 3


def test_numpy_numbers_are_numbers() -> None:
    pool = mps.PoolingMaxNode(x, np.int64(2))  # type: ignore[arg-type]
    assert pool.kernel_width == 2
    relu = mps.NeuronReLUNode(x, np.float32(0.5))  # type: ignore[arg-type]
    assert relu.a == 0.5
    assert mps.NeuronReLUNode(x, 1).a == 1.0
    flag = np.bool_(True)
    assert mps.UpsamplingBilinearNode(x, 2, align_corners=flag).align_corners is True  # type: ignore[arg-type]


def test_a_filter_stands_for_its_result() -> None:
    first = mps.NeuronReLUNode(x)
    for second in (mps.NeuronReLUNode(first), mps.NeuronReLUNode(first.result_image)):
        assert second.sources == [first.result_image]
    assert mps.ConcatenationNode([x, first]).sources == [x, first.result_image]
    assert first.result_image.producer == first
    assert x.producer is None


def test_identity() -> None:
    source = weights("c")
    node = mps.ConvolutionNode(x, source)
    assert node == node.result_image.producer
    assert hash(node) == hash(node.result_image.producer)
    assert node != mps.ConvolutionNode(x, source)
    assert x == node.sources[0]
    assert {x: 1}[node.sources[0]] == 1
    assert x != mps.ImageNode("x")
    assert x != "x"
    assert node.weights is source
    assert node.label == "c"
    assert mps.Device("cpu") == mps.Device("cpu")
    assert mps.Device("cpu") != mps.Device("null")


def test_what_comes_back_has_its_class(cpu: mps.Device) -> None:
    node = mps.ConvolutionNode(x, weights())
    ends = node.training_graph(g)
    assert type(ends[0]) is mps.ConvolutionGradientNode
    assert type(ends[0].inference_node) is mps.ConvolutionNode
    assert type(node.gradient_filter(g)) is mps.ConvolutionGradientNode
    assert [type(n) for n in mps.AdditionNode(x, y).gradient_filters(g)] == 2 * [
        mps.AdditionGradientNode
    ]
    assert type(node.result_image.producer) is mps.ConvolutionNode
    graph = mps.Graph(cpu, [mps.NeuronReLUNode(node).result_image])
    assert [type(n) for n in graph.nodes] == [mps.ConvolutionNode, mps.NeuronReLUNode]
    assert type(graph.data_sources[0]) is mps.ConvolutionDataSource


def test_descriptors_and_policies_compare_by_value() -> None:
    assert mps.ConvolutionDescriptor(3, 3, 1, 2) == mps.ConvolutionDescriptor(3, 3, 1, 2)
    assert mps.ConvolutionDescriptor(3, 3, 1, 2) != mps.ConvolutionDescriptor(
        3, 3, 1, 2, groups=1, stride_in_pixels_x=2
    )
    assert mps.LossDescriptor(mps.LossType.LOG) == mps.LossDescriptor(mps.LossType.LOG)
    assert mps.NeuronDescriptor(mps.NeuronType.RELU, 0.5) == mps.NeuronDescriptor(
        mps.NeuronType.RELU, 0.5
    )
    assert len({mps.PaddingPolicy(16), mps.PaddingPolicy(16), mps.PaddingPolicy(0)}) == 2


def test_representations_name_the_object(cpu: mps.Device) -> None:
    assert repr(x) == "mpsnn.ImageNode('x')"
    assert repr(mps.NeuronReLUNode(x, label="r")) == '<mpsnn.NeuronReLUNode "r">'
    assert repr(cpu) == 'mpsnn.Device("cpu")'
    assert repr(weights("w")) == '<mpsnn.ConvolutionDataSource "w">'
    assert "(1, 2, 3, 4) float32" in repr(mps.Image(cpu, size=(1, 2, 3, 4)))


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float32)


def evaluate(device: mps.Device, node: mps.FilterNode, **arrays: np.ndarray) -> np.ndarray:
    graph = mps.Graph(device, [node.result_image])
    commands = mps.CommandBuffer(device.command_queue())
    result = graph.encode(commands, {name: arrays[name] for name in graph.source_handles})[0]
    commands.commit()
    assert result is not None
    return result.read()


def by_hand() -> list[tuple[mps.FilterNode, mps.FilterNode]]:
    """A forward node, and a gradient node like the one that it makes for its last source."""
    source = weights()
    clamp = mps.ImageEdgeMode.CLAMP
    pool = mps.PoolingMaxNode(x, 2)
    norm, gaps = mps.PoolingL2NormNode(x, 2, 3, 1), mps.DilatedPoolingMaxNode(x, 2)
    maximum = mps.ReductionColumnMaxNode(x)
    up = mps.UpsamplingBilinearNode(x, 2, align_corners=True)
    return [
        (mps.ConvolutionNode(x, source, clamp), mps.ConvolutionGradientNode(g, x, source, clamp)),
        (mps.NeuronReLUNode(x, 0.5), mps.NeuronGradientNode(g, x, mps.NeuronType.RELU, 0.5)),
        (
            mps.NeuronPReLUNode(x, [0.5, 0.25]),
            mps.NeuronGradientNode(g, x, mps.NeuronType.PRELU, parameters=[0.5, 0.25]),
        ),
        (pool, mps.PoolingMaxGradientNode(g, x, pool, 2)),
        (
            mps.PoolingAverageNode(x, 2, zero_pad_size_x=1),
            mps.PoolingAverageGradientNode(g, x, 2, zero_pad_size_x=1),
        ),
        (norm, mps.PoolingL2NormGradientNode(g, x, norm, 2, 3, 1)),
        (gaps, mps.DilatedPoolingMaxGradientNode(g, x, gaps, 2)),
        (mps.UpsamplingNearestNode(x, 3), mps.UpsamplingNearestGradientNode(g, x, 3)),
        (up, mps.UpsamplingBilinearGradientNode(g, x, 2, align_corners=True)),
        (
            mps.AdditionNode(x, y, secondary_scale=3.0),
            mps.AdditionGradientNode(g, x, y, secondary_scale=3.0, is_secondary_source_filter=True),
        ),
        (
            mps.MultiplicationNode(x, y, 2.0),
            mps.MultiplicationGradientNode(g, x, y, 2.0, is_secondary_source_filter=True),
        ),
        (mps.ReductionRowSumNode(x), mps.ReductionRowSumGradientNode(g, x)),
        (maximum, mps.ReductionColumnMaxGradientNode(g, x, maximum)),
        (mps.NeuronTanHNode(x, 2.0), mps.NeuronGradientNode(g, x, mps.NeuronType.TANH, 2.0, 1.0)),
        (mps.ReductionSpatialMeanNode(x), mps.ReductionSpatialMeanGradientNode(g, x)),
        (
            mps.PadNode(x, 1, 2, edge_mode=mps.ImageEdgeMode.MIRROR),
            mps.PadGradientNode(g, x, 1, 2, edge_mode=mps.ImageEdgeMode.MIRROR),
        ),
        (mps.CropNode(x, 2), mps.CropGradientNode(g, x, 2)),
        (mps.ReshapeNode(x, 1, 1, 48), mps.ReshapeGradientNode(g, x, 1, 1, 48)),
        (mps.BilinearScaleNode(x, 3, 5), mps.BilinearScaleGradientNode(g, x, 3, 5)),
        (mps.LanczosScaleNode(x, 3, 5), mps.LanczosScaleGradientNode(g, x, 3, 5)),
        (
            mps.ConvolutionTransposeNode(x, source),
            mps.ConvolutionTransposeGradientNode(g, x, source),
        ),
        (mps.ConcatenationNode([x, y]), mps.ConcatenationGradientNode(g, [x, y], 1)),
        (
            mps.ForwardLossNode(x, y, LOSS),
            mps.LossGradientNode(g, x, y, LOSS, is_labels_gradient=True),
        ),
    ]


@pytest.mark.parametrize(("forward", "gradient"), by_hand(), ids=lambda node: node.class_name)
def test_gradient_nodes_made_by_hand(
    cpu: mps.Device, forward: mps.FilterNode, gradient: mps.FilterNode
) -> None:
    arrays = {"x": values(1, 4, 6, 2), "y": values(1, 4, 6, 2, seed=1)}
    shape = evaluate(cpu, forward, **arrays).shape
    arrays["g"] = values(*shape, seed=2)
    made = forward.gradient_filters(g)[-1]
    assert type(made) is type(gradient)
    if isinstance(gradient, mps.LossGradientNode) and isinstance(made, mps.LossGradientNode):
        # A loss makes its labels' gradient only where they are trained.
        expected = -arrays["g"] * 0.5 * 2 * (arrays["x"] - arrays["y"])
    else:
        expected = evaluate(cpu, made, **arrays)
        assert made.attributes == gradient.attributes
    np.testing.assert_array_equal(evaluate(cpu, gradient, **arrays), expected)


def test_convolution_fuses_the_neuron_behind_it(cpu: mps.Device) -> None:
    source = weights("c")
    relu = mps.NeuronReLUNode(mps.ConvolutionNode(x, source))
    plan = mps.Graph(cpu, [relu.result_image]).plan_text({"x": (1, 4, 6, 2)})
    assert "neuron/" not in plan
    array = values(1, 4, 6, 2)
    expected = np.maximum(evaluate(cpu, mps.ConvolutionNode(x, source), x=array), 0)
    np.testing.assert_array_equal(evaluate(cpu, relu, x=array), expected)
    descriptor = mps.ConvolutionDescriptor(
        3, 3, 2, 2, fused_neuron_descriptor=mps.NeuronDescriptor(mps.NeuronType.RELU)
    )
    described = mps.ConvolutionDataSource(descriptor, source.weights, source.bias_terms)
    np.testing.assert_array_equal(
        evaluate(cpu, mps.ConvolutionNode(x, described), x=array), expected
    )


@pytest.mark.parametrize("neuron", [{}, {"a": 0.5}], ids=["relu", "leaky"])
def test_gradients_through_a_fused_neuron(cpu: mps.Device, neuron: dict[str, float]) -> None:
    array = values(1, 4, 6, 2)
    results = []
    for export in (False, True):
        convolution = mps.ConvolutionNode(x, weights())
        # Handing out the convolution's own result forbids the fusion.
        convolution.result_image.export_from_graph = export
        convolution.result_image.handle = "inner"
        relu = mps.NeuronReLUNode(convolution, **neuron)
        last = relu.training_graph(g)[0]
        wanted = [relu.result_image, last.result_image]
        graph = mps.Graph(cpu, wanted)
        plan = graph.plan_text({"x": (1, 4, 6, 2), "g": (1, 4, 6, 2)})
        assert ("[neuron/" in plan) == export
        results.append(both(graph, array))
        # The gradient first: it then reads the neuron's source, and nothing is fused.
        results.append(both(mps.Graph(cpu, wanted[::-1]), array)[::-1])
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])
    assert np.any(results[0][1])


def both(graph: mps.Graph, array: np.ndarray) -> list[np.ndarray]:
    commands = mps.CommandBuffer(graph.device.command_queue())
    outputs = graph.encode(commands, {"x": array, "g": values(1, 4, 6, 2, seed=2)})
    commands.commit()
    return [np.array(image) for image in outputs]


def test_plans_costs_and_drawings(cpu: mps.Device) -> None:
    graph = mps.Graph(cpu, [mps.NeuronReLUNode(mps.ConvolutionNode(x, weights("c"))).result_image])
    sizes = {"x": (1, 8, 8, 2)}
    cost = graph.cost(sizes)
    assert cost.flops >= 2 * 8 * 8 * 2 * 2 * 9
    assert cost.operations >= 1
    assert "convolution" in graph.plan_text({x: mps.Image(cpu, size=(1, 8, 8, 2))})
    assert graph.dot().lstrip().startswith("digraph")
    assert graph.plan_dot(sizes).lstrip().startswith("digraph")
    with pytest.raises(mps.ArgumentTypeError, match=r'source "x": expected a size'):
        graph.cost({"x": (1, 2)})  # type: ignore[dict-item]


def test_svg_draws_or_says_what_is_missing(
    cpu: mps.Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = mps.Graph(cpu, [mps.NeuronReLUNode(x).result_image])
    import shutil

    if shutil.which("dot"):
        assert "<svg" in graph.svg()
        assert "<svg" in graph.svg({"x": (1, 2, 2, 1)})
    monkeypatch.setenv("PATH", "")
    with pytest.raises(mps.UnsupportedError, match="Graphviz"):
        graph.svg()
