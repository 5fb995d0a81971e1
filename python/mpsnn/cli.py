# SPDX-License-Identifier: MIT
"""The command `mpsnn`."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import platform
import select
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

import numpy as np

import mpsnn
from mpsnn import starting
from mpsnn.files import MissingPackageError

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def devices(indent: str = "") -> None:
    """Prints the devices of this build and machine, the best first.

    Args:
        indent: What each line begins with.
    """
    for kind in mpsnn.Device.available():
        print(f"{indent}{kind}: {mpsnn.Device(kind).name}")


def _memory() -> str:
    page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    text = f"{page * pages / 2**30:.1f} GiB"
    if "SC_AVPHYS_PAGES" in os.sysconf_names:
        text += f", {page * os.sysconf('SC_AVPHYS_PAGES') / 2**30:.1f} GiB free"
    return text


def info() -> None:
    """Prints what a report of a problem should say."""
    print(f"mpsnn {mpsnn.__version__}")
    print(f"python {platform.python_version()}, numpy {np.__version__}")
    print(f"{platform.platform()}")
    print(f"memory: {_memory()}")
    print("libraries:")
    for library in mpsnn.libraries():
        print(f"  {library.name} {library.version}: {library.detail}")
    print("devices:")
    devices("  ")


def completion(shell: str) -> None:
    """Prints the completion of this command for a shell.

    Args:
        shell: "bash", "zsh" or "fish".
    """
    from mpsnn.completion import script

    print(script(shell, _parser(None)), end="")


FAILED = 2  # as argparse ends where it refuses an argument
CLOSED = 141  # as shells tell of a program that wrote to a pipe nobody reads

# Applications bring packages of their own: each is imported only where it is wanted.
APPLICATIONS = {
    "denoise": ("mpsnn.apps.denoise.cli", "denoise ray-traced images"),
    "style": ("mpsnn.apps.style.cli", "paint photographs in a style"),
    "caption": ("mpsnn.apps.caption.cli", "describe pictures in words"),
    "gan": ("mpsnn.apps.gan.cli", "learn to draw handwritten digits"),
    "bench": ("mpsnn.apps.resnet50.cli", "measure this machine"),
    "selftest": ("mpsnn.selftest", "check a device"),
}


def _add_application(commands: Commands, module: str, application: str | None) -> bool:
    """Whether it could be added; where all are wanted one may lack its packages."""
    try:
        importlib.import_module(module).add_parser(commands)
    except ImportError:
        if application is not None:
            raise
        return False
    return True


def _parser(application: str | None) -> argparse.ArgumentParser:
    """The parser with the options of one application, of all where that is None."""
    parser = argparse.ArgumentParser(
        prog="mpsnn",
        description="Metal Performance Shaders' neural-network graph on every machine.",
    )
    parser.add_argument("--version", action="version", version=f"mpsnn {mpsnn.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listing = commands.add_parser("devices", help="list the devices of this machine")
    listing.set_defaults(run=lambda _: devices())
    report = commands.add_parser("info", help="print versions, libraries, memory and devices")
    report.set_defaults(run=lambda _: info())
    words = commands.add_parser("completion", help="print the completion of a shell")
    words.add_argument("shell", choices=("bash", "zsh", "fish"), help="of which one")
    words.set_defaults(run=lambda parsed: completion(parsed.shell))
    for name, (module, summary) in APPLICATIONS.items():
        if application not in {name, None} or not _add_application(commands, module, application):
            commands.add_parser(name, help=summary, add_help=False)
    return parser


def _flush() -> None:
    """Writes what was printed, so that a failure shows while it can be told."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _is_closed(stream: TextIO | None) -> bool:
    """Whether a stream is a pipe that nobody reads any more."""
    try:
        number = stream.fileno() if stream is not None else -1
    except (OSError, ValueError):
        number = -1
    if number < 0:
        return False
    poll = select.poll()
    poll.register(number, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _discard_unwritten(stream: TextIO | None) -> None:
    """Lets a stream that cannot be written end in nothing: Python flushes it as it ends."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)


def _tell(text: str) -> None:
    """Prints a line on stderr, if anybody reads it."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _run(given: list[str]) -> None:
    try:
        parsed = _parser(given[0] if given else "").parse_args(given)
        starting.end()
        parsed.run(parsed)
    except SystemExit:  # of `--help`, too
        _flush()
        raise
    _flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: The command's arguments; None: those of the process.

    Returns:
        The exit status: 0, 2 where an argument or a file is not what was expected, 130 where
        Ctrl-C ended it, or 141 where nobody reads what it prints.
    """
    status = 0
    try:
        _run(list(sys.argv[1:] if arguments is None else arguments))
    except (mpsnn.Error, MissingPackageError, ValueError, OSError, MemoryError) as error:
        if isinstance(error, BrokenPipeError) and any(map(_is_closed, (sys.stdout, sys.stderr))):
            status = CLOSED
        else:
            _tell(f"mpsnn: error: {error}")
            status = FAILED
    except KeyboardInterrupt:
        _tell(starting.INTERRUPTED_LINE)
        status = starting.INTERRUPTED
    if status:
        _discard_unwritten(sys.stdout)
        _discard_unwritten(sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
