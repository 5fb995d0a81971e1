# SPDX-License-Identifier: MIT
"""Weights of float16 and of 8 bits that a data source written in Python gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import mpsnn as mps

Floats = NDArray[np.float32]
DESCRIPTOR = mps.ConvolutionDescriptor(1, 1, 3, 2)


def forward(device: mps.Device, weights: mps.ConvolutionDataSource) -> mps.Graph:
    """A convolution alone."""
    return mps.Graph(device, [mps.ConvolutionNode(mps.ImageNode("x"), weights).result_image])


class Small(mps.ConvolutionDataSource):
    """Gives weights of another element type, and what explains it."""

    def __init__(self, array: NDArray[Any], **explanations: Floats) -> None:
        super().__init__(DESCRIPTOR, None, label="small")
        self.array, self.explanations = array, explanations

    def values(self, parameter: str) -> Floats:
        """The weights; there is no bias."""
        assert parameter == "weights"
        return self.array

    def ranges_for_uint8_kernel(self) -> Floats | None:
        """A minimum and a maximum for each output channel."""
        return self.explanations.get("ranges")

    def lookup_table_for_uint8_kernel(self) -> Floats | None:
        """What each of 256 values stands for."""
        return self.explanations.get("table")


BYTES = np.array([[0, 51, 255], [255, 102, 0]], np.uint8).reshape(2, 1, 1, 3)
SQUARES = np.arange(256, dtype=np.float32) ** 2


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Small(BYTES.astype(np.float16)), BYTES.astype(np.float32)),
        (
            Small(BYTES, ranges=np.array([[0, 5], [-1, 4]], np.float32)),
            np.array([[0, 1, 5], [4, 1, -1]], np.float32).reshape(2, 1, 1, 3),
        ),
        (Small(BYTES, table=SQUARES), SQUARES[BYTES]),
    ],
    ids=["float16", "ranges", "table"],
)
def test_weights_of_other_types(
    device: mps.Device, source: mps.ConvolutionDataSource, expected: Floats
) -> None:
    x = np.arange(-6, 6, dtype=np.float32).reshape(1, 2, 2, 3)
    commands = mps.CommandBuffer(device.command_queue())
    result = forward(device, source).encode(commands, {"x": x})[0]
    commands.commit()
    np.testing.assert_array_equal(np.asarray(result), x @ expected.reshape(2, 3).T)
    np.testing.assert_array_equal(device.read_parameter(source, "weights"), expected)


def test_weights_of_other_types_that_do_not_fit(device: mps.Device) -> None:
    half = np.zeros((2, 1, 1, 3), np.float16)
    ranges = np.zeros((2, 2), np.float32)
    for source, text in [
        (Small(BYTES), "ranges"),
        (Small(BYTES, ranges=ranges, table=SQUARES), "both"),
        (Small(BYTES, ranges=ranges[:1]), r"ranges: expected shape \(2, 2\), got \(1, 2\)"),
        (Small(half, table=SQUARES), "lookup_table"),
        (Small(half[:1]), r'^ConvolutionDataSource "small": values: weights: expected shape'),
        (Small(BYTES.astype(np.int32)), "expected float32, float16 or uint8, got int32"),
    ]:
        with pytest.raises(mps.StateError, match=text):
            forward(device, source)
