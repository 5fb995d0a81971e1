# SPDX-License-Identifier: MIT
"""The example of transfer learning: what changes, what does not, and what is skipped."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import mpsnn as mps
from mpsnn.committing import WAYS, StepTimeline
from mpsnn.initializers import RandomNumbers


@pytest.fixture
def example(transfer_learning: ModuleType) -> ModuleType:
    return transfer_learning


def test_only_the_last_layers_change_and_new_classes_are_learned(
    example: ModuleType, device: mps.Device
) -> None:
    numbers = RandomNumbers(1, device)
    first = example.Net(example.fresh_body(numbers), example.fresh_last(numbers, "first"))
    seen, unseen = example.digits(0)
    example.learn(example.training(device, first), seen, 3)
    assert example.accuracy(device, first, unseen) > 0.9

    second = example.Net(first.body, example.fresh_last(numbers, "second"))
    seen, unseen = example.digits(example.CLASSES)
    assert example.accuracy(device, second, unseen) < 0.6
    old = {s.label: example.parameters(device, [s]) for s in (*second.body, *second.last)}
    example.learn(example.training(device, second, only_last=True), seen, 10)
    assert example.accuracy(device, second, unseen) > 0.85
    for source in second.body:
        for before, after in zip(
            old[source.label], example.parameters(device, [source]), strict=True
        ):
            assert np.array_equal(before.view(np.uint32), after.view(np.uint32)), source.label
    for source in second.last:
        for before, after in zip(
            old[source.label], example.parameters(device, [source]), strict=True
        ):
            assert not np.array_equal(before, after), source.label


def test_the_step_skips_the_bodys_gradients(example: ModuleType, cpu: mps.Device) -> None:
    numbers = RandomNumbers(1, cpu)
    net = example.Net(example.fresh_body(numbers), example.fresh_last(numbers, "last"))
    whole, transfer = (
        example.training(cpu, net, only_last=only_last) for only_last in (False, True)
    )
    sizes = {
        "pictures": (example.BATCH, example.EDGE, example.EDGE, 1),
        "labels": (example.BATCH, 1, 1, example.CLASSES),
    }
    lines = transfer.plan_text(sizes).splitlines()
    assert sum("  convolution_weights_gradient  [" in line for line in lines) == len(net.last)
    assert sum("  convolution_data_gradient  [" in line for line in lines) == 1
    # A convolution's two gradients cost as much each as the convolution; the first has only one.
    assert 2.9 < example.flops(whole) / example.flops(transfer) < 3


def test_the_step_is_faster_by_as_much_as_the_skipped_work(example: ModuleType) -> None:
    # One thread: on a busy machine several wait for each other, the short steps most of all.
    device = mps.Device("cpu", threads=1)
    numbers = RandomNumbers(1, device)
    net = example.Net(example.fresh_body(numbers), example.fresh_last(numbers, "last"))
    graphs = [example.training(device, net, only_last=only_last) for only_last in (False, True)]
    batch = example.digits(0)[0].sources(np.arange(example.BATCH))
    work = [example.flops(graph) for graph in graphs]
    slow, fast = example.seconds(graphs, batch)
    assert slow / fast > 0.75 * work[0] / work[1]


def test_the_ways_change_no_weight_and_the_timeline_shows_the_last_layers(
    example: ModuleType, cpu: mps.Device, tmp_path: Path
) -> None:
    seen, _ = example.digits(0)
    found = {}
    for way in WAYS:
        numbers = RandomNumbers(1, cpu)
        net = example.Net(example.fresh_body(numbers), example.fresh_last(numbers, "last"))
        path = tmp_path / f"{way.key}.json"
        graph = example.training(cpu, net, only_last=True)
        example.learn(graph, seen, 1, way, StepTimeline(path, warm=1, steps=2))
        kernels = [
            event["name"]
            for event in json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
            if event.get("args", {}).get("kernel")
        ]
        assert sum("loss" in name.lower() for name in kernels) >= 2, way.key
        found[way.key] = example.parameters(cpu, net.last)
    for key, weights in found.items():
        for array, wanted in zip(weights, found["single"], strict=True):
            assert np.array_equal(array, wanted), key


def test_bad_options_end_the_example_with_2(
    example: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        example.main(["--commit", "triple"])
    assert ended.value.code == 2
    assert "'single', 'double', 'continue', 'both'" in capsys.readouterr().err
    assert example.main(["--timeline", "steps.bmp"]) == 2
    assert capsys.readouterr().err.startswith("error: timeline: expected a picture")
    assert example.main(["--out", "digits.bmp"]) == 2
    assert capsys.readouterr().err == (
        "error: digits.bmp: expected a file ending in .pdf, .png, .svg\n"
    )


def test_without_scikit_learn_the_example_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "sklearn.py").write_text("raise ImportError('not here')", encoding="utf-8")
    script = Path(__file__).resolve().parents[2] / "examples" / "python" / "transfer_learning.py"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    text = "error: the digits' data set needs sklearn (not here): pip install 'mpsnn[gan]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", text)


def test_the_example_shows_progress_and_draws_what_it_found(
    example: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from PIL import Image

    drawn = []
    draw = example.draw

    def watched(path: Path, unseen: object, found: np.ndarray) -> None:
        drawn.append(float(np.mean(found == unseen.classes)))  # type: ignore[attr-defined]
        draw(path, unseen, found)

    monkeypatch.setattr(example, "draw", watched)
    out = tmp_path / "new" / "digits.png"
    assert example.main(["--out", str(out)]) == 0
    told = capsys.readouterr()
    shares = [float(share) for share in re.findall(r"(\S+) % right", told.out)]
    assert len(shares) == 3
    assert shares[0] > 95
    assert shares[1] < 60
    assert shares[2] > 90
    assert "bit for bit: True" in told.out
    assert drawn == [pytest.approx(shares[2] / 100, abs=5e-4)]
    assert "15.0/15 epochs" in told.err
    with Image.open(out) as picture:
        pixels = np.asarray(picture.convert("RGB"), np.int64)
    assert pixels.shape[1] > 2 * pixels.shape[0]
    assert (pixels.max(axis=2) < 80).mean() > 0.02  # strokes
