# SPDX-License-Identifier: MIT
"""Sequences that a library's kernel runs whole, beside the same ones step by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from cases.recurrent import Cell
from recurrent_nets import data_sources, descriptor_of, make_weights, matrices

import mpsnn as mps


@dataclass
class Run:
    """Outputs and last memory of a sequence and of its single steps.

    Attributes:
        whole: Of the sequence.
        stepped: Of its steps.
        ran_whole: Whether the sequence was one kernel of a library.
        has_library: Whether the device has it.
    """

    whole: list[np.ndarray]
    stepped: list[np.ndarray]
    ran_whole: bool
    has_library: bool


def sequences_and_steps(device: mps.Device, cell: Cell, rows: int = 2) -> Run:
    """A layer on random numbers."""
    rng = np.random.default_rng(5)
    weights = data_sources(cell, make_weights(cell, rng))
    layer = mps.RNNMatrixInferenceLayer(device, descriptor_of(cell, weights))
    x = matrices(device, list(rng.normal(size=(16, rows, cell.inputs)).astype(np.float32)))
    whole, stepped = (
        [mps.Matrix(device, rows=rows, columns=cell.outputs) for _ in x] for _ in "ab"
    )
    with mps.capture() as trace:
        commands = mps.CommandBuffer(device.command_queue())
        (last,) = layer.encode_sequence(commands, x, whole)
        commands.commit()
        commands.wait_until_completed()
    commands, state = mps.CommandBuffer(device.command_queue()), None
    for source, destination in zip(x, stepped, strict=True):
        (state,) = layer.encode_sequence(commands, [source], [destination], state)
    commands.commit()
    commands.wait_until_completed()
    assert state is not None
    ends = [one.memory_cell_matrix() for one in (last, state)]
    results = [
        [matrix.read() for matrix in [*made, end] if matrix is not None]
        for made, end in zip((whole, stepped), ends, strict=True)
    ]
    kernels = {span.kernel for span in trace.spans}
    return Run(
        *results,
        ran_whole="recurrent_sequence/onednn" in kernels,
        has_library=device.kind == "cpu" and "oneDNN" in {one.name for one in mps.libraries()},
    )


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize(
    "cell",
    [
        Cell("lstm", 3, 4),
        Cell("lstm", 70, 33, bias=False),
        Cell("lstm", 3, 20, memory="diagonal", absent=frozenset({"v0", "v2"})),
        Cell("gru", 3, 4),
        Cell("gru", 35, 130),
    ],
    ids=repr,
)
def test_a_sequence_of_a_library_is_that_of_single_steps(
    device: mps.Device, cell: Cell, rows: int
) -> None:
    run = sequences_and_steps(device, cell, rows)
    assert run.ran_whole == run.has_library
    for got, wanted in zip(run.whole, run.stepped, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=4e-6)


@pytest.mark.parametrize(
    "cell",
    [
        Cell("lstm", 3, 4, memory="full"),
        Cell("lstm", 3, 4, memory="diagonal"),  # a peephole of the cell gate
        Cell("lstm", 3, 4, absent=frozenset({"u1"})),
        Cell("lstm", 3, 4, memory_to_output=(5, 1.5, 0.75, 0.0)),
        Cell("lstm", 4, 4, unit=True),
        Cell("gru", 3, 4, memory="full"),
        Cell("gru", 3, 4, flips=True),
        Cell("gru", 3, 4, p=2.0),
    ],
    ids=repr,
)
def test_what_a_library_does_not_have_goes_step_by_step(device: mps.Device, cell: Cell) -> None:
    run = sequences_and_steps(device, cell)
    assert not run.ran_whole
    for got, wanted in zip(run.whole, run.stepped, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=4e-6)
