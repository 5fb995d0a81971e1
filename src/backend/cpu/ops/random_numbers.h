// SPDX-License-Identifier: MIT
// Words that become numbers of a distribution. docs/random.md has the formulas.
#pragma once

#include <cstdint>

#include "backend/backend.h"

namespace mpsnn::backend::cpu {

/// What is decided before the first word.
struct Distribution {
  enum class Kind : std::uint8_t { WORDS, UNIFORM, NORMAL, TRUNCATED };
  Kind kind = Kind::WORDS;
  DataType type = DataType::UINT32;
  float low = 0, high = 0;     // no number lies outside
  float scale = 0, shift = 0;  // of t, or of the standard normal number
  float factor = 1;            // of the whole, where `scale` would overflow otherwise
  /// TRUNCATED: bounds in standard deviations, those of the lower half or mirrored there.
  double first = 0, last = 0, mirror = 1;
  double first_integral = 0, integral = 0;  // of the density: up to `first`, and between them

  Distribution() = default;
  /// Of the attributes of random_philox or random_mtgp32.
  Distribution(const AttributeMap& attributes, DataType type);
};

/// Turns `count` words into numbers of the distribution's type at `to`.
void write_numbers(const Distribution& distribution, const std::uint32_t* words, void* to,
                   std::int64_t count);

}  // namespace mpsnn::backend::cpu
