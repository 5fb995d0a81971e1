# SPDX-License-Identifier: MIT
"""The timeline's picture: lanes, rows, shares, and that it is drawn for few spans and thousands."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import mpsnn as mps
from mpsnn import SpanKind, timeline
from mpsnn.timeline import layout, plot


@dataclass(frozen=True)
class Span:
    """What a capture collects, as far as the picture reads it."""

    kind: SpanKind
    start_ns: int
    end_ns: int
    lane: str = "cpu: queue"
    name: str = "node"
    commands: str = "step"
    kernel: str = ""
    skipped: bool = False


def host(kind: str, start: int, end: int, lane: str = "host: main") -> Span:
    return Span(SpanKind[kind.upper()], start, end, lane, kind)


def kernel(name: str, start: int, end: int, *, lane: str = "cpu: queue", off: bool = False) -> Span:
    return Span(
        SpanKind.KERNEL, start, end, lane, f"{name} at {start}", "step", f"{name}/plain", off
    )


def step() -> list[Span]:
    """One step: two pieces, a gap of 100 between them, a kernel skipped."""
    return [
        host("encode", 0, 1000),
        host("commit", 400, 410),
        host("commit", 1000, 1010),
        host("wait", 1010, 3000),
        Span(SpanKind.PIECE, 500, 1500),
        Span(SpanKind.PIECE, 1600, 2900),
        kernel("convolution", 500, 1200),
        kernel("neuron", 1200, 1500),
        kernel("pooling", 1500, 1500, off=True),
        Span(SpanKind.HOST_FUNCTION, 1600, 1700, name="log"),
        kernel("convolution", 1700, 2900),
    ]


def test_lanes_host_first_then_queues() -> None:
    spans = [kernel("neuron", 0, 5, lane="cpu: b"), *step(), host("encode", 1, 2, "host: worker")]
    plan = layout(spans)
    assert [(lane.name, lane.host) for lane in plan.lanes] == [
        ("host: main", True),
        ("host: worker", True),
        ("cpu: b", False),
        ("cpu: queue", False),
    ]


def test_nested_spans_get_a_row_below() -> None:
    main = layout(step()).lanes[0]
    assert [[span.kind.name.lower() for span in row] for row in main.rows] == [
        ["encode", "commit", "wait"],
        ["commit"],
    ]


def test_pieces_stand_above_kernels_and_skipped_ones_aside() -> None:
    queue = layout(step()).lanes[1]
    assert [[span.kind.name.lower() for span in row] for row in queue.rows] == [
        ["piece", "piece"],
        ["kernel", "kernel", "host_function", "kernel"],
    ]
    assert [span.kernel for span in queue.skipped] == ["pooling/plain"]


def test_rows_never_overlap() -> None:
    generator = np.random.default_rng(1)
    spans = []
    for start, length in generator.integers(0, [1000, 100], (300, 2)).tolist():
        spans.append(kernel("k", start, start + length))
    (lane,) = layout(spans).lanes
    assert sum(len(row) for row in lane.rows) == 300
    for row in lane.rows:
        for before, after in itertools.pairwise(row):
            assert before.end_ns <= after.start_ns


def test_busy_share_counts_work_once() -> None:
    plan = layout(step())
    assert (plan.total_ns, plan.busy_ns) == (3000, 1000 + 1300)
    twice = layout([*step(), kernel("neuron", 600, 1550, lane="cpu: other")])
    assert twice.busy_ns == 1050 + 1300
    assert twice.busy_share == pytest.approx(2350 / 3000)


def test_skipped_kernels_are_no_work() -> None:
    plan = layout([host("encode", 0, 10), kernel("neuron", 2, 6, off=True)])
    assert plan.busy_ns == 0
    assert not plan.colours


def test_the_costliest_operations_get_the_colours() -> None:
    spans = [kernel(f"op{index}", 100 * index, 100 * index + index) for index in range(1, 10)]
    plan = layout(spans)
    assert list(plan.colours) == ["op4", "op5", "op6", "op7", "op8", "op9"]
    assert len(set(plan.colours.values())) == len(timeline.WORK_COLOURS)


def test_order_of_the_spans_does_not_matter() -> None:
    spans = step()
    mixed = [spans[index] for index in np.random.default_rng(2).permutation(len(spans))]
    assert layout(mixed) == layout(spans)


@pytest.mark.parametrize(
    ("spans", "text"),
    [
        ([], "spans: expected at least one, got none"),
        ([Span(SpanKind.KERNEL, 5, 4)], "end_ns: expected at least its start 5, got 4"),
    ],
)
def test_bad_spans_are_refused(spans: list[Span], text: str, tmp_path: Path) -> None:
    with pytest.raises(mps.InvalidArgumentError, match=text):
        plot(spans, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def many(count: int) -> list[Span]:
    spans = []
    for index in range(count):
        start = 1000 * index
        spans.append(kernel(f"op{index % 11}", start, start + 900))
        if index % 50 == 0:
            spans.append(host("encode", start, start + 20_000))
            spans.append(host("commit", start + 20_000, start + 20_100))
    return spans


@pytest.mark.parametrize(
    "spans",
    [
        [host("encode", 7, 7)],
        [kernel("neuron", 0, 10)],
        step(),
        many(5000),
        [kernel("k", 0, 100, lane=f"cpu: {index}") for index in range(30)],
    ],
    ids=["no time at all", "one kernel", "a step", "thousands", "many queues"],
)
def test_pictures_are_written(spans: list[Span], tmp_path: Path) -> None:
    picture = tmp_path / "folder" / "timeline.png"
    plot(spans, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in picture.parent.iterdir()] == ["timeline.png"]


def test_what_the_picture_says(tmp_path: Path) -> None:
    picture = tmp_path / "timeline.svg"
    plot(step(), picture)
    text = picture.read_text(encoding="utf-8")
    for word in ("3 µs, the device is busy 77%", "host: main", "cpu: queue", "skipped", "wait"):
        assert word in text, word


def test_a_capture_is_drawn(cpu: mps.Device, tmp_path: Path) -> None:
    source = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(3, 3, 4, 4), np.ones((4, 3, 3, 4), np.float32), label="blur"
    )
    graph = mps.Graph(cpu, [mps.ConvolutionNode(mps.ImageNode("image"), source).result_image])
    off = mps.Predicate(cpu)
    off.value = 0
    with mps.capture() as trace:
        commands = mps.CommandBuffer(cpu.command_queue("drawn"), "first")
        graph.encode(commands, {"image": np.ones((1, 8, 8, 4), np.float32)})
        commands.predicate = off
        graph.encode(commands, {"image": np.ones((1, 8, 8, 4), np.float32)})
        commands.commit()
        commands.wait_until_completed()
    plan = layout(trace.spans)
    assert [lane.host for lane in plan.lanes] == [True, False]
    assert plan.lanes[1].name == "cpu: drawn"
    assert "blur" in [span.name for span in plan.lanes[1].skipped]
    assert "convolution" in plan.colours
    assert 0 < plan.busy_ns <= plan.total_ns
    trace.plot(tmp_path / "timeline.png")
    assert (tmp_path / "timeline.png").read_bytes().startswith(b"\x89PNG")
