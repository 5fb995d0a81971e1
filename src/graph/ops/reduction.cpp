// SPDX-License-Identifier: MIT
// Reductions along rows, columns, channels or all pixels. Operations:
//   addition_gradient (scaled sums), extremum                     source -> result
//   broadcast (of a sum's gradient), extremum_gradient            see base/ops.def
//   padding                                                       clips, and undoes it
#include <limits>
#include <string>
#include <vector>

#include "base/attributes.h"
#include "base/check.h"
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

enum class Kind : std::uint8_t { MIN, MAX, MEAN, SUM, ARGUMENT_MIN, ARGUMENT_MAX };
enum class Axis : std::uint8_t { ROW, COLUMN, FEATURE_CHANNELS, SPATIAL };

ImageSize reduced(const ImageSize& size, Axis axis) {
  switch (axis) {
    case Axis::ROW:
      return {size.n, size.height, 1, size.channels};
    case Axis::COLUMN:
      return {size.n, 1, size.width, size.channels};
    case Axis::FEATURE_CHANNELS:
      return {size.n, size.height, size.width, 1};
    case Axis::SPATIAL:
      return {size.n, 1, 1, size.channels};
  }
  throw InternalError("axis out of range");
}

constexpr bool is_sum(Kind kind) { return kind == Kind::MEAN || kind == Kind::SUM; }

/// What sums are multiplied with.
double scale_of(Kind kind, const FilterRecord& node, const ImageSize& source,
                const ImageSize& result) {
  if (kind == Kind::MEAN) {
    return static_cast<double>(result.height * result.width * result.channels) /
           static_cast<double>(source.height * source.width * source.channels);
  }
  const auto weight = node.attributes.find("weight");
  return weight == node.attributes.end() ? 1.0 : std::get<double>(weight->second);
}

/// Row and column name what is kept: a row's values are reduced along x.
std::int64_t dimension_of(Axis axis) {
  return axis == Axis::COLUMN ? 1 : axis == Axis::ROW ? 2 : 3;
}

// ---- clip rectangles

/// Column, row, width and height of what is read; the whole source where the list is empty.
std::vector<std::int64_t> clip_of(const FilterRecord& node) {
  return std::get<std::vector<std::int64_t>>(node.attributes.find("clip_rect_source")->second);
}

void check_clip(const FilterRecord& node) {
  const std::vector<std::int64_t> clip = clip_of(node);
  if (clip.empty()) return;
  if (clip.size() != 4)
    fail(node, "clip_rect_source", "none or 4 numbers (x, y, width, height)", clip.size());
  for (std::size_t i = 2; i < 4; ++i) {
    if (clip[i] < 1) fail(node, "clip_rect_source", "a width and a height >= 1", clip[i]);
  }
}

ImageSize clipped(const FilterRecord& node, const ImageSize& source) {
  const std::vector<std::int64_t> clip = clip_of(node);
  if (clip.empty()) return source;
  if (clip[0] + clip[2] > source.width || clip[1] + clip[3] > source.height) {
    fail(node, "clip_rect_source",
         str("a rectangle in ", source.width, " columns and ", source.height, " rows"),
         str(clip[2], " x ", clip[3], " at (", clip[0], ", ", clip[1], ")"));
  }
  return {source.n, clip[3], clip[2], source.channels};
}

/// A clip is a padding by negative margins, its gradient one by zeros.
AttributeMap margins(const FilterRecord& node, std::int64_t sign) {
  const std::vector<std::int64_t> clip = clip_of(node);
  return {{"before_y", sign * clip[1]},
          {"before_x", sign * clip[0]},
          {"before_channel", std::int64_t{0}},
          {"edge_mode", static_cast<std::int64_t>(ImageEdgeMode::ZERO)},
          {"fill_value", 0.0}};
}

/// Source image i, clipped.
ValueId clipped_source(Lowering& to, std::size_t i) {
  if (clip_of(to.node()).empty()) return to.source(i);
  const ValueId clip = to.temporary("clipped", clipped(to.node(), to.source_size(i)));
  to.add(OpId::padding, {to.source(i)}, {clip}, margins(to.node(), -1));
  return clip;
}

// ---- shapes and operations

template <Axis axis>
ImageSize forward_shape(const ShapeQuery& query) {
  return reduced(clipped(query.node, query.sources[0]), axis);
}

template <Axis axis, Kind kind>
ImageSize gradient_shape(const ShapeQuery& query) {
  const ImageSize result = reduced(clipped(query.node, query.sources[1]), axis);
  expect_size(query, 0, "source_gradient", result);
  if (!is_sum(kind)) expect_size(query, 2, "result_image", result);
  return query.sources[1];
}

template <Axis axis, Kind kind>
void lower_forward(Lowering& to) {
  const ImageSize source = clipped(to.node(), to.source_size(0)), result = reduced(source, axis);
  const ValueId clip = clipped_source(to, 0);
  if (is_sum(kind)) {
    to.add(OpId::addition_gradient, {clip}, {to.result()},
           {{"scale", scale_of(kind, to.node(), source, result)}});
    return;
  }
  to.add(OpId::extremum, {clip}, {to.result()},
         {{"axis", dimension_of(axis)},
          {"takes_maximum", kind == Kind::MAX || kind == Kind::ARGUMENT_MAX},
          {"takes_index", kind == Kind::ARGUMENT_MIN || kind == Kind::ARGUMENT_MAX}});
}

/// The result as a gradient needs it: the very value that was chosen.
template <Axis axis, Kind kind>
ValueId extremum_of(Lowering& to, ValueId clip) {
  if (!to.is_rounded(2, 1)) return to.source(2);
  const ValueId result = to.temporary("result", to.source_size(2));
  to.add(
      OpId::extremum, {clip}, {result},
      {{"axis", dimension_of(axis)}, {"takes_maximum", kind == Kind::MAX}, {"takes_index", false}});
  return result;
}

template <Axis axis, Kind kind>
void lower_gradient(Lowering& to) {
  const ImageSize source = clipped(to.node(), to.source_size(1));
  const bool is_whole = clip_of(to.node()).empty();
  const ValueId clip = is_sum(kind) ? kNoValue : clipped_source(to, 1),
                gradient = is_whole ? to.result() : to.temporary("gradient", source);
  if (is_sum(kind)) {
    to.add(OpId::broadcast, {to.source(0)}, {gradient},
           {{"scale", scale_of(kind, to.node(), source, reduced(source, axis))}});
  } else {
    to.add(OpId::extremum_gradient, {to.source(0), clip, extremum_of<axis, kind>(to, clip)},
           {gradient}, {{"axis", dimension_of(axis)}, {"takes_maximum", kind == Kind::MAX}});
  }
  if (!is_whole) to.add(OpId::padding, {gradient}, {to.result()}, margins(to.node(), 1));
}

template <Kind kind>
FilterNode make_gradient(const GradientQuery& query) {
  const std::string_view name = query.forward.class_name();
  std::vector<ImageNode> sources = gradient_then_sources(query);
  if (!is_sum(kind)) sources.push_back(query.forward.result_image());
  return FilterNode(
      str(name.substr(0, name.size() - std::string_view("Node").size()), "GradientNode"), sources,
      query.forward.attributes());
}

AttributeSpec clip_rect_source() {
  return {.name = "clip_rect_source",
          .type = AttributeType::INTS,
          .doc = "x, y, width, height of what is read of the source; empty: all of it",
          .default_value = std::vector<std::int64_t>(),
          .minimum = 0,
          .maximum = 1 << 30};
}

/// The texts of a class; they live as long as the table.
struct Texts {
  std::string_view name, apple, brief, doc;
};

template <Axis axis, Kind kind>
void append(std::vector<NodeClass>& rows, const Texts& forward, const Texts& gradient,
            std::vector<AttributeSpec> attributes = {}) {
  attributes.push_back(clip_rect_source());
  rows.push_back({.name = forward.name,
                  .apple = forward.apple,
                  .family = "reduction",
                  .brief = forward.brief,
                  .doc = forward.doc,
                  .sources = {{.name = "source", .doc = "any image"}},
                  .attributes = attributes,
                  .check = check_clip,
                  .shape = forward_shape<axis>,
                  .lower = lower_forward<axis, kind>});
  if (gradient.name.empty()) return;
  rows.back().gradient_of = make_gradient<kind>;
  std::vector<SourceSpec> sources = {
      {.name = "source_gradient", .doc = "gradient of the reduction's result"},
      {.name = "source_image",
       .doc = is_sum(kind) ? "the reduction's source; only its size is used"
                           : "the reduction's source"}};
  if (!is_sum(kind)) sources.push_back({.name = "result_image", .doc = "the reduction's result"});
  rows.push_back({.name = gradient.name,
                  .apple = gradient.apple,
                  .family = "reduction",
                  .brief = gradient.brief,
                  .doc = gradient.doc,
                  .sources = sources,
                  .attributes = attributes,
                  .gradient = true,
                  .check = check_clip,
                  .shape = gradient_shape<axis, kind>,
                  .lower = lower_gradient<axis, kind>});
}

constexpr std::string_view kSumGradientDoc =
    "result = factor * source_gradient of the sum that the value went into, 0 for values outside "
    "of clip_rect_source. The factor of a mean is 1 / the number of its values, that of a sum its "
    "weight, 1 where the node has none.\n\n**Result size**: source_image's.";
constexpr std::string_view kExtremumGradientDoc =
    "result = source_gradient for the value that was taken, of equal ones the first; 0 for all "
    "others.\n\n**Result size**: source_image's.";
constexpr std::string_view kRowMin =
    "result[n, y, 0, c] = the smallest source[n, y, x, c] over x. NaN is taken where there is one."
    "\n\n**Result size**: (N, H, 1, C).";
constexpr std::string_view kRowMax =
    "result[n, y, 0, c] = the largest source[n, y, x, c] over x. NaN is taken where there is one."
    "\n\n**Result size**: (N, H, 1, C).";
constexpr std::string_view kRowMean =
    "result[n, y, 0, c] = the mean of source[n, y, x, c] over x, summed in double."
    "\n\n**Result size**: (N, H, 1, C).";
constexpr std::string_view kRowSum =
    "result[n, y, 0, c] = the sum of source[n, y, x, c] over x, summed in double."
    "\n\n**Result size**: (N, H, 1, C).";
constexpr std::string_view kColumnMin =
    "result[n, 0, x, c] = the smallest source[n, y, x, c] over y. NaN is taken where there is one."
    "\n\n**Result size**: (N, 1, W, C).";
constexpr std::string_view kColumnMax =
    "result[n, 0, x, c] = the largest source[n, y, x, c] over y. NaN is taken where there is one."
    "\n\n**Result size**: (N, 1, W, C).";
constexpr std::string_view kColumnMean =
    "result[n, 0, x, c] = the mean of source[n, y, x, c] over y, summed in double."
    "\n\n**Result size**: (N, 1, W, C).";
constexpr std::string_view kColumnSum =
    "result[n, 0, x, c] = the sum of source[n, y, x, c] over y, summed in double."
    "\n\n**Result size**: (N, 1, W, C).";
constexpr std::string_view kChannelsMin =
    "result[n, y, x, 0] = the smallest source[n, y, x, c] over c. NaN is taken where there is one."
    "\n\n**Result size**: (N, H, W, 1).";
constexpr std::string_view kChannelsMax =
    "result[n, y, x, 0] = the largest source[n, y, x, c] over c. NaN is taken where there is one."
    "\n\n**Result size**: (N, H, W, 1).";
constexpr std::string_view kChannelsMean =
    "result[n, y, x, 0] = the mean of source[n, y, x, c] over c, summed in double."
    "\n\n**Result size**: (N, H, W, 1).";
constexpr std::string_view kChannelsSum =
    "result[n, y, x, 0] = weight * the sum of source[n, y, x, c] over c, summed in double."
    "\n\n**Result size**: (N, H, W, 1).";
constexpr std::string_view kArgumentMin =
    "result[n, y, x, 0] = the c of the smallest source[n, y, x, c], as a float; of equal ones the "
    "first. NaN counts as the smallest.\n\n**Result size**: (N, H, W, 1).\n\nIt has no derivative: "
    "a training graph that reaches it fails, naming it.";
constexpr std::string_view kArgumentMax =
    "result[n, y, x, 0] = the c of the largest source[n, y, x, c], as a float; of equal ones the "
    "first. NaN counts as the largest.\n\n**Result size**: (N, H, W, 1).\n\nIt has no derivative: "
    "a training graph that reaches it fails, naming it.";
constexpr std::string_view kSpatialMean =
    "result[n, 0, 0, c] = the mean of source[n, y, x, c] over y and x, summed in double: a global "
    "average pooling.\n\n**Result size**: (N, 1, 1, C).";

std::vector<AttributeSpec> weight() {
  return {{.name = "weight",
           .type = AttributeType::FLOAT,
           .doc = "factor of the sum",
           .default_value = 1.0,
           .minimum = -std::numeric_limits<float>::max(),
           .maximum = std::numeric_limits<float>::max()}};
}

void append_rows(std::vector<NodeClass>& rows) {
  constexpr Axis kAxis = Axis::ROW;
  append<kAxis, Kind::MIN>(rows,
                           {"ReductionRowMinNode", "MPSNNReductionRowMinNode",
                            "The smallest value of each row", kRowMin},
                           {"ReductionRowMinGradientNode", "", "Gradient of a row minimum's source",
                            kExtremumGradientDoc});
  append<kAxis, Kind::MAX>(
      rows,
      {"ReductionRowMaxNode", "MPSNNReductionRowMaxNode", "The largest value of each row", kRowMax},
      {"ReductionRowMaxGradientNode", "", "Gradient of a row maximum's source",
       kExtremumGradientDoc});
  append<kAxis, Kind::MEAN>(
      rows, {"ReductionRowMeanNode", "MPSNNReductionRowMeanNode", "The mean of each row", kRowMean},
      {"ReductionRowMeanGradientNode", "", "Gradient of a row mean's source", kSumGradientDoc});
  append<kAxis, Kind::SUM>(
      rows, {"ReductionRowSumNode", "MPSNNReductionRowSumNode", "The sum of each row", kRowSum},
      {"ReductionRowSumGradientNode", "", "Gradient of a row sum's source", kSumGradientDoc});
}

void append_columns(std::vector<NodeClass>& rows) {
  constexpr Axis kAxis = Axis::COLUMN;
  append<kAxis, Kind::MIN>(rows,
                           {"ReductionColumnMinNode", "MPSNNReductionColumnMinNode",
                            "The smallest value of each column", kColumnMin},
                           {"ReductionColumnMinGradientNode", "",
                            "Gradient of a column minimum's source", kExtremumGradientDoc});
  append<kAxis, Kind::MAX>(rows,
                           {"ReductionColumnMaxNode", "MPSNNReductionColumnMaxNode",
                            "The largest value of each column", kColumnMax},
                           {"ReductionColumnMaxGradientNode", "",
                            "Gradient of a column maximum's source", kExtremumGradientDoc});
  append<kAxis, Kind::MEAN>(rows,
                            {"ReductionColumnMeanNode", "MPSNNReductionColumnMeanNode",
                             "The mean of each column", kColumnMean},
                            {"ReductionColumnMeanGradientNode", "",
                             "Gradient of a column mean's source", kSumGradientDoc});
  append<kAxis, Kind::SUM>(
      rows,
      {"ReductionColumnSumNode", "MPSNNReductionColumnSumNode", "The sum of each column",
       kColumnSum},
      {"ReductionColumnSumGradientNode", "", "Gradient of a column sum's source", kSumGradientDoc});
}

void append_channels(std::vector<NodeClass>& rows) {
  constexpr Axis kAxis = Axis::FEATURE_CHANNELS;
  append<kAxis, Kind::MIN>(
      rows,
      {"ReductionFeatureChannelsMinNode", "MPSNNReductionFeatureChannelsMinNode",
       "The smallest channel of each pixel", kChannelsMin},
      {"ReductionFeatureChannelsMinGradientNode", "", "Gradient of a channel minimum's source",
       kExtremumGradientDoc});
  append<kAxis, Kind::MAX>(
      rows,
      {"ReductionFeatureChannelsMaxNode", "MPSNNReductionFeatureChannelsMaxNode",
       "The largest channel of each pixel", kChannelsMax},
      {"ReductionFeatureChannelsMaxGradientNode", "", "Gradient of a channel maximum's source",
       kExtremumGradientDoc});
  append<kAxis, Kind::MEAN>(
      rows,
      {"ReductionFeatureChannelsMeanNode", "MPSNNReductionFeatureChannelsMeanNode",
       "The mean of each pixel's channels", kChannelsMean},
      {"ReductionFeatureChannelsMeanGradientNode", "", "Gradient of a channel mean's source",
       kSumGradientDoc});
  append<kAxis, Kind::SUM>(
      rows,
      {"ReductionFeatureChannelsSumNode", "MPSNNReductionFeatureChannelsSumNode",
       "The weighted sum of each pixel's channels", kChannelsSum},
      {"ReductionFeatureChannelsSumGradientNode", "", "Gradient of a channel sum's source",
       kSumGradientDoc},
      weight());
  append<kAxis, Kind::ARGUMENT_MIN>(
      rows,
      {"ReductionFeatureChannelsArgumentMinNode", "MPSNNReductionFeatureChannelsArgumentMinNode",
       "Which channel of each pixel is the smallest", kArgumentMin},
      {});
  append<kAxis, Kind::ARGUMENT_MAX>(
      rows,
      {"ReductionFeatureChannelsArgumentMaxNode", "MPSNNReductionFeatureChannelsArgumentMaxNode",
       "Which channel of each pixel is the largest", kArgumentMax},
      {});
}

}  // namespace

std::vector<NodeClass> reduction_nodes() {
  std::vector<NodeClass> rows;
  append_rows(rows);
  append_columns(rows);
  append_channels(rows);
  append<Axis::SPATIAL, Kind::MEAN>(
      rows,
      {"ReductionSpatialMeanNode", "MPSNNReductionSpatialMeanNode",
       "The mean of each channel over all pixels", kSpatialMean},
      {"ReductionSpatialMeanGradientNode", "MPSNNReductionSpatialMeanGradientNode",
       "Gradient of a spatial mean's source", kSumGradientDoc});
  return rows;
}

}  // namespace mpsnn::graph
