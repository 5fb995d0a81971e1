// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>
#include <variant>

#include "base/check.h"
#include "base/json.h"
#include "graph/serialize.h"
#include "mpsnn/error.h"

namespace mpsnn::graph {

/// Runs `make`; what it refuses is the archive's fault.
template <class Make>
auto built(const base::JsonField& field, const Make& make) {
  try {
    return make();
  } catch (const InvalidArgumentError& error) {
    field.fail(error.what());
  } catch (const ArgumentTypeError& error) {
    field.fail(error.what());
  } catch (const UnsupportedError& error) {
    field.fail(error.what());
  }
}

/// Attributes that are taken one by one; those that are left are unknown.
class AttributesToTake {
 public:
  explicit AttributesToTake(const base::JsonField& field)
      : field_(field), left_(read_attributes(field)) {}

  template <class T>
  T take(std::string_view name, std::string_view expected) {
    const auto found = left_.find(name);
    if (found == left_.end()) field_.fail(str("expected a key \"", name, '"'));
    const T* value = std::get_if<T>(&found->second);
    if (value == nullptr) field_.at(name).fail(str("expected ", expected));
    const T taken = *value;
    left_.erase(found);
    return taken;
  }
  bool boolean(std::string_view name) { return take<bool>(name, "true or false"); }
  std::int64_t integer(std::string_view name, std::int64_t least, std::int64_t most) {
    const auto value = take<std::int64_t>(name, "an integer");
    if (value < least || value > most) {
      field_.at(name).fail(str("expected an integer from ", least, " to ", most, ", got ", value));
    }
    return value;
  }
  /// Throws where there are others: they may change what is computed.
  void expect_none_left() const {
    if (!left_.empty()) field_.fail(str("unknown: \"", left_.begin()->first, '"'));
  }

 private:
  const base::JsonField field_;
  AttributeMap left_;
};

}  // namespace mpsnn::graph
