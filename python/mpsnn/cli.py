# SPDX-License-Identifier: MIT
"""The command `mpsnn`."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence

import numpy as np

import mpsnn


def devices() -> None:
    """Prints the devices of this build and machine, the best first."""
    for kind in mpsnn.Device.available():
        print(f"{kind}: {mpsnn.Device(kind).name}")


def info() -> None:
    """Prints what a report of a problem should say."""
    print(f"mpsnn {mpsnn.__version__}")
    print(f"python {platform.python_version()}, numpy {np.__version__}")
    print(f"{platform.platform()}")
    devices()


def _parser(*, with_apps: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mpsnn",
        description="Metal Performance Shaders' neural-network graph on every machine.",
    )
    parser.add_argument("--version", action="version", version=f"mpsnn {mpsnn.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listing = commands.add_parser("devices", help="list the devices of this machine")
    listing.set_defaults(run=lambda _: devices())
    report = commands.add_parser("info", help="print versions and devices")
    report.set_defaults(run=lambda _: info())
    if with_apps:
        # Applications bring packages of their own: they are imported where they may be wanted.
        from mpsnn.apps.denoise import cli as denoise

        denoise.add_parser(commands)
    else:
        commands.add_parser("denoise", help="denoise ray-traced images", add_help=False)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: The command's arguments; None: those of the process.

    Returns:
        The exit status.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parsed = _parser(with_apps="denoise" in given[:1]).parse_args(given)
    try:
        parsed.run(parsed)
    except (mpsnn.Error, ValueError, OSError) as error:
        print(f"mpsnn: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
