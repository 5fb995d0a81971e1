// SPDX-License-Identifier: MIT
#include "mpsnn/types.h"

#include <array>

#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn {
namespace {

struct TypeRow {
  DataType type;
  std::size_t bytes;
  std::string_view name;
};

constexpr std::array<TypeRow, 9> kTypes = {{
    {DataType::FLOAT32, 4, "float32"},
    {DataType::FLOAT16, 2, "float16"},
    {DataType::INT32, 4, "int32"},
    {DataType::UINT32, 4, "uint32"},
    {DataType::UINT8, 1, "uint8"},
    {DataType::INT64, 8, "int64"},
    {DataType::INT8, 1, "int8"},
    {DataType::INT16, 2, "int16"},
    {DataType::UINT16, 2, "uint16"},
}};

constexpr bool rows_stand_in_order() {
  for (std::size_t i = 0; i < kTypes.size(); ++i) {
    if (static_cast<std::size_t>(kTypes[i].type) != i) return false;
  }
  return true;
}
static_assert(rows_stand_in_order(), "kTypes is indexed by DataType");

const TypeRow& row(DataType type) noexcept { return kTypes[static_cast<std::size_t>(type)]; }

template <class T>
const T& get(const AttributeMap& attributes, std::string_view name) {
  const auto found = attributes.find(name);
  if (found == attributes.end()) throw InternalError(str("attribute \"", name, "\" is missing"));
  const T* value = std::get_if<T>(&found->second);
  if (value == nullptr) throw InternalError(str("attribute \"", name, "\" has another type"));
  return *value;
}

}  // namespace

std::size_t size_of(DataType type) noexcept { return row(type).bytes; }

std::string_view name_of(DataType type) noexcept { return row(type).name; }

DataType data_type_named(std::string_view name) {
  for (const TypeRow& candidate : kTypes) {
    if (candidate.name == name) return candidate.type;
  }
  std::string names;
  for (const TypeRow& row : kTypes) names += str(names.empty() ? "" : ", ", row.name);
  throw_expected<ArgumentTypeError>("data type", names, str('"', name, '"'));
}

std::string to_string(const ImageSize& size) {
  return str("(", size.n, ", ", size.height, ", ", size.width, ", ", size.channels, ")");
}

bool get_bool(const AttributeMap& attributes, std::string_view name) {
  return get<bool>(attributes, name);
}

std::int64_t get_int(const AttributeMap& attributes, std::string_view name) {
  return get<std::int64_t>(attributes, name);
}

std::uint64_t get_uint(const AttributeMap& attributes, std::string_view name) {
  return get<std::uint64_t>(attributes, name);
}

double get_float(const AttributeMap& attributes, std::string_view name) {
  return get<double>(attributes, name);
}

const std::vector<double>& get_floats(const AttributeMap& attributes, std::string_view name) {
  return get<std::vector<double>>(attributes, name);
}

}  // namespace mpsnn
