# SPDX-License-Identifier: MIT
"""A training step on one command buffer: pictures and sentences in, new weights of both nets out.

The sentences of a batch are packed: sorted by length, all their first words, then all their second
words, and so on. A time step of the LSTM is a range of rows, shorter where sentences have ended, so
that nothing is computed behind an end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn.apps.caption.model import (
    GATES,
    DecoderSources,
    FeatureNet,
    ModelOptions,
    parameter_shapes,
)
from mpsnn.apps.caption.words import END

FloatArray = NDArray[np.float32]

ALIGNMENT = 16  # elements: 64 bytes


@dataclass(frozen=True)
class Packed:
    """The sentences of a batch, packed.

    Attributes:
        order: Numbers of the batch's pictures, the longest sentence first.
        inputs: The word before each word; the end stands for the beginning.
        targets: Each word, the end last.
        owners: Place in `order` of the sentence that each word belongs to.
        rows: Sentences that have a word at each time step.
    """

    order: NDArray[np.int64]
    inputs: NDArray[np.int32]
    targets: NDArray[np.int32]
    owners: NDArray[np.int32]
    rows: NDArray[np.int64]


def pack(sentences: Sequence[Sequence[int]]) -> Packed:
    """Packs sentences.

    Args:
        sentences: Numbers of words, each with the end as its last.

    Returns:
        The batch; equally long sentences keep their order.
    """
    lengths = np.array([len(sentence) for sentence in sentences])
    order = np.argsort(-lengths, kind="stable")
    rows = np.array([(lengths > step).sum() for step in range(lengths.max())])
    words = np.full((len(sentences), lengths.max() + 1), END, np.int32)
    for place, number in enumerate(order):
        words[place, 1 : lengths[number] + 1] = sentences[number]
    steps = range(len(rows))
    return Packed(
        order,
        np.concatenate([words[: rows[step], step] for step in steps]),
        np.concatenate([words[: rows[step], step + 1] for step in steps]),
        np.concatenate([np.arange(rows[step], dtype=np.int32) for step in steps]),
        rows,
    )


class FlatParameters:
    """The decoder's matrices in one buffer, so that one kernel updates all of them.

    Args:
        device: Where they are; zeros at first.
        shapes: Rows and columns by name.
    """

    def __init__(self, device: mps.Device, shapes: Mapping[str, tuple[int, int]]) -> None:
        self.shapes = dict(shapes)
        self._offsets: dict[str, int] = {}
        length = 0
        for name, shape in shapes.items():
            self._offsets[name] = length
            length += -(-math.prod(shape) // ALIGNMENT) * ALIGNMENT
        self.vector = mps.Vector(device, length=length)

    def matrix(self, name: str) -> mps.Matrix:
        """A view of one of them."""
        rows, columns = self.shapes[name]
        offset = 4 * self._offsets[name]
        return mps.Matrix(self.vector.buffer, rows=rows, columns=columns, offset=offset)

    def bias(self, name: str) -> mps.Vector:
        """A view of one of a single row, as a vector."""
        length = math.prod(self.shapes[name])
        return mps.Vector(self.vector.buffer, length=length, offset=4 * self._offsets[name])

    def array(self, name: str) -> mps.NDArray:
        """A view of one of them, as an array."""
        offset = 4 * self._offsets[name]
        return mps.NDArray(self.vector.buffer, shape=self.shapes[name], offset=offset)

    def lstm(self) -> list[mps.Matrix]:
        """Views of the LSTM's, in the order of its layer."""
        return [self.matrix(f"{gate}.{role}") for gate in GATES for role in ("w", "u", "b")]

    def read(self) -> dict[str, FloatArray]:
        """Copies of all by name."""
        return {name: np.array(self.matrix(name), np.float32) for name in self.shapes}

    def write(self, values: Mapping[str, FloatArray]) -> None:
        """Writes all by name."""
        for name in self.shapes:
            self.matrix(name).write(np.ascontiguousarray(values[name], np.float32))


class TrainingStep:
    """Records training steps.

    The loss is the mean over the batch's pictures of the sentence's negative log-likelihood.

    Args:
        device: Where it runs.
        features: The feature net; its data sources carry their optimizer.
        sources: The decoder's first weights.
        options: Sizes.
        adam: Updates the decoder's weights.
    """

    def __init__(
        self,
        device: mps.Device,
        features: FeatureNet,
        sources: DecoderSources,
        options: ModelOptions,
        adam: mps.OptimizerAdamUpdate,
    ) -> None:
        self.device, self.features, self.sources, self.adam = device, features, sources, adam
        self.options = options
        values = sources.read(device)
        self.words = len(values["embedding"])
        shapes = parameter_shapes(options, self.words)
        self.weights, self.gradients, self.momentum, self.velocity = (
            FlatParameters(device, shapes) for _ in range(4)
        )
        self.weights.write(values)
        self._lstm = mps.RNNMatrixTrainingLayer(device, sources.lstm(options))
        identity = np.eye(self.words, dtype=np.float32)
        self._one_hot = mps.NDArray.from_array(device, identity)
        self._gather = mps.NDArrayGather(device, label="gather")
        self._scatter = mps.NDArrayGatherGradient(device, label="scatter")
        self._sum = mps.MatrixSum(device, count=2, label="sum")
        self._classify = mps.MatrixFullyConnected(device, label="classifier")
        self._classify_back = mps.MatrixFullyConnectedGradient(device, label="classifier back")

    def encode(self, commands: mps.CommandBuffer, head: FloatArray, packed: Packed) -> mps.Matrix:
        """Records a step.

        Args:
            commands: Where it is recorded.
            head: What the feature net's trained part takes, in the order of the packed sentences.
            packed: The sentences.

        Returns:
            The loss, one value a picture, (N, 1); their sum is the batch's.
        """
        gradient, loss = self.encode_decoder(commands, self.encode_head(commands, head), packed)
        vector_gradient = mps.Image(self.device, size=(len(head), 1, 1, self.options.embedding))
        mps.MatrixCopyToImage(self.device).encode(commands, gradient, vector_gradient)
        images: dict[str, FloatArray | mps.Image] = {"head": head, "gradient": vector_gradient}
        self.features.training.encode(commands, images)
        self.adam.encode(
            commands,
            self.gradients.vector,
            self.weights.vector,
            self.weights.vector,
            self.momentum.vector,
            self.velocity.vector,
        )
        return loss

    def encode_head(self, commands: mps.CommandBuffer, head: FloatArray) -> mps.Matrix:
        """Records the feature net forward: a row a picture."""
        vectors = self.features.head.encode(commands, {"head": head})["vector"]
        rows = self._matrix(len(head), self.options.embedding)
        mps.ImageCopyToMatrix(self.device).encode(commands, vectors, rows)
        return rows

    def encode_decoder(
        self, commands: mps.CommandBuffer, pictures: mps.Matrix, packed: Packed
    ) -> tuple[mps.Matrix, mps.Matrix]:
        """Records the decoder forward and back; the weights' gradients go to `gradients`.

        Args:
            commands: Where it is recorded.
            pictures: The pictures' vectors, a row each.
            packed: The sentences.

        Returns:
            The gradient of `pictures`, and the loss of each.
        """
        options, weights, total = self.options, self.weights, len(packed.targets)
        inputs, targets, owners = (
            mps.NDArray.from_array(self.device, numbers)
            for numbers in (packed.inputs, packed.targets, packed.owners)
        )
        words, repeated, x, x_gradient = (self._matrix(total, options.embedding) for _ in range(4))
        self._gather.encode(commands, weights.array("embedding"), inputs, _array(words))
        self._gather.encode(commands, _array(pictures), owners, _array(repeated))
        self._sum.encode(commands, [words, repeated], x)
        hidden, hidden_gradient = (self._matrix(total, options.hidden) for _ in range(2))
        x_steps, steps, lstm = (_steps(x, packed), _steps(hidden, packed), weights.lstm())
        states, _ = self._lstm.encode_forward_sequence(commands, x_steps, steps, lstm)
        scores_gradient, word_loss = self._encode_loss(commands, hidden, targets, len(packed.order))
        self._classify_back.encode_gradient_for_data(
            commands, scores_gradient, weights.matrix("classifier"), hidden_gradient
        )
        self._classify_back.encode_gradient_for_weights_and_bias(
            commands,
            scores_gradient,
            hidden,
            self.gradients.matrix("classifier"),
            self.gradients.bias("classifier.b"),
        )
        self._lstm.encode_gradient_sequence(
            commands,
            x_steps,
            _steps(hidden_gradient, packed),
            _steps(x_gradient, packed),
            self.gradients.lstm(),
            states,
            lstm,
        )
        embedding = self.gradients.array("embedding")
        self._scatter.encode(commands, _array(x_gradient), inputs, embedding)
        gradient = self._matrix(len(packed.order), options.embedding)
        self._scatter.encode(commands, _array(x_gradient), owners, _array(gradient))
        loss = self._matrix(len(packed.order), 1)
        self._scatter.encode(commands, _array(word_loss), owners, _array(loss))
        return gradient, loss

    def _encode_loss(
        self, commands: mps.CommandBuffer, hidden: mps.Matrix, targets: mps.NDArray, count: int
    ) -> tuple[mps.Matrix, mps.Matrix]:
        """Softmax and cross entropy of each word: the scores' gradient, and the loss."""
        device, total = self.device, hidden.rows
        scores, likelihoods, probabilities, labels, gradient = (
            self._matrix(total, self.words) for _ in range(5)
        )
        weights = self.weights
        self._classify.encode(
            commands, hidden, weights.matrix("classifier"), scores, weights.bias("classifier.b")
        )
        mps.MatrixLogSoftMax(device).encode(commands, scores, likelihoods)
        mps.MatrixSoftMax(device).encode(commands, scores, probabilities)
        self._gather.encode(commands, self._one_hot, targets, _array(labels))
        scale = mps.Vector.from_array(device, np.array([1 / count, -1 / count], np.float32))
        self._sum.encode(commands, [probabilities, labels], gradient, scale)
        loss = self._matrix(total, 1)
        # A product of a row and a column for each word.
        mps.MatrixMultiplication(device, alpha=-1 / count).encode(
            commands,
            mps.Matrix(likelihoods.buffer, rows=1, columns=self.words, matrices=total),
            mps.Matrix(labels.buffer, rows=self.words, columns=1, matrices=total),
            mps.Matrix(loss.buffer, rows=1, columns=1, matrices=total),
        )
        return gradient, loss

    def publish(self) -> None:
        """Gives the decoder's data sources the weights that were trained."""
        self.sources.write(self.device, self.weights.read())

    def _matrix(self, rows: int, columns: int) -> mps.Matrix:
        return mps.Matrix(self.device, rows=rows, columns=columns)


def _array(matrix: mps.Matrix) -> mps.NDArray:
    return mps.NDArray(matrix.buffer, shape=(matrix.rows, matrix.columns))


def _steps(matrix: mps.Matrix, packed: Packed) -> list[mps.Matrix]:
    """The rows of each time step, over the same memory."""
    views, first = [], 0
    for rows in packed.rows:
        offset = first * matrix.row_bytes
        views.append(
            mps.Matrix(matrix.buffer, rows=int(rows), columns=matrix.columns, offset=offset)
        )
        first += int(rows)
    return views
