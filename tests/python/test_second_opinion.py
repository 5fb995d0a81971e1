# SPDX-License-Identifier: MIT
"""PyTorch as a second opinion on the oracles themselves, where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from case_nets import parameters_of, values
from cases import CLAMP, ZERO, Case, convolution, normalization, pooling
from numpy.typing import NDArray
from oracles import Doubles, oracle_of, window_positions
from oracles.convolution import geometry
from oracles.pooling import window

torch = pytest.importorskip("torch")


def margins(positions: NDArray[np.int64], size: int) -> tuple[int, int]:
    """Pixels to add before and behind (or take away) so that windows start at 0."""
    return -int(positions[0, 0]), int(positions[-1, -1]) - (size - 1)


def padded(image: Any, case: Case, kernel: Any, stride: Any, dilation: Any, fill: float) -> Any:  # noqa: ANN401
    """The image with the border that its windows read, channels second."""
    _, height, width, _ = case.sources[0]
    rows = window_positions(height, kernel[0], stride[0], dilation[0], case.padding, "y")
    columns = window_positions(width, kernel[1], stride[1], dilation[1], case.padding, "x")
    border = (*margins(columns, width), *margins(rows, height))
    return torch.nn.functional.pad(image.permute(0, 3, 1, 2), border, value=fill)


def tensors(arrays: list[Doubles]) -> list[Any]:
    return [torch.tensor(array, requires_grad=True) for array in arrays]


def agree(case: Case, inputs: list[Doubles], leaves: list[Any], result: Any) -> None:  # noqa: ANN401
    """PyTorch's result and gradients against the oracle's, both in float64."""
    result = result.permute(0, 2, 3, 1)
    names = (["gamma", "beta"] if case.normalization else ["weights", "bias"])[: len(inputs) - 1]
    parameters = dict(zip(names, inputs[1:], strict=True))
    oracle = oracle_of(case.node)
    expected, _ = oracle.result(case, inputs[:1], parameters)
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=0, atol=1e-12)
    gradient = values(case, expected.shape, "gradient", integers=False).astype(np.float64)
    result.backward(torch.tensor(gradient))
    found = oracle.gradients(case, inputs[:1], parameters, gradient)
    wanted = [found.sources[0], *(found.parameters[name] for name in names)]
    for leaf, array in zip(leaves, wanted, strict=True):
        np.testing.assert_allclose(leaf.grad.numpy(), array, rtol=0, atol=1e-11)


# Every third case: the oracle compiles anew for each.
CONVOLUTIONS = [
    c
    for c in convolution.CASES
    if c.node == "ConvolutionNode"
    and c.attributes.get("edge_mode", ZERO) == ZERO
    and (c.convolution is None or c.convolution.sub_pixel == 1)
][::3]


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=lambda case: case.id)
def test_convolution(case: Case) -> None:
    c = geometry(case)
    image = values(case, case.sources[0], "source0", integers=False)
    arrays = [image, *parameters_of(case, integers=False).values()]
    inputs = [array.astype(np.float64) for array in arrays]
    leaves = tensors(inputs)
    result = torch.nn.functional.conv2d(
        padded(leaves[0], case, c.kernel, c.stride, c.dilation, 0.0),
        leaves[1].permute(0, 3, 1, 2),
        leaves[2] if c.bias else None,
        stride=c.stride,
        dilation=c.dilation,
        groups=c.groups,
    )
    agree(case, inputs, leaves, result)


def meets_the_image(case: Case) -> bool:
    """PyTorch has no answer for windows that lie wholly outside."""
    kernel, stride = window(case)
    _, height, width, _ = case.sources[0]
    for axis, size, index in (("y", height, 0), ("x", width, 1)):
        at = window_positions(size, kernel[index], stride[index], 1, case.padding, axis)
        if not ((at >= 0) & (at < size)).any(axis=1).all():
            return False
    return case.attributes.get("edge_mode", CLAMP) == CLAMP


POOLINGS = [c for c in pooling.CASES if c.node == "PoolingMaxNode" and meets_the_image(c)]


@pytest.mark.parametrize("case", POOLINGS, ids=lambda case: case.id)
def test_pooling_max(case: Case) -> None:
    kernel, stride = window(case)
    inputs = [values(case, case.sources[0], "source0", integers=False).astype(np.float64)]
    leaves = tensors(inputs)
    border = padded(leaves[0], case, kernel, stride, (1, 1), -np.inf)
    agree(case, inputs, leaves, torch.nn.functional.max_pool2d(border, kernel, stride))


# Sizes with more than one value a channel: PyTorch refuses others in training.
BATCHES = [
    case
    for case in normalization.CASES
    if case.node == "BatchNormalizationNode"
    and case.attributes.get("flags") == normalization.ALWAYS
]


@pytest.mark.parametrize("case", BATCHES, ids=lambda case: case.id)
def test_batch_normalization(case: Case) -> None:
    assert case.normalization is not None
    arrays = parameters_of(case, integers=False)
    image = values(case, case.sources[0], "source0", integers=False)
    inputs = [a.astype(np.float64) for a in (image, arrays["gamma"], arrays["beta"])]
    leaves = tensors(inputs)
    result = torch.nn.functional.batch_norm(
        leaves[0].permute(0, 3, 1, 2),
        None,
        None,
        leaves[1],
        leaves[2],
        training=True,
        eps=case.normalization.epsilon,
    )
    agree(case, inputs, leaves, result)
