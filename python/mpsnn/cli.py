# SPDX-License-Identifier: MIT
"""The command `mpsnn`."""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
from collections.abc import Sequence

import numpy as np

import mpsnn
from mpsnn.files import MissingPackageError


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


# Applications bring packages of their own: each is imported only where it is wanted.
APPLICATIONS = {
    "denoise": ("mpsnn.apps.denoise.cli", "denoise ray-traced images"),
    "style": ("mpsnn.apps.style.cli", "paint photographs in a style"),
    "caption": ("mpsnn.apps.caption.cli", "describe pictures in words"),
    "gan": ("mpsnn.apps.gan.cli", "learn to draw handwritten digits"),
    "bench": ("mpsnn.apps.resnet50.cli", "measure this machine"),
    "selftest": ("mpsnn.selftest", "check a device"),
}


def _parser(application: str) -> argparse.ArgumentParser:
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
    for name, (module, summary) in APPLICATIONS.items():
        if name == application:
            importlib.import_module(module).add_parser(commands)
        else:
            commands.add_parser(name, help=summary, add_help=False)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: The command's arguments; None: those of the process.

    Returns:
        The exit status.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parsed = _parser(given[0] if given else "").parse_args(given)
    try:
        parsed.run(parsed)
    except (mpsnn.Error, MissingPackageError, ValueError, OSError) as error:
        print(f"mpsnn: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
