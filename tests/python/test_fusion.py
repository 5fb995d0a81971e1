# SPDX-License-Identifier: MIT
"""A neuron fused into the convolution before it computes what the two compute apart."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from case_nets import GRADIENT, Floats, build, parameters_of, values
from cases import Case, convolution

import mpsnn as mps

NEURONS: dict[str, Callable[[mps.FilterNode], mps.FilterNode]] = {
    "relu": mps.NeuronReLUNode,
    "leaky": lambda source: mps.NeuronReLUNode(source, 0.25),
    "relu6": lambda source: mps.NeuronReLUNNode(source, 0.0, 6.0),
    "relun": lambda source: mps.NeuronReLUNNode(source, 0.25, 2.0),
    "tanh": lambda source: mps.NeuronTanHNode(source, 1.5, 0.125),
}
# Those whose result tells the derivative, and those that need the source in training.
OTHERS: dict[str, Callable[[mps.FilterNode], mps.FilterNode]] = {
    "linear": lambda source: mps.NeuronLinearNode(source, 0.5, 1.0),
    "sigmoid": mps.NeuronSigmoidNode,
    "hard sigmoid": mps.NeuronHardSigmoidNode,
    "soft plus": lambda source: mps.NeuronSoftPlusNode(source, 2.0, 0.125),
    "elu": mps.NeuronELUNode,
    "exponential": lambda source: mps.NeuronExponentialNode(source, 0.03125),
}
NEED_SOURCE: dict[str, Callable[[mps.FilterNode], mps.FilterNode]] = {
    "absolute": mps.NeuronAbsoluteNode,
    "soft sign": mps.NeuronSoftSignNode,
    "power": lambda source: mps.NeuronPowerNode(source, c=2.0),
    "gelu": mps.NeuronGeLUNode,
    "falling relu": lambda source: mps.NeuronReLUNode(source, -0.5),
    "mirrored elu": lambda source: mps.NeuronELUNode(source, -0.5),
    "flat tanh": lambda source: mps.NeuronTanHNode(source, 0.0),
}
ALL = NEURONS | OTHERS | NEED_SOURCE
CASES = convolution.WIDE + convolution.PADDINGS[::4] + convolution.EDGES[::3] + convolution.GROUPS


def run(device: mps.Device, case: Case, neuron: str, *, apart: bool) -> tuple[str, list[Floats]]:
    """The plan, and all that a training step makes: result, gradient, new weights and bias."""
    parameters = parameters_of(case, integers=True)
    net = build(case, parameters)
    # An image that is handed out must be there: the convolution then stands alone.
    net.node.result_image.handle = "between"
    net.node.result_image.export_from_graph = apart
    last = ALL[neuron](net.node)
    ends = last.training_graph(mps.ImageNode(GRADIENT))
    graph = mps.Graph(device, [last.result_image, *(node.result_image for node in ends)])
    image = values(case, case.sources[0], "source0", integers=True)
    forward = mps.Graph(device, [last.result_image])
    queue = device.command_queue()
    commands = mps.CommandBuffer(queue)
    shape = forward.encode(commands, {"source0": image})[0]
    assert shape is not None
    gradient = values(case, shape.size, GRADIENT, integers=True)
    outputs = graph.encode(commands, {"source0": image, GRADIENT: gradient})
    commands.commit()
    results = [np.array(shape), *(np.array(output) for output in outputs)]
    assert net.weights is not None
    results += [device.read_parameter(net.weights, name) for name in parameters]
    return graph.plan_text({"source0": image.shape, GRADIENT: gradient.shape}), results


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_fused_is_as_apart(device: mps.Device, case: Case, neuron: str) -> None:
    plan, fused = run(device, case, neuron, apart=False)
    assert "[neuron/" not in plan
    plan, apart = run(device, case, neuron, apart=True)
    assert "[neuron/" in plan
    for name, got, expected in zip(
        ("result", "result in training", "gradient", "weights", "bias"), fused, apart, strict=False
    ):
        np.testing.assert_array_equal(got, expected, err_msg=name)


def test_every_convolution_kernel_is_reached_fused_and_alone(cpu: mps.Device) -> None:
    """Whatever the planner may choose for a convolution, some case meets it."""
    reached = {True: set(), False: set()}
    for case in CASES:
        for apart in (True, False):
            plan, _ = run(cpu, case, "relu", apart=apart)
            reached[apart] |= set(re.findall(r"\[(convolution[a-z_]*/[a-z_0-9]+)\]", plan))
    assert reached[True] == reached[False]
    assert len(reached[True]) > 3


@pytest.mark.parametrize("neuron", OTHERS)
def test_other_neurons_fused_are_as_apart(device: mps.Device, neuron: str) -> None:
    for case in (convolution.WIDE[0], convolution.GROUPS[0]):
        test_fused_is_as_apart(device, case, neuron)


@pytest.mark.parametrize("neuron", NEED_SOURCE)
def test_a_neuron_that_needs_its_source_is_fused_only_without_training(
    device: mps.Device, neuron: str
) -> None:
    case = convolution.WIDE[0]
    plan, together = run(device, case, neuron, apart=False)
    assert "[neuron/" in plan
    _, apart = run(device, case, neuron, apart=True)
    for got, expected in zip(together, apart, strict=True):
        np.testing.assert_array_equal(got, expected)
    net = build(case, parameters_of(case, integers=True))
    forward = mps.Graph(device, [ALL[neuron](net.node).result_image])
    assert "[neuron/" not in forward.plan_text({"source0": case.sources[0]})
