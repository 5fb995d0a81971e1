// SPDX-License-Identifier: MIT
#include "graph/node_table.h"

#include <iterator>

namespace mpsnn::graph {
namespace {

void append(std::vector<NodeClass>& table, std::vector<NodeClass> family) {
  table.insert(table.end(), std::make_move_iterator(family.begin()),
               std::make_move_iterator(family.end()));
}

/// The one list. No registration from static initialisers: a static link would drop it silently.
std::vector<NodeClass> assemble() {
  std::vector<NodeClass> table;
  append(table, convolution_nodes());
  append(table, convolution_transpose_nodes());
  append(table, binary_convolution_nodes());
  append(table, fully_connected_nodes());
  append(table, neuron_nodes());
  append(table, pooling_nodes());
  append(table, upsampling_nodes());
  append(table, arithmetic_nodes());
  append(table, reduction_nodes());
  append(table, padding_nodes());
  append(table, resize_nodes());
  append(table, concatenation_nodes());
  append(table, normalization_nodes());
  append(table, image_normalization_nodes());
  append(table, window_normalization_nodes());
  append(table, gram_matrix_nodes());
  append(table, dropout_nodes());
  append(table, softmax_nodes());
  append(table, loss_nodes());
  append(table, yolo_loss_nodes());
  append(table, initial_gradient_nodes());
  return table;
}

}  // namespace

std::span<const NodeClass> node_classes() {
  static const std::vector<NodeClass> table = assemble();
  return table;
}

const NodeClass* find_node_class(std::string_view name) {
  for (const NodeClass& row : node_classes()) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

}  // namespace mpsnn::graph
