# SPDX-License-Identifier: MIT
"""The command `mpsnn gan`: it trains, goes on, draws, and tells what is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from gan_small import marks
from PIL import Image

from mpsnn import cli
from mpsnn.committing import WAYS


@pytest.mark.long
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive, samples = tmp_path / "gan.safetensors", tmp_path / "gan-samples"
    small = ["--edge", "8", "--width", "4", "--batch", "64", "--device", "cpu"]
    arguments = ["gan", "train", str(archive), *small]
    timeline = tmp_path / "steps.json"
    assert cli.main([*arguments, "--epochs", "1", "--timeline", str(timeline)]) == 0
    told = capsys.readouterr().out
    assert "the judge is right on" in told
    assert f"digits along training: {samples}" in told
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
    assert "20 digits:" in capsys.readouterr().out
    assert cli.main(["gan", "sample", str(tmp_path / "none"), "--device", "cpu"]) == 2
    assert cli.main(["gan", "train", str(archive), "--mnist", str(tmp_path)]) == 2
    assert "train-images-idx3-ubyte" in capsys.readouterr().err


@pytest.mark.long
def test_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of it at a small size: its files, and what it tells."""
    out = tmp_path / "demo"
    small = "--edge 8 --width 8 --dropout 0 --batch 16 --epochs 2 --averaging 0 --judge-every 1"
    assert cli.main(["gan", "demo", "--out", str(out), *small.split(), "--device", "cpu"]) == 0
    grids = [f"digits/{name}.png" for name in ("epoch-000", "epoch-001", "epoch-002", "real")]
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert files == [*grids, "gan-curves.png", "gan.png", "gan.safetensors"]
    sizes = {}
    for name in (*grids, "gan.png"):
        with Image.open(out / name) as picture:
            sizes[name] = picture.size
            assert picture.getextrema()[1] > 0, name
    assert set(sizes.values()) == {(20 * (8 + 2) * 2 - 4, 8 * (8 + 2) * 2 - 4)}
    # The archive's generator is the one that drew along training.
    assert (out / "gan.png").read_bytes() == (out / "digits/epoch-002.png").read_bytes()
    lines = capsys.readouterr().out.splitlines()
    quality = r"\d+\.\d % recognised, spread \d\.\d{3}, of each digit( \d+){10}"
    wanted = [
        "1. train a judge, then generator and discriminator, on .+",
        r"the judge is right on \d+\.\d % of real digits it has not seen",
        *(f"epoch {epoch}: {quality}" for epoch in range(3)),
        f"losses and quality over the epochs: {out / 'gan-curves.png'}",
        f"2. restore {out / 'gan.safetensors'} and draw",
        f"512 digits: {quality}",
        f"the digits: {out / 'gan.png'}, along training: {out / 'digits'}",
    ]
    assert len(lines) == len(wanted), lines
    for line, pattern in zip(lines, wanted, strict=True):
        assert re.fullmatch(pattern, line), line
    assert lines[4].partition(": ")[2] == lines[7].partition(": ")[2]
    assert float(lines[7].split()[2]) > 30, lines[7]  # 0 % before the first epoch


@pytest.mark.parametrize(
    ("chosen", "folder"),
    [((), "deep/net-samples"), (("--samples", "grids"), "grids"), (("--no-samples",), None)],
)
def test_where_samples_are_drawn(
    chosen: tuple[str, ...],
    folder: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mpsnn.apps.gan.cli.bundled", lambda edge: marks(edge=edge))
    small = ("--edge", "8", "--width", "2", "--latent", "2", "--batch", "8", "--epochs", "1")
    train = ["gan", "train", "deep/net.safetensors", *small, "--device", "cpu"]
    assert cli.main([*train, *chosen]) == 0
    drawn = {str(path.parent) for path in Path().rglob("*.png")}
    assert drawn == ({folder} if folder else set())
    assert "nothing was left" not in capsys.readouterr().out
    assert cli.main([*train, *chosen, "--resume"]) == 0
    assert "nothing was left to train: of 1 epochs 1 were done" in capsys.readouterr().out
    if folder is not None:
        names = {path.name for path in Path(folder).iterdir()}
        assert names == {"real.png", "epoch-000.png", "epoch-001.png"}


def test_samples_are_drawn_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["gan", "train", "a.safetensors", "--samples", "grids", "--no-samples"])
    assert "not allowed with argument" in capsys.readouterr().err


def test_a_resumed_run_on_other_digits_leaves_the_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = iter((marks(edge=8), marks(50, edge=8)))
    monkeypatch.setattr("mpsnn.apps.gan.cli.bundled", lambda _: next(sets))
    small = ("--edge", "8", "--width", "2", "--latent", "2", "--batch", "8", "--device", "cpu")
    train = ["gan", "train", str(tmp_path / "net.safetensors"), *small]
    assert cli.main([*train, "--epochs", "1"]) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "net-samples").iterdir()}
    assert cli.main([*train, "--epochs", "2", "--resume"]) == 2
    assert "resume: digits: expected 40 digits of 8 x 8 (" in capsys.readouterr().err
    after = {path.name: path.read_bytes() for path in (tmp_path / "net-samples").iterdir()}
    assert after == before
