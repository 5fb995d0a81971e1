// SPDX-License-Identifier: MIT
#include "mpsnn/coding.h"

#include <utility>

#include "base/check.h"
#include "mpsnn/error.h"

namespace mpsnn {

Coder::Coder(AttributeMap values, std::map<std::string, Array, std::less<>> arrays,
             std::string title)
    : values_(std::move(values)), arrays_(std::move(arrays)), title_(std::move(title)) {}

void Coder::check_key(const std::string& key) const {
  if (key.empty()) throw_expected("Coder: encode: key", "a name", "an empty one");
  if (contains(key)) throw_expected("Coder: encode: key", "a new one", str('"', key, "\" again"));
}

void Coder::encode(const std::string& key, AttributeValue value) {
  check_key(key);
  values_.emplace(key, std::move(value));
}

void Coder::encode(const std::string& key, Array array) {
  check_key(key);
  std::size_t count = 1;
  for (const std::int64_t extent : array.shape) {
    if (extent < 0 || __builtin_mul_overflow(count, static_cast<std::size_t>(extent), &count))
      throw_expected(str("Coder: encode: \"", key, "\": shape"), "extents of an array", extent);
  }
  if (count != array.values.size()) {
    throw_expected(str("Coder: encode: \"", key, '"'), str(count, " values, as its shape says"),
                   array.values.size());
  }
  arrays_.emplace(key, std::move(array));
}

bool Coder::contains(std::string_view key) const noexcept {
  return values_.contains(key) || arrays_.contains(key);
}

void Coder::fail(std::string_view key, std::string_view got, std::string_view expected) const {
  throw ArchiveError(str(title_, ": \"", key, "\": expected ", expected, ", got ", got));
}

const AttributeValue& Coder::decode(std::string_view key) const {
  const auto found = values_.find(key);
  if (found == values_.end()) fail(key, contains(key) ? "an array" : "none", "a value");
  return found->second;
}

const Coder::Array& Coder::decode_array(std::string_view key) const {
  const auto found = arrays_.find(key);
  if (found == arrays_.end()) fail(key, contains(key) ? "a value" : "none", "an array");
  return found->second;
}

}  // namespace mpsnn
