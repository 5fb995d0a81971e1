# SPDX-License-Identifier: MIT
"""Recurrent layers against the formulas in JAX and float64, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.recurrent import BIDIRECTIONAL, IMAGES, INFERENCE, TRAINED, Cell, RecurrentCase
from oracles import recurrent as oracle
from recurrent_nets import (
    Floats,
    Named,
    data_sources,
    descriptor_of,
    empty_matrices,
    make_initial,
    make_inputs,
    make_weights,
    matrices,
    weight_names,
)

import mpsnn as mps

State = list[tuple[Floats, Floats]]


def identify(case: RecurrentCase) -> str:
    """A name for the test."""
    kinds = "-".join(cell.kind for cell in case.cells)
    return f"{case.method.removeprefix('encode_')}-{kinds}-{'x'.join(map(str, case.rows))}"


def double(values: Any) -> Any:  # noqa: ANN401 (any tree of arrays)
    """The same in float64."""
    return jax.tree.map(lambda array: jnp.asarray(array, jnp.float64), values)


def expect_close(got: np.ndarray, wanted: jax.Array, *, exact: bool, terms: int = 64) -> None:
    """Equal where small integers went in, else as close as float32's roundings let it be."""
    reference = np.asarray(wanted)
    if exact:
        np.testing.assert_array_equal(got, reference)
        return
    size = max(1.0, float(np.abs(reference).max()))
    np.testing.assert_allclose(got, reference, rtol=0, atol=terms * 2.0**-24 * size)


class Net:
    """A case's stack with weights, here and in JAX."""

    def __init__(self, case: RecurrentCase) -> None:
        rng = np.random.default_rng(len(repr(case)))
        self.case = case
        self.weights = [make_weights(cell, rng, exact=case.exact) for cell in case.cells]
        self.inputs = make_inputs(case, rng)
        self.initial: State | None = make_initial(case, rng) if case.initial else None
        self.descriptors = [
            descriptor_of(cell, data_sources(cell, weights))
            for cell, weights in zip(case.cells, self.weights, strict=True)
        ]

    def layer(self, kind: Callable[..., Any], device: mps.Device) -> Any:  # noqa: ANN401
        """The layer with the case's properties."""
        layer = kind(device, self.descriptors)
        for name, value in self.case.attributes.items():
            is_mode = name == "bidirectional_combine_mode"
            setattr(layer, name, mps.RNNBidirectionalCombineMode(value) if is_mode else value)
        return layer

    def expected(self) -> list[list[tuple[jax.Array, jax.Array]]]:
        """States of each layer after each step, all forward."""
        inputs, all_states = double(self.inputs), []
        for i, (cell, weights) in enumerate(zip(self.case.cells, self.weights, strict=True)):
            initial = double(self.initial[i]) if self.initial else None
            states = oracle.run(cell, double(weights), inputs, initial)
            all_states.append(states)
            inputs = [h for h, _ in states]
        return all_states

    def expected_direction(self, *, backward: bool) -> list[jax.Array]:
        """Outputs of the layers of one direction, by time step."""
        inputs = double(self.inputs)[:: -1 if backward else 1]
        for cell, weights in zip(self.case.cells, self.weights, strict=True):
            if cell.backward == backward:
                inputs = [h for h, _ in oracle.run(cell, double(weights), inputs, None)]
        return inputs[:: -1 if backward else 1]


def matrix_state(
    device: mps.Device, cells: Sequence[Cell], state: State
) -> mps.RNNRecurrentMatrixState:
    """A state on the device."""
    outputs = matrices(device, [h for h, _ in state])
    memories = [
        mps.Matrix.from_array(device, c) if cell.kind == "lstm" else None
        for cell, (_, c) in zip(cells, state, strict=True)
    ]
    return mps.RNNRecurrentMatrixState(outputs, memories)


@pytest.mark.parametrize("case", INFERENCE, ids=identify)
def test_matrix_inference(device: mps.Device, case: RecurrentCase) -> None:
    net = Net(case)
    layer = net.layer(mps.RNNMatrixInferenceLayer, device)
    destinations = empty_matrices(device, case.rows, case.cells[-1].outputs)
    state = matrix_state(device, case.cells, net.initial) if net.initial else None
    commands = mps.CommandBuffer(device.command_queue())
    sources = matrices(device, net.inputs)
    states = layer.encode_sequence(commands, sources, destinations, state)
    commands.commit()
    expected = net.expected()
    for got, (h, _) in zip(destinations, expected[-1], strict=True):
        expect_close(got.read(), h, exact=case.exact)
    if layer.store_all_intermediate_states:
        assert len(states) == len(case.rows)
    steps = range(len(case.rows)) if len(states) > 1 else [len(case.rows) - 1]
    for step, after in zip(steps, states, strict=True):
        for i, cell in enumerate(case.cells):
            h, c = expected[i][step]
            expect_close(after.recurrent_output_matrix(i).read(), h, exact=case.exact)
            memory = after.memory_cell_matrix(i)
            assert (memory is not None) == (cell.kind == "lstm")
            if memory is not None:
                expect_close(memory.read(), c, exact=case.exact)


def combined(there: jax.Array, back: jax.Array, mode: int) -> jax.Array:
    """What a combine mode makes of both directions."""
    return there + back if mode == 1 else jnp.concatenate([there, back], axis=1)


@pytest.mark.parametrize("case", BIDIRECTIONAL, ids=identify)
def test_matrix_inference_both_ways(device: mps.Device, case: RecurrentCase) -> None:
    net = Net(case)
    layer = net.layer(mps.RNNMatrixInferenceLayer, device)
    mode = case.attributes["bidirectional_combine_mode"]
    forward = empty_matrices(device, case.rows, 8 if mode == 2 else 4)
    backward = empty_matrices(device, case.rows, 4) if mode == 0 else []
    commands = mps.CommandBuffer(device.command_queue())
    layer.encode_bidirectional_sequence(commands, matrices(device, net.inputs), forward, backward)
    commands.commit()
    there, back = net.expected_direction(backward=False), net.expected_direction(backward=True)
    if mode:
        there = [combined(a, b, mode) for a, b in zip(there, back, strict=True)]
    for got, wanted in zip(forward, there, strict=True):
        expect_close(got.read(), wanted, exact=False)
    for got, wanted in zip(backward, back, strict=False):
        expect_close(got.read(), wanted, exact=False)


def image_size(case: RecurrentCase) -> tuple[int, int, int]:
    """The images whose pixels the rows are: of one column, unless windows ask for more."""
    size = case.cells[0].image
    return (1, case.rows[0], 1) if size == (1, 1, 1) else size


@pytest.mark.parametrize("case", IMAGES, ids=identify)
def test_image_inference(device: mps.Device, case: RecurrentCase) -> None:
    net = Net(case)
    layer = net.layer(mps.RNNImageInferenceLayer, device)
    size, outputs = image_size(case), case.cells[-1].outputs
    mode = case.attributes.get("bidirectional_combine_mode", 0)

    def as_image(device: mps.Device, pixels: Floats) -> mps.Image:
        return mps.Image(device, pixels.reshape(*size, -1))

    sources = [as_image(device, x) for x in net.inputs]
    made = [mps.Image(device, size=(*size, outputs * (2 if mode == 2 else 1))) for _ in case.rows]
    commands = mps.CommandBuffer(device.command_queue())
    if case.method == "encode_sequence":
        state = None
        if net.initial:
            memories = [
                as_image(device, c) if cell.kind == "lstm" else None
                for cell, (_, c) in zip(case.cells, net.initial, strict=True)
            ]
            state = mps.RNNRecurrentImageState(
                [as_image(device, h) for h, _ in net.initial], memories
            )
        states = layer.encode_sequence(commands, sources, made, state)
        commands.commit()
        expected = net.expected()
        wanted = [h for h, _ in expected[-1]]
        for i, cell in enumerate(case.cells):
            h, c = expected[i][-1]
            output = np.asarray(states[-1].recurrent_output_image(i))
            expect_close(output.reshape(h.shape), h, exact=case.exact)
            memory = states[-1].memory_cell_image(i)
            assert (memory is not None) == (cell.kind == "lstm")
            if memory is not None:
                expect_close(np.asarray(memory).reshape(c.shape), c, exact=case.exact)
    else:
        backward = [mps.Image(device, size=(*size, outputs)) for _ in case.rows if mode == 0]
        layer.encode_bidirectional_sequence(commands, sources, made, backward)
        commands.commit()
        wanted, back = (net.expected_direction(backward=way) for way in (False, True))
        if mode:
            wanted = [combined(a, b, mode) for a, b in zip(wanted, back, strict=True)]
        for got, want in zip(backward, back, strict=False):
            expect_close(np.asarray(got).reshape(want.shape), want, exact=False)
    for got, want in zip(made, wanted, strict=True):
        expect_close(np.asarray(got).reshape(want.shape), want, exact=case.exact)


class Training:
    """A case's layer run forward and backward, beside JAX's gradients."""

    def __init__(self, device: mps.Device, case: RecurrentCase) -> None:
        self.device, self.case, self.net = device, case, Net(case)
        self.cell = case.cells[0]
        self.layer = mps.RNNMatrixTrainingLayer(device, self.net.descriptors[0])
        self.layer.accumulate_weight_gradients = case.attributes.get(
            "accumulate_weight_gradients", False
        )
        self.names = weight_names(self.cell, self.net.weights[0])
        rng = np.random.default_rng(1)
        sizes = [(rows, self.cell.outputs) for rows in case.rows]
        make = (lambda s: rng.integers(-1, 2, s)) if case.exact else (lambda s: rng.normal(size=s))
        self.output_gradients = [make(size).astype(np.float32) for size in sizes]
        self.last_gradient: State | None = None
        if case.initial:
            h, c = (rng.normal(size=sizes[-1]).astype(np.float32) for _ in range(2))
            self.last_gradient = [(h, c)]

    def expected(self) -> tuple[Any, Any, Any]:
        """JAX's gradients of inputs, weights and initial state."""

        def value(inputs: Any, weights: Any, initial: Any) -> jax.Array:  # noqa: ANN401
            states = oracle.run(self.cell, weights, inputs, initial)
            pairs = zip(states, double(self.output_gradients), strict=True)
            total = sum((jnp.sum(h * g) for (h, _), g in pairs), jnp.asarray(0.0))
            if self.last_gradient:
                for part, gradient in zip(states[-1], double(self.last_gradient[0]), strict=True):
                    total += jnp.sum(part * gradient)
            return total

        zeros = np.zeros((self.case.rows[0], self.cell.outputs))
        initial = self.net.initial[0] if self.net.initial else (zeros, zeros)
        return jax.grad(value, argnums=(0, 1, 2))(
            double(self.net.inputs), double(self.net.weights[0]), double(initial)
        )

    def run(
        self, gradients: list[mps.Matrix]
    ) -> tuple[list[mps.Matrix], list[mps.Matrix], mps.RNNRecurrentMatrixState]:
        """Destinations, gradients of the sources, gradient of the initial state."""
        device, cells, rows = self.device, self.case.cells, self.case.rows
        commands = mps.CommandBuffer(device.command_queue())
        sources = matrices(device, self.net.inputs)
        destinations = empty_matrices(device, rows, self.cell.outputs)
        weights = self.layer.create_weight_matrices()
        state = matrix_state(device, cells, self.net.initial) if self.net.initial else None
        kept, _ = self.layer.encode_forward_sequence(
            commands, sources, destinations, weights, state
        )
        made = empty_matrices(device, rows, self.cell.inputs)
        last = matrix_state(device, cells, self.last_gradient) if self.last_gradient else None
        upstream = matrices(device, self.output_gradients)
        initial = self.layer.encode_gradient_sequence(
            commands, sources, upstream, made, gradients, kept, weights, last
        )
        commands.commit()
        return destinations, made, initial


@pytest.mark.parametrize("case", TRAINED, ids=identify)
def test_training(device: mps.Device, case: RecurrentCase) -> None:
    training = Training(device, case)
    assert [int(number) for number in training.layer.weight_ids] == list(training.names)
    gradients = training.layer.create_weight_gradient_matrices()
    before = 2.0 if training.layer.accumulate_weight_gradients else 0.0
    for matrix in gradients:
        matrix.write(np.full(matrix.shape, before or np.nan, np.float32))
    destinations, made, initial = training.run(gradients)
    for got, (h, _) in zip(destinations, training.net.expected()[0], strict=True):
        expect_close(got.read(), h, exact=case.exact)
    of_inputs, of_weights, of_initial = training.expected()
    for got, wanted in zip(made, of_inputs, strict=True):
        expect_close(got.read(), wanted, exact=case.exact, terms=256)
    for got, name in zip(gradients, training.names.values(), strict=True):
        wanted = of_weights[name].reshape(got.shape) + before
        expect_close(got.read(), wanted, exact=case.exact, terms=256)
    expect_close(
        initial.recurrent_output_matrix().read(), of_initial[0], exact=case.exact, terms=256
    )
    memory = initial.memory_cell_matrix()
    assert (memory is not None) == (training.cell.kind == "lstm")
    if memory is not None:
        expect_close(memory.read(), of_initial[1], exact=case.exact, terms=256)


CHECKS: dict[tuple[str, str], Callable[[mps.Device, RecurrentCase], None]] = {
    ("RNNMatrixInferenceLayer", "encode_sequence"): test_matrix_inference,
    ("RNNMatrixInferenceLayer", "encode_bidirectional_sequence"): test_matrix_inference_both_ways,
    ("RNNImageInferenceLayer", "encode_sequence"): test_image_inference,
    ("RNNImageInferenceLayer", "encode_bidirectional_sequence"): test_image_inference,
    ("RNNMatrixTrainingLayer", "encode_gradient_sequence"): test_training,
}


def check_case(device: mps.Device, case: RecurrentCase) -> None:
    """Any case of RECURRENT_CASES, for other devices."""
    CHECKS[case.kernel, case.method](device, case)


def named_weights(layer: mps.RNNMatrixTrainingLayer, cell: Cell, weights: Named) -> dict[str, int]:
    """Index of each weight's matrix."""
    names = weight_names(cell, weights)
    return {names[int(number)]: i for i, number in enumerate(layer.weight_ids)}
