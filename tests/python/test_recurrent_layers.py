# SPDX-License-Identifier: MIT
"""What recurrent layers do beside their formulas: weights, states, offsets, predicates, errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from cases.recurrent import RECURRENT_CASES, Cell
from recurrent_nets import data_source, data_sources, descriptor_of, make_weights, matrices

import mpsnn as mps

LSTM, GRU, SINGLE = Cell("lstm", 3, 4), Cell("gru", 3, 4), Cell("single", 3, 4)


def descriptor(cell: Cell) -> mps.RNNSingleGateDescriptor | mps.LSTMDescriptor | mps.GRUDescriptor:
    """With random weights."""
    return descriptor_of(cell, data_sources(cell, make_weights(cell, np.random.default_rng(3))))


def values(*shape: int) -> np.ndarray:
    """Random float32."""
    return np.random.default_rng(5).uniform(-1, 1, shape).astype(np.float32)


def encoded(device: mps.Device) -> mps.CommandBuffer:
    """A command buffer."""
    return mps.CommandBuffer(device.command_queue())


def run(layer: mps.RNNMatrixInferenceLayer, steps: list[np.ndarray]) -> list[np.ndarray]:
    """The layer's outputs."""
    device = layer.device
    made = [mps.Matrix(device, rows=len(x), columns=layer.output_feature_channels) for x in steps]
    commands = encoded(device)
    layer.encode_sequence(commands, matrices(device, steps), made)
    commands.commit()
    return [matrix.read() for matrix in made]


def test_every_encode_of_every_layer_has_cases() -> None:
    reached = {(case.kernel, case.method) for case in RECURRENT_CASES}
    wanted = {
        (name, method)
        for name in ("RNNMatrixInferenceLayer", "RNNImageInferenceLayer")
        for method in ("encode_sequence", "encode_bidirectional_sequence")
    } | {("RNNMatrixTrainingLayer", "encode_gradient_sequence")}
    assert wanted == reached


def test_a_decoder_stops_where_its_predicate_says(device: mps.Device) -> None:
    layer = mps.RNNMatrixInferenceLayer(device, descriptor(SINGLE))
    x = mps.Matrix.from_array(device, values(1, 3))
    made = [mps.Matrix.from_array(device, np.full((1, 4), 9, np.float32)) for _ in range(3)]
    going_on = mps.Buffer(device, np.array([1, 1, 0], np.int32))
    commands = encoded(device)
    state = None
    for step, matrix in enumerate(made):
        commands.predicate = mps.Predicate(going_on, 4 * step)
        (state,) = layer.encode_sequence(commands, [x], [matrix], state)
    commands.commit()
    assert (made[0].read() != 9).all()
    assert (made[1].read() != 9).all()
    assert (made[2].read() == 9).all()


def test_weights_that_change_are_seen_at_the_next_encode(device: mps.Device) -> None:
    weights = make_weights(SINGLE, np.random.default_rng(3))
    sources = data_sources(SINGLE, weights)
    layer = mps.RNNMatrixInferenceLayer(device, descriptor_of(SINGLE, sources))
    x = values(2, 3)
    before = run(layer, [x])[0]
    device.write_parameter(sources["w0"], "weights", np.zeros((4, 1, 1, 3), np.float32))
    after = run(layer, [x])[0]
    assert not np.allclose(before, after)
    expected = np.tile(np.tanh(weights["b0"]), (2, 1))
    np.testing.assert_allclose(after, expected, rtol=0, atol=1e-6)


def test_windows_that_change_are_seen_at_the_next_encode(device: mps.Device) -> None:
    cell = Cell("single", 3, 4, window=(3, 3))
    weights = make_weights(cell, np.random.default_rng(3))
    sources = data_sources(cell, weights)
    layer = mps.RNNImageInferenceLayer(device, descriptor_of(cell, sources))
    source, made = mps.Image(device, values(1, 5, 6, 3)), mps.Image(device, size=(1, 5, 6, 4))

    def output() -> np.ndarray:
        commands = encoded(device)
        layer.encode_sequence(commands, [source], [made])
        commands.commit()
        return np.asarray(made).copy()

    before = output()
    device.write_parameter(sources["w0"], "weights", np.zeros((4, 3, 3, 3), np.float32))
    after = output()
    assert not np.allclose(before, after)
    expected = np.broadcast_to(np.tanh(weights["b0"]), (1, 5, 6, 4))
    np.testing.assert_allclose(after, expected, rtol=0, atol=1e-6)


def test_a_window_is_placed_by_the_size_of_the_images(device: mps.Device) -> None:
    # As many rows, but other images: no plan is mistaken for another's.
    cell = Cell("single", 1, 1, absent=frozenset({"u0"}), bias=False, neurons=((0, 0.0, 0.0, 0.0),))
    ones = {"w0": np.ones((1, 1, 3, 1), np.float32)}
    layer = mps.RNNImageInferenceLayer(device, descriptor_of(cell, data_sources(cell, ones)))
    for size, sums in (
        ((1, 1, 6, 1), [1, 3, 6, 9, 12, 9]),
        ((1, 2, 3, 1), [1, 3, 3, 7, 12, 9]),
        ((2, 1, 3, 1), [1, 3, 3, 7, 12, 9]),
        ((1, 6, 1, 1), [0, 1, 2, 3, 4, 5]),
    ):
        source = mps.Image(device, np.arange(6, dtype=np.float32).reshape(size))
        made, commands = mps.Image(device, size=size), encoded(device)
        layer.encode_sequence(commands, [source], [made])
        commands.commit()
        np.testing.assert_array_equal(np.asarray(made).reshape(-1), sums)


def test_offsets_and_row_strides_leave_the_rest_alone(device: mps.Device) -> None:
    layer = mps.RNNMatrixInferenceLayer(device, descriptor(GRU))
    steps = values(4, 2, 3)
    wanted = run(layer, list(steps))
    # (rows, steps, channels) with two columns more in each row.
    source = np.full((2, 14), 7, np.float32)
    source[:, :12] = steps.transpose(1, 0, 2).reshape(2, 12)
    result = np.full((2, 18), 5, np.float32)
    matrix, made = mps.Matrix.from_array(device, source), mps.Matrix.from_array(device, result)
    commands = encoded(device)
    layer.encode_sequence(
        commands,
        [matrix] * 4,
        [made] * 4,
        source_offsets=[12 * t for t in range(4)],
        destination_offsets=[16 * t for t in range(4)],
    )
    commands.commit()
    got = made.read()
    assert (got[:, 16:] == 5).all()
    np.testing.assert_array_equal(got[:, :16].reshape(2, 4, 4).transpose(1, 0, 2), wanted)


def test_results_may_lie_over_the_sources(device: mps.Device) -> None:
    cell = Cell("lstm", 4, 4)
    layer = mps.RNNMatrixInferenceLayer(device, descriptor(cell))
    steps = list(values(3, 2, 4))
    wanted = run(layer, steps)
    sequence = matrices(device, steps)
    commands = encoded(device)
    layer.encode_sequence(commands, sequence, sequence)
    commands.commit()
    np.testing.assert_array_equal([matrix.read() for matrix in sequence], wanted)


def test_pytorch_agrees_about_lstms(device: mps.Device) -> None:
    inputs, outputs, steps, rows = 5, 6, 7, 3
    torch.manual_seed(1)
    peer = torch.nn.LSTM(inputs, outputs)
    w, u = peer.weight_ih_l0.detach().numpy(), peer.weight_hh_l0.detach().numpy()
    bias = (peer.bias_ih_l0 + peer.bias_hh_l0).detach().numpy()
    ours = mps.LSTMDescriptor(inputs, outputs)
    for i, name in enumerate(("input", "forget", "cell", "output")):
        part = slice(i * outputs, (i + 1) * outputs)
        neuron = (5, 1.0, 1.0, 0.0) if name == "cell" else (3, 0.0, 0.0, 0.0)
        source = data_source(w[part].copy(), bias[part].copy(), neuron)
        setattr(ours, f"{name}_gate_input_weights", source)
        setattr(ours, f"{name}_gate_recurrent_weights", data_source(u[part].copy()))
    x = values(steps, rows, inputs)
    wanted, _ = peer(torch.from_numpy(x))
    got = run(mps.RNNMatrixInferenceLayer(device, ours), list(x))
    np.testing.assert_allclose(got, wanted.detach().numpy(), rtol=0, atol=2e-6)


def test_weights_are_copied_in_and_out_by_their_ids(device: mps.Device) -> None:
    layer = mps.RNNMatrixTrainingLayer(device, descriptor(Cell("lstm", 3, 4, memory="diagonal")))
    weights = layer.create_weight_matrices()
    assert len(weights) == 16
    ids = mps.RNNMatrixId
    wide = mps.Matrix(device, rows=6, columns=8)
    new = mps.Matrix.from_array(device, values(1, 4))
    commands = encoded(device)
    layer.encode_copy_weights(
        commands, weights, ids.LSTM_FORGET_GATE_INPUT_WEIGHTS, wide, True, row=1, column=2
    )
    layer.encode_copy_weights(commands, weights, ids.LSTM_OUTPUT_GATE_BIAS_TERMS, new, False)
    commands.commit()
    expected = np.zeros((6, 8), np.float32)
    at = layer.weight_ids.index(ids.LSTM_FORGET_GATE_INPUT_WEIGHTS)
    expected[1:5, 2:5] = weights[at].read()
    np.testing.assert_array_equal(wide.read(), expected)
    at = layer.weight_ids.index(ids.LSTM_OUTPUT_GATE_BIAS_TERMS)
    np.testing.assert_array_equal(weights[at].read(), values(1, 4))


def test_gradients_that_are_not_wanted_are_not_made(device: mps.Device) -> None:
    layer = mps.RNNMatrixTrainingLayer(device, descriptor(GRU))
    weights = layer.create_weight_matrices()
    sources, upstream = matrices(device, [values(2, 3)]), matrices(device, [values(2, 4)])
    commands = encoded(device)
    kept, states = layer.encode_forward_sequence(
        commands, sources, [mps.Matrix(device, rows=2, columns=4)], weights
    )
    initial = layer.encode_gradient_sequence(commands, sources, upstream, [], [], kept, weights)
    commands.commit()
    assert np.abs(initial.recurrent_output_matrix().read()).max() > 0
    assert [state.time_step for state in kept] == [0]
    assert kept[0].rows == 2
    assert kept[0].sequence_bytes == 4 * 2 * (12 + 4 * 4)
    assert len(states) == 1


def test_memory_of_a_sequence_is_given_back(device: mps.Device) -> None:
    layer = mps.RNNMatrixInferenceLayer(device, descriptor(LSTM))
    steps = list(values(3, 2, 3))
    run(layer, steps)
    device.synchronize()
    before = device.memory_stats().current
    for _ in range(5):
        run(layer, steps)
    device.synchronize()
    assert device.memory_stats().current <= before


def bad_weights(outputs: int = 4, inputs: int = 3, **kinds: object) -> mps.ConvolutionDataSource:
    """Weights of another size, or with what recurrent weights cannot have."""
    bias = np.zeros(outputs, np.float32) if kinds.get("bias") else None
    return data_source(np.zeros((outputs, inputs), np.float32), bias)


def single(**weights: mps.ConvolutionDataSource) -> mps.RNNMatrixInferenceLayer:
    """A layer of one gate with these weights."""
    return mps.RNNMatrixInferenceLayer(
        mps.Device("cpu"), mps.RNNSingleGateDescriptor(3, 4, **weights)
    )


def window(inputs: int = 3, outputs: int = 4, **properties: int) -> mps.ConvolutionDataSource:
    """Weights that are no 1x1 convolution."""
    d = mps.ConvolutionDescriptor(3, 1, inputs, outputs)
    for name, value in properties.items():
        setattr(d, name, value)
    return mps.ConvolutionDataSource(d, np.zeros((outputs, 1, 3, inputs), np.float32))


def diagonal_window() -> mps.RNNImageInferenceLayer:
    """A layer whose diagonal weights have a window."""
    lstm = mps.LSTMDescriptor(3, 4, memory_weights_are_diagonal=True)
    lstm.input_gate_memory_weights = window(4)
    return mps.RNNImageInferenceLayer(mps.Device("cpu"), lstm)


def with_prelu() -> mps.ConvolutionDataSource:
    """Weights with a neuron that needs parameters of its own."""
    return data_source(np.zeros((4, 3), np.float32), None, (10, 0.0, 0.0, 0.0))


Row = tuple[Callable[[], object], str]
MAKING: dict[str, Row] = {
    "no weights at all": (single, "weights: expected at least one data source, got none"),
    "too few input channels": (
        lambda: single(input_weights=bad_weights(4, 2)),
        "input_weights: input_feature_channels: expected 3, got 2",
    ),
    "recurrent weights that are not square": (
        lambda: single(recurrent_weights=bad_weights(4, 3)),
        "recurrent_weights: input_feature_channels: expected 4, got 3",
    ),
    "too many output channels": (
        lambda: single(input_weights=bad_weights(5, 3)),
        "input_weights: output_feature_channels: expected 4, got 5",
    ),
    "a bias of recurrent weights": (
        lambda: single(recurrent_weights=bad_weights(4, 4, bias=True)),
        "recurrent_weights: expected weights without bias",
    ),
    "a window": (
        lambda: single(input_weights=window()),
        "input_weights: expected a 1x1 convolution, got 1x3",
    ),
    "a window of a training layer": (
        lambda: mps.RNNMatrixTrainingLayer(
            mps.Device("cpu"), mps.RNNSingleGateDescriptor(3, 4, input_weights=window())
        ),
        "RNNMatrixTrainingLayer.*input_weights: expected a 1x1 convolution, got 1x3",
    ),
    "a window of diagonal weights": (
        diagonal_window,
        "input_gate_memory_weights: expected a 1x1 convolution, as they are diagonal, got 1x3",
    ),
    "strides": (
        lambda: mps.RNNImageInferenceLayer(
            mps.Device("cpu"),
            mps.RNNSingleGateDescriptor(3, 4, input_weights=window(stride_in_pixels_x=2)),
        ),
        "input_weights: strides: expected 1, as all images of a layer have one size, got 1x2",
    ),
    "sub-pixels": (
        lambda: mps.RNNImageInferenceLayer(
            mps.Device("cpu"),
            mps.RNNSingleGateDescriptor(
                3, 4, input_weights=window(outputs=4, sub_pixel_scale_factor=2)
            ),
        ),
        "input_weights: sub_pixel_scale_factor: expected 1, got 2",
    ),
    "PReLU": (
        lambda: single(input_weights=with_prelu()),
        "input_weights: neuron: expected any type but PRELU, got type 10",
    ),
    "an impossible norm": (
        lambda: mps.RNNMatrixInferenceLayer(
            mps.Device("cpu"), mps.GRUDescriptor(3, 4, gate_p_norm_value=0.0)
        ),
        "gate_p_norm_value: expected a number above 0, got 0",
    ),
    "unit transform of other channels": (
        lambda: mps.RNNMatrixTrainingLayer(
            mps.Device("cpu"),
            mps.LSTMDescriptor(3, 4, use_layer_input_unit_transform_mode=True),
        ),
        "RNNMatrixTrainingLayer.*input_feature_channels: expected 4.*got 3",
    ),
    "no layers": (
        lambda: mps.RNNImageInferenceLayer(mps.Device("cpu"), []),
        "RNNImageInferenceLayer.*descriptors: expected at least one, got none",
    ),
    "layers that do not follow": (
        lambda: mps.RNNMatrixInferenceLayer(
            mps.Device("cpu"), [descriptor(LSTM), descriptor(LSTM)]
        ),
        "layer 1: input_feature_channels: expected 4, as the layer before it makes, got 3",
    ),
}


@pytest.mark.parametrize(("make", "text"), MAKING.values(), ids=MAKING)
def test_bad_layers(make: Callable[[], object], text: str) -> None:
    with pytest.raises(mps.InvalidArgumentError, match=text):
        make()


def sequence(
    device: mps.Device, rows: list[int], columns: int, kind: mps.DataType = mps.DataType.FLOAT32
) -> list[mps.Matrix]:
    """Matrices of zeros."""
    return [mps.Matrix(device, rows=n, columns=columns, data_type=kind) for n in rows]


class Encodes:
    """Encodes that must be refused."""

    def __init__(self) -> None:
        self.device = mps.Device("cpu")
        self.layer = mps.RNNMatrixInferenceLayer(self.device, descriptor(LSTM))
        self.trained = mps.RNNMatrixTrainingLayer(self.device, descriptor(LSTM))
        self.commands = encoded(self.device)

    def zeros(self, rows: list[int], columns: int) -> list[mps.Matrix]:
        """A sequence."""
        return sequence(self.device, rows, columns)

    def forward(self, sources: list[int], made: list[int], **arguments: object) -> object:
        """An inference of steps with these rows."""
        return self.layer.encode_sequence(
            self.commands, self.zeros(sources, 3), self.zeros(made, 4), **arguments
        )

    def state(self, rows: int, channels: int, *, memory: bool) -> mps.RNNRecurrentMatrixState:
        """A state of one layer."""
        (output, cell) = self.zeros([rows] * 2, channels)
        return mps.RNNRecurrentMatrixState([output], [cell if memory else None])

    def kept(self, layer: mps.RNNMatrixTrainingLayer) -> list[mps.RNNMatrixTrainingState]:
        """Training states of two steps."""
        states, _ = layer.encode_forward_sequence(
            self.commands,
            self.zeros([2, 2], 3),
            self.zeros([2, 2], 4),
            layer.create_weight_matrices(),
        )
        return states

    def backward(self, states: list[mps.RNNMatrixTrainingState], rows: int = 2) -> object:
        """A gradient of two steps."""
        return self.trained.encode_gradient_sequence(
            self.commands,
            self.zeros([rows] * 2, 3),
            self.zeros([2, 2], 4),
            [],
            [],
            states,
            self.trained.create_weight_matrices(),
        )


def reordered(encodes: Encodes) -> list[mps.RNNMatrixTrainingState]:
    """Training states in the wrong order."""
    return encodes.kept(encodes.trained)[::-1]


def foreign(encodes: Encodes) -> list[mps.RNNMatrixTrainingState]:
    """Training states of another layer."""
    return encodes.kept(mps.RNNMatrixTrainingLayer(encodes.device, descriptor(LSTM)))


ENCODES: dict[str, tuple[Callable[[Encodes], object], type[mps.Error], str]] = {
    "nothing": (
        lambda e: e.forward([], []),
        mps.InvalidArgumentError,
        "source_matrices: expected at least one time step, got none",
    ),
    "rows that grow": (
        lambda e: e.forward([2, 3], [2, 3]),
        mps.InvalidArgumentError,
        r"source_matrices\[1\]: expected at most 2 rows, as the time step before, got 3",
    ),
    "fewer destinations": (
        lambda e: e.forward([2, 2], [2]),
        mps.InvalidArgumentError,
        "destination_matrices: expected 2 time steps, got 1",
    ),
    "destinations of other rows": (
        lambda e: e.forward([2, 2], [2, 3]),
        mps.InvalidArgumentError,
        r"destination_matrices\[1\]: expected 2 rows, got 3",
    ),
    "sources of other channels": (
        lambda e: e.layer.encode_sequence(e.commands, e.zeros([2], 5), e.zeros([2], 4)),
        mps.InvalidArgumentError,
        r"RNNMatrixInferenceLayer.*source_matrices\[0\]: expected 3 columns, got 5",
    ),
    "integers": (
        lambda e: e.layer.encode_sequence(
            e.commands, sequence(e.device, [2], 3, mps.DataType.INT32), e.zeros([2], 4)
        ),
        mps.ArgumentTypeError,
        r"source_matrices\[0\]: expected float32 or float16, got int32",
    ),
    "an offset beyond the end": (
        lambda e: e.forward([2], [2], source_offsets=[4]),
        mps.InvalidArgumentError,
        r"source_matrices\[0\]: offset: expected elements inside of the buffer's 24 bytes",
    ),
    "an offset between elements": (
        lambda e: e.forward([2], [2], destination_offsets=[2]),
        mps.InvalidArgumentError,
        r"destination_matrices\[0\]: offset: expected a multiple of 4 bytes, got 2",
    ),
    "too few offsets": (
        lambda e: e.forward([2, 2], [2, 2], source_offsets=[0]),
        mps.InvalidArgumentError,
        "source_matrices: offsets: expected 2, one a matrix, got 1",
    ),
    "a state without memory": (
        lambda e: e.forward([2], [2], recurrent_input_state=e.state(2, 4, memory=False)),
        mps.InvalidArgumentError,
        "recurrent_input_state: layer 0: expected a memory cell, got none",
    ),
    "a state of other channels": (
        lambda e: e.forward([2], [2], recurrent_input_state=e.state(2, 5, memory=True)),
        mps.InvalidArgumentError,
        "recurrent_input_state: layer 0: recurrent output: .*got 2 rows, 5 channels",
    ),
    "a state of fewer rows": (
        lambda e: e.forward([2], [2], recurrent_input_state=e.state(1, 4, memory=True)),
        mps.InvalidArgumentError,
        "expected at least 2 rows, 4 channels, got 1 rows",
    ),
    "one direction only": (
        lambda e: e.layer.encode_bidirectional_sequence(e.commands, e.zeros([2], 3), []),
        mps.InvalidArgumentError,
        "layer_sequence_direction: expected layers of both directions.*got no BACKWARD layer",
    ),
    "weights left out": (
        lambda e: e.trained.encode_forward_sequence(
            e.commands, e.zeros([2], 3), e.zeros([2], 4), []
        ),
        mps.InvalidArgumentError,
        "weights: expected 12 matrices, as weight_ids has, got 0",
    ),
    "weights in another order": (
        lambda e: e.trained.encode_forward_sequence(
            e.commands,
            e.zeros([2], 3),
            e.zeros([2], 4),
            e.trained.create_weight_matrices()[::-1],
        ),
        mps.InvalidArgumentError,
        r"weights\[0\] \(LSTM_INPUT_GATE_INPUT_WEIGHTS\): expected \(4, 3\), got \(1, 4\)",
    ),
    "weights that there are not": (
        lambda e: e.trained.encode_copy_weights(
            e.commands,
            e.trained.create_weight_matrices(),
            mps.RNNMatrixId.GRU_INPUT_GATE_BIAS_TERMS,
            e.zeros([4], 4)[0],
            True,
        ),
        mps.InvalidArgumentError,
        "matrix_id: expected LSTM_INPUT_GATE_INPUT_WEIGHTS.*got GRU_INPUT_GATE_BIAS_TERMS",
    ),
    "a matrix that is too small": (
        lambda e: e.trained.encode_copy_weights(
            e.commands,
            e.trained.create_weight_matrices(),
            mps.RNNMatrixId.LSTM_INPUT_GATE_INPUT_WEIGHTS,
            e.zeros([4], 4)[0],
            True,
            row=1,
        ),
        mps.InvalidArgumentError,
        r"matrix: expected 4 rows and 3 columns from \(1, 0\), got 4 rows, 4 columns",
    ),
    "training states out of order": (
        lambda e: e.backward(reordered(e)),
        mps.InvalidArgumentError,
        r"training_states\[0\]: expected time step 0 of one sequence, got time step 1",
    ),
    "training states of another layer": (
        lambda e: e.backward(foreign(e)),
        mps.InvalidArgumentError,
        "training_states: expected states of this layer",
    ),
    "training states left out": (
        lambda e: e.backward(e.kept(e.trained)[:1]),
        mps.InvalidArgumentError,
        "training_states: expected 2, one a time step, got 1",
    ),
    "other rows than forward": (
        lambda e: e.backward(e.kept(e.trained), rows=1),
        mps.InvalidArgumentError,
        r"forward_sources\[0\]: expected 2 rows, got 1",
    ),
    "a state's layer that there is not": (
        lambda e: e.state(2, 4, memory=True).recurrent_output_matrix(1),
        mps.InvalidArgumentError,
        "layer_index: expected below 1, got 1",
    ),
}


@pytest.mark.parametrize(("encode", "error", "text"), ENCODES.values(), ids=ENCODES)
def test_bad_encodes(
    encode: Callable[[Encodes], object], error: type[mps.Error], text: str
) -> None:
    with pytest.raises(error, match=text):
        encode(Encodes())


def test_directions_that_cannot_be_combined() -> None:
    device = mps.Device("cpu")
    back = Cell("single", 3, 5, backward=True)
    layer = mps.RNNMatrixInferenceLayer(device, [descriptor(LSTM), descriptor(back)])
    layer.bidirectional_combine_mode = mps.RNNBidirectionalCombineMode.ADD
    x, y = sequence(device, [2], 3), sequence(device, [2], 4)
    text = "output_feature_channels: expected 4, as the last FORWARD layer, to ADD, got 5"
    with pytest.raises(mps.InvalidArgumentError, match=text):
        layer.encode_bidirectional_sequence(encoded(device), x, y)
    layer.bidirectional_combine_mode = mps.RNNBidirectionalCombineMode.CONCATENATE
    wide = sequence(device, [2], 9)
    text = "destination_backward: expected none where both directions are combined, got 1"
    with pytest.raises(mps.InvalidArgumentError, match=text):
        layer.encode_bidirectional_sequence(encoded(device), x, wide, sequence(device, [2], 0 + 1))


def halves(array: np.ndarray) -> np.ndarray:
    """The same in float16."""
    return array.astype(np.float16)


@pytest.mark.parametrize("cell", [SINGLE, LSTM, GRU], ids=lambda cell: cell.kind)
def test_float16_is_float32_rounded(device: mps.Device, cell: Cell) -> None:
    layer = mps.RNNMatrixInferenceLayer(device, descriptor(cell))
    steps = [halves(x) for x in values(3, 2, 3)]
    wanted = run(layer, [x.astype(np.float32) for x in steps])
    made = sequence(device, [2, 2, 2], 4, mps.DataType.FLOAT16)
    commands = encoded(device)
    layer.encode_sequence(commands, matrices(device, steps), made)
    commands.commit()
    for got, reference in zip(made, wanted, strict=True):
        np.testing.assert_array_equal(got.read(), halves(reference))
