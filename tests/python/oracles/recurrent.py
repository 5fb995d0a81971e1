# SPDX-License-Identifier: MIT
"""Recurrent layers: the formulas of the descriptors, one time step after the other, in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from cases import Case
from cases.recurrent import Cell, Neuron

from oracles import Array
from oracles import neuron as functions

# By NeuronType's values.
NEURONS = {
    1: functions.relu,
    2: functions.linear,
    3: functions.sigmoid,
    4: functions.hard_sigmoid,
    5: functions.tanh,
    6: functions.absolute,
    7: functions.soft_plus,
    8: functions.soft_sign,
    9: functions.elu,
    11: functions.relun,
    12: functions.power,
    13: functions.exponential,
    15: functions.gelu,
}
Weights = Mapping[str, Array]  # "w0", "u0", "v0", "b0"
State = tuple[Array, Array]  # output, memory (of an LSTM)


def apply(neuron: Neuron, x: Array) -> Array:
    """The neuron's function."""
    if neuron[0] == 0:
        return x
    attributes = dict(zip("abc", neuron[1:], strict=True))
    return NEURONS[neuron[0]](Case("", (), attributes), [x], {})


def product(cell: Cell, x: Array, weights: Array) -> Array:
    """Rows times Wᵀ; or W moved over the images whose pixels the rows are, zeros around.

    A window of k taps at p begins at p - k // 2, or with gaps at half of its extent.
    """
    if weights.ndim == 2:
        return x @ weights.T
    images, height, width = cell.image
    outputs, *taps, inputs = weights.shape
    before, extents = [], []
    for k, gap in zip(taps, cell.dilation, strict=True):
        extents.append((k - 1) * gap + 1)
        before.append(extents[-1] // 2)
    margins = [(b, e - 1 - b) for b, e in zip(before, extents, strict=True)]
    padded = jnp.pad(x.reshape(images, height, width, inputs), ((0, 0), *margins, (0, 0)))
    total = jnp.zeros((images, height, width, outputs))
    for i in range(taps[0]):
        for j in range(taps[1]):
            y0, x0 = i * cell.dilation[0], j * cell.dilation[1]
            window = padded[:, y0 : y0 + height, x0 : x0 + width]
            total += window @ weights[:, i, j].T
    return total.reshape(-1, outputs)


def gate_sum(cell: Cell, weights: Weights, gate: int, x: Array, h: Array | None) -> Array:
    """W x + U h0 + b."""
    total = jnp.zeros((x.shape[0], cell.outputs))
    if cell.unit:
        total += x
    elif f"w{gate}" in weights:
        total += product(cell, x, weights[f"w{gate}"])
    if h is not None and f"u{gate}" in weights:
        total += product(cell, h, weights[f"u{gate}"])
    return total + weights.get(f"b{gate}", 0.0)


def peephole(cell: Cell, weights: Weights, gate: int, c: Array) -> Array:
    """V c."""
    if f"v{gate}" not in weights:
        return jnp.zeros_like(c)
    v = weights[f"v{gate}"]
    return v.reshape(-1) * c if cell.memory == "diagonal" else product(cell, c, v)


def lstm(cell: Cell, weights: Weights, x: Array, state: State) -> State:
    """One step of an LSTM."""
    h, c = state

    def gate(g: int, memory: Array) -> Array:
        total = gate_sum(cell, weights, g, x, h) + peephole(cell, weights, g, memory)
        return apply(cell.neuron(g), total)

    new = gate(1, c) * c + gate(0, c) * gate(2, c)
    return gate(3, new) * apply(cell.memory_to_output, new), new


def gru(cell: Cell, weights: Weights, x: Array, state: State) -> State:
    """One step of a GRU."""
    h, _ = state
    z = apply(cell.neuron(0), gate_sum(cell, weights, 0, x, h))
    r = apply(cell.neuron(1), gate_sum(cell, weights, 1, x, h))
    total = gate_sum(cell, weights, 2, x, None)
    if "u2" in weights:
        total += product(cell, r * h, weights["u2"])
    if "v2" in weights:
        total += product(cell, z * h, weights["v2"])
    candidate = apply(cell.neuron(2), total)
    rest = 1 - z if cell.p == 1 else (1 - z**cell.p) ** (1 / cell.p)
    first, second = (h, candidate) if cell.flips else (candidate, h)
    return rest * first + z * second, state[1]


def single(cell: Cell, weights: Weights, x: Array, state: State) -> State:
    """One step of a layer of one gate."""
    return apply(cell.neuron(0), gate_sum(cell, weights, 0, x, state[0])), state[1]


STEPS = {"single": single, "lstm": lstm, "gru": gru}


def run(
    cell: Cell, weights: Weights, inputs: Sequence[Array], initial: State | None
) -> list[State]:
    """The state after each step; rows may become fewer, and begin with zeros where they grow."""
    if initial is None:
        zeros = jnp.zeros((inputs[0].shape[0], cell.outputs))
        initial = (zeros, zeros)
    states: list[State] = []
    h, c = initial
    for x in inputs:
        rows = x.shape[0]
        missing = ((0, max(rows - h.shape[0], 0)), (0, 0))
        h, c = jnp.pad(h, missing)[:rows], jnp.pad(c, missing)[:rows]
        h, c = STEPS[cell.kind](cell, weights, x, (h, c))
        states.append((h, c))
    return states
