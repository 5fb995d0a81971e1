# SPDX-License-Identifier: MIT
"""Margins, crops and reshaping."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
from cases import Case
from cases.padding import CLAMP, CONSTANT, MIRROR, MIRROR_WITH_EDGE, ZERO

from oracles import Array, Oracle, Parameters

# numpy's names; "reflect" does not repeat the edge, "symmetric" does.
MODES = {CLAMP: "edge", MIRROR: "reflect", MIRROR_WITH_EDGE: "symmetric"}


def pad(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """Numpy's pad, along y, x and the channels."""
    a = case.attributes
    widths = [(0, 0)] + [
        (a.get(f"padding_size_before_{axis}", 0), a.get(f"padding_size_after_{axis}", 0))
        for axis in ("y", "x", "channel")
    ]
    mode = a.get("edge_mode", CONSTANT)
    if mode in (ZERO, CONSTANT):
        fill = a.get("fill_value", 0.0) if mode == CONSTANT else 0.0
        return jnp.pad(sources[0], widths, constant_values=fill)
    return jnp.pad(sources[0], widths, mode=MODES[mode])


def crop(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """A slice; a size of 0 goes to the end."""
    a = case.attributes
    parts = []
    for size, origin in (
        ("result_height", "origin_y"),
        ("result_width", "origin_x"),
        ("result_feature_channels", "origin_feature_channel"),
    ):
        first, count = a.get(origin, 0), a.get(size, 0)
        parts.append(slice(first, first + count if count else None))
    return sources[0][:, parts[0], parts[1], parts[2]]


def reshape(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """The same order, channels fastest."""
    a = case.attributes
    size = (a["result_height"], a["result_width"], a["result_feature_channels"])
    return sources[0].reshape(-1, *size)


def readers(_case: Case, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """A bound for the values that repeat one."""
    total = 1
    for source, result in zip(shapes["source0"], shapes["result"], strict=True):
        total *= -(-result // source) + 1
    return total


ORACLES = {
    "PadNode": Oracle(pad, gradient_terms=readers),
    "CropNode": Oracle(crop),
    "ReshapeNode": Oracle(reshape),
}
