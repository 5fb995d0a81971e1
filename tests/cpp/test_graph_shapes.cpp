// SPDX-License-Identifier: MIT
// Result sizes and offsets against values worked out by hand from the catalogue's formulas.
#include "base/attributes.h"
#include "graph/geometry.h"
#include "graph_fixtures.h"
#include "testing.h"

namespace {

using namespace fixtures;
using graph::Axis;
using graph::Placement;
using graph::Window;
using P = PaddingMethod;

struct Expected {
  std::int64_t size, pad;
};

void check_place(std::int64_t method, const Window& window, std::int64_t source, Expected y,
                 Expected x) {
  const Placement at_y = graph::place({method}, Axis::Y, window, source);
  const Placement at_x = graph::place({method}, Axis::X, window, source);
  CHECK_EQ(at_y.size, y.size);
  CHECK_EQ(at_y.pad, y.pad);
  CHECK_EQ(at_x.size, x.size);
  CHECK_EQ(at_x.pad, x.pad);
}

void check_place(std::int64_t method, const Window& window, std::int64_t source, Expected both) {
  check_place(method, window, source, both, both);
}

/// The result's desc of a node over sources of these sizes.
ImageSize size_of_result(const FilterNode& filter, const std::vector<TensorDesc>& sources) {
  const graph::Plan planned = plan({filter.result_image()}, true, sources);
  return planned.values[planned.results[0]].desc.image();
}

FilterNode unary(std::string_view class_name, AttributeMap attributes) {
  return node(class_name, {ImageNode("source")}, std::move(attributes));
}

FilterNode binary(std::string_view class_name, AttributeMap attributes = {}) {
  return node(class_name, {ImageNode("a"), ImageNode("b")}, std::move(attributes));
}

std::shared_ptr<ConvolutionDataSource> strided(std::int64_t kernel, std::int64_t stride,
                                               std::int64_t dilation) {
  ConvolutionDescriptor d;
  d.kernel_width = d.kernel_height = kernel;
  d.stride_in_pixels_x = d.stride_in_pixels_y = stride;
  d.dilation_rate_x = d.dilation_rate_y = dilation;
  return std::make_shared<ConvolutionDataSource>(
      d, std::vector<float>(static_cast<std::size_t>(kernel * kernel)), std::nullopt, "conv");
}

}  // namespace

TEST_CASE("padding: same size, odd and even kernels") {
  check_place(P::SIZE_SAME, {3, 1, 1}, 8, {8, 1});
  check_place(P::SIZE_SAME, {5, 1, 1}, 8, {8, 2});
  check_place(P::SIZE_SAME, {2, 1, 1}, 8,
              {8, 1});  // an even kernel reaches one more to the top left
  check_place(P::SIZE_SAME, {4, 1, 1}, 8, {8, 2});
  check_place(P::SIZE_SAME, {1, 1, 1}, 8, {8, 0});
}

TEST_CASE("padding: remainders go to the sides they name") {
  check_place(P::SIZE_SAME | P::ADD_REMAINDER_TO_TOP_LEFT, {2, 1, 1}, 8, {8, 1}, {8, 1});
  check_place(P::SIZE_SAME | P::ADD_REMAINDER_TO_TOP_RIGHT, {2, 1, 1}, 8, {8, 1}, {8, 0});
  check_place(P::SIZE_SAME | P::ADD_REMAINDER_TO_BOTTOM_LEFT, {2, 1, 1}, 8, {8, 0}, {8, 1});
  check_place(P::SIZE_SAME | P::ADD_REMAINDER_TO_BOTTOM_RIGHT, {2, 1, 1}, 8, {8, 0}, {8, 0});
}

TEST_CASE("padding: strides") {
  // (4 - 1) * 2 + 3 - 8 = 1 of padding: top-left, or TensorFlow's bottom-right.
  check_place(P::SIZE_SAME, {3, 2, 1}, 8, {4, 1});
  check_place(P::SIZE_SAME | P::ADD_REMAINDER_TO_BOTTOM_RIGHT, {3, 2, 1}, 8, {4, 0});
  check_place(P::SIZE_SAME, {3, 2, 1}, 7, {4, 1});  // 2 of padding
  check_place(P::SIZE_SAME, {2, 2, 1}, 8, {4, 0});  // the usual pooling
  check_place(P::SIZE_SAME, {2, 2, 1}, 7, {4, 1});
  check_place(P::SIZE_SAME, {1, 3, 1}, 8, {3, 0});  // -1 of padding, rounded toward zero
  check_place(P::SIZE_SAME | P::ADD_REMAINDER_TO_BOTTOM_RIGHT, {1, 3, 1}, 8, {3, 0});
  check_place(P::SIZE_SAME, {1, 4, 1}, 8, {2, -1});  // -3: (-3 + 1) / 2
}

TEST_CASE("padding: valid and full sizes") {
  check_place(P::SIZE_VALID_ONLY, {3, 1, 1}, 8, {6, 0});
  check_place(P::SIZE_VALID_ONLY, {3, 2, 1}, 8, {3, 0});  // -1 left over
  check_place(P::SIZE_VALID_ONLY, {3, 1, 1}, 2, {0, 0});
  check_place(P::SIZE_FULL, {3, 1, 1}, 8, {10, 2});
  check_place(P::SIZE_FULL, {3, 2, 1}, 8, {5, 2});  // 3 of padding
  check_place(P::SIZE_FULL | P::ADD_REMAINDER_TO_BOTTOM_RIGHT, {3, 2, 1}, 8, {5, 1});
}

TEST_CASE("padding: dilation and alignment") {
  check_place(P::SIZE_SAME, {3, 1, 2}, 8, {8, 2});
  check_place(P::SIZE_VALID_ONLY, {3, 1, 2}, 8, {4, 0});
  check_place(P::SIZE_FULL, {2, 1, 3}, 8, {11, 3});
  check_place(P::SIZE_SAME | P::ALIGN_TOP_LEFT, {3, 1, 1}, 8, {8, 2});
  check_place(P::SIZE_SAME | P::ALIGN_BOTTOM_RIGHT, {3, 1, 1}, 8, {8, 0});
}

TEST_CASE("convolution: size, resolved attributes and errors") {
  FilterNode filter = convolution(ImageNode("source"), strided(3, 2, 1));
  filter.set_padding_policy({P::SIZE_SAME | P::ADD_REMAINDER_TO_TOP_RIGHT});
  const graph::Plan planned = plan({filter}, true, {image(2, 8, 8, 1)});
  CHECK_EQ(planned.values[planned.results[0]].desc.image(), (ImageSize{2, 4, 4, 1}));
  const AttributeMap& attributes = first(planned, OpId::convolution).attributes;
  CHECK_EQ(get_int(attributes, "pad_top"), 1);
  CHECK_EQ(get_int(attributes, "pad_left"), 0);
  CHECK_EQ(get_int(attributes, "stride_y"), 2);
  CHECK_THROWS_CONTAINS(plan({filter}, true, {image(1, 8, 8, 2)}), InvalidArgumentError,
                        "ConvolutionNode \"conv\": source: expected 1 feature channels, got 2");
  filter.set_padding_policy({P::SIZE_VALID_ONLY});
  CHECK_THROWS_CONTAINS(plan({filter}, true, {image(1, 2, 8, 1)}), InvalidArgumentError,
                        "source: expected at least 3 rows, got 2");
  CHECK_THROWS_CONTAINS(plan({filter}, true, {image(1, 8, 2, 1)}), InvalidArgumentError,
                        "at least 3 columns, got 2");
}

TEST_CASE("pooling and upsampling: sizes") {
  const FilterNode pool = unary("PoolingMaxNode", {{"kernel_width", std::int64_t{2}}});
  CHECK_EQ(size_of_result(pool, {image(1, 8, 6, 3)}), (ImageSize{1, 4, 3, 3}));
  CHECK_EQ(size_of_result(pool, {image(1, 7, 5, 3)}), (ImageSize{1, 4, 3, 3}));
  const FilterNode up = unary(
      "UpsamplingBilinearNode",
      {{"integer_scale_factor_x", std::int64_t{2}}, {"integer_scale_factor_y", std::int64_t{3}}});
  CHECK_EQ(size_of_result(up, {image(1, 4, 4, 3)}), (ImageSize{1, 12, 8, 3}));
}

TEST_CASE("addition: broadcast along each dimension, else an error with both sizes") {
  const FilterNode add = binary("AdditionNode");
  CHECK_EQ(size_of_result(add, {image(2, 4, 4, 3), image(1, 1, 1, 3)}), (ImageSize{2, 4, 4, 3}));
  CHECK_EQ(size_of_result(add, {image(1, 4, 1, 3), image(2, 1, 5, 1)}), (ImageSize{2, 4, 5, 3}));
  CHECK_THROWS_CONTAINS(
      plan({add}, true, {image(1, 6, 6, 3), image(1, 5, 6, 3)}), InvalidArgumentError,
      "AdditionNode \"Addition1\": secondary_source: expected (1, 6, 6, 3), or 1 where it is "
      "broadcast, got (1, 5, 6, 3)");
}

TEST_CASE("concatenation: channels add up, other sizes must agree") {
  const FilterNode joined =
      node("ConcatenationNode", {ImageNode("a"), ImageNode("b"), ImageNode("c")});
  CHECK_EQ(size_of_result(joined, {image(1, 4, 4, 3), image(1, 4, 4, 1), image(1, 4, 4, 5)}),
           (ImageSize{1, 4, 4, 9}));
  CHECK_THROWS_CONTAINS(
      plan({joined}, true, {image(1, 4, 4, 3), image(1, 4, 4, 1), image(1, 4, 5, 5)}),
      InvalidArgumentError, "sources[2]: expected (1, 4, 4, 5), got (1, 4, 5, 5)");
}

TEST_CASE("loss: one value an image or all of them; shapes must agree") {
  const auto reduced = [](ReductionType type) {
    return binary("ForwardLossNode", {{"loss_type", std::int64_t{0}},
                                      {"reduction_type", static_cast<std::int64_t>(type)}});
  };
  const std::vector<TensorDesc> sources = {image(3, 4, 4, 2), image(3, 4, 4, 2)};
  CHECK_EQ(size_of_result(reduced(ReductionType::NONE), sources), (ImageSize{3, 4, 4, 2}));
  CHECK_EQ(size_of_result(reduced(ReductionType::SUM), sources), (ImageSize{3, 1, 1, 1}));
  CHECK_EQ(size_of_result(reduced(ReductionType::MEAN), sources), (ImageSize{3, 1, 1, 1}));
  CHECK_THROWS_CONTAINS(
      plan({reduced(ReductionType::MEAN)}, true, {image(3, 4, 4, 2), image(3, 4, 4, 1)}),
      InvalidArgumentError, "labels: expected (3, 4, 4, 2), got (3, 4, 4, 1)");
}

TEST_CASE("PReLU wants as many channels as it has slopes") {
  const FilterNode prelu = unary("NeuronPReLUNode", {{"a", std::vector<double>{0.1, 0.2}}});
  CHECK_EQ(size_of_result(prelu, {image(1, 2, 2, 2)}), (ImageSize{1, 2, 2, 2}));
  CHECK_THROWS_CONTAINS(plan({prelu}, true, {image(1, 2, 2, 3)}), InvalidArgumentError,
                        "source: expected 2 feature channels, got 3");
}

TEST_CASE("gradient nodes made by hand check the gradient's size") {
  const ImageNode gradient("gradient"), source("source");
  const auto check = [&](const FilterNode& filter, const TensorDesc& good, const TensorDesc& bad) {
    CHECK_EQ(size_of_result(filter, {good, image(1, 8, 8, 1)}), (ImageSize{1, 8, 8, 1}));
    CHECK_THROWS_CONTAINS(plan({filter}, true, {bad, image(1, 8, 8, 1)}), InvalidArgumentError,
                          "source_gradient");
  };
  check(node("ConvolutionGradientNode", {gradient, source}, {}, strided(3, 2, 1)),
        image(1, 4, 4, 1), image(1, 8, 8, 1));
  check(node("NeuronGradientNode", {gradient, source}, {{"neuron_type", std::int64_t{1}}}),
        image(1, 8, 8, 1), image(1, 8, 4, 1));
  check(node("UpsamplingNearestGradientNode", {gradient, source},
             {{"integer_scale_factor_x", std::int64_t{2}}}),
        image(1, 16, 16, 1), image(1, 8, 8, 1));
}

TEST_CASE("sources: rank, sizes and number") {
  const FilterNode filter = relu(ImageNode("source"));
  const auto with = [&](std::vector<std::int64_t> dims) {
    return plan({filter}, true, {TensorDesc{DataType::FLOAT32, std::move(dims), nullptr}});
  };
  CHECK_THROWS_CONTAINS(with({1, 2, 3}), InvalidArgumentError,
                        "source \"source\": expected sizes (N, H, W, C)");
  CHECK_THROWS_CONTAINS(with({1, 0, 3, 1}), InvalidArgumentError, "expected sizes >= 1");
  CHECK_THROWS_CONTAINS(with({1 << 20, 1 << 20, 1 << 20, 1 << 20}), InvalidArgumentError,
                        "fits in memory");
  CHECK_THROWS_CONTAINS(plan({filter}, true, {}), InvalidArgumentError, "expected 1 images, got 0");
  const FilterNode large =
      unary("UpsamplingNearestNode", {{"integer_scale_factor_x", std::int64_t{1} << 40}});
  CHECK_THROWS_CONTAINS(plan({large}, true, {image(1, 8, 8, 8)}), InvalidArgumentError,
                        "fits in memory");
}
