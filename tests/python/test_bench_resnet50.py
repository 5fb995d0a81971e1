# SPDX-License-Identifier: MIT
"""The four ways of encoding a training, and the command that measures them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mpsnn as mps
from mpsnn import cli, measuring
from mpsnn.apps.resnet50 import bench, chart, contestant, images, ways
from mpsnn.apps.resnet50.contestant import PEER, Options

SPEEDS = {"single": 10.0, "double": 12.0, "continue": 11.0, "both": 13.0, PEER: 5.0}
HAS_PEER = importlib.util.find_spec(PEER) is not None


def fake(key: str, options: Options) -> dict[str, Any]:
    """What a contestant would print."""
    return {
        "way": key,
        "images_per_second": SPEEDS[key],
        "memory": 100.0 if key != "both" else 110.0,
        "losses": [2.0, 1.5 if key != PEER else 1.501, *[1.0] * (options.steps - 1)],
        "device": "a device" if key != PEER else "PyTorch 0",
    }


@pytest.mark.parametrize("device_kind", ["cpu"])
def test_the_four_ways_compute_the_same(device_kind: str) -> None:
    pictures = images.synthetic(32, seed=2)
    losses = {}
    for way in ways.WAYS:
        device = mps.Device(device_kind)
        training = ways.build_training(device, ways.build_net(4, 10, 1, ways.optimizer()), 8)
        batches = images.batches(pictures, 8, 5, seed=3)
        losses[way.key] = list(ways.run(way, training, device.command_queue(), batches))
        assert len(losses[way.key]) == 5
    assert len(set(losses["single"])) == 5
    for key, values in losses.items():
        assert values == losses["single"], key


def test_batches_are_asked_for_when_there_is_room(cpu: mps.Device) -> None:
    training = ways.build_training(cpu, ways.build_net(2, 10, 1, ways.optimizer()), 4)
    for way in ways.WAYS:
        asked: list[int] = []

        def batches(asked: list[int] = asked) -> Any:  # noqa: ANN401
            for batch in images.batches(images.synthetic(8), 4, 6):
                asked.append(batch.index)
                yield batch

        losses = ways.run(way, training, cpu.command_queue(), batches())
        next(losses)
        assert len(asked) == way.buffers
        next(losses)
        assert len(asked) == way.buffers + 1
        assert len(list(losses)) == 4


def test_every_way_is_measured_in_turn() -> None:
    asked: list[str] = []

    def runner(key: str, options: Options) -> dict[str, Any]:
        asked.append(key)
        return fake(key, options)

    result = bench.run(Options(), 2, peer=True, runner=runner)
    assert asked == [*SPEEDS, *SPEEDS]
    assert [len(one.memory) for one in result.contestants] == [2] * 5
    assert [one.key for one in result.ours] == ["single", "double", "continue", "both"]


def test_table() -> None:
    text = bench.table(bench.run(Options(steps=2), 3, peer=True, runner=fake))
    lines = text.splitlines()
    assert lines[0] == (
        "ResNet-50, width 64, synthetic, batch 32, float32, 2 steps a round, 3 rounds, 2 threads"
    )
    assert "| single buffering | 10.00 (10.00-10.00) | 1.00 (1.00-1.00) | 100 | 1.00 |" in lines
    assert "| double buffering | 12.00 (12.00-12.00) | 1.20 (1.20-1.20) | 100 | 1.00 |" in lines
    last = "| commitAndContinue, double buffering | 13.00 (13.00-13.00) | 1.30 (1.30-1.30) |"
    assert f"{last} 110 | 1.10 |" in lines
    assert "| PyTorch | 5.00 (5.00-5.00) | 0.50 (0.50-0.50) | 100 | 1.00 |" in lines
    assert "the same losses, bit for bit: 2.0000 to 1.0000." in text
    assert lines[-1] == "PyTorch 0, from the same weights: within 1.0e-03 of these."
    alone = bench.table(bench.run(Options(), 1, peer=False, runner=fake))
    assert alone.endswith("PyTorch was not measured.")
    assert "| PyTorch |" not in alone


def test_ratios_are_those_of_a_round() -> None:
    # The machine is twice as fast in the second round: no way is.
    rounds = iter([1.0] * 4 + [2.0] * 4)

    def runner(key: str, options: Options) -> dict[str, Any]:
        return fake(key, options) | {"images_per_second": SPEEDS[key] * next(rounds)}

    result = bench.run(Options(), 2, peer=False, runner=runner)
    assert result.speed(result.contestants[1]) == measuring.Spread(1.2, 1.2, 1.2)
    assert result.contestants[1].images_per_second == [12.0, 24.0]


def test_other_losses_are_an_error() -> None:
    def runner(key: str, options: Options) -> dict[str, Any]:
        return fake(key, options) | ({"losses": [2.0, 1.4]} if key == "both" else {})

    with pytest.raises(mps.InternalError, match=r"double buffering: expected the losses of single"):
        bench.run(Options(steps=1), 1, peer=False, runner=runner)


def test_losses_that_are_no_numbers_are_told(tmp_path: Path) -> None:
    def runner(key: str, options: Options) -> dict[str, Any]:
        return fake(key, options) | {"losses": [2.0, float("nan")], "memory": float("nan")}

    result = bench.run(Options(steps=1), 1, peer=False, runner=runner)
    assert "2.0000 to nan" in bench.table(result)
    chart.draw(result, tmp_path / "chart.png")
    bench.write_json(result, tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert content["contestants"][0]["losses"] == [2.0, None]
    assert content["contestants"][0]["memory"] == [None]


def test_json_and_chart(tmp_path: Path) -> None:
    result = bench.run(Options(steps=2), 2, peer=True, runner=fake)
    bench.write_json(result, tmp_path / "folder" / "figures.json")
    content = json.loads((tmp_path / "folder" / "figures.json").read_text(encoding="utf-8"))
    assert content["options"]["batch"] == 32
    assert content["reference"] == "single"
    speeds = {one["key"]: one["images_per_second"] for one in content["contestants"]}
    assert speeds == {key: [value] * 2 for key, value in SPEEDS.items()}
    chart.draw(result, tmp_path / "chart.svg")
    text = (tmp_path / "chart.svg").read_text(encoding="utf-8")
    for word in ("commitAndContinue", "PyTorch", "1.30", "13.00/s", "110 MiB", "a device"):
        assert word in text, word


def test_failed_contestants_are_told() -> None:
    code = "import sys; sys.stderr.write('alas'); sys.exit(3)"
    with pytest.raises(measuring.ContestantError, match=r"one failed \(status 3\):\nalas"):
        measuring.run_contestant("one", ["-c", code], 1)


def test_threads_are_set_for_the_libraries() -> None:
    code = "import os; print('text'); print('{\"n\": ' + os.environ['OMP_NUM_THREADS'] + '}')"
    assert measuring.run_contestant("one", ["-c", code], 7) == {"n": 7}


def test_peak_memory() -> None:
    memory = measuring.PeakMemory()
    if memory.mebibytes() != memory.mebibytes():
        pytest.skip("the system does not tell a process's memory")
    held = bytearray(b"1" * (64 << 20))
    assert 60 < memory.mebibytes() < 160
    del held
    memory.forget()
    assert memory.mebibytes() < 60


# ---- the command ---------------------------------------------------------------------------------

SMALL = ("--width", "4", "--batch", "4", "--steps", "1", "--rounds", "1")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mpsnn", "bench", "resnet50", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.long
def test_command(tmp_path: Path) -> None:
    figures, picture = tmp_path / "figures.json", tmp_path / "chart.png"
    done = run(*SMALL, "--device", "cpu", "--no-peer", "--json", figures, "--chart", picture)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| ") >= 4
    assert "PyTorch was not measured." in done.stdout
    assert done.stderr.count("round 1/1: ") == 4
    content = json.loads(figures.read_text(encoding="utf-8"))
    assert content["options"]["width"] == 4
    for one in content["contestants"]:
        (speed,), (memory,) = one["images_per_second"], one["memory"]
        assert speed > 0
        assert memory is None or memory > 0
        assert len(one["losses"]) == 2
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_command_captures_a_timeline(tmp_path: Path) -> None:
    picture, trace = tmp_path / "timeline.png", tmp_path / "trace.json"
    done = run(*SMALL[:-1], "0", "--timeline", picture)
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "cpu: training" in done.stdout
    assert f"the timeline of both: {picture}" in done.stdout
    done = run(*SMALL[:-1], "0", "--timeline", trace, "--timeline-of", "single")
    assert done.returncode == 0, done.stderr
    events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    assert any(event.get("name") == "layer4.2.conv3" for event in events)


@pytest.mark.skipif(not HAS_PEER, reason="PyTorch is not installed")
def test_the_peer_trains_alike() -> None:
    options = Options(batch=16, steps=2, warm=0, width=8)
    found = contestant.measure("single", options)
    expected = contestant.measure(PEER, options)
    assert found["losses"] == pytest.approx(expected["losses"], rel=5e-3)
    assert expected["images_per_second"] > 0


@pytest.mark.long
def test_command_reads_cifar10(tmp_path: Path) -> None:
    record = bytes([3]) + bytes(3072)
    for number in range(1, 6):
        (tmp_path / f"data_batch_{number}.bin").write_bytes(record * 2)
    arguments = (*SMALL, "--no-peer", "--warm", 0, "--dataset", "cifar10", "--data")
    done = run(*arguments, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cifar10, batch 4" in done.stdout
    (tmp_path / "data_batch_3.bin").write_bytes(record[:-1])
    done = run(*arguments, tmp_path)
    assert done.returncode == 2
    assert "data_batch_3.bin: expected records of 3073 bytes" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--device", "cpu", "--format", "float16"],
            "bench: format: expected float32, which is what training supports on cpu, got float16",
        ),
        (["--device", "null"], "bench: device: expected one that computes, got null"),
        (["--device", "abacus"], "abacus"),
        (["--rounds", "0"], "rounds: expected 1 or more (0 with --timeline), got 0"),
        (["--rounds", "-1", "--timeline", "a.png"], "rounds: expected 1 or more"),
        (["--dataset", "cifar10"], "bench: data: expected CIFAR-10's archive or folder"),
        (["--dataset", "cifar10", "--data", "nowhere"], "nowhere: expected a folder or an archive"),
    ],
)
def test_bad_options_are_told(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", "resnet50", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("mpsnn: error: ")
    assert text in captured.err
    assert not captured.out


@pytest.mark.parametrize("name", ["--batch", "--steps", "--width", "--threads"])
@pytest.mark.parametrize("value", ["0", "-1", "x"])
def test_numbers_must_be_positive(
    name: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", "resnet50", name, value])
    assert ended.value.code == 2
    assert name in capsys.readouterr().err


def test_a_peer_that_is_not_there_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "peer_is_installed", lambda: False)
    assert cli.main(["bench", "resnet50", "--peer"]) == 2
    assert "PyTorch is not installed" in capsys.readouterr().err


def test_a_chart_that_cannot_be_drawn_is_told_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["bench", "resnet50", "--chart", "a.png"]) == 2
    assert "pip install 'mpsnn[plot]'" in capsys.readouterr().err


def test_too_few_pictures_are_told(tmp_path: Path) -> None:
    for number in range(1, 6):
        (tmp_path / f"data_batch_{number}.bin").write_bytes(bytes(3073))
    options = Options(dataset="cifar10", data=str(tmp_path), batch=6)
    with pytest.raises(ValueError, match=r"batch: expected at most 5 \(pictures\), got 6"):
        bench.check_data(options)
