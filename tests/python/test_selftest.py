# SPDX-License-Identifier: MIT
"""The report of `mpsnn selftest`, on the CPU: its measurements have known answers there."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

import mpsnn as mps
from mpsnn import selftest
from mpsnn.cli import main
from mpsnn.measurements import MEASUREMENTS, Finding, measure, odd_windows


def test_the_cpu_is_as_expected(cpu: mps.Device) -> None:
    found = measure(cpu)
    assert list(found) == list(MEASUREMENTS)
    verdicts = {
        one.what: one.verdict for findings in found.values() for one in findings if one.expected
    }
    assert not {what: verdict for what, verdict in verdicts.items() if verdict == "differs"}


@pytest.mark.parametrize("what", odd_windows(5))
def test_windows_tell_the_sides_apart(cpu: mps.Device, what: str) -> None:
    """A measurement that comes out the same on either side would measure nothing."""
    rows = []
    for side in ("TOP_LEFT", "BOTTOM_RIGHT"):
        node = odd_windows(5)[what]
        side_bits = getattr(mps.PaddingMethod, f"ADD_REMAINDER_TO_{side}")
        node.padding_policy = mps.PaddingPolicy(mps.PaddingMethod.SIZE_SAME | side_bits)
        graph = mps.Graph(cpu, [node.result_image])
        commands = mps.CommandBuffer(cpu.command_queue())
        (row,) = graph.encode(
            commands, {"x": np.arange(1, 6, dtype=np.float32).reshape(1, 1, 5, 1)}
        )
        commands.commit()
        rows.append(np.array(row).ravel().tolist())
    assert rows[0] != rows[1]


def test_a_measurement_that_fails_leaves_the_others(
    cpu: mps.Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: mps.Device) -> list[Finding]:
        raise mps.DeviceError("the GPU hung")

    monkeypatch.setitem(MEASUREMENTS, "Philox", fail)
    found = measure(cpu)
    assert found["Philox"] == [Finding("Philox", "the GPU hung", "", "failed")]
    assert len(found["padding"]) == 4


def test_report_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    assert main(["selftest", "--device", "cpu", "--no-cases", "--json", str(path)]) == 0
    text = capsys.readouterr().out
    assert f"device cpu: {mps.Device('cpu').name}" in text
    assert "not run: case tables: not asked for" in text
    assert "words 4096 to 4099 of one fill, seed 0: as expected" in text
    made = json.loads(path.read_text())
    assert made["device"]["kind"] == "cpu"
    assert set(made["measurements"]) == set(MEASUREMENTS)


def test_cases_are_counted(cpu: mps.Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise AssertionError("1 is not 2")

    def refuse() -> None:
        raise mps.UnsupportedError("no such kernel")

    cases = [("A", "a1", lambda: None), ("A", "a2", fail), ("B", "b1", refuse)]
    monkeypatch.setattr(selftest, "_node_cases", lambda _: iter(cases))
    monkeypatch.setattr(selftest, "_kernel_cases", lambda _: iter(()))
    made = selftest.run_cases(cpu, quick=False)
    assert made["classes"] == {"A": {"passed": 1, "failed": 1}, "B": {"refused": 1}}
    assert made["failures"] == [{"case": "a2", "error": "1 is not 2"}]
    assert made["refusals"] == {"B": "no such kernel"}
    assert selftest.run_cases(cpu, quick=True)["classes"]["A"] == {"passed": 1}


def test_numbers_of_mps_are_no_failures(cpu: mps.Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise AssertionError("another mask")

    cases = [("DropoutNode, gradient", "d", fail), ("A", "a", fail)]
    monkeypatch.setattr(selftest, "_node_cases", lambda _: iter(cases))
    monkeypatch.setattr(selftest, "_kernel_cases", lambda _: iter(()))
    made = selftest.run_cases(cast("mps.Device", SimpleNamespace(kind="metal")), quick=False)
    assert made["classes"] == {"DropoutNode, gradient": {"differs": 1}, "A": {"failed": 1}}
    assert made["differences"] == {"DropoutNode, gradient": "the mask is of MPS's own generator"}
    assert len(selftest.run_cases(cpu, quick=False)["failures"]) == 2


def test_the_tables_are_found_in_a_checkout() -> None:
    assert selftest.find_tests() == Path(__file__).resolve().parents[1]


def test_a_device_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "--device", "cpu", "--name", "Z80"]) == 2
    assert 'Device: name: expected "' in capsys.readouterr().err
    with pytest.raises(mps.InvalidArgumentError, match=r"Device: low_power: expected false"):
        mps.Device("cpu", low_power=True)
    assert mps.Device("cpu", name=mps.Device("cpu").name) == mps.Device("cpu")
