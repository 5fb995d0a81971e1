# SPDX-License-Identifier: MIT
"""The example of transfer learning: what changes, what stays, and what a step costs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import mpsnn as mps

PATH = Path(__file__).parents[2] / "examples" / "python" / "transfer_learning.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    pytest.importorskip("sklearn")
    spec = importlib.util.spec_from_file_location("transfer_learning", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["transfer_learning"] = module
    spec.loader.exec_module(module)
    return module


def test_the_last_layer_learns_new_classes_and_the_others_stay(example: ModuleType) -> None:
    outcome = example.run(mps.Device("cpu"), epochs=6)
    assert outcome.before > 0.95
    assert outcome.after > 0.8
    assert outcome.unchanged
    whole, last = outcome.operations
    assert last < 0.4 * whole
    # Small kernels have a share that no work explains: less than half of the time is certain.
    assert outcome.seconds[1] < 0.7 * outcome.seconds[0]


def test_only_the_last_layer_has_gradients(example: ModuleType) -> None:
    device, net = mps.Device("cpu"), example.Net(8)
    graph = example.build_training(device, net, stop_gradient=True)
    digits = example.bundled()
    batch = example.batches(digits, np.random.default_rng(0))[0]
    text = graph.plan_text({name: array.shape for name, array in batch.items()})
    assert text.count("weights_gradient  [") == 1
    assert text.count("data_gradient  [") == 0
    before, last = example.weights(device, net), device.read_parameter(net.last, "weights")
    example.train(graph, digits.parted()[1], 1)
    after = example.weights(device, net)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert not np.array_equal(last, device.read_parameter(net.last, "weights"))
