# SPDX-License-Identifier: MIT
"""The command `mpsnn bench resnet50`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import mpsnn as mps
from mpsnn.apps.resnet50 import bench, chart, contestant
from mpsnn.apps.resnet50.contestant import Options
from mpsnn.committing import WAYS, check_timeline
from mpsnn.files import MissingPackageError, prepare_drawing, prepare_output
from mpsnn.measuring import available_processors, run_contestant

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

# Formats of the net's images that the training supports, by device kind.
FORMATS = ("float32",)


def add_parser(commands: Commands) -> None:
    """Adds `bench` to the commands of `mpsnn`.

    Args:
        commands: What `ArgumentParser.add_subparsers` returned.
    """
    parser = commands.add_parser("bench", help="measure this machine")
    actions = parser.add_subparsers(dest="action", required=True)
    resnet50 = actions.add_parser(
        "resnet50",
        help="training of ResNet-50, encoded in four ways, beside PyTorch",
        description=bench.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options = Options(threads=available_processors())
    add = resnet50.add_argument
    add("--dataset", choices=("synthetic", "cifar10"), default=options.dataset)
    add("--data", type=Path, help="CIFAR-10: the archive as downloaded, or a folder")
    add("--device", default=options.device, help="device kind (default: the best here)")
    add("--batch", type=_positive, default=options.batch, help="(default %(default)s)")
    add("--steps", type=_positive, default=options.steps, help="a round (default %(default)s)")
    add(
        "--warm",
        type=_not_negative,
        default=options.warm,
        help="steps before them (default %(default)s)",
    )
    add("--rounds", type=int, default=3, help="(default %(default)s; 0: only the timeline)")
    add("--format", default="float32", help="element type of images (default %(default)s)")
    add("--width", type=_positive, default=options.width, help="channels after the stem (64)")
    add("--threads", type=_positive, default=options.threads, help="(default %(default)s)")
    add("--seed", type=int, default=options.seed, help="(default %(default)s)")
    add(
        "--peer",
        action=argparse.BooleanOptionalAction,
        help="measure PyTorch as well (default: where it is installed)",
    )
    add("--json", type=Path, help="write all figures to this file")
    add("--chart", type=Path, help="draw a chart to this file (needs matplotlib)")
    add(
        "--timeline",
        type=Path,
        help="capture the steps once more, apart: a picture, or a trace for Perfetto (.json)",
    )
    add(
        "--timeline-of",
        choices=[way.key for way in WAYS],
        default="both",
        help="the way to capture (default %(default)s)",
    )
    resnet50.set_defaults(run=_run)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text}")
    return value


def _not_negative(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more, got {text}")
    return value


def _run(arguments: argparse.Namespace) -> None:
    device = mps.Device(arguments.device)
    if device.kind == "null":
        raise mps.InvalidArgumentError("bench: device: expected one that computes, got null")
    if arguments.format not in FORMATS:
        raise mps.UnsupportedError(
            f"bench: format: expected {' or '.join(FORMATS)}, which is what training supports on "
            f"{device.kind}, got {arguments.format}"
        )
    if arguments.peer and not bench.peer_is_installed():
        raise MissingPackageError("bench: peer: PyTorch is not installed; leave --peer away")
    if arguments.rounds < 0 or (arguments.rounds == 0 and arguments.timeline is None):
        raise mps.InvalidArgumentError(
            f"bench: rounds: expected 1 or more (0 with --timeline), got {arguments.rounds}"
        )
    peer = bench.peer_is_installed() if arguments.peer is None else arguments.peer
    options = Options(
        dataset=arguments.dataset,
        data="" if arguments.data is None else str(arguments.data),
        device=device.kind,
        batch=arguments.batch,
        steps=arguments.steps,
        warm=arguments.warm,
        width=arguments.width,
        threads=arguments.threads,
        seed=arguments.seed,
    )
    # Not only when all is measured.
    check_timeline(arguments.timeline)
    if arguments.json is not None:
        prepare_output(arguments.json)
    if arguments.chart is not None:
        prepare_drawing(arguments.chart, "plot", "mpsnn bench's picture")
    bench.check_step(options)
    bench.check_data(options)
    if arguments.rounds:
        _measure(arguments, options, peer=peer)
    if arguments.timeline is not None:
        key, path = arguments.timeline_of, arguments.timeline
        given = contestant.arguments(key, options, str(path.absolute()))
        print(run_contestant(key, given, options.threads)["summary"].rstrip())
        print(f"the timeline of {key}: {path}")


def _measure(arguments: argparse.Namespace, options: Options, *, peer: bool) -> None:
    result = bench.run(options, arguments.rounds, peer=peer)
    print(bench.table(result))
    if arguments.json is not None:
        bench.write_json(result, arguments.json)
    if arguments.chart is not None:
        chart.draw(result, arguments.chart)
        print(f"the chart: {arguments.chart}")
