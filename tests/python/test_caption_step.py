# SPDX-License-Identifier: MIT
"""The captioner's training step: packed sentences, the loss and all gradients against JAX."""

from __future__ import annotations

import caption_jax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn.apps.caption.model import (
    DecoderSources,
    ModelOptions,
    build_features,
    first_parameters,
)
from mpsnn.apps.caption.step import TrainingStep, pack

jax.config.update("jax_enable_x64", True)

OPTIONS = ModelOptions(size=8, widths=(4,), embedding=5, hidden=6, seed=3)
WORDS = 7
SENTENCES = [[1, 2, 0], [3, 4, 5, 6, 0], [2, 0], [6, 1, 0]]


def test_packed_sentences() -> None:
    packed = pack(SENTENCES)
    assert packed.order.tolist() == [1, 0, 3, 2]
    assert packed.rows.tolist() == [4, 4, 3, 1, 1]
    assert packed.inputs.tolist() == [0, 0, 0, 0, 3, 1, 6, 2, 4, 2, 1, 5, 6]
    assert packed.targets.tolist() == [3, 1, 6, 2, 4, 2, 1, 0, 5, 0, 0, 6, 0]
    assert packed.owners.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 0, 0]


def make_step(device: mps.Device, rate: float) -> TrainingStep:
    """A step in which the feature net's weights become smaller by rate times their gradients."""
    descent = mps.OptimizerStochasticGradientDescent(mps.OptimizerDescriptor(rate))
    net = build_features(device, OPTIONS, descent)
    generator = np.random.default_rng(5)
    values = {
        name: value + generator.normal(0, 0.3, value.shape).astype(np.float32)
        for name, value in first_parameters(OPTIONS, WORDS).items()
    }
    adam = mps.OptimizerAdamUpdate(device, learning_rate=0.01)
    return TrainingStep(device, net, DecoderSources.from_parameters(values), OPTIONS, adam)


def feature_weights(step: TrainingStep) -> dict[str, NDArray[np.float32]]:
    return {
        f"{source.label}.{name}": np.array(step.device.read_parameter(source, name))
        for source in step.features.training.data_sources
        for name in source.parameters
        if name in ("weights", "bias", "gamma", "beta")
    }


def test_loss_and_gradients_are_those_of_jax(cpu: mps.Device) -> None:
    rate = 1.0
    step = make_step(cpu, rate)
    pictures = np.random.default_rng(1).uniform(-1, 1, (4, 8, 8, 3)).astype(np.float32)
    packed = pack(SENTENCES)
    before = feature_weights(step)
    doubles = {
        name: jnp.asarray(value, jnp.float64)
        for name, value in {**before, **step.weights.read()}.items()
    }
    commands = mps.CommandBuffer(cpu.command_queue())
    loss = step.encode(commands, np.ascontiguousarray(pictures[packed.order]), packed)
    commands.commit()

    def total(parameters: dict[str, jax.Array]) -> jax.Array:
        values = caption_jax.losses(parameters, jnp.asarray(pictures, jnp.float64), SENTENCES, 1)
        return values.sum()

    expected = caption_jax.losses(doubles, jnp.asarray(pictures, jnp.float64), SENTENCES, 1)
    assert np.asarray(loss)[:, 0] == pytest.approx(np.asarray(expected)[packed.order], rel=2e-6)
    gradients = jax.grad(total)(doubles)
    found = step.gradients.read()
    after = feature_weights(step)
    for name, gradient in gradients.items():
        if name in found:
            got, bound = found[name].astype(np.float64), 2e-6
        else:
            got = (before[name].astype(np.float64) - after[name]) / rate
            bound = 5e-6  # the difference of two rounded weights
        scale = float(np.abs(gradient).max())
        assert scale > 1e-4, name
        assert np.abs(got - np.asarray(gradient)).max() < bound * max(scale, 1.0), name
