# SPDX-License-Identifier: MIT
"""What Apple's headers ask for of kernels and memory is refused before MPS ends the process.

Run by tools/run_metal_double.py, with the module that is built against the double.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import mpsnn as mps

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def device() -> mps.Device:
    return mps.Device("metal-double")


def m2(device: mps.Device) -> mps.Matrix:
    return mps.Matrix(device, rows=2, columns=2)


@dataclass(frozen=True)
class Precondition:
    """What Apple's headers ask for, where it is checked, and what comes instead of an end."""

    rule: str
    place: str  # below src/: file, function
    call: Callable[[mps.Device, mps.CommandBuffer], object]
    error: type[Exception]
    message: str


def vector(device: mps.Device, *values: int) -> mps.Vector:
    return mps.Vector.from_array(device, np.array(values, np.uint32))


def matrix(device: mps.Device, *shape: int, dtype: str = "float32") -> mps.Matrix:
    return mps.Matrix.from_array(device, np.ones(shape, dtype))


def floats(device: mps.Device, length: int) -> mps.Vector:
    return mps.Vector.from_array(device, np.zeros(length, np.float32))


def sub_pixel_source(outputs: int) -> mps.ConvolutionDataSource:
    descriptor = mps.ConvolutionDescriptor(1, 1, 1, outputs)
    descriptor.sub_pixel_scale_factor = 2
    values = np.ones((outputs, 1, 1, 1), np.float32)
    return mps.ConvolutionDataSource(descriptor, values, None, "w")


PRECONDITIONS = [
    Precondition(
        "at most 16 largest values (MPSMatrixFindTopK.h)",
        "backend/metal/kernels/matrix_rows.mm, fits_top_k",
        lambda d, c: mps.MatrixFindTopK(d, 17).encode(
            c, matrix(d, 1, 20), matrix(d, 1, 17, dtype="uint32"), matrix(d, 1, 17)
        ),
        mps.UnsupportedError,
        "it finds at most 16 values, wanted are 17",
    ),
    Precondition(
        "random numbers are UInt32 or Float32 (MPSMatrixRandom.h)",
        "backend/metal/kernels/random.mm, fits_filling",
        lambda d, c: mps.MatrixRandomPhilox(d, data_type=mps.DataType.FLOAT16).encode(
            c, matrix(d, 1, 4, dtype="float16")
        ),
        mps.UnsupportedError,
        "MPS makes uint32 and float32, got float16",
    ),
    Precondition(
        "two matrices are summed or more (measured: MPSMatrixSum ends the process for one)",
        "backend/metal/kernels/matrix_rows.mm, fits_matrix_sum",
        lambda d, c: mps.MatrixSum(d).encode(c, [matrix(d, 2, 2)], m2(d)),
        mps.UnsupportedError,
        "it sums two matrices or more, got one",
    ),
    Precondition(
        "an image and its matrix are of one data type (MPSImageCopy.h)",
        "backend/metal/kernels/copy.mm, fits_conversion",
        lambda d, c: mps.MatrixCopy(d).encode(c, [matrix(d, 2, 2, dtype="int32")], [m2(d)]),
        mps.UnsupportedError,
        "MPS converts float16 and float32, got int32 -> float32",
    ),
    Precondition(
        "data types that are multiplied (MPSMatrixMultiplication.h)",
        "backend/metal/kernels/matrix_multiplication.mm, fits_matrix_multiplication",
        lambda d, c: mps.MatrixMultiplication(d).encode(
            c,
            *(matrix(d, 2, 2, dtype="int8") for _ in range(2)),
            matrix(d, 2, 2, dtype="int32"),
        ),
        mps.UnsupportedError,
        "its results are float32, got int32",
    ),
    Precondition(
        "a range of the batch lies in it (MPSMatrixMultiplication.h, batchStart)",
        "graph/kernels/matrix_tools.cpp, matrix_part",
        lambda d, c: mps.MatrixMultiplication(d, batch_start=2, batch_size=2).encode(
            c, matrix(d, 3, 2, 2), matrix(d, 3, 2, 2), matrix(d, 3, 2, 2)
        ),
        mps.InvalidArgumentError,
        "of matrices 2 + 2",
    ),
    Precondition(
        "an origin and a size lie in the matrix (MPSMatrixMultiplication.h)",
        "graph/kernels/matrix_tools.cpp, matrix_part",
        lambda d, c: mps.MatrixSoftMax(d, source_matrix_origin=[1, 0], source_rows=2).encode(
            c, m2(d), m2(d)
        ),
        mps.InvalidArgumentError,
        "rows and columns [1, 0]",
    ),
    Precondition(
        "a buffer holds its matrix (MPSMatrix.h)",
        "runtime/arrays.cpp, view",
        lambda d, _: mps.Matrix(mps.Buffer(d, 16), rows=2, columns=2, offset=4),
        mps.InvalidArgumentError,
        "buffer",
    ),
    Precondition(
        "rowBytes are a multiple of the element (MPSMatrix.h)",
        "runtime/arrays.cpp, stride",
        lambda d, _: mps.Matrix(mps.Buffer(d, 64), rows=2, columns=2, row_bytes=9),
        mps.InvalidArgumentError,
        "row_bytes: expected a multiple of 4 bytes",
    ),
    Precondition(
        "a predicate lies at a multiple of four (MPSCommandBuffer.h)",
        "runtime/buffers.cpp, Predicate",
        lambda d, _: mps.Predicate(mps.Buffer(d, 16), 2),
        mps.InvalidArgumentError,
        "Predicate: offset: expected a multiple of 4",
    ),
    Precondition(
        "memory without a copy is whole pages (MTLDevice.h, newBufferWithBytesNoCopy)",
        "backend/metal/memory.mm, wrap_memory",
        lambda d, _: mps.Matrix.wrap(d, np.ones((2, 2), np.float32)),
        mps.UnsupportedError,
        "begins at a page and is whole pages",
    ),
    Precondition(
        "a texture has at most 16384 columns (MTLTexture)",
        "backend/metal/kernels/image.mm, float32_images",
        lambda d, c: mps.ImageAdd(d).encode(
            c, *(mps.Image(d, size=(1, 1, 16385, 1)) for _ in range(3))
        ),
        mps.UnsupportedError,
        "images have at most 16384 rows and columns",
    ),
    Precondition(
        "the source has k columns or more (MPSMatrixFindTopK.h)",
        "graph/kernels/matrix_find_top_k.cpp, lower",
        lambda d, c: mps.MatrixFindTopK(d, 3).encode(
            c, m2(d), matrix(d, 2, 3, dtype="uint32"), matrix(d, 2, 3)
        ),
        mps.InvalidArgumentError,
        "number_of_top_k_values: expected at most 2, the source's columns",
    ),
    Precondition(
        "the results have k columns or more (MPSMatrixFindTopK.h)",
        "graph/kernels/matrix_tools.cpp, matrix_part",
        lambda d, c: mps.MatrixFindTopK(d, 2).encode(
            c, m2(d), matrix(d, 2, 2, dtype="uint32"), matrix(d, 2, 1)
        ),
        mps.InvalidArgumentError,
        "result_value_matrix: expected rows and columns [0, 0] + [2, 2]",
    ),
    Precondition(
        "indices of the largest values are UInt32 (MPSMatrixFindTopK.h)",
        "graph/kernels/matrix_find_top_k.cpp, lower",
        lambda d, c: mps.MatrixFindTopK(d, 1).encode(
            c, m2(d), matrix(d, 2, 1, dtype="int32"), matrix(d, 2, 1)
        ),
        mps.ArgumentTypeError,
        "result_index_matrix: expected uint32, got int32",
    ),
    Precondition(
        "pivots are UInt32 (MPSMatrixDecomposition.h)",
        "graph/kernels/matrix_decomposition.cpp, pivots_of",
        lambda d, c: mps.MatrixDecompositionLU(d).encode(
            c, m2(d), m2(d), matrix(d, 1, 2, dtype="int32")
        ),
        mps.ArgumentTypeError,
        "pivot_indices: expected uint32, got int32",
    ),
    Precondition(
        "there is a pivot for each row or column (MPSMatrixDecomposition.h)",
        "graph/kernels/matrix_decomposition.cpp, pivots_of",
        lambda d, c: mps.MatrixDecompositionLU(d).encode(
            c, m2(d), m2(d), matrix(d, 1, 1, dtype="uint32")
        ),
        mps.InvalidArgumentError,
        "pivot_indices: expected rows and columns [0, 0] + [1, 2]",
    ),
    Precondition(
        "windows have an odd number of columns and rows (MPSImageConvolution.h)",
        "graph/kernels/image_filter.cpp, check_odd_kernel",
        lambda d, _: mps.ImageBox(d, 2, 3),
        mps.InvalidArgumentError,
        "kernel_width: expected an odd number, got 2",
    ),
    Precondition(
        "a convolution's window is odd, too (MPSImageConvolution.h)",
        "graph/kernels/image_filter.cpp, check_odd_kernel",
        lambda d, _: mps.ImageConvolution(d, 1, 2, [1.0, 1.0]),
        mps.InvalidArgumentError,
        "kernel_height: expected an odd number, got 2",
    ),
    Precondition(
        "output channels are a multiple of the square of r (MPSCNNConvolution.h, sub-pixels)",
        "graph/data_source.cpp, check",
        lambda _, __: sub_pixel_source(6),
        mps.InvalidArgumentError,
        "output_feature_channels: expected a multiple of the square of sub_pixel_scale_factor (2)",
    ),
    Precondition(
        "factors of upsampling are at least 1 (MPSCNNUpsampling.h)",
        "graph/ops/upsampling.cpp, scale_attributes",
        lambda _, __: mps.UpsamplingNearestNode(mps.ImageNode("x"), 0, 1),
        mps.InvalidArgumentError,
        "integer_scale_factor_x: expected >= 1, got 0",
    ),
    Precondition(
        "a buffer has at most maxBufferLength bytes (MTLDevice.h)",
        "backend/metal/memory.mm, make_memory",
        lambda d, _: mps.Buffer(d, 1 << 33),
        mps.OutOfMemoryError,
        f"has no {1 << 33} bytes of memory left",
    ),
    Precondition(
        "so has one without a copy (MTLDevice.h, maxBufferLength)",
        "backend/metal/memory.mm, wrap_memory",
        lambda d, _: mps.Matrix.wrap(
            d, np.frombuffer(mmap.mmap(-1, 1 << 33), np.float32).reshape(1, -1)
        ),
        mps.UnsupportedError,
        f"bytes of the caller's memory at once, got {1 << 33}",
    ),
    Precondition(
        "a row of the matrix holds an image (MPSImageCopy.h)",
        "graph/kernels/image_copy.cpp, rows_as_images",
        lambda d, c: mps.ImageCopyToMatrix(d).encode(
            c, mps.Image(d, size=(1, 2, 2, 3)), matrix(d, 1, 11)
        ),
        mps.InvalidArgumentError,
        "expected 1 rows of 12 columns from [0, 0] on in matrix 0",
    ),
    Precondition(
        "what is copied lies in the source, behind its offset (MPSMatrixCombination.h)",
        "graph/kernels/matrix_copy.cpp, check_part",
        lambda d, c: mps.MatrixCopy(d, copy_rows=2, copy_columns=2, offsets=[1, 0, 0, 0]).encode(
            c, [m2(d)], [m2(d)]
        ),
        mps.InvalidArgumentError,
        "expected one matrix with rows and columns [1, 0] + [2, 2]",
    ),
    Precondition(
        "and in the destination (MPSMatrixCombination.h)",
        "graph/kernels/matrix_copy.cpp, check_part",
        lambda d, c: mps.MatrixCopy(d, offsets=[0, 0, 0, 1]).encode(c, [m2(d)], [m2(d)]),
        mps.InvalidArgumentError,
        "expected one matrix with rows and columns [0, 1] + [2, 2]",
    ),
    Precondition(
        "offsets on the device are UInt32 (MPSMatrixCombination.h)",
        "graph/kernels/matrix_copy.cpp, lower_copy",
        lambda d, c: mps.MatrixCopy(d).encode(c, [m2(d)], [m2(d)], floats(d, 4)),
        mps.ArgumentTypeError,
        "offset_vector: expected uint32, got float32",
    ),
    Precondition(
        "there are four offsets a copy (MPSMatrixCombination.h)",
        "graph/kernels/matrix_tools.cpp, vector_part",
        lambda d, c: mps.MatrixCopy(d).encode(c, [m2(d)], [m2(d)], vector(d, 0, 0, 0)),
        mps.InvalidArgumentError,
        "offset_vector: expected one vector of at least 4 elements",
    ),
    Precondition(
        "permuted places are UInt32 (MPSMatrixCombination.h)",
        "graph/kernels/matrix_copy.cpp, places",
        lambda d, c: mps.MatrixCopy(d).encode(
            c, [m2(d)], [m2(d)], row_permute_indices=floats(d, 2)
        ),
        mps.ArgumentTypeError,
        "row_permute_indices: expected uint32, got float32",
    ),
    Precondition(
        "indices of a gather are integers (our own rule)",
        "graph/kernels/ndarray.cpp, check_gather",
        lambda d, c: mps.NDArrayGather(d).encode(
            c, *(mps.NDArray(d, shape=shape) for shape in ((2, 2), (2,), (2, 2)))
        ),
        mps.ArgumentTypeError,
        "indices: expected int32 or uint32, got float32",
    ),
    Precondition(
        "a vector's data lies at a multiple of its element (our own rule)",
        "runtime/arrays.cpp, view",
        lambda d, _: mps.Vector(mps.Buffer(d, 16), length=2, offset=2),
        mps.InvalidArgumentError,
        "offset: expected a multiple of 4 bytes",
    ),
    Precondition(
        "so does a matrix's, whose offset is the weights' and the gradients', too (our own rule)",
        "runtime/arrays.cpp, view",
        lambda d, _: mps.Matrix(mps.Buffer(d, 64), rows=2, columns=2, offset=6),
        mps.InvalidArgumentError,
        "Matrix: offset: expected a multiple of 4 bytes",
    ),
    Precondition(
        "and an array's, of which matrices are made (our own rule)",
        "runtime/arrays.cpp, view",
        lambda d, _: mps.NDArray(mps.Buffer(d, 64), shape=[2, 2], offset=6),
        mps.InvalidArgumentError,
        "NDArray: offset: expected a multiple of 4 bytes",
    ),
    Precondition(
        "matrixBytes are a multiple of rowBytes (MPSMatrix.h)",
        "runtime/arrays.cpp, stride",
        lambda d, _: mps.Matrix(
            mps.Buffer(d, 64), rows=2, columns=2, matrices=2, row_bytes=8, matrix_bytes=20
        ),
        mps.InvalidArgumentError,
        "matrix_bytes: expected a multiple of 8 bytes",
    ),
    Precondition(
        "vectorBytes are a multiple of the element (MPSMatrix.h)",
        "runtime/arrays.cpp, stride",
        lambda d, _: mps.Vector(mps.Buffer(d, 64), length=2, vectors=2, vector_bytes=10),
        mps.InvalidArgumentError,
        "vector_bytes: expected a multiple of 4 bytes",
    ),
    Precondition(
        "rowBytes of a matrix that is an array's are such a multiple, too (MPSMatrix.h)",
        "runtime/arrays.cpp, desc_of",
        lambda d, _: mps.NDArray(mps.Buffer(d, 64), shape=[2, 2], strides=[10, 4]),
        mps.InvalidArgumentError,
        "strides: expected multiples of 4 bytes",
    ),
]


def step(device: mps.Device) -> None:
    """A step of training, which changes weights and biases."""
    source = mps.ConvolutionDataSource(
        mps.ConvolutionDescriptor(1, 1, 1, 2),
        np.ones((2, 1, 1, 1), np.float32),
        np.ones(2, np.float32),
        "w",
        mps.OptimizerAdam(0.1),
    )
    node = mps.ConvolutionNode(mps.ImageNode("x"), source)
    last = mps.InitialGradientNode(node.result_image).training_graph()
    encode(mps.Graph(device, [last[0].result_image], results_are_needed=[False]))
    assert (device.read_parameter(source, "bias") != 1).all()


def encode(graph: mps.Graph) -> None:
    commands = mps.CommandBuffer(graph.device.command_queue())
    graph.encode(commands, {"x": np.ones((2, 1, 1, 1), np.float32)})
    commands.commit()
    commands.wait_until_completed()


def source_of_two(device: mps.Device) -> None:
    x = mps.ImageNode("x")
    node = mps.AdditionNode(
        mps.NeuronReLUNode(x).result_image, mps.NeuronAbsoluteNode(x).result_image
    )
    encode(mps.Graph(device, [node.result_image]))


def source_read_once(device: mps.Device) -> None:
    """A graph that takes one read where it says that there are two: what is left is given back."""
    double = ctypes.CDLL(os.environ["MPSNN_METAL_DOUBLE"])
    double.metal_double_one_read(1)
    try:
        source_of_two(device)
    finally:
        double.metal_double_one_read(0)


@dataclass(frozen=True)
class Kept:
    """What headers ask for that no argument can break: where it is kept, what sees it broken.

    Attributes:
        rule: The rule, and the header that has it.
        place: Below src/: file, function.
        call: Work that the rule is for.
        fault: What the double does as if the function had broken the rule: metal_double_fail().
        refusal: What the double ends the call with then; empty: it counts an image unread.
    """

    rule: str
    place: str
    call: Callable[[mps.Device], None]
    fault: int
    refusal: str


IMAGE_KEPT, IMAGE_NOT_RAISED, STATE_KEPT, STATE_TWICE = 9, 10, 11, 12
KEPT = [
    Kept(
        "temporary images are read as often as their readCount (MPSImage.h)",
        "backend/metal/graph_kernel.mm, give_back",
        source_read_once,
        IMAGE_KEPT,
        "",
    ),
    Kept(
        "no temporary image is read more often (MPSImage.h)",
        "backend/metal/graph_kernel.mm, copy_sources",
        source_of_two,
        IMAGE_NOT_RAISED,
        "used although its readCount is 0",
    ),
    Kept(
        "an update reads both states once (MPSCNNConvolution.h, updateWithCommandBuffer)",
        "backend/metal/weights.mm, drop_read",
        step,
        STATE_KEPT,
        "the states' read counts must be decremented",
    ),
    Kept(
        "a state's readCount does not go below zero (MPSState.h)",
        "backend/metal/weights.mm, drop_read",
        step,
        STATE_TWICE,
        "readCount below zero",
    ),
]


@pytest.mark.parametrize("one", KEPT, ids=lambda one: one.rule)
def test_what_no_argument_breaks_is_kept_and_held(
    device: mps.Device, count_unread: Callable[[], int], one: Kept
) -> None:
    file, function = one.place.split(", ")
    assert f"{function}(" in (ROOT / "src" / file).read_text("utf-8")
    one.call(device)
    assert count_unread() == 0
    ctypes.CDLL(os.environ["MPSNN_METAL_DOUBLE"]).metal_double_fail(one.fault)
    if one.refusal:
        with pytest.raises(mps.DeviceError, match=one.refusal):
            one.call(device)
        count_unread()  # what the call left behind
    else:
        one.call(device)
        assert count_unread() == 1


@pytest.mark.parametrize("one", PRECONDITIONS, ids=lambda one: one.rule)
def test_preconditions_are_refused_before_mps(device: mps.Device, one: Precondition) -> None:
    file, function = one.place.split(", ")
    assert f"{function}(" in (ROOT / "src" / file).read_text("utf-8")
    with pytest.raises(one.error, match=re.escape(one.message)):
        one.call(device, mps.CommandBuffer(device.command_queue()))
