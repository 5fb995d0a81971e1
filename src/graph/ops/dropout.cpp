// SPDX-License-Identifier: MIT
// Dropout. Operations:
//   dropout     source, steps -> result; applied to a gradient it is the gradient
//   count_step  steps -> steps
#include "base/attributes.h"
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/shapes.h"
#include "mpsnn/dropout_state.h"

namespace mpsnn::graph {
namespace {

void check(const FilterRecord& node) {
  const double keep = get_float(node.attributes, "keep_probability");
  if (!(keep > 0 && keep < 1)) fail(node, "keep_probability", "above 0 and below 1", keep);
}

std::shared_ptr<DataSource> make_state() { return std::make_shared<DropoutState>(); }

ImageSize gradient_shape(const ShapeQuery& query) {
  expect_size(query, 0, "source_gradient", query.sources[1]);
  if (query.sources.size() > 2) expect_size(query, 2, "state \"mask\"", query.sources[1]);
  return query.sources[1];
}

/// What the source is multiplied by.
void leave_mask(Lowering& to, const AttributeMap& attributes) {
  if (to.node().node_class->gradient || !to.state_is_wanted()) return;
  const ValueId ones = to.temporary("ones", to.source_size(0)),
                mask = to.temporary("mask", to.source_size(0));
  to.add(OpId::fill, {}, {ones}, {{"value", 1.0}});
  to.add(OpId::dropout, {ones, to.parameter("steps")}, {mask}, attributes);
  to.leave_in_state("mask", mask);
}

/// Source 0 is the image or, in a gradient node, the gradient: both are masked alike.
void lower(Lowering& to) {
  const ImageSize size = to.source_size(0);
  const ValueId mask = to.given("mask", {size.n, size.height, size.width, size.channels});
  if (mask != kNoValue) {  // the forward node is in another graph, which counts
    to.add(OpId::multiplication, {to.source(0), mask}, {to.result()}, plain_binary());
    return;
  }
  const AttributeMap& a = to.node().attributes;
  const AttributeMap attributes = {
      {"keep_probability", a.at("keep_probability")},
      {"seed", a.at("seed")},
      {"mask_stride_y", a.at("mask_stride_in_pixels_y")},
      {"mask_stride_x", a.at("mask_stride_in_pixels_x")},
      {"mask_stride_channel", a.at("mask_stride_in_feature_channels")}};
  to.add(OpId::dropout, {to.source(0), to.parameter("steps")}, {to.result()}, attributes);
  leave_mask(to, attributes);
  if (!to.changes_state("steps")) to.change_state("steps", OpId::count_step, {}, {});
}

FilterNode make_gradient(const GradientQuery& query) {
  return FilterNode("DropoutGradientNode", gradient_then_sources(query), query.forward.attributes(),
                    query.forward.weights());
}

AttributeSpec stride(std::string_view name, std::string_view doc) {
  return {.name = name,
          .type = AttributeType::INT,
          .doc = doc,
          .default_value = std::int64_t{1},
          .minimum = 0,
          .maximum = 1};
}

std::vector<AttributeSpec> attributes() {
  return {{.name = "keep_probability",
           .type = AttributeType::FLOAT,
           .doc = "share of the values that is kept, above 0 and below 1"},
          {.name = "seed",
           .type = AttributeType::INT,
           .doc = "key of the random numbers",
           .default_value = std::int64_t{0},
           .minimum = 0},
          stride("mask_stride_in_pixels_x", "0: all columns share their mask"),
          stride("mask_stride_in_pixels_y", "0: all rows share their mask"),
          stride("mask_stride_in_feature_channels", "0: all channels share their mask")};
}

constexpr std::string_view kForwardDoc =
    R"(result = source / keep_probability where the mask keeps a value, 0 elsewhere. It does so in
every graph: a graph for inference is built without it.

**Result size**: the source's.

**The mask** is a function of the seed, of how often the state has been used on the device, and of the position;
Apple's generator is not public. Word i % 4 of block i / 4 of Philox4x32-10 with key (seed mod 2^32,
seed / 2^32) and counter (step mod 2^32, step / 2^32, block / 2^32, block mod 2^32) belongs to value i of the
mask, which is dense in the order (N, H, W, C) with the extents of shared dimensions left out; the value is kept
where (word >> 9) * 2^-23 < keep_probability. Images of a batch never share a mask. Each run of a graph makes
the next mask, on the device; forward and gradient node of one run use the same. The count is kept in a
DropoutState, which the node makes for itself where none is given, and stands in archives.

**State**: "mask", what the source is multiplied by: 1 / keep_probability or 0, of the source's size.)";

constexpr std::string_view kGradientDoc =
    R"(result = source_gradient / keep_probability where the forward node's mask kept a value, 0 elsewhere. The data source
must be the forward node's, and so must the parameters.

**Result size**: source_image's.

**Source state**: with `use_source_state` the "mask" is the one that a forward node left in another graph's
encode; the count then stays as it is.)";

}  // namespace

std::vector<NodeClass> dropout_nodes() {
  return {
      {.name = "DropoutNode",
       .apple = "MPSCNNDropoutNode",
       .family = "dropout",
       .brief = "Sets random values to zero and scales the others up",
       .doc = kForwardDoc,
       .sources = {{.name = "source", .doc = "any image"}},
       .attributes = attributes(),
       .weights = "DropoutState",
       .make_weights = make_state,
       .state = {"mask"},
       .check = check,
       .shape = size_of_source,
       .lower = lower,
       .gradient_of = make_gradient},
      {.name = "DropoutGradientNode",
       .apple = "MPSCNNDropoutGradientNode",
       .family = "dropout",
       .brief = "Gradient of a dropout's source",
       .doc = kGradientDoc,
       .sources = {{.name = "source_gradient", .doc = "gradient of the dropout's result"},
                   {.name = "source_image", .doc = "the dropout's source"}},
       .attributes = attributes(),
       .weights = "DropoutState",
       .gradient = true,
       .source_state = {"mask"},
       .check = check,
       .shape = gradient_shape,
       .lower = lower},
  };
}

}  // namespace mpsnn::graph
