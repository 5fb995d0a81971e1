# SPDX-License-Identifier: MIT
"""The Metal backend on the double: shared cases, training, predicates, pieces, objects alive.

Run by tools/run_metal_double.py, with the module that is built against the double.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("tests", "tests/python", "tools")]

from cases import (  # noqa: E402
    Size,
    arithmetic,
    concatenation,
    convolution,
    dropout,
    gram_matrix,
    loss,
    neuron,
    normalization,
    padding,
    pooling,
    reduction,
    resize,
    softmax,
    upsampling,
)
from node_tests import Run, check_forward, check_gradients  # noqa: E402

import gen_metal  # noqa: E402
import mpsnn as mps  # noqa: E402
from mpsnn.apps.denoise.model import ModelOptions, build_net, build_training  # noqa: E402

FAMILIES = (
    arithmetic,
    concatenation,
    convolution,
    dropout,
    gram_matrix,
    loss,
    neuron,
    normalization,
    padding,
    pooling,
    reduction,
    resize,
    softmax,
    upsampling,
)
CASES = [case for family in FAMILIES for case in family.CASES]
# Node classes that are lowered without a gradient, since MPS has none.
NO_GRADIENT = {
    "BilinearScaleNode",
    "LanczosScaleNode",
    *(case.node for case in reduction.CASES if case.node.endswith(("MinNode", "MaxNode"))),
}
LOWERED = {case.node for case in CASES}
# Why a case of a lowered class may be refused; each is the beginning of a reason.
REASONS = (
    "sub_pixel_scale_factor:",
    "with groups MPS wants",
    "batches of one size",
    "sources of one size",
    "a primary source of the result's size",
    "threshold:",
    "padding_size_",
    "transform:",
    "is_weights_gradient:",
    "loss_type:",
    "flags:",
    "result_feature_channels:",
    "padding_policy:",
    "computes_loss:",
    "kernel_height:",
    "edge_mode:",
)
RAN: set[tuple[str, str]] = set()


@pytest.fixture(scope="module")
def device() -> mps.Device:
    return mps.Device("metal-double")


def refusal(error: mps.UnsupportedError) -> str:
    """The reason in the error of a node that is refused."""
    return str(error).partition('" cannot hold this node: ')[2]


def run_or_refuse(check: Callable[[mps.Device, Run], None], device: mps.Device, run: Run) -> None:
    reason = None
    try:
        check(device, run)
    except mps.UnsupportedError as error:
        reason = refusal(error)
    if reason is not None:
        is_expected = check is check_gradients and run.case.node in NO_GRADIENT
        assert is_expected or reason.startswith(REASONS), reason
        pytest.skip(reason)
    RAN.add((run.case.node, check.__name__))


# Whole numbers show a wrong index, any numbers a wrong slope; of float16 a case a class is enough.
HALF = mps.DataType.FLOAT16
FIRST = {case.node: case for case in reversed(CASES)}
FORWARD = [Run(case, case.exact) for case in CASES]
FORWARD += [Run(case, case.exact, HALF, HALF) for case in FIRST.values()]


@pytest.mark.parametrize("run", FORWARD, ids=lambda run: run.id)
def test_forward(device: mps.Device, run: Run) -> None:
    run_or_refuse(check_forward, device, run)


GRADIENT_CASES = [case for case in CASES if case.differentiable]


BACKWARD = [Run(case, integers=False) for case in GRADIENT_CASES]
BACKWARD += [Run(case, case.exact, HALF, HALF) for case in FIRST.values() if case.differentiable]


@pytest.mark.parametrize("run", BACKWARD, ids=lambda run: run.id)
def test_gradients(device: mps.Device, run: Run) -> None:
    run_or_refuse(check_gradients, device, run)


def test_every_lowered_class_ran() -> None:
    assert {node for node, check in RAN if check == "check_forward"} == LOWERED
    differentiable = {case.node for case in GRADIENT_CASES} & LOWERED - NO_GRADIENT
    assert {node for node, check in RAN if check == "check_gradients"} == differentiable


def test_the_support_page_says_what_is_refused() -> None:
    found = {name for name, row in gen_metal.rows().items() if row.state == "no"}
    without = {f"{name.removesuffix('Node')}GradientNode" for name in NO_GRADIENT}
    assert found == {name for name in without if "Argument" not in name}


def test_float16_images(device: mps.Device) -> None:
    image = mps.ImageNode("x")
    image.format = mps.DataType.FLOAT16
    graph = mps.Graph(device, [mps.NeuronLinearNode(image, a=2.0).result_image])
    values = np.float16([[[[1.5, -3.0, 0.25, 7.0, 9.5]]]])
    commands = mps.CommandBuffer(device.command_queue())
    (result,) = graph.encode(commands, {"x": values})
    commands.commit()
    assert result is not None
    np.testing.assert_array_equal(np.asarray(result), (2 * values).astype(np.float32))


@dataclass(frozen=True)
class Precondition:
    """What Apple's headers ask for and MPS ends the process without.

    Attributes:
        rule: The rule, and the header that has it.
        place: Where it is checked.
        node: A node that breaks it.
        size: Size of its sources.
        message: The error that comes instead.
    """

    rule: str
    place: str
    node: Callable[[], mps.FilterNode]
    size: Size
    message: str


def transpose_node(
    groups: int = 1, neuron: mps.NeuronDescriptor | None = None
) -> mps.ConvolutionTransposeNode:
    """A 1x1 transposed convolution of four channels."""
    descriptor = mps.ConvolutionDescriptor(1, 1, 4, 4, groups=groups)
    if neuron is not None:
        descriptor.fused_neuron_descriptor = neuron
    values = np.ones((4, 1, 1, 4 // groups), np.float32)
    source = mps.ConvolutionDataSource(descriptor, values, None, "w")
    return mps.ConvolutionTransposeNode(mps.ImageNode("x"), source, label="n")


def normalization_node(kind: type[mps.FilterNode]) -> mps.FilterNode:
    """A window of three columns and five rows."""
    return kind(mps.ImageNode("x"), kernel_width=3, kernel_height=5, label="n")


def convolution_node(groups: int = 1, sub_pixel: int = 1, inputs: int = 6) -> mps.ConvolutionNode:
    """A 1x1 convolution."""
    descriptor = mps.ConvolutionDescriptor(1, 1, inputs, 12, groups=groups)
    descriptor.sub_pixel_scale_factor = sub_pixel
    values = np.ones((12, 1, 1, inputs // groups), np.float32)
    return mps.ConvolutionNode(
        mps.ImageNode("x"), mps.ConvolutionDataSource(descriptor, values, None, "w"), label="n"
    )


def clamp_gradient() -> mps.FilterNode:
    """Of a 3x3 convolution that repeats the image's edge."""
    values = np.ones((2, 3, 3, 2), np.float32)
    source = mps.ConvolutionDataSource(mps.ConvolutionDescriptor(3, 3, 2, 2), values, None, "w")
    forward = mps.ConvolutionNode(
        mps.ImageNode("x"), source, edge_mode=mps.ImageEdgeMode.CLAMP, label="n"
    )
    return forward.gradient_filter(mps.ImageNode("g"))


def binary_node(
    kind: mps.BinaryConvolutionType = mps.BinaryConvolutionType.BINARY_WEIGHTS,
    **terms: list[float],
) -> mps.BinaryConvolutionNode:
    """A 3x3 binary convolution that keeps the image's size."""
    values = np.ones((2, 3, 3, 2), np.float32)
    source = mps.ConvolutionDataSource(mps.ConvolutionDescriptor(3, 3, 2, 2), values, None, "w")
    return mps.BinaryConvolutionNode(
        mps.ImageNode("x"), source, convolution_type=kind, label="n", **terms
    )


PRECONDITIONS = [
    Precondition(
        "a texture has at most 16384 columns (MTLTexture)",
        "lowering.mm, refuse_size",
        lambda: mps.NeuronAbsoluteNode(mps.ImageNode("x"), label="n"),
        (1, 1, 16385, 1),
        "textures have at most 16384 rows and columns",
    ),
    Precondition(
        "a texture array has at most 2048 slices of four channels (MTLTexture)",
        "lowering.mm, refuse_size",
        lambda: mps.NeuronAbsoluteNode(mps.ImageNode("x"), label="n"),
        (1, 1, 1, 8193),
        "textures have at most 8192 channels",
    ),
    Precondition(
        "input channels of a group are a multiple of four (MPSCNNConvolution.h, groups)",
        "nodes/convolution.mm, refuse_convolution",
        lambda: convolution_node(groups=3),
        (1, 2, 2, 6),
        "with groups MPS wants a multiple of 4 input channels a group, got 2",
    ),
    Precondition(
        "output channels of a group are a multiple of four (MPSCNNConvolution.h, groups)",
        "nodes/convolution.mm, refuse_convolution",
        lambda: convolution_node(groups=2, inputs=8),
        (1, 2, 2, 8),
        "with groups MPS wants a multiple of 4 output channels a group, got 6",
    ),
    Precondition(
        "a spatial normalisation's window is square (MPSCNNNormalization.h)",
        "nodes/window_normalization.mm, refuse_window_normalization",
        lambda: normalization_node(mps.SpatialNormalizationNode),
        (1, 6, 6, 2),
        "kernel_height: MPS wants that of kernel_width, 3, got 5",
    ),
    Precondition(
        "so is that of a local contrast normalisation (MPSCNNNormalization.h)",
        "nodes/window_normalization.mm, refuse_window_normalization",
        lambda: normalization_node(mps.LocalContrastNormalizationNode),
        (1, 6, 6, 2),
        "kernel_height: MPS wants that of kernel_width, 3, got 5",
    ),
    Precondition(
        "result channels of grouped sub-pixels are a multiple of four (MPSCNNConvolution.h)",
        "nodes/convolution.mm, refuse_convolution",
        lambda: convolution_node(sub_pixel=2, groups=2, inputs=8),
        (1, 2, 2, 8),
        "sub_pixel_scale_factor: with groups MPS wants a multiple of 4 result channels, got 3",
    ),
    Precondition(
        "a sub-pixel convolution has no gradient (MPSCNNConvolution.h, MPSCNNConvolutionGradient)",
        "nodes/convolution.mm, refuse_convolution_gradient",
        lambda: convolution_node(sub_pixel=2, inputs=3).gradient_filter(
            mps.UpsamplingNearestNode(mps.ImageNode("y"), 2, 2).result_image
        ),
        (1, 2, 2, 3),
        "sub_pixel_scale_factor: MPS has no gradient of a sub-pixel convolution",
    ),
    Precondition(
        "a gradient of a convolution is filled with zeros (MPSCNNConvolution.h)",
        "nodes/convolution.mm, refuse_convolution_gradient",
        clamp_gradient,
        (1, 3, 3, 2),
        "edge_mode: by Apple's header the gradient is a convolution filled with zeros",
    ),
    Precondition(
        "a transposed convolution has no neuron (MPSCNNConvolution.h, MPSCNNConvolutionTranspose)",
        "nodes/convolution.mm, refuse_convolution_transpose",
        lambda: transpose_node(neuron=mps.NeuronDescriptor(mps.NeuronType.RELU)),
        (1, 2, 2, 4),
        "fused_neuron_descriptor: Apple's header does not say",
    ),
    Precondition(
        "input channels of a transposed convolution's group, as above",
        "nodes/convolution.mm, refuse_convolution_transpose",
        lambda: transpose_node(groups=4),
        (1, 2, 2, 4),
        "with groups MPS wants a multiple of 4 input channels a group, got 1",
    ),
    Precondition(
        "offsets along the channels are multiples of four (MPSCNNKernel.h)",
        "nodes/shape.mm, refuse_crop",
        lambda: mps.CropNode(mps.ImageNode("x"), origin_feature_channel=1, label="n"),
        (1, 2, 2, 4),
        "result_feature_channels: MPS's graph has no node that leaves out channels",
    ),
    Precondition(
        "a gradient filter reads its forward filter's state (MPSNNGradientState.h)",
        "lowering.mm, refuse_orphan",
        lambda: mps.SoftMaxGradientNode(
            mps.ImageNode("x"), mps.ImageNode("y"), mps.ImageNode("z"), label="n"
        ),
        (1, 2, 2, 3),
        "a gradient node must be made from its forward node",
    ),
    Precondition(
        "the primary source has the result's size (MPSCNNMath.h, strides)",
        "nodes/arithmetic.mm, refuse_broadcast",
        lambda: mps.DivisionNode(
            mps.ReductionRowSumNode(mps.ImageNode("x")), mps.ImageNode("y"), label="n"
        ),
        (1, 2, 3, 4),
        "a primary source of the result's size",
    ),
    Precondition(
        "margins that are mirrored lie within the image (MPSNNReshape.h, MPSNNPad)",
        "nodes/shape.mm, refuse_pad",
        lambda: mps.PadNode(
            mps.ImageNode("x"),
            padding_size_after_x=2,
            edge_mode=mps.ImageEdgeMode.MIRROR,
            label="n",
        ),
        (1, 2, 2, 4),
        "padding_size_after_x: MPS mirrors an image once, at most 1, got 2",
    ),
    Precondition(
        "what lies beyond the source of a transform is not told (MPSImageResampling.h)",
        "nodes/shape.mm, refuse_scale",
        lambda: mps.LanczosScaleNode(
            mps.ImageNode("x"), 4, 4, transform=[1.0, 1.0, 1.0, 0.0], label="n"
        ),
        (1, 4, 4, 1),
        "transform: Apple's header does not say what is read beyond the source",
    ),
    Precondition(
        "zeros around an image have no sign (MPSCNNConvolution.h, MPSCNNBinaryConvolution)",
        "nodes/binary_convolution.mm, refuse_binary_convolution",
        lambda: binary_node(mps.BinaryConvolutionType.XNOR),
        (1, 4, 4, 2),
        "padding_policy: Apple's header does not say what positions outside of the image add",
    ),
    Precondition(
        "zeros around an image and a bias, as above",
        "nodes/binary_convolution.mm, refuse_binary_convolution",
        lambda: binary_node(input_bias_terms=[1.0, 2.0]),
        (1, 4, 4, 2),
        "padding_policy: Apple's header does not say what positions outside of the image add",
    ),
    Precondition(
        "biases are added before scaling (MPSCNNConvolution.h, inputBiasTerms)",
        "nodes/binary_convolution.mm, refuse_binary_convolution",
        lambda: binary_node(input_bias_terms=[1.0, 2.0], input_scale_terms=[1.0, 0.0]),
        (1, 4, 4, 2),
        "input_scale_terms: MPS adds a channel's bias before it scales, so that 0 loses it",
    ),
]


@pytest.mark.parametrize("one", PRECONDITIONS, ids=lambda one: one.rule)
def test_preconditions_are_refused_before_mps(device: mps.Device, one: Precondition) -> None:
    file, function = one.place.split(", ")
    assert f" {function}(" in (ROOT / "src/backend/metal" / file).read_text("utf-8")
    graph = mps.Graph(device, [one.node().result_image])
    images = {handle: np.ones(one.size, np.float32) for handle in graph.source_handles}
    with pytest.raises(mps.UnsupportedError, match='"n(.gradient)?".*' + re.escape(one.message)):
        graph.encode(mps.CommandBuffer(device.command_queue()), images)


def test_batches_of_two_sizes_are_refused_before_mps(device: mps.Device) -> None:
    source = (ROOT / "src/backend/metal/nodes/arithmetic.mm").read_text("utf-8")
    assert " refuse_broadcast(" in source
    node = mps.AdditionNode(mps.ImageNode("x"), mps.ImageNode("y"), label="n")
    graph = mps.Graph(device, [node.result_image])
    images = {"x": np.ones((2, 2, 3, 4), np.float32), "y": np.ones((1, 2, 3, 4), np.float32)}
    with pytest.raises(mps.UnsupportedError, match=r'"n".*batches of one size'):
        graph.encode(mps.CommandBuffer(device.command_queue()), images)


def weights(
    optimizer: mps.Optimizer | None, inputs: int = 4, outputs: int = 4
) -> mps.ConvolutionDataSource:
    generator = np.random.default_rng(3)
    values = generator.normal(size=(outputs, 3, 3, inputs)).astype(np.float32)
    return mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(3, 3, inputs, outputs),
        values,
        np.zeros(outputs, np.float32),
        "w",
        optimizer,
    )


def training(device: mps.Device, source: mps.ConvolutionDataSource) -> mps.Graph:
    image, target = mps.ImageNode("x"), mps.ImageNode("t")
    node = mps.NeuronReLUNode(mps.ConvolutionNode(image, source).result_image)
    descriptor = mps.LossDescriptor(
        mps.LossType.MEAN_SQUARED_ERROR, mps.ReductionType.SUM, weight=0.01
    )
    loss_node = mps.ForwardLossNode(node.result_image, target, descriptor)
    loss_node.result_image.handle, loss_node.result_image.export_from_graph = "loss", True
    last = mps.InitialGradientNode(loss_node.result_image).training_graph()
    return mps.Graph(device, [last[0].result_image], results_are_needed=[False])


def step(
    graph: mps.Graph, queue: mps.CommandQueue, predicate: mps.Predicate | None = None
) -> float:
    generator = np.random.default_rng(5)
    x, t = (generator.normal(size=(2, 6, 5, 4)).astype(np.float32) for _ in range(2))
    commands = mps.CommandBuffer(queue)
    commands.predicate = predicate
    outputs = graph.encode(commands, {"x": x, "t": t})
    commands.commit()
    commands.wait_until_completed()
    return float(np.sum(np.asarray(outputs["loss"])))


OPTIMIZERS: list[Callable[[], mps.Optimizer]] = [
    lambda: mps.OptimizerStochasticGradientDescent(0.01),
    lambda: mps.OptimizerStochasticGradientDescent(0.01, 0.9),
    lambda: mps.OptimizerStochasticGradientDescent(0.01, 0.9, True),
    lambda: mps.OptimizerAdam(0.01),
    lambda: mps.OptimizerAdam(0.01, use_amsgrad=True),
    lambda: mps.OptimizerRMSProp(0.01),
]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_training_agrees_with_the_cpu(
    device: mps.Device, make: Callable[[], mps.Optimizer]
) -> None:
    losses, values, steps = [], [], []
    for on in (device, mps.Device("cpu")):
        source = weights(make())
        graph, queue = training(on, source), on.command_queue()
        losses.append([step(graph, queue) for _ in range(4)])
        values.append(on.read_parameter(source, "weights"))
        steps.append(on.time_step(source))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    np.testing.assert_allclose(values[0], values[1], rtol=1e-4, atol=1e-5)
    assert losses[0][3] < losses[0][0]
    assert steps == [4, 4]


def test_weights_are_shared_between_graphs(device: mps.Device) -> None:
    source = weights(mps.OptimizerAdam(0.01))
    apply = mps.Graph(device, [mps.ConvolutionNode(mps.ImageNode("x"), source).result_image])
    graph, queue = training(device, source), device.command_queue()
    image = np.ones((1, 3, 3, 4), np.float32)

    def result() -> np.ndarray:
        commands = mps.CommandBuffer(queue)
        (made,) = apply.encode(commands, {"x": image})
        commands.commit()
        assert made is not None
        return np.asarray(made)[0, 1, 1]

    for _ in range(2):
        step(graph, queue)
        values = device.read_parameter(source, "weights").reshape(4, 36).sum(1)
        expected = values + device.read_parameter(source, "bias")
        np.testing.assert_allclose(result(), expected, rtol=1e-5, atol=1e-5)
    device.write_parameter(source, "weights", np.zeros((4, 3, 3, 4), np.float32))
    np.testing.assert_allclose(result(), device.read_parameter(source, "bias"), atol=1e-7)


def test_a_predicate_skips_an_update(device: mps.Device) -> None:
    source = weights(mps.OptimizerAdam(0.01))
    graph, queue, predicate = (
        training(device, source),
        device.command_queue(),
        mps.Predicate(device),
    )
    step(graph, queue)
    before = device.read_parameter(source, "weights")
    predicate.value = 0
    step(graph, queue, predicate)
    np.testing.assert_array_equal(device.read_parameter(source, "weights"), before)
    assert device.time_step(source) == 1
    predicate.value = 1
    step(graph, queue, predicate)
    assert np.any(device.read_parameter(source, "weights") != before)
    assert device.time_step(source) == 2


def test_a_predicate_leaves_results_alone(device: mps.Device) -> None:
    node = mps.NeuronLinearNode(mps.ImageNode("x"), a=3.0)
    graph, queue, predicate = (
        mps.Graph(device, [node.result_image]),
        device.command_queue(),
        mps.Predicate(device),
    )
    image = np.full((1, 2, 2, 4), 2.0, np.float32)
    seen = []
    for value in (1, 0):
        predicate.value = value
        commands = mps.CommandBuffer(queue)
        commands.predicate = predicate
        (made,) = graph.encode(commands, {"x": image})
        commands.commit()
        assert made is not None
        seen.append(np.asarray(made).copy())
    np.testing.assert_array_equal(seen[0], 3 * image)
    assert np.any(seen[1] != 3 * image)


def test_pieces_and_double_buffering(device: mps.Device) -> None:
    node = mps.NeuronLinearNode(mps.ImageNode("x"), a=2.0)
    graph, queue = mps.Graph(device, [node.result_image]), device.command_queue()
    order: list[str] = []
    buffers = [mps.CommandBuffer(queue, auto_commit=False) for _ in range(2)]
    made = []
    for turn in range(6):
        commands = buffers[turn % 2]
        made.append(graph.encode(commands, {"x": np.full((1, 1, 1, 1), turn, np.float32)})[0])
        commands.add_completed_handler(lambda _, turn=turn: order.append(str(turn)))
        commands.commit_and_continue()
    for commands in buffers:
        commands.commit()
        commands.wait_until_completed()
    assert [float(np.asarray(image)[0, 0, 0, 0]) for image in made] == [0, 2, 4, 6, 8, 10]
    assert order == list("012345")


def test_the_denoiser_trains_as_on_the_cpu(device: mps.Device) -> None:
    size, batch = (8, 8), 2
    generator = np.random.default_rng(1)
    names = ("noisy", "albedo", "normals")
    sources = {name: generator.random((batch, *size, 4), np.float32) for name in names}
    sources["clean"] = generator.random((batch, *size, 3), np.float32)
    losses = []
    for on in (device, mps.Device("cpu")):
        net = build_net(ModelOptions((4, 8), 1), mps.OptimizerAdam(1e-3))
        graph, queue = build_training(on, net, batch, size), on.command_queue()
        losses.append([])
        for _ in range(4):
            commands = mps.CommandBuffer(queue)
            outputs = graph.encode(commands, sources)
            commands.commit()
            losses[-1].append(float(np.sum(np.asarray(outputs["loss"]))))
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-4)
    assert losses[0][3] < losses[0][0]


def objects_alive() -> int:
    library = ctypes.CDLL(os.environ["MPSNN_METAL_DOUBLE"])
    library.metal_double_objects.restype = ctypes.c_long
    return int(library.metal_double_objects())


def test_no_object_is_left(device: mps.Device) -> None:
    def work() -> None:
        queue = device.command_queue()
        graph = training(device, weights(mps.OptimizerAdam(0.01)))
        for _ in range(3):
            step(graph, queue)

    counts = []
    for _ in range(4):
        work()
        gc.collect()
        device.trim()
        counts.append(objects_alive())
    assert counts[1] == counts[2] == counts[3], counts
