# SPDX-License-Identifier: MIT
"""Timelines from Python: spans, summary, file, picture."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

import mpsnn as mps

ONES = np.ones((1, 8, 8, 4), np.float32)


def work(device: mps.Device) -> None:
    """Two buffers with a pause between, one of them partly skipped."""
    queue = device.command_queue("main")
    image = mps.ImageNode("x")
    graph = mps.Graph(device, [mps.AdditionNode(image, image).result_image])
    off = mps.Predicate(device)
    off.value = 0
    for name in ("first", "second"):
        commands = mps.CommandBuffer(queue, name)
        graph.encode(commands, {"x": ONES})
        commands.predicate = off
        graph.encode(commands, {"x": ONES})
        commands.predicate = None
        commands.encode_host_function("sleep", lambda: time.sleep(0.002))
        commands.commit()
        commands.wait_until_completed()
        time.sleep(0.01)


def fail_after_work(device: mps.Device) -> None:
    """Ends in an exception."""
    work(device)
    raise KeyError


def test_a_capture_has_all_and_ends(cpu: mps.Device) -> None:
    with mps.capture() as trace:
        assert trace.is_running
        work(cpu)
    assert not trace.is_running
    spans = trace.spans
    work(cpu)
    assert len(trace.spans) == len(spans)
    kinds = [span.kind for span in spans]
    counts = {kind: kinds.count(kind) for kind in set(kinds)}
    assert counts == {
        mps.SpanKind.ENCODE: 4,
        mps.SpanKind.COMMIT: 2,
        mps.SpanKind.WAIT: 2,
        mps.SpanKind.PIECE: 2,
        mps.SpanKind.KERNEL: 4,
        mps.SpanKind.HOST_FUNCTION: 2,
    }
    kernels = [span for span in spans if span.kind == mps.SpanKind.KERNEL]
    assert [span.skipped for span in kernels] == [False, True, False, True]
    assert kernels[0].lane == "cpu: main"
    assert kernels[0].commands == "first"
    assert kernels[0].shapes == "(1, 8, 8, 4), (1, 8, 8, 4) -> (1, 8, 8, 4)"
    assert kernels[0].flops == 3 * ONES.size
    assert kernels[0].bytes == 3 * ONES.nbytes
    assert kernels[0].kernel.startswith("addition/")


def test_the_summary_names_starved_queues_and_costly_nodes(cpu: mps.Device) -> None:
    with mps.capture() as trace:
        work(cpu)
    summary = trace.summary()
    (queue,) = summary.queues
    assert (queue.kernels, queue.skipped) == (4, 2)
    assert queue.starved_seconds >= 0.009
    assert 0.004 <= queue.busy_seconds <= queue.seconds
    assert queue.busy == pytest.approx(queue.busy_seconds / queue.seconds)
    assert queue.gaps[0].starved
    (node,) = summary.nodes
    assert (node.count, node.share) == (2, 1.0)
    assert "starved" in str(summary)
    assert node.name in str(summary)


def test_the_file_opens_as_chromes_format(cpu: mps.Device, tmp_path: Path) -> None:
    with mps.capture() as trace:
        work(cpu)
    path = tmp_path / "trace.json"
    trace.save(path)
    events = json.loads(path.read_text("utf-8"))["traceEvents"]
    names = {e["args"]["name"]: e["tid"] for e in events if e["ph"] == "M"}
    assert set(names) == {"host 1", "cpu: main"}
    spans = [e for e in events if e["ph"] == "X"]
    assert len(spans) == len(trace.spans)
    assert {e["tid"] for e in spans} == set(names.values())
    assert all(e["dur"] >= 0 and e["ts"] >= 0 and e["pid"] == 1 for e in spans)
    with pytest.raises(mps.FileError, match="missing"):
        trace.save(tmp_path / "missing" / "trace.json")


def test_the_picture_is_drawn(cpu: mps.Device, tmp_path: Path) -> None:
    with mps.capture() as trace:
        work(cpu)
    path = tmp_path / "timeline.png"
    trace.plot(path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_one_capture_at_a_time(cpu: mps.Device) -> None:
    with mps.capture() as trace, pytest.raises(mps.StateError, match="second"):
        mps.Trace().start()
    with pytest.raises(mps.StateError, match="was not started"):
        trace.start()
    failed = mps.capture()
    with pytest.raises(KeyError), failed:
        fail_after_work(cpu)
    assert not failed.is_running
    assert len(failed.spans) == 16
