# SPDX-License-Identifier: MIT
"""Host time to encode what is planned already, and to skip kernels on the device.

    python bench/encode.py [--rounds 30] [--json FILE] [--program build/dev/tests/cpp/bench_encode]

Each figure is the median of its rounds with the fastest and the slowest. Graphs have no peer: eager
libraries have no step that corresponds. Kernels that are encoded one by one stand beside calls of
numpy's and PyTorch's, which also do the work: 8 rows and columns, so that it is little. The program
measures the same from C++ (`cmake --build build/dev --target bench_encode`).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import mpsnn as mps
from mpsnn.apps.resnet50.ways import build_net, build_training, optimizer

CHAIN = 1000
BATCH = 16
ENCODES = 1000  # of one kernel
IN_SEQUENCE = 10
SIZE = 8  # of its matrices

Case = tuple[int, Callable[[], float]]


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


def seconds_to_repeat(call: Callable[[], object]) -> float:
    """Of so many calls."""
    started = time.perf_counter()
    for _ in range(ENCODES):
        call()
    return time.perf_counter() - started


def seconds_to_encode_kernel(
    queue: mps.CommandQueue, encode: Callable[[mps.CommandBuffer], None]
) -> float:
    """Of so many encodes on a fresh command buffer, which then runs to its end."""
    commands = mps.CommandBuffer(queue, "bench", auto_commit=False)
    seconds = seconds_to_repeat(lambda: encode(commands))
    commands.commit()
    commands.wait_until_completed()
    return seconds


def kernel_cases(device: mps.Device, queue: mps.CommandQueue) -> dict[str, Case]:
    """Kernels that are encoded one by one, from Python."""
    ones = np.ones((SIZE, SIZE), np.float32)
    a, b, c = (mps.Matrix.from_array(device, ones) for _ in range(3))
    bias = mps.Vector.from_array(device, np.ones(SIZE, np.float32))
    product, connected = mps.MatrixMultiplication(device), mps.MatrixFullyConnected(device)
    update = mps.OptimizerRMSPropUpdate(device)
    rate = 0.0

    def at_new_rate(commands: mps.CommandBuffer) -> None:
        nonlocal rate
        rate += 1e-6
        update.set_attribute("learning_rate", rate)
        update.encode(commands, a, b, b, c)

    kernels: dict[str, Callable[[mps.CommandBuffer], None]] = {
        "a product": lambda commands: product.encode(commands, a, b, c),
        "fully connected": lambda commands: connected.encode(commands, a, b, c, bias),
        "an optimizer at a new rate": at_new_rate,
    }

    def measure(encode: Callable[[mps.CommandBuffer], None]) -> Callable[[], float]:
        return lambda: seconds_to_encode_kernel(queue, encode)

    cases = {
        f"encode {name}, Python ({ENCODES} times)": (ENCODES, measure(encode))
        for name, encode in kernels.items()
    }
    sequence = mps.KernelSequence(device)
    for _ in range(IN_SEQUENCE):
        sequence.add(product, [a, b, c])
    title = f"encode a sequence of {IN_SEQUENCE} products, Python ({ENCODES} times)"
    return cases | {title: (ENCODES * IN_SEQUENCE, measure(sequence.encode))}


def peer_cases() -> dict[str, Case]:
    """The same product by others, done at once."""
    ones = np.ones((SIZE, SIZE), np.float32)
    out = np.empty_like(ones)
    cases: dict[str, Case] = {
        f"a product by numpy ({ENCODES} times)": (
            ENCODES,
            lambda: seconds_to_repeat(lambda: np.matmul(ones, ones, out=out)),
        )
    }
    if importlib.util.find_spec("torch") is not None:
        import torch

        tensor = torch.from_numpy(ones)
        result = torch.empty_like(tensor)
        cases[f"a product by PyTorch ({ENCODES} times)"] = (
            ENCODES,
            lambda: seconds_to_repeat(lambda: torch.mm(tensor, tensor, out=result)),
        )
    return cases


def program_figures(program: Path, rounds: int) -> dict[str, dict[str, float]]:
    """What the program in C++ measured."""
    told = subprocess.run(
        [str(program), str(rounds)], check=True, capture_output=True, text=True
    ).stdout
    figures = {}
    for line in told.splitlines():
        found = json.loads(line)
        figures[f"encode {found.pop('name')}, C++ ({ENCODES} times)"] = found
    return figures


def spread(measure: Callable[[], float], rounds: int) -> dict[str, float]:
    """Median, fastest and slowest of some rounds, in microseconds."""
    for _ in range(3):
        measure()
    times = [1e6 * measure() for _ in range(rounds)]
    return {"median": statistics.median(times), "min": min(times), "max": max(times)}


def tell(name: str, count: int, found: dict[str, float]) -> None:
    """A row of the table."""
    print(
        f"| {name} | {found['median']:.1f} | {found['min']:.1f}-{found['max']:.1f} "
        f"| {1e3 * found['median'] / count:.0f} |"
    )


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description="Host time to encode graphs.")
    parser.add_argument("--rounds", type=int, default=30, help="measurements of each figure")
    parser.add_argument("--program", type=Path, help="bench_encode, as it was built")
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
    cases: dict[str, Case] = {
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
    cases |= kernel_cases(device, queue) | peer_cases()
    print("| | median µs | min-max µs | ns a kernel |")
    print("|---|---|---|---|")
    figures = {}
    for name, (count, measure) in cases.items():
        figures[name] = spread(measure, arguments.rounds)
        tell(name, count, figures[name])
    if arguments.program is not None:
        for name, found in program_figures(arguments.program, arguments.rounds).items():
            figures[name] = found
            tell(name, ENCODES, found)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
