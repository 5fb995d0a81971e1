// SPDX-License-Identifier: MIT
#include "graph/kernel_table.h"

#include <array>
#include <iterator>

namespace mpsnn::graph {
namespace {

void append(std::vector<KernelClass>& table, std::vector<KernelClass> family) {
  table.insert(table.end(), std::make_move_iterator(family.begin()),
               std::make_move_iterator(family.end()));
}

std::vector<KernelClass> assemble() {
  std::vector<KernelClass> table;
  append(table, matrix_multiplication_kernels());
  append(table, matrix_softmax_kernels());
  append(table, matrix_random_kernels());
  append(table, image_copy_kernels());
  append(table, image_conversion_kernels());
  append(table, image_scale_kernels());
  append(table, image_filter_kernels());
  append(table, image_statistics_kernels());
  append(table, image_reduction_kernels());
  append(table, image_arithmetic_kernels());
  append(table, image_sampling_kernels());
  append(table, matrix_sum_kernels());
  append(table, matrix_copy_kernels());
  append(table, matrix_neuron_kernels());
  append(table, matrix_fully_connected_kernels());
  append(table, matrix_batch_normalization_kernels());
  append(table, matrix_find_top_k_kernels());
  append(table, matrix_decomposition_kernels());
  append(table, ndarray_kernels());
  append(table, optimizer_update_kernels());
  return table;
}

}  // namespace

std::vector<std::string_view> names_of(OperandKinds kinds) {
  constexpr std::array<std::string_view, 4> kNames = {"Matrix", "Vector", "NDArray", "Image"};
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kinds.holds(static_cast<OperandKind>(i))) names.push_back(kNames[i]);
  }
  return names;
}

std::string name_of(OperandKinds kinds) {
  std::string text;
  for (const std::string_view name : names_of(kinds)) {
    if (!text.empty()) text += " or ";
    text += name;
  }
  return text;
}

std::span<const KernelClass> kernel_classes() {
  static const std::vector<KernelClass> table = assemble();
  return table;
}

const KernelClass* find_kernel_class(std::string_view name) {
  for (const KernelClass& row : kernel_classes()) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

}  // namespace mpsnn::graph
