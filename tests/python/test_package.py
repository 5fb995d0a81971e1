# SPDX-License-Identifier: MIT
"""The package as it is installed: version, metadata, command, files that must be there."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mpsnn

ROOT = Path(__file__).resolve().parents[2]


def test_one_version_everywhere() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    match = re.search(r'^version = "([^"]+)"$', text, re.MULTILINE)
    assert match is not None
    assert importlib.metadata.version("mpsnn") == match.group(1)
    assert mpsnn.__version__ == match.group(1)


def test_changelog_has_unreleased_changes_or_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[(Unreleased|{re.escape(mpsnn.__version__)})\]", text, re.MULTILINE)


def test_everything_exported_exists_and_is_documented() -> None:
    assert sorted(set(mpsnn.__all__)) == sorted(mpsnn.__all__)
    for name in mpsnn.__all__:
        item = getattr(mpsnn, name)
        if callable(item):
            assert item.__doc__, f"mpsnn.{name} has no docstring"


def test_the_package_is_typed() -> None:
    files = importlib.resources.files("mpsnn")
    assert (files / "py.typed").is_file()
    assert (files / "_core.pyi").is_file()


def test_requirements_name_the_libraries() -> None:
    requires = importlib.metadata.requires("mpsnn") or []
    assert any(re.match(r"numpy\b", row) for row in requires)
    onednn = [row for row in requires if row.startswith("onednn-cpu-gomp")]
    assert len(onednn) == 1
    assert "x86_64" in onednn[0]
    assert "linux" in onednn[0]
    openblas = [row for row in requires if row.startswith("scipy-openblas32")]
    assert len(openblas) == 1
    assert "linux" in openblas[0]


@pytest.mark.parametrize("extra", ["denoise", "plot", "test"])
def test_extras_are_declared(extra: str) -> None:
    assert extra in (importlib.metadata.metadata("mpsnn").get_all("Provides-Extra") or [])


def test_import_brings_in_no_optional_package() -> None:
    optional = {"mitsuba", "jax", "torch", "matplotlib", "skimage", "PIL", "tqdm"}
    code = f"import sys, mpsnn; print(*sorted({optional} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], text=True, capture_output=True, check=True, timeout=60
    )
    assert result.stdout.split() == []


def test_command_line_is_installed() -> None:
    entries = importlib.metadata.entry_points(group="console_scripts", name="mpsnn")
    assert [entry.value for entry in entries] == ["mpsnn.cli:main"]
    command = Path(sys.executable).with_name("mpsnn")
    result = subprocess.run(
        [str(command), "--help"], text=True, capture_output=True, check=True, timeout=60
    )
    assert "denoise" in result.stdout
