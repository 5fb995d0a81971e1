# SPDX-License-Identifier: MIT
"""The command `mpsnn`."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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


def test_the_environment_names_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPSNN_DEVICE", "null")
    assert mps.Device().kind == "null"
    assert mps.Device("cpu").kind == "cpu"
    monkeypatch.setenv("MPSNN_DEVICE", "gameboy")
    expected = r'Device: kind: expected one of "cpu".*, got "gameboy" by MPSNN_DEVICE'
    with pytest.raises(mps.InvalidArgumentError, match=expected):
        mps.Device()


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    for text in (mps.__version__, "python", "numpy", "GiB", "libraries:", "devices:", "cpu"):
        assert text in out
    for library in mps.libraries():
        assert f"  {library.name} {library.version}: {library.detail}" in out


def test_libraries_tell_their_versions() -> None:
    found = {library.name: library for library in mps.libraries()}
    for name, package in (("oneDNN", "onednn-cpu-gomp"), ("OpenBLAS", "scipy-openblas32")):
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{package} is not installed here")
        assert re.match(r"\d+\.\d+\.\d+", found[name].version)
        assert found[name].detail
        if name == "OpenBLAS":  # oneDNN's package counts years
            assert found[name].version.startswith(version.rsplit(".", 2)[0])


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


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """Children hear the signal also where the tests run behind a shell that has them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


COMMANDS = {
    "module": [sys.executable, "-m", "mpsnn"],
    "script": [str(Path(sys.executable).with_name("mpsnn"))],
}


@pytest.mark.usefixtures("ctrl_c_is_heard")
@pytest.mark.parametrize("how", COMMANDS)
@pytest.mark.parametrize("stage", ["numpy", "mpsnn.nodes", "mpsnn.cli", "mpsnn.apps.gan.cli"])
def test_ctrl_c_during_the_imports_ends_in_one_line(how: str, stage: str, tmp_path: Path) -> None:
    """A finder sends the signal when a module is looked for: no clock is involved."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {stage!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [*COMMANDS[how], "gan", "train", str(tmp_path / "a.safetensors"), "--mnist", "none"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "mpsnn: interrupted\n")


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_importing_the_library_leaves_ctrl_c_as_it_is(tmp_path: Path) -> None:
    code = "import mpsnn, signal; assert signal.getsignal(2) is signal.default_int_handler"
    script = tmp_path / "mpsnn_user.py"
    script.write_text(code, encoding="utf-8")
    for command in (["-c", code], [str(script)], ["-m", "timeit", "-n1", code]):
        done = subprocess.run([sys.executable, *command], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_ctrl_c_is_given_back_before_a_command_runs() -> None:
    code = (
        "import sys; sys.argv = ['mpsnn', 'devices']; sys.orig_argv = ['python', *sys.argv]\n"
        "import signal; from mpsnn import cli\n"
        "held = signal.getsignal(2) is not signal.default_int_handler\n"
        "cli.devices = lambda: print(held, signal.getsignal(2) is signal.default_int_handler)\n"
        "sys.exit(cli.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True True\n", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["info", "devices", "--help", "--version", "completion bash"])
def test_nobody_reads_the_output(words: str, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    command = [*COMMANDS["module"], *words.split()]
    done = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, check=False, env=environment
    )
    os.close(writer)
    # argparse of some Pythons passes over what it cannot print.
    assert done.returncode in ((0, 141) if unbuffered and "--" in words else (141,))
    assert done.stderr == b""


def test_a_pipe_of_the_command_itself_that_breaks_is_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise BrokenPipeError("the child is gone")

    monkeypatch.setattr(cli, "devices", fail)
    assert cli.main(["devices"]) == 2
    assert capsys.readouterr().err == "mpsnn: error: the child is gone\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full disk to write to")
def test_output_that_cannot_be_written_is_an_error() -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [*COMMANDS["module"], "info"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            env=environment,
        )
    text = b"mpsnn: error: [Errno 28] No space left on device\n"
    assert (done.returncode, done.stderr) == (2, text)


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


def commands_of_the_documentation() -> list[list[str]]:
    """Every `mpsnn …` of a shell block in README.md and docs/."""
    root = Path(__file__).resolve().parents[2]
    found = []
    for page in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        text = page.read_text("utf-8").replace("\\\n", " ")
        for block in re.findall(r"(?ms)^```sh.*?\n(.*?)^```", text):
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["mpsnn"]:
                    found.append([word for word in words[1:] if not word.startswith(">")])
    return found


def test_commands_of_the_documentation_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    commands = commands_of_the_documentation()
    assert len(commands) > 15
    parser = cli._parser(None)
    for words in commands:
        if words != ["--version"]:  # which ends the process
            parser.parse_args(words)
    assert not capsys.readouterr().err


# ---- completion ----------------------------------------------------------------------------------

OFFERS = {
    "mpsnn ": {"devices", "info", "completion", "denoise", "--version"},
    "mpsnn de": {"devices", "denoise"},
    "mpsnn completion ": {"bash", "zsh", "fish"},
    "mpsnn denoise ": {"render", "train", "apply", "demo"},
    "mpsnn denoise render --co": {"--count"},
    "mpsnn --vers": {"--version"},
}


def completion(shell: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The script of a shell as a file."""
    assert cli.main(["completion", shell]) == 0
    path = folder / f"mpsnn.{shell}"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    return path


def told(command: list[str]) -> set[str]:
    """The words that a shell prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return {line.split("\t")[0] for line in done.stdout.splitlines()}


def shell_or_skip(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


@pytest.mark.parametrize("line", OFFERS)
def test_bash_completes(line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bash = shell_or_skip("bash")
    script = (
        f"source {completion('bash', tmp_path, capsys)}; COMP_WORDS=({line}''); "
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _mpsnn; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    offered = told([bash, "-u", "-c", script])
    last = line.rsplit(" ", maxsplit=1)[-1]
    assert OFFERS[line] <= offered
    assert all(word.startswith(last) for word in offered)


def test_bash_completes_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bash = shell_or_skip("bash")
    (tmp_path / "net.safetensors").touch()
    script = (
        f"source {completion('bash', tmp_path, capsys)}; cd {tmp_path}; "
        "COMP_WORDS=(mpsnn denoise train --folder net); COMP_CWORD=4; _mpsnn; "
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    assert told([bash, "-u", "-c", script]) == {"net.safetensors"}


@pytest.mark.parametrize("line", OFFERS)
def test_fish_completes(line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fish = shell_or_skip("fish")
    path = completion("fish", tmp_path, capsys)
    offered = told([fish, "--no-config", "-c", f"source {path}; complete -C '{line}'"])
    dashes = line.rsplit(" ", maxsplit=1)[-1].startswith("-")
    wanted = {word for word in OFFERS[line] if word.startswith("--") == dashes}
    assert wanted <= offered


def test_zsh_takes_its_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zsh = shell_or_skip("zsh")
    path = completion("zsh", tmp_path, capsys)
    # compadd works within a completion only: here it prints.
    script = (
        f"source {path}; compadd() {{ shift; print -l -- $@ }}; _files() {{ print FILES }}; "
        "words=(mpsnn {}); CURRENT=$#words; _mpsnn"
    )
    for given, wanted in (
        ("''", {"devices", "denoise"}),
        ("completion ''", {"bash", "zsh", "fish"}),
        ("denoise train --folder ''", {"FILES"}),
    ):
        assert wanted <= told([zsh, "-f", "-c", script.replace("{}", given)])
    assert told([zsh, "-f", "-n", str(path)]) == set()


def test_completion_knows_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["completion", "bash"])
    script = capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["bench", "resnet50", "--help"])
    options = re.findall(r"^\s+(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE)
    assert len(options) > 5
    assert all(f"'bench resnet50 {option}'" in script or option in script for option in options)
