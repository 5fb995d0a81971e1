// SPDX-License-Identifier: MIT
// Which image has which format, and weights in the element types that they may be given in.
#include <limits>

#include "base/attributes.h"
#include "graph/formats.h"
#include "graph_fixtures.h"
#include "mpsnn/error.h"
#include "testing.h"

using namespace fixtures;
using graph::format_of;

namespace {

constexpr DataType kFloat = DataType::FLOAT32, kHalf = DataType::FLOAT16;

DataType format(const ImageNode& image, std::optional<DataType> of_graph = std::nullopt) {
  return format_of(*image.record(), of_graph);
}

ConvolutionDescriptor descriptor() {
  ConvolutionDescriptor descriptor;
  descriptor.kernel_width = descriptor.kernel_height = 1;
  descriptor.input_feature_channels = 3;
  descriptor.output_feature_channels = 2;
  return descriptor;
}

std::shared_ptr<ConvolutionDataSource> source_of(ConvolutionWeights weights) {
  return std::make_shared<ConvolutionDataSource>(descriptor(), std::move(weights), std::nullopt,
                                                 "net");
}

}  // namespace

TEST_CASE("formats: an image's own, the graph's, that of the first source, float32") {
  ImageNode source("source");
  const FilterNode first = relu(source), second = relu(first);
  CHECK(format(second) == kFloat);
  CHECK(format(second, kHalf) == kHalf);
  CHECK(format(source, kHalf) == kFloat);  // the graph's is for what nodes make
  source.set_format(kHalf);
  CHECK(format(second) == kHalf);
  first.result_image().set_format(kFloat);
  CHECK(format(second) == kFloat);
  CHECK(format(first, kHalf) == kFloat);
}

TEST_CASE("formats: a gradient has that of its image, whatever comes in") {
  ImageNode source("source");
  source.set_format(kHalf);
  const FilterNode inner = relu(source);
  const FilterNode last = node("AdditionNode", {inner, relu(inner)});
  last.result_image().set_format(kFloat);
  std::vector<FilterNode> made;
  const ImageNode gradient("gradient");
  last.training_graph(gradient, [&](FilterNode& node, const auto&, const auto&, const auto&) {
    made.push_back(node);
  });
  CHECK_EQ(made.size(), std::size_t{5});  // two of the sum, two of neurons, one sum of gradients
  for (const FilterNode& each : made) CHECK(format(each) == kHalf);
  for (const FilterNode& each : made)
    CHECK(format(each, kFloat) == (each == made.back() ? kHalf : kFloat));
  // One that is made by hand follows the gradient that comes in.
  CHECK(format(node("NeuronGradientNode", {gradient, source},
                    {{"neuron_type", std::int64_t{1}}, {"a", 0.0}})) == kFloat);
}

TEST_CASE("formats: what a rounded neuron's result does not tell is taken from its source") {
  const auto reads_result = [](double slope, DataType type) {
    ImageNode source("source");
    source.set_format(type);
    const FilterNode neuron = relu(source, slope), next = relu(neuron);
    const FilterNode gradient = neuron.gradient_filter(next.result_image());
    TensorDesc desc = image(1, 2, 2, 1);
    desc.type = type;
    const graph::Plan planned = plan({gradient}, true, {desc});
    return get_bool(first(planned, OpId::neuron_gradient).attributes, "from_result");
  };
  CHECK(reads_result(0.5, kFloat));
  CHECK(reads_result(0.0, kHalf));
  CHECK(!reads_result(0.5, kHalf));
}

TEST_CASE("weights: float16 and 8 bits stand for numbers") {
  const std::vector<float> expected = {1, -2, 0.5F, 65504, 0x1p-24F, -0.0F};
  const auto halves = source_of(
      {.values = std::vector<std::uint16_t>{0x3c00, 0xc000, 0x3800, 0x7bff, 0x0001, 0x8000}});
  CHECK_EQ(halves->initial("weights"), expected);
  CHECK(halves->stored_weights().data_type() == kHalf);

  const std::vector<std::uint8_t> steps = {0, 128, 255, 0, 51, 255};
  const auto ranged = source_of({.values = steps, .ranges = {-128, 127, 0, 1}});
  CHECK_EQ(ranged->initial("weights"), (std::vector<float>{-128, 0, 127, 0, 0.2F, 1}));
  CHECK(ranged->stored_weights().quantization_type() == WeightsQuantizationType::LINEAR);

  std::vector<float> table(256, 7);
  table[51] = -3;
  const auto looked_up = source_of({.values = steps, .lookup_table = table});
  CHECK_EQ(looked_up->initial("weights"), (std::vector<float>{7, 7, 7, 7, -3, 7}));
  CHECK(looked_up->stored_weights().quantization_type() == WeightsQuantizationType::LOOKUP_TABLE);
  looked_up->set_initial("weights", expected);
  CHECK(looked_up->stored_weights().data_type() == kFloat);
  CHECK(looked_up->stored_weights().quantization_type() == WeightsQuantizationType::NONE);
}

TEST_CASE("weights: what does not explain them is refused") {
  const std::vector<std::uint8_t> steps(6);
  const std::vector<float> ranges = {0, 1, 0, 1}, table(256);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto refuse = [](ConvolutionWeights weights, std::string_view text) {
    CHECK_THROWS_CONTAINS(source_of(std::move(weights)), InvalidArgumentError,
                          str("ConvolutionDataSource \"net\": ", text));
  };
  refuse({.values = steps},
         "weights: expected ranges or a lookup_table with weights of uint8, got neither");
  refuse({.values = steps, .ranges = ranges, .lookup_table = table},
         "weights: expected ranges or a lookup_table with weights of uint8, got both");
  refuse({.values = std::vector<float>(6), .ranges = ranges},
         "ranges: expected none with weights of float32");
  refuse({.values = std::vector<std::uint16_t>(6), .lookup_table = table},
         "lookup_table: expected none with weights of float16");
  refuse({.values = steps, .ranges = {0, 1}}, "ranges: expected 4 values");
  refuse(
      {.values = steps, .ranges = {0, 1, 2, 1}},
      "ranges: expected a maximum that is not below the minimum, got 2 to 1 for output channel 1");
  refuse({.values = steps, .ranges = {0, kInfinity, 0, 1}}, "ranges: expected finite numbers");
  refuse({.values = steps, .lookup_table = std::vector<float>(255)},
         "lookup_table: expected 256 values, got 255");
  refuse({.values = std::vector<std::uint8_t>(5), .ranges = ranges},
         "weights: expected 6 values, got 5");
}
