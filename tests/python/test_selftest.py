# SPDX-License-Identifier: MIT
"""The report of `mpsnn selftest`, on the CPU: its measurements have known answers there."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import mpsnn as mps
from mpsnn import selftest, selftest_cases
from mpsnn.cli import main
from mpsnn.measurements import MEASUREMENTS, Finding, measure_one, odd_windows
from mpsnn.selftest_cases import Item

# MTGP32's words and those of Adam in bits are told, whatever they are.
EXPECTED = {"as expected", "measured", "within 1e-6"}


def test_the_cpu_is_as_expected(cpu: mps.Device) -> None:
    findings = [one for name in MEASUREMENTS for one in measure_one(cpu, name)]
    assert {one["verdict"] for one in findings if one["expected"]} <= EXPECTED


@pytest.mark.parametrize("kind", ["cpu", "null"])
@pytest.mark.parametrize(
    "name", ["Philox in parts", "batches of MPS", "recurrent gradients of MPS"]
)
def test_what_is_of_mps_alone_is_refused_elsewhere(kind: str, name: str) -> None:
    (one,) = measure_one(mps.Device(kind), name)
    assert one["verdict"] == "refused"
    assert f'device: expected one of kind "metal", got "{kind}"' in one["got"]


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


def test_a_measurement_that_fails_is_told(cpu: mps.Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: mps.Device) -> list[Finding]:
        raise mps.DeviceError("the GPU hung")

    monkeypatch.setitem(MEASUREMENTS, "Philox", fail)
    made = selftest.report(cpu, tests=None, in_process=True)["measurements"]
    assert made["Philox"] == [
        {"what": "Philox", "got": "the GPU hung", "expected": "", "verdict": "failed"}
    ]
    assert len(made["padding"]) == 4


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


def run_these(
    monkeypatch: pytest.MonkeyPatch, device: mps.Device, items: list[Item], *, quick: bool = False
) -> dict[str, Any]:
    """The report's cases, of these."""
    monkeypatch.setattr(selftest_cases, "_node_cases", lambda _: iter(items))
    monkeypatch.setattr(selftest_cases, "_kernel_cases", lambda _: iter(()))
    monkeypatch.setattr(selftest_cases, "MEASUREMENTS", {})
    tests = Path(__file__).resolve().parents[1]
    made = selftest.report(device, tests=tests, quick=quick, in_process=True)["cases"]
    return cast("dict[str, Any]", made)


def test_cases_are_counted(cpu: mps.Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise AssertionError("1 is not 2")

    def refuse() -> None:
        raise mps.UnsupportedError("no such kernel")

    items = [Item("A", "a1", lambda: None), Item("A", "a2", fail), Item("B", "b1", refuse)]
    made = run_these(monkeypatch, cpu, items)
    assert made["classes"] == {"A": {"passed": 1, "failed": 1}, "B": {"refused": 1}}
    assert made["failures"] == [{"class": "A", "case": "a2", "error": "1 is not 2"}]
    assert made["refusals"] == {"B": "no such kernel"}
    assert run_these(monkeypatch, cpu, items, quick=True)["classes"]["A"] == {"passed": 1}


def test_numbers_of_mps_are_no_failures(cpu: mps.Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise AssertionError("another mask")

    items = [Item("DropoutNode, gradient", "d", fail), Item("A", "a", fail)]
    metal = cast("mps.Device", SimpleNamespace(kind="metal", name="M1"))
    made = run_these(monkeypatch, metal, items)
    assert made["classes"] == {"DropoutNode, gradient": {"differs": 1}, "A": {"failed": 1}}
    assert made["differences"] == {"DropoutNode, gradient": "the mask is of MPS's own generator"}
    assert len(run_these(monkeypatch, cpu, items)["failures"]) == 2


# Tables of a checkout in small: one class ends its process in its second case, one in all cases.
NODES = """
import os, sys
from types import SimpleNamespace

def Run(case, integers):
    return SimpleNamespace(case=case, id=case.id)

def check_forward(device, run):
    if run.case.ends:
        print("MPSSetSize.mm:14: failed assertion of", run.id, file=sys.stderr, flush=True)
        os.abort()
"""
CASES = """
from types import SimpleNamespace

def case(node, name, ends=False):
    return SimpleNamespace(node=node, id=name, ends=ends, exact=True, differentiable=False)

CASES = [case("A", "a1"), case("A", "a2", True), case("A", "a3"), case("B", "b1")]
CASES += [case("C", f"c{n}", True) for n in range(5)]
"""
FILES = {
    "python/node_tests.py": NODES,
    "python/test_matrix_kernels.py": "KERNEL_CASES = []",
    "python/test_image_kernels.py": "KERNEL_CASES = []",
    "python/test_random.py": "KERNEL_CASES = []",
    "python/test_recurrent.py": "",
    "cases/recurrent.py": "RECURRENT_CASES = []",
    "python/kernel_memory.py": "Memory = None",
    "cases/__init__.py": "",
    "cases/arithmetic.py": CASES,
}


@pytest.fixture
def small_tables(tmp_path: Path) -> Path:
    """A folder `tests`."""
    families = {f"cases/{name}.py": "CASES = []" for name in selftest_cases.NODE_FAMILIES}
    for name, text in (families | FILES).items():
        path = tmp_path / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "tests"


def test_a_case_that_ends_its_process_is_a_failure_and_the_rest_goes_on(
    small_tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    arguments = ["--device", "cpu", "--tests", str(small_tables), "--json", str(path)]
    assert main(["selftest", *arguments]) == 2
    told = capsys.readouterr()
    assert "selftest: 4 cases failed" in told.err
    assert "cases: 3 passed, 0 refused, 4 failed, 2 not run" in told.out
    assert "not run: C: 2 cases: 3 ended their processes" in told.out
    made = json.loads(path.read_text())
    assert made["complete"]
    assert made["cases"]["classes"] == {
        "A": {"passed": 2, "failed": 1},
        "B": {"passed": 1},
        "C": {"failed": 3, "not run": 2},
    }
    first = made["cases"]["failures"][0]
    assert (first["class"], first["case"]) == ("A", "a2, forward")
    assert first["error"].startswith("the process ended with signal SIGABRT: … ")
    assert "MPSSetSize.mm:14: failed assertion of a2" in first["error"]
    assert set(made["measurements"]) == set(MEASUREMENTS)


def test_a_case_that_hangs_is_ended(small_tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small_tables / "python/node_tests.py"
    path.write_text(path.read_text().replace("os.abort()", "__import__('time').sleep(600)"))
    monkeypatch.setattr(selftest, "SECONDS_OF_AN_ITEM", 2)
    events = selftest.run_children(selftest_cases.Task("null", "", str(small_tables)))
    assert next(events)["outcome"] == "passed"
    assert next(events)["text"].startswith("the process hung: nothing within 2 seconds: … ")


def test_the_report_so_far_is_told(cpu: mps.Device, small_tables: Path) -> None:
    told: list[dict[str, Any]] = []
    made = selftest.report(cpu, tests=small_tables, quick=True, progress=told.append)
    classes = [list(one["cases"]["classes"]) for one in told]
    assert classes[:3] == [["A"], ["A", "B"], ["A", "B", "C"]]
    assert [one["complete"] for one in told] == [False] * (len(told) - 1) + [True]
    assert told[-1] == made


def test_a_child_that_cannot_begin_is_an_error() -> None:
    task = selftest_cases.Task("cpu", "Z80")
    with pytest.raises(mps.Error, match=r"(?s)selftest: the process ended with status 1.*Z80"):
        list(selftest.run_children(task))


def test_the_tables_are_found_in_a_checkout() -> None:
    assert selftest.find_tests() == Path(__file__).resolve().parents[1]


def test_a_device_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "--device", "cpu", "--name", "Z80"]) == 2
    assert 'Device: name: expected "' in capsys.readouterr().err
    with pytest.raises(mps.InvalidArgumentError, match=r"Device: low_power: expected false"):
        mps.Device("cpu", low_power=True)
    assert mps.Device("cpu", name=mps.Device("cpu").name) == mps.Device("cpu")
