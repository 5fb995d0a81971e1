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

std::vector<AttributeSpec> neuron_attributes(bool with_prelu) {
  std::vector<AttributeSpec> all = {
      {.name = "neuron_type",
       .type = AttributeType::ENUM,
       .doc = "function of each element of the result",
       .default_value = static_cast<std::int64_t>(NeuronType::NONE),
       .enum_name = "NeuronType"},
      factor("neuron_parameter_a", "a of the neuron", 0.0),
      factor("neuron_parameter_b", "b of the neuron", 0.0),
      factor("neuron_parameter_c", "c of the neuron", 0.0),
  };
  constexpr auto kPrelu = static_cast<std::int64_t>(NeuronType::PRELU);
  if (!with_prelu) {
    for (std::int64_t type = 0; type <= static_cast<std::int64_t>(NeuronType::GELU); ++type) {
      if (type != kPrelu) all[0].supported.push_back(type);
    }
    return all;
  }
  all.push_back({.name = "neuron_parameters",
                 .type = AttributeType::FLOATS,
                 .doc = "a of each column, for PRELU",
                 .default_value = std::vector<double>(),
                 .minimum = -kFloatMax,
                 .maximum = kFloatMax});
  return all;
}

AttributeMap neuron_operation(const AttributeMap& attributes, double alpha) {
  const auto slopes = attributes.find("neuron_parameters");
  return {{"alpha", alpha},
          {"neuron_type", get_int(attributes, "neuron_type")},
          {"neuron_a", get_float(attributes, "neuron_parameter_a")},
          {"neuron_b", get_float(attributes, "neuron_parameter_b")},
          {"neuron_c", get_float(attributes, "neuron_parameter_c")},
          {"neuron_parameters",
           slopes == attributes.end() ? AttributeValue(std::vector<double>()) : slopes->second}};
}

bool has_neuron(const AttributeMap& attributes) {
  return get_int(attributes, "neuron_type") != static_cast<std::int64_t>(NeuronType::NONE);
}

std::vector<AttributeSpec> joined(std::vector<AttributeSpec> first,
                                  std::vector<AttributeSpec> second) {
  for (AttributeSpec& spec : second) first.push_back(std::move(spec));
  return first;
}

void check_batch_range(std::string_view title, const AttributeMap& attributes) {
  for (const auto& [name, value] : attributes) {
    if (name.ends_with("_origin")) {
      const auto& entries = std::get<std::vector<std::int64_t>>(value);
      if (entries.size() != 2)
        throw_expected(str(title, ": ", name), "a row and a column",
                       str(entries.size(), " numbers"));
    }
    const bool is_count = name == "batch_size" || name == "order" || name == "count" ||
                          name.ends_with("rows") || name.ends_with("columns") ||
                          name.starts_with("number_of_") || name.ends_with("_channels") ||
                          name.ends_with("_vectors");
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

void expect_floats(const KernelLowering& to, std::initializer_list<std::size_t> operands) {
  for (const std::size_t i : operands) {
    if (to.has(i)) to.expect_type(i, {DataType::FLOAT32, DataType::FLOAT16});
  }
}

ValueId strided_float32(KernelLowering& to, std::size_t i, const MatrixPart& part) {
  if (part.desc.type == DataType::FLOAT32) return to.view(i, part.desc, part.offset);
  return to.as_float32(i, part.desc, part.offset);
}

ValueId strided_result(KernelLowering& to, std::size_t i, const MatrixPart& part, bool reads) {
  if (part.desc.type == DataType::FLOAT32) return to.view(i, part.desc, part.offset);
  return reads ? to.as_float32(i, part.desc, part.offset)
               : to.result_as_float32(i, part.desc, part.offset);
}

void finish(KernelLowering& to, ValueId value, std::size_t i, const MatrixPart& part) {
  if (part.desc.type != DataType::FLOAT32) to.write_back(value, i, part.desc, part.offset);
}

TensorDesc vector_part(const KernelLowering& to, std::size_t i, std::int64_t length) {
  const TensorDesc& desc = to.desc(i);
  if (desc.dims[0] != 1 || desc.dims[1] < length)
    to.fail_operand(i, str("one vector of at least ", length, " elements"));
  return {desc.type, {length}, nullptr};
}

ValueId vector_as_float32(KernelLowering& to, std::size_t i, std::int64_t length) {
  if (!to.has(i)) return kNoValue;
  expect_floats(to, {i});
  return to.as_float32(i, vector_part(to, i, length), 0);
}

TensorDesc column_of(const TensorDesc& vector) {
  std::vector<std::int64_t> strides = strides_of(vector);
  strides.push_back(static_cast<std::int64_t>(size_of(vector.type)));
  return normalized({vector.type, {vector.dims[0], vector.dims[1], 1}, nullptr, strides});
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
