# SPDX-License-Identifier: MIT
"""What holds for every test on the double."""

from __future__ import annotations

import ctypes
import gc
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

import mpsnn as mps

# What lives as long as the process: MPS's allocators; a device's generators and its copies from and
# to images.
KEPT = {
    "DoubleAllocator",
    "DoubleDevice",
    "MPSImageCopyToMatrix",
    "MPSMatrixCopyToImage",
    "MPSMatrixRandomMTGP32",
    "MPSMatrixRandomPhilox",
}


def double() -> ctypes.CDLL:
    return ctypes.CDLL(os.environ["MPSNN_METAL_DOUBLE"])


def unread_images() -> int:
    """Temporary images that were given back before they were read, since this was last asked."""
    library = double()
    library.metal_double_unread.restype = ctypes.c_long
    return int(library.metal_double_unread())


def wait_until(holds: Callable[[], bool], seconds: float = 5) -> None:
    """Queues' threads let go of the last objects behind what they told the host."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)


def over_releases() -> int:
    """Messages to objects that were gone, since this was last asked."""
    library = double()
    library.metal_double_over_releases.restype = ctypes.c_long
    return int(library.metal_double_over_releases())


def objects_alive() -> Counter[str]:
    """Objects of the double and of the backend, by class, but for what is kept."""
    library = double()
    library.metal_double_alive.restype = ctypes.c_char_p
    words = library.metal_double_alive().decode().split()
    alive = {name: int(n) for name, n in zip(words[::2], words[1::2], strict=True)}
    return Counter({name: n for name, n in alive.items() if name not in KEPT})


@pytest.fixture(scope="session")
def alive() -> Callable[[], Counter[str]]:
    """Objects that neither Python nor the caches of devices hold."""

    def count() -> Counter[str]:
        gc.collect()
        for low_power in (False, True):
            device = mps.Device("metal-double", low_power=low_power)
            mps.Predicate(device)  # has a place in a buffer that the device keeps
            device.trim()
        return objects_alive()

    return count


@pytest.fixture(autouse=True)
def every_temporary_image_is_read() -> Iterator[None]:
    """Metal's validation layer ends a process that gives one back with reads left."""
    yield
    assert unread_images() == 0


@pytest.fixture
def count_unread() -> Callable[[], int]:
    """What the fixture above asks, for tests that break the rule."""
    return unread_images


@pytest.fixture(autouse=True)
def nothing_is_released_too_often() -> Iterator[None]:
    """Standard error names the class and what was sent to its object."""
    yield
    assert over_releases() == 0


@pytest.fixture(autouse=True, scope="module")
def no_object_is_left(alive: Callable[[], Counter[str]]) -> Iterator[None]:
    """A file's tests, among them those of failures, leave none."""
    before = alive()
    yield
    wait_until(lambda: alive() <= before)
    assert alive() - before == Counter()
