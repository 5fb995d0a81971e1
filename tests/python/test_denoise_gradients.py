# SPDX-License-Identifier: MIT
"""The denoiser's loss and all its gradients against JAX in float64, written from the formulas."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import mpsnn as mps
from mpsnn.apps.denoise import ModelOptions, build_training
from mpsnn.apps.denoise.model import INPUTS, LAPLACIAN_OF_GAUSSIAN, build_net

MODEL = ModelOptions(widths=(3, 4), convolutions=2, seed=4)
BATCH, EDGE = 2, 8
EDGE_WEIGHT = 0.7
Parameters = dict[str, dict[str, jax.Array]]


def convolved(x: jax.Array, weights: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, weights, (1, 1), "SAME", dimension_numbers=("NHWC", "OHWI", "NHWC")
    )


def doubled(x: jax.Array, axis: int) -> jax.Array:
    """Bilinear, without a shift: each second row is the mean of its neighbours."""
    index = np.arange(x.shape[axis])
    following = jnp.take(x, np.minimum(index + 1, len(index) - 1), axis)
    shape = (*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])
    return jnp.stack([x, (x + following) / 2], axis + 1).reshape(shape)


def denoised(p: Parameters, x: jax.Array) -> jax.Array:
    def layer(x: jax.Array, name: str) -> jax.Array:
        return convolved(x, p[name]["weights"]) + p[name]["bias"]

    def stage(x: jax.Array, name: str) -> jax.Array:
        for index in range(2):
            x = jax.nn.relu(layer(x, f"{name}.{index}"))
        return x

    skips = []
    for depth in range(2):
        x = stage(x, f"encoder{depth}")
        skips.append(x)
        n, h, w, c = x.shape
        x = x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
    x = stage(x, "bottleneck")
    for depth in (1, 0):
        x = stage(doubled(doubled(x, 1), 2) + skips[depth], f"decoder{depth}")
    return layer(x, "rgb")


def loss_of(p: Parameters, x: jax.Array, clean: jax.Array) -> jax.Array:
    error = denoised(p, x) - clean
    kernel = jnp.einsum("yx,oi->oyxi", jnp.asarray(LAPLACIAN_OF_GAUSSIAN), jnp.eye(3))
    return (error**2).mean() + EDGE_WEIGHT * (convolved(error, kernel) ** 2).mean()


def test_all_gradients_are_those_of_jax(device: mps.Device) -> None:
    net = build_net(MODEL, mps.OptimizerStochasticGradientDescent(1.0))
    graph = build_training(device, net, BATCH, (EDGE, EDGE), EDGE_WEIGHT)
    generator = np.random.Generator(np.random.Philox(3))
    for source in net.weights:  # no bias at zero, where a ReLU of zeros would have no slope
        shape = device.read_parameter(source, "bias").shape
        device.write_parameter(source, "bias", generator.uniform(0.05, 0.2, shape).astype("f4"))

    def parameters() -> dict[str, dict[str, np.ndarray]]:
        return {
            source.label: {
                name: device.read_parameter(source, name).astype(np.float64)
                for name in ("weights", "bias")
            }
            for source in net.weights
        }

    sources = {n: generator.random((BATCH, EDGE, EDGE, 4), np.float32) for n in INPUTS}
    clean = generator.random((BATCH, EDGE, EDGE, 3), np.float32)
    before = parameters()
    commands = mps.CommandBuffer(device.command_queue())
    loss = graph.encode(commands, {**sources, "clean": clean})["loss"]
    commands.commit()
    got = float(np.asarray(loss, np.float64).sum())
    after = parameters()
    with jax.enable_x64(True):
        doubles = jax.tree.map(lambda array: jnp.asarray(array, jnp.float64), before)
        joined = jnp.concatenate([jnp.asarray(sources[n], jnp.float64) for n in INPUTS], 3)
        wanted, gradients = jax.jit(jax.value_and_grad(loss_of))(
            doubles, joined, jnp.asarray(clean, jnp.float64)
        )
        gradients = jax.tree.map(np.asarray, gradients)
    np.testing.assert_allclose(got, float(wanted), rtol=1e-5)
    assert len(gradients) == len(net.weights) == 11
    for label, arrays in gradients.items():
        for name, gradient in arrays.items():
            largest = float(np.abs(gradient).max())
            assert largest > 1e-3, (label, name)
            error = np.abs(before[label][name] - after[label][name] - gradient).max()
            assert error < 1e-4 * largest + 1e-6, (label, name)
