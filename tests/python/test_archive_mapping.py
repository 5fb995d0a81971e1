# SPDX-License-Identifier: MIT
"""Large archives: mapped, not copied."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mpsnn as mps

SMALL = mps.ConvolutionDescriptor(1, 1, 256, 256)


def test_what_is_written_does_not_reach_the_file_or_other_devices(
    cpu: mps.Device, tmp_path: Path
) -> None:
    weights = np.random.default_rng(5).standard_normal((256, 1, 1, 256), np.float32)
    source = mps.ConvolutionDataSource(SMALL, weights, optimizer=mps.OptimizerAdam())
    cpu.write_parameter(source, "weights.momentum", 2 * weights)
    archiver = mps.KeyedArchiver()
    archiver.encode("source", source, cpu)
    path = tmp_path / "net"
    archiver.write(path)
    before = path.read_bytes()
    archive = mps.KeyedUnarchiver(cpu).open(path)
    back = archive.decode_data_source("source")
    null = mps.Device("null")
    assert isinstance(back, mps.ConvolutionDataSource)
    for name, factor in (("weights", 1), ("weights.momentum", 2)):
        assert np.array_equal(cpu.read_parameter(back, name), factor * weights)
    assert np.array_equal(null.read_parameter(back, "weights"), weights)
    cpu.write_parameter(back, "weights", 3 * weights)
    cpu.write_parameter(back, "weights.momentum", 4 * weights)
    assert np.array_equal(cpu.read_parameter(back, "weights"), 3 * weights)
    assert np.array_equal(cpu.read_parameter(back, "weights.momentum"), 4 * weights)
    assert np.array_equal(null.read_parameter(back, "weights"), weights)
    assert np.array_equal(back.weights, weights)
    assert path.read_bytes() == before
    again = mps.KeyedUnarchiver(cpu).open(path).decode_data_source("source")
    assert np.array_equal(cpu.read_parameter(again, "weights"), weights)


def test_training_goes_on_bit_for_bit_from_mapped_weights(cpu: mps.Device, tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    shape = (256, 1, 1, 256)
    source = mps.ConvolutionDataSource(
        SMALL, random.standard_normal(shape, np.float32) / 16, optimizer=mps.OptimizerAdam(0.01)
    )
    node = mps.ConvolutionNode(mps.ImageNode("x"), source)
    descriptor = mps.LossDescriptor(mps.LossType.MEAN_SQUARED_ERROR)
    loss = mps.ForwardLossNode(node, mps.ImageNode("t"), descriptor)
    loss.result_image.handle = "loss"
    (end,) = mps.InitialGradientNode(loss).training_graph()
    graph = mps.Graph(cpu, [loss.result_image, end.result_image], [True, False])
    images = {k: random.standard_normal((1, 4, 4, 256), np.float32) for k in ("x", "t")}

    def steps(of: mps.Graph, count: int) -> list[bytes]:
        losses = []
        for _ in range(count):
            commands = mps.CommandBuffer(cpu.command_queue())
            outputs = of.encode(commands, images)
            commands.commit()
            losses.append(outputs["loss"].read().tobytes())
        return losses

    steps(graph, 3)
    archiver = mps.KeyedArchiver()
    archiver.encode("net", graph)
    path = tmp_path / "net"
    archiver.write(path)
    before = path.read_bytes()
    expected = steps(graph, 4)
    assert len(set(expected)) == 4
    for _ in range(2):  # the first one has not changed the file for the second
        again = mps.KeyedUnarchiver(cpu).open(path).decode_graph("net")
        assert steps(again, 4) == expected
    assert path.read_bytes() == before


# Run by a process of its own, whose memory nothing else has used.
OPEN = """
import json, sys, time
import numpy as np, mpsnn as mps

def anonymous():
    rows = dict(row.split(":", 1) for row in open("/proc/self/status"))
    return int(rows["RssAnon"].split()[0]) // 1024

device = mps.Device("cpu")
image = np.ones((1, 1, 1, 4096), np.float32)
mps.Graph(device, [mps.NeuronReLUNode(mps.ImageNode("x")).result_image])
before, start = anonymous(), time.perf_counter()
archive = mps.KeyedUnarchiver(device).open(sys.argv[1])
opened = time.perf_counter() - start
graph = archive.decode_graph("net")
restored = time.perf_counter() - start
commands = mps.CommandBuffer(device.command_queue())
(result,) = graph.encode(commands, {"x": image})
commands.commit()
first = float(result.read()[0, 0, 0, 0])
run = anonymous() - before
sources = graph.data_sources
sums = [float(device.read_parameter(s, "weights")[7, 0, 0, 5]) for s in sources[:1]]
print(json.dumps({"opened": opened, "restored": restored, "grown": anonymous() - before,
                  "run": run, "first": first, "sums": sums}))
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_half_a_gigabyte_opens_in_milliseconds_without_a_copy(tmp_path: Path) -> None:
    device = mps.Device("null")
    size = 4096
    image = mps.ImageNode("x")
    for layer in range(8):  # 64 MiB each
        weights = np.full((size, 1, 1, size), layer + 1, np.float32)
        source = mps.ConvolutionDataSource(
            mps.ConvolutionDescriptor(1, 1, size, size), weights, label=f"layer{layer}"
        )
        image = mps.ConvolutionNode(image, source).result_image
    archiver = mps.KeyedArchiver()
    archiver.encode("net", mps.Graph(device, [image]))
    path = tmp_path / "large"
    archiver.write(path)
    assert path.stat().st_size > 500_000_000
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["opened"] < 0.02, found
    assert found["restored"] < 0.2, found
    # One pixel went through all layers: sums of 4096 equal channels, times the layer's number.
    assert found["first"] == 4096.0**8 * math.factorial(8)
    assert found["run"] < 40, found
    # One layer was read, which made an array of 64 MiB that is gone; nothing else was.
    assert found["grown"] < 100, found
    assert found["sums"] == [1.0]
