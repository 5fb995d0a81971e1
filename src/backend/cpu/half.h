// SPDX-License-Identifier: MIT
// float16 in memory, float32 in registers: the two conversions. Every path gives the same bits.
#pragma once

#include <cstdint>

namespace mpsnn::backend::cpu {

/// The bits of a float16: sign, five of exponent, ten of fraction.
using Half = std::uint16_t;

/// Exact; a NaN becomes quiet and keeps its sign and fraction.
void halves_to_floats(const Half* from, float* to, std::int64_t count);
/// Rounds to the nearest, ties to even; from 65520 on to infinity, below 2^-24 by way of float16's
/// denormals. A NaN stays one, quiet, with as much of its fraction as fits.
void floats_to_halves(const float* from, Half* to, std::int64_t count);

/// The same without instructions for it: what runs where the processor has none.
void halves_to_floats_plain(const Half* from, float* to, std::int64_t count);
void floats_to_halves_plain(const float* from, Half* to, std::int64_t count);

}  // namespace mpsnn::backend::cpu
