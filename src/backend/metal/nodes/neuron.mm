// SPDX-License-Identifier: MIT
// All neurons: one MPS node class takes a descriptor of type and parameters.
#include "backend/metal/lowering.h"
#include "base/attributes.h"

namespace mpsnn::backend::metal {
namespace {

using graph::FilterRecord;

float parameter(const FilterRecord& node, std::string_view name) {
  const auto found = node.attributes.find(name);
  if (found == node.attributes.end()) return 0;
  const auto* number = std::get_if<double>(&found->second);
  return number == nullptr ? 0 : static_cast<float>(*number);
}

/// PReLU's slopes, one a channel, as MPS copies them; nil: the class has none.
NSData* slopes(const FilterRecord& node) {
  for (const auto& entry : node.attributes) {
    const auto* list = std::get_if<std::vector<double>>(&entry.second);
    if (list == nullptr) continue;
    const std::vector<float> floats(list->begin(), list->end());
    return [NSData dataWithBytes:floats.data() length:floats.size() * sizeof(float)];
  }
  return nil;
}

}  // namespace

void lower_neuron(Builder& builder, const FilterRecord& node) {
  const auto type = static_cast<MPSCNNNeuronType>(get_int(node.attributes, "neuron_type"));
  MPSNNNeuronDescriptor* descriptor =
      type == MPSCNNNeuronTypePReLU
          ? [MPSNNNeuronDescriptor cnnNeuronPReLUDescriptorWithData:slopes(node) noCopy:false]
          : [MPSNNNeuronDescriptor cnnNeuronDescriptorWithType:type
                                                             a:parameter(node, "a")
                                                             b:parameter(node, "b")
                                                             c:parameter(node, "c")];
  builder.finish(node, [MPSCNNNeuronNode nodeWithSource:builder.source(node, 0)
                                             descriptor:descriptor]);
}

}  // namespace mpsnn::backend::metal
