# SPDX-License-Identifier: MIT
"""Image kernels by numpy and SciPy in float64, written from their definitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from cases.image_kernels import CHW, CLAMP, MIRROR, MIRROR_WITH_EDGE, ImageCase
from numpy.typing import NDArray
from scipy import ndimage

from oracles.resize import lanczos, triangle, weights

# numpy's names; "reflect" does not repeat the edge, "symmetric" does.
MIRRORS: dict[int, Literal["reflect", "symmetric"]] = {
    MIRROR: "reflect",
    MIRROR_WITH_EDGE: "symmetric",
}

Doubles = NDArray[np.float64]
Whole = NDArray[np.int64]
Oracle = Callable[[ImageCase, list[Doubles], Doubles], None]


def clip_of(case: ImageCase, written: Doubles) -> tuple[slice, ...]:
    """What is written."""
    x, y, width, height = case.attributes.get("clip_rect") or (0, 0, *written.shape[2:0:-1])
    return (slice(None), slice(y, y + height), slice(x, x + width))


def source_clip(case: ImageCase, image: Doubles) -> Doubles:
    """What is read."""
    x, y, width, height = case.attributes.get("clip_rect_source") or (0, 0, *image.shape[2:0:-1])
    return image[:, y : y + height, x : x + width]


def pixels(image: Doubles, rows: Whole, columns: Whole, edge_mode: int) -> Doubles:
    """Pixels at these rows and columns, which may lie outside; (N, rows, columns, C)."""
    _, height, width, _ = image.shape
    if edge_mode in MIRRORS:
        margins = [beyond(rows, height), beyond(columns, width)]
        padded = np.pad(image, [(0, 0), *margins, (0, 0)], mode=MIRRORS[edge_mode])
        return padded[:, rows[:, None] + margins[0][0], columns[None, :] + margins[1][0]]
    rows, columns = rows[:, None], columns[None, :]
    values = image[:, np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return values if edge_mode == CLAMP else values * inside[None, :, :, None]


def beyond(at: Whole, size: int) -> tuple[int, int]:
    """How far positions go beyond an axis on both sides."""
    return max(0, -int(at.min())), max(0, int(at.max()) - size + 1)


def moved(case: ImageCase, image: Doubles, part: Doubles, prefix: str = "") -> Doubles:
    """The pixels that a part of the result belongs to."""
    a = case.attributes
    x, y = a.get(f"{prefix}offset", (0, 0))
    step_x, step_y = a.get(f"{prefix}stride_in_pixels", (1, 1))
    rows = y + step_y * np.arange(part.shape[1])
    columns = x + step_x * np.arange(part.shape[2])
    return pixels(image, rows, columns, a.get(f"{prefix}edge_mode", 0))


def rows_of(images: Doubles, layout: int) -> Doubles:
    """An image a row."""
    return (images.transpose(0, 3, 1, 2) if layout == CHW else images).reshape(len(images), -1)


def matrix_to_image(case: ImageCase, sources: list[Doubles], written: Doubles) -> None:
    a = case.attributes
    row, column = a.get("source_matrix_origin", (0, 0))
    n, height, width, channels = written.shape
    matrix = sources[0][a.get("source_matrix_batch_index", 0)]
    rows = matrix[row : row + n, column : column + written[0].size]
    if a.get("data_layout", CHW) == CHW:
        written[...] = rows.reshape(n, channels, height, width).transpose(0, 2, 3, 1)
    else:
        written[...] = rows.reshape(written.shape)


def image_to_matrix(case: ImageCase, sources: list[Doubles], written: Doubles) -> None:
    a = case.attributes
    row, column = a.get("destination_matrix_origin", (0, 0))
    rows = rows_of(sources[0], a.get("data_layout", CHW))
    matrix = written[a.get("destination_matrix_batch_index", 0)]
    matrix[row : row + len(rows), column : column + rows.shape[1]] = rows


def concatenation(_case: ImageCase, sources: list[Doubles], written: Doubles) -> None:
    written[...] = np.concatenate(sources, axis=3)


def cut(case: ImageCase, sources: list[Doubles], written: Doubles) -> None:
    channel = case.attributes.get("source_feature_channel_offset", 0)
    part = written[clip_of(case, written)]
    part[...] = moved(case, sources[0], part)[..., channel : channel + written.shape[3]]


def transpose(_case: ImageCase, sources: list[Doubles], written: Doubles) -> None:
    written[...] = sources[0].swapaxes(1, 2)


def conversion(case: ImageCase, sources: list[Doubles], written: Doubles) -> None:
    a = case.attributes
    kinds = a.get("source_alpha", 1), a.get("destination_alpha", 1)
    part = written[clip_of(case, written)]
    image = moved(case, sources[0], part)
    part[...] = image
    if kinds[0] == kinds[1]:
        return
    colours, alpha = image[..., :-1], image[..., -1:]
    behind = (1 - alpha) * np.array(a.get("background_color", [0.0] * colours.shape[3]))
    divided = colours / np.where(alpha == 0, 1, alpha)
    part[..., :-1] = {
        (0, 2): colours * alpha,
        (2, 0): divided,
        (0, 1): colours * alpha + behind,
        (2, 1): colours + behind,
        (1, 0): colours,
        (1, 2): colours,
    }[kinds]
    if 1 in kinds:
        part[..., -1] = 1


def scale(case: ImageCase, sources: list[Doubles], written: Doubles) -> None:
    (image,) = sources
    _, height, width, _ = image.shape
    out = written.shape[1:3]
    transform = case.attributes.get("scale_transform") or (out[1] / width, out[0] / height, 0, 0)
    widens = case.kernel == "ImageLanczosScale"
    kernel = lanczos if widens else triangle
    rows = weights(height, out[0], transform[1], transform[3], kernel, widens=widens)
    columns = weights(width, out[1], transform[0], transform[2], kernel, widens=widens)
    clip = clip_of(case, written)
    written[clip] = np.einsum("py,nyxc,qx->npqc", rows, image, columns)[clip]


def sampled(image: Doubles, rows: Doubles, columns: Doubles, edge_mode: int) -> Doubles:
    """Bilinear, at all pairs of rows and columns."""
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = (rows - top)[:, None, None], (columns - left)[:, None]
    above = (1 - right) * pixels(image, top, left, edge_mode)
    above = above + right * pixels(image, top, left + 1, edge_mode)
    below = (1 - right) * pixels(image, top + 1, left, edge_mode)
    below = below + right * pixels(image, top + 1, left + 1, edge_mode)
    return (1 - down) * above + down * below


def resize(case: ImageCase, sources: list[Doubles], written: Doubles) -> None:
    (image,) = sources
    positions = []
    for source, result in zip(image.shape[1:3], written.shape[1:3], strict=True):
        if case.attributes["align_corners"]:
            positions.append(np.linspace(0, source - 1, result))
        else:
            positions.append(np.arange(result) * source / result)
    written[...] = sampled(image, positions[0], positions[1], CLAMP)


def crop_and_resize(case: ImageCase, sources: list[Doubles], written: Doubles) -> None:
    (image,) = sources
    regions = np.reshape(case.attributes["regions"], (-1, 4))

    def along(start: float, extent: float, source: int, count: int) -> Doubles:
        if count == 1:
            return np.array([(start + extent / 2) * (source - 1)])
        return np.linspace(start, start + extent, count) * (source - 1)

    _, height, width, _ = image.shape
    for n, one in enumerate(image):
        for r, (x, y, extent_x, extent_y) in enumerate(regions):
            rows = along(y, extent_y, height, written.shape[1])
            columns = along(x, extent_x, width, written.shape[2])
            written[n * len(regions) + r] = sampled(one[None], rows, columns, CLAMP)[0]


def correlated(case: ImageCase, image: Doubles, part: Doubles, window: Doubles) -> Doubles:
    """SciPy's correlation of the image with wide margins, at the pixels of a part."""
    margin = 24 + max(window.shape) // 2
    _, height, width, _ = image.shape
    wide = pixels(
        image,
        np.arange(-margin, height + margin),
        np.arange(-margin, width + margin),
        case.attributes.get("edge_mode", 0),
    )
    sums = ndimage.correlate(wide, window[None, :, :, None], mode="constant")
    x, y = case.attributes.get("offset", (0, 0))
    x, y = x + margin, y + margin
    return sums[:, y : y + part.shape[1], x : x + part.shape[2]]


def window_of(case: ImageCase) -> Doubles:
    """The weights of a filter."""
    a = case.attributes
    if case.kernel == "ImageLaplacian":
        return np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])
    if case.kernel == "ImageGaussianBlur":
        impulse = np.zeros(2 * int(4 * a["sigma"] + 0.5) + 1)
        impulse[len(impulse) // 2] = 1
        line = ndimage.gaussian_filter1d(impulse, a["sigma"], mode="constant")
        return np.outer(line, line)
    shape = a["kernel_height"], a["kernel_width"]
    if case.kernel == "ImageConvolution":
        return np.reshape(np.array(a["weights"]), shape)
    if case.kernel == "ImageBox":
        return np.full(shape, 1 / (shape[0] * shape[1]))
    boxes = [np.full((size + 1) // 2, 2 / (size + 1)) for size in shape]
    return np.outer(np.convolve(boxes[0], boxes[0]), np.convolve(boxes[1], boxes[1]))


def filtered(case: ImageCase, sources: list[Doubles], written: Doubles) -> None:
    part = written[clip_of(case, written)]
    part[...] = correlated(case, sources[0], part, window_of(case))
    part += case.attributes.get("bias", 0)


def sobel(case: ImageCase, sources: list[Doubles], written: Doubles) -> None:
    (image,) = sources
    part = written[clip_of(case, written)]
    if written.shape[3] == 1 and image.shape[3] >= 3:
        transform = np.array(case.attributes.get("color_transform", [0.299, 0.587, 0.114]))
        image = image[..., :3] @ transform[:, None]
    window = np.outer([1.0, 2, 1], [-1.0, 0, 1])
    part[...] = np.hypot(
        correlated(case, image, part, window), correlated(case, image, part, window.T)
    )


def statistics(case: ImageCase, sources: list[Doubles], written: Doubles) -> None:
    image = source_clip(case, sources[0])
    kind = case.kernel.removeprefix("ImageStatistics")
    first, second = {
        "MinAndMax": (np.min, np.max),
        "MeanAndVariance": (np.mean, np.var),
        "Mean": (np.mean, None),
    }[kind]
    written[:, 0, 0] = first(image, axis=(1, 2))
    if second is not None:
        written[:, 0, 1] = second(image, axis=(1, 2))


def reduction(case: ImageCase, sources: list[Doubles], written: Doubles) -> None:
    of_rows = case.kernel.startswith("ImageReduceRow")
    function: Any = {"Min": np.min, "Max": np.max, "ean": np.mean, "Sum": np.sum}[case.kernel[-3:]]
    image = source_clip(case, sources[0])
    written[...] = function(image, axis=2 if of_rows else 1, keepdims=True)


def arithmetic(case: ImageCase, sources: list[Doubles], written: Doubles) -> None:
    a = case.attributes
    part = written[clip_of(case, written)]
    first, second = (
        a.get(f"{prefix}_scale", 1.0) * moved(case, source, part, f"{prefix}_")
        for prefix, source in zip(("primary", "secondary"), sources, strict=True)
    )
    function: Any = {
        "ImageAdd": np.add,
        "ImageSubtract": np.subtract,
        "ImageMultiply": np.multiply,
        "ImageDivide": np.divide,
    }[case.kernel]
    value = function(first, second) + a.get("bias", 0.0)
    part[...] = np.clip(value, a.get("minimum_value", -np.inf), a.get("maximum_value", np.inf))


def grid_sample(case: ImageCase, sources: list[Doubles], written: Doubles) -> None:
    image, grid = sources
    a = case.attributes
    own = 0 if a.get("use_grid_value_as_input_coordinate", True) else 1
    for n, y, x in np.ndindex(written.shape[:3]):
        at_x, at_y = grid[n, y, x] + own * np.array([x, y])
        at = np.array([at_y]), np.array([at_x])
        written[n, y, x] = sampled(image[n : n + 1], *at, a.get("edge_mode", 0))[0, 0, 0]


def local_correlation(case: ImageCase, sources: list[Doubles], written: Doubles) -> None:
    first, second = sources
    a = case.attributes
    _, height, width, _ = first.shape
    values = [
        (
            first
            * pixels(
                second,
                np.arange(height) + j * a["stride_in_y"],
                np.arange(width) + i * a["stride_in_x"],
                0,
            )
        ).sum(axis=3)
        for j in range(-a["window_in_y"], a["window_in_y"] + 1)
        for i in range(-a["window_in_x"], a["window_in_x"] + 1)
    ]
    written[...] = np.stack(values, axis=3)


ORACLES: dict[str, Oracle] = {
    "MatrixCopyToImage": matrix_to_image,
    "ImageCopyToMatrix": image_to_matrix,
    "ChannelConcatenation": concatenation,
    "Slice": cut,
    "ImageTranspose": transpose,
    "ImageConversion": conversion,
    "ImageBilinearScale": scale,
    "ImageLanczosScale": scale,
    "ResizeBilinear": resize,
    "CropAndResizeBilinear": crop_and_resize,
    "ImageConvolution": filtered,
    "ImageLaplacian": filtered,
    "ImageGaussianBlur": filtered,
    "ImageBox": filtered,
    "ImageTent": filtered,
    "ImageSobel": sobel,
    **{f"ImageStatistics{kind}": statistics for kind in ("MinAndMax", "MeanAndVariance", "Mean")},
    **{
        f"ImageReduce{axis}{kind}": reduction
        for axis in ("Row", "Column")
        for kind in ("Min", "Max", "Mean", "Sum")
    },
    **{f"Image{kind}": arithmetic for kind in ("Add", "Subtract", "Multiply", "Divide")},
    "GridSample": grid_sample,
    "LocalCorrelation": local_correlation,
}
