# SPDX-License-Identifier: MIT
"""Which word follows: greedy and beam search by matrix kernels.

The kernels are made once. Memory and its views are made for a sentence and serve the next one.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

import mpsnn as mps

IMPOSSIBLE = -1e9  # logarithm of the probability of what must not follow

State = mps.RNNRecurrentMatrixState


def integers(device: mps.Device, rows: int, columns: int) -> mps.Matrix:
    """A matrix of zeros."""
    return mps.Matrix(device, rows=rows, columns=columns, data_type=mps.DataType.UINT32)


def columns_of(matrix: mps.Matrix, first: int, count: int) -> mps.Matrix:
    """Some columns of a matrix of floats, over the same memory."""
    return mps.Matrix(
        matrix.buffer,
        rows=matrix.rows,
        columns=count,
        row_bytes=matrix.row_bytes,
        offset=matrix.offset + 4 * first,
    )


def array_of(matrix: mps.Matrix) -> mps.NDArray:
    """A matrix of floats as an array over the same memory."""
    return mps.NDArray(
        matrix.buffer,
        shape=(matrix.rows, matrix.columns),
        strides=(matrix.row_bytes, 4),
        offset=matrix.offset,
    )


def rows_of(matrix: mps.Matrix) -> list[mps.Matrix]:
    """Each row of a matrix of integers, over the same memory."""
    return [
        mps.Matrix(
            matrix.buffer,
            rows=1,
            columns=matrix.columns,
            data_type=mps.DataType.UINT32,
            offset=row * matrix.row_bytes,
        )
        for row in range(matrix.rows)
    ]


def indices_of(matrix: mps.Matrix) -> list[mps.NDArray]:
    """Each row of a matrix of integers as indices, over the same memory."""
    return [
        mps.NDArray(
            matrix.buffer,
            shape=(matrix.columns,),
            data_type=mps.DataType.UINT32,
            offset=row * matrix.row_bytes,
        )
        for row in range(matrix.rows)
    ]


def state_of(device: mps.Device, rows: int, hidden: int) -> State:
    """An LSTM's state."""
    outputs, cells = (mps.Matrix(device, rows=rows, columns=hidden) for _ in range(2))
    return State([outputs], [cells])


def arrays_of(state: State) -> list[mps.NDArray]:
    """Output and memory cell of an LSTM's state as arrays over the same memory."""
    cells = state.memory_cell_matrix()
    if cells is None:
        raise mps.InternalError("caption: expected an LSTM's state, got none of its memory")
    return [array_of(state.recurrent_output_matrix()), array_of(cells)]


class Search(Protocol):
    """The search of a sentence: its memory and its kernels. It may serve many, one by one.

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

    def clear(self) -> None:
        """As at the beginning of a sentence; the host writes it, when the device has ended."""

    def states(self, step: int) -> tuple[State | None, State]:
        """The LSTM's state before a step, None: zeros, and where that behind it goes."""

    def reorder(self, kernels: mps.KernelSequence, step: int) -> None:
        """Adds what gives each sentence the state of the one that it goes on with."""

    def choose(self, kernels: mps.KernelSequence, scores: mps.Matrix, step: int) -> None:
        """Adds the choice of a step's words from their scores, (beam, words)."""


class GreedyKernels:
    """Takes the word of the highest score: one kernel."""

    def __init__(self, device: mps.Device) -> None:
        self.device = device
        self.top = mps.MatrixFindTopK(device, 1, label="choose")

    def begin(self, steps: int, hidden: int) -> Search:
        """A sentence of so many steps, whose LSTM has so many outputs."""
        return _GreedySearch(self, steps, hidden)


class _GreedySearch:
    def __init__(self, kernels: GreedyKernels, steps: int, hidden: int) -> None:
        self._kernels = kernels
        self.words = integers(kernels.device, steps, 1)
        self.parents: mps.Matrix | None = None
        self.totals = mps.Matrix(kernels.device, rows=1, columns=1)
        self._rows = rows_of(self.words)
        self._states = [state_of(kernels.device, 1, hidden) for _ in range(2)]  # in turn

    def clear(self) -> None:
        self.words.write(np.zeros(self.words.shape, np.uint32))

    def states(self, step: int) -> tuple[State | None, State]:
        return (self._states[(step - 1) % 2] if step else None), self._states[step % 2]

    def reorder(self, kernels: mps.KernelSequence, step: int) -> None:
        """One sentence goes on with itself."""

    def choose(self, kernels: mps.KernelSequence, scores: mps.Matrix, step: int) -> None:
        kernels.add(self._kernels.top, [scores, self._rows[step], self.totals])


class BeamKernels:
    """Follows the sentences of the highest probability so far.

    A sentence that has ended goes on with ends that cost nothing, and with nothing else: so are
    its scores. As a sentence only becomes less likely with each word, the search is over when the
    best one has ended; that one stands in the first column.
    """

    def __init__(self, device: mps.Device, beam: int, words: int) -> None:
        self.device, self.beam, self.words = device, beam, words
        # Row i: the sentence and the word that candidate i stands for.
        candidates = np.stack(np.divmod(np.arange(beam * words), words), axis=1)
        self.candidates = mps.NDArray.from_array(device, candidates.astype(np.float32))
        self.ones = mps.Matrix.from_array(device, np.ones((1, words), np.float32))
        self.gather = mps.NDArrayGather(device, label="gather")
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

    def begin(self, steps: int, hidden: int) -> Search:
        """Sentences of so many steps, whose LSTM has so many outputs."""
        return _BeamSearch(self, steps, hidden)


class _BeamSearch:
    def __init__(self, kernels: BeamKernels, steps: int, hidden: int) -> None:
        self._kernels = kernels
        device, beam, words = kernels.device, kernels.beam, kernels.words
        self.words = integers(device, steps, beam)
        self.parents = integers(device, steps, beam)
        # All beginnings are equal: only the first counts.
        self._first = np.full((1, beam), IMPOSSIBLE, np.float32)
        self._first[0, 0] = 0.0
        self.totals = mps.Matrix.from_array(device, self._first)
        self._totals = mps.Matrix(self.totals.buffer, rows=beam, columns=1)
        self._parents = indices_of(self.parents)
        rows = zip(rows_of(self.parents), rows_of(self.words), strict=True)
        self._targets = [[parents, chosen] for parents, chosen in rows]
        # Steps run one after the other and share what is between their kernels.
        self._sums = mps.Matrix(device, rows=beam, columns=words)
        self._row = mps.Matrix(self._sums.buffer, rows=1, columns=beam * words)
        self._best = integers(device, 1, beam)
        (self._best_indices,) = indices_of(self._best)
        self._pairs = mps.Matrix(device, rows=beam, columns=2)
        self._pairs_array, self._both = array_of(self._pairs), [self._pairs, self._pairs]
        # The LSTM's state, and each sentence with that of the one it goes on with.
        self._made, self._chosen = (state_of(device, beam, hidden) for _ in range(2))
        self._moves = list(zip(arrays_of(self._made), arrays_of(self._chosen), strict=True))

    def clear(self) -> None:
        for matrix in (self.words, self.parents):
            matrix.write(np.zeros(matrix.shape, np.uint32))
        self.totals.write(self._first.reshape(self.totals.shape))

    def states(self, step: int) -> tuple[State | None, State]:
        return (self._chosen if step else None), self._made

    def reorder(self, kernels: mps.KernelSequence, step: int) -> None:
        if step:
            for made, chosen in self._moves:
                kernels.add(self._kernels.gather, [made, self._parents[step - 1], chosen])

    def choose(self, kernels: mps.KernelSequence, scores: mps.Matrix, step: int) -> None:
        made = self._kernels
        kernels.add(made.logarithms, [scores, self._sums])
        kernels.add(made.accumulate, [self._totals, made.ones, self._sums])
        kernels.add(made.top, [self._row, self._best, self.totals])
        kernels.add(made.gather, [made.candidates, self._best_indices, self._pairs_array])
        kernels.add(made.split, [self._both, self._targets[step], None, None, None])
