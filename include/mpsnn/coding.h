// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "mpsnn/types.h"

/// Objects of a program's own classes in archives: they say what is stored and make themselves from
/// it. No code is stored; a class is restored only where the program names it.
namespace mpsnn {

/// What an object stores of itself: values and arrays by key. Apple: NSCoder.
class Coder {
 public:
  /// Values row by row.
  struct Array {
    std::vector<std::int64_t> shape;
    std::vector<float> values;
    friend bool operator==(const Array&, const Array&) = default;
  };

  Coder() = default;
  /// What was stored; `title` starts the texts of errors.
  Coder(AttributeMap values, std::map<std::string, Array, std::less<>> arrays, std::string title);

  /// Stores a value. Throws InvalidArgumentError for an empty or repeated key.
  void encode(const std::string& key, AttributeValue value);
  void encode(const std::string& key, const char* text) { encode(key, std::string(text)); }
  /// Stores an array. Throws InvalidArgumentError, too, where the shape has another number of
  /// elements.
  void encode(const std::string& key, Array array);

  /// true where a value or an array has the key.
  bool contains(std::string_view key) const noexcept;
  /// The value of a key. Throws ArchiveError where there is none, or it is an array.
  const AttributeValue& decode(std::string_view key) const;
  /// The value as one of AttributeValue's types. Throws ArchiveError where it is of another.
  template <class T>
  const T& decode_as(std::string_view key) const {
    const T* value = std::get_if<T>(&decode(key));
    if (value == nullptr) fail(key, "a value of another type", "a value of the type asked for");
    return *value;
  }
  /// The array of a key. Throws ArchiveError where there is none.
  const Array& decode_array(std::string_view key) const;

  const AttributeMap& values() const noexcept { return values_; }
  const std::map<std::string, Array, std::less<>>& arrays() const noexcept { return arrays_; }

 private:
  [[noreturn]] void fail(std::string_view key, std::string_view got,
                         std::string_view expected) const;
  void check_key(const std::string& key) const;

  AttributeMap values_;
  std::map<std::string, Array, std::less<>> arrays_;
  std::string title_ = "Coder";
};

/// What a class implements whose objects are archived: data sources of one's own, which derive from
/// this as well, and any others. Apple: NSSecureCoding.
class SecureCoding {
 public:
  virtual ~SecureCoding() = default;
  /// The name that archives hold and KeyedUnarchiver::allow() is given. Of a data source "": its
  /// archive is that of its base class, with the values that it has.
  virtual std::string secure_class_name() const = 0;
  /// Stores what `DecodeObject` needs to make the object again. Of a data source the archive holds
  /// label, optimizer, parameters and moments anyway.
  virtual void encode(Coder& coder) const = 0;
};

/// Makes an object of a class from what it stored.
using DecodeObject = std::function<std::shared_ptr<SecureCoding>(const Coder&)>;

}  // namespace mpsnn
