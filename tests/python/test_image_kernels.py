# SPDX-License-Identifier: MIT
"""Kernels of images against numpy and SciPy in float64; what is left alone; errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from cases.image_kernels import KERNEL_CASES, ImageCase
from numpy.typing import NDArray
from oracles.image_kernels import ORACLES

import mpsnn as mps

FORMATS = [(np.float32, np.float32), (np.float16, np.float16), (np.float16, np.float32)]
FORMATS += [(np.float32, np.float16)]
GUARD = -77.0  # what the destination held
Operand = mps.Image | mps.Matrix


def values(case: ImageCase, source: int) -> NDArray[np.float64]:
    """Small numbers that every format holds; the same for the same case."""
    random = np.random.default_rng(crc32(case.id.encode()) + source)
    size = case.sources[source]
    whole = random.integers(-4, 5, size).astype(np.float64)
    if case.kernel == "ImageDivide" and source == 1:
        return np.where(whole == 0, 3.0, whole)
    if case.kernel == "GridSample" and source == 1:
        return whole + random.integers(0, 8, size) / 8
    if case.kernel == "ImageConversion" and "source_alpha" in case.attributes:
        whole[..., -1] = random.integers(0, 5, size[:-1]) / 4
    return whole


def operand(device: mps.Device, array: NDArray[Any]) -> Operand:
    """Three dimensions are matrices, four are images."""
    return mps.Matrix.from_array(device, array) if array.ndim == 3 else mps.Image(device, array)


def encode(
    device: mps.Device, case: ImageCase, sources: Sequence[Operand], destination: Operand
) -> NDArray[Any]:
    """What the destination holds afterwards."""
    kernel: Any = getattr(mps, case.kernel)(device, **case.attributes)
    commands = mps.CommandBuffer(device.command_queue())
    if case.kernel == "ChannelConcatenation":
        kernel.encode(commands, sources, destination)
    else:
        kernel.encode(commands, *sources, destination)
    commands.commit()
    commands.wait_until_completed()
    return np.asarray(destination)


def has_matrix(case: ImageCase) -> bool:
    return "Matrix" in case.kernel


@pytest.mark.parametrize("formats", FORMATS, ids=lambda f: f"{f[0].__name__}-{f[1].__name__}")
@pytest.mark.parametrize("case", KERNEL_CASES, ids=lambda case: case.id)
def test_values(device: mps.Device, case: ImageCase, formats: tuple[Any, Any]) -> None:
    read, written = formats
    if has_matrix(case) and read is not written:
        pytest.skip("a copy between images and matrices converts nothing")
    arrays = [values(case, i) for i in range(len(case.sources))]
    expected = np.full(case.destination, GUARD)
    with np.errstate(divide="ignore", invalid="ignore"):
        ORACLES[case.kernel](case, arrays, expected)
    sources = [operand(device, array.astype(read)) for array in arrays]
    start = np.full(case.destination, GUARD, written)
    result = encode(device, case, sources, operand(device, start))
    assert result.dtype == written
    if case.exact and written is np.float32:
        np.testing.assert_array_equal(result, expected)
    else:
        tolerance = 1e-3 if written is np.float16 else 2e-5
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


def test_laplacian_as_measured(device: mps.Device) -> None:
    source = mps.Image(device, np.arange(1, 17, dtype=np.float32).reshape(1, 4, 4, 1))
    known = np.array([[3, 2, 1, -5], [-4, 0, 0, -9], [-8, 0, 0, -13], [-29, -18, -19, -37]])
    for bias in (0.0, 1.0):
        case = ImageCase("ImageLaplacian", ((1, 4, 4, 1),), (1, 4, 4, 1), {"bias": bias})
        result = encode(device, case, [source], mps.Image(device, size=(1, 4, 4, 1)))
        np.testing.assert_array_equal(result[0, :, :, 0], known + bias)


def test_sum_as_measured(device: mps.Device) -> None:
    left = mps.Image(device, np.array([[[1, 2, 3, 4]]], np.float32))
    right = mps.Image(device, np.array([[[10, 20, 30, 40]]], np.float32))
    case = ImageCase("ImageAdd", ((1, 1, 1, 4),) * 2, (1, 1, 1, 4), {"primary_scale": 2.0})
    result = encode(device, case, [left, right], mps.Image(device, size=(1, 1, 1, 4)))
    np.testing.assert_array_equal(result.ravel(), [12, 24, 36, 48])


def test_division_by_zero(device: mps.Device) -> None:
    left = mps.Image(device, np.array([[[0, 1, -1]]], np.float32))
    case = ImageCase("ImageDivide", ((1, 1, 1, 3),) * 2, (1, 1, 1, 3))
    zeros = mps.Image(device, size=(1, 1, 1, 3))
    result = encode(device, case, [left, zeros], mps.Image(device, size=(1, 1, 1, 3)))
    np.testing.assert_array_equal(result.ravel(), [np.nan, np.inf, -np.inf])


def test_positions_far_away_and_not_finite(device: mps.Device) -> None:
    source = mps.Image(device, np.ones((1, 2, 2, 1), np.float32))
    far = np.array([[1e30, 0], [-1e30, 0.5], [0, np.nan], [np.inf, 0]], np.float32)
    grid = mps.Image(device, far.reshape(1, 1, 4, 2))
    case = ImageCase("GridSample", ((1, 2, 2, 1), (1, 1, 4, 2)), (1, 1, 4, 1))
    result = encode(device, case, [source, grid], mps.Image(device, size=(1, 1, 4, 1)))
    np.testing.assert_array_equal(result.ravel(), [0, 0, np.nan, np.nan])


def test_nan_spreads_into_minimum_and_maximum(device: mps.Device) -> None:
    source = mps.Image(device, np.array([[[1], [np.nan], [3]]], np.float32))
    case = ImageCase("ImageStatisticsMinAndMax", ((1, 1, 3, 1),), (1, 1, 2, 1))
    result = encode(device, case, [source], mps.Image(device, size=(1, 1, 2, 1)))
    assert np.isnan(result).all()


def test_rows_that_are_padded(device: mps.Device) -> None:
    """Row strides, offsets and what lies between the rows."""
    buffer = mps.Buffer(device, 512)
    whole = mps.Vector(buffer, length=128)
    whole.write(np.full(128, GUARD, np.float32))
    matrix = mps.Matrix(buffer, rows=3, columns=12, row_bytes=64, offset=16)
    images = np.arange(24, dtype=np.float32).reshape(2, 2, 2, 3)
    case = ImageCase("ImageCopyToMatrix", ((2, 2, 2, 3),), (1, 3, 12), {"data_layout": 0})
    encode(device, case, [mps.Image(device, images)], matrix)
    expected = np.full(128, GUARD)
    expected[4:16], expected[20:32] = images[0].ravel(), images[1].ravel()
    np.testing.assert_array_equal(np.asarray(whole), expected)
    back = ImageCase("MatrixCopyToImage", ((1, 3, 12),), (2, 2, 2, 3), {"data_layout": 0})
    result = encode(device, back, [matrix], mps.Image(device, size=(2, 2, 2, 3)))
    np.testing.assert_array_equal(result, images)


BAD_ATTRIBUTES = [
    ("ImageBox", {"kernel_width": 4, "kernel_height": 3}, "kernel_width: expected an odd number"),
    ("ImageBox", {"kernel_width": 0, "kernel_height": 3}, "kernel_width: expected"),
    ("ImageConvolution", {"kernel_width": 3, "kernel_height": 1, "weights": [1.0]}, "3 numbers"),
    ("ImageGaussianBlur", {"sigma": 0.0}, "sigma: expected"),
    ("ImageSobel", {"color_transform": [1.0]}, "color_transform: expected 3 numbers, got 1"),
    ("ImageLaplacian", {"offset": [1]}, "offset: expected a column and a row, got 1 numbers"),
    ("ImageLaplacian", {"clip_rect": [1, 2, 3]}, "clip_rect: expected none or 4 numbers"),
    ("ImageLaplacian", {"clip_rect": [0, 0, 0, 1]}, "a width and a height >= 1, got 0"),
    ("ImageAdd", {"primary_stride_in_pixels": [2, 1]}, "primary_stride_in_pixels"),
    ("ImageAdd", {"secondary_stride_in_pixels": [1]}, "2 numbers"),
    ("ImageAdd", {"minimum_value": 1.0, "maximum_value": 0.0}, "maximum_value: expected >= 1"),
    ("ImageDivide", {"secondary_scale": 0.0}, "secondary_scale: expected a number that is not 0"),
    ("ImageBilinearScale", {"scale_transform": [1.0]}, "scale_transform: expected none or 4"),
    ("ImageLanczosScale", {"scale_transform": [0.0, 1.0, 0.0, 0.0]}, "scales from"),
    (
        "CropAndResizeBilinear",
        {"resize_width": 1, "resize_height": 1, "regions": [0.0, 0.0, 1.0]},
        "regions: expected 4 numbers",
    ),
    (
        "CropAndResizeBilinear",
        {"resize_width": 1, "resize_height": 1, "regions": [0.0, 0.0, 0.0, 1.0]},
        "widths and heights above 0",
    ),
    ("MatrixCopyToImage", {"source_matrix_origin": [1]}, "source_matrix_origin"),
]


@pytest.mark.parametrize(
    ("kernel", "mode"),
    [("ImageLaplacian", mps.ImageEdgeMode.CONSTANT), ("GridSample", mps.ImageEdgeMode.MIRROR)],
)
def test_edge_modes_that_a_kernel_has_not(
    cpu: mps.Device, kernel: str, mode: mps.ImageEdgeMode
) -> None:
    with pytest.raises(mps.UnsupportedError, match=f"{kernel}.*edge_mode"):
        getattr(mps, kernel)(cpu, edge_mode=mode)


@pytest.mark.parametrize(("kernel", "attributes", "text"), BAD_ATTRIBUTES)
def test_bad_attributes(
    cpu: mps.Device, kernel: str, attributes: dict[str, object], text: str
) -> None:
    with pytest.raises(mps.InvalidArgumentError, match=text) as error:
        getattr(mps, kernel)(cpu, **attributes)
    assert kernel in str(error.value)


BAD_OPERANDS = [
    (
        ImageCase("MatrixCopyToImage", ((1, 1, 105),), (2, 5, 7, 3)),
        "source_matrix: expected 2 rows",
    ),
    (
        ImageCase("ImageCopyToMatrix", ((2, 5, 7, 3),), (1, 2, 104)),
        "destination_matrix: expected 2",
    ),
    (
        ImageCase("ChannelConcatenation", ((1, 2, 2, 1), (1, 2, 3, 1)), (1, 2, 2, 2)),
        "source_images",
    ),
    (ImageCase("ChannelConcatenation", ((1, 2, 2, 1),), (1, 2, 2, 2)), "destination_image"),
    (
        ImageCase("Slice", ((1, 4, 4, 2),), (1, 2, 2, 2), {"source_feature_channel_offset": 1}),
        "source_image: expected 1 images with 2 x 2 pixels",
    ),
    (ImageCase("Slice", ((1, 4, 4, 2),), (1, 2, 2, 2), {"offset": [-1, 0]}), "source_image"),
    (ImageCase("ImageTranspose", ((1, 4, 3, 2),), (1, 4, 3, 2)), "destination_image"),
    (
        ImageCase("ImageConversion", ((1, 2, 2, 1),), (1, 2, 2, 1), {"source_alpha": 0}),
        "source_image: expected colours and an alpha channel",
    ),
    (
        ImageCase(
            "ImageConversion",
            ((1, 2, 2, 4),),
            (1, 2, 2, 4),
            {"source_alpha": 0, "background_color": [1.0]},
        ),
        "background_color: expected none or 3 numbers",
    ),
    (ImageCase("ImageBilinearScale", ((1, 2, 2, 1),), (1, 2, 2, 2)), "destination_image"),
    (
        ImageCase(
            "ResizeBilinear",
            ((1, 2, 2, 1),),
            (1, 3, 2, 1),
            {"resize_width": 2, "resize_height": 2},
        ),
        "destination_image",
    ),
    (ImageCase("ImageLaplacian", ((2, 2, 2, 1),), (1, 2, 2, 1)), "destination_image: expected 2"),
    (
        ImageCase("ImageLaplacian", ((1, 2, 2, 1),), (1, 2, 2, 1), {"clip_rect": [1, 0, 2, 1]}),
        r"clip_rect: expected a rectangle in 2 columns and 2 rows, got 2 x 1 at \(1, 0\)",
    ),
    (ImageCase("ImageSobel", ((1, 2, 2, 2),), (1, 2, 2, 1)), "destination_image"),
    (ImageCase("ImageStatisticsMinAndMax", ((1, 2, 2, 1),), (1, 2, 1, 1)), "at least 2 columns"),
    (ImageCase("ImageReduceRowMin", ((1, 2, 2, 1),), (1, 1, 2, 1)), "destination_image"),
    (ImageCase("ImageAdd", ((1, 2, 2, 1), (1, 2, 2, 2)), (1, 2, 2, 1)), "secondary_image"),
    (ImageCase("GridSample", ((1, 2, 2, 1), (1, 2, 2, 3)), (1, 2, 2, 1)), "grid: expected"),
    (ImageCase("LocalCorrelation", ((1, 2, 2, 1), (1, 2, 3, 1)), (1, 2, 2, 1)), "secondary_image"),
    (ImageCase("LocalCorrelation", ((1, 2, 2, 1),) * 2, (1, 2, 2, 3)), "destination_image"),
]


@pytest.mark.parametrize(("case", "text"), BAD_OPERANDS, ids=lambda value: getattr(value, "id", ""))
def test_bad_operands(cpu: mps.Device, case: ImageCase, text: str) -> None:
    sources = [operand(cpu, np.zeros(size, np.float32)) for size in case.sources]
    with pytest.raises(mps.InvalidArgumentError, match=text) as error:
        encode(cpu, case, sources, operand(cpu, np.zeros(case.destination, np.float32)))
    assert f'{case.kernel} "{case.kernel}"' in str(error.value)


def test_element_types_of_matrix_and_image_match(cpu: mps.Device) -> None:
    matrix = mps.Matrix.from_array(cpu, np.zeros((1, 4), np.float16))
    case = ImageCase("MatrixCopyToImage", ((1, 1, 4),), (1, 2, 2, 1))
    with pytest.raises(mps.ArgumentTypeError, match="expected the same of matrix and image"):
        encode(cpu, case, [matrix], mps.Image(cpu, size=(1, 2, 2, 1)))


def test_a_source_is_not_written_over(cpu: mps.Device) -> None:
    image = mps.Image(cpu, size=(1, 4, 4, 1))
    case = ImageCase("ImageLaplacian", ((1, 4, 4, 1),), (1, 4, 4, 1))
    with pytest.raises(mps.InvalidArgumentError, match="memory apart from source_image"):
        encode(cpu, case, [image], image)
