# SPDX-License-Identifier: MIT
"""The command `mpsnn caption`: it trains, goes on, applies, and tells what is wrong."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from caption_small import folder_of, pictures
from safetensors.numpy import load_file

from mpsnn import cli
from mpsnn.apps.caption import Captioned, render, scenes
from mpsnn.apps.caption import pictures as picture_files
from mpsnn.apps.caption.cli import UNSEEN

SMALL = (
    *("--size", "32", "--widths", "4,6", "--embedding", "8", "--hidden", "12", "--batch", "4"),
    *("--checkpoint-every", "1"),
)
TRAIN_SMALL = (*SMALL, "--count", "8", "--validation-count", "4")


def run(*arguments: object) -> int:
    return cli.main(["caption", *map(str, arguments)])


def test_command_trains_resumes_and_applies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, out, steps = (tmp_path / name for name in ("net.safetensors", "out.png", "steps.json"))
    assert run("train", net, *TRAIN_SMALL, "--epochs", 2, "--timeline", steps) == 0
    assert json.loads(steps.read_text(encoding="utf-8"))["traceEvents"]
    assert run("train", net, *TRAIN_SMALL, "--epochs", 3, "--resume", "--commit", "single") == 0
    assert "nothing was left" not in capsys.readouterr().out
    assert run("train", net, *TRAIN_SMALL, "--epochs", 3, "--resume") == 0
    assert "nothing was left to train: of 3 epochs 3 were done" in capsys.readouterr().out
    capsys.readouterr()
    assert run("apply", net, "--scenes", 3, "--beam", 2, "--time", "--out", out) == 0
    text = capsys.readouterr().out
    assert text.count("tokens") == 3
    assert text.count("steps executed") == 3
    assert text.count("times that") >= 2
    assert "by the clock" in text
    assert "of 3 held-out sentences" in text
    assert out.read_bytes().startswith(b"\x89PNG")
    own = folder_of(tmp_path / "own", pictures(4))
    assert run("apply", net, own / "0.png", own / "1.png", "--commit", "double") == 0
    assert capsys.readouterr().out.count("tokens") == 2
    folder = ("train", tmp_path / "own.safetensors", "--folder", own, *SMALL, "--epochs")
    assert run(*folder, 1) == 0
    for option in ("count", "validation-count", "refresh-every"):  # they would change nothing
        capsys.readouterr()
        assert run(*folder, 2, "--resume", f"--{option}", 3) == 2
        assert f"{option}: expected none with --folder" in capsys.readouterr().err


def test_scenes_are_not_drawn_for_other_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, net = folder_of(tmp_path / "own", pictures(4)), tmp_path / "net.safetensors"
    text = "".join(f"{index}.png\tpart {index}\n" for index in range(4))
    (own / picture_files.CAPTIONS).write_text(text, encoding="utf-8")
    assert run("train", net, "--folder", own, *SMALL, "--epochs", 1) == 0
    capsys.readouterr()
    assert run("apply", net) == 2
    assert "pictures: expected some to caption, got none" in capsys.readouterr().err
    # The folder was forgotten: that is what it says.
    assert run("train", net, *TRAIN_SMALL, "--epochs", 2, "--resume") == 2
    text = capsys.readouterr().err
    assert "resume: data: expected the captions and files of" in text
    assert "4 pictures (checksum" in text
    assert "got 8 pictures" in text


def test_command_is_interrupted_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut, whole = tmp_path / "cut.safetensors", tmp_path / "whole.safetensors"
    training = (*TRAIN_SMALL, "--epochs", 3)
    assert run("train", whole, *training) == 0

    def interrupted(count: int, seed: int, edge: int, *, held_out: bool = False) -> Captioned:
        if seed == 1:  # of the second epoch
            signal.raise_signal(signal.SIGINT)
        return render(count, seed, edge, held_out=held_out)

    with monkeypatch.context() as patched:
        patched.setattr(scenes, "render", interrupted)
        with pytest.raises(SystemExit) as ended:
            run("train", cut, *training)
    assert ended.value.code == 130
    text = capsys.readouterr().out
    assert f"interrupted in epoch 2; go on with `mpsnn caption train {cut} --resume`" in text
    assert run("train", cut, *training, "--resume") == 0
    found, wanted = load_file(cut), load_file(whole)
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert np.array_equal(found[name], values), name

    def stop(*_: object, **__: object) -> Captioned:
        raise KeyboardInterrupt

    capsys.readouterr()
    monkeypatch.setattr(scenes, "render", stop)
    assert run("train", cut, *training) == 130
    assert capsys.readouterr().err == "mpsnn: interrupted\n"


def test_command_runs_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("demo", "--out", tmp_path / "demo", *TRAIN_SMALL, "--epochs", 1, "--beam", 2) == 0
    text = capsys.readouterr().out
    assert "greedy: " in text
    assert "beam of 2: " in text
    assert (tmp_path / "demo" / "captions.png").exists()


@pytest.mark.long
def test_the_demo_describes_what_it_never_saw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As anybody runs it; then two sets that no choice of its defaults has ever seen."""
    assert run("demo", "--out", tmp_path) == 0
    told = capsys.readouterr().out
    found = re.findall(r"^(.+): (\S+)% of 300 held-out sentences", told, re.MULTILINE)
    assert [name for name, _ in found] == ["greedy", "beam of 3"]
    assert all(float(share) >= 95 for _, share in found), found
    sets = []
    for seed in (5_000_000, 6_000_000):
        assert (
            run("apply", tmp_path / "captions.safetensors", "--scenes", 1000, "--seed", seed) == 0
        )
        told = capsys.readouterr().out
        (share,) = re.findall(r"^held out: (\S+)% of 1000 held-out", told, re.MULTILINE)
        assert float(share) >= 95, (seed, share)
        sets.append(set(scenes.render(1000, seed, 32, held_out=True).sentences))
    trained = set(render(4000, 0, 32).sentences)
    first = set(render(300, UNSEEN, 32, held_out=True).sentences)
    for one in sets:
        assert not one & trained
        assert len(one - first) > 300  # combinations of its own


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("apply", "none.safetensors"), "none.safetensors"),
        (
            ("apply", "x.safetensors", "a.png", "b.png", "--scenes", "3"),
            "scenes: expected none with pictures (a.png), it is of scenes that are drawn, got 3",
        ),
        (
            ("apply", "x.safetensors", "a.png", "--seed", "0"),
            "seed: expected none with pictures (a.png), it is of scenes that are drawn, got 0",
        ),
        (
            ("train", "x.safetensors", "--features", "inception", "--widths", "24,48"),
            "widths: expected none with --features inception, they are of the small net's layers",
        ),
        (("train", "x.safetensors", "--folder", "none"), "captions.tsv"),
        (("train", "x.safetensors", "--features", "inception"), "weights of Inception-v3"),
        (("train", "x.safetensors", "--size", "50"), "multiple of 8"),
        (("train", "x.safetensors", "--weights", "w"), "weights: expected none for the features"),
        (("train", "x.safetensors", "--resume"), "x.safetensors: expected the archive to resume"),
        (("train", "x.safetensors", "--device", "toaster"), 'got "toaster"'),
        (("train", "x.safetensors", "--learning-rate", "inf"), "learning_rate: expected more"),
        (("train", "x.safetensors", "--validation-folder", "a"), "validation-folder: expected"),
        (("demo", "--beam", "0"), "beam: expected 1 to 19, the number of words, got 0"),
        (("demo", "--beam", "1000"), "beam: expected 1 to 19, the number of words, got 1000"),
        (("demo", "--out", "file"), "file/captions.safetensors: its folder cannot be made"),
        (("demo", "--timeline", "x.bmp"), "timeline: expected a picture"),
    ],
)
def test_command_tells_what_is_wrong(
    arguments: tuple[str, ...],
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    drawn = arguments[0] != "apply" and "--folder" not in arguments
    count = ("--count", "4", "--validation-count", "2") if drawn else ()
    assert run(*arguments, *count) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("mpsnn: error: ")  # and nothing before it: no epoch was trained
    assert text in captured.err
    assert "train on" not in captured.out
