# SPDX-License-Identifier: MIT
"""Where windows lie: padding policies as numbers of rows and columns, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from mpsnn._core import PaddingMethod, PaddingPolicy

# The rows' index in pairs (y, x), and in a policy's pads: left, top, right, bottom.
Y, X = 0, 1

_ALIGNMENTS = (
    PaddingMethod.ALIGN_CENTERED,
    PaddingMethod.ALIGN_TOP_LEFT,
    PaddingMethod.ALIGN_BOTTOM_RIGHT,
)
_REMAINDERS = (
    PaddingMethod.ADD_REMAINDER_TO_TOP_LEFT,
    PaddingMethod.ADD_REMAINDER_TO_TOP_RIGHT,
    PaddingMethod.ADD_REMAINDER_TO_BOTTOM_LEFT,
    PaddingMethod.ADD_REMAINDER_TO_BOTTOM_RIGHT,
)
_SIZES = (PaddingMethod.SIZE_SAME, PaddingMethod.SIZE_VALID_ONLY, PaddingMethod.SIZE_FULL)


@dataclass(frozen=True)
class Window:
    """A window along one axis."""

    kernel: int
    stride: int = 1
    dilation: int = 1

    @property
    def extent(self) -> int:
        """From its first position to its last one."""
        return (self.kernel - 1) * self.dilation + 1

    def after(self, source: int, size: int, before: int) -> int:
        """What `size` windows read behind the source, the first one beginning `before` it."""
        return (size - 1) * self.stride + self.extent - source - before


@dataclass(frozen=True)
class Pads:
    """Rows and columns around a source; less than 0: so many are not read."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def values(self) -> tuple[int, int, int, int]:
        """In ONNX's order: top, left, bottom, right."""
        return self.top, self.left, self.bottom, self.right


def placed(policy: PaddingPolicy, axis: int, window: Window, source: int) -> tuple[int, int]:
    """How many windows there are, and how far before the source the first one begins.

    Args:
        policy: The node's; not one of one's own.
        axis: Y or X.
        window: Along that axis.
        source: The source's rows or columns.

    Returns:
        Size and padding, as the library places them.
    """
    if policy.pads is not None:
        left, top, right, bottom = policy.pads
        before, after = (top, bottom) if axis == Y else (left, right)
        return (source + before + after - window.extent) // window.stride + 1, before
    return _placed_by_bits(int(policy.method), axis, window, source)


def _placed_by_bits(method: int, axis: int, window: Window, source: int) -> tuple[int, int]:
    style = -1
    if method & PaddingMethod.SIZE_SAME:
        style = 0
    elif method & PaddingMethod.SIZE_FULL:
        style = 1
    size = -(-(source + style * (window.extent - 1)) // window.stride)
    padding = window.after(source, size, 0)
    if method & PaddingMethod.ALIGN_TOP_LEFT:
        return size, padding
    if method & PaddingMethod.ALIGN_BOTTOM_RIGHT:
        return size, 0
    return size, int((padding + _remainder_first(method, axis)) / 2)


def _remainder_first(method: int, axis: int) -> bool:
    remainder = method & PaddingMethod.ADD_REMAINDER_TO_BOTTOM_RIGHT
    first = (
        PaddingMethod.ADD_REMAINDER_TO_TOP_RIGHT
        if axis == Y
        else PaddingMethod.ADD_REMAINDER_TO_BOTTOM_LEFT
    )
    return remainder in {PaddingMethod.ADD_REMAINDER_TO_TOP_LEFT, first}


def policy_of_bits(
    windows: Sequence[Window], sources: Sequence[int], wanted: Sequence[tuple[int, int]]
) -> PaddingPolicy | None:
    """A policy of bits, which leaves the edge mode to the node, that places windows so.

    Args:
        windows: Along y and x.
        sources: Rows and columns of the source.
        wanted: Size and padding along y and x.

    Returns:
        The policy; None where no bits do.
    """
    for size, alignment, remainder in product(_SIZES, _ALIGNMENTS, _REMAINDERS):
        method = int(size) | int(alignment) | int(remainder)
        found = [_placed_by_bits(method, axis, windows[axis], sources[axis]) for axis in (Y, X)]
        if found == list(wanted):
            return PaddingPolicy(method)
    return None
