# SPDX-License-Identifier: MIT
"""The example of transfer learning: loss and gradients against JAX in float64, by the formulas."""

from __future__ import annotations

from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

import mpsnn as mps

BATCH = 4
WIDTHS = (1, 3, 4, 5)
HIDDEN = 6
Parameters = dict[str, dict[str, jax.Array]]


def layer(
    label: str, kernel: int, inputs: int, outputs: int, generator: np.random.Generator
) -> mps.ConvolutionDataSource:
    """Weights that become smaller by their gradients."""
    shape = (outputs, kernel, kernel, inputs)
    return mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(kernel, kernel, inputs, outputs),
        generator.normal(0, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32),
        generator.uniform(0.05, 0.2, outputs).astype(np.float32),
        label,
        mps.OptimizerStochasticGradientDescent(1.0),
    )


def loss_of(p: Parameters, pictures: jax.Array, labels: jax.Array, batch: int) -> jax.Array:
    x = pictures
    for index in range(3):
        x = jax.lax.conv_general_dilated(
            x,
            p[f"body.{index}"]["weights"],
            (1, 1),
            [(1, 1)] * 2,
            dimension_numbers=("NHWC", "OHWI", "NHWC"),
        )
        x = jax.nn.relu(x + p[f"body.{index}"]["bias"])
        if index > 0:
            n, h, w, c = x.shape
            x = x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
    x = jnp.einsum("nhwi,ohwi->no", x, p["hidden"]["weights"]) + p["hidden"]["bias"]
    x = jax.nn.relu(x) @ p["classes"]["weights"][:, 0, 0].T + p["classes"]["bias"]
    return -(labels * jax.nn.log_softmax(x)).sum() / batch


@pytest.mark.parametrize("only_last", [False, True])
def test_all_gradients_are_those_of_jax(
    transfer_learning: ModuleType, device: mps.Device, only_last: bool
) -> None:
    example, generator = transfer_learning, np.random.default_rng(2)
    net = example.Net(
        [layer(f"body.{i}", 3, WIDTHS[i], WIDTHS[i + 1], generator) for i in range(3)],
        [
            layer("hidden", example.EDGE // 4, WIDTHS[-1], HIDDEN, generator),
            layer("classes", 1, HIDDEN, example.CLASSES, generator),
        ],
    )
    graph = example.training(device, net, only_last=only_last)
    pictures = generator.random((BATCH, example.EDGE, example.EDGE, 1), np.float32)
    labels = np.eye(example.CLASSES, dtype=np.float32)[generator.integers(0, 5, BATCH)]

    def parameters() -> dict[str, dict[str, NDArray[np.float64]]]:
        return {
            source.label: {
                name: np.array(device.read_parameter(source, name), np.float64)
                for name in ("weights", "bias")
            }
            for source in (*net.body, *net.last)
        }

    before = parameters()
    commands = mps.CommandBuffer(device.command_queue())
    sources = {"pictures": pictures, "labels": labels.reshape(BATCH, 1, 1, -1)}
    loss = graph.encode(commands, sources)["loss"]
    commands.commit()
    found = float(np.asarray(loss, np.float64).sum())
    after = parameters()
    with jax.enable_x64(True):
        arrays = [jnp.asarray(array, jnp.float64) for array in (pictures, labels)]
        doubles = jax.tree.map(lambda array: jnp.asarray(array, jnp.float64), before)
        wanted, gradients = jax.jit(jax.value_and_grad(loss_of), static_argnums=3)(
            doubles, *arrays, example.BATCH
        )
        gradients = jax.tree.map(np.asarray, gradients)
    assert found == pytest.approx(float(wanted), rel=1e-5)
    assert len(gradients) == 5
    for label, values in gradients.items():
        for name, gradient in values.items():
            change = before[label][name] - after[label][name]
            if only_last and label.startswith("body"):
                assert not change.any(), (label, name)
                continue
            largest = float(np.abs(gradient).max())
            assert largest > 1e-4, (label, name)
            # The difference of two rounded weights of up to 1.
            assert np.abs(change - gradient).max() < 1e-5 * largest + 2e-7, (label, name)
