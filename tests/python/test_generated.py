# SPDX-License-Identifier: MIT
"""Files that are generated and kept are what the generator would write now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


def test_generated_files_are_up_to_date() -> None:
    done = generate("--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stdout


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
