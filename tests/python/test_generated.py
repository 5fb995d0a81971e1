# SPDX-License-Identifier: MIT
"""Files that are generated and kept are what the generator would write now."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mpsnn import _core

ROOT = Path(__file__).resolve().parent.parent.parent


def generate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        str(ROOT / "tools" / "generate.py"),
        "--core",
        _core.__file__,
        *arguments,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def in_tools(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A script that imports the generator's modules."""
    head = "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
    command = [sys.executable, "-c", head + script, str(ROOT / "tools"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_generated_files_are_up_to_date() -> None:
    done = generate("--check")
    assert done.returncode == 0, done.stdout + done.stderr
    if "not compared" in done.stdout:
        pytest.skip(done.stdout.splitlines()[0])
    assert not done.stdout


def test_stubs_of_another_pybind11_are_not_compared() -> None:
    """Signatures look otherwise there: that is said, all else is compared, and it is no failure."""
    script = (
        "import generate\n"
        "generate.gen_stubs.pybind11_version = lambda: 'pybind11 9.7'\n"
        "raise SystemExit(generate.main())"
    )
    done = in_tools(script, "--check", "--core", _core.__file__)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("python/mpsnn/_core.pyi", "docs/reference/python.md"):
        said = f"{re.escape(name)}: not compared: .* pybind11 3.* pybind11 9.7"
        assert any(re.fullmatch(said, line) for line in done.stdout.splitlines()), name
    assert len(done.stdout.splitlines()) == 2


def test_stubs_are_the_same_where_python_shows_the_buffer_protocol() -> None:
    script = (
        "import gen_stubs\n"
        "hidden = type('Buffer', (), {})\n"
        "slots = {'__buffer__': int.__add__, '__release_buffer__': int.__add__}\n"
        "shown = type('Buffer', (), slots)\n"
        "for cls in (hidden, shown): print(gen_stubs.class_stub('Buffer', cls))\n"
        "print(gen_stubs.class_stub('Graph', hidden))"
    )
    done = in_tools(script)
    hidden, shown, without = done.stdout.splitlines()
    assert hidden == shown
    assert hidden.count("def __buffer__(self, flags: int, /) -> memoryview") == 1
    assert "__buffer__" not in without


def test_a_stale_file_is_noticed(tmp_path: Path) -> None:
    kept = ROOT / "docs" / "reference" / "nodes.md"
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import generate; from pathlib import Path\n"
        "generate.ROOT = Path(sys.argv[2])\n"
        "raise SystemExit(not generate.check(generate.ROOT / 'nodes.md', sys.stdin.read()))"
    )
    (tmp_path / "nodes.md").write_text(kept.read_text() + "edited by hand\n")
    done = subprocess.run(
        [sys.executable, "-c", script, str(ROOT / "tools"), str(tmp_path)],
        input=kept.read_text(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "-edited by hand" in done.stdout


def test_a_class_without_a_result_size_is_refused() -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import gen_table\n"
        "from types import SimpleNamespace\n"
        "from mpsnn import _core\n"
        "row = {**_core.node_table()[0], 'doc': 'result = source'}\n"
        "gen_table.Table.read(SimpleNamespace(node_table=lambda: [row]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(ROOT / "tools")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "ConvolutionNode: expected a paragraph **Result size** in its doc" in done.stderr
