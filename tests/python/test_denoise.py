# SPDX-License-Identifier: MIT
"""The denoiser: net, training run, resume, archive, command, and bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import mpsnn as mps
from mpsnn import cli
from mpsnn.apps.denoise import Denoiser, ModelOptions, TrainOptions, build_training, train
from mpsnn.apps.denoise import cli as denoise_cli
from mpsnn.apps.denoise.dataset import ROLES, Batch, DataSet
from mpsnn.apps.denoise.metrics import psnr
from mpsnn.apps.denoise.model import build_net
from mpsnn.committing import WAYS

SMALL = ModelOptions(widths=(6, 8), convolutions=2, seed=4)


def pictures(count: int, edge: int = 32, seed: int = 0) -> DataSet:
    """Coloured discs with noise on top: enough to learn from, without a renderer."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:edge, :edge] / edge
    clean = np.empty((count, edge, edge, 3), np.float32)
    normals = np.zeros_like(clean)
    for index in range(count):
        clean[index] = generator.random(3) * 0.5
        for _ in range(4):
            y, x, radius = generator.random(3) * (1, 1, 0.3)
            inside = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
            clean[index, inside] = generator.random(3)
            normals[index, inside] = generator.normal(size=3) / 3
    noisy = clean + generator.normal(size=clean.shape).astype(np.float32) * 0.2
    return DataSet(noisy.astype(np.float32), clean, clean.copy(), np.clip(normals, -1, 1))


def options(epochs: int, **changes: object) -> TrainOptions:
    values = {
        "epochs": epochs,
        "batch": 2,
        "learning_rate": 3e-3,
        "refresh_every": 0,
        "validate_every": 2,
        "checkpoint_every": 1,
        "model": SMALL,
    }
    return TrainOptions(**{**values, **changes})  # type: ignore[arg-type]


def weights_of(denoiser: Denoiser) -> list[np.ndarray]:
    device = denoiser.graph.device
    return [
        np.array(device.read_parameter(source, name))
        for source in denoiser.graph.data_sources
        for name in ("weights", "bias")
    ]


def test_training_removes_noise() -> None:
    data, unseen = pictures(8), pictures(2, seed=1)
    _denoiser, trainer = train(lambda _: data, unseen, options(25), progress=False)
    losses = [record.loss for record in trainer.state.history]
    assert losses[-1] < 0.25 * losses[0]
    before = np.mean([psnr(unseen.noisy[i], unseen.clean[i]) for i in range(2)])
    assert trainer.state.history[23].measures["psnr"] > before + 1.0


def test_same_run_twice_gives_the_same_bits() -> None:
    data = pictures(4)
    first, second = (
        train(lambda _: data, None, options(3, crop=(16, 16), mirror=True), progress=False)
        for _ in range(2)
    )
    for a, b in zip(weights_of(first[0]), weights_of(second[0]), strict=True):
        assert np.array_equal(a, b)
    assert [r.loss for r in first[1].state.history] == [r.loss for r in second[1].state.history]


def test_resume_continues_bit_exactly(tmp_path: Path) -> None:
    data = pictures(6)
    whole, trainer = train(lambda _: data, None, options(6), progress=False)
    archive = tmp_path / "net.safetensors"
    train(lambda _: data, None, options(2), archive=archive, progress=False)
    rest, resumed = train(
        lambda _: data, None, options(6), archive=archive, resume=True, progress=False
    )
    for a, b in zip(weights_of(whole), weights_of(rest), strict=True):
        assert np.array_equal(a, b)
    assert [r.loss for r in trainer.state.history] == [r.loss for r in resumed.state.history]


def test_interrupt_in_the_middle_of_an_epoch_resumes_bit_exactly(tmp_path: Path) -> None:
    data = pictures(8)
    archive = tmp_path / "net.safetensors"
    whole, _ = train(lambda _: data, None, options(4), progress=False)

    steps = 0

    class Interrupting(DataSet):
        def __getitem__(self, index: int) -> Batch:
            nonlocal steps
            steps += 1
            if steps == 8 + 5:  # in the second epoch, third step
                os.kill(os.getpid(), signal.SIGINT)
            return super().__getitem__(index)

    cut = Interrupting(data.noisy, data.clean, data.albedo, data.normals)
    _, trainer = train(lambda _: cut, None, options(4), archive=archive, progress=False)
    assert trainer.interrupted
    assert trainer.state.epoch == 1
    assert trainer.state.batch > 0
    rest, _ = train(lambda _: data, None, options(4), archive=archive, resume=True, progress=False)
    for a, b in zip(weights_of(whole), weights_of(rest), strict=True):
        assert np.array_equal(a, b)


def test_refresh_asks_for_new_pictures() -> None:
    asked: list[int] = []

    def data(refresh: int) -> DataSet:
        asked.append(refresh)
        return pictures(4, seed=refresh)

    train(data, None, options(5, refresh_every=2), progress=False)
    assert asked == [0, 1, 2]


def test_learning_rate_halves() -> None:
    data = pictures(4)
    _, trainer = train(lambda _: data, None, options(5, halve_every=2), progress=False)
    rates = [record.learning_rate for record in trainer.state.history]
    assert rates == pytest.approx([3e-3, 3e-3, 1.5e-3, 1.5e-3, 0.75e-3])


def test_archive_restores_the_net_elsewhere(tmp_path: Path) -> None:
    data = pictures(4)
    archive = tmp_path / "net.safetensors"
    denoiser, _ = train(lambda _: data, None, options(2), archive=archive, progress=False)
    expected = denoiser(data.noisy, data.albedo, data.normals)
    np.save(tmp_path / "expected.npy", expected)
    program = (
        "import sys, numpy as np\n"
        "from mpsnn.apps.denoise import Denoiser\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_denoise import pictures\n"
        "data = pictures(4)\n"
        "net = Denoiser.load(sys.argv[1])\n"
        "got = net(data.noisy, data.albedo, data.normals)\n"
        "assert np.array_equal(got, np.load(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", program, str(archive), str(tmp_path / "expected.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_training_graph_computes_no_gradient_of_the_inputs() -> None:
    device = mps.Device("cpu")
    net = build_net(SMALL, mps.OptimizerAdam(1e-3))
    graph = build_training(device, net, 2, (16, 16))
    sizes = dict.fromkeys(net.sources, (2, 16, 16, 4)) | {"clean": (2, 16, 16, 3)}
    text = graph.plan_text(sizes)
    assert text.count("convolution_weights_gradient  [") == len(net.weights)
    # All data gradients but the first layer's, and one through the fixed edge filter.
    assert text.count("convolution_data_gradient  [") == len(net.weights) - 1 + 1


@pytest.mark.parametrize(
    ("shape", "text"),
    [((30, 32, 3), "multiples of 4"), ((32, 32, 4), r"\(32, 32, 4\)"), ((32, 32), r"\(32, 32\)")],
)
def test_wrong_sizes_are_refused(shape: tuple[int, ...], text: str) -> None:
    net = build_net(SMALL)
    denoiser = Denoiser(mps.Graph(mps.Device("cpu"), [net.output]), SMALL)
    picture = np.zeros(shape, np.float32)
    with pytest.raises(mps.InvalidArgumentError, match=text):
        denoiser(picture, picture, picture)


def test_the_ways_change_no_picture() -> None:
    data = pictures(3)
    denoiser, _ = train(lambda _: data, None, options(1), progress=False)
    sets = list(zip(data.noisy, data.albedo, data.normals, strict=True))
    expected = [denoiser(*one) for one in sets]
    for way in WAYS:
        for found, wanted in zip(denoiser.each(sets, way=way), expected, strict=True):
            assert np.array_equal(found, wanted), way.key


def test_padding_keeps_the_size() -> None:
    data = pictures(2, edge=32)
    denoiser, _ = train(lambda _: data, None, options(1), progress=False)
    cut = (data.noisy[0, :30, :27], data.albedo[0, :30, :27], data.normals[0, :30, :27])
    assert denoiser(*cut, pad=True).shape == (30, 27, 3)


def _foreign(folder: Path) -> Path:
    archiver = mps.KeyedArchiver()
    source = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(1, 1, 1, 1), np.ones((1, 1, 1, 1), np.float32)
    )
    node = mps.ConvolutionNode(mps.ImageNode("x"), source)
    archiver.encode("other", mps.Graph(mps.Device("cpu"), [node.result_image]))
    archiver.write(str(folder / "other.safetensors"))
    return folder / "other.safetensors"


def _truncated(folder: Path) -> Path:
    data = pictures(2)
    path = folder / "net.safetensors"
    train(lambda _: data, None, options(1), archive=path, progress=False)
    path.write_bytes(path.read_bytes()[:-100])
    return path


def _text(folder: Path) -> Path:
    (folder / "text").write_text("no archive at all, but long enough to be one")
    return folder / "text"


@pytest.mark.parametrize("make", [_foreign, _truncated, _text])
def test_bad_archives_are_refused(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(mps.ArchiveError):
        Denoiser.load(path)


def test_missing_archive(tmp_path: Path) -> None:
    with pytest.raises(mps.FileError, match=r"nothing\.safetensors"):
        Denoiser.load(tmp_path / "nothing.safetensors")


def test_resume_refuses_other_options(tmp_path: Path) -> None:
    data = pictures(4)
    archive = tmp_path / "net.safetensors"
    train(lambda _: data, None, options(1), archive=archive, progress=False)
    with pytest.raises(mps.InvalidArgumentError, match=r"batch: expected 2 .* got 4"):
        train(
            lambda _: data,
            None,
            options(2, batch=4),
            archive=archive,
            resume=True,
            progress=False,
        )


def _write_folder(folder: Path, data: DataSet) -> Path:
    folder.mkdir()
    for index in range(len(data)):
        for role in ("noisy", "clean", "albedo", "normals"):
            np.save(folder / f"{index}.{role}.npy", np.abs(getattr(data, role)[index]))
    return folder


def run(*arguments: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mpsnn", "denoise", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


TRAIN_SMALL = ("--widths", "4,6", "--convolutions", 1, "--batch", 2, "--validate-every", 1)


def test_command_trains_resumes_and_applies(tmp_path: Path) -> None:
    folder = _write_folder(tmp_path / "pictures", pictures(3, edge=16))
    net, out, curve = (tmp_path / name for name in ("net.safetensors", "out.png", "curve.png"))
    done = run("train", net, "--folder", folder, *TRAIN_SMALL, "--epochs", 2, "--curve", curve)
    assert done.returncode == 0, done.stderr
    steps = tmp_path / "steps.json"
    ways = ("--commit", "single", "--timeline", steps)
    done = run("train", net, "--folder", folder, *TRAIN_SMALL, "--epochs", 6, "--resume", *ways)
    assert done.returncode == 0, done.stderr
    assert "the timeline" in done.stdout
    assert json.loads(steps.read_text(encoding="utf-8"))["traceEvents"]
    done = run("apply", net, "--folder", folder, "--out", out, "--commit", "double")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("PSNR") == 6
    assert done.stdout.count("SSIM") == 6
    for picture in (out, curve):
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_demo_and_rendered_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo to its end, and its net on a scene that `render --exr` wrote."""
    for package in ("mitsuba", "matplotlib", "PIL", "skimage", "tqdm"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    sizes = "--size 16 --samples 1 --clean-samples 16"
    small = f"{sizes} --crop 16 --widths 4,6 --convolutions 1 --epochs 2 --validate-every 1"
    assert cli.main(f"denoise demo --out demo --count 2 {small}".split()) == 0
    for picture in ("loss.png", "denoised.png"):
        assert (tmp_path / "demo" / picture).read_bytes().startswith(b"\x89PNG")
    render = f"denoise render demo/renders --count 1 --first-seed 1 --exr scenes {sizes}"
    assert cli.main(render.split()) == 0
    for role in ROLES:
        assert (tmp_path / "scenes" / f"scene-1.{role}.exr").is_file()
    apply = "denoise apply demo/denoiser.safetensors --folder scenes --each each"
    assert cli.main(apply.split()) == 0
    for suffix in ("exr", "png"):
        assert (tmp_path / "each" / f"scene-1.denoised.{suffix}").is_file()


def test_command_tells_what_is_wrong(tmp_path: Path) -> None:
    net = tmp_path / "none.safetensors"
    done = run("apply", net, "--folder", tmp_path)
    assert done.returncode != 0
    assert str(net) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_interrupted_while_its_last_epoch_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _write_folder(tmp_path / "pictures", pictures(4, edge=32))
    net = tmp_path / "net.safetensors"
    monkeypatch.setattr(denoise_cli, "_announce", lambda _: os.kill(os.getpid(), signal.SIGINT))
    command = ["denoise", "train", str(net), "--folder", str(folder), *map(str, TRAIN_SMALL)]
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--epochs", "1"])
    assert ended.value.code == 130
    told = capsys.readouterr().out.splitlines()
    text = "interrupted when the training was complete, all 1 epochs; what it made is in"
    assert told[-1] == f"{text} {net}"
    assert Denoiser.load(net).graph.data_sources


def test_interrupted_command_leaves_a_checkpoint(tmp_path: Path) -> None:
    folder = _write_folder(tmp_path / "pictures", pictures(4, edge=32))
    net = tmp_path / "net.safetensors"
    command = [sys.executable, "-m", "mpsnn", "denoise", "train", str(net), "--folder", str(folder)]
    command += [*map(str, TRAIN_SMALL), "--epochs", "100000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not net.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "--resume" in out
    archive = mps.KeyedUnarchiver(mps.Device("cpu")).open(str(net))
    epoch = json.loads(archive.metadata["trainer"])["epoch"]
    done = run("train", net, "--folder", folder, *TRAIN_SMALL, "--epochs", epoch + 1, "--resume")
    assert done.returncode == 0, done.stderr
