# SPDX-License-Identifier: MIT
"""From a picture's vector to words: all steps recorded ahead, ended by predicates on the device.

The word that a step chose is the predicate of the next one. The end of a sentence has the number 0,
so that the kernel that chooses it switches off all steps behind it; their words stay 0, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn.apps.caption.model import DecoderSources, ModelOptions
from mpsnn.apps.caption.search import (
    IMPOSSIBLE,
    BeamKernels,
    GreedyKernels,
    array_of,
    columns_of,
    indices_of,
)
from mpsnn.apps.caption.words import END, STEPS

FloatArray = NDArray[np.float32]

MARKS = 4  # columns, so that what follows stays aligned; only the first one marks
FIRST_STEPS = 2  # handed over together where pieces are asked for; each piece has twice as many


def check_beam(beam: int, words: int) -> None:
    """Tells whether so many sentences can be followed.

    Args:
        beam: Their number.
        words: Those of the vocabulary, the end among them.

    Raises:
        InvalidArgumentError: A beam below 1, or wider than there are words.
    """
    if not 1 <= beam <= words:
        raise mps.InvalidArgumentError(
            f"beam: expected 1 to {words}, the number of words, got {beam}"
        )


@dataclass
class Recording:
    """A sentence that was recorded, for when its command buffer has completed.

    Attributes:
        words: Chosen by each step, a column a sentence of the beam; 0 behind the end.
        parents: Column of the step before that each word follows; None: greedy, there is one.
        scores: Logarithm of the sentences' probabilities, the best first; greedy: the last score.
        steps: How many were recorded.
    """

    words: mps.Matrix
    parents: mps.Matrix | None
    scores: mps.Matrix
    steps: int
    _give_back: Callable[[], None] | None = field(repr=False)

    def release(self) -> None:
        """Lends the memory to a later sentence; without, it is freed with the recording.

        Call it when the command buffer has completed and all was read: the recording is no longer
        to be used.
        """
        if self._give_back is not None:
            self._give_back()
        self._give_back = None

    def numbers(self) -> list[int]:
        """The best sentence's words up to the end, the end not among them."""
        words = np.asarray(self.words)
        executed = self.executed
        if self.parents is None:
            numbers = [int(word) for word in words[:executed, 0]]
        else:
            parents, column, numbers = np.asarray(self.parents), 0, []
            for step in reversed(range(executed)):
                numbers.append(int(words[step, column]))
                column = int(parents[step, column])
            numbers.reverse()
        return numbers[: numbers.index(END)] if END in numbers else numbers

    @property
    def executed(self) -> int:
        """Steps that ran."""
        first = np.asarray(self.words)[:, 0]
        ends = np.flatnonzero(first == END)
        return int(ends[0]) + 1 if len(ends) else self.steps

    @property
    def skipped(self) -> int:
        """Steps that their predicates switched off."""
        return self.steps - self.executed


class Decoder:
    """Records sentences on command buffers.

    Args:
        device: Where it runs.
        sources: The weights; those that the device has when a decoder is made.
        options: Their sizes.
        beam: Sentences that are followed at once; 1: greedy.

    Raises:
        InvalidArgumentError: A beam below 1, or wider than there are words.
    """

    def __init__(
        self, device: mps.Device, sources: DecoderSources, options: ModelOptions, beam: int = 1
    ) -> None:
        values = sources.read(device)
        words = len(values["embedding"])
        check_beam(beam, words)
        self.device, self.sources, self.options = device, sources, options
        self.beam, self.words = beam, words
        self._lstm = mps.RNNMatrixInferenceLayer(device, sources.lstm(options))
        self._embedding = mps.NDArray.from_array(device, _marked_embedding(values["embedding"]))
        self._classifier = mps.Matrix.from_array(device, _marked_classifier(values["classifier"]))
        self._bias = mps.Vector.from_array(device, values["classifier.b"].reshape(-1))
        self._gather = mps.NDArrayGather(device, label="gather")
        self._add_vector = mps.MatrixNeuron(device, label="add the picture")
        self._scores = mps.MatrixFullyConnected(device, label="classifier")
        self.kernels = GreedyKernels(device) if beam == 1 else BeamKernels(device, beam, words)
        self._to_matrix = mps.ImageCopyToMatrix(device, label="picture")
        beginnings = np.full((1, beam), words, np.uint32)
        (self._beginnings,) = indices_of(mps.Matrix.from_array(device, beginnings))
        self._free: list[_Room] = []

    def encode(
        self,
        commands: mps.CommandBuffer,
        vector: mps.Image,
        *,
        steps: int = STEPS,
        predicated: bool = True,
        pieces: bool = False,
    ) -> Recording:
        """Records a sentence.

        Args:
            commands: Where it is recorded.
            vector: The picture's, (1, 1, 1, embedding).
            steps: How many are recorded.
            predicated: Each step runs only if the one before did not choose the end.
            pieces: Hand over what was recorded before, the first steps, and then twice as many
                each time, so that the device begins while the host records.

        Returns:
            What can be read when the command buffer has completed.
        """
        commands = mps.CommandBuffer.wrap(commands)  # its predicate adds to those around
        if pieces:
            commands.commit_and_continue()
        room = self._room(steps)
        search = room.search
        self._to_matrix.encode(commands, vector, room.picture)
        piece, handed = FIRST_STEPS, 0
        for step in range(steps):
            if predicated and step:
                commands.predicate = room.predicates[step - 1]
            room.before[step].encode(commands)
            before, behind = search.states(step)
            self._lstm.encode_sequence(
                commands, room.sources, room.destinations, before, recurrent_output_states=[behind]
            )
            room.behind[step].encode(commands)
            if pieces and step + 1 == handed + piece and step + 1 < steps:
                commands.commit_and_continue()
                handed, piece = step + 1, 2 * piece
        return Recording(search.words, search.parents, search.totals, steps, room.release)

    def before(self, room: _Room, step: int) -> mps.KernelSequence:
        """What a step does before the LSTM: from the words before to its source and state."""
        kernels = mps.KernelSequence(self.device, "before the LSTM")
        room.search.reorder(kernels, step)
        words = room.words[step - 1] if step else self._beginnings
        kernels.add(self._gather, [self._embedding, words, room.inputs])
        kernels.add(self._add_vector, [room.x, room.x, room.bias])
        return kernels

    def behind(self, room: _Room, step: int) -> mps.KernelSequence:
        """What it does behind it: from the LSTM's outputs to the words that follow."""
        kernels = mps.KernelSequence(self.device, "behind the LSTM")
        kernels.add(self._scores, [room.marked, self._classifier, room.scores, self._bias])
        room.search.choose(kernels, room.scores, step)
        return kernels

    def _room(self, steps: int) -> _Room:
        """One that was released, or a new one."""
        for index, room in enumerate(self._free):
            if room.search.words.rows == steps:
                del self._free[index]
                return room
        return _Room(self, steps, self._free)


def _marked_embedding(embedding: FloatArray) -> FloatArray:
    """Before each word's vector a mark: 1 for the end. One row more, the beginning: no mark.

    One kernel then gathers both.
    """
    words, size = embedding.shape
    table = np.zeros((words + 1, MARKS + size), np.float32)
    table[:-1, MARKS:] = embedding
    table[-1] = table[END]  # the same vector
    table[END, 0] = 1.0
    return table


def _marked_classifier(classifier: FloatArray) -> FloatArray:
    """Below the LSTM's outputs the mark: a sentence that has ended goes on with ends only."""
    hidden, words = classifier.shape
    weights = np.zeros((hidden + MARKS, words), np.float32)
    weights[:hidden] = classifier
    weights[hidden] = IMPOSSIBLE
    weights[hidden, END] = 0.0
    return weights


class _Room:
    """The memory of a sentence and its views. All steps share it: they run one after the other.

    A row a sentence of the beam: the LSTM's output, the mark of the word before, and the LSTM's
    input. Output and mark together are the classifier's source.
    """

    def __init__(self, decoder: Decoder, steps: int, free: list[_Room]) -> None:
        device, options, beam = decoder.device, decoder.options, decoder.beam
        self._free = free
        self.picture = mps.Matrix(device, rows=1, columns=options.embedding)
        self.bias = mps.Vector(self.picture.buffer, length=options.embedding)
        rows = mps.Matrix(device, rows=beam, columns=options.hidden + MARKS + options.embedding)
        self.y = columns_of(rows, 0, options.hidden)
        self.marked = columns_of(rows, 0, options.hidden + MARKS)
        self.x = columns_of(rows, options.hidden + MARKS, options.embedding)
        self.inputs = array_of(columns_of(rows, options.hidden, MARKS + options.embedding))
        self.sources, self.destinations = [self.x], [self.y]
        self.scores = mps.Matrix(device, rows=beam, columns=decoder.words)
        self.search = decoder.kernels.begin(steps, options.hidden)
        chosen = self.search.words
        self.words = indices_of(chosen)
        self.predicates = [
            mps.Predicate(chosen.buffer, row * chosen.row_bytes) for row in range(chosen.rows)
        ]
        self.before = [decoder.before(self, step) for step in range(steps)]
        self.behind = [decoder.behind(self, step) for step in range(steps)]

    def release(self) -> None:
        """Serves the next sentence."""
        self.search.clear()
        self._free.append(self)
