# SPDX-License-Identifier: MIT
"""States of recurrent layers: they start an encode, and lie where a caller wants them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from cases.recurrent import Cell
from recurrent_nets import data_sources, descriptor_of, make_weights, matrices

import mpsnn as mps

LSTM = Cell("lstm", 3, 4)
State = mps.RNNRecurrentMatrixState


def descriptor(cell: Cell) -> mps.RNNSingleGateDescriptor | mps.LSTMDescriptor | mps.GRUDescriptor:
    """With random weights."""
    return descriptor_of(cell, data_sources(cell, make_weights(cell, np.random.default_rng(3))))


def values(*shape: int) -> np.ndarray:
    """Random float32."""
    return np.random.default_rng(5).uniform(-1, 1, shape).astype(np.float32)


def encoded(device: mps.Device) -> mps.CommandBuffer:
    """A command buffer."""
    return mps.CommandBuffer(device.command_queue())


def stack(device: mps.Device) -> mps.RNNMatrixInferenceLayer:
    """An LSTM of four channels and a GRU of two."""
    return mps.RNNMatrixInferenceLayer(device, [descriptor(LSTM), descriptor(Cell("gru", 4, 2))])


def results(device: mps.Device, steps: int) -> list[mps.Matrix]:
    """A sequence of the stack's outputs, of three rows."""
    return [mps.Matrix(device, rows=3, columns=2) for _ in range(steps)]


def test_a_sequence_may_be_cut_and_go_on_from_its_state(device: mps.Device) -> None:
    layer = stack(device)
    sources = matrices(device, list(values(5, 3, 3)))
    made, whole = results(device, 5), results(device, 5)
    commands = encoded(device)
    layer.encode_sequence(commands, sources, whole)
    (state,) = layer.encode_sequence(commands, sources[:2], made[:2])
    for x, y in zip(sources[2:], made[2:], strict=True):
        (state,) = layer.encode_sequence(commands, [x], [y], state)
    commands.commit()
    for got, wanted in zip(made, whole, strict=True):
        np.testing.assert_allclose(got.read(), wanted.read(), rtol=0, atol=1e-6)


def state_of_stack(device: mps.Device, rows: int) -> State:
    """Memory for a state of an LSTM of four channels and a GRU of two."""
    first, cells, second = (mps.Matrix(device, rows=rows, columns=n) for n in (4, 4, 2))
    return State([first, second], [cells, None])


def test_output_states_are_written_where_they_are_given(device: mps.Device) -> None:
    layer = stack(device)
    sources = matrices(device, list(values(6, 3, 3)))
    made, whole = results(device, 6), results(device, 6)
    states = [state_of_stack(device, 3), state_of_stack(device, 3)]  # two serve any number of steps
    commands = encoded(device)
    before = None
    for step, (x, y) in enumerate(zip(sources, made, strict=True)):
        given = states[step % 2]
        (state,) = layer.encode_sequence(
            commands, [x], [y], before, recurrent_output_states=[given]
        )
        assert state.recurrent_output_matrix(1).buffer == given.recurrent_output_matrix(1).buffer
        before = given
    (wanted,) = layer.encode_sequence(commands, sources, whole)
    commands.commit()
    for got, expected in zip(made, whole, strict=True):
        np.testing.assert_allclose(got.read(), expected.read(), rtol=0, atol=1e-6)
    for index in range(2):
        np.testing.assert_allclose(
            states[1].recurrent_output_matrix(index).read(),
            wanted.recurrent_output_matrix(index).read(),
            rtol=0,
            atol=1e-6,
        )


def test_output_states_after_each_step(device: mps.Device) -> None:
    layer = stack(device)
    layer.store_all_intermediate_states = True
    rows = [3, 3, 2]
    sources = [mps.Matrix.from_array(device, values(n, 3)) for n in rows]
    made = [mps.Matrix(device, rows=n, columns=2) for n in rows]
    given = [state_of_stack(device, n) for n in rows]
    commands = encoded(device)
    layer.encode_sequence(commands, sources, made, recurrent_output_states=given)
    commands.commit()
    for state, matrix in zip(given, made, strict=True):
        assert np.array_equal(state.recurrent_output_matrix(1).read(), matrix.read())


def test_output_states_of_images(device: mps.Device) -> None:
    layer = mps.RNNImageInferenceLayer(device, descriptor(LSTM))
    x = [mps.Image(device, values(1, 2, 2, 3)) for _ in range(2)]
    y = [mps.Image(device, size=(1, 2, 2, 4)) for _ in x]
    outputs, cells = (mps.Image(device, size=(1, 2, 2, 4)) for _ in range(2))
    given = mps.RNNRecurrentImageState([outputs], [cells])
    commands = encoded(device)
    layer.encode_sequence(commands, x, y, recurrent_output_states=[given])
    (wanted,) = layer.encode_sequence(commands, x, y)
    commands.commit()
    wanted_cells = wanted.memory_cell_image()
    assert wanted_cells is not None
    np.testing.assert_allclose(outputs.read(), y[-1].read(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(cells.read(), wanted_cells.read(), rtol=0, atol=1e-6)
    with pytest.raises(
        mps.InvalidArgumentError,
        match="recurrent_output_states: expected memory that nothing else of the encode uses",
    ):
        layer.encode_sequence(encoded(device), x, y, given, recurrent_output_states=[given])


class Rig:
    """A layer, its operands of two steps and two rows, and states."""

    def __init__(self) -> None:
        self.device = mps.Device("null")
        self.layer = mps.RNNMatrixInferenceLayer(self.device, descriptor(LSTM))
        self.x, self.y = self.matrices(3), self.matrices(4)

    def matrices(self, columns: int, rows: int = 2) -> list[mps.Matrix]:
        """Two matrices."""
        return [mps.Matrix(self.device, rows=rows, columns=columns) for _ in range(2)]

    def state(self, rows: int = 2) -> State:
        """Memory for a state."""
        output, cell = self.matrices(4, rows)
        return State([output], [cell])


BAD: dict[str, tuple[Callable[[Rig], list[State]], str]] = {
    "too many": (
        lambda rig: [rig.state(), rig.state()],
        "expected 1, that of the last time step, got 2",
    ),
    "more rows": (
        lambda rig: [rig.state(3)],
        "layer 0: recurrent output: expected 2 rows, 4 channels, got 3 rows, 4 channels",
    ),
    "over a destination": (
        lambda rig: [State([rig.y[1]], [rig.y[0]])],
        "expected memory that nothing else of the encode uses, got that of another operand",
    ),
    "both matrices are one": (
        lambda rig: [State([matrix := rig.matrices(4)[0]], [matrix])],
        "expected memory that nothing else of the encode uses, got that of two of its matrices",
    ),
    "another device": (
        lambda _rig: [state_on_the_cpu()],
        'expected memory of device ".*", got that of device ".*"',
    ),
}


def state_on_the_cpu() -> State:
    """Of two rows."""
    output, cell = (mps.Matrix(mps.Device("cpu"), rows=2, columns=4) for _ in range(2))
    return State([output], [cell])


@pytest.mark.parametrize("name", BAD)
def test_output_states_that_do_not_fit(name: str) -> None:
    make, text = BAD[name]
    rig = Rig()
    commands = encoded(rig.device)
    with pytest.raises(mps.InvalidArgumentError, match=f"Layer.*recurrent_output_states: {text}"):
        rig.layer.encode_sequence(commands, rig.x, rig.y, recurrent_output_states=make(rig))
    rig.layer.encode_sequence(commands, rig.x, rig.y, recurrent_output_states=[rig.state()])
    commands.commit()
