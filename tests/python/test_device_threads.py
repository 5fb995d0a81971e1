# SPDX-License-Identifier: MIT
"""A device that leaves processors to the program."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import mpsnn as mps

ALL = mps.Device("cpu").threads
needs_two = pytest.mark.skipif(ALL < 2, reason="needs two processors")

COUNT = """
import os, sys
import numpy as np
import mpsnn as mps

device = mps.Device("cpu", threads=int(sys.argv[1]))
commands = mps.CommandBuffer(device.command_queue())
square = mps.Matrix.from_array(device, np.ones((512, 512), np.float32))
result = mps.Matrix(device, rows=512, columns=512)
mps.MatrixMultiplication(device).encode(commands, square, square, result)
commands.commit()
commands.wait_until_completed()
assert np.asarray(result)[1, 1] == 512
print(len(os.listdir("/proc/self/task")))
"""


def test_the_programs_own_number_of_threads_is_none_of_the_devices(cpu: mps.Device) -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert mps.Device("cpu", threads=ALL) == cpu
    finally:
        torch.set_num_threads(before)


@needs_two
@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted where Linux tells them")
def test_kernels_run_on_so_many_threads() -> None:
    found = [
        int(subprocess.check_output([sys.executable, "-c", COUNT, str(threads)], text=True))
        for threads in (1, ALL)
    ]
    assert found[1] - found[0] == ALL - 1


@needs_two
def test_a_limited_device_is_one_of_its_own(cpu: mps.Device) -> None:
    one = mps.Device("cpu", threads=1)
    assert one.threads == 1
    assert one == mps.Device("cpu", threads=1) != cpu
    assert mps.Device("cpu", threads=ALL) == cpu
    assert ", 1 thread, " in one.name
    source = mps.ImageNode("source")
    node = mps.NeuronReLUNode(source)
    graph = mps.Graph(one, [node])
    x = np.array([[[[-1.0], [2.0]]]], np.float32)
    commands = mps.CommandBuffer(one.command_queue())
    (result,) = graph.encode(commands, {"source": x})
    commands.commit()
    np.testing.assert_array_equal(np.asarray(result), np.maximum(x, 0))
    with pytest.raises(mps.InvalidArgumentError, match=r"1 thread, .*got one on device \"cpu\""):
        graph.encode(commands, {"source": mps.Image(cpu, x)})


@pytest.mark.parametrize(
    ("kind", "threads", "expected"),
    [
        ("cpu", -1, "expected 0 or more, got -1"),
        ("cpu", ALL + 1, f"expected 1 to {ALL}, all that OpenMP has, got {ALL + 1}"),
        ("null", 1, 'as device "null" runs no kernels on the host\'s threads, got 1'),
    ],
)
def test_bad_numbers_of_threads(kind: str, threads: int, expected: str) -> None:
    with pytest.raises(mps.InvalidArgumentError, match=expected):
        mps.Device(kind, threads=threads)
    assert mps.Device("null").threads == 0
