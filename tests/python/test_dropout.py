# SPDX-License-Identifier: MIT
"""Dropout beyond single masks: steps, gradients, sharing, archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cases import Case
from numpy.typing import NDArray
from oracles.dropout import kept, philox

import mpsnn as mps

SHAPE = (2, 5, 6, 7)
ONES = np.ones(SHAPE, np.float32)
X = mps.ImageNode("x")


def node(state: mps.DropoutState | None = None, seed: int = 9) -> mps.DropoutNode:
    return mps.DropoutNode(X, 0.5, seed, weights=state)


def run(graph: mps.Graph) -> list[NDArray[np.float32]]:
    commands = mps.CommandBuffer(graph.device.command_queue())
    outputs = graph.encode(commands, dict.fromkeys(graph.source_handles, ONES))
    commands.commit()
    return [np.array(image) for image in outputs]


def expected(step: int, seed: int = 9) -> NDArray[np.float32]:
    case = Case("DropoutNode", (SHAPE,), {"keep_probability": 0.5, "seed": seed})
    return 2 * kept(case, step).astype(np.float32)


def steps(device: mps.Device, state: mps.DataSource | None) -> tuple[float, float]:
    assert state is not None
    low, high = device.read_parameter(state, "steps")
    return float(low), float(high)


def test_apple_words() -> None:
    """Measured: element i is word i % 4 of the block i / 4, which is the counter's last word."""
    words = [word for block in range(2) for word in philox((0, 0, 0, block), (1, 0))]
    assert words == [
        0xE3E80670,
        0xE50A0EBC,
        0x95F222C0,
        0xB615AA27,
        0x127BEE41,
        0x1E047488,
        0x48842B20,
        0x0A393496,
    ]


def test_each_run_makes_the_next_mask(device: mps.Device) -> None:
    dropout = node()
    graph = mps.Graph(device, [dropout.result_image])
    for step in range(4):
        np.testing.assert_array_equal(run(graph)[0], expected(step))
    assert steps(device, dropout.weights) == (4, 0)
    share = np.mean(expected(0) != 0)
    assert 0.4 < share < 0.6


def test_the_gradient_has_the_mask_of_its_run(device: mps.Device) -> None:
    dropout = node()
    last = dropout.training_graph(mps.ImageNode("g"))[0]
    graph = mps.Graph(device, [dropout.result_image, last.result_image])
    for step in range(3):
        result, gradient = run(graph)
        np.testing.assert_array_equal(result, expected(step))
        np.testing.assert_array_equal(gradient, result)
    assert steps(device, dropout.weights) == (3, 0)


def test_a_gradient_node_made_by_hand_needs_the_state(device: mps.Device) -> None:
    dropout = node()
    state = dropout.weights
    assert isinstance(state, mps.DropoutState)
    last = mps.DropoutGradientNode(mps.ImageNode("g"), X, state, 0.5, 9)
    result, gradient = run(mps.Graph(device, [dropout.result_image, last.result_image]))
    np.testing.assert_array_equal(gradient, result)
    with pytest.raises(mps.InvalidArgumentError, match="weights: expected DropoutState, got none"):
        mps.FilterNode(
            "DropoutGradientNode",
            [mps.ImageNode("g"), X],
            {"keep_probability": 0.5},
        )


def test_every_node_has_a_state_of_its_own_or_shares_one(device: mps.Device) -> None:
    first, second = node(), node()
    assert first.weights is not second.weights
    shared = mps.DropoutState("shared")
    third, fourth = node(shared), node(shared, seed=10)
    assert third.weights is shared
    assert third.label == "shared"
    graph = mps.Graph(device, [third.result_image, fourth.result_image])
    run(graph)
    results = run(graph)
    np.testing.assert_array_equal(results[0], expected(1))
    np.testing.assert_array_equal(results[1], expected(1, seed=10))
    assert steps(device, shared) == (2, 0)


def test_the_count_carries(device: mps.Device) -> None:
    dropout = node()
    state = dropout.weights
    assert state is not None
    graph = mps.Graph(device, [dropout.result_image])
    device.write_parameter(state, "steps", np.array([2**20 - 1, 3], np.float32))
    np.testing.assert_array_equal(run(graph)[0], expected(2**20 - 1 + 3 * 2**20))
    assert steps(device, state) == (0, 4)
    np.testing.assert_array_equal(run(graph)[0], expected(4 * 2**20))


def test_archives_keep_the_count(device: mps.Device, tmp_path: Path) -> None:
    dropout = node()
    last = dropout.training_graph(mps.ImageNode("g"))[0]
    graph = mps.Graph(device, [dropout.result_image, last.result_image])
    run(graph)
    archiver = mps.KeyedArchiver()
    archiver.encode("net", graph)
    archiver.write(tmp_path / "net.safetensors")
    restored = mps.KeyedUnarchiver(device).open(tmp_path / "net.safetensors").decode_graph("net")
    for step in (1, 2):
        for image in run(restored):
            np.testing.assert_array_equal(image, expected(step))


def test_what_is_dropped_is_zero(device: mps.Device) -> None:
    graph = mps.Graph(device, [node().result_image])
    commands = mps.CommandBuffer(device.command_queue())
    result = graph.encode(commands, {"x": np.full(SHAPE, np.inf, np.float32)})[0]
    commands.commit()
    np.testing.assert_array_equal(
        np.asarray(result), np.where(expected(0) != 0, np.float32(np.inf), np.float32(0))
    )


def test_bad_input() -> None:
    for keep in (0.0, 1.0, -0.5, float("nan")):
        with pytest.raises(mps.InvalidArgumentError, match="keep_probability: expected"):
            mps.DropoutNode(X, keep)
    with pytest.raises(mps.InvalidArgumentError, match="seed: expected >= 0, got -1"):
        mps.DropoutNode(X, 0.5, -1)
    with pytest.raises(mps.InvalidArgumentError, match="mask_stride_in_pixels_x: expected 0 to 1"):
        mps.DropoutNode(X, 0.5, 0, 2)
    with pytest.raises(mps.InvalidArgumentError, match=r"steps: expected shape \(2,\), got \(3,\)"):
        mps.DropoutState().set_initial("steps", np.zeros(3, np.float32))
    with pytest.raises(mps.InvalidArgumentError, match="whole numbers"):
        mps.DropoutState().set_initial("steps", np.array([0.5, 0], np.float32))
    with pytest.raises(mps.InvalidArgumentError, match="parameter: expected steps"):
        mps.DropoutState().initial("mask")
