# SPDX-License-Identifier: MIT
"""Random numbers against numpy, PyTorch and JAX, and against a plain fill of the same memory.

    python bench/random.py [--rounds 5] [--seconds 1] [--mebibytes 256] [--only normal]

Each contestant fills the same float32 array again and again, on two threads and in a process of its
own; rounds are interleaved. numpy's generators run on one thread: two of them, each with its own
half, count as numpy on two threads. The memory of JAX's results is made anew each time, as its
interface wants it.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from harness import THREADS, Contestant, PeakMemory, report
from mpsnn.measuring import Spread

Step = Callable[[], object]
DISTRIBUTIONS = ("uniform", "normal")


def fill(count: int, _: str) -> Step:
    """A plain fill, the speed of the memory."""
    halves = np.split(np.empty(count, np.float32), THREADS)
    pool = ThreadPoolExecutor(THREADS)
    return lambda: list(pool.map(lambda half: half.fill(1.0), halves))


def ours(kernel: str) -> Callable[[int, str], Step]:
    """A kernel of ours."""

    def make(count: int, distribution: str) -> Step:
        import mpsnn as mps

        device = mps.Device("cpu")
        queue = device.command_queue()
        descriptor = mps.MatrixRandomDistributionDescriptor
        generator = getattr(mps, kernel)(
            device,
            data_type=mps.DataType.FLOAT32,
            distribution_descriptor=descriptor.uniform(0, 1)
            if distribution == "uniform"
            else descriptor.normal(0, 1),
        )
        vector = mps.Vector(device, length=count)

        def step() -> None:
            commands = mps.CommandBuffer(queue)
            generator.encode(commands, vector)
            commands.commit()
            commands.wait_until_completed()

        return step

    return make


def numpy_step(name: str) -> Callable[[int, str], Step]:
    """Two generators of numpy's, a thread each."""

    def make(count: int, distribution: str) -> Step:
        seeds = np.random.SeedSequence(1).spawn(THREADS)
        generators = [np.random.Generator(getattr(np.random, name)(seed)) for seed in seeds]
        halves = np.split(np.empty(count, np.float32), THREADS)
        pool = ThreadPoolExecutor(THREADS)
        method = "random" if distribution == "uniform" else "standard_normal"

        def half(i: int) -> None:
            getattr(generators[i], method)(dtype=np.float32, out=halves[i])

        return lambda: list(pool.map(half, range(THREADS)))

    return make


def torch_step(count: int, distribution: str) -> Step:
    """PyTorch fills a tensor in place."""
    import torch

    torch.set_num_threads(THREADS)
    tensor = torch.empty(count)
    step: Step = tensor.uniform_ if distribution == "uniform" else tensor.normal_
    return step


def jax_step(count: int, distribution: str) -> Step:
    """JAX, compiled."""
    import jax

    draw = jax.random.uniform if distribution == "uniform" else jax.random.normal
    made: Any = jax.jit(lambda key: draw(key, (count,), "float32"))
    key = jax.random.key(1)
    return lambda: made(key).block_until_ready()


CONTESTANTS: dict[str, Callable[[int, str], Step]] = {
    "mpsnn Philox": ours("MatrixRandomPhilox"),
    "mpsnn MTGP32": ours("MatrixRandomMTGP32"),
    "numpy Philox": numpy_step("Philox"),
    "numpy SFC64": numpy_step("SFC64"),
    "numpy MT19937": numpy_step("MT19937"),
    "PyTorch": torch_step,
    "JAX": jax_step,
    "plain fill": fill,
}
PEERS = ("numpy Philox", "numpy SFC64", "numpy MT19937", "PyTorch", "JAX")


def compare(distribution: str, rounds: int, seconds: float, mebibytes: int) -> None:
    """Runs all contestants in turn and prints a table."""
    size = ["--seconds", str(seconds), "--mebibytes", str(mebibytes), "--only", distribution]
    table = {
        name: Contestant(name, [__file__, *size, "--contestant", name]) for name in CONTESTANTS
    }
    for _ in range(rounds):
        for contestant in table.values():
            contestant.run()
    philox = table["numpy Philox"].medians
    fastest = min((table[name] for name in PEERS), key=lambda one: statistics.median(one.medians))
    print(f"\n{distribution}, {mebibytes} MiB of float32 ({rounds} rounds, {THREADS} threads)")
    print(f"| | GB/s | min-max GB/s | times numpy Philox | times {fastest.name} |")
    print("|---|---|---|---|---|")
    for one in table.values():
        speeds = sorted(mebibytes * 2**20 / 1e9 / time for time in one.medians)
        print(
            f"| {one.name} | {statistics.median(speeds):.2f} | {speeds[0]:.2f}-{speeds[-1]:.2f} | "
            f"{Spread.of_ratios(philox, one.medians).text()} | "
            f"{Spread.of_ratios(fastest.medians, one.medians).text()} |"
        )


def main() -> None:
    """Compares, or measures one contestant."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--only", choices=DISTRIBUTIONS, action="append")
    parser.add_argument("--contestant", choices=list(CONTESTANTS), help="run one, print its times")
    arguments = parser.parse_args()
    only = arguments.only or list(DISTRIBUTIONS)
    if arguments.contestant is not None:
        memory = PeakMemory()
        make = CONTESTANTS[arguments.contestant]
        report(make(arguments.mebibytes << 18, only[0]), memory, seconds=arguments.seconds)
        return
    for distribution in only:
        compare(distribution, arguments.rounds, arguments.seconds, arguments.mebibytes)


if __name__ == "__main__":
    main()
