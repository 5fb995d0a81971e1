# SPDX-License-Identifier: MIT
"""The captioner's nets and loss in JAX, float64, written from their formulas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

Array = jax.Array
Parameters = Mapping[str, Array]


def features(parameters: Parameters, pictures: Array, stages: int) -> Array:
    """Pictures (N, H, W, 3) to vectors (N, embedding)."""
    x = pictures
    layers = [(f"convolution{stage}", 2) for stage in range(stages)] + [("context", 1)]
    for name, stride in layers:
        x = jax.lax.conv_general_dilated(
            x,
            parameters[f"{name}.weights"],
            (stride, stride),
            [(1, 1)] * 2,
            dimension_numbers=("NHWC", "OHWI", "NHWC"),
        )
        mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
        x = (x - mean) / jnp.sqrt(variance + 1e-5)
        x = jax.nn.relu(x * parameters[f"{name}.norm.gamma"] + parameters[f"{name}.norm.beta"])
    return jnp.einsum("nhwi,ohwi->no", x, parameters["vector.weights"]) + parameters["vector.bias"]


def log_likelihoods(parameters: Parameters, vector: Array, words: Sequence[int]) -> Array:
    """Logarithms of the probabilities of all words at each place of a sentence, (length, words)."""
    hidden = cell = jnp.zeros(parameters["input.u"].shape[0])
    rows = []
    for word in [0, *words[:-1]]:
        x = parameters["embedding"][word] + vector
        gates = {
            name: parameters[f"{name}.w"] @ x
            + parameters[f"{name}.u"] @ hidden
            + parameters[f"{name}.b"][0]
            for name in ("input", "forget", "cell", "output")
        }
        cell = jax.nn.sigmoid(gates["forget"]) * cell
        cell += jax.nn.sigmoid(gates["input"]) * jnp.tanh(gates["cell"])
        hidden = jax.nn.sigmoid(gates["output"]) * jnp.tanh(cell)
        scores = hidden @ parameters["classifier"] + parameters["classifier.b"][0]
        rows.append(jax.nn.log_softmax(scores))
    return jnp.stack(rows)


def losses(
    parameters: Parameters, pictures: Array, sentences: Sequence[Sequence[int]], stages: int
) -> Array:
    """Negative log-likelihood of each sentence over their number; the sum is the loss."""
    vectors = features(parameters, pictures, stages)
    values = [
        -log_likelihoods(parameters, vector, words)[jnp.arange(len(words)), jnp.array(words)].sum()
        for vector, words in zip(vectors, sentences, strict=True)
    ]
    return jnp.stack(values) / len(sentences)
