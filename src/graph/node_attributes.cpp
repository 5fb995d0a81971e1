// SPDX-License-Identifier: MIT
#include "graph/node_attributes.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

namespace mpsnn::graph {
namespace {

template <class E = InvalidArgumentError, class Expected, class Got>
[[noreturn]] void fail(const AttributeTable& of, std::string_view argument,
                       const Expected& expected, const Got& got) {
  throw_expected<E>(str(of.title, ": ", argument), expected, got);
}

std::string_view type_name(const AttributeSpec& spec) {
  switch (spec.type) {
    case AttributeType::BOOL:
      return "a bool";
    case AttributeType::INT:
      return "an integer";
    case AttributeType::UINT:
      return "an integer of 64 bits, not negative";
    case AttributeType::FLOAT:
      return "a number";
    case AttributeType::STRING:
      return "a string";
    case AttributeType::INTS:
      return "a list of integers";
    case AttributeType::FLOATS:
      return "a list of numbers";
    case AttributeType::ENUM:
      return spec.enum_name;
  }
  throw InternalError("attribute type out of range");
}

/// The value in the type that the table says; integers stand for numbers, nothing else is
/// converted.
std::optional<AttributeValue> converted(const AttributeSpec& spec, AttributeValue value) {
  const auto keep_if = [&value](bool fits) -> std::optional<AttributeValue> {
    if (!fits) return std::nullopt;
    return std::move(value);
  };
  switch (spec.type) {
    case AttributeType::BOOL:
      return keep_if(std::holds_alternative<bool>(value));
    case AttributeType::INT:
    case AttributeType::ENUM:
      return keep_if(std::holds_alternative<std::int64_t>(value));
    case AttributeType::UINT:
      if (const auto* integer = std::get_if<std::int64_t>(&value); integer && *integer >= 0)
        return static_cast<std::uint64_t>(*integer);
      return keep_if(std::holds_alternative<std::uint64_t>(value));
    case AttributeType::STRING:
      return keep_if(std::holds_alternative<std::string>(value));
    case AttributeType::INTS:
      return keep_if(std::holds_alternative<std::vector<std::int64_t>>(value));
    case AttributeType::FLOAT:
      if (const auto* integer = std::get_if<std::int64_t>(&value))
        return static_cast<double>(*integer);
      if (const auto* integer = std::get_if<std::uint64_t>(&value))
        return static_cast<double>(*integer);
      return keep_if(std::holds_alternative<double>(value));
    case AttributeType::FLOATS:
      if (const auto* integers = std::get_if<std::vector<std::int64_t>>(&value)) {
        return std::vector<double>(integers->begin(), integers->end());
      }
      return keep_if(std::holds_alternative<std::vector<double>>(value));
  }
  throw InternalError("attribute type out of range");
}

void check_number(const AttributeTable& of, const AttributeSpec& spec, double value) {
  if (value >= spec.minimum && value <= spec.maximum) return;
  const bool no_minimum = std::isinf(spec.minimum), no_maximum = std::isinf(spec.maximum);
  if (no_minimum && no_maximum) fail(of, spec.name, "a number", value);  // NaN
  if (no_maximum) fail(of, spec.name, str(">= ", spec.minimum), value);
  if (no_minimum) fail(of, spec.name, str("<= ", spec.maximum), value);
  fail(of, spec.name, str(spec.minimum, " to ", spec.maximum), value);
}

void check_enumerator(const AttributeTable& of, const AttributeSpec& spec, std::int64_t value) {
  const EnumClass* row = find_enum_class(spec.enum_name);
  check_internal(row != nullptr, str("enumeration ", spec.enum_name, " stands in enum_classes()"));
  bool known = false, supported = spec.supported.empty();
  std::string names;
  for (const auto& enumerator : row->enumerators) known = known || enumerator.value == value;
  for (const std::int64_t each : spec.supported) {
    supported = supported || each == value;
    names += str(names.empty() ? "" : " or ", enumerator_name(spec.enum_name, each));
  }
  if (!known) fail(of, spec.name, str("a value of ", spec.enum_name), value);
  if (!supported) {
    fail<UnsupportedError>(of, spec.name, names, enumerator_name(spec.enum_name, value));
  }
}

void check_range(const AttributeTable& of, const AttributeSpec& spec, const AttributeValue& value) {
  if (spec.type == AttributeType::ENUM) {
    check_enumerator(of, spec, std::get<std::int64_t>(value));
  } else if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    check_number(of, spec, static_cast<double>(*integer));
  } else if (const auto* number = std::get_if<double>(&value)) {
    check_number(of, spec, *number);
  } else if (const auto* integers = std::get_if<std::vector<std::int64_t>>(&value)) {
    for (const std::int64_t each : *integers) check_number(of, spec, static_cast<double>(each));
  } else if (const auto* numbers = std::get_if<std::vector<double>>(&value)) {
    for (const double each : *numbers) check_number(of, spec, each);
  }
}

/// Attributes that the class fixes may be given (an archive does), with their own value.
void take_fixed(const AttributeTable& of, AttributeMap& given, AttributeMap& complete) {
  for (const auto& [name, value] : of.fixed) {
    const auto found = given.find(name);
    if (found != given.end()) {
      if (found->second != value) fail(of, name, to_string(value), to_string(found->second));
      given.erase(found);
    }
    complete.emplace(name, value);
  }
}

AttributeValue take(const AttributeTable& of, const AttributeSpec& spec, AttributeMap& given,
                    const AttributeMap& complete) {
  const auto found = given.find(spec.name);
  if (found == given.end()) {
    if (spec.required()) throw_expected(of.title, str("argument ", spec.name), "none");
    if (!spec.default_from.empty()) return complete.find(spec.default_from)->second;
    return *spec.default_value;
  }
  std::optional<AttributeValue> value = converted(spec, found->second);
  if (!value) fail(of, spec.name, type_name(spec), to_string(found->second));
  check_range(of, spec, *value);
  given.erase(found);
  return *std::move(value);
}

}  // namespace

AttributeMap complete_attributes(const AttributeTable& of, AttributeMap given) {
  AttributeMap complete;
  take_fixed(of, given, complete);
  std::string names;
  for (const AttributeSpec& spec : of.specs) {
    complete.emplace(spec.name, take(of, spec, given, complete));
    names += str(names.empty() ? "" : ", ", spec.name);
  }
  if (!given.empty()) {
    throw_expected(of.title, names.empty() ? "no arguments" : str("arguments of ", names),
                   str("an argument ", given.begin()->first));
  }
  return complete;
}

AttributeValue checked_attribute(const AttributeTable& of, const std::string& name,
                                 AttributeValue value) {
  const auto spec = std::ranges::find(of.specs, name, &AttributeSpec::name);
  check_internal(spec != of.specs.end(), str(of.title, " has an attribute ", name));
  AttributeMap given = {{name, std::move(value)}};
  return take(of, *spec, given, {});
}

AttributeMap complete_attributes(const FilterRecord& node, AttributeMap given) {
  const NodeClass& row = *node.node_class;
  return complete_attributes({title(node), row.attributes, row.fixed}, std::move(given));
}

std::string to_string(const AttributeValue& value) {
  return std::visit(
      [](const auto& held) -> std::string {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, bool>) {
          return held ? "true" : "false";
        } else if constexpr (std::is_same_v<T, std::string>) {
          return str('"', held, '"');
        } else if constexpr (std::is_arithmetic_v<T>) {
          return str(held);
        } else {
          std::string text = "[";
          for (std::size_t i = 0; i < held.size(); ++i) text += str(i == 0 ? "" : ", ", held[i]);
          return text + "]";
        }
      },
      value);
}

}  // namespace mpsnn::graph
