# SPDX-License-Identifier: MIT
"""ONNX's tensors as images: which axis of the tensor is which axis of the image.

A tensor has up to four axes in any order; an image has N, H, W and C. A transposition is therefore
free: it only changes what is noted here. Values move where a node wants its source otherwise: by
crops, reshapings and concatenations, so that nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpsnn._core import FilterNode, ImageNode
from mpsnn.nodes import ConcatenationNode, CropNode, ReshapeNode

N, H, W, C = range(4)
Axes = tuple[int, ...]
Image = ImageNode | FilterNode

# Where ONNX's axes (N, C, H, W) are in an image; of three, the last one is the columns.
STANDARD: dict[int, Axes] = {0: (), 1: (C,), 2: (N, C), 3: (N, C, W), 4: (N, C, H, W)}
# Where they are in the order of memory, for tensors whose first axis is the batch.
IN_ORDER: dict[int, Axes] = {0: (), 1: (C,), 2: (N, C), 3: (N, W, C), 4: (N, H, W, C)}
MOST_PIECES = 4096  # crops that one transposition may take


class LayoutError(ValueError):
    """A tensor that cannot be brought into the layout wanted; the text has the reason."""


@dataclass(eq=False)
class Tensor:
    """A value of an ONNX graph.

    Attributes:
        shape: ONNX's.
        dtype: ONNX's; booleans and indices are images of float32 here.
        axes: For each of ONNX's axes, which of the image's it is.
        make: Makes the image, when it is wanted for the first time.
        flat: The tensor, in ONNX's standard layout, of which this one is the flattened form.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: Axes
    make: Callable[[], Image] = field(repr=False)
    flat: Tensor | None = None

    @cached_property
    def image(self) -> Image:
        """The image."""
        return self.make()

    @property
    def size(self) -> tuple[int, int, int, int]:
        """The image's (N, H, W, C)."""
        return size_of(self.shape, self.axes)

    def viewed(
        self, shape: Sequence[int], axes: Axes, dtype: np.dtype[Any] | None = None
    ) -> Tensor:
        """The same image seen as another tensor."""
        return Tensor(tuple(shape), dtype or self.dtype, axes, lambda: self.image)


def size_of(shape: Sequence[int], axes: Axes) -> tuple[int, int, int, int]:
    """The size of the image of a tensor."""
    size = [1, 1, 1, 1]
    for extent, axis in zip(shape, axes, strict=True):
        size[axis] = extent
    return size[0], size[1], size[2], size[3]


def without_batch(shape: Sequence[int]) -> Axes | None:
    """A layout with all values of a tensor in one image; None for four axes of more than 1."""
    if len(shape) < 4:
        return tuple(range(4 - len(shape), 4))
    if 1 not in shape:
        return None
    alone = shape.index(1)
    return tuple(N if i == alone else i + (i < alone) for i in range(4))


def to_image(array: NDArray[Any], axes: Axes) -> NDArray[Any]:
    """An array in ONNX's layout as an image's (N, H, W, C)."""
    missing = [axis for axis in range(4) if axis not in axes]
    full = array.reshape(array.shape + (1,) * len(missing))
    order = list(axes) + missing
    return np.ascontiguousarray(full.transpose([order.index(axis) for axis in range(4)]))


def from_image(array: NDArray[Any], shape: Sequence[int], axes: Axes) -> NDArray[Any]:
    """An image's (N, H, W, C) as an array in ONNX's layout."""
    missing = [axis for axis in range(4) if axis not in axes]
    return np.ascontiguousarray(array.transpose(list(axes) + missing)).reshape(tuple(shape))


def reshaped(image: Image, height: int, width: int, channels: int) -> Image:
    """The same values in memory, in another size."""
    return ReshapeNode(image, width, height, channels)


def placed(tensor: Tensor, axes: Axes) -> Image:
    """The tensor's image with its axes where they are wanted.

    Args:
        tensor: The tensor.
        axes: For each of its axes, the image's axis wanted.

    Returns:
        The image; the tensor's own where that is so already.

    Raises:
        LayoutError: Values would have to move between the images of a batch, or it takes too many
            nodes.
    """
    moved = _moved(tensor, axes)
    _, height, width, channels = size = size_of(tensor.shape, axes)
    if moved is None:
        return (
            tensor.image if size == tensor.size else reshaped(tensor.image, height, width, channels)
        )
    before, after = moved
    extents = [tensor.shape[axis] for axis in before]
    image, order = tensor.image, list(before)
    for axis in _moves(before, after):
        at = order.index(axis)
        image = _to_front(image, extents, at)
        order.insert(0, order.pop(at))
        extents.insert(0, extents.pop(at))
    return reshaped(image, height, width, channels)


def _moved(tensor: Tensor, axes: Axes) -> tuple[list[int], list[int]] | None:
    """ONNX's axes of more than 1 in the order of memory, before and after; None: it is the same."""
    orders = []
    for layout in (tensor.axes, axes):
        wide = [i for i, extent in enumerate(tensor.shape) if extent != 1]
        orders.append(sorted(wide, key=lambda i: layout[i]))
        batch = [i for i in wide if layout[i] == N]
        orders.append(batch)
    before, batch_before, after, batch_after = orders
    if batch_before != batch_after:
        msg = f"values of shape {tensor.shape} would move between the images of a batch"
        raise LayoutError(msg)
    if before == after:
        return None
    return [i for i in before if i not in batch_before], [i for i in after if i not in batch_after]


def _moves(before: list[int], after: list[int]) -> list[int]:
    """Which axes come to the front, one after the other."""
    for count in range(1, len(after)):
        rest = [axis for axis in before if axis not in after[:count]]
        if rest == after[count:]:
            return after[:count][::-1]
    return []


def _to_front(image: Image, extents: Sequence[int], at: int) -> Image:
    """Values of these extents in memory with the axis `at` in front."""
    count = extents[at]
    if count > MOST_PIECES:
        msg = f"a transposition of {count} pieces, more than {MOST_PIECES}"
        raise LayoutError(msg)
    before, behind = prod(extents[:at]), prod(extents[at + 1 :])
    parted = reshaped(image, before, count, behind)
    pieces = [
        reshaped(CropNode(parted, result_width=1, origin_x=i), 1, 1, before * behind)
        for i in range(count)
    ]
    return pieces[0] if count == 1 else ConcatenationNode(pieces)


def joined(images: Sequence[Image], sizes: Sequence[tuple[int, int, int, int]], axis: int) -> Image:
    """Images one after the other along H, W or C.

    Args:
        images: The images.
        sizes: Their sizes; they differ along `axis` only.
        axis: H, W or C.

    Returns:
        The joined image.
    """
    if len(images) == 1:
        return images[0]
    _, height, width, channels = sizes[0]
    total = sum(size[axis] for size in sizes)
    if axis == C:
        return ConcatenationNode(list(images))
    if axis == H or height == 1:
        flat = [reshaped(x, 1, 1, prod(size[1:])) for x, size in zip(images, sizes, strict=True)]
        rows = (total, width) if axis == H else (1, total)
        return reshaped(ConcatenationNode(flat), *rows, channels)
    # Each row's columns and channels in one pixel: rows stay apart.
    rows_of = [
        reshaped(x, height, 1, size[W] * channels) for x, size in zip(images, sizes, strict=True)
    ]
    return reshaped(ConcatenationNode(rows_of), height, total, channels)
