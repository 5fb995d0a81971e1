# SPDX-License-Identifier: MIT
"""Probes: kernels of MPS in ways that the library does not use them, measured by the selftest.

Run by tools/run_metal_double.py, as test_metal_double.py is.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

import mpsnn as mps
from mpsnn import measurements
from mpsnn._core import _metal_probe
from mpsnn.measurements import measure_one

PROBES = {
    "Philox in parts": 1,
    "batches of MPS": 6,
    "recurrent gradients of MPS": 6,
}
ALLOCATION, ENCODE, RUN = 1, 2, 3


@pytest.fixture(scope="module")
def device() -> mps.Device:
    return mps.Device("metal-double")


@pytest.fixture(scope="module")
def double() -> ctypes.CDLL:
    return ctypes.CDLL(os.environ["MPSNN_METAL_DOUBLE"])


@pytest.mark.parametrize("name", PROBES)
def test_the_double_does_as_the_headers_say(device: mps.Device, name: str) -> None:
    verdicts = [one["verdict"] for one in measure_one(device, name)]
    assert verdicts == ["as expected"] * PROBES[name]


Probe = Callable[[mps.Device, str, list[int]], list[float]]


def whole_batches(device: mps.Device, name: str, arguments: list[int]) -> list[float]:
    """Any size but 0 takes all matrices, as a macOS was measured to do."""
    return _metal_probe(device, name, [0] if arguments[1:] != [0] else arguments)


def from_the_first(device: mps.Device, name: str, arguments: list[int]) -> list[float]:
    """A range that always begins at the first matrix."""
    return _metal_probe(device, name, [0, *arguments[1:]])


def always_added(device: mps.Device, name: str, _: list[int]) -> list[float]:
    return _metal_probe(device, name, [1])


def never_added(device: mps.Device, name: str, _: list[int]) -> list[float]:
    return _metal_probe(device, name, [0])


def by_groups(device: mps.Device, name: str, arguments: list[int]) -> list[float]:
    """Each fill takes whole groups of four words."""
    first, second = arguments
    whole = _metal_probe(device, name, [16])
    begin = -(-first // 4) * 4
    return whole[:first] + whole[begin : begin + second]


def by_the_last_group(device: mps.Device, name: str, arguments: list[int]) -> list[float]:
    """Each fill begins with the group that the one before ended in."""
    first, second = arguments
    whole = _metal_probe(device, name, [16])
    begin = first // 4 * 4
    return whole[:first] + whole[begin : begin + second]


OTHERS: list[tuple[str, Probe, list[int]]] = [
    ("batches of MPS", whole_batches, [1, 2, 3, 4]),
    ("batches of MPS", from_the_first, [1, 2, 4]),
    ("recurrent gradients of MPS", always_added, [2, 3]),
    ("recurrent gradients of MPS", never_added, [4, 5]),
    ("Philox in parts", by_groups, [0]),
    ("Philox in parts", by_the_last_group, [0]),
]


@pytest.mark.parametrize(
    ("name", "other", "seen"), OTHERS, ids=lambda one: getattr(one, "__name__", None)
)
def test_an_mps_that_does_otherwise_is_seen(
    device: mps.Device, monkeypatch: pytest.MonkeyPatch, name: str, other: Probe, seen: list[int]
) -> None:
    monkeypatch.setattr(measurements, "_metal_probe", other)
    found = measure_one(device, name)
    assert [i for i, one in enumerate(found) if one["verdict"] == "differs"] == seen


def test_where_a_second_fill_begins_is_told(
    device: mps.Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other, told in ((by_groups, "the next group"), (by_the_last_group, "first one ended in")):
        monkeypatch.setattr(measurements, "_metal_probe", other)
        assert told in measure_one(device, "Philox in parts")[0]["got"]


def test_parts_of_a_fill_are_one_stream(device: mps.Device) -> None:
    whole = mps.Vector(device, length=64, data_type=mps.DataType.UINT32)
    commands = mps.CommandBuffer(device.command_queue())
    mps.MatrixRandomPhilox(device).encode(commands, whole)
    commands.commit()
    commands.wait_until_completed()
    got = _metal_probe(device, "fill_in_parts", [3, 1, 20, 40])
    np.testing.assert_array_equal(np.array(got), np.array(whole))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("dance", [1], r'probe: name: expected one of multiply_batch, .*, got "dance"'),
        ("multiply_batch", [], r"arguments: expected 1 to 2, got 0"),
        ("multiply_batch", [4], r"arguments: expected 0 to 3 each, got 4"),
        ("accumulate_gradients", [1, 1], r"arguments: expected 1 to 1, got 2"),
        ("accumulate_gradients", [2], r"arguments: expected 0 to 1 each, got 2"),
        ("fill_in_parts", [4, 0], r"arguments: expected 1 to 65536 each, got 0"),
    ],
)
def test_bad_arguments(device: mps.Device, name: str, arguments: list[int], message: str) -> None:
    with pytest.raises(mps.InvalidArgumentError, match=message):
        _metal_probe(device, name, arguments)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (ALLOCATION, "multiply_batch", "probe: the device has no memory left"),
        (ENCODE, "accumulate_gradients", 'probe "accumulate_gradients": .*asked to fail'),
        (RUN, "multiply_batch", "command buffer: the GPU hung"),
    ],
)
def test_failures(
    device: mps.Device, double: ctypes.CDLL, kind: int, name: str, message: str
) -> None:
    double.metal_double_fail(kind)
    with pytest.raises(mps.DeviceError, match=message):
        _metal_probe(device, name, [1])
    measure_one(device, "batches of MPS")


def test_a_range_beyond_the_batch_is_an_error(device: mps.Device) -> None:
    with pytest.raises(mps.DeviceError, match=r'probe "multiply_batch".*a range beyond the batch'):
        _metal_probe(device, "multiply_batch", [2, 2])


def test_no_object_is_left(device: mps.Device, alive: Callable[[], Counter[str]]) -> None:
    counts = []
    for _ in range(2):
        for name in PROBES:
            measure_one(device, name)
        counts.append(alive())
    # The last ones go with the queues' threads, behind what these told the host.
    end = time.monotonic() + 5
    while counts[1] - counts[0] and time.monotonic() < end:
        time.sleep(0.01)
        counts[1] = alive()
    assert counts[1] - counts[0] == Counter()


def test_only_metal_has_probes() -> None:
    with pytest.raises(
        mps.UnsupportedError, match='device: expected one of kind "metal-double", got "cpu"'
    ):
        _metal_probe(mps.Device("cpu"), "multiply_batch", [0])
