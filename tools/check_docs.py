# SPDX-License-Identifier: MIT
"""Runs the examples of README.md and docs/.

A fenced block is an example by its language, and its info string says what to do with it:

- ``python`` and ``cpp`` blocks are run, each as a program of its own in an empty folder;
- ``python continue`` and ``cpp continue`` run after all earlier blocks of the file back to the last
  one without ``continue``, in the same program;
- ``python setup`` is run, and before every later ``python continue`` of the file, each of which is
  then a program of its own;
- ``python no-run`` and ``cpp no-run`` are not (a fragment, or hardware that is not everywhere);
- ``sh run`` is run by ``bash -eu``; a ``sh`` block without ``run`` is not;
- ``text output`` right after a block is what it prints, compared exactly.

A block marked ``needs-NAME`` is counted as not run where Python has no package of that name.

Links to files of this repository must lead somewhere. Python blocks must go through Python's prompt
line by line, as pasted lines do before Python 3.13: an empty line ends what is indented, and only
that.

A C++ block without ``main`` becomes the body of one; includes at its start stay outside. It is
built by the page's last ``cmake`` block before it that is a whole project, where there is one.

    python tools/check_docs.py [--python .venv/bin/python] [--prefix build/dev/prefix] [FILE ...]

C++ examples are built out of tree against the mpsnn installed in --prefix, with find_package;
without --prefix they are counted as not run.
"""

from __future__ import annotations

import argparse
import codeop
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_SECONDS = 300
CMAKE_LISTS = """\
cmake_minimum_required(VERSION 3.25)
project(example LANGUAGES CXX)
find_package(mpsnn CONFIG REQUIRED)
add_executable(example main.cpp)
target_link_libraries(example PRIVATE mpsnn::mpsnn)
"""


@dataclass
class Block:
    """A fenced block to run."""

    file: Path
    line: int
    language: str
    text: str
    output: str | None = None
    needs: frozenset[str] = frozenset()


@dataclass
class Report:
    """What came of all blocks."""

    passed: int = 0
    marked: int = 0
    failed: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)


def fences(file: Path) -> list[tuple[int, list[str], str]]:
    """Every fenced block: the line of its first text, the words of its info string, its text."""
    found: list[tuple[int, list[str], str]] = []
    lines = file.read_text(encoding="utf-8").splitlines()
    start = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = number
            continue
        text = "".join(f"{row}\n" for row in lines[start + 1 : number])
        found.append((start + 2, lines[start][3:].split(), text))
        start = None
    if start is not None:
        msg = f"{file}:{start + 1}: a fenced block is not closed"
        raise SystemExit(msg)
    return found


def needs_of(marks: set[str]) -> frozenset[str]:
    """Names of the packages that a block needs beside mpsnn's own."""
    found = {mark.removeprefix("needs-") for mark in marks if mark.startswith("needs-")}
    return frozenset(name for name in found if name.isidentifier())


def missing_packages(block: Block, python: Path) -> list[str]:
    """Which of the packages that a block needs Python does not have."""
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
    return [
        name
        for name in sorted(block.needs)
        if subprocess.run([str(python), "-c", code, name], check=False).returncode != 0
    ]


def check_marks(file: Path, line: int, marks: set[str]) -> None:
    """Ends the run for a mark that means nothing."""
    unknown = (
        marks - {"continue", "no-run", "setup"} - {f"needs-{name}" for name in needs_of(marks)}
    )
    if unknown:
        msg = f"{file}:{line}: unknown mark {', '.join(sorted(unknown))}"
        raise SystemExit(msg)


def blocks_of(file: Path) -> tuple[list[Block], list[Block]]:
    """The blocks to run, and those marked ``no-run``."""
    run: list[Block] = []
    skipped: list[Block] = []
    previous: Block | None = None
    so_far = {"python": "", "cpp": ""}
    setup = ""
    for line, info, text in fences(file):
        language, marks = (info[0], set(info[1:])) if info else ("", set())
        if language == "text" and "output" in marks:
            if previous is None:
                msg = f"{file}:{line}: output without an example before it"
                raise SystemExit(msg)
            previous.output = text
        previous = None
        if language in so_far:
            check_marks(file, line, marks)
            block = Block(file, line, language, text, needs=needs_of(marks))
            if "no-run" in marks:
                skipped.append(block)
                continue
            if "continue" in marks:
                block.text = so_far[language] + text
            if "setup" in marks:
                setup = language
            if "continue" not in marks or setup != language:
                so_far[language] = block.text
            run.append(block)
            previous = block
        elif language == "sh" and "run" in marks:
            previous = Block(file, line, language, text)
            run.append(previous)
    return run, skipped


def broken_links(file: Path) -> list[str]:
    """Relative links and pictures whose file is not there, as "<line>: <target>"."""
    broken: list[str] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", line)
        local = [target for target in targets if "://" not in target]
        missing = [target for target in local if not (file.parent / target).exists()]
        broken += [f"{number}: {target}" for target in missing]
    return broken


def line_not_pasted(text: str) -> int | None:
    """The first line, from 0, at which Python's prompt refuses a pasted block."""
    entered: list[str] = []
    for number, line in enumerate([*text.splitlines(), ""]):
        entered.append(line)
        try:
            complete = codeop.compile_command("\n".join(entered)) is not None
        except (SyntaxError, ValueError, OverflowError):
            return number
        if complete:
            entered = []
    return None


def not_pasted(file: Path) -> list[str]:
    """Lines of Python blocks that cannot be pasted, as "<line>: <why>"."""
    found: list[str] = []
    for line, info, text in fences(file):
        number = line_not_pasted(text) if info[:1] == ["python"] else None
        if number is not None:
            found.append(f"{line + number}: cannot be pasted into Python's prompt")
    return found


def cpp_program(text: str) -> str:
    """The block as a whole program."""
    if re.search(r"\bint main\(", text):
        return text
    lines = text.splitlines(keepends=True)
    head = [row for row in lines if row.startswith(("#include", "namespace ", "using namespace"))]
    body = [row for row in lines if row not in head]
    return "".join([*head, "int main() {\n", *body, "}\n"])


def cmake_of(block: Block) -> tuple[str, str]:
    """The CMakeLists.txt that builds a block's main.cpp, and the name of the program."""
    lists = CMAKE_LISTS
    for line, info, text in fences(block.file):
        if line < block.line and info[:1] == ["cmake"] and "project(" in text:
            lists = text
    found = re.search(r"add_executable\((\S+) main\.cpp\)", lists)
    if found is None:
        msg = f"{block.file}:{block.line}: the cmake block before it makes no program of main.cpp"
        raise SystemExit(msg)
    return lists, found.group(1)


def run(
    command: list[str], folder: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Runs a command; both streams in one text."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def run_block(block: Block, folder: Path, python: Path, prefix: Path | None) -> str | None:
    """Runs one block in an empty folder; the failure's text, or None."""
    environment = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    if block.language == "python":
        (folder / "example.py").write_text(block.text, encoding="utf-8")
        steps = [[str(python), "-W", "error", "example.py"]]
    elif block.language == "sh":
        steps = [["bash", "-eu", "-c", block.text]]
    else:
        lists, program = cmake_of(block)
        (folder / "main.cpp").write_text(cpp_program(block.text), encoding="utf-8")
        (folder / "CMakeLists.txt").write_text(lists, encoding="utf-8")
        configure = ["cmake", "-S", ".", "-B", "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug"]
        prefixes = f"-DCMAKE_PREFIX_PATH={prefix};{python.parent.parent}"
        steps = [[*configure, prefixes], ["cmake", "--build", "build"], [f"build/{program}"]]
    result = None
    for step in steps:
        result = run(step, folder, environment)
        if result.returncode != 0:
            return f"{' '.join(step[:3])} … ended with {result.returncode}:\n{result.stdout}"
    if result is not None and block.output is not None and result.stdout != block.output:
        return f"printed\n{result.stdout}instead of\n{block.output}"
    return None


def check(files: list[Path], python: Path, prefix: Path | None) -> Report:
    """Runs all blocks of the files."""
    report = Report()
    for file in files:
        blocks, skipped = blocks_of(file)
        name = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
        report.marked += len(skipped)
        report.failed += [f"{name}:{link}: broken link" for link in broken_links(file)]
        report.failed += [f"{name}:{problem}" for problem in not_pasted(file)]
        for block in blocks:
            where = f"{name}:{block.line}: {block.language}"
            if block.language == "cpp" and prefix is None:
                report.not_run.append(f"{where}: no installed C++ library was given")
                continue
            missing = missing_packages(block, python)
            if missing:
                report.not_run.append(f"{where}: it needs {', '.join(missing)}")
                continue
            with tempfile.TemporaryDirectory() as folder:
                failure = run_block(block, Path(folder), python, prefix)
            if failure is None:
                report.passed += 1
            else:
                report.failed.append(where)
                print(f"{where}: {failure}")
    return report


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, help="default: README.md and docs/**/*.md")
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--prefix", type=Path, help="where the C++ library is installed")
    arguments = parser.parse_args()
    files = arguments.files or [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    python = shutil.which(arguments.python)
    if python is None:
        parser.error(f"{arguments.python} is not a program")
    prefix = arguments.prefix.resolve() if arguments.prefix else None
    # Not resolve(): a virtual environment's python is a link whose own place matters.
    report = check([file.resolve() for file in files], Path(python).absolute(), prefix)
    for line in report.not_run:
        print(f"not run: {line}")
    for line in report.failed:
        print(f"failed: {line}")
    counts = f"{report.passed} passed, {len(report.failed)} failed, {report.marked} marked no-run"
    print(f"examples: {counts}")
    return 1 if report.failed or report.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
