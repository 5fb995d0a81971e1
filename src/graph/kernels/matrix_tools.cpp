// SPDX-License-Identifier: MIT
#include "graph/kernels/matrix_tools.h"

#include <limits>

#include "base/attributes.h"

namespace mpsnn::graph {
namespace {

constexpr double kFloatMax = std::numeric_limits<float>::max();
constexpr std::int64_t kAll = -1;

std::string count_text(std::int64_t count) { return count < 0 ? "all" : str(count); }

}  // namespace

AttributeSpec flag(std::string_view name, std::string_view doc, bool value) {
  return {.name = name, .type = AttributeType::BOOL, .doc = doc, .default_value = value};
}

AttributeSpec count(std::string_view name, std::string_view doc) {
  return {.name = name,
          .type = AttributeType::INT,
          .doc = doc,
          .default_value = kAll,
          .minimum = static_cast<double>(kAll)};
}

AttributeSpec factor(std::string_view name, std::string_view doc, double value) {
  return {.name = name,
          .type = AttributeType::FLOAT,
          .doc = doc,
          .default_value = value,
          .minimum = -kFloatMax,
          .maximum = kFloatMax};
}

AttributeSpec origin(std::string_view name) {
  return {.name = name,
          .type = AttributeType::INTS,
          .doc = "first row and column that take part",
          .default_value = std::vector<std::int64_t>{0, 0},
          .minimum = 0};
}

std::vector<AttributeSpec> batch_range() {
  return {{.name = "batch_start",
           .type = AttributeType::INT,
           .doc = "first matrix of the operands that takes part",
           .default_value = std::int64_t{0},
           .minimum = 0},
          count("batch_size", "matrices that take part; -1: all")};
}

void check_batch_range(std::string_view title, const AttributeMap& attributes) {
  for (const auto& [name, value] : attributes) {
    if (name.ends_with("_origin")) {
      const auto& entries = std::get<std::vector<std::int64_t>>(value);
      if (entries.size() != 2)
        throw_expected(str(title, ": ", name), "a row and a column",
                       str(entries.size(), " numbers"));
    }
    const bool is_count =
        name == "batch_size" || name.starts_with("result_") || name == "interior_columns";
    if (const auto* number = std::get_if<std::int64_t>(&value); number && is_count && *number == 0)
      throw_expected(str(title, ": ", name), "at least 1, or -1 for all", *number);
  }
}

MatrixPart matrix_part(const KernelLowering& to, std::size_t i, std::string_view origin,
                       std::int64_t rows, std::int64_t columns) {
  const AttributeMap& a = to.attributes();
  std::int64_t row = 0, column = 0, start = 0, size = kAll;
  if (!origin.empty()) {
    const auto& entries = std::get<std::vector<std::int64_t>>(a.find(origin)->second);
    row = entries[0];
    column = entries[1];
  }
  if (a.contains("batch_start")) {
    start = get_int(a, "batch_start");
    size = get_int(a, "batch_size");
    // One matrix serves every matrix of the result.
    if (to.desc(i).dims[0] == 1) start = 0, size = 1;
  }
  const auto part = part_of(to.desc(i), row, column, rows, columns, start, size);
  if (part) return *part;
  to.fail_operand(i, str("rows and columns [", row, ", ", column, "] + [", count_text(rows), ", ",
                         count_text(columns), "] of matrices ", start, " + ", count_text(size)));
}

void check_product_types(const KernelLowering& to, DataType left, DataType right, DataType result) {
  const auto is_float = [](DataType type) {
    return type == DataType::FLOAT32 || type == DataType::FLOAT16;
  };
  if (is_float(left) && is_float(right) && is_float(result)) return;
  const auto is_small = [](DataType type) {
    return type == DataType::INT8 || type == DataType::INT16;
  };
  if (is_small(left) && left == right && (result == DataType::INT32 || is_float(result))) return;
  to.fail<ArgumentTypeError>(
      "element types",
      "float32 and float16 in any mixture, or (int8, int8) or (int16, int16) with int32, float32 "
      "or float16",
      str("(", mpsnn::name_of(left), ", ", mpsnn::name_of(right), ", ", mpsnn::name_of(result),
          ")"));
}

}  // namespace mpsnn::graph
