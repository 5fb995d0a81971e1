# SPDX-License-Identifier: MIT
"""What holds for every test on the double."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

import pytest


def unread_images() -> int:
    """Temporary images that were given back before they were read, since the process began."""
    library = ctypes.CDLL(os.environ["MPSNN_METAL_DOUBLE"])
    library.metal_double_unread.restype = ctypes.c_long
    return int(library.metal_double_unread())


@pytest.fixture(autouse=True)
def every_temporary_image_is_read() -> Iterator[None]:
    """Metal's validation layer ends a process that gives one back with reads left."""
    before = unread_images()
    yield
    assert unread_images() == before
