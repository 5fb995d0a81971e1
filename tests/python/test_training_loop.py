# SPDX-License-Identifier: MIT
"""The loop that all applications share: schedule, records, checkpoints, resuming, interrupting."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mpsnn as mps
from mpsnn.training import (
    EpochRecord,
    StepSchedule,
    Trainer,
    TrainerState,
    _Progress,
    with_progress,
)

SHAPE = (2, 4, 4, 1)


def make_graph(device: mps.Device) -> mps.Graph:
    """Learns to multiply by three."""
    source = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(1, 1, 1, 1), [[[[0.5]]]], [0.0], "c", mps.OptimizerAdam()
    )
    loss = mps.ForwardLossNode(
        mps.ConvolutionNode(mps.ImageNode("x"), source),
        mps.ImageNode("y"),
        mps.LossDescriptor(mps.LossType.MEAN_SQUARED_ERROR, mps.ReductionType.SUM, weight=1 / 32),
    )
    loss.result_image.handle = "loss"
    loss.result_image.export_from_graph = True
    last = mps.InitialGradientNode(loss).training_graph()
    return mps.Graph(device, [last[0].result_image], [False])


def batches(_epoch: int, generator: np.random.Generator) -> Iterator[dict[str, np.ndarray]]:
    for _ in range(3):
        x = generator.random(SHAPE, dtype=np.float32)
        yield {"x": x, "y": 3 * x}


def trainer(
    device: mps.Device,
    checkpoint: Path | None = None,
    *,
    graph: mps.Graph | None = None,
    data: Callable[[int, np.random.Generator], Any] = batches,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    progress: bool = False,
    title: str = "",
    every: int = 1,
) -> Trainer:
    return Trainer(
        graph or make_graph(device),
        data,
        schedule=StepSchedule(0.05, 3, 0.5),
        seed=7,
        on_epoch=on_epoch,
        checkpoint=checkpoint,
        checkpoint_every=every,
        metadata={"about": "a test"},
        progress=progress,
        title=title,
    )


def weights(graph: mps.Graph) -> bytes:
    (source,) = graph.data_sources
    return b"".join(
        graph.device.read_parameter(source, name).tobytes()
        for name in graph.device.parameter_names(source)
    )


def restored(device: mps.Device, path: Path, **options: Any) -> Trainer:  # noqa: ANN401
    archive = mps.KeyedUnarchiver(device).open(path)
    made = trainer(device, path, graph=archive.decode_graph("training"), **options)
    made.resume(archive)
    return made


def test_it_learns_and_keeps_records(cpu: mps.Device) -> None:
    seen: list[EpochRecord] = []
    run = trainer(cpu, on_epoch=seen.append)
    history = run.run(8)
    assert [record.epoch for record in history] == list(range(8))
    assert history == seen
    assert history[-1].loss < history[0].loss
    assert all(record.images_per_second > 0 for record in history)
    rates = [0.05] * 3 + [0.025] * 3 + [0.0125] * 2
    assert [record.learning_rate for record in history] == rates
    assert run.optimizers[0].learning_rate == 0.0125
    assert run.run(8) == history, "all epochs are done already"


@pytest.mark.parametrize("every", [0, 2])
def test_schedule(every: int) -> None:
    schedule = StepSchedule(1.0, every, 0.1)
    rates = [schedule.rate(epoch) for epoch in range(5)]
    assert rates == pytest.approx([1.0] * 5 if every == 0 else [1, 1, 0.1, 0.1, 0.01])


def test_resuming_goes_on_bit_for_bit(cpu: mps.Device, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    whole = trainer(cpu)
    whole.run(6)
    trainer(cpu, path).run(3)
    second = restored(cpu, path)
    assert second.state.epoch == 3
    second.run(6)
    assert weights(second.graph) == weights(whole.graph)
    assert [r.loss for r in second.state.history] == [r.loss for r in whole.state.history]


def test_an_interrupt_leaves_a_checkpoint_to_resume_from(cpu: mps.Device, tmp_path: Path) -> None:
    """Ctrl-C in the middle of an epoch: no step is lost or done twice."""
    path = tmp_path / "run.safetensors"
    whole = trainer(cpu)
    whole.run(4)

    def interrupted_batches(epoch: int, generator: np.random.Generator) -> Iterator[Any]:
        for index, batch in enumerate(batches(epoch, generator)):
            if (epoch, index) == (2, 1):
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    before = signal.getsignal(signal.SIGINT)
    first = trainer(cpu, path, data=interrupted_batches)
    first.run(4)
    assert signal.getsignal(signal.SIGINT) is before
    assert first.interrupted
    assert first.state.epoch == 2
    assert 0 < first.state.batch < 3
    second = restored(cpu, path)
    assert not second.interrupted
    second.run(4)
    assert weights(second.graph) == weights(whole.graph)
    assert [r.loss for r in second.state.history] == [r.loss for r in whole.state.history]


@pytest.mark.parametrize("named", [False, True])
def test_an_interrupt_after_the_last_step_proposes_no_resume(
    cpu: mps.Device, tmp_path: Path, capsys: pytest.CaptureFixture[str], named: bool
) -> None:
    """Ctrl-C while the last epoch is measured: nothing is left to train."""

    def interrupt(record: EpochRecord) -> None:
        if record.epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)

    path = tmp_path / "run.safetensors" if named else None
    whole = trainer(cpu, path, on_epoch=interrupt)
    whole.run(2)
    assert whole.interrupted
    assert whole.state.epoch == 2
    whole.tell_interrupted(2, "--resume")
    written = f"; what it made is in {path}" if named else ""
    text = f"interrupted when the training was complete, all 2 epochs{written}\n"
    assert capsys.readouterr().out == text
    whole.tell_interrupted(3, "--resume")
    assert capsys.readouterr().out == "interrupted in epoch 3; go on with --resume\n"


def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_the_checkpoint(
    cpu: mps.Device, tmp_path: Path
) -> None:
    def spoilt(epoch: int, _generator: np.random.Generator) -> Iterator[dict[str, np.ndarray]]:
        for step in range(3):
            bad = epoch == 1 and step == 1
            yield {
                "x": np.full(SHAPE, np.inf if bad else 1, np.float32),
                "y": np.ones(SHAPE, np.float32),
            }

    path = tmp_path / "net.safetensors"
    run = trainer(cpu, path, data=spoilt)
    with pytest.raises(mps.StateError, match="epoch 2, step 2: expected a finite loss, got inf"):
        run.run(3)
    weights = mps.KeyedUnarchiver(cpu).open(str(path)).decode_graph("training")
    assert all(
        np.isfinite(weights.device.read_parameter(source, name)).all()
        for source in weights.data_sources
        for name in source.parameters
    )


def test_a_second_interrupt_stops_at_once(cpu: mps.Device) -> None:
    def impatient(epoch: int, generator: np.random.Generator) -> Iterator[Any]:
        for batch in batches(epoch, generator):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            yield batch

    with pytest.raises(KeyboardInterrupt):
        trainer(cpu, data=impatient).run(2)


def test_checkpoints_come_as_often_as_asked_and_at_the_end(cpu: mps.Device, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    at: list[int] = []

    def note(record: EpochRecord) -> None:
        at.append(record.epoch)
        # Written after the epochs 2 and 4, so it is there from the third on.
        assert path.exists() == (record.epoch >= 2)

    trainer(cpu, path, on_epoch=note, every=2).run(5)
    archive = mps.KeyedUnarchiver(cpu).open(path)
    assert archive.metadata["about"] == "a test"
    assert TrainerState.from_json(archive.metadata["trainer"]).epoch == 5
    assert at == list(range(5))


def test_measures_of_the_application_are_kept(cpu: mps.Device, tmp_path: Path) -> None:
    def measure(record: EpochRecord) -> None:
        record.measures["psnr"] = 30.0 + record.epoch

    path = tmp_path / "run.safetensors"
    trainer(cpu, path, on_epoch=measure).run(2)
    assert [r.measures for r in restored(cpu, path).state.history] == [
        {"psnr": 30.0},
        {"psnr": 31.0},
    ]


def test_runs_in_another_thread(cpu: mps.Device) -> None:
    run = trainer(cpu)
    thread = threading.Thread(target=run.run, args=(2,))
    thread.start()
    thread.join(60)
    assert len(run.state.history) == 2


def test_progress_is_drawn_with_and_without_tqdm(
    cpu: mps.Device, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer(cpu, progress=True).run(2)
    drawn = capsys.readouterr().err
    assert "loss" in drawn
    assert "images/s" in drawn
    monkeypatch.setitem(__import__("sys").modules, "tqdm", None)
    trainer(cpu, progress=True).run(2)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["epoch 1", "epoch 2"]
    assert all("loss" in line and "images/s" in line for line in lines)
    trainer(cpu, progress=True, title="judge").run(1)
    assert capsys.readouterr().err.startswith("judge: epoch 1: loss ")


def test_progress_over_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    assert list(with_progress(range(3), "reading", "pictures")) == [0, 1, 2]
    told = capsys.readouterr().err
    assert "reading: 100%" in told
    assert "| 3/3 [" in told
    assert "pictures" in told


def test_progress_over_a_list_without_tqdm(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(with_progress(range(3), "reading", "pictures", on=False)) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setitem(__import__("sys").modules, "tqdm", None)
    assert list(with_progress(range(3), "reading", "pictures")) == [0, 1, 2]
    assert capsys.readouterr().err == "reading: 3 pictures\n"


@pytest.mark.parametrize("length", [0, 10])
@pytest.mark.parametrize(("done", "skipped"), [(0, 0), (3, 4)])
def test_the_remaining_time_follows_from_all_steps(
    done: int,
    skipped: int,
    length: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten epochs of ten steps of 6 seconds each, by a clock of the test's own."""
    now = [1000.0]
    monkeypatch.setattr(pytest.importorskip("tqdm.std"), "time", lambda: now[0])
    bar = _Progress(done, 10, skipped, length=length, on=True)
    shown = []
    for epoch in range(done, 10):
        for step in range(skipped if epoch == done else 0, 10):
            now[0] += 6.0
            bar.step(0.5, 4)
            text = capsys.readouterr().err
            shown.append((epoch, step, re.findall(r" (\S+)/10 epochs \[(\S+)<(\S+),", text)[-1]))
        bar.epoch(EpochRecord(epoch, 0.5, 1e-3, 1.0))
    bar.close()
    for epoch, step, (place, elapsed, remaining) in shown:
        since = 6 * (10 * (epoch - done) + step + 1 - skipped)
        assert elapsed == f"{since // 60:02}:{since % 60:02}"
        if epoch == done and not length:  # how long an epoch is, nobody knows yet
            assert remaining == "?"
            continue
        assert place == f"{epoch + (step + 1) / 10:.1f}"
        rest = 6 * (10 * (10 - epoch) - step - 1)
        minutes, seconds = map(int, remaining.split(":"))
        assert abs(60 * minutes + seconds - rest) <= 1, (epoch, step)


def test_bad_input(cpu: mps.Device, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="epoch 0 has no batches"):
        trainer(cpu, data=lambda *_: []).run(1)
    path = tmp_path / "net.safetensors"
    archiver = mps.KeyedArchiver()
    archiver.encode("training", make_graph(cpu))
    archiver.write(path)
    with pytest.raises(mps.ArchiveError, match="no trainer's state"):
        restored(cpu, path)
    for text in ("", "[]", '{"epoch": 1}', '{"history": [], "speed": 9}'):
        with pytest.raises(mps.ArchiveError, match="trainer's state cannot be read"):
            TrainerState.from_json(text)
