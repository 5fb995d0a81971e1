// SPDX-License-Identifier: MIT
#include <sstream>
#include <unordered_map>

#include "base/check.h"
#include "graph/dot.h"
#include "graph/network.h"
#include "graph/node_records.h"
#include "graph/node_table.h"

namespace mpsnn::graph {
namespace {

class Printer {
 public:
  explicit Printer(const Network& network) : network_(network) {}

  std::string run() {
    out_ << "digraph network {\n" << kDotHead;
    for (const ImageNode& source : network_.sources)
      print_source(*source.record(), source.handle());
    for (const StateNode& state : network_.source_states) {
      for (const auto& part : state.record()->parts)
        print_source(part->image, str(state.handle(), '.', part->name));
    }
    for (const std::shared_ptr<DataSource>& weights : network_.data_sources)
      print_weights(*weights);
    for (const FilterNode& node : network_.nodes) print_node(*node.record());
    for (std::size_t i = 0; i < network_.results.size(); ++i) {
      print_output(str("result", i), network_.results[i], network_.needed[i]);
    }
    for (std::size_t i = 0; i < network_.exported.size(); ++i) {
      print_output(str("exported", i), network_.exported[i], true);
    }
    out_ << "}\n";
    return out_.str();
  }

 private:
  void print_source(const ImageRecord& source, const std::string& text) {
    const std::string name = str("s", names_.size());
    names_[&source] = name;
    out_ << "  " << name << " [label=" << dot_string(text) << ", " << kDotSource << "];\n";
  }

  void print_weights(const DataSource& weights) {
    const std::string name = str("w", weights_.size());
    weights_[&weights] = name;
    std::string text = weights.label();
    for (const ParameterInfo& info : weights.parameters()) {
      text +=
          str('\n', info.name, ' ', to_string(TensorDesc{DataType::FLOAT32, info.shape, nullptr}));
    }
    if (!weights.is_updated()) text += "\nfrozen";
    out_ << "  " << name << " [label=" << dot_string(text) << ", " << kDotParameter << "];\n";
  }

  void print_node(const FilterRecord& node) {
    const std::string name = str("n", names_.size());
    names_[&node.result] = name;
    out_ << "  " << name << " [label=" << dot_string(str(node.node_class->name, '\n', node.label));
    if (node.node_class->gradient || node.node_class->starts_gradient) out_ << ", " << kDotGradient;
    out_ << "];\n";
    for (const ImageNode& source : node.sources) {
      out_ << "  " << names_.at(source.record().get()) << " -> " << name << ";\n";
    }
    if (node.weights)
      out_ << "  " << weights_.at(node.weights.get()) << " -> " << name << " [style=dashed];\n";
  }

  void print_output(const std::string& name, const ImageNode& image, bool needed) {
    const std::string text = image.handle().empty() ? name : image.handle();
    out_ << "  " << name << " [label=" << dot_string(needed ? text : text + "\nnot needed") << ", "
         << kDotResult << "];\n  " << names_.at(image.record().get()) << " -> " << name << ";\n";
  }

  const Network& network_;
  std::unordered_map<const ImageRecord*, std::string> names_;
  std::unordered_map<const DataSource*, std::string> weights_;
  std::ostringstream out_;
};

}  // namespace

std::string to_dot(const Network& network) { return Printer(network).run(); }

}  // namespace mpsnn::graph
