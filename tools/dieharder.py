# SPDX-License-Identifier: MIT
"""Feeds random words to Debian's dieharder and counts what fails.

    python tools/dieharder.py [--kernel MatrixRandomPhilox] [--order streams] [--tests 0 1 2]

Orders: `consecutive` words; `stream`, those of one stream of MTGP32 (every 1024th block of 256
words); `streams`, the first word of each block, so that neighbours come from different streams.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

import mpsnn as mps

STEP, STREAMS = 256, 1024
CHUNK = STEP * STREAMS * 4
KERNELS = ("MatrixRandomPhilox", "MatrixRandomMTGP32")
ORDERS = ("consecutive", "stream", "streams")
# Those that take seconds: birthdays, count the 1s in a stream, runs, monobit, runs of bits,
# Kolmogorov-Smirnov test of the unit interval.
TESTS = (0, 8, 15, 100, 101, 204)


def words(kernel: str, order: str, seed: int) -> Iterator[Any]:
    """Words of a kernel in an order, without end."""
    device = mps.Device("cpu")
    queue = device.command_queue()
    generator = getattr(mps, kernel)(device, seed=seed)
    vector = mps.Vector(device, length=CHUNK, data_type=mps.DataType.UINT32)
    while True:
        commands = mps.CommandBuffer(queue)
        generator.encode(commands, vector)
        commands.commit()
        commands.wait_until_completed()
        blocks = np.asarray(vector).reshape(-1, STREAMS, STEP)
        if order == "consecutive":
            yield blocks
        elif order == "stream":
            yield np.ascontiguousarray(blocks[:, 3])
        else:
            yield np.ascontiguousarray(blocks.transpose(2, 0, 1))


def run_test(program: str, number: int, kernel: str, order: str, seed: int) -> list[str]:
    """The assessments of one test: PASSED, WEAK or FAILED."""
    command = [program, "-d", str(number), "-g", "200", "-p", "10"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:
            sys.exit("dieharder.py: no pipe to the program")
        # It closes the pipe when it has what it needs.
        with contextlib.suppress(BrokenPipeError):
            for chunk in words(kernel, order, seed):
                process.stdin.write(chunk.tobytes())
        text = process.stdout.read().decode()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    found = re.findall(r"(PASSED|WEAK|FAILED)\s*$", text, re.MULTILINE)
    print(text.splitlines()[-1] if text else f"dieharder -d {number}: no output", flush=True)
    return found or ["FAILED"]


def main() -> int:
    """Runs the tests; the status is that of failures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--kernel", choices=KERNELS, action="append")
    parser.add_argument("--order", choices=ORDERS, action="append")
    parser.add_argument("--tests", type=int, nargs="+", default=list(TESTS))
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    program = shutil.which("dieharder")
    if program is None:
        sys.exit("dieharder.py: dieharder is not installed (Debian: apt-get install dieharder)")
    counts = {"PASSED": 0, "WEAK": 0, "FAILED": 0}
    for kernel in arguments.kernel or KERNELS:
        for order in arguments.order or ORDERS:
            if kernel == "MatrixRandomPhilox" and order == "streams":
                continue  # it has no streams
            for number in arguments.tests:
                print(f"{kernel} {order}: ", end="", flush=True)
                for one in run_test(program, number, kernel, order, arguments.seed):
                    counts[one] += 1
    print(", ".join(f"{count} {name.lower()}" for name, count in counts.items()))
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
