# SPDX-License-Identifier: MIT
"""tests/README.md says what checks each promise: what it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (ROOT / "tests/README.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| promise ")
]


def problem(check: str) -> str:
    """What is wrong with `path`, or `path::text`; nothing where it is there."""
    name, _, text = check.partition("::")
    path = ROOT / name
    if not path.is_file():
        return f"{name}: no such file"
    if name.endswith(".py") and text:
        text = f"\ndef {text}("
    return "" if text in path.read_text(encoding="utf-8") else f"{name}: has no {text!r}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_what_checks_a_promise_exists(row: list[str]) -> None:
    _promise, cell = row
    checks = re.findall(r"`([^`]+)`", cell)
    assert checks
    assert not [problem(check) for check in checks if problem(check)]


@pytest.mark.parametrize(
    ("check", "what"),
    [
        ("tests/cpp/test_nothing.cpp", "no such file"),
        ("tests/python/test_checks.py::test_nothing", "def test_nothing("),
        ("Makefile::unheard of", "has no 'unheard of'"),
    ],
)
def test_what_is_missing_is_found(check: str, what: str) -> None:
    assert what in problem(check)


def test_there_are_rows_of_every_part() -> None:
    assert len(ROWS) > 40


def test_every_test_file_of_archives_is_named() -> None:
    text = (ROOT / "tests/README.md").read_text(encoding="utf-8")
    files = [*ROOT.glob("tests/cpp/test_archive*.cpp"), *ROOT.glob("tests/python/test_archive*.py")]
    assert len(files) > 8
    assert not [file.name for file in files if file.name not in text]
