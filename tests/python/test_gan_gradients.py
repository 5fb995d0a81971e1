# SPDX-License-Identifier: MIT
"""The graphs that train generator, discriminator and judge: their gradients against JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mpsnn as mps
from mpsnn.apps.gan import ModelOptions, Nets
from mpsnn.apps.gan.data import one_hot
from mpsnn.apps.gan.model import EPSILON, LEAK
from mpsnn.apps.gan.quality import ClassifierNet

SMALL = ModelOptions(edge=8, latent=4, width=2, dropout=0.0, seed=5)
BATCH = 4
WEIGHTS = ("weights", "bias")
NORMS = ("gamma", "beta")

Parameters = dict[str, dict[str, jax.Array]]


class Small:
    """Nets with weights large enough that gradients are, and an optimizer that shows them."""

    def __init__(self, device: mps.Device) -> None:
        self.device = device
        self.nets = Nets(SMALL, *(mps.OptimizerStochasticGradientDescent(1.0) for _ in range(2)))
        generator = np.random.Generator(np.random.Philox(9))
        self.sources = {
            "generator": self.nets.generator,
            "norms": self.nets.norms,
            "discriminator": self.nets.discriminator,
            "discriminator norms": self.nets.discriminator_norms,
        }
        self.arrays = {
            "latent": generator.standard_normal((BATCH, 1, 1, SMALL.latent), np.float32),
            "real": generator.uniform(-1, 1, (BATCH, 8, 8, 1)).astype(np.float32),
            "fake labels": np.zeros((BATCH, 1, 1, 1), np.float32),
            "real labels": np.full((BATCH, 1, 1, 1), 0.9, np.float32),
            "digits": one_hot(np.array([3, 0, 9, 3])),
        }
        for kind, _, source in self.each():
            for parameter in NORMS if kind.endswith("norms") else WEIGHTS:
                shape = device.read_parameter(source, parameter).shape
                scale = 0.5 if parameter in WEIGHTS else 0.2
                values = generator.standard_normal(shape, np.float32) * np.float32(scale)
                values += np.float32(parameter == "gamma")
                device.write_parameter(source, parameter, values)

    def each(self) -> list[tuple[str, str, mps.DataSource]]:
        """Kind, name and data source."""
        return [(k, n, s) for k, sources in self.sources.items() for n, s in sources.items()]

    def parameters(self) -> dict[str, Parameters]:
        """What JAX takes."""
        read = self.device.read_parameter
        return {
            kind: {
                name: {
                    p: jnp.asarray(read(source, p), jnp.float64)
                    for p in (NORMS if kind.endswith("norms") else WEIGHTS)
                }
                for name, source in sources.items()
            }
            for kind, sources in self.sources.items()
        }

    def run(self, graph: mps.Graph) -> float:
        """One step; its loss."""
        commands = mps.CommandBuffer(self.device.command_queue())
        sources = {name: self.arrays[name] for name in graph.source_handles}
        outputs = graph.encode(commands, sources)
        commands.commit()
        return float(np.asarray(outputs["loss"], np.float64).sum())


def convolved(
    x: jax.Array, layer: dict[str, jax.Array], stride: int, pad: int, stuffed: int = 1
) -> jax.Array:
    """Correlation with OHWI weights; `stuffed` - 1 zeros between the pixels."""
    result = jax.lax.conv_general_dilated(
        x,
        layer["weights"],
        (stride, stride),
        ((pad, pad), (pad, pad)),
        lhs_dilation=(stuffed, stuffed),
        dimension_numbers=("NHWC", "OHWI", "NHWC"),
    )
    return result + layer["bias"]


def normalised(x: jax.Array, norm: dict[str, jax.Array]) -> jax.Array:
    """With the statistics of the batch."""
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return norm["gamma"] * (x - mean) / jnp.sqrt(variance + EPSILON) + norm["beta"]


def drawn(parameters: dict[str, Parameters], arrays: dict[str, jax.Array]) -> jax.Array:
    """The generator with the statistics of the batch."""
    x = jnp.concatenate([arrays["latent"], arrays["digits"]], 3)
    for name in ("start", "first.up", "second.up"):  # JAX sorts its keys
        layer = parameters["generator"][name]
        kernel = layer["weights"].shape[1]
        pad, stuffed = (kernel - 1, 1) if name == "start" else (kernel - 2, 2)
        x = convolved(x, layer, 1, pad, stuffed)
        if name in parameters["norms"]:
            x = jax.nn.relu(normalised(x, parameters["norms"][name]))
    return jnp.tanh(x)


def judged(parameters: dict[str, Parameters], x: jax.Array, digits: jax.Array) -> jax.Array:
    """The discriminator."""
    for name in ("first.down", "second.down"):
        x = convolved(x, parameters["discriminator"][name], 2, 1)
        if name in parameters["discriminator norms"]:
            x = normalised(x, parameters["discriminator norms"][name])
        x = jnp.where(x > 0, x, LEAK * x)
    x = convolved(x, parameters["discriminator"]["last"], 1, 0)
    return (x * digits).sum(3, keepdims=True)


def entropy(answer: jax.Array, label: float) -> jax.Array:
    """Mean sigmoid cross entropy."""
    p = jax.nn.sigmoid(answer)
    return -jnp.mean(label * jnp.log(p) + (1 - label) * jnp.log(1 - p))


def discriminator_loss(
    parameters: dict[str, Parameters], arrays: dict[str, jax.Array]
) -> jax.Array:
    fake = judged(parameters, drawn(parameters, arrays), arrays["digits"])
    real = judged(parameters, arrays["real"], arrays["digits"])
    return entropy(fake, 0.0) + entropy(real, 0.9)


def generator_loss(parameters: dict[str, Parameters], arrays: dict[str, jax.Array]) -> jax.Array:
    fake = judged(parameters, drawn(parameters, arrays), arrays["digits"])
    return entropy(fake, 0.9)


@pytest.mark.parametrize("step", ["discriminator", "generator"])
def test_steps_have_the_gradients_of_jax(device: mps.Device, step: str) -> None:
    small = Small(device)
    if step == "discriminator":
        graph, loss, trained = (
            small.nets.discriminator_training(device, BATCH),
            discriminator_loss,
            {step, "discriminator norms"},
        )
    else:
        graph, loss = small.nets.generator_training(device, BATCH), generator_loss
        trained = {"generator", "norms"}
    with jax.enable_x64(True):
        before = small.parameters()
        arrays = {name: jnp.asarray(a, jnp.float64) for name, a in small.arrays.items()}
        expected, gradients = jax.jit(jax.value_and_grad(loss))(before, arrays)
        got = small.run(graph)
        after = small.parameters()
        np.testing.assert_allclose(got, float(expected), rtol=1e-5)
        for kind, name, _ in small.each():
            for parameter, old in before[kind][name].items():
                new = after[kind][name][parameter]
                where = f"{kind} {name} {parameter}"
                if kind not in trained:
                    assert np.array_equal(old, new), where
                    continue
                wanted = np.asarray(gradients[kind][name][parameter])
                # A bias that a normalisation takes off again has no gradient; all others do.
                normalised_away = parameter == "bias" and (
                    name in before["norms"] or name in before["discriminator norms"]
                )
                assert normalised_away or np.abs(wanted).max() > 1e-3, where
                bound = 1e-5 * max(1.0, float(np.abs(old).max()))  # the difference of two floats
                np.testing.assert_allclose(
                    np.asarray(old - new), wanted, rtol=1e-3, atol=bound, err_msg=where
                )


def answered(weights: list[dict[str, jax.Array]], x: jax.Array) -> jax.Array:
    """The judge before its softmax."""
    *layers, last = weights
    for layer in layers:
        x = jax.nn.relu(convolved(x, layer, 1, 1))
        count, height, width, channels = x.shape
        x = x.reshape(count, height // 2, 2, width // 2, 2, channels).max((2, 4))
    return convolved(x, last, 1, 0)


def test_the_judges_step_has_the_gradients_of_jax(device: mps.Device) -> None:
    net = ClassifierNet(8, mps.OptimizerStochasticGradientDescent(1.0), 3)
    step = net.training(device, BATCH)
    generator = np.random.Generator(np.random.Philox(4))
    for source in net.weights:
        channels = source.descriptor.output_feature_channels
        bias = generator.standard_normal(channels, np.float32) * np.float32(0.2)
        device.write_parameter(source, "bias", bias)
    pictures = generator.uniform(-1, 1, (BATCH, 8, 8, 1)).astype(np.float32)
    labels = one_hot(np.array([3, 0, 9, 3]))

    def parameters() -> list[dict[str, jax.Array]]:
        read = device.read_parameter
        return [{p: jnp.asarray(read(s, p), jnp.float64) for p in WEIGHTS} for s in net.weights]

    def loss(weights: list[dict[str, jax.Array]], x: jax.Array, wanted: jax.Array) -> jax.Array:
        return -(wanted * jax.nn.log_softmax(answered(weights, x), 3)).sum() / BATCH

    with jax.enable_x64(True):
        before = parameters()
        arrays = (jnp.asarray(array, jnp.float64) for array in (pictures, labels))
        expected, gradients = jax.jit(jax.value_and_grad(loss))(before, *arrays)
        commands = mps.CommandBuffer(device.command_queue())
        outputs = step.encode(commands, {"pictures": pictures, "labels": labels})
        commands.commit()
        got = np.asarray(outputs["loss"], np.float64).sum()
        np.testing.assert_allclose(got, float(expected), rtol=1e-5)
        for layer, (old, new) in enumerate(zip(before, parameters(), strict=True)):
            for name in WEIGHTS:
                wanted = np.asarray(gradients[layer][name])
                assert np.abs(wanted).max() > 1e-2, (layer, name)
                np.testing.assert_allclose(
                    np.asarray(old[name] - new[name]), wanted, rtol=1e-4, atol=1e-6
                )


def test_each_step_computes_no_gradient_that_nothing_needs(cpu: mps.Device) -> None:
    nets = Small(cpu).nets
    pictures, one = (BATCH, 8, 8, 1), (BATCH, 1, 1, 1)
    sizes = {"latent": (BATCH, 1, 1, SMALL.latent), "real": pictures}
    sizes |= {"fake labels": one, "real labels": one, "digits": (BATCH, 1, 1, 10)}

    def plan(graph: mps.Graph) -> list[str]:
        return graph.plan_text({name: sizes[name] for name in graph.source_handles}).splitlines()

    def count(lines: list[str], operation: str, net: str) -> int:
        return sum(f"  {operation}  [" in line and f"  {net}." in line for line in lines)

    first = plan(nets.discriminator_training(cpu, BATCH))
    assert count(first, "convolution_weights_gradient", "discriminator") == 2 * 3
    # Not to the pictures: neither to the real ones nor to the generator.
    assert count(first, "convolution_data_gradient", "discriminator") == 2 * 2
    assert not any(
        "generator" in line and "gradient  [" in line and "convolution_data" not in line
        for line in first
    )
    second = plan(nets.generator_training(cpu, BATCH))
    assert count(second, "convolution_weights_gradient", "discriminator") == 0
    assert count(second, "convolution_data_gradient", "discriminator") == 3
    assert count(second, "convolution_weights_gradient", "generator") == 3


def test_the_discriminators_step_leaves_the_stored_statistics_alone(device: mps.Device) -> None:
    small = Small(device)
    step = small.nets.discriminator_training(device, BATCH)
    before = {n: device.read_parameter(s, "mean") for n, s in small.nets.norms.items()}
    small.run(step)
    for name, source in small.nets.norms.items():
        assert np.array_equal(device.read_parameter(source, "mean"), before[name])
    small.run(small.nets.generator_training(device, BATCH))
    for name, source in small.nets.norms.items():
        assert not np.array_equal(device.read_parameter(source, "mean"), before[name])
