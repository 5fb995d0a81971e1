// SPDX-License-Identifier: MIT
// The node table: one row a node class, and all that the library knows about the class stands in
// it. Node construction, shape inference, lowering and training graphs work from the rows; the
// Python classes, the typed C++ classes, the reference pages and the Apple-name table are generated
// from them.
//
// A new node that needs no new kernel is one row in the file of its family,
// src/graph/ops/<family>.cpp. A new family is one file, one declaration below and one line in
// node_table.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "graph/node_records.h"
#include "mpsnn/types.h"

namespace mpsnn::graph {

class Lowering;  // graph/lowering.h

/// Whether a source image gets a gradient in a training graph.
enum class Derivative : std::uint8_t {
  NONE,        // never: loss weights
  ALWAYS,      // pruned later where nobody needs it
  IF_TRAINED,  // only where the image leads back to weights that are updated: labels of a loss
};

/// One source image of a node class.
struct SourceSpec {
  std::string_view name;  // the constructor argument: "source", "primary_source"
  std::string_view doc;
  Derivative derivative = Derivative::ALWAYS;
  bool optional = false;  // may be left out; only the last ones
  bool variadic = false;  // one or more images, a list in the constructor; only the last one
};

enum class AttributeType : std::uint8_t { BOOL, INT, UINT, FLOAT, STRING, INTS, FLOATS, ENUM };

/// One constructor argument that is no image. Values are held as AttributeValue: BOOL bool, INT and
/// ENUM int64, UINT uint64, FLOAT double, STRING string, INTS and FLOATS vectors.
struct AttributeSpec {
  std::string_view name;
  AttributeType type = AttributeType::INT;
  std::string_view doc;
  /// None: the argument is required, unless default_from says otherwise.
  std::optional<AttributeValue> default_value = std::nullopt;
  /// The default is the value of this attribute, which stands before this one. "" otherwise.
  std::string_view default_from = {};
  /// Bounds of numbers, and of the elements of lists; both included.
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  /// ENUM: the name of the enumeration (enum_classes()), and the enumerators that the class
  /// supports, all of them where the list is empty. Others are refused with UnsupportedError.
  std::string_view enum_name = {};
  std::vector<std::int64_t> supported = {};

  bool required() const noexcept { return !default_value.has_value() && default_from.empty(); }
};

/// What a shape rule sees: the node, and the size of each source image.
struct ShapeQuery {
  const FilterRecord& node;
  std::span<const ImageSize> sources;
};

/// What a gradient rule sees: a forward node, the gradient of its result, and the source image
/// whose gradient is wanted.
struct GradientQuery {
  const FilterNode& forward;
  const ImageNode& source_gradient;
  std::size_t source = 0;
};

/// A row: one node class.
struct NodeClass {
  std::string_view name;    // "ConvolutionNode"
  std::string_view apple;   // "MPSCNNConvolutionNode"; "" where Apple has no such class
  std::string_view family;  // "convolution": groups the reference pages
  std::string_view brief;   // one line, no full stop at the end
  /// The rest of the documentation, Markdown: formula, result size, defaults, errors, deviations
  /// from Apple's class.
  std::string_view doc;
  std::vector<SourceSpec> sources;
  std::vector<AttributeSpec> attributes = {};
  /// Attributes that all nodes of the class have with one value: the neuron type of NeuronReLUNode.
  AttributeMap fixed = {};
  /// Class of the data source, "ConvolutionDataSource"; "" where the class takes none.
  std::string_view weights = {};
  /// Makes the data source where none is given; null: it must be given.
  std::shared_ptr<DataSource> (*make_weights)() = nullptr;
  bool trainable = false;    // has weights that a training graph updates (training_style)
  bool gradient = false;     // a gradient node: its first source is the gradient of a result
  bool has_padding = false;  // the padding policy sizes the result
  /// training_graph() without a source gradient starts behind this node: its result is the gradient
  /// of its source (InitialGradientNode).
  bool starts_gradient = false;
  /// The sources after the first may be left out together: they come in a LossLabels then.
  bool has_labels = false;
  /// Arrays of the result state; none: the class has no state.
  std::vector<std::string_view> state = {};
  /// Arrays that a gradient node may take from a state given to the encode; none: it needs none.
  std::vector<std::string_view> source_state = {};

  /// Checks of a complete node beyond types and ranges; null: none. Throws.
  void (*check)(const FilterRecord& node) = nullptr;
  /// The result's size. Throws through fail() where the sources do not fit.
  ImageSize (*shape)(const ShapeQuery& query) = nullptr;
  /// Appends the node's operations.
  void (*lower)(Lowering& to) = nullptr;
  /// Makes the gradient node of one source; null: the class has no derivative.
  FilterNode (*gradient_of)(const GradientQuery& query) = nullptr;
};

/// All node classes, forward nodes before their gradient nodes, family by family.
std::span<const NodeClass> node_classes();
/// Null where there is no such class.
const NodeClass* find_node_class(std::string_view name);

/// An enumeration of the public API, for bindings, texts and reference pages.
struct EnumClass {
  struct Enumerator {
    std::string_view name;
    std::int64_t value;
  };
  std::string_view name;   // "NeuronType"
  std::string_view apple;  // "MPSCNNNeuronType"; "" where Apple's has other values
  std::string_view brief;
  std::vector<Enumerator> enumerators;
};
std::span<const EnumClass> enum_classes();
/// Null where there is no such enumeration.
const EnumClass* find_enum_class(std::string_view name);
/// "RELU"; the number where the enumeration does not have the value.
std::string enumerator_name(std::string_view enum_name, std::int64_t value);

/// The families, each in src/graph/ops/<family>.cpp.
std::vector<NodeClass> convolution_nodes();
std::vector<NodeClass> convolution_transpose_nodes();
std::vector<NodeClass> binary_convolution_nodes();
std::vector<NodeClass> neuron_nodes();
std::vector<NodeClass> pooling_nodes();
std::vector<NodeClass> upsampling_nodes();
std::vector<NodeClass> arithmetic_nodes();
std::vector<NodeClass> reduction_nodes();
std::vector<NodeClass> padding_nodes();
std::vector<NodeClass> resize_nodes();
std::vector<NodeClass> concatenation_nodes();
std::vector<NodeClass> fully_connected_nodes();
std::vector<NodeClass> normalization_nodes();
std::vector<NodeClass> image_normalization_nodes();
std::vector<NodeClass> window_normalization_nodes();
std::vector<NodeClass> gram_matrix_nodes();
std::vector<NodeClass> dropout_nodes();
std::vector<NodeClass> softmax_nodes();
std::vector<NodeClass> loss_nodes();
std::vector<NodeClass> yolo_loss_nodes();
std::vector<NodeClass> initial_gradient_nodes();

}  // namespace mpsnn::graph
