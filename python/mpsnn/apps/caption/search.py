# SPDX-License-Identifier: MIT
"""Which word follows: greedy and beam search by matrix kernels.

The kernels are made once; what a sentence needs of its own is made where it begins.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

import mpsnn as mps
from mpsnn.apps.caption.words import END

IMPOSSIBLE = -1e9  # logarithm of the probability of what must not follow

State = mps.RNNRecurrentMatrixState


def integers(device: mps.Device, rows: int, columns: int) -> mps.Matrix:
    """A matrix of zeros."""
    return mps.Matrix(device, rows=rows, columns=columns, data_type=mps.DataType.UINT32)


def array_of(matrix: mps.Matrix) -> mps.NDArray:
    """A matrix of floats without gaps as an array over the same memory."""
    return mps.NDArray(matrix.buffer, shape=(matrix.rows, matrix.columns))


def row_of(matrix: mps.Matrix, row: int) -> mps.Matrix:
    """A row of a matrix of integers, over the same memory."""
    return mps.Matrix(
        matrix.buffer,
        rows=1,
        columns=matrix.columns,
        data_type=mps.DataType.UINT32,
        offset=row * matrix.row_bytes,
    )


def indices_of(matrix: mps.Matrix, row: int = 0) -> mps.NDArray:
    """A row of a matrix of integers as indices, over the same memory."""
    return mps.NDArray(
        matrix.buffer,
        shape=(matrix.columns,),
        data_type=mps.DataType.UINT32,
        offset=row * matrix.row_bytes,
    )


class Search(Protocol):
    """The search of one sentence.

    Attributes:
        words: Chosen by each step, (steps, beam); zeros where none ran.
        parents: For each of them the column of the word before it; None: greedy.
        totals: Scores of the sentences at the end, (1, beam).
    """

    @property
    def words(self) -> mps.Matrix: ...  # noqa: D102
    @property
    def parents(self) -> mps.Matrix | None: ...  # noqa: D102
    @property
    def totals(self) -> mps.Matrix: ...  # noqa: D102

    def reordered(
        self, commands: mps.CommandBuffer, state: State | None, step: int
    ) -> State | None:
        """Records what gives each sentence the state of the one that it goes on with."""

    def choose(self, commands: mps.CommandBuffer, scores: mps.Matrix, step: int) -> None:
        """Records the choice of a step's words from their scores, (beam, words)."""


class GreedyKernels:
    """Takes the word of the highest score: one kernel."""

    def __init__(self, device: mps.Device) -> None:
        self.device = device
        self.top = mps.MatrixFindTopK(device, 1, label="choose")

    def begin(self, steps: int) -> Search:
        """A sentence of so many steps."""
        return _GreedySearch(self, steps)


class _GreedySearch:
    def __init__(self, kernels: GreedyKernels, steps: int) -> None:
        self._kernels = kernels
        self.words = integers(kernels.device, steps, 1)
        self.parents: mps.Matrix | None = None
        self.totals = mps.Matrix(kernels.device, rows=1, columns=1)

    def reordered(
        self, _commands: mps.CommandBuffer, state: State | None, _step: int
    ) -> State | None:
        return state

    def choose(self, commands: mps.CommandBuffer, scores: mps.Matrix, step: int) -> None:
        self._kernels.top.encode(commands, scores, row_of(self.words, step), self.totals)


class BeamKernels:
    """Follows the sentences of the highest probability so far.

    A sentence that has ended goes on with ends that cost nothing, and with nothing else. As a
    sentence only becomes less likely with each word, the search is over when the best one has
    ended; that one stands in the first column.
    """

    def __init__(self, device: mps.Device, beam: int, words: int) -> None:
        self.device, self.beam, self.words = device, beam, words
        forbidden = np.zeros((words, words), np.float32)
        forbidden[END] = IMPOSSIBLE
        forbidden[END, END] = 0.0
        # What may follow a word: added to the scores.
        self.forbidden = mps.NDArray.from_array(device, forbidden)
        # Row i: the sentence and the word that candidate i stands for.
        candidates = np.stack(np.divmod(np.arange(beam * words), words), axis=1)
        self.candidates = mps.NDArray.from_array(device, candidates.astype(np.float32))
        self.ones = mps.Matrix.from_array(device, np.ones((1, words), np.float32))
        self.gather = mps.NDArrayGather(device, label="gather")
        self.forbid = mps.MatrixSum(device, count=2, label="forbid")
        self.logarithms = mps.MatrixLogSoftMax(device, label="probabilities")
        self.accumulate = mps.MatrixMultiplication(device, beta=1.0, label="add up")
        self.top = mps.MatrixFindTopK(device, beam, label="choose")
        self.split = mps.MatrixCopy(
            device,
            copy_rows=1,
            copy_columns=beam,
            sources_are_transposed=True,
            offsets=[0, 0, 0, 0, 0, 1, 0, 0],
            label="split",
        )

    def begin(self, steps: int) -> Search:
        """A sentence of so many steps."""
        return _BeamSearch(self, steps)


class _BeamSearch:
    def __init__(self, kernels: BeamKernels, steps: int) -> None:
        self._kernels = kernels
        device, beam = kernels.device, kernels.beam
        self.words = integers(device, steps, beam)
        self.parents = integers(device, steps, beam)
        # All beginnings are equal: only the first counts.
        first = np.full((1, beam), IMPOSSIBLE, np.float32)
        first[0, 0] = 0.0
        self.totals = mps.Matrix.from_array(device, first)

    def reordered(
        self, commands: mps.CommandBuffer, state: State | None, step: int
    ) -> State | None:
        if state is None:
            return state
        parents = indices_of(self.parents, step - 1)
        outputs = state.recurrent_output_matrix()
        cells = state.memory_cell_matrix()
        if cells is None:
            raise mps.InternalError("caption: expected an LSTM's state, got none of its memory")
        copies = []
        for matrix in (outputs, cells):
            copy = mps.Matrix(self._kernels.device, rows=matrix.rows, columns=matrix.columns)
            self._kernels.gather.encode(commands, array_of(matrix), parents, array_of(copy))
            copies.append(copy)
        return State([copies[0]], [copies[1]])

    def choose(self, commands: mps.CommandBuffer, scores: mps.Matrix, step: int) -> None:
        kernels, beam = self._kernels, self._kernels.beam
        allowed = scores
        if step:
            masks = mps.Matrix(kernels.device, rows=beam, columns=kernels.words)
            before = indices_of(self.words, step - 1)
            kernels.gather.encode(commands, kernels.forbidden, before, array_of(masks))
            allowed = mps.Matrix(kernels.device, rows=beam, columns=kernels.words)
            kernels.forbid.encode(commands, [scores, masks], allowed)
        kernels.logarithms.encode(commands, allowed, allowed)
        column = mps.Matrix(self.totals.buffer, rows=beam, columns=1)
        kernels.accumulate.encode(commands, column, kernels.ones, allowed)
        row = mps.Matrix(allowed.buffer, rows=1, columns=beam * kernels.words)
        best = integers(kernels.device, 1, beam)
        kernels.top.encode(commands, row, best, self.totals)
        pairs = mps.Matrix(kernels.device, rows=beam, columns=2)
        kernels.gather.encode(commands, kernels.candidates, indices_of(best), array_of(pairs))
        targets = [row_of(self.parents, step), row_of(self.words, step)]
        kernels.split.encode(commands, [pairs, pairs], targets)
