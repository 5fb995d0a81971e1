# SPDX-License-Identifier: MIT
"""Recurrent layers: cells, sequence lengths, rows, directions, states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

# Type and parameters a, b, c, in the order of NeuronType.
Neuron = tuple[int, float, float, float]
NONE: Neuron = (0, 0.0, 0.0, 0.0)
RELU: Neuron = (1, 0.0, 0.0, 0.0)
SIGMOID: Neuron = (3, 0.0, 0.0, 0.0)
TANH: Neuron = (5, 1.0, 1.0, 0.0)

GATES = {"single": 1, "lstm": 4, "gru": 3}
DEFAULTS = {
    "single": (TANH,),
    "lstm": (SIGMOID, SIGMOID, TANH, SIGMOID),
    "gru": (SIGMOID, SIGMOID, TANH),
}


@dataclass(frozen=True)
class Cell:
    """One layer.

    Attributes:
        kind: "single", "lstm" (gates input, forget, cell, output) or "gru" (z, r, output).
        inputs: Channels that it takes.
        outputs: Channels that it makes.
        neurons: Of each gate; empty: the usual ones.
        memory: Memory weights: "" for none, "full", "diagonal"; of a GRU's output gate: "full".
        absent: Gates' weights that are left out: "w0" (with bias and neuron), "u2", "v1".
        bias: Whether input weights have a bias.
        unit: Unit transform mode.
        backward: Direction.
        memory_to_output: An LSTM's last neuron.
        p: A GRU's norm.
        flips: A GRU's flip_output_gates.
        window: Height and width of the weights' windows, for layers of images.
        dilation: Of the windows, down and across.
        pointwise: Weights that have one tap all the same: "w0", "u2".
        image: Number, height and width of the images whose pixels are the rows.
    """

    kind: str
    inputs: int = 3
    outputs: int = 4
    neurons: tuple[Neuron, ...] = ()
    memory: str = ""
    absent: frozenset[str] = frozenset()
    bias: bool = True
    unit: bool = False
    backward: bool = False
    memory_to_output: Neuron = TANH
    p: float = 1.0
    flips: bool = False
    window: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pointwise: frozenset[str] = frozenset()
    image: tuple[int, int, int] = (1, 1, 1)

    def neuron(self, gate: int) -> Neuron:
        """Of a gate: the identity where its input weights are left out."""
        if f"w{gate}" in self.absent:
            return NONE
        return (self.neurons or DEFAULTS[self.kind])[gate]

    def has(self, role: str, gate: int) -> bool:
        """Whether weights "w", "u", "v" or "b" of a gate are there."""
        if role == "b":
            return self.bias and f"w{gate}" not in self.absent
        if role == "v":
            there = self.memory != "" and (self.kind == "lstm" or gate == 2)
            return there and f"v{gate}" not in self.absent
        return f"{role}{gate}" not in self.absent

    def taps(self, name: str) -> tuple[int, int]:
        """The window of weights "w0"."""
        diagonal = name[0] == "v" and self.memory == "diagonal"
        return (1, 1) if diagonal or name in self.pointwise else self.window


@dataclass(frozen=True)
class RecurrentCase:
    """One encode of a layer.

    Attributes:
        kernel: The layer's class.
        method: How it is encoded.
        cells: The stack.
        rows: Of each time step.
        initial: Whether the sequence starts from a state.
        attributes: Properties of the layer away from their defaults.
        exact: Whether small integers go through without rounding.
    """

    kernel: str
    method: str
    cells: tuple[Cell, ...]
    rows: tuple[int, ...]
    initial: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)
    exact: bool = False


MATRIX, IMAGE = "RNNMatrixInferenceLayer", "RNNImageInferenceLayer"
TRAINING = "RNNMatrixTrainingLayer"
SEQUENCE, BOTH = "encode_sequence", "encode_bidirectional_sequence"

CELLS = [
    Cell("single"),
    Cell("single", absent=frozenset({"u0"})),
    Cell("single", bias=False),
    Cell("lstm"),
    Cell("lstm", memory="full"),
    Cell("lstm", memory="diagonal"),
    Cell("lstm", memory="diagonal", absent=frozenset({"v0", "v3", "u1"})),
    Cell("lstm", memory="full", absent=frozenset({"v1", "v2", "w0", "u3"}), bias=False),
    Cell("lstm", memory_to_output=NONE),
    Cell("lstm", memory_to_output=(5, 1.5, 0.75, 0.0)),
    Cell("gru"),
    Cell("gru", memory="full"),
    Cell("gru", memory="full", absent=frozenset({"u2"})),
    Cell("gru", absent=frozenset({"u2"})),
    Cell("gru", memory="full", flips=True),
    Cell("gru", p=2.0),
    Cell("gru", p=3.0, memory="full", flips=True),
    Cell("gru", p=0.5, bias=False),
    Cell("gru", absent=frozenset({"w1", "u0"})),
    Cell("single", 5, 5, unit=True),
    Cell("lstm", 5, 5, unit=True, memory="diagonal"),
    Cell("gru", 5, 5, unit=True),
    Cell("lstm", 1, 1, memory="full"),
    Cell("gru", 1, 1),
    Cell("lstm", 7, 300),  # more channels than a piece of work
    Cell("gru", 7, 300, memory="full"),
]
# Every neuron that a gate can have, with parameters away from their defaults.
NEURONS: list[Neuron] = [
    NONE,
    (1, 0.25, 0.0, 0.0),
    (2, 0.75, 0.125, 0.0),
    SIGMOID,
    (4, 0.25, 0.5, 0.0),
    (5, 1.25, 0.5, 0.0),
    (6, 0.0, 0.0, 0.0),
    (7, 0.5, 2.0, 0.0),
    (8, 0.0, 0.0, 0.0),
    (9, 0.75, 0.0, 0.0),
    (11, 0.5, 1.5, 0.0),
    (12, 1.0, 0.25, 2.0),
    (13, 0.5, 0.25, -1.0),
    (15, 0.0, 0.0, 0.0),
]
CELLS += [Cell("single", neurons=(neuron,)) for neuron in NEURONS]
CELLS += [Cell("lstm", neurons=(neuron,) * 4, memory="full") for neuron in NEURONS[3:6]]
CELLS += [Cell("gru", neurons=(SIGMOID, neuron, neuron)) for neuron in NEURONS[3:6]]

INTEGERS = [
    Cell("single", neurons=(NONE,)),
    Cell("single", neurons=(RELU,)),
    Cell("lstm", neurons=(RELU, NONE, RELU, NONE), memory_to_output=RELU, memory="diagonal"),
    Cell("lstm", neurons=(NONE,) * 4, memory_to_output=NONE, memory="full"),
    Cell("gru", neurons=(NONE, RELU, RELU), memory="full"),
    Cell("gru", neurons=(RELU, NONE, NONE), flips=True),
]
STACK = (Cell("lstm", 3, 6), Cell("gru", 6, 2), Cell("single", 2, 5))
TWO_WAYS = (Cell("lstm", 3, 4), Cell("gru", 3, 4, backward=True))
DEEP_WAYS = (
    Cell("lstm", 3, 5),
    Cell("single", 3, 2, backward=True),
    Cell("single", 5, 4),
    Cell("lstm", 2, 4, backward=True, memory="diagonal"),
)
LENGTHS = [(1,), (2, 2), (3, 3, 3, 3, 3), (4, 4, 2, 1, 1, 1)]

INFERENCE = (
    [RecurrentCase(MATRIX, SEQUENCE, (cell,), (2, 2, 2)) for cell in CELLS]
    + [
        RecurrentCase(MATRIX, SEQUENCE, cells, rows, initial)
        for cells in ((CELLS[0],), (CELLS[4],), (CELLS[11],), STACK)
        for rows in LENGTHS
        for initial in (False, True)
    ]
    + [
        RecurrentCase(
            MATRIX, SEQUENCE, STACK, rows, attributes={"store_all_intermediate_states": True}
        )
        for rows in LENGTHS[2:]
    ]
    + [RecurrentCase(MATRIX, SEQUENCE, (cell,), (2, 2), exact=True) for cell in INTEGERS]
)
BIDIRECTIONAL = [
    RecurrentCase(MATRIX, BOTH, cells, rows, attributes={"bidirectional_combine_mode": mode})
    for cells in (TWO_WAYS, DEEP_WAYS)
    for rows in (*LENGTHS, (1, 3, 2, 2, 4))
    for mode in (0, 1, 2)
]
IMAGES = [
    replace(case, kernel=IMAGE)
    for case in [*INFERENCE, *BIDIRECTIONAL]
    if len(set(case.rows)) == 1 and (len(case.cells) > 1 or case.cells[0] in CELLS[:12])
]
# Images whose weights have windows: odd and even ones, wider than the image, with gaps.
SMALL, TALL = (2, 4, 3), (1, 5, 2)
WINDOWED = [
    Cell("single", window=(3, 3), image=SMALL),
    Cell("single", window=(1, 3), image=SMALL, absent=frozenset({"u0"})),
    Cell("single", window=(2, 2), image=TALL),
    Cell("single", window=(4, 2), image=SMALL, bias=False),
    Cell("single", window=(7, 5), image=SMALL),
    Cell("single", window=(3, 2), dilation=(2, 2), image=SMALL),
    Cell("single", 5, 5, window=(3, 3), image=SMALL, unit=True),
    Cell("lstm", window=(3, 3), image=SMALL),
    Cell("lstm", window=(3, 3), image=TALL, memory="full"),
    Cell("lstm", window=(3, 3), image=SMALL, memory="diagonal"),
    Cell("lstm", window=(3, 3), image=SMALL, pointwise=frozenset({"u1", "w2", "u2"})),
    Cell("lstm", window=(3, 3), image=SMALL, absent=frozenset({"u0", "w3"})),
    Cell("gru", window=(3, 3), image=SMALL),
    Cell("gru", window=(2, 3), image=TALL, memory="full"),
    Cell("gru", window=(3, 3), image=SMALL, memory="full", pointwise=frozenset({"u2"})),
]
WINDOWED_INTEGERS = [
    replace(cell, window=(3, 2), image=SMALL) for cell in (INTEGERS[1], INTEGERS[4])
]
WINDOWED_STACK = (
    Cell("lstm", 3, 6, window=(3, 3), image=SMALL),
    Cell("gru", 6, 2, image=SMALL),
    Cell("single", 2, 5, window=(2, 1), image=SMALL),
)
WINDOWED_WAYS = (
    Cell("lstm", 3, 4, window=(3, 3), image=SMALL),
    Cell("gru", 3, 4, window=(5, 3), image=SMALL, backward=True),
)


def pixels(cell: Cell) -> int:
    """Rows of a step."""
    images, height, width = cell.image
    return images * height * width


IMAGES += (
    [RecurrentCase(IMAGE, SEQUENCE, (cell,), (pixels(cell),) * 2) for cell in WINDOWED]
    + [RecurrentCase(IMAGE, SEQUENCE, (cell,), (pixels(cell),) * 5, True) for cell in WINDOWED[7:9]]
    + [
        RecurrentCase(IMAGE, SEQUENCE, (cell,), (pixels(cell),) * 2, exact=True)
        for cell in WINDOWED_INTEGERS
    ]
    + [
        RecurrentCase(IMAGE, SEQUENCE, WINDOWED_STACK, (24,) * 3, initial)
        for initial in (False, True)
    ]
    + [
        RecurrentCase(
            IMAGE, BOTH, WINDOWED_WAYS, (24,) * 3, attributes={"bidirectional_combine_mode": mode}
        )
        for mode in (0, 1, 2)
    ]
)
TRAINED = (
    [RecurrentCase(TRAINING, "encode_gradient_sequence", (cell,), (2, 2, 2)) for cell in CELLS]
    + [
        RecurrentCase(TRAINING, "encode_gradient_sequence", (cell,), rows, initial=True)
        for cell in (CELLS[0], CELLS[4], CELLS[5], CELLS[11], CELLS[14])
        for rows in LENGTHS
    ]
    + [
        RecurrentCase(
            TRAINING,
            "encode_gradient_sequence",
            (cell,),
            (3, 3, 2),
            initial=True,
            attributes={"accumulate_weight_gradients": True},
        )
        for cell in (CELLS[0], CELLS[4], CELLS[5], CELLS[11])
    ]
    + [
        RecurrentCase(TRAINING, "encode_gradient_sequence", (cell,), (2, 2), exact=True)
        for cell in INTEGERS
    ]
)
RECURRENT_CASES = [*INFERENCE, *BIDIRECTIONAL, *IMAGES, *TRAINED]
