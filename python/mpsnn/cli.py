# SPDX-License-Identifier: MIT
"""The command `mpsnn`."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

import mpsnn
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
INTERRUPTED = 130  # as shells tell of a program that Ctrl-C ended

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: The command's arguments; None: those of the process.

    Returns:
        The exit status: 0, 2 where an argument or a file is not what was expected, or 130 where
        Ctrl-C ended it.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parsed = _parser(given[0] if given else "").parse_args(given)
    try:
        parsed.run(parsed)
    except (mpsnn.Error, MissingPackageError, ValueError, OSError, MemoryError) as error:
        print(f"mpsnn: error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("mpsnn: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
