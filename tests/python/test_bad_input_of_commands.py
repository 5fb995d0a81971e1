# SPDX-License-Identifier: MIT
"""What each application's command says of input that it cannot use: one line, exit status 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mpsnn as mps
from mpsnn import cli
from mpsnn.apps import pictures

STYLE = "style train new.safetensors --style look.png --content photographs --edge 16"
GAN = "gan train new.safetensors --edge 8"
CAPTION = "caption train new.safetensors --count 4 --validation-count 2 --size 32 --batch 4"
DENOISE = "denoise train new.safetensors --folder renders --batch 1"

REFUSED = [
    # Pictures, and folders of them.
    ("style train a.safetensors --style text.png", "text.png: expected a picture"),
    (f"{STYLE} --content empty", "empty: expected pictures"),
    (f"{STYLE} --content file", "file: expected a folder of pictures"),
    (f"{STYLE} --edge 64", "photograph photographs/a.png: expected 64 x 64"),
    ("style apply other.safetensors look.png", "expected an archive of `mpsnn style train`"),
    ("caption train a.safetensors --folder empty", "captions.tsv: expected captions"),
    ("denoise train a.safetensors --folder empty", "empty"),
    (f"{CAPTION} --features inception --size 75", "expected the weights of Inception-v3"),
    (f"{CAPTION} --features inception --size 75 --weights file", "file: expected a safetensors"),
    (
        f"{CAPTION} --features inception --size 75 --weights none",
        "none: expected a file of weights",
    ),
    (f"{STYLE} --weights file", "file: expected a safetensors file of tensors"),
    (f"{STYLE} --weights none.pth", "none.pth: expected a file of weights"),
    ("gan train a.safetensors --mnist empty", "train-images-idx3-ubyte: cannot be read"),
    # Archives that are none, of something else, or cannot be written.
    ("gan sample other.safetensors", "expected a digit generator's archive"),
    ("gan sample look.png", "not a safetensors file"),
    ("gan sample damaged.safetensors", "the nets' sizes cannot be read"),
    ("caption apply other.safetensors", "expected a captioner's archive"),
    ("denoise apply other.safetensors --folder renders", "expected a denoiser's archive"),
    ("style apply none.safetensors look.png", "none.safetensors"),
    (f"{STYLE} --resume", "new.safetensors: expected the archive to resume from, got none"),
    (STYLE.replace("new.safetensors", "file/a.safetensors"), "its folder cannot be made"),
    (GAN.replace("new.safetensors", "file/a.safetensors"), "its folder cannot be made"),
    ("gan sample gan.safetensors --out empty", "empty: expected a file to write, it is a folder"),
    ("gan sample gan.safetensors --out a.txt", "a.txt: expected a file ending in .bmp, .jpeg, "),
    ("gan sample gan.safetensors --columns 0", "gan: columns: expected 1 or more, got 0"),
    ("gan demo --out file", "file: expected a folder to write to, it is a file"),
    ("gan demo --out file/demo", "file/demo/file: its folder cannot be made"),
    (f"{GAN} --samples file", "file: expected a folder to write to, it is a file"),
    (f"{GAN} --resume", "new.safetensors: expected the archive to resume from, got none"),
    (f"{GAN} --seed -1", "gan: seed: expected 0 or more, got -1"),
    # Drawings in formats that nobody writes.
    (f"{GAN} --curves curves.bmp", "curves.bmp: expected a file ending in .pdf, .png, .svg"),
    (f"{DENOISE} --curve file/curve.png", "file/curve.png: its folder cannot be made"),
    ("denoise render new --exr file", "file/scene.exr: its folder cannot be made"),
    (f"{STYLE} --preview file/steps", "its folder cannot be made"),
    ("caption apply c.safetensors --out a.bmp", "a.bmp: expected a file ending in"),
    (f"{GAN} --timeline file/steps.json", "file/steps.json: its folder cannot be made"),
    # Numbers that make no sense.
    *((f"{start} --epochs 0", "1 or more") for start in (STYLE, GAN, CAPTION, DENOISE)),
    *((f"{start} --batch -1", "1 or more") for start in (STYLE, GAN, CAPTION, DENOISE)),
    *((f"{start} --checkpoint-every 0", "1 or more") for start in (STYLE, GAN, DENOISE)),
    *((f"{start} --halve-every -1", "0 or more") for start in (STYLE, GAN, DENOISE)),
    *((f"{start} --learning-rate nan", "learning_rate") for start in (GAN, CAPTION, DENOISE)),
    *((f"{start} --learning-rate -1", "learning_rate") for start in (STYLE, GAN, CAPTION)),
    *((f"{start} --seed -1", "seed: expected 0 or more, got -1") for start in (STYLE, CAPTION)),
    *((f"{start} --device toaster", 'got "toaster"') for start in (GAN, DENOISE)),
    (f"{STYLE} --batch 100000000", "style: batch: expected one whose step fits in this machine's"),
    # More than there is memory for, and steps that are larger than the data.
    *(
        (f"{start} --batch 100000000", "batch: expected")
        for start in ("denoise demo", "denoise train new.safetensors", "caption demo", CAPTION, GAN)
    ),
    ("denoise demo --count 20000 --batch 40000", "one whose step fits in this machine's"),
    ("denoise demo --count 100000000", "render: count: expected as many scenes as fit in this"),
    ("denoise render new --count 100000000", "render: count: expected as many scenes as fit in"),
    ("caption demo --count 100000000", "scenes: expected as many as fit in this machine's"),
    (
        "bench resnet50 --batch 10000",
        "bench: batch: expected one whose step fits in this machine's",
    ),
    ("bench resnet50 --batch 100000000", "bench: batch: expected one whose pictures fit in this"),
    # What would be found when all is rendered, read or measured.
    ("denoise demo --crop 200", "denoise: crop: expected 1 x 1 to 96 x 96, the pictures' size"),
    ("denoise demo --size 0", "denoise: size: expected 1 or more, got 0"),
    ("denoise demo --size 100", "height and width: expected multiples of 8"),
    ("denoise demo --learning-rate nan", "learning_rate"),
    ("denoise train new.safetensors --size 100 --crop 64", "height and width: expected multiples"),
    ("denoise train new.safetensors --renders file", "file: expected a folder to write to"),
    ("denoise train new.safetensors --resume", "new.safetensors: expected the archive to resume"),
    (f"{STYLE} --content none --epochs 0", "style: epochs: expected 1 or more"),
    ("caption train a.safetensors --folder captioned --batch 3", "no more than the 2 pictures"),
    ("bench resnet50 --json file/a.json", "file/a.json: its folder cannot be made"),
    ("bench resnet50 --chart a.bmp", "a.bmp: expected a file ending in .pdf, .png, .svg"),
    (f"{STYLE} --style-weight nan", "weight of the style loss: expected a finite number"),
    (f"{GAN} --dropout nan", "dropout: expected from 0 to below 1"),
    (f"{GAN} --averaging 1", "averaging: expected from 0 to below 1"),
    (f"{DENOISE} --validate-every 0", "validate_every: expected 1 or more"),
    (f"{DENOISE} --edge-weight nan", "edge_weight: expected 0 or more"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands run: a few good files and many bad ones."""
    root = tmp_path_factory.mktemp("input")
    (root / "empty").mkdir()
    (root / "file").write_text("no folder", encoding="utf-8")
    (root / "text.png").write_text("no picture", encoding="utf-8")
    generator = np.random.default_rng(0)
    for name in ("look.png", "photographs/a.png"):
        pictures.write(root / name, generator.random((32, 32, 3)), "style")
    (root / "captioned").mkdir()
    # No pictures: they are not read.
    (root / "captioned/captions.tsv").write_text("a.png\tone\nb.png\tone more\n", "utf-8")
    (root / "renders").mkdir()
    for role in ("noisy", "clean", "albedo", "normals"):
        np.save(root / "renders" / f"0.{role}.npy", np.full((8, 8, 3), 0.5, np.float32))
    relu = mps.NeuronReLUNode(mps.ImageNode("x"))
    graph = mps.Graph(mps.Device("cpu"), [relu.result_image])
    for name, keys in (("other", ["other"]), ("damaged", ["generator", "classifier"])):
        archiver = mps.KeyedArchiver()
        for key in keys:
            archiver.encode(key, graph)
        archiver.set_metadata("gan model" if name == "damaged" else "about", '{"depth": 3}')
        archiver.write(str(root / f"{name}.safetensors"))
    return root


@pytest.mark.parametrize(("command", "text"), REFUSED)
def test_it_is_told_in_one_line(
    command: str,
    text: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert cli.main(command.split()) == 2
    told = capsys.readouterr().err
    assert told.startswith("mpsnn: error: "), told
    assert told.count("\n") == 1, told
    assert text in told
    assert not (folder / "new.safetensors").exists()
