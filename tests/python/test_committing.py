# SPDX-License-Identifier: MIT
"""The ways to commit work and the timeline, as options of every application."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import mpsnn as mps
from mpsnn.committing import (
    BOTH,
    WAYS,
    StepTimeline,
    Way,
    add_options,
    timeline_of,
    way_named,
    way_of,
)
from mpsnn.training import Batch, StepSchedule, Trainer


def trainer(way: Way, timeline: StepTimeline | None = None, batches: int = 5) -> Trainer:
    source = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(1, 1, 3, 2),
        np.ones((2, 1, 1, 3), np.float32),
        label="mix",
        optimizer=mps.OptimizerAdam(0.1),
    )
    mixed = mps.ConvolutionNode(mps.ImageNode("x"), source)
    descriptor = mps.LossDescriptor(mps.LossType.MEAN_SQUARED_ERROR, mps.ReductionType.SUM)
    loss = mps.ForwardLossNode(mixed, mps.ImageNode("y"), descriptor)
    loss.result_image.handle, loss.result_image.export_from_graph = "loss", True
    last = mps.InitialGradientNode(loss).training_graph()
    device = mps.Device("cpu")
    graph = mps.Graph(device, [last[0].result_image], results_are_needed=[False])

    def data(_epoch: int, generator: np.random.Generator) -> Iterator[Batch]:
        for _ in range(batches):
            x = generator.random((2, 4, 4, 3), np.float32)
            yield {"x": x, "y": x[..., :2]}

    return Trainer(
        graph, data, schedule=StepSchedule(0.1), way=way, timeline=timeline, progress=False
    )


def steps_in(path: Path) -> int:
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    return sum(str(event.get("args", {}).get("kernel", "")).startswith("loss/") for event in events)


def test_the_way_changes_no_loss() -> None:
    losses = {way.key: [record.loss for record in trainer(way).run(3)] for way in WAYS}
    assert losses["single"][2] < losses["single"][0]
    for key, values in losses.items():
        assert values == losses["single"], key


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.key)
def test_a_timeline_has_the_steps_asked_for(way: Way, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "steps.json"
    timeline = StepTimeline(path, warm=1, steps=2)
    trainer(way, timeline).run(2)
    assert steps_in(path) == 2
    assert "training" in timeline.summary


def test_a_loop_that_ends_early_keeps_what_there_was(tmp_path: Path) -> None:
    path = tmp_path / "steps.json"
    timeline = StepTimeline(path, warm=1, steps=100)
    trainer(BOTH, timeline, batches=3).run(1)
    assert steps_in(path) == 2


def test_a_loop_too_short_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    timeline = StepTimeline(tmp_path / "steps.json", warm=3)
    trainer(BOTH, timeline, batches=3).run(1)
    timeline.tell()
    assert "no timeline: the run ended before step 4" in capsys.readouterr().out
    assert not (tmp_path / "steps.json").exists()


def test_a_failure_ends_the_capture_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "steps.json"

    def fail() -> None:
        raise OSError("no more pictures")

    with pytest.raises(OSError, match="no more"), StepTimeline(path).whole():
        fail()
    assert not path.exists()
    with StepTimeline(tmp_path / "other.json").whole():  # none runs any more
        mps.Graph(mps.Device("cpu"), [mps.NeuronReLUNode(mps.ImageNode("x")).result_image])


def test_without_a_file_nothing_is_captured() -> None:
    timeline = StepTimeline(None)
    trainer(BOTH, timeline).run(2)
    with timeline.whole():
        assert timeline.summary == ""


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(arguments)


def test_options() -> None:
    assert way_of(parse()) is BOTH
    for way in WAYS:
        assert way_of(parse("--commit", way.key)) is way
    assert timeline_of(parse()).path is None
    assert timeline_of(parse("--timeline", "a.json")).path == Path("a.json")


def test_bad_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--commit", "triple")
    assert "'single', 'double', 'continue', 'both'" in capsys.readouterr().err
    with pytest.raises(mps.InvalidArgumentError, match=r"single, double, .* got 'triple'"):
        way_named("triple")
    with pytest.raises(mps.InvalidArgumentError, match=r"a picture .* or a trace .* got a\.txt"):
        timeline_of(parse("--timeline", "a.txt"))
    with pytest.raises(mps.InvalidArgumentError, match="1 step or more"):
        StepTimeline(None, steps=0)
