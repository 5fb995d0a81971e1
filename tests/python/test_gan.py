# SPDX-License-Identifier: MIT
"""The generative adversarial network: gradients, steps, run, judge, command, and bad input."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn.apps.gan import digits as digit_files
from mpsnn.apps.gan import model
from mpsnn.apps.gan.apply import Noise, Sampler
from mpsnn.apps.gan.classifier import Classifier
from mpsnn.apps.gan.digits import Digits, mnist
from mpsnn.apps.gan.model import Discriminator, Generator, ModelOptions
from mpsnn.apps.gan.train import GanTrainer, TrainOptions, train
from mpsnn.training import StepSchedule

jax.config.update("jax_enable_x64", True)

SMALL = ModelOptions(edge=8, latent=5, width=4, seed=3)
BATCH = 6
Parameters = dict[str, dict[str, jax.Array]]


def synthetic(count: int = 40) -> Digits:
    """An upright bar in one of ten places: enough to learn from."""
    labels = np.arange(count, dtype=np.uint8) % 10
    images = np.full((count, 8, 8, 1), -1, np.float32)
    for image, label in zip(images, labels, strict=True):
        image[label % 5 : label % 5 + 4, 1 + label // 5 * 4] = 1
    return Digits(images, labels)


def parameters(device: mps.Device, sources: list[mps.DataSource]) -> Parameters:
    return {
        source.label.partition(".")[2]: {
            name: jnp.asarray(device.read_parameter(source, name), jnp.float64)
            for name in source.parameters
            if name in ("weights", "bias", "gamma", "beta")
        }
        for source in sources
    }


def convolved(
    x: jax.Array, p: dict[str, jax.Array], stride: int, pad: int, enlarge: int = 1
) -> jax.Array:
    y = jax.lax.conv_general_dilated(
        x,
        p["weights"],
        (stride, stride),
        [(pad, pad)] * 2,
        lhs_dilation=(enlarge, enlarge),
        dimension_numbers=("NHWC", "OHWI", "NHWC"),
    )
    return y + p["bias"]


def normalised(x: jax.Array, p: dict[str, jax.Array]) -> jax.Array:
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) / jnp.sqrt(variance + model.EPSILON) * p["gamma"] + p["beta"]


def generated(p: Parameters, noise: jax.Array) -> jax.Array:
    x = convolved(noise, p["seed"], 1, 0).reshape(len(noise), 2, 2, 2 * SMALL.width)
    x = jax.nn.relu(normalised(x, p["norm0"]))
    # Zeros between the pixels, and two around: a kernel of 4 less a pad of 1, less 1.
    x = jax.nn.relu(normalised(convolved(x, p["half"], 1, 2, 2), p["norm1"]))
    return jnp.tanh(convolved(x, p["whole"], 1, 2, 2))


def judged(p: Parameters, pictures: jax.Array) -> jax.Array:
    x = jax.nn.leaky_relu(convolved(pictures, p["half"], 2, 1), model.SLOPE)
    x = jax.nn.leaky_relu(convolved(x, p["quarter"], 2, 1), model.SLOPE)
    return convolved(x, p["logit"], 1, 0)


def cross_entropy(logits: jax.Array, label: float) -> jax.Array:
    return -(
        label * jax.nn.log_sigmoid(logits) + (1 - label) * jax.nn.log_sigmoid(-logits)
    ).mean()


def encode(graph: mps.Graph, sources: dict[str, NDArray[np.float32]]) -> dict[str, np.ndarray]:
    commands = mps.CommandBuffer(graph.device.command_queue())
    outputs = graph.encode(commands, sources)
    commands.commit()
    commands.wait_until_completed()
    return {name: np.array(outputs[name]) for name in ("loss", "picture") if name in outputs}


def labels(value: float) -> NDArray[np.float32]:
    return np.full((BATCH, 1, 1, 1), value, np.float32)


def assert_steps(before: Parameters, after: Parameters, gradients: Parameters) -> None:
    """A step of rate 1 takes the gradient off."""
    for name, arrays in gradients.items():
        for kind, expected in arrays.items():
            got = before[name][kind] - after[name][kind]
            scale = float(jnp.abs(expected).max()) + 1e-3
            np.testing.assert_allclose(got, expected, atol=1e-4 * scale, err_msg=f"{name}.{kind}")


def nets() -> tuple[Generator, Discriminator]:
    step = mps.OptimizerStochasticGradientDescent(1.0)
    return Generator(SMALL, step), Discriminator(SMALL, step)


def noise(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(BATCH, 1, 1, 5)).astype(np.float32)


def test_gradients_of_the_generator_go_through_a_discriminator_that_stays() -> None:
    device, (generator, discriminator) = mps.Device("cpu"), nets()
    graph = model.build_generator_training(device, generator, discriminator, BATCH)
    before = parameters(device, generator.sources)
    judge = parameters(device, discriminator.sources)
    outputs = encode(graph, {"noise": noise(), "real": labels(1.0)})

    def loss(p: Parameters) -> jax.Array:
        return cross_entropy(judged(judge, generated(p, jnp.asarray(noise(), jnp.float64))), 1.0)

    value, gradients = jax.value_and_grad(loss)(before)
    np.testing.assert_allclose(outputs["loss"].sum(), value, rtol=1e-5)
    assert_steps(before, parameters(device, generator.sources), gradients)
    for name, arrays in parameters(device, discriminator.sources).items():
        for kind, array in arrays.items():
            assert np.array_equal(array, judge[name][kind])


def test_gradients_of_the_discriminator_are_those_of_both_losses() -> None:
    device, (_, discriminator) = mps.Device("cpu"), nets()
    graph = model.build_discriminator_training(device, discriminator, BATCH)
    before = parameters(device, discriminator.sources)
    fake = np.random.default_rng(1).normal(size=(BATCH, 8, 8, 1)).astype(np.float32)
    real = synthetic(BATCH).images
    outputs = encode(
        graph,
        {"simulated": fake, "pictures": real, "fake": labels(0.0), "real": labels(0.9)},
    )

    def loss(p: Parameters) -> jax.Array:
        simulated, pictures = (jnp.asarray(x, jnp.float64) for x in (fake, real))
        return cross_entropy(judged(p, simulated), 0.0) + cross_entropy(judged(p, pictures), 0.9)

    value, gradients = jax.value_and_grad(loss)(before)
    np.testing.assert_allclose(outputs["loss"].sum(), value, rtol=1e-5)
    assert_steps(before, parameters(device, discriminator.sources), gradients)


def test_both_graphs_see_the_latest_weights() -> None:
    device, (generator, discriminator) = mps.Device("cpu"), nets()
    judging = model.build_discriminator_training(device, discriminator, BATCH)
    drawing = model.build_generator_training(device, generator, discriminator, BATCH)
    real = synthetic(BATCH).images
    encode(
        judging,
        {"simulated": -real, "pictures": real, "fake": labels(0.0), "real": labels(1.0)},
    )
    judge, drawer = (parameters(device, net.sources) for net in (discriminator, generator))
    outputs = encode(drawing, {"noise": noise(), "real": labels(1.0)})
    picture = generated(drawer, jnp.asarray(noise(), jnp.float64))
    np.testing.assert_allclose(outputs["picture"], picture, atol=1e-5)
    expected = cross_entropy(judged(judge, picture), 1.0)
    np.testing.assert_allclose(outputs["loss"].sum(), expected, rtol=1e-4)


def test_a_step_has_no_host_round_trip() -> None:
    device, (generator, discriminator) = mps.Device("cpu"), nets()
    trainer = GanTrainer(
        model.build_generator_training(device, generator, discriminator, BATCH),
        model.build_discriminator_training(device, discriminator, BATCH),
        Noise(device, BATCH, SMALL.latent),
        TrainOptions(batch=BATCH, model=SMALL),
        lambda _epoch, _chance: iter(()),
        schedule=StepSchedule(0.01),
        progress=False,
    )
    with mps.capture() as trace:
        commands = mps.CommandBuffer(trainer.queue, "step", auto_commit=False)
        trainer.encode(commands, {"pictures": synthetic(BATCH).images})
        commands.commit()
        commands.wait_until_completed()
    spans = trace.spans
    waits = [span for span in spans if span.kind == mps.SpanKind.WAIT]
    kernels = [span for span in spans if span.kind == mps.SpanKind.KERNEL]
    assert {span.commands for span in kernels} == {"step"}
    assert [span.kind for span in spans].count(mps.SpanKind.COMMIT) == 1
    assert not [span for span in spans if span.kind == mps.SpanKind.HOST_FUNCTION]
    # The host waits once, after the commit: nothing comes back between the step's kernels.
    commit = next(span for span in spans if span.kind == mps.SpanKind.COMMIT)
    assert all(span.start_ns >= commit.start_ns for span in waits)
    names = [span.name for span in sorted(kernels, key=lambda span: span.start_ns)]
    order = [names.index(name) for name in ("noise", "noise to image", "seed")]
    assert order == [0, 1, order[2]]
    assert any("discriminator" in name or "real.half" in name for name in names[order[2] :])


def sampled(trained: Sampler) -> NDArray[np.float32]:
    return trained(4, 9)


def options(epochs: int, **changes: object) -> TrainOptions:
    values = {"epochs": epochs, "batch": BATCH, "checkpoint_every": 1, "model": SMALL, **changes}
    return TrainOptions(**values)  # type: ignore[arg-type]


def test_resume_continues_bit_exactly(tmp_path: Path) -> None:
    data, path = synthetic(), tmp_path / "gan.safetensors"
    whole, trainer = train(data, options(4), progress=False)
    train(data, options(2), archive=path, progress=False)
    rest, resumed = train(data, options(4), archive=path, resume=True, progress=False)
    assert np.array_equal(sampled(whole), sampled(rest))
    assert [r.loss for r in trainer.state.history] == [r.loss for r in resumed.state.history]
    assert np.array_equal(sampled(Sampler.load(path)), sampled(whole))


def test_resume_refuses_other_options(tmp_path: Path) -> None:
    path = tmp_path / "gan.safetensors"
    train(synthetic(), options(1), archive=path, progress=False)
    with pytest.raises(mps.InvalidArgumentError, match=r"real_label: expected 0\.9 .* got 0\.8"):
        train(synthetic(), options(2, real_label=0.8), archive=path, resume=True, progress=False)
    with pytest.raises(mps.InvalidArgumentError, match="resume: expected the archive"):
        train(synthetic(), options(2), resume=True, progress=False)


def test_the_judge_reads_digits_and_tells_collapse() -> None:
    data = synthetic(200)
    judge = Classifier(data, mps.Device("cpu"), epochs=15)
    assert judge.accuracy(data) == 1.0
    good = judge.quality(data.images)
    assert good.recognised > 0.9
    assert good.classes == 10
    assert good.spread > 0.99
    collapsed = judge.quality(np.repeat(data.images[:1], 50, axis=0))
    assert (collapsed.classes, collapsed.spread) == (1, 0.0)
    assert judge.quality(np.zeros_like(data.images)).recognised < 0.5


def idx(array: NDArray[np.uint8]) -> bytes:
    head = bytes((0, 0, 8, array.ndim))
    return head + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write_mnist(folder: Path, *, packed: bool = False) -> NDArray[np.uint8]:
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28)).astype(np.uint8)
    for name, array in zip(digit_files.FILES, (images, np.arange(5, dtype=np.uint8)), strict=True):
        data = idx(array)
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(data) if packed else data)
    return images


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_files(tmp_path: Path, packed: bool) -> None:
    images = write_mnist(tmp_path, packed=packed)
    found = mnist(tmp_path)
    np.testing.assert_allclose(found.images[..., 0], images / 127.5 - 1, atol=1e-6)
    assert found.labels.tolist() == [0, 1, 2, 3, 4]
    assert found.edge == 28


def damages() -> Iterator[tuple[bytes, str]]:
    whole = idx(np.zeros((5, 28, 28), np.uint8))
    yield b"", "begins with nothing"
    yield b"\x89PNG" + whole, "begins with 89 50 4e 47"
    yield whole[:-1], "5 x 28 x 28 values, got 3919"
    yield idx(np.zeros((5, 28, 27), np.uint8)), "square pictures"
    yield idx(np.zeros((4, 28, 28), np.uint8)), "as many labels"


@pytest.mark.parametrize(("data", "text"), list(damages()))
def test_damaged_mnist_files(tmp_path: Path, data: bytes, text: str) -> None:
    write_mnist(tmp_path)
    (tmp_path / digit_files.FILES[0]).write_bytes(data)
    with pytest.raises(mps.FileError, match=text):
        mnist(tmp_path)


def test_missing_and_wrong_digits(tmp_path: Path) -> None:
    with pytest.raises(mps.FileError, match=r"train-images-idx3-ubyte or .*\.gz is missing"):
        mnist(tmp_path)
    with pytest.raises(mps.InvalidArgumentError, match=r"shape \(8, 8, 1\), got \(40, 4, 8, 1\)"):
        data = synthetic()
        train(Digits(data.images[:, :4], data.labels), options(1), progress=False)
    with pytest.raises(mps.InvalidArgumentError, match="edge: expected a multiple of 4, got 10"):
        ModelOptions(edge=10)
    with pytest.raises(mps.InvalidArgumentError, match="count: expected 1 or more, got 0"):
        Sampler(
            model.build_generator(mps.Device("cpu"), Generator(SMALL)), SMALL
        )(0)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mpsnn", "gan", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_command(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    net, out, steps = (tmp_path / name for name in ("net.safetensors", "out.png", "steps"))
    common = ("--width", 4, "--latent", 5, "--judge-every", 1, "--commit", "single")
    timeline = tmp_path / "steps.json"
    done = run(
        *("train", net, *common, "--epochs", 1, "--preview", steps, "--timeline", timeline)
    )
    assert done.returncode == 0, done.stderr
    assert "unseen real digits" in done.stdout
    assert "noise to image" in timeline.read_text()
    done = run("train", net, *common, "--epochs", 2, "--resume")
    assert done.returncode == 0, done.stderr
    done = run("sample", net, "--count", 3, "--out", out)
    assert done.returncode == 0, done.stderr
    for picture in (out, steps / "epoch-0001.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_command_tells_what_is_wrong(tmp_path: Path) -> None:
    archiver = mps.KeyedArchiver()
    archiver.encode("other", mps.Graph(mps.Device("cpu"), [mps.NeuronReLUNode(mps.ImageNode("x"))]))
    other = tmp_path / "other.safetensors"
    archiver.write(str(other))
    for arguments, text in (
        (("sample", tmp_path / "none.safetensors"), "none.safetensors"),
        (("sample", other), "expected an archive of `mpsnn gan train`"),
        (("train", other, "--mnist", tmp_path), "is missing"),
    ):
        done = run(*arguments)
        assert done.returncode == 1
        assert text in done.stderr
        assert "Traceback" not in done.stderr
