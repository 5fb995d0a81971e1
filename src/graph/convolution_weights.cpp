// SPDX-License-Identifier: MIT
// Weights of a convolution in the element type in which they are given.
#include "graph/convolution_weights.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/half.h"

namespace mpsnn {
namespace graph {
namespace {

void check_finite(std::span<const float> numbers, const std::string& subject) {
  const auto found = std::ranges::find_if_not(numbers, [](float x) { return std::isfinite(x); });
  if (found != numbers.end()) throw_expected(subject, "finite numbers", *found);
}

void check_ranges(const std::vector<float>& ranges, std::int64_t outputs,
                  const std::string& subject) {
  if (static_cast<std::int64_t>(ranges.size()) != 2 * outputs) {
    throw_expected(subject, str(2 * outputs, " values, a minimum and a maximum an output channel"),
                   ranges.size());
  }
  check_finite(ranges, subject);
  for (std::size_t i = 0; i < ranges.size(); i += 2) {
    if (ranges[i] <= ranges[i + 1]) continue;
    throw_expected(subject, "a maximum that is not below the minimum",
                   str(ranges[i], " to ", ranges[i + 1], " for output channel ", i / 2));
  }
}

void check_table(const std::vector<float>& table, const std::string& subject) {
  if (table.size() != kLookupTableSize)
    throw_expected(subject, str(kLookupTableSize, " values"), table.size());
  check_finite(table, subject);
}

}  // namespace

void check_quantization(const ConvolutionWeights& weights, std::int64_t outputs,
                        const std::string& title) {
  const bool has_ranges = !weights.ranges.empty(), has_table = !weights.lookup_table.empty();
  if (weights.data_type() != DataType::UINT8) {
    if (!has_ranges && !has_table) return;
    throw_expected(str(title, has_ranges ? ": ranges" : ": lookup_table"),
                   str("none with weights of ", name_of(weights.data_type())), "some");
  }
  if (has_ranges == has_table) {
    throw_expected(str(title, ": weights"), "ranges or a lookup_table with weights of uint8",
                   has_ranges ? "both" : "neither");
  }
  if (has_ranges) check_ranges(weights.ranges, outputs, title + ": ranges");
  if (has_table) check_table(weights.lookup_table, title + ": lookup_table");
}

}  // namespace graph

DataType ConvolutionWeights::data_type() const noexcept {
  constexpr DataType kTypes[] = {DataType::FLOAT32, DataType::FLOAT16, DataType::UINT8,
                                 DataType::FLOAT32};
  return kTypes[values.index()];
}

WeightsQuantizationType ConvolutionWeights::quantization_type() const noexcept {
  if (data_type() != DataType::UINT8) return WeightsQuantizationType::NONE;
  return ranges.empty() ? WeightsQuantizationType::LOOKUP_TABLE : WeightsQuantizationType::LINEAR;
}

std::size_t ConvolutionWeights::count() const noexcept {
  return std::visit([](const auto& elements) { return elements.size(); }, values);
}

std::vector<float> ConvolutionWeights::floats(std::size_t per_output) const {
  if (const auto* floats = std::get_if<std::vector<float>>(&values)) return *floats;
  if (const auto* mapped = std::get_if<MappedFloats>(&values))
    return {mapped->data(), mapped->data() + mapped->size()};
  std::vector<float> numbers;
  numbers.reserve(count());
  if (const auto* halves = std::get_if<std::vector<std::uint16_t>>(&values)) {
    for (const std::uint16_t half : *halves) numbers.push_back(float_of_half(half));
    return numbers;
  }
  const auto& bytes = std::get<std::vector<std::uint8_t>>(values);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (!lookup_table.empty()) {
      numbers.push_back(lookup_table[bytes[i]]);
      continue;
    }
    const double minimum = ranges[2 * (i / per_output)], maximum = ranges[2 * (i / per_output) + 1];
    numbers.push_back(static_cast<float>(bytes[i] * (maximum - minimum) / 255.0 + minimum));
  }
  return numbers;
}

}  // namespace mpsnn
