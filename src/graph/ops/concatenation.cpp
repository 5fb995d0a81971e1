// SPDX-License-Identifier: MIT
// Concatenation. Operations:
//   concatenation  sources -> result, along the channels
//   slice          source -> a range of its channels
#include "base/attributes.h"
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

/// Size of the concatenation of the sources from `first` on.
ImageSize concatenated(const ShapeQuery& query, std::size_t first) {
  ImageSize result = query.sources[first];
  for (std::size_t i = first + 1; i < query.sources.size(); ++i) {
    const ImageSize& next = query.sources[i];
    if (next.n != result.n || next.height != result.height || next.width != result.width) {
      const ImageSize wanted = {result.n, result.height, result.width, next.channels};
      fail(query.node, str("sources[", i - first, "]"), to_string(wanted), to_string(next));
    }
    result.channels += next.channels;
  }
  return result;
}

ImageSize forward_shape(const ShapeQuery& query) { return concatenated(query, 0); }

std::size_t source_index(const FilterRecord& node) {
  return static_cast<std::size_t>(get_int(node.attributes, "source_index"));
}

ImageSize gradient_shape(const ShapeQuery& query) {
  expect_size(query, 0, "source_gradient", concatenated(query, 1));
  return query.sources[1 + source_index(query.node)];
}

void check_source_index(const FilterRecord& node) {
  if (source_index(node) + 1 >= node.sources.size()) {
    fail(node, "source_index", str("less than ", node.sources.size() - 1), source_index(node));
  }
}

void lower_forward(Lowering& to) {
  std::vector<ValueId> sources;
  for (std::size_t i = 0; i < to.node().sources.size(); ++i) sources.push_back(to.source(i));
  if (sources.size() == 1 && to.result_can_be(sources[0])) {
    to.result_is(sources[0]);
  } else {
    to.add(OpId::concatenation, sources, {to.result()}, {});
  }
}

void lower_gradient(Lowering& to) {
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < source_index(to.node()); ++i)
    offset += to.source_size(1 + i).channels;
  if (offset == 0 && to.result_can_be(to.source(0))) {
    to.result_is(to.source(0));  // the only source
  } else {
    to.add(OpId::slice, {to.source(0)}, {to.result()}, {{"channel_offset", offset}});
  }
}

FilterNode make_gradient(const GradientQuery& query) {
  return FilterNode("ConcatenationGradientNode", gradient_then_sources(query),
                    {{"source_index", static_cast<std::int64_t>(query.source)}});
}

}  // namespace

std::vector<NodeClass> concatenation_nodes() {
  return {
      {.name = "ConcatenationNode",
       .apple = "MPSNNConcatenationNode",
       .family = "concatenation",
       .brief = "Joins images along their feature channels",
       .doc = "result[n, y, x, c] = sources[i][n, y, x, c - offset], offset the channels of the "
              "sources before i: the channels of the first source, then those of the second, and "
              "so on.\n\n**Result "
              "size**: (N, H, W, "
              "sum of the sources' channels). Error at encode where N, H or W differ.\n\n**Unlike "
              "Apple**: sources "
              "are not padded to multiples of 4 channels.",
       .sources = {{.name = "sources", .doc = "images of one N, H and W", .variadic = true}},
       .attributes = {},
       .shape = forward_shape,
       .lower = lower_forward,
       .gradient_of = make_gradient},
      {.name = "ConcatenationGradientNode",
       .apple = "MPSNNConcatenationGradientNode",
       .family = "concatenation",
       .brief = "Gradient of one source of a concatenation",
       .doc = "result[n, y, x, c] = source_gradient[n, y, x, offset + c], offset the channels of "
              "the sources before source_index.\n\n**Result size**: that of sources[source_index].",
       .sources = {{.name = "source_gradient", .doc = "gradient of the concatenation's result"},
                   {.name = "sources",
                    .doc = "all its sources; only their sizes are used",
                    .variadic = true}},
       .attributes = {{.name = "source_index",
                       .type = AttributeType::INT,
                       .doc = "which source",
                       .minimum = 0}},
       .gradient = true,
       .check = check_source_index,
       .shape = gradient_shape,
       .lower = lower_gradient},
  };
}

}  // namespace mpsnn::graph
