# SPDX-License-Identifier: MIT
"""Dropout's first mask, with a Philox4x32-10 written from the paper."""

from __future__ import annotations

import numpy as np
from cases import Case
from numpy.typing import NDArray

from oracles import Array, Oracle, Parameters

M0, M1, W0, W1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85
MASK = 0xFFFFFFFF


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> list[int]:
    """Ten rounds."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = M0 * c[0], M1 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & MASK, (a >> 32) ^ c[3] ^ k[1], a & MASK]
        k = [(k[0] + W0) & MASK, (k[1] + W1) & MASK]
    return c


def kept(case: Case, step: int) -> NDArray[np.bool_]:
    """Which values the mask of a step keeps, with extents of 1 where it is shared."""
    a = case.attributes
    n, height, width, channels = case.sources[0]
    shape = (
        n,
        height if a.get("mask_stride_in_pixels_y", 1) else 1,
        width if a.get("mask_stride_in_pixels_x", 1) else 1,
        channels if a.get("mask_stride_in_feature_channels", 1) else 1,
    )
    count, seed = int(np.prod(shape)), a.get("seed", 0)
    words = [
        word
        for block in range(-(-count // 4))
        for word in philox(
            (step & MASK, step >> 32, block >> 32, block & MASK), (seed & MASK, seed >> 32)
        )
    ]
    uniform = (np.array(words[:count], np.uint64) >> 9) * 2.0**-23
    return (uniform < a["keep_probability"]).reshape(shape)


def dropout(case: Case, sources: list[Array], _parameters: Parameters) -> Array:
    """X / keep where the first mask keeps it."""
    return sources[0] * kept(case, 0) / case.attributes["keep_probability"]


ORACLES = {"DropoutNode": Oracle(dropout)}
