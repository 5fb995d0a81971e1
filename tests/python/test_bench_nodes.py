# SPDX-License-Identifier: MIT
"""The bench of every node: its table is complete, and both contestants compute the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mpsnn import _core
from node_cases import CASES, SIZES, NodeCase

BENCH = Path(__file__).resolve().parent.parent.parent / "bench"

DIFFERENTIABLE = {row["name"]: bool(row["has_derivative"]) for row in _core.node_table()}


def test_every_node_has_a_row() -> None:
    forward = {row["name"] for row in _core.node_table() if not row["gradient"]}
    assert forward == {case.node for case in CASES}


def test_names_tell_rows_apart() -> None:
    assert len({case.id for case in CASES}) == len(CASES)


def test_every_row_has_a_counterpart_or_a_reason() -> None:
    pytest.importorskip("torch")
    from node_peers import PEERS

    without = {case.id for case in CASES if case.peer.startswith("none")}
    assert set(PEERS) == {case.id for case in CASES} - without


@pytest.mark.parametrize("size", SIZES)
def test_sizes_grow(size: str) -> None:
    smaller = SIZES[max(SIZES.index(size) - 1, 0)]
    for case in CASES:
        at, below = (np.prod(case.sources[s][0]) for s in (size, smaller))
        assert at > below or size == smaller


@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_contestants_agree(case: NodeCase, gradient: bool) -> None:
    pytest.importorskip("torch")
    from node_contestants import OurStep, PeerStep

    if not case.same_values or case.peer.startswith("none"):
        pytest.skip(f"PyTorch's counterpart makes other numbers: {case.peer}")
    if gradient and not DIFFERENTIABLE[case.node]:
        pytest.skip("no derivative")
    ours = OurStep(case, "small", gradient=gradient)
    theirs = PeerStep(case, "small", gradient=gradient, with_forward=ours.with_forward)
    for got, expected in zip(ours.results(), theirs.results(), strict=True):
        # The loss of a batch stands in image 0.
        one = got[: expected.shape[0]] if case.node == "ForwardLossNode" else got
        scale = float(np.abs(expected).max())
        np.testing.assert_allclose(one, expected, rtol=0, atol=1e-4 * scale, err_msg=case.id)


def test_bench_writes_its_figures(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    figures = tmp_path / "figures.json"
    command = [sys.executable, str(BENCH / "nodes.py"), "--nodes", "NeuronReLUN", "LanczosScale"]
    command += ["--sizes", "small", "--rounds", "2", "--seconds", "0.001", "--json", str(figures)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    measured = json.loads(figures.read_text(encoding="utf-8"))
    assert [(m["case"], m["gradient"]) for m in measured] == [
        ("NeuronReLUN", False),
        ("NeuronReLUN", True),
        ("LanczosScale", False),
        ("LanczosScale", True),
    ]
    assert all(len(m["ours"]) == 2 and min(m["ours"]) > 0 for m in measured)
    assert measured[0]["ratio"] > 0
    assert measured[0]["share"] > 0
    assert measured[2]["ratio"] is None
    assert "| NeuronReLUN | small |" in done.stdout


def test_bench_refuses_what_it_does_not_know() -> None:
    command = [sys.executable, str(BENCH / "nodes.py"), "--sizes", "huge"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "huge" in done.stderr
