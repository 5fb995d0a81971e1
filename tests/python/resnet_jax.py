# SPDX-License-Identifier: MIT
"""Residual nets in JAX, float64, written from the papers' formulas; the oracle of mpsnn.models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

Array = jax.Array
Parameters = Mapping[str, Array]

EPSILON = 1e-5


class Forward:
    """One run of the net; keeps what the blocks make and the statistics of the batch.

    Args:
        parameters: "<layer>.weights" OHWI, "<layer>.gamma" … by torchvision's layer names.
        training: Normalise by the batch's statistics, not the stored ones.
    """

    def __init__(self, parameters: Parameters, *, training: bool) -> None:
        self._parameters, self._training = parameters, training
        self.blocks: dict[str, Array] = {}
        self.statistics: dict[str, tuple[Array, Array]] = {}

    def __call__(self, images: Array, blocks: Sequence[int], stem: str) -> Array:
        """Pictures (N, H, W, 3) to logits (N, classes)."""
        small = stem == "cifar"
        x = self.convolution(images, "conv1", 1 if small else 2)
        x = jax.nn.relu(self.normalization(x, "bn1"))
        if not small:
            border = ((0, 0), (1, 1), (1, 1), (0, 0))
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), border)
        self.blocks["stem"] = x
        for stage, count in enumerate(blocks):
            for block in range(count):
                name = f"layer{stage + 1}.{block}"
                x = self.bottleneck(x, name, 2 if stage > 0 and block == 0 else 1)
                self.blocks[name] = x
        weights = self._parameters["fc.weights"][:, 0, 0]
        return x.mean((1, 2)) @ weights.T + self._parameters["fc.bias"]

    def bottleneck(self, x: Array, name: str, stride: int) -> Array:
        """1 x 1, 3 x 3 with the stride, 1 x 1; plus the source, projected where it must be."""
        y = jax.nn.relu(self.normalization(self.convolution(x, f"{name}.conv1"), f"{name}.bn1"))
        y = self.convolution(y, f"{name}.conv2", stride)
        y = jax.nn.relu(self.normalization(y, f"{name}.bn2"))
        y = self.normalization(self.convolution(y, f"{name}.conv3"), f"{name}.bn3")
        if f"{name}.downsample.0.weights" in self._parameters:
            x = self.convolution(x, f"{name}.downsample.0", stride)
            x = self.normalization(x, f"{name}.downsample.1")
        return jax.nn.relu(y + x)

    def convolution(self, x: Array, name: str, stride: int = 1) -> Array:
        """Zeros around: half of the kernel, rounded down, on all sides."""
        weights = self._parameters[f"{name}.weights"]
        margin = weights.shape[1] // 2
        return jax.lax.conv_general_dilated(
            x,
            weights,
            (stride, stride),
            [(margin, margin)] * 2,
            dimension_numbers=("NHWC", "OHWI", "NHWC"),
        )

    def normalization(self, x: Array, name: str) -> Array:
        """(x - mean) / sqrt(variance + epsilon) * gamma + beta, a channel at a time."""
        if self._training:
            mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
            self.statistics[name] = mean, variance
        else:
            mean = self._parameters[f"{name}.mean"]
            variance = self._parameters[f"{name}.variance"]
        gamma, beta = self._parameters[f"{name}.gamma"], self._parameters[f"{name}.beta"]
        return (x - mean) / jnp.sqrt(variance + EPSILON) * gamma + beta


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Mean over the pictures; labels (N, classes)."""
    return -(labels * jax.nn.log_softmax(logits)).sum(1).mean()
