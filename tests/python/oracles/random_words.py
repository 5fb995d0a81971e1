# SPDX-License-Identifier: MIT
"""Words and numbers of the generators, written from the papers; whole arrays at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Words = NDArray[np.uint64]
ROOT = Path(__file__).resolve().parents[3]
MASK = np.uint64(0xFFFFFFFF)
UPPER = np.uint64(32)
SIZE, STEP, SETS, STREAMS = 351, 256, 128, 1024


def philox_words(seed: int, first: int, count: int) -> Words:
    """Words [first, first + count) of a stream."""
    start, blocks = first // 4, (first % 4 + count + 3) // 4
    block = np.arange(blocks, dtype=np.uint64) + np.uint64(start)
    zero = np.zeros_like(block)
    c = [zero, zero, block >> UPPER, block & MASK]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [
            (b >> UPPER) ^ c[1] ^ np.uint64(key[0]),
            b & MASK,
            (a >> UPPER) ^ c[3] ^ np.uint64(key[1]),
            a & MASK,
        ]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(c, 1).reshape(-1)[first % 4 : first % 4 + count]


def mtgp_parameters() -> list[list[int]]:
    """pos, sh1, sh2, four words of the recursion's table and four of the tempering's."""
    text = (ROOT / "src" / "base" / "mtgp_parameters.def").read_text()
    rows = re.findall(r"^MPSNN_MTGP\(([^)]*)\)$", text, re.MULTILINE)
    return [[int(number, 0) for number in row.split(",")] for row in rows]


def table(words: list[int]) -> NDArray[np.uint32]:
    """All sixteen entries."""
    entries = [0] * 16
    for i in range(16):
        for bit in range(4):
            entries[i] ^= words[bit] if i >> bit & 1 else 0
    return np.array(entries, np.uint32)


def init_by_array(parameters: list[int], key: list[int]) -> list[int]:
    """The first state of a stream, one word at a time."""
    mask, middle, lag = 0xFFFFFFFF, (SIZE - 7) // 2, 7
    hidden = parameters[5] ^ (parameters[6] << 16) & mask
    fill = (hidden + (hidden >> 16)) & mask
    fill = (fill + (fill >> 8)) & mask
    x = [(fill & 0xFF) * 0x01010101] * SIZE
    x[0] = hidden

    def func(value: int, factor: int) -> int:
        return (value ^ (value >> 27)) * factor & mask

    r = func(x[0] ^ x[middle] ^ x[-1], 1664525)
    x[middle] = (x[middle] + r) & mask
    r = (r + len(key)) & mask
    x[middle + lag] = (x[middle + lag] + r) & mask
    x[0] = r
    i = 1
    for j in range(max(len(key) + 1, SIZE) - 1):
        r = func(x[i] ^ x[(i + middle) % SIZE] ^ x[i - 1], 1664525)
        at, beyond = (i + middle) % SIZE, (i + middle + lag) % SIZE
        x[at] = (x[at] + r) & mask
        r = (r + i + (key[j] if j < len(key) else 0)) & mask
        x[beyond] = (x[beyond] + r) & mask
        x[i] = r
        i = (i + 1) % SIZE
    for _ in range(SIZE):
        r = func((x[i] + x[(i + middle) % SIZE] + x[i - 1]) & mask, 1566083941)
        x[(i + middle) % SIZE] ^= r
        r = (r - i) & mask
        x[(i + middle + lag) % SIZE] ^= r
        x[i] = r
        i = (i + 1) % SIZE
    x[-1] = x[-1] or 0x4D544750
    return x


def mtgp_stream(parameters: list[int], state: list[int], count: int) -> NDArray[np.uint32]:
    """The first `count` words of a stream, one at a time."""
    pos, sh1, sh2 = parameters[:3]
    recursion, tempering = table(parameters[3:7]).tolist(), table(parameters[7:]).tolist()
    x, out = list(state), []
    for i in range(count):
        y = (x[i] & 0xFFF80000) ^ x[i + 1]
        y ^= y << sh1 & 0xFFFFFFFF
        y ^= x[i + pos] >> sh2
        x.append(y ^ recursion[y & 15])
        t = x[i + pos - 1]
        t ^= t >> 16
        t ^= t >> 8
        out.append(x[-1] ^ tempering[t & 15])
    return np.array(out, np.uint32)


def mtgp_words(seed: int, stream: int, count: int) -> NDArray[np.uint32]:
    """The first words of a stream of MatrixRandomMTGP32."""
    parameters = mtgp_parameters()[stream % SETS]
    key = [seed & 0xFFFFFFFF, seed >> 32, stream // SETS]
    return mtgp_stream(parameters, init_by_array(parameters, key), count)


def steps_of(words: NDArray[Any]) -> NDArray[np.float64]:
    """T of each word, exact."""
    return (np.asarray(words).astype(np.uint64) >> np.uint64(9)).astype(np.float64) * 2.0**-23


def uniform(words: NDArray[Any], minimum: float, maximum: float) -> NDArray[np.float64]:
    """Between the bounds, not rounded."""
    return steps_of(words) * (maximum - minimum) + minimum


def normal(words: NDArray[Any], mean: float, deviation: float) -> NDArray[np.float64]:
    """By the inverse of the distribution."""
    t = steps_of(words)
    return mean + deviation * ndtri(np.where(t == 0, 2.0**-24, t))


def truncated_normal(
    words: NDArray[Any], mean: float, deviation: float, minimum: float, maximum: float
) -> NDArray[np.float64]:
    """The same between bounds."""
    a, b = (minimum - mean) / deviation, (maximum - mean) / deviation
    t = steps_of(words) + 2.0**-24
    if a > 0:
        z = -ndtri(ndtr(-b) + (1 - t) * (ndtr(-a) - ndtr(-b)))
    else:
        z = ndtri(ndtr(a) + t * (ndtr(b) - ndtr(a)))
    return mean + deviation * z
