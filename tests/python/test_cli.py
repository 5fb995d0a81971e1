# SPDX-License-Identifier: MIT
"""The command `mpsnn`."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mpsnn as mps
from mpsnn import cli
from mpsnn.files import optional_module


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"mpsnn {mps.__version__}\n"


def test_devices(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["devices"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == mps.Device.available()
    assert all(line.partition(": ")[2] for line in lines)


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    for text in (mps.__version__, "python", "numpy", "cpu"):
        assert text in out


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["devices", "--fast"]])
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage: mpsnn" in capsys.readouterr().err


def test_help_names_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    out = capsys.readouterr().out
    for command in ("devices", "info", "denoise", "caption", "bench"):
        assert command in out


def test_errors_are_told_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise mps.FileError("nowhere: no such file")

    monkeypatch.setattr(cli, "devices", fail)
    assert cli.main(["devices"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "mpsnn: error: nowhere: no such file\n"
    assert not captured.out


def test_missing_packages_are_told_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "devices", lambda: optional_module("no_such", "plot", "the chart"))
    assert cli.main(["devices"]) == 2
    text = "mpsnn: error: the chart needs no_such (No module named 'no_such'): "
    assert capsys.readouterr().err == text + "pip install 'mpsnn[plot]'\n"


def test_the_package_runs_as_the_command() -> None:
    command = [sys.executable, "-m", "mpsnn", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"mpsnn {mps.__version__}\n")


def test_applications_are_imported_only_where_they_are_wanted() -> None:
    script = (
        "import sys; from mpsnn import cli; cli.main(['devices']);"
        "raise SystemExit(any(name.startswith('mpsnn.apps') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0
