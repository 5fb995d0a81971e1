# SPDX-License-Identifier: MIT
# ruff: noqa: ANN401 (layers of all classes pass through)
"""Recurrent layers come back from archives: same properties, same bits, weights as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases.recurrent import RECURRENT_CASES, Cell, RecurrentCase
from recurrent_nets import (
    Floats,
    data_sources,
    descriptor_of,
    empty_matrices,
    make_initial,
    make_inputs,
    make_weights,
    matrices,
)

import mpsnn as mps

State = list[tuple[Floats, Floats]]
PROPERTIES = (
    "label",
    "number_of_layers",
    "input_feature_channels",
    "output_feature_channels",
    "store_all_intermediate_states",
    "bidirectional_combine_mode",
    "accumulate_weight_gradients",
    "weight_ids",
)


def make_layer(device: mps.Device, case: RecurrentCase) -> Any:
    """The case's layer; weights on the device are not those that the data sources began with."""
    rng = np.random.default_rng(len(repr(case)))
    descriptors = []
    for cell in case.cells:
        sources = data_sources(cell, make_weights(cell, rng))
        for source in sources.values():
            values = device.read_parameter(source, "weights")
            device.write_parameter(source, "weights", np.asarray(values) / 2)
        descriptors.append(descriptor_of(cell, sources))
    kind = getattr(mps, case.kernel)
    is_training = case.kernel == "RNNMatrixTrainingLayer"
    layer = kind(device, descriptors[0] if is_training else descriptors)
    layer.label = f"the {case.kernel}"
    for name, value in case.attributes.items():
        is_mode = name == "bidirectional_combine_mode"
        setattr(layer, name, mps.RNNBidirectionalCombineMode(value) if is_mode else value)
    return layer


def restored(layer: Any, device: mps.Device, path: Path) -> Any:
    archiver = mps.KeyedArchiver()
    archiver.encode("layer", layer)
    archiver.write(path)
    archive = mps.KeyedUnarchiver(device).open(path)
    assert archive.recurrent_layer_keys() == ["layer"]
    return archive.decode_recurrent_layer("layer")


def matrix_state(
    device: mps.Device, cells: tuple[Cell, ...], state: State
) -> mps.RNNRecurrentMatrixState:
    return mps.RNNRecurrentMatrixState(
        matrices(device, [h for h, _ in state]),
        [
            mps.Matrix.from_array(device, c) if cell.kind == "lstm" else None
            for cell, (_, c) in zip(cells, state, strict=True)
        ],
    )


def run_matrices(layer: mps.RNNMatrixInferenceLayer, case: RecurrentCase) -> list[np.ndarray]:
    device, rng = layer.device, np.random.default_rng(3)
    inputs, outputs = matrices(device, make_inputs(case, rng)), case.cells[-1].outputs
    initial = matrix_state(device, case.cells, make_initial(case, rng)) if case.initial else None
    commands = mps.CommandBuffer(device.command_queue())
    if case.method == "encode_sequence":
        made = empty_matrices(device, case.rows, outputs)
        for state in layer.encode_sequence(commands, inputs, made, initial):
            made += [state.recurrent_output_matrix(i) for i in range(len(case.cells))]
    else:
        mode = case.attributes["bidirectional_combine_mode"]
        made = empty_matrices(device, case.rows, outputs * (2 if mode == 2 else 1))
        backward = empty_matrices(device, case.rows, outputs) if mode == 0 else []
        layer.encode_bidirectional_sequence(commands, inputs, made, backward)
        made += backward
    commands.commit()
    return [np.asarray(matrix.read()) for matrix in made]


def run_images(layer: mps.RNNImageInferenceLayer, case: RecurrentCase) -> list[np.ndarray]:
    device, outputs = layer.device, case.cells[-1].outputs
    size = case.cells[0].image
    size = (1, case.rows[0], 1) if size == (1, 1, 1) else size
    inputs = [
        mps.Image(device, x.reshape(*size, -1)) for x in make_inputs(case, np.random.default_rng(3))
    ]
    mode = case.attributes.get("bidirectional_combine_mode", 0)
    made = [mps.Image(device, size=(*size, outputs * (2 if mode == 2 else 1))) for _ in case.rows]
    commands = mps.CommandBuffer(device.command_queue())
    if case.method == "encode_sequence":
        layer.encode_sequence(commands, inputs, made)
    else:
        backward = [mps.Image(device, size=(*size, outputs)) for _ in case.rows if mode == 0]
        layer.encode_bidirectional_sequence(commands, inputs, made, backward)
        made += backward
    commands.commit()
    return [np.array(image) for image in made]


def run_training(layer: mps.RNNMatrixTrainingLayer, case: RecurrentCase) -> list[np.ndarray]:
    """Forward and back, twice: gradients are added up where the layer says so."""
    device, rng = layer.device, np.random.default_rng(3)
    inputs, outputs = matrices(device, make_inputs(case, rng)), case.cells[0].outputs
    weights, gradients = layer.create_weight_matrices(), layer.create_weight_gradient_matrices()
    upstream = [rng.normal(size=(rows, outputs)).astype(np.float32) for rows in case.rows]
    of_inputs = empty_matrices(device, case.rows, case.cells[0].inputs)
    made = empty_matrices(device, case.rows, outputs)
    commands = mps.CommandBuffer(device.command_queue())
    for _ in range(2):
        kept, _ = layer.encode_forward_sequence(commands, inputs, made, weights)
        layer.encode_gradient_sequence(
            commands, inputs, matrices(device, upstream), of_inputs, gradients, kept, weights
        )
    commands.commit()
    return [np.asarray(matrix.read()) for matrix in [*made, *of_inputs, *gradients]]


RUN: dict[str, Any] = {
    "RNNMatrixInferenceLayer": run_matrices,
    "RNNImageInferenceLayer": run_images,
    "RNNMatrixTrainingLayer": run_training,
}


def what_is_archived(case: RecurrentCase) -> str:
    """All of a case but sizes, which are the encode's."""
    cells = [
        replace(cell, inputs=0, outputs=0, image=(1, 1, 1), dilation=(1, 1), neurons=())
        for cell in case.cells
    ]
    return repr((case.kernel, case.method, cells, sorted(case.attributes.items())))


CASES = list({what_is_archived(case): case for case in reversed(RECURRENT_CASES)}.values())


def test_the_cases_have_every_class_and_method() -> None:
    reached = {(case.kernel, case.method) for case in CASES}
    assert reached == {(case.kernel, case.method) for case in RECURRENT_CASES}
    assert {case.kernel for case in CASES} == RUN.keys()


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.kernel}-{'-'.join(c.kind for c in case.cells)}"
)
def test_layers_come_back(device: mps.Device, case: RecurrentCase, tmp_path: Path) -> None:
    layer = make_layer(device, case)
    back = restored(layer, device, tmp_path / "layer")
    assert type(back) is type(layer)
    assert back.device == device
    for name in PROPERTIES:
        assert hasattr(back, name) == hasattr(layer, name)
        if hasattr(layer, name):
            assert getattr(back, name) == getattr(layer, name), name
    got, wanted = RUN[case.kernel](back, case), RUN[case.kernel](layer, case)
    assert [array.tobytes() for array in got] == [array.tobytes() for array in wanted]
    if not any(cell.absent for cell in case.cells):
        assert any(np.abs(array).max() > 0 for array in got)


LSTM = Cell("lstm", 3, 4)


def test_layers_share_their_data_sources_with_all_of_the_archive(
    device: mps.Device, tmp_path: Path
) -> None:
    sources = data_sources(LSTM, make_weights(LSTM, np.random.default_rng(3)))
    shared = sources["u0"]
    first, second = (
        mps.RNNMatrixInferenceLayer(device, descriptor_of(LSTM, sources)) for _ in range(2)
    )
    net = mps.ConvolutionNode(mps.ImageNode("x"), shared)
    archiver = mps.KeyedArchiver()
    archiver.encode("first", first)
    archiver.encode("second", second)
    archiver.encode("graph", mps.Graph(device, [net.result_image]))
    archiver.encode("alone", shared, device)
    with pytest.raises(mps.InvalidArgumentError, match='key: expected a new one, got "first" agai'):
        archiver.encode("first", second)
    archiver.write(tmp_path / "all")
    archive = mps.KeyedUnarchiver(device).open(tmp_path / "all")
    assert archive.recurrent_layer_keys() == ["first", "second"]
    assert (archive.keys(), archive.kernel_keys()) == (["graph"], [])
    alone = archive.decode_data_source("alone")
    assert [id(source) for source in archive.decode_graph("graph").data_sources] == [id(alone)]
    case = RecurrentCase("RNNMatrixInferenceLayer", "encode_sequence", (LSTM,), (2, 2))
    layers: Any = [archive.decode_recurrent_layer(key) for key in ("first", "second")]
    before = [run_matrices(layer, case) for layer in layers]
    device.write_parameter(alone, "weights", np.full((4, 1, 1, 4), 0.5, np.float32))
    for layer, was in zip(layers, before, strict=True):
        assert any(
            not np.array_equal(a, b) for a, b in zip(run_matrices(layer, case), was, strict=True)
        )
    with pytest.raises(mps.InvalidArgumentError, match='one of "first", "second", got "third"'):
        archive.decode_recurrent_layer("third")


class Ramp(mps.ConvolutionDataSource, mps.SecureCoding):
    """Weights of a class of one's own: a ramp of a height."""

    def __init__(self, height: float, outputs: int = 4, inputs: int = 4) -> None:
        super().__init__(mps.ConvolutionDescriptor(1, 1, inputs, outputs), None, label="ramp")
        self.height = height

    def values(self, parameter: str) -> np.ndarray:
        """A ramp."""
        assert parameter == "weights"
        return np.linspace(0, self.height, 16, dtype=np.float32).reshape(4, 1, 1, 4)

    def encode(self, coder: mps.Coder) -> None:
        """The height."""
        coder.encode("height", self.height)

    @classmethod
    def decode(cls, coder: mps.Coder) -> Ramp:
        """A ramp of the height."""
        height = coder.decode("height")
        assert isinstance(height, float)
        return cls(height)


def test_weights_of_a_class_of_ones_own(device: mps.Device, tmp_path: Path) -> None:
    descriptor = mps.RNNSingleGateDescriptor(3, 4, recurrent_weights=Ramp(0.5))
    descriptor.input_weights = data_sources(
        Cell("single"), make_weights(Cell("single"), np.random.default_rng(3))
    )["w0"]
    layer = mps.RNNMatrixInferenceLayer(device, descriptor)
    archiver = mps.KeyedArchiver()
    archiver.encode("layer", layer)
    archiver.write(tmp_path / "layer")
    case = RecurrentCase("RNNMatrixInferenceLayer", "encode_sequence", (Cell("single"),), (2, 2))
    back: Any = (
        mps.KeyedUnarchiver(device, [Ramp]).open(tmp_path / "layer").decode_recurrent_layer("layer")
    )
    for got, wanted in zip(run_matrices(back, case), run_matrices(layer, case), strict=True):
        np.testing.assert_array_equal(got, wanted)
    foreign = mps.KeyedUnarchiver(device).open(tmp_path / "layer")
    with pytest.raises(mps.ArchiveError, match='which are none, got "Ramp"'):
        foreign.decode_recurrent_layer("layer")


class Arrays(mps.SecureCoding):
    """Matrices of the program, which are no object of the library's archives by themselves."""

    def __init__(self, arrays: list[np.ndarray]) -> None:
        self.arrays = arrays

    def encode(self, coder: mps.Coder) -> None:
        """The arrays by number."""
        for i, array in enumerate(self.arrays):
            coder.encode(f"{i:02}", array)

    @classmethod
    def decode(cls, coder: mps.Coder) -> Arrays:
        """The arrays in their order."""
        return cls([np.asarray(coder.decode(key)) for key in sorted(coder.keys())])


class Run:
    """The training of a layer: weights and moments as matrices, a kernel for each."""

    def __init__(
        self,
        layer: mps.RNNMatrixTrainingLayer,
        weights: list[mps.Matrix],
        updates: list[Any],
        moments: list[mps.Matrix],
    ) -> None:
        self.layer, self.weights, self.updates, self.moments = layer, weights, updates, moments

    def step(self, number: int) -> list[bytes]:
        """The weights after a step with data of a number."""
        device, random = self.layer.device, np.random.default_rng(number)
        x = matrices(device, list(random.normal(size=(3, 2, 3)).astype(np.float32)))
        upstream = matrices(device, list(random.normal(size=(3, 2, 4)).astype(np.float32)))
        gradients = self.layer.create_weight_gradient_matrices()
        commands = mps.CommandBuffer(device.command_queue())
        kept, _ = self.layer.encode_forward_sequence(
            commands, x, empty_matrices(device, [2] * 3, 4), self.weights
        )
        self.layer.encode_gradient_sequence(
            commands, x, upstream, [], gradients, kept, self.weights
        )
        for i, update in enumerate(self.updates):
            weight = self.weights[i]
            update.encode(commands, gradients[i], weight, weight, *self.moments[2 * i : 2 * i + 2])
        commands.commit()
        return [np.asarray(weight.read()).tobytes() for weight in self.weights]


def test_training_of_a_layer_goes_on_bit_for_bit(device: mps.Device, tmp_path: Path) -> None:
    """Layer, kernels that update, and the matrices of both in one archive."""
    sources = data_sources(LSTM, make_weights(LSTM, np.random.default_rng(3)))
    layer = mps.RNNMatrixTrainingLayer(device, descriptor_of(LSTM, sources))
    weights = layer.create_weight_matrices()
    zeros = [np.zeros(weight.shape, np.float32) for weight in weights for _ in range(2)]
    updates = [mps.OptimizerAdamUpdate(device, learning_rate=0.05) for _ in weights]
    first = Run(layer, weights, updates, matrices(device, zeros))
    for number in range(3):
        first.step(number)
    archiver = mps.KeyedArchiver()
    archiver.encode("layer", layer)
    for i, update in enumerate(updates):
        archiver.encode(f"update {i}", update)
    archiver.encode(
        "matrices", Arrays([np.asarray(m.read()) for m in [*first.weights, *first.moments]])
    )
    archiver.write(tmp_path / "run")
    archive = mps.KeyedUnarchiver(device, [Arrays]).open(tmp_path / "run")
    kept: Any = archive.decode_object("matrices")
    held = matrices(device, kept.arrays)
    again: Any = archive.decode_recurrent_layer("layer")
    second = Run(
        again,
        held[: len(weights)],
        [archive.decode_kernel(f"update {i}") for i in range(len(weights))],
        held[len(weights) :],
    )
    for number in range(3, 6):
        assert second.step(number) == first.step(number)
