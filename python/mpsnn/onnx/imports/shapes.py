# SPDX-License-Identifier: MIT
"""What moves values and changes none: shapes, crops, margins, sizes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mpsnn._core import ConvolutionDescriptor, ImageEdgeMode, PaddingPolicy
from mpsnn.nodes import (
    BilinearScaleNode,
    ConvolutionNode,
    PadNode,
    PoolingMaxNode,
    UpsamplingNearestNode,
)
from mpsnn.onnx.imports.step import Step, Value
from mpsnn.onnx.imports.windows import crop, data_source
from mpsnn.onnx.tensor import (
    IN_ORDER,
    MOST_PIECES,
    STANDARD,
    C,
    H,
    Image,
    N,
    Tensor,
    W,
    joined,
    reshaped,
    size_of,
    without_batch,
)

Row = Callable[[Step], list[Value]]
MOST_WEIGHTS = 2**26  # of convolutions that move values


def _identity(step: Step) -> list[Value]:
    return [step.tensor()]


def _dropout(step: Step) -> list[Value]:
    if step.has(2) and bool(step.constant(2).reshape(())):
        step.refuse("expected training_mode to be false")
    if len(step.shapes) > 1:
        step.refuse("expected no output `mask`")
    return _identity(step)


def _transpose(step: Step) -> list[Value]:
    x = step.tensor()
    order = list(step.attribute("perm", range(len(x.shape))[::-1]))
    return [x.viewed([x.shape[i] for i in order], tuple(x.axes[i] for i in order))]


def _reshape(step: Step) -> list[Value]:
    x, shape = step.tensor(), step.shape
    step.rank(shape)
    if [extent for extent in shape if extent != 1] == [extent for extent in x.shape if extent != 1]:
        return [_relabelled(x, shape)]
    source, result = _in_order(x.shape, x, keeps=shape), _in_order(shape, x, keeps=x.shape)
    if source is None or result is None:
        step.refuse(f"from {x.shape} to {shape}: values would move between the images of a batch")
    is_flat = (
        len(shape) == 2
        and len(x.shape) in {3, 4}
        and shape[0] == x.shape[0]
        and x.axes == STANDARD[len(x.shape)]
    )

    def make() -> Image:
        ordered = Tensor(x.shape, x.dtype, source, lambda: step.place(x, source))
        size, wanted = size_of(x.shape, source), size_of(shape, result)
        if size == wanted:
            return ordered.image
        return reshaped(ordered.image, *wanted[1:])

    return [Tensor(shape, x.dtype, result, make, x if is_flat else None)]


def _relabelled(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same image where only axes of 1 come or go: they take what is left of its axes."""
    wide = iter([axis for axis, extent in zip(x.axes, x.shape, strict=True) if extent != 1])
    places = [None if extent == 1 else next(wide) for extent in shape]
    free = [axis for axis in (N, C, H, W) if axis not in places]
    return x.viewed(shape, tuple(free.pop(0) if place is None else place for place in places))


def _in_order(shape: tuple[int, ...], x: Tensor, keeps: tuple[int, ...]) -> tuple[int, ...] | None:
    """A layout in the order of memory: with the batch in front where both shapes have it."""
    if x.size[N] == 1:
        alone = without_batch(shape)
        if alone is not None and list(alone) == sorted(alone):
            return alone
        wide = [i for i, extent in enumerate(shape) if extent != 1]
        if len(wide) > 3:
            return None
        return _spread(shape, wide)
    is_kept = bool(shape) and bool(keeps) and shape[0] == keeps[0] == x.size[N]
    return IN_ORDER[len(shape)] if is_kept and x.axes and x.axes[0] == N else None


def _spread(shape: tuple[int, ...], wide: list[int]) -> tuple[int, ...]:
    """Axes of more than 1 on H, W and C in order, the others on what is left."""
    places = dict(zip(wide, (H, W, C)[3 - len(wide) :], strict=True))
    free = [axis for axis in (N, H, W, C) if axis not in places.values()]
    return tuple(places[i] if i in places else free.pop(0) for i in range(len(shape)))


def _joined(step: Step, tensors: list[Tensor], axis: int) -> list[Value]:
    """Tensors along one of ONNX's axes, in the layout of the first one."""
    axes = tensors[0].axes
    if axes[axis] == N:
        step.refuse("the images of batches cannot be joined")
    images = [step.place(tensor, axes) for tensor in tensors]
    sizes = [size_of(tensor.shape, axes) for tensor in tensors]
    return [step.result(joined(images, sizes, axes[axis]), axes)]


def _concat(step: Step) -> list[Value]:
    known = next(value for value in step.inputs if isinstance(value, Tensor))
    axis = step.axis(0, step.rank(known.shape))
    tensors = [
        value if isinstance(value, Tensor) else step.constant_tensor(np.asarray(value), known.axes)
        for value in step.inputs
    ]
    if any(tensor.dtype != known.dtype for tensor in tensors):
        step.refuse("expected inputs of one element type")
    tensors = [tensor for tensor in tensors if tensor.shape[axis]]
    first = Tensor(
        tensors[0].shape, known.dtype, known.axes, lambda: step.place(tensors[0], known.axes)
    )
    return _joined(step, [first, *tensors[1:]], axis)


def _part(step: Step, x: Tensor, axis: int, start: int, end: int, index: int = 0) -> Value:
    if x.axes[axis] == N and (start, end) != (0, x.shape[axis]):
        step.refuse("images of the batch cannot be taken out")
    size = list(x.size)
    starts, ends = [0, 0, 0], size[1:]
    if x.axes[axis] != N:
        starts[x.axes[axis] - 1], ends[x.axes[axis] - 1] = start, end
    return step.result(crop(x.image, size[1:], starts, ends), x.axes, index)


def _split(step: Step) -> list[Value]:
    x = step.tensor()
    axis = step.axis(0, step.rank(x.shape))
    results, start = [], 0
    for index, shape in enumerate(step.shapes):
        if shape[axis] == 0:
            step.refuse("expected parts of 1 or more")
        results.append(_part(step, x, axis, start, start + shape[axis], index))
        start += shape[axis]
    return results


def _slice(step: Step) -> list[Value]:
    x = step.tensor()
    rank = step.rank(x.shape)
    starts, ends = step.integers(1), step.integers(2)
    axes = step.integers(3, list(range(len(starts))))
    steps = step.integers(4, [1] * len(starts))
    image = x.image
    size = list(x.size)
    for start, end, given, stride in zip(starts, ends, axes, steps, strict=True):
        axis = given + rank if given < 0 else given
        picked = range(x.shape[axis])[slice(start, end, stride)]
        if not picked:
            step.refuse("expected a result with values")
        image = _picked(step, image, size, x.axes[axis], np.array(picked))
    return [step.result(image, x.axes)]


def _picked(
    step: Step,
    image: Image,
    size: list[int],
    axis: int,
    index: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
) -> Image:
    """The image's rows, columns or channels of these indices; `size` becomes the result's."""
    count = size[axis]
    if len(index) == count and np.array_equal(index, np.arange(count)):
        return image
    if axis == N:
        step.refuse("images of the batch cannot be taken out")
    gaps = np.diff(index)
    if axis != C and len(index) > 1 and np.all(gaps == gaps[0]) and gaps[0] > 1:
        return _every(image, size, axis, int(index[0]), len(index), int(gaps[0]))
    breaks = np.flatnonzero(gaps != 1) + 1
    if len(breaks) >= MOST_PIECES:
        step.refuse(f"a selection of {len(breaks) + 1} pieces, more than {MOST_PIECES}")
    pieces, sizes = [], []
    for run in np.split(index, breaks):
        starts, ends = [0, 0, 0], size[1:]
        starts[axis - 1], ends[axis - 1] = int(run[0]), int(run[-1]) + 1
        pieces.append(crop(image, size[1:], starts, ends))
        part = [size[0], *(e - s for s, e in zip(starts, ends, strict=True))]
        sizes.append((part[0], part[1], part[2], part[3]))
    size[axis] = len(index)
    return joined(pieces, sizes, axis)


def _every(image: Image, size: list[int], axis: int, start: int, count: int, gap: int) -> Image:
    """Rows or columns with gaps: the largest of single values."""
    starts, ends = [0, 0, 0], size[1:]
    starts[axis - 1], ends[axis - 1] = start, start + (count - 1) * gap + 1
    part = crop(image, size[1:], starts, ends)
    size[axis] = count
    return PoolingMaxNode(
        part,
        1,
        1,
        stride_in_pixels_x=gap if axis == W else 1,
        stride_in_pixels_y=gap if axis == H else 1,
        padding_policy=PaddingPolicy.with_pads(0, 0, 0, 0),
    )


def _gather(step: Step) -> list[Value]:
    x, index = step.tensor(), step.constant(1)
    axis = step.axis(0, step.rank(x.shape))
    count = x.shape[axis]
    flat = index.reshape(-1).astype(np.int64)
    if index.ndim > 1 or not flat.size or flat.min() < -count or flat.max() >= count:
        step.refuse(f"indices: expected a list of numbers below {count}, got {index.tolist()}")
    size = list(x.size)
    image = _picked(step, x.image, size, x.axes[axis], flat % count)
    axes = x.axes if index.ndim else x.axes[:axis] + x.axes[axis + 1 :]
    return [step.result(image, axes)]


_MODES = {
    "constant": ImageEdgeMode.CONSTANT,
    "reflect": ImageEdgeMode.MIRROR,
    "edge": ImageEdgeMode.CLAMP,
}


def _pad(step: Step) -> list[Value]:
    x = step.floats()
    rank = step.rank(x.shape)
    mode = _text(step, "mode", "constant")
    if mode not in _MODES:
        step.refuse(f"mode: expected one of {', '.join(_MODES)}, got {mode}")
    pads = step.integers(1)
    given = step.integers(3, list(range(rank)))
    fill = float(step.constant(2, 0.0).reshape(-1)[0])
    if not np.isfinite(fill):
        step.refuse(f"constant_value: expected a finite number, got {fill}")
    before, after = [0] * 4, [0] * 4
    for i, axis in enumerate(given):
        place = x.axes[axis]
        before[place], after[place] = pads[i], pads[i + len(given)]
    if before[N] or after[N]:
        step.refuse("batches cannot be padded")
    size = list(x.size)
    starts = [max(-pad, 0) for pad in before[1:]]
    ends = [extent - max(-pad, 0) for extent, pad in zip(size[1:], after[1:], strict=True)]
    if any(end <= start for start, end in zip(starts, ends, strict=True)):
        step.refuse("expected a result with values of the input")
    image = crop(x.image, size[1:], starts, ends)
    node = PadNode(
        image,
        padding_size_before_y=max(before[H], 0),
        padding_size_before_x=max(before[W], 0),
        padding_size_before_channel=max(before[C], 0),
        padding_size_after_y=max(after[H], 0),
        padding_size_after_x=max(after[W], 0),
        padding_size_after_channel=max(after[C], 0),
        edge_mode=_MODES[mode],
        fill_value=fill,
    )
    return [step.result(node, x.axes)]


def _depth_to_space(step: Step) -> list[Value]:
    """A sub-pixel convolution whose weights pick one channel each: exact for finite values."""
    x, factor = step.floats(), int(step.attribute("blocksize", 1))
    channels = x.shape[1]
    _check_weights(step, channels * channels)
    weights = np.eye(channels, dtype=np.float32)
    if _text(step, "mode", "DCR") == "CRD":
        order = np.arange(channels).reshape(-1, factor, factor).transpose(1, 2, 0).reshape(-1)
        weights = weights[order]
    descriptor = ConvolutionDescriptor(1, 1, channels, channels)
    descriptor.sub_pixel_scale_factor = factor
    source = data_source(step, descriptor, weights[:, None, None, :], None)
    return [step.result(ConvolutionNode(step.standard(), source, label=step.name))]


def _check_weights(step: Step, count: int) -> None:
    if count > MOST_WEIGHTS:
        step.refuse(f"expected at most {MOST_WEIGHTS} weights, got {count}")


def _space_to_depth(step: Step) -> list[Value]:
    """A convolution whose weights pick one value each: exact for finite values."""
    x, factor = step.floats(), int(step.attribute("blocksize", 1))
    channels = x.shape[1]
    _check_weights(step, (factor * factor * channels) ** 2)
    weights = np.zeros((factor, factor, channels, factor, factor, channels), np.float32)
    for y in range(factor):
        for column in range(factor):
            weights[y, column, :, y, column, :] = np.eye(channels)
    if _text(step, "mode", "DCR") == "CRD":
        weights = weights.transpose(2, 0, 1, 3, 4, 5)
    outputs = factor * factor * channels
    descriptor = ConvolutionDescriptor(
        factor,
        factor,
        channels,
        outputs,
        stride_in_pixels_x=factor,
        stride_in_pixels_y=factor,
    )
    source = data_source(step, descriptor, weights.reshape(outputs, factor, factor, channels), None)
    policy = PaddingPolicy.with_pads(0, 0, 0, 0)
    node = ConvolutionNode(step.standard(), source, label=step.name, padding_policy=policy)
    return [step.result(node)]


def _text(step: Step, name: str, default: str) -> str:
    value = step.attribute(name, default)
    return value.decode() if isinstance(value, bytes) else str(value)


def _scales(step: Step, x: Tensor) -> list[float]:
    """Result over source along each axis, as the model says it."""
    rank = len(x.shape)
    axes = list(step.attribute("axes", range(rank)))
    found = [1.0] * rank
    if step.has(2) and step.constant(2).size:
        for axis, scale in zip(axes, step.constant(2).reshape(-1), strict=True):
            found[axis] = float(scale)
        return found
    ratios = [result / extent for result, extent in zip(step.shape, x.shape, strict=True)]
    policy = _text(step, "keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return ratios
    wanted = step.integers(3)
    chosen = [size / x.shape[axis] for axis, size in zip(axes, wanted, strict=True)]
    one = min(chosen) if policy == "not_larger" else max(chosen)
    return [one if axis in [a % rank for a in axes] else 1.0 for axis in range(rank)]


def _resize(step: Step) -> list[Value]:
    x = step.floats()
    step.rank(x.shape)
    mode = _text(step, "mode", "nearest")
    coordinates = _text(step, "coordinate_transformation_mode", "half_pixel")
    if step.attribute("antialias", 0):
        step.refuse("expected antialias 0")
    scales = _scales(step, x)
    maps = [
        _line(step, coordinates, extent, result, scale)
        for extent, result, scale in zip(x.shape, step.shape, scales, strict=True)
    ]
    if mode == "nearest":
        return [step.result(_nearest(step, x, maps), x.axes)]
    if mode != "linear":
        step.refuse(f"mode: expected nearest or linear, got {mode}")
    axes = STANDARD[len(x.shape)]
    if any(extent != result for extent, result in zip(x.shape[:2], step.shape[:2], strict=True)):
        step.refuse("only rows and columns can be interpolated")
    by_place = {axes[i]: line for i, line in enumerate(maps)}
    (scale_y, first_y), (scale_x, first_x) = (
        by_place.get(H, (1.0, 0.0)),
        by_place.get(W, (1.0, 0.0)),
    )
    _, rows, columns, _ = size_of(step.shape, axes)
    # Column x reads (x + 0.5 - translate) / scale - 0.5 = x / scale + first.
    transform = [
        scale_x,
        scale_y,
        0.5 - scale_x * (first_x + 0.5),
        0.5 - scale_y * (first_y + 0.5),
    ]
    node = BilinearScaleNode(step.place(x, axes), columns, rows, transform, label=step.name)
    return [step.result(node, axes)]


def _line(step: Step, mode: str, extent: int, result: int, scale: float) -> tuple[float, float]:
    """Scale and first source position: result i reads i / scale + first."""
    if extent == result and scale == 1:
        return 1.0, 0.0
    if scale <= 0:
        step.refuse(f"scales: expected more than 0, got {scale}")
    if mode == "asymmetric":
        return scale, 0.0
    if mode == "align_corners":
        length = scale * extent  # of the result, before it is rounded
        return (1.0, 0.0) if extent == 1 or length == 1 else ((length - 1) / (extent - 1), 0.0)
    if mode == "pytorch_half_pixel":
        return scale, 0.5 / scale - 0.5 if result > 1 else 0.0
    if mode in {"half_pixel", "half_pixel_symmetric"}:
        # Symmetric: what rounding takes off the result is missing on both sides.
        missing = extent - result / scale if mode == "half_pixel_symmetric" else 0.0
        return scale, missing / 2 + 0.5 / scale - 0.5
    return step.refuse(f"coordinate_transformation_mode: {mode} is not known")


def _nearest(step: Step, x: Tensor, maps: list[tuple[float, float]]) -> Image:
    """By the index that each row or column reads."""
    rounding = _text(step, "nearest_mode", "round_prefer_floor")
    rounded: dict[
        str,
        Callable[
            [np.ndarray[tuple[int, ...], np.dtype[np.float64]]],
            np.ndarray[tuple[int, ...], np.dtype[np.float64]],
        ],
    ] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda at: np.ceil(at - 0.5),
        "round_prefer_ceil": lambda at: np.floor(at + 0.5),
    }
    image, size = x.image, list(x.size)
    for axis, (scale, first) in enumerate(maps):
        extent, result = x.shape[axis], step.shape[axis]
        if extent == result and scale == 1:
            continue
        place = x.axes[axis]
        # The positions are meant to be rational: what float arithmetic adds is taken off.
        at = np.round(np.arange(result) / scale + first, 9)
        index = np.clip(rounded[rounding](at), 0, extent - 1).astype(np.int64)
        factor = result // extent
        if factor > 0 and place in {H, W} and np.array_equal(index, np.arange(result) // factor):
            factors = (1, factor) if place == H else (factor, 1)
            image = UpsamplingNearestNode(image, *factors)
            size[place] = result
        else:
            image = _picked(step, image, size, place, index)
    return image


ROWS: dict[str, Row] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Dropout": _dropout,
    "Flatten": _reshape,
    "Gather": _gather,
    "Identity": _identity,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _reshape,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
