// SPDX-License-Identifier: MIT
// A small, strict JSON reader and writer. UTF-8 is checked, nesting is limited, duplicate keys are
// refused; numbers without fraction or exponent are 64-bit integers. Errors are ArchiveErrors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace mpsnn::base {

/// A JSON value. Objects are kept sorted by key, so that equal values have equal text.
class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::map<std::string, Json, std::less<>>;

  Json() = default;                                      // null
  Json(bool value) : value_(value) {}                    // NOLINT: a value stands for its JSON
  Json(int value) : value_(std::int64_t{value}) {}       // NOLINT
  Json(std::int64_t value) : value_(value) {}            // NOLINT
  Json(double value) : value_(value) {}                  // NOLINT: must be finite
  Json(std::string value) : value_(std::move(value)) {}  // NOLINT
  Json(std::string_view value) : value_(std::string(value)) {}  // NOLINT
  Json(const char* value) : value_(std::string(value)) {}       // NOLINT
  Json(Array value) : value_(std::move(value)) {}               // NOLINT
  Json(Object value) : value_(std::move(value)) {}              // NOLINT

  template <class T>
  const T* get_if() const noexcept {
    return std::get_if<T>(&value_);
  }
  bool is_null() const noexcept { return std::holds_alternative<std::monostate>(value_); }
  /// "an object", "an integer" …: for errors.
  std::string_view type_name() const noexcept;

  friend bool operator==(const Json&, const Json&) = default;

 private:
  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> value_;
};

/// Arrays and objects may be nested this deep.
inline constexpr std::size_t kJsonDepthLimit = 64;

/// Reads one value that fills the whole text. Throws ArchiveError with the byte where it went
/// wrong.
Json parse_json(std::string_view text);

/// The text of a value, without spaces; doubles so that they read back the same and as doubles.
/// Throws InvalidArgumentError for text that is not UTF-8 and for infinities and NaN.
std::string to_string(const Json& value);

/// true where the bytes are well-formed UTF-8 (no surrogates, no overlong forms).
bool is_utf8(std::string_view text) noexcept;

/// A value of a document that is being checked, with the path that leads to it. Every accessor
/// throws ArchiveError `graphs.net.nodes[3].class: expected a string, got an integer` where it does
/// not fit.
class JsonField {
 public:
  JsonField(const Json& value, std::string path) : value_(&value), path_(std::move(path)) {}

  const Json& value() const noexcept { return *value_; }
  const std::string& path() const noexcept { return path_; }

  JsonField at(std::string_view key) const;
  /// None where the key is absent or its value is null.
  std::optional<JsonField> find(std::string_view key) const;
  JsonField at(std::size_t index) const;
  std::size_t size() const;  // of an array
  const Json::Object& object() const;

  bool boolean() const;
  std::int64_t integer(std::int64_t least = std::numeric_limits<std::int64_t>::min(),
                       std::int64_t most = std::numeric_limits<std::int64_t>::max()) const;
  /// An index into something with `count` elements.
  std::size_t index(std::size_t count) const;
  double number() const;
  const std::string& string() const;

  [[noreturn]] void fail(const std::string& problem) const;

 private:
  template <class T>
  const T& as(std::string_view expected) const;

  const Json* value_;
  std::string path_;
};

}  // namespace mpsnn::base
