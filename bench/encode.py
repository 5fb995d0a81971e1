# SPDX-License-Identifier: MIT
"""Host time to encode graphs that are planned already, and to skip kernels on the device.

    python bench/encode.py [--rounds 30] [--json FILE]

Nothing is compared with a peer here: eager libraries have no step that corresponds. Each figure is
the median of its rounds with the fastest and the slowest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import mpsnn as mps
from mpsnn.apps.resnet50.ways import build_net, build_training, optimizer

CHAIN = 1000
BATCH = 16


def chain(device: mps.Device) -> mps.Graph:
    """A thousand small kernels, none of which can be left out or fused."""
    image = mps.ImageNode("x")
    for _ in range(CHAIN):
        image = mps.AdditionNode(image, image, secondary_scale=-0.5).result_image
    return mps.Graph(device, [image])


def seconds_to_encode(
    queue: mps.CommandQueue, graph: mps.Graph, sources: dict[str, mps.Image], **options: bool
) -> float:
    """Of one encode on a fresh command buffer, which then runs to its end."""
    commands = mps.CommandBuffer(queue, "bench", **options)
    started = time.perf_counter()
    graph.encode(commands, sources)
    seconds = time.perf_counter() - started
    commands.commit()
    commands.wait_until_completed()
    return seconds


def seconds_to_skip(
    queue: mps.CommandQueue, graph: mps.Graph, sources: dict[str, mps.Image]
) -> float:
    """Of the device, for all kernels of a graph under a predicate that is 0."""
    off = mps.Predicate(queue.device)
    off.value = 0
    commands = mps.CommandBuffer(queue, "bench", auto_commit=False)
    commands.predicate = off
    graph.encode(commands, sources)
    commands.commit()
    commands.wait_until_completed()
    return commands.times.gpu_end - commands.times.gpu_start


def spread(measure: Callable[[], float], rounds: int) -> dict[str, float]:
    """Median, fastest and slowest of some rounds, in microseconds."""
    for _ in range(3):
        measure()
    times = [1e6 * measure() for _ in range(rounds)]
    return {"median": statistics.median(times), "min": min(times), "max": max(times)}


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description="Host time to encode graphs.")
    parser.add_argument("--rounds", type=int, default=30, help="measurements of each figure")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()

    device = mps.Device("cpu")
    queue = device.command_queue()
    small = chain(device)
    pixel = {"x": mps.Image(device, np.ones((1, 1, 1, 1), np.float32))}
    # The kernels of ResNet-50 take long on a CPU; encoding them costs the same on any device.
    null = mps.NullDevice().device
    step = build_training(null, build_net(64, 10, optimizer=optimizer()), BATCH).graph
    batch = {
        "images": mps.Image(null, np.zeros((BATCH, 32, 32, 3), np.float32)),
        "labels": mps.Image(null, np.zeros((BATCH, 1, 1, 10), np.float32)),
    }
    sizes = {handle: image.size for handle, image in batch.items()}
    kernels = step.cost(sizes).operations
    null_queue = null.command_queue()
    cases = {
        f"encode a chain, one piece ({CHAIN} kernels)": (
            CHAIN,
            lambda: seconds_to_encode(queue, small, pixel, auto_commit=False),
        ),
        f"encode a ResNet-50 training step, one piece ({kernels} kernels)": (
            kernels,
            lambda: seconds_to_encode(null_queue, step, batch, auto_commit=False),
        ),
        f"encode a ResNet-50 training step, in pieces ({kernels} kernels)": (
            kernels,
            lambda: seconds_to_encode(null_queue, step, batch, auto_commit=True),
        ),
        f"skip a chain on the device ({CHAIN} kernels)": (
            CHAIN,
            lambda: seconds_to_skip(queue, small, pixel),
        ),
    }
    print("| | median µs | min-max µs | ns a kernel |")
    print("|---|---|---|---|")
    figures = {}
    for name, (count, measure) in cases.items():
        found = spread(measure, arguments.rounds)
        figures[name] = found
        print(
            f"| {name} | {found['median']:.1f} | {found['min']:.1f}-{found['max']:.1f} "
            f"| {1e3 * found['median'] / count:.0f} |"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
