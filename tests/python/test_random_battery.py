# SPDX-License-Identifier: MIT
"""Statistics of the generators: cheap ones, fixed seeds, and dieharder where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

import mpsnn as mps

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ["MatrixRandomPhilox", "MatrixRandomMTGP32"]
COUNT = 1 << 20
STEP, STREAMS = 256, 1024
# Fixed seeds: what passes once passes always. A sound generator fails so one time in ten thousand.
LEAST_P = 1e-4
Distribution = mps.MatrixRandomDistributionDescriptor


def numbers(
    device: mps.Device,
    kernel: str,
    data_type: mps.DataType,
    distribution: Distribution | None,
    count: int = COUNT,
) -> NDArray[Any]:
    generator = getattr(mps, kernel)(
        device, data_type=data_type, seed=20, distribution_descriptor=distribution
    )
    vector = mps.Vector(device, length=count, data_type=data_type)
    commands = mps.CommandBuffer(device.command_queue())
    generator.encode(commands, vector)
    commands.commit()
    commands.wait_until_completed()
    return np.array(vector)


@pytest.mark.parametrize("kernel", KERNELS)
def test_bits_bytes_and_pairs_are_equally_frequent(device: mps.Device, kernel: str) -> None:
    words = numbers(device, kernel, mps.DataType.UINT32, None)
    bits = np.unpackbits(words.view(np.uint8).reshape(-1, 4), axis=1).sum(0)
    assert np.all(np.abs(bits - COUNT / 2) < 5 * np.sqrt(COUNT) / 2)
    for values in (words >> 24, words & 255, (words >> 28) * 16 + (np.roll(words, 1) >> 28)):
        assert stats.chisquare(np.bincount(values, minlength=256)).pvalue > LEAST_P


@pytest.mark.parametrize("kernel", KERNELS)
def test_uniform_and_normal_numbers_are_distributed_so(device: mps.Device, kernel: str) -> None:
    uniform = numbers(device, kernel, mps.DataType.FLOAT32, Distribution.uniform(-2, 3))
    assert stats.kstest(uniform.astype(float), stats.uniform(-2, 5).cdf).pvalue > LEAST_P
    normal = numbers(device, kernel, mps.DataType.FLOAT32, Distribution.normal(1, 2)).astype(float)
    assert stats.kstest(normal, stats.norm(1, 2).cdf).pvalue > LEAST_P
    assert abs(normal.mean() - 1) < 4 * 2 / np.sqrt(COUNT)
    assert abs(normal.std() - 2) < 4 * 2 / np.sqrt(2 * COUNT)
    assert abs(stats.skew(normal)) < 4 * np.sqrt(6 / COUNT)
    assert abs(stats.kurtosis(normal)) < 4 * np.sqrt(24 / COUNT)
    truncated = numbers(
        device, kernel, mps.DataType.FLOAT32, Distribution.truncated_normal(1, 2, 0, 4)
    )
    cdf = stats.truncnorm(-0.5, 1.5, 1, 2).cdf
    assert stats.kstest(truncated.astype(float), cdf).pvalue > LEAST_P


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("lag", [1, 2, 3, 4, STEP, STEP * 128])
def test_numbers_do_not_follow_from_earlier_ones(device: mps.Device, kernel: str, lag: int) -> None:
    """Neighbours, the same word of the next stream, and of the next stream of the same set."""
    uniform = numbers(device, kernel, mps.DataType.FLOAT32, Distribution.uniform(0, 1)) - 0.5
    correlation = np.corrcoef(uniform[:-lag], uniform[lag:])[0, 1]
    assert abs(correlation) < 4 / np.sqrt(COUNT - lag)


def test_streams_are_uniform_side_by_side(device: mps.Device) -> None:
    """The k-th word of all streams, for the first words, in which related seeds would show."""
    words = numbers(device, "MatrixRandomMTGP32", mps.DataType.UINT32, None, STREAMS * STEP)
    first = words.reshape(STREAMS, STEP)[:, :64]
    assert len(np.unique(first)) > first.size - 10
    assert stats.chisquare(np.bincount(first.ravel() >> 24, minlength=256)).pvalue > LEAST_P
    bits = np.unpackbits(np.ascontiguousarray(first).view(np.uint8), axis=1)
    assert np.all(np.abs(bits.mean(0) - 0.5) < 5 * 0.5 / np.sqrt(STREAMS))


@pytest.mark.long
@pytest.mark.skipif(shutil.which("dieharder") is None, reason="dieharder is not installed")
@pytest.mark.parametrize(
    ("kernel", "order"),
    [
        ("MatrixRandomPhilox", "consecutive"),
        ("MatrixRandomMTGP32", "consecutive"),
        ("MatrixRandomMTGP32", "stream"),
        ("MatrixRandomMTGP32", "streams"),
    ],
)
def test_dieharder(kernel: str, order: str) -> None:
    command = [sys.executable, str(ROOT / "tools" / "dieharder.py")]
    command += ["--kernel", kernel, "--order", order]
    if order == "stream":  # one word in 1024 that are made: two short tests
        command += ["--tests", "0", "15"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert run.returncode == 0, run.stdout + run.stderr
    assert " 0 failed" in run.stdout
