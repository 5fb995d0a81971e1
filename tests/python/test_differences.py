# SPDX-License-Identifier: MIT
"""The lines of docs/differences.md that no other test holds; and that the tests it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import mpsnn as mps

Floats = NDArray[np.float32]
ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "differences.md").read_text(encoding="utf-8")


def run(device: mps.Device, node: mps.FilterNode, **sources: Floats) -> Floats:
    """A node's result."""
    commands = mps.CommandBuffer(device.command_queue())
    result = mps.Graph(device, [node.result_image]).encode(commands, sources)[0]
    commands.commit()
    return np.asarray(result)


def pixel(*values: float) -> Floats:
    """One pixel."""
    return np.array(values, np.float32).reshape(1, 1, 1, -1)


def test_the_page_names_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_\w+\.py)`", PAGE))
    assert named
    for name in named:
        assert (ROOT / "tests" / "python" / name).exists(), name


# Sources and what Apple's kernel was measured to give.
MEASURED = [
    ([[1], [5]], [1, 0, 0, 1, 5, 0, 0, 1]),
    ([[1, 2], [5, 6]], [1, 2, 0, 1, 5, 6, 0, 1]),
    ([[1], [5, 6, 7, 8]], [1, 0, 0, 1, 5, 6, 7, 8]),
    ([[1, 2, 3], [5]], [1, 2, 3, 0, 5, 0, 0, 1]),
]


@pytest.mark.parametrize(("sources", "apple"), MEASURED)
def test_concatenation_does_not_pad(
    device: mps.Device, sources: list[list[float]], apple: list[float]
) -> None:
    images = {f"x{i}": pixel(*values) for i, values in enumerate(sources)}
    result = run(
        device, mps.ConcatenationNode([mps.ImageNode(name) for name in images]), **images
    ).ravel()
    np.testing.assert_array_equal(result, np.concatenate(sources))
    assert len(result) < len(apple)


def test_an_addition_heeds_its_scale(device: mps.Device) -> None:
    node = mps.AdditionNode(mps.ImageNode("a"), mps.ImageNode("b"), primary_scale=2.0)
    result = run(device, node, a=pixel(1, 2, 3, 4), b=pixel(10, 20, 30, 40))
    np.testing.assert_array_equal(result.ravel(), [12, 24, 36, 48])


def test_a_mean_of_softmax_divides_by_pixels(device: mps.Device) -> None:
    y = np.zeros((1, 2, 3, 4), np.float32)
    t = np.zeros((1, 2, 3, 4), np.float32)
    t[..., 0] = 1
    descriptor = mps.LossDescriptor(mps.LossType.SOFT_MAX_CROSS_ENTROPY, mps.ReductionType.MEAN)
    node = mps.ForwardLossNode(mps.ImageNode("y"), mps.ImageNode("t"), descriptor)
    np.testing.assert_allclose(run(device, node, y=y, t=t).item(), np.log(4), rtol=1e-6)


def test_local_contrast_has_the_nodes_alpha() -> None:
    node = mps.LocalContrastNormalizationNode(mps.ImageNode("x"), 3)
    assert (node.alpha, node.beta, node.delta) == (1.0, 0.5, 2.0**-10)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (mps.ForwardLossNode, "Where Apple's headers contradict themselves"),
        (mps.NeuronReLUNNode, "Apple's header writes b"),
        (mps.AdditionNode, "ignore primary_scale"),
        (mps.YOLOLossNode, "Apple publishes"),
        (mps.ConcatenationNode, "Apple"),
    ],
)
def test_documentation_states_the_difference(kind: type, text: str) -> None:
    assert text in re.sub(r"\s+", " ", str(kind.__doc__))


def test_time_steps_and_rates_are_read_and_set_between_steps(device: mps.Device) -> None:
    optimizer = mps.OptimizerAdam(0.5)
    weights = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(1, 1, 1, 1),
        np.zeros((1, 1, 1, 1), np.float32),
        optimizer=optimizer,
    )
    node = mps.ConvolutionNode(mps.ImageNode("x"), weights)
    end = node.gradient_filter(mps.ImageNode("g"))
    graph = mps.Graph(device, [end.result_image], [False])

    def step() -> float:
        before = device.read_parameter(weights, "weights").item()
        commands = mps.CommandBuffer(device.command_queue())
        graph.encode(commands, {"x": pixel(1), "g": pixel(2)})
        commands.commit()
        return before - device.read_parameter(weights, "weights").item()

    assert step() == pytest.approx(0.5, rel=1e-5)
    assert device.time_step(weights) == 1
    device.set_time_step(weights, 10)
    optimizer.learning_rate = 0.25
    moments = 0.9 * 0.1 * 2 + 0.1 * 2, 0.999 * 0.001 * 4 + 0.001 * 4
    rate = 0.25 * np.sqrt(1 - 0.999**11) / (1 - 0.9**11)
    assert step() == pytest.approx(rate * moments[0] / np.sqrt(moments[1]), rel=1e-4)
    assert device.time_step(weights) == 11
