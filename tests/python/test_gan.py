# SPDX-License-Identifier: MIT
"""The generator of digits: the run, resume, archive, the digits, the judge, bad input."""

from __future__ import annotations

import gzip
import itertools
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gan_small import marks, options, values_of
from PIL import Image

import mpsnn as mps
from mpsnn.apps.gan import Classifier, Digits, Generator, ModelOptions, TrainOptions, train
from mpsnn.apps.gan.apply import RandomLatents
from mpsnn.apps.gan.average import WeightAverage, kept_share
from mpsnn.apps.gan.data import MNIST_LABELS, MNIST_PICTURES, bundled, enlarged, mnist
from mpsnn.apps.gan.pictures import grid, save_grid
from mpsnn.apps.gan.quality import quality_of
from mpsnn.apps.gan.train import LOSSES_KEY, AdversarialTrainer
from mpsnn.apps.pictures import WRITTEN
from mpsnn.committing import BOTH, SINGLE, Way
from mpsnn.training import EpochRecord


def told(record: EpochRecord) -> dict[str, float]:
    """What a record says of the training: all but the speed."""
    return {"loss": record.loss, "rate": record.learning_rate, **record.measures}


def assert_same(
    got: tuple[Generator, AdversarialTrainer], wanted: tuple[Generator, AdversarialTrainer]
) -> None:
    """Two runs have the same history, weights, moments and statistics, bit for bit."""
    (generator, trainer), (whole, reference) = got, wanted
    device = trainer.device
    assert list(map(told, trainer.state.history)) == list(map(told, reference.state.history))
    for new, old in (
        (trainer.graph, reference.graph),
        (trainer.generator_step, reference.generator_step),
        (generator.graph, whole.graph),
    ):
        values, expected = values_of(device, new), values_of(device, old)
        assert values.keys() == expected.keys()
        assert all(np.array_equal(values[name], expected[name]) for name in expected)
    assert np.array_equal(generator(5, 3), whole(5, 3))


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
    resumed = train(
        marks(), options(4), archive=archive, resume=True, device=device, progress=False, way=way
    )
    assert_same(resumed, marked)


@pytest.mark.parametrize("step", [3, 5])
def test_a_run_interrupted_within_an_epoch_goes_on(
    marked: tuple[Generator, AdversarialTrainer],
    step: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C in the middle, and at the end, of the second epoch of five steps."""
    archive, device = tmp_path / "gan.safetensors", mps.Device("cpu")
    encode, left = AdversarialTrainer.encode, [5 + step]

    def encode_and_interrupt(
        self: AdversarialTrainer, commands: mps.CommandBuffer, batch: dict[str, np.ndarray]
    ) -> mps.Image:
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)
        return encode(self, commands, batch)

    with monkeypatch.context() as patched:
        patched.setattr(AdversarialTrainer, "encode", encode_and_interrupt)
        _, stopped = train(marks(), options(4), archive=archive, device=device, progress=False)
    assert stopped.interrupted
    assert (stopped.state.epoch, stopped.state.batch) == (1, step)
    resumed = train(
        marks(), options(4), archive=archive, resume=True, device=device, progress=False
    )
    assert_same(resumed, marked)


def test_an_interrupted_judge_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = Digits.batches

    def batches_and_interrupt(self: Digits, *arguments: object) -> object:
        signal.raise_signal(signal.SIGINT)
        return batches(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Digits, "batches", batches_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(marks(), options(1), device=mps.Device("cpu"), progress=False)


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


def test_the_judge_learns_and_counts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count()  # a clock by which each step is worth drawing
    monkeypatch.setattr(pytest.importorskip("tqdm.std"), "time", lambda: float(next(seconds)))
    digits = marks(200)
    judge = Classifier.trained(digits, mps.Device("cpu"), epochs=12, progress=True)
    bar = capsys.readouterr().err
    assert "judge: 100%" in bar
    assert "0.2/12 epochs" in bar  # the bar moves within the first epoch, of five steps
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
        (lambda: TrainOptions(seed=-1), "gan: seed: expected 0 or more, got -1"),
        (lambda: ModelOptions(seed=-1), "gan: seed: expected 0 or more, got -1"),
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
    other = marks()
    other.pictures[7, 0, 0, 0] += np.float32(1e-3)
    for digits, got in (
        (other, r"40 digits of 8 x 8 \(checksum \w{8}\)"),
        (marks(30), "30 digits of 8 x 8"),
        (Digits(marks().pictures, marks().labels[::-1]), "40 digits of 8 x 8"),
    ):
        with pytest.raises(
            mps.InvalidArgumentError, match=rf"digits: expected 40 digits .* got {got}"
        ):
            train(digits, options(2), archive=archive, resume=True, progress=False)
    generator = Generator.load(archive, device)
    with pytest.raises(mps.InvalidArgumentError, match="gan: seed: expected 0 or more, got -1"):
        generator(1, -1)
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


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        (LOSSES_KEY, "[0.5]", "expected 0, one of each step of the epoch, got 1"),
        (LOSSES_KEY, "[null]", "expected a list of numbers"),
        ("gan run", "[", "the run's options cannot be read"),
    ],
)
def test_damaged_checkpoints_are_refused(tmp_path: Path, key: str, text: str, told: str) -> None:
    archive, device = tmp_path / "gan.safetensors", mps.Device("cpu")
    _, trainer = train(marks(), options(1), archive=archive, device=device, progress=False)
    archiver = mps.KeyedArchiver()
    trainer.archive(archiver)
    stored = mps.KeyedUnarchiver(device).open(str(archive))
    for name, value in {**stored.metadata, key: text}.items():
        archiver.set_metadata(name, value)
    archiver.write(str(archive))
    with pytest.raises(mps.ArchiveError, match=told):
        train(marks(), options(2), archive=archive, resume=True, device=device, progress=False)


def test_the_suffix_picks_the_format(tmp_path: Path) -> None:
    begins = {"bmp": b"BM", "webp": b"RIFF", "png": b"\x89PNG", "jpg": b"\xff\xd8"}
    begins |= {"jpeg": b"\xff\xd8", "tif": b"II*\0", "tiff": b"II*\0"}
    assert {f".{suffix}" for suffix in begins} == set(WRITTEN)
    pictures = marks(10).pictures
    for suffix, begin in begins.items():
        for name in (suffix, suffix.upper()):
            path = tmp_path / f"digits.{name}"
            save_grid(path, pictures, 5)
            assert path.read_bytes().startswith(begin), name
            with Image.open(path) as picture:
                difference = np.asarray(picture.convert("L"), int) - grid(pictures, 5)
            assert np.abs(difference).max() <= (30 if "j" in suffix else 0), name
    for path in ("digits.txt", "digits"):
        with pytest.raises(mps.FileError, match=r"expected a file ending in \.bmp, "):
            save_grid(tmp_path / path, pictures, 5)
        assert not (tmp_path / path).exists()
