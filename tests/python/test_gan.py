# SPDX-License-Identifier: MIT
"""The generator of digits: its steps' gradients, the run, resume, archive, command, bad input."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mpsnn as mps
from mpsnn import cli
from mpsnn.apps.gan import Classifier, Digits, Generator, ModelOptions, Nets, TrainOptions, train
from mpsnn.apps.gan.apply import RandomLatents
from mpsnn.apps.gan.average import WeightAverage, kept_share
from mpsnn.apps.gan.data import MNIST_LABELS, MNIST_PICTURES, bundled, enlarged, mnist, one_hot
from mpsnn.apps.gan.model import EPSILON, LEAK
from mpsnn.apps.gan.pictures import grid
from mpsnn.apps.gan.quality import quality_of
from mpsnn.apps.gan.train import AdversarialTrainer
from mpsnn.committing import BOTH, SINGLE, WAYS, Way

SMALL = ModelOptions(edge=8, latent=4, width=2, dropout=0.0, seed=5)
BATCH = 4
WEIGHTS = ("weights", "bias")
NORMS = ("gamma", "beta")

Parameters = dict[str, dict[str, jax.Array]]


def marks(count: int = 40, edge: int = 8) -> Digits:
    """Ten kinds of marks, a bright block in another place each, with a little noise."""
    generator = np.random.default_rng(3)
    labels = np.arange(count) % 10
    pictures = np.full((count, edge, edge, 1), -0.9, np.float32)
    for picture, label in zip(pictures, labels, strict=True):
        y, x = divmod(int(label), 4)
        picture[2 * y : 2 * y + 3, 2 * x : 2 * x + 2] = 0.9
    noise = generator.normal(size=pictures.shape) * 0.05
    return Digits(np.clip(pictures + noise, -1, 1).astype(np.float32), labels)


def options(epochs: int, **changes: object) -> TrainOptions:
    values = {
        "epochs": epochs,
        "batch": 8,
        "judge_every": 2,
        "checkpoint_every": 1,
        "model": ModelOptions(edge=8, latent=4, width=4),
    }
    return TrainOptions(**{**values, **changes})  # type: ignore[arg-type]


def values_of(device: mps.Device, graph: mps.Graph) -> dict[str, np.ndarray]:
    """All parameters of a graph's data sources, moments and statistics as well."""
    return {
        f"{source.label} {name}": device.read_parameter(source, name)
        for source in graph.data_sources
        for name in device.parameter_names(source)
    }


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


@pytest.mark.parametrize("way", [SINGLE, BOTH])
def test_a_step_needs_nothing_of_the_host(cpu: mps.Device, way: Way) -> None:
    """Both halves of a step are recorded and committed before anything is read of either."""
    _, trainer = train(marks(24), options(1, judge_every=99), device=cpu, progress=False, way=way)
    with mps.capture() as trace:
        trainer.run(2)
    spans = sorted(trace.spans, key=lambda span: span.start_ns)
    kinds = mps.SpanKind
    host = [s for s in spans if s.kind in (kinds.ENCODE, kinds.COMMIT, kinds.WAIT)]
    step = ["random", "latent", "discriminator step", "random", "latent", "generator step"]
    names = [span.name or span.kind.name.lower() for span in host]
    read = 'Image "loss": read'
    assert [name for name in names if name != read] == 3 * [*step, "commit"]
    starts = [index for index, name in enumerate(names) if name == "discriminator step"]
    for start in starts:
        assert names[start - 2 : start + 5] == [*step, "commit"]
    # Both numbers and their copy run on the device, in one piece with the graphs.
    assert not [span for span in spans if span.kind == kinds.HOST_FUNCTION]
    pieces = [span for span in spans if span.kind == kinds.PIECE]
    kernels = [span for span in spans if span.kind == kinds.KERNEL]
    assert len(pieces) == 3
    for piece in pieces:
        inside = [k for k in kernels if piece.start_ns <= k.start_ns <= k.end_ns <= piece.end_ns]
        assert sum(kernel.name == "random" for kernel in inside) == 2
        assert sum(kernel.name == "latent" for kernel in inside) == 2


@pytest.fixture(scope="module")
def marked() -> tuple[Generator, AdversarialTrainer]:
    return train(marks(), options(4), device=mps.Device("cpu"), progress=False)


def test_a_run_is_measured(marked: tuple[Generator, AdversarialTrainer]) -> None:
    _, trainer = marked
    history = trainer.state.history
    assert [("recognised" in record.measures) for record in history] == [False, True, False, True]
    assert all(np.isfinite(r.loss) and np.isfinite(r.measures["generator"]) for r in history)


@pytest.mark.parametrize("way", [SINGLE, BOTH])
def test_resume_continues_bit_exactly(
    marked: tuple[Generator, AdversarialTrainer], way: Way, tmp_path: Path
) -> None:
    archive, device = tmp_path / "gan.safetensors", mps.Device("cpu")
    train(marks(), options(2), archive=archive, device=device, progress=False, way=way)
    generator, trainer = train(
        marks(), options(4), archive=archive, resume=True, device=device, progress=False, way=way
    )
    whole, reference = marked
    assert [r.loss for r in trainer.state.history] == [r.loss for r in reference.state.history]
    for got, wanted in (
        (trainer.graph, reference.graph),
        (trainer.generator_step, reference.generator_step),
    ):
        new, old = values_of(device, got), values_of(device, wanted)
        assert new.keys() == old.keys()
        assert all(np.array_equal(new[name], old[name]) for name in old)
    assert np.array_equal(generator(5, 3), whole(5, 3))


def test_the_archive_draws_what_was_trained(tmp_path: Path) -> None:
    archive, device = tmp_path / "gan.safetensors", mps.Device("cpu")
    generator, _ = train(marks(), options(1), archive=archive, device=device, progress=False)
    restored = Generator.load(archive, device)
    assert np.array_equal(restored(70, 2), generator(70, 2))
    assert restored(70, 2).shape == (70, 8, 8, 1)
    assert not np.array_equal(restored(2, 2), restored(2, 3))
    fours, all_digits = restored(70, 2, digit=4), restored(70, 2)
    assert np.array_equal(fours[4::10], all_digits[4::10])
    assert not np.array_equal(fours[5::10], all_digits[5::10])
    assert restored.classifier is not None
    assert generator.classifier is not None
    assert restored.classifier.accuracy == generator.classifier.accuracy


def one_weight(label: str, weight: float, bias: float) -> mps.Graph:
    source = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(1, 1, 1, 1), [[[[weight]]]], [bias], label
    )
    return mps.Graph(
        mps.Device("cpu"), [mps.ConvolutionNode(mps.ImageNode("x"), source).result_image]
    )


def test_the_average_of_weights_is_that_of_the_epochs() -> None:
    average, trained = one_weight("w", 100.0, 0.0), one_weight("w", 8.0, 2.0)
    kept, found = WeightAverage(average, trained), []
    for epoch, weight in enumerate((8.0, 16.0, 32.0)):
        trained.device.write_parameter(
            trained.data_sources[0], "weights", np.full((1, 1, 1, 1), weight, np.float32)
        )
        kept.update(kept_share(0.5, epoch))
        found.append(average.device.read_parameter(average.data_sources[0], "weights").item())
    assert found == [8.0, 12.0, 22.0]  # the first weights are forgotten at once
    assert average.device.read_parameter(average.data_sources[0], "bias").item() == 2.0
    assert [kept_share(0.8, epoch) for epoch in (0, 1, 3, 4, 9)] == [0.0, 0.5, 0.75, 0.8, 0.8]
    assert kept_share(0.0, 7) == 0.0
    with pytest.raises(mps.ArchiveError, match="expected weights of w in the training graph"):
        WeightAverage(average, one_weight("other", 1.0, 1.0))


@pytest.mark.parametrize("averaging", [0.0, 0.5])
def test_the_generator_draws_with_the_average(averaging: float) -> None:
    device = mps.Device("cpu")
    generator, trainer = train(
        marks(), options(2, averaging=averaging), device=device, progress=False
    )
    latest = {s.label: s for s in trainer.generator_step.data_sources}
    for source in generator.graph.data_sources:
        for name in ("weights", "gamma", "mean"):
            if name in device.parameter_names(source):
                drawn = device.read_parameter(source, name)
                trained = device.read_parameter(latest[source.label], name)
                same = np.array_equal(drawn, trained)
                assert same == (averaging == 0.0), (source.label, name)


def test_latents_are_philox_numbers_in_one_sequence(device: mps.Device) -> None:
    latents = RandomLatents.seeded(device, 6, 11)
    queue = device.command_queue()
    commands = mps.CommandBuffer(queue)
    first, second = (latents.encode(commands, count) for count in (2, 3))
    commands.commit()
    whole = RandomLatents.seeded(device, 30, 11)
    commands = mps.CommandBuffer(queue)
    image = whole.encode(commands, 1)
    commands.commit()
    got = np.concatenate([np.asarray(part).ravel() for part in (first, second)])
    assert np.array_equal(got, np.asarray(image).ravel())
    assert np.unique(got).size == 30


@pytest.mark.long
def test_digits_are_learned() -> None:
    """Two epochs on real digits: samples that a judge recognises, of several kinds."""
    chosen = options(2, batch=32, learning_rate=1e-3, model=ModelOptions(dropout=0.0))
    generator, trainer = train(bundled(16), chosen, device=mps.Device("cpu"), progress=False)
    assert generator.classifier is not None
    assert generator.classifier.accuracy > 0.95
    measures = trainer.state.history[-1].measures
    assert measures["recognised"] > 0.2
    assert measures["spread"] > 0.5


def test_the_judge_learns_and_counts() -> None:
    digits = marks(200)
    judge = Classifier.trained(digits, mps.Device("cpu"), epochs=12)
    assert judge.accuracy == 1.0
    quality = judge.quality(digits.pictures, digits.labels)
    assert quality.recognised > 0.9
    assert quality.spread > 0.95
    sure, unsure = np.eye(10, dtype=np.float32)[[3, 3, 7, 7]], np.full((4, 10), 0.1, np.float32)
    asked = np.array([3, 3, 7, 7, 3, 3, 7, 7])
    quality = quality_of(np.concatenate([sure, unsure]), asked)
    assert quality.recognised == 0.5
    assert quality.spread == pytest.approx(np.log(2) / np.log(10))
    assert quality.counts == (0, 0, 0, 2, 0, 0, 0, 2, 0, 0)
    assert quality_of(unsure, asked[:4]).spread == 0.0
    assert quality_of(sure, np.array([3, 7, 3, 7])).counts == (0, 0, 0, 1, 0, 0, 0, 1, 0, 0)


def test_digits_are_enlarged_linearly() -> None:
    ramp = np.tile(np.arange(8, dtype=np.float32), (8, 1))[None, ..., None]
    wide = enlarged(ramp, 16)[0, :, :, 0]
    np.testing.assert_allclose(wide[:, 1:-1], np.tile(np.arange(14) / 2 + 0.25, (16, 1)))
    assert np.array_equal(enlarged(ramp, 8), ramp)
    real = bundled(8)
    assert len(real) == 1797
    assert (real.pictures.min(), real.pictures.max()) == (-1, 1)


def _write_mnist(folder: Path, *, packed: bool = False, labels: int = 12) -> np.ndarray:
    pixels = np.random.default_rng(1).integers(0, 256, (12, 28, 28), np.uint8)
    header = bytes((0, 0, 8, 3)) + np.array(pixels.shape, ">u4").tobytes()
    files = {
        MNIST_PICTURES: header + pixels.tobytes(),
        MNIST_LABELS: bytes((0, 0, 8, 1, 0, 0, 0, labels)) + bytes(n % 10 for n in range(labels)),
    }
    for name, content in files.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return pixels


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_read(tmp_path: Path, packed: bool) -> None:
    pixels = _write_mnist(tmp_path, packed=packed)
    digits = mnist(tmp_path)
    np.testing.assert_allclose(digits.pictures[..., 0], pixels / 127.5 - 1, atol=1e-6)
    assert digits.labels.tolist() == [*range(10), 0, 1]
    ModelOptions(edge=digits.edge)


def _cut(folder: Path) -> None:
    path = folder / MNIST_PICTURES
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda folder: (folder / MNIST_LABELS).unlink(), "train-labels.*cannot be read"),
        (_cut, "train-images.*expected 9408 bytes"),
        (lambda folder: (folder / MNIST_PICTURES).write_bytes(b""), "empty file"),
        (lambda folder: (folder / MNIST_LABELS).write_bytes(b"PK34"), "expected an IDX file"),
        (lambda folder: _write_mnist(folder, labels=11), "got 11 and 12"),
    ],
)
def test_bad_mnist_is_refused(tmp_path: Path, damage: Callable[[Path], object], text: str) -> None:
    _write_mnist(tmp_path)
    damage(tmp_path)
    with pytest.raises(mps.FileError, match=text):
        mnist(tmp_path)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ModelOptions(edge=10), "edge: expected a multiple of 4, got 10"),
        (lambda: ModelOptions(latent=0), "latent: expected 1 or more, got 0"),
        (lambda: ModelOptions(dropout=1.0), "dropout: expected from 0 to below 1"),
        (lambda: TrainOptions(real_label=0.0), "real_label: expected above 0"),
        (lambda: TrainOptions(batch=0), "batch: expected 1 or more, got 0"),
        (lambda: TrainOptions(averaging=1.0), "averaging: expected from 0 to below 1"),
        (lambda: TrainOptions(halve_every=-1), "halve_every: expected 0 or more, got -1"),
        (lambda: TrainOptions(seed=-1), "seed: expected 0 or more, got -1"),
        (lambda: Digits(np.zeros((2, 8, 4, 1), np.float32), np.zeros(2, np.int64)), "pictures"),
        (lambda: Digits(np.zeros((2, 8, 8, 1), np.float32), np.full(2, 10)), "labels"),
        (lambda: train(marks(8, 12), options(1)), "expected pictures of 8 x 8"),
        (lambda: train(marks(), options(1, batch=50)), "batch: expected 1 to 40"),
        (lambda: train(marks(), options(1), resume=True), "resume: expected the archive"),
        (lambda: grid(np.zeros((2, 8, 8), np.float32), 2), r"grid: pictures: .* \(2, 8, 8\)"),
        (lambda: grid(np.zeros((2, 8, 8, 1), np.float32), 0), "columns and zoom"),
    ],
)
def test_bad_arguments_are_refused(make: Callable[[], object], text: str) -> None:
    with pytest.raises(mps.InvalidArgumentError, match=text):
        make()


def test_checkpoints_of_other_runs_are_refused(tmp_path: Path) -> None:
    archive, device = tmp_path / "gan.safetensors", mps.Device("cpu")
    train(marks(), options(1), archive=archive, device=device, progress=False)
    with pytest.raises(mps.InvalidArgumentError, match=r"batch: expected 8 .* got 4"):
        train(marks(), options(2, batch=4), archive=archive, resume=True, progress=False)
    generator = Generator.load(archive, device)
    with pytest.raises(mps.InvalidArgumentError, match="count: expected 1 or more, got 0"):
        generator(0)
    with pytest.raises(mps.InvalidArgumentError, match="digit: expected 0 to 9, got 10"):
        generator(1, digit=10)
    source = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(1, 1, 1, 1), np.ones((1, 1, 1, 1), np.float32)
    )
    other = mps.KeyedArchiver()
    node = mps.ConvolutionNode(mps.ImageNode("x"), source)
    other.encode("other", mps.Graph(device, [node.result_image]))
    other.write(str(tmp_path / "other.safetensors"))
    with pytest.raises(mps.ArchiveError, match="expected a digit generator's archive"):
        Generator.load(tmp_path / "other.safetensors", device)
    with pytest.raises(mps.ArchiveError, match="expected a gan's checkpoint"):
        train(marks(), options(1), archive=tmp_path / "other.safetensors", resume=True)
    with pytest.raises(mps.FileError, match="missing"):
        Generator.load(tmp_path / "missing.safetensors", device)


@pytest.mark.long
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive, samples = tmp_path / "gan.safetensors", tmp_path / "samples"
    small = ["--edge", "8", "--width", "4", "--batch", "64", "--device", "cpu"]
    arguments = ["gan", "train", str(archive), *small, "--samples", str(samples)]
    timeline = tmp_path / "steps.json"
    assert cli.main([*arguments, "--epochs", "1", "--timeline", str(timeline)]) == 0
    curves = tmp_path / "curves.png"
    assert cli.main([*arguments, "--epochs", "2", "--resume", "--curves", str(curves)]) == 0
    assert json.loads(timeline.read_text("utf-8"))["traceEvents"]
    out = tmp_path / "digits.png"
    drawing = ["gan", "sample", str(archive), "--out", str(out), "--count", "20", "--device", "cpu"]
    assert cli.main(drawing) == 0
    for picture in (
        out,
        curves,
        *(samples / f"{n}.png" for n in ("real", "epoch-000", "epoch-002")),
    ):
        assert picture.read_bytes().startswith(b"\x89PNG"), picture
    for way in WAYS:  # the same digits, and what drew them
        drawn, trace = tmp_path / f"{way.key}.png", tmp_path / f"{way.key}.json"
        assert cli.main([*drawing, "--commit", way.key, "--timeline", str(trace)]) == 0
        assert cli.main([*drawing, "--out", str(drawn), "--commit", way.key]) == 0
        assert drawn.read_bytes() == out.read_bytes()
        assert "random" in trace.read_text("utf-8")
    told = capsys.readouterr().out
    assert "the judge is right on" in told
    assert "20 digits:" in told
    assert cli.main(["gan", "sample", str(tmp_path / "none"), "--device", "cpu"]) == 2
    assert cli.main(["gan", "train", str(archive), "--mnist", str(tmp_path)]) == 2
    assert "train-images-idx3-ubyte" in capsys.readouterr().err
