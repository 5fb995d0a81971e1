# SPDX-License-Identifier: MIT
"""Bad input to the nodes that work on images alone, family by family."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import mpsnn as mps

x, y, g = (mps.ImageNode(name) for name in "xyg")

Row = tuple[Callable[[], object], type[mps.Error], str]

EXCLUDE = mps.PaddingPolicy(mps.PaddingMethod.EXCLUDE_EDGES | mps.PaddingMethod.SIZE_SAME)


def plan(node: mps.FilterNode, **sizes: tuple[int, int, int, int]) -> str:
    """Plans a node for sources of these sizes."""
    return mps.Graph(mps.Device("cpu"), [node.result_image]).plan_text(sizes)


POOLING: dict[str, Row] = {
    "an edge mode that pooling does not have": (
        lambda: mps.PoolingAverageNode(x, 2, edge_mode=mps.ImageEdgeMode.MIRROR),
        mps.UnsupportedError,
        "PoolingAverageNode.*edge_mode: expected ZERO or CLAMP, got MIRROR",
    ),
    "a negative border": (
        lambda: mps.PoolingAverageNode(x, 2, zero_pad_size_x=-1),
        mps.InvalidArgumentError,
        "PoolingAverageNode.*zero_pad_size_x: expected >= 0, got -1",
    ),
    "edges excluded from a maximum": (
        lambda: mps.PoolingMaxNode(x, 2, padding_policy=EXCLUDE),
        mps.InvalidArgumentError,
        "PoolingMaxNode.*padding_policy: expected no EXCLUDE_EDGES",
    ),
    "no gaps at all": (
        lambda: mps.DilatedPoolingMaxNode(x, 2, dilation_rate_x=0),
        mps.InvalidArgumentError,
        "DilatedPoolingMaxNode.*dilation_rate_x: expected >= 1, got 0",
    ),
    "a dilated window that does not fit": (
        lambda: plan(
            mps.DilatedPoolingMaxNode(
                x, 3, dilation_rate_x=2, dilation_rate_y=2, padding_policy=mps.PaddingPolicy(0)
            ),
            x=(1, 4, 8, 1),
        ),
        mps.InvalidArgumentError,
        "DilatedPoolingMaxNode.*source: expected at least 5 rows, got 4",
    ),
    "a gradient of another size": (
        lambda: plan(mps.PoolingAverageGradientNode(g, x, 2), g=(1, 4, 4, 1), x=(1, 4, 4, 1)),
        mps.InvalidArgumentError,
        r"PoolingAverageGradientNode.*source_gradient: expected \(1, 2, 2, 1\), got \(1, 4, 4, 1\)",
    ),
    "a norm of another size": (
        lambda: plan(
            mps.PoolingL2NormGradientNode(g, x, y, 2),
            g=(1, 2, 2, 1),
            x=(1, 4, 4, 1),
            y=(1, 4, 2, 1),
        ),
        mps.InvalidArgumentError,
        r"PoolingL2NormGradientNode.*result_image: expected \(1, 2, 2, 1\), got \(1, 4, 2, 1\)",
    ),
}

FAMILIES: dict[str, dict[str, Row]] = {"pooling": POOLING}


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [row for rows in FAMILIES.values() for row in rows.values()],
    ids=[f"{family}: {name}" for family, rows in FAMILIES.items() for name in rows],
)
def test_bad_input(make: Callable[[], object], error: type[mps.Error], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def test_nan_is_not_hidden_by_a_pooling(cpu: mps.Device) -> None:
    image = np.zeros((1, 4, 4, 1), np.float32)
    image[0, 0, 0, 0] = np.nan
    for node in (
        mps.PoolingAverageNode(x, 2),
        mps.PoolingL2NormNode(x, 2),
        mps.DilatedPoolingMaxNode(x, 2, 1, 1, 1, dilation_rate_x=1, dilation_rate_y=1),
    ):
        commands = mps.CommandBuffer(cpu.command_queue())
        result = mps.Graph(cpu, [node.result_image]).encode(commands, {"x": image})[0]
        commands.commit()
        assert result is not None
        got = np.array(result)
        assert np.isnan(got[0, 0, 0, 0])
        assert not np.isnan(got).all()
