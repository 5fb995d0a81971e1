// SPDX-License-Identifier: MIT
// How the planner saves memory: writing over operands that die, and making cheap values again.
#include "graph_fixtures.h"
#include "testing.h"

namespace {

using namespace fixtures;
using graph::Operation;
using graph::Plan;
using Names = std::vector<std::string>;

const graph::Value& output(const Plan& plan, const Operation& operation) {
  return plan.values[operation.outputs[0]];
}

}  // namespace

TEST_CASE("in place: a chain of neurons needs one image, taken over by the result") {
  const ImageNode source("source");
  const Plan planned = plan({relu(relu(relu(source)))}, true, {image(1, 4, 4, 1)});
  CHECK_EQ(planned.heap_bytes, 0);  // the first neuron reads the source, which must stay as it is
  for (const Operation& operation : planned.operations)
    CHECK_EQ(output(planned, operation).storage, planned.results[0]);
}

TEST_CASE("in place: not over a source, nor over what is read later or is a result") {
  const ImageNode source("source");
  const FilterNode one = relu(source), two = relu(one);
  const std::vector<TensorDesc> sizes = {image(1, 4, 4, 1)};
  const Plan over_source = plan({one}, true, sizes);
  CHECK(over_source.values[over_source.results[0]].storage == over_source.results[0]);
  const Plan read_later = plan({node("AdditionNode", {two, one})}, true, sizes);
  CHECK(output(read_later, read_later.operations[1]).storage !=
        read_later.operations[0].outputs[0]);
  const Plan both_results = plan({one, two}, true, sizes);
  CHECK(both_results.values[both_results.results[1]].storage == both_results.results[1]);
}

TEST_CASE("in place: addition over either operand, never over one that is broadcast") {
  const ImageNode source("source"), small("small");
  const FilterNode large = relu(source), row = relu(small);
  const std::vector<TensorDesc> sizes = {image(1, 4, 4, 2), image(1, 1, 4, 2)};
  const Plan planned = plan({relu(node("PoolingMaxNode", {node("AdditionNode", {row, large})},
                                       {{"kernel_width", std::int64_t{2}}}))},
                            true, {sizes[1], sizes[0]});
  const Operation& add = first(planned, OpId::addition);
  CHECK_EQ(output(planned, add).storage, planned.values[add.inputs[1]].storage);
}

TEST_CASE("recompute: an upsampled image is made again for the weights' gradient, bits and all") {
  const ImageNode source("source");
  const FilterNode small = relu(convolution(source, weights(3, 8, "conv0", adam())));
  const FilterNode large =
      node("UpsamplingBilinearNode", {small}, {{"integer_scale_factor_x", std::int64_t{4}}});
  const FilterNode end = relu(convolution(large, weights(8, 8, "conv1", adam())));
  const FilterNode pooled =
      node("PoolingMaxNode", {convolution(end, weights(8, 8, "conv2", adam()))},
           {{"kernel_width", std::int64_t{2}}});
  const graph::Network network = graph::collect(results_of(train(relu(pooled))), {false});
  const std::vector<TensorDesc> sizes = {image(1, 16, 16, 3)};
  const Plan kept = graph::make_plan(network, sizes, FakeChooser(), {.recompute = false});
  const Plan remade = graph::make_plan(network, sizes, FakeChooser());
  CHECK_EQ(labels(kept, OpId::upsampling_bilinear), Names{large.label()});
  CHECK_EQ(labels(remade, OpId::upsampling_bilinear),
           (Names{large.label(), large.label() + ".again"}));
  CHECK(remade.heap_bytes < kept.heap_bytes);
  const Operation& gradient =
      remade.operations[index_of(remade, OpId::convolution_weights_gradient, "conv1.gradient")];
  CHECK_EQ(remade.values[gradient.inputs[1]].name, large.label() + ".again");
}

TEST_CASE("recompute: a sum over an upsampling, where both terms are kept for others") {
  const ImageNode source("source");
  const FilterNode skip = relu(convolution(source, weights(4, 4, "conv0", adam())));
  const FilterNode down =
      relu(convolution(node("PoolingMaxNode", {skip}, {{"kernel_width", std::int64_t{2}}}),
                       weights(4, 4, "conv1", adam())));
  const FilterNode up =
      node("UpsamplingNearestNode", {down}, {{"integer_scale_factor_x", std::int64_t{2}}});
  const FilterNode sum = node("AdditionNode", {up, skip});
  const FilterNode end = relu(convolution(relu(convolution(sum, weights(4, 4, "conv2", adam()))),
                                          weights(4, 4, "conv3", adam())));
  const Plan planned = plan(results_of(train(end)), false, {image(1, 16, 16, 4)});
  CHECK_EQ(labels(planned, OpId::addition)[1], sum.label() + ".again");
  CHECK_EQ(count(planned, OpId::upsampling_nearest), 2);
  // The second addition writes over the second upsampling.
  const Operation& again =
      planned.operations[index_of(planned, OpId::addition, sum.label() + ".again")];
  CHECK_EQ(output(planned, again).storage, again.inputs[0]);
}

TEST_CASE("recompute: nothing in inference") {
  const ImageNode source("source");
  const FilterNode up =
      node("UpsamplingNearestNode", {relu(source)}, {{"integer_scale_factor_x", std::int64_t{2}}});
  const FilterNode end = convolution(up, weights(3, 3, "conv", adam()));
  CHECK_EQ(count(plan({end}, true, {image(1, 8, 8, 3)}), OpId::upsampling_nearest), 1);
}

TEST_CASE("recompute: not a sum whose terms nobody keeps") {
  const ImageNode source("source");
  const FilterNode sum = node("AdditionNode", {convolution(source, weights(4, 4, "left")),
                                               convolution(source, weights(4, 4, "right"))});
  const FilterNode end = relu(convolution(relu(convolution(sum, weights(4, 4, "conv0", adam()))),
                                          weights(4, 4, "conv1", adam())));
  const Plan planned = plan(results_of(train(end)), false, {image(1, 16, 16, 4)});
  CHECK_EQ(labels(planned, OpId::addition), Names{sum.label()});
}
