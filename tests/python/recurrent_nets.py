# SPDX-License-Identifier: MIT
"""Recurrent layers of the case tables: weights, descriptors, what JAX makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from cases.recurrent import GATES, Cell, Neuron, RecurrentCase
from numpy.typing import NDArray

import mpsnn as mps

Floats = NDArray[np.float32]
Named = dict[str, Floats]
Descriptor = mps.RNNSingleGateDescriptor | mps.LSTMDescriptor | mps.GRUDescriptor

# Names of the gates and of the weights in the descriptors, by gate.
GATE_NAMES = {
    "lstm": ("input", "forget", "cell", "output"),
    "gru": ("input", "recurrent", "output"),
}
ROLES = {"w": "input", "u": "recurrent", "v": "memory"}
FIRST_ID = {"single": 0, "lstm": 3, "gru": 19}


def random_values(rng: np.random.Generator, shape: tuple[int, ...], *, exact: bool) -> Floats:
    """Small numbers, whole ones where results are to be exact."""
    if exact:
        return rng.integers(-1, 2, shape).astype(np.float32)
    return rng.uniform(-0.6, 0.6, shape).astype(np.float32)


def make_weights(cell: Cell, rng: np.random.Generator, *, exact: bool = False) -> Named:
    """All weights that a cell has: "w0", "u0", "v0", "b0" and so on."""
    weights: Named = {}
    for gate in range(GATES[cell.kind]):
        shapes = {
            "w": (cell.outputs, cell.inputs),
            "u": (cell.outputs, cell.outputs),
            "v": (1 if cell.memory == "diagonal" else cell.outputs, cell.outputs),
            "b": (cell.outputs,),
        }
        for role, matrix in shapes.items():
            if cell.has(role, gate):
                taps = cell.taps(f"{role}{gate}") if role != "b" else (1, 1)
                shape = matrix if taps == (1, 1) else (matrix[0], *taps, matrix[1])
                values = random_values(rng, shape, exact=exact)
                wide = cell.outputs > 50 and role in "uv" and cell.memory != "diagonal"
                weights[f"{role}{gate}"] = values / np.float32(8) if wide else values
    return weights


def data_source(
    weights: Floats,
    bias: Floats | None = None,
    neuron: Neuron | None = None,
    dilation: tuple[int, int] = (1, 1),
) -> mps.ConvolutionDataSource:
    """A convolution of (outputs, height, width, inputs), or 1x1 of a matrix (outputs, inputs)."""
    outputs, inputs = weights.shape[0], weights.shape[-1]
    height, width = weights.shape[1:3] if weights.ndim == 4 else (1, 1)
    descriptor = mps.ConvolutionDescriptor(
        width,
        height,
        inputs,
        outputs,
        dilation_rate_y=dilation[0],
        dilation_rate_x=dilation[1],
    )
    if neuron is not None:
        kind, a, b, c = neuron
        descriptor.fused_neuron_descriptor = mps.NeuronDescriptor(mps.NeuronType(kind), a, b, c)
    return mps.ConvolutionDataSource(
        descriptor, weights.reshape(outputs, height, width, inputs), bias
    )


def data_sources(cell: Cell, weights: Mapping[str, Floats]) -> dict[str, mps.ConvolutionDataSource]:
    """The data sources by "w0" …; biases belong to those of the input."""
    sources = {}
    for name, values in weights.items():
        gate = int(name[1:])
        if name[0] == "w":
            sources[name] = data_source(
                values, weights.get(f"b{gate}"), cell.neuron(gate), cell.dilation
            )
        elif name[0] != "b":
            diagonal = name[0] == "v" and cell.memory == "diagonal"
            sources[name] = data_source(
                values.reshape(-1, 1) if diagonal else values, dilation=cell.dilation
            )
    return sources


def descriptor_of(cell: Cell, sources: Mapping[str, mps.ConvolutionDataSource]) -> Descriptor:
    """The layer's descriptor."""
    if cell.kind == "single":
        single = mps.RNNSingleGateDescriptor(cell.inputs, cell.outputs)
        single.input_weights = sources.get("w0")
        single.recurrent_weights = sources.get("u0")
        descriptor: Descriptor = single
    elif cell.kind == "lstm":
        kind, a, b, c = cell.memory_to_output
        descriptor = mps.LSTMDescriptor(
            cell.inputs,
            cell.outputs,
            memory_weights_are_diagonal=cell.memory == "diagonal",
            cell_to_output_neuron_type=mps.NeuronType(kind),
            cell_to_output_neuron_param_a=a,
            cell_to_output_neuron_param_b=b,
            cell_to_output_neuron_param_c=c,
        )
    else:
        descriptor = mps.GRUDescriptor(
            cell.inputs, cell.outputs, gate_p_norm_value=cell.p, flip_output_gates=cell.flips
        )
    descriptor.use_layer_input_unit_transform_mode = cell.unit
    if cell.backward:
        descriptor.layer_sequence_direction = mps.RNNSequenceDirection.BACKWARD
    for name, source in sources.items():
        if cell.kind == "single":
            continue
        role = ROLES[name[0]]
        if cell.kind == "gru" and name[0] == "v":
            role = "input_gate"
        setattr(descriptor, f"{GATE_NAMES[cell.kind][int(name[1:])]}_gate_{role}_weights", source)
    return descriptor


def weight_names(cell: Cell, weights: Mapping[str, Floats]) -> dict[int, str]:
    """Names of the weights by RNNMatrixId, written out from Apple's numbers."""
    per_gate = {"single": ("w", "u", "b"), "lstm": ("w", "u", "v", "b"), "gru": ("w", "u", "b")}
    names, number = {}, FIRST_ID[cell.kind]
    for gate in range(GATES[cell.kind]):
        roles = per_gate[cell.kind]
        if cell.kind == "gru" and gate == 2:
            roles = ("w", "u", "v", "b")
        for role in roles:
            if f"{role}{gate}" in weights and not (role == "w" and cell.unit):
                names[number] = f"{role}{gate}"
            number += 1
    return names


def make_inputs(case: RecurrentCase, rng: np.random.Generator) -> list[Floats]:
    """The sequence."""
    shape = (case.cells[0].inputs,)
    return [random_values(rng, (rows, *shape), exact=case.exact) for rows in case.rows]


def make_initial(case: RecurrentCase, rng: np.random.Generator) -> list[tuple[Floats, Floats]]:
    """A state for each layer: output, memory."""
    return [
        (
            random_values(rng, (case.rows[0], cell.outputs), exact=case.exact),
            random_values(rng, (case.rows[0], cell.outputs), exact=case.exact),
        )
        for cell in case.cells
    ]


def matrices(device: mps.Device, arrays: Sequence[Floats]) -> list[mps.Matrix]:
    """Copies on the device."""
    return [mps.Matrix.from_array(device, array) for array in arrays]


def empty_matrices(device: mps.Device, rows: Sequence[int], columns: int) -> list[mps.Matrix]:
    """Matrices that hold NaN until they are written."""
    nan = np.float32(np.nan)
    return matrices(device, [np.full((count, columns), nan, np.float32) for count in rows])
