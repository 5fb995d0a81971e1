# SPDX-License-Identifier: MIT
"""Whether what a command asks for can fit in this machine's memory: told before any work."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping

from mpsnn._core import Graph, InvalidArgumentError

ELEMENT = 4  # bytes of a float32


def array_bytes(*shapes: Iterable[int]) -> int:
    """Bytes of float32 arrays of these shapes."""
    return ELEMENT * sum(math.prod(shape) for shape in shapes)


def check_fits(option: str, thing: str, needed: int, got: str) -> None:
    """Refuses what cannot fit.

    Args:
        option: Whose value asks for it, as "style: batch".
        thing: What has to fit, as "one whose step fits".
        needed: Bytes, no more than are used.
        got: The value in words.

    Raises:
        InvalidArgumentError: The machine has less memory.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise InvalidArgumentError(
            f"{option}: expected {thing} in this machine's {memory / 2**30:.1f} GiB of "
            f"memory, got {got}: {needed / 2**30:.1f} GiB"
        )


def check_step_fits(
    option: str,
    graph: Graph,
    sizes: Mapping[str, tuple[int, int, int, int]],
    got: str,
    beside: int = 0,
) -> None:
    """Refuses a training step that cannot fit, before any of it is allocated.

    Args:
        option: Whose value is the number of pictures, as "style: batch".
        graph: The step.
        sizes: (N, H, W, C) of its sources.
        got: That value in words.
        beside: Further bytes that are held meanwhile.

    Raises:
        InvalidArgumentError: The machine has less memory.
    """
    sources = array_bytes(*sizes.values())
    needed = graph.cost(dict(sizes)).heap_bytes + sources + beside
    check_fits(option, "one whose step fits", needed, got)
