// SPDX-License-Identifier: MIT
#include "backend/cpu/ops/convolution.h"

#include <algorithm>
#include <map>

#include "backend/cpu/parallel.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

/// Where the operands of each of the three operations stand.
struct Operands {
  const TensorDesc& source;
  const TensorDesc& weights;
  const TensorDesc& result;
};

Operands operands_of(const KernelQuery& query) {
  switch (query.op) {
    case OpId::convolution:
      return {query.inputs[0], query.inputs[1], query.outputs[0]};
    case OpId::convolution_data_gradient:
      return {query.outputs[0], query.inputs[1], query.inputs[0]};
    case OpId::convolution_weights_gradient:
      return {query.inputs[1], query.outputs[0], query.inputs[0]};
    default:
      throw InternalError(str(name_of(query.op), " is no convolution"));
  }
}

void check_case(const ConvolutionCase& c, const Operands& operands) {
  const std::vector<std::int64_t> weights = {c.outputs, c.y.kernel, c.x.kernel, c.inputs_a_group()};
  check_internal(c.groups >= 1 && c.inputs % c.groups == 0 && c.outputs % c.groups == 0,
                 "a convolution's channels are multiples of its groups");
  check_internal(operands.weights.dims == weights,
                 "a convolution's weights are OHWI and fit its channels");
  check_internal(operands.source.image().n == operands.result.image().n,
                 "a convolution keeps the number of images");
  check_internal(c.y.stride >= 1 && c.x.stride >= 1 && c.y.dilation >= 1 && c.x.dilation >= 1,
                 "a convolution's strides and dilations are at least 1");
}

/// A window that is the whole source: every value of it is a channel of one pixel. Images and OHWI
/// weights lie in memory as that pixel and its weights would.
bool covers_source(const ConvolutionCase& c) {
  const auto covers = [](const ConvolutionAxis& a) {
    return a.result == 1 && a.kernel == a.source && a.pad == 0 && a.dilation == 1;
  };
  return c.groups == 1 && c.taps() > 1 && covers(c.y) && covers(c.x);
}

void flatten(ConvolutionCase& c) {
  c.inputs *= c.taps();
  c.y = c.x = {.source = 1, .result = 1, .kernel = 1, .stride = 1, .dilation = 1, .pad = 0};
}

/// Images of one pixel each lie in memory as the pixels of one row, and a row is what kernels share
/// weights over.
bool are_pixels(const ConvolutionCase& c) {
  const auto is_pixel = [](const ConvolutionAxis& a) {
    return a.source == 1 && a.result == 1 && a.kernel == 1 && a.pad == 0;
  };
  return c.images > 1 && is_pixel(c.y) && is_pixel(c.x);
}

void merge_images(ConvolutionCase& c) {
  c.x = {.source = c.images, .result = c.images, .kernel = 1, .stride = 1, .dilation = 1, .pad = 0};
  c.images = 1;
}

}  // namespace

ConvolutionCase read_convolution(const KernelQuery& query) {
  const AttributeMap& attributes = query.attributes;
  const Operands operands = operands_of(query);
  const ImageSize source = operands.source.image(), result = operands.result.image();
  ConvolutionCase c;
  c.images = source.n;
  c.groups = get_int(attributes, "groups");
  c.inputs = source.channels;
  c.outputs = result.channels;
  c.y = {source.height,
         result.height,
         get_int(attributes, "kernel_height"),
         get_int(attributes, "stride_y"),
         get_int(attributes, "dilation_y"),
         get_int(attributes, "pad_top")};
  c.x = {source.width,
         result.width,
         get_int(attributes, "kernel_width"),
         get_int(attributes, "stride_x"),
         get_int(attributes, "dilation_x"),
         get_int(attributes, "pad_left")};
  c.edge_mode = static_cast<ImageEdgeMode>(get_int(attributes, "edge_mode"));
  c.bias =
      query.op == OpId::convolution_weights_gradient ? has_output(query, 1) : has_input(query, 2);
  if (query.op == OpId::convolution) {
    c.neuron = {static_cast<NeuronType>(get_int(attributes, "neuron_type")),
                static_cast<float>(get_float(attributes, "neuron_a")),
                static_cast<float>(get_float(attributes, "neuron_b")),
                static_cast<float>(get_float(attributes, "neuron_c"))};
  }
  check_case(c, operands);
  // A transposed convolution's bias is one a channel, not one a value of the window.
  const bool is_flat = query.op != OpId::convolution_data_gradient || !c.bias;
  if (is_flat && covers_source(c)) flatten(c);
  if (are_pixels(c)) merge_images(c);
  return c;
}

Fit fits_convolution_case(const KernelQuery& query, bool zero_only) {
  const Fit plain = all_plain_float32(query);
  if (!plain.yes) return plain;
  const ConvolutionCase c = read_convolution(query);
  const bool clamp = c.edge_mode == ImageEdgeMode::CLAMP;
  if (c.edge_mode != ImageEdgeMode::ZERO && (zero_only || !clamp)) {
    return Fit::no(str("edge_mode: expected ZERO", zero_only ? "" : " or CLAMP", ", got ",
                       clamp ? "CLAMP" : str("mode ", static_cast<int>(c.edge_mode))));
  }
  return fits_fused_neuron(c.neuron.type);
}

Fit fits_fused_neuron(NeuronType type) {
  if (type != NeuronType::PRELU && type >= NeuronType::NONE && type <= NeuronType::GELU) return {};
  return Fit::no(
      str("neuron_type: expected one but PRELU to fuse, got type ", static_cast<int>(type)));
}

std::shared_ptr<Kernel> with_neuron_after(std::shared_ptr<Kernel> kernel, const Neuron& neuron,
                                          std::int64_t count, std::string_view row) {
  kernel->row = row;
  auto both = make_kernel(
      [kernel, neuron, count](const KernelArgs& args) {
        kernel->run(args);
        float* const result = args.output<float>(0);
        parallel_for(count, grain_for(8), [&](std::int64_t begin, std::int64_t end) {
          apply_neuron(neuron, result + begin, result + begin, end - begin);
        });
      },
      kernel->scratch_bytes);
  both->input_layouts = kernel->input_layouts;
  return both;
}

AxisTaps taps_of(const ConvolutionAxis& axis, ImageEdgeMode edge_mode) {
  AxisTaps taps(static_cast<std::size_t>(axis.result));
  for (std::int64_t p = 0; p < axis.result; ++p) {
    for (std::int64_t k = 0; k < axis.kernel; ++k) {
      const std::int64_t at = p * axis.stride - axis.pad + k * axis.dilation;
      const std::int64_t inside = std::clamp<std::int64_t>(at, 0, axis.source - 1);
      if (at == inside || edge_mode == ImageEdgeMode::CLAMP) taps[p].push_back({k, inside});
    }
  }
  return taps;
}

AxisTaps inverse(const AxisTaps& taps, std::int64_t sources) {
  AxisTaps result(static_cast<std::size_t>(sources));
  for (std::size_t p = 0; p < taps.size(); ++p) {
    for (const Tap& tap : taps[p]) result[tap.at].push_back({tap.k, static_cast<std::int64_t>(p)});
  }
  for (std::vector<Tap>& list : result) {
    std::stable_sort(list.begin(), list.end(),
                     [](const Tap& a, const Tap& b) { return a.k < b.k; });
  }
  return result;
}

std::vector<Tile> make_tiles(const AxisTaps& taps, std::size_t size) {
  std::map<std::vector<std::int64_t>, std::vector<std::int64_t>> positions_by_k;
  for (std::size_t p = 0; p < taps.size(); ++p) {
    std::vector<std::int64_t> k;
    for (const Tap& tap : taps[p]) k.push_back(tap.k);
    positions_by_k[k].push_back(static_cast<std::int64_t>(p));
  }
  std::vector<Tile> tiles;
  for (const auto& [k, positions] : positions_by_k) {
    for (std::size_t first = 0; first < positions.size(); first += size) {
      Tile tile;
      tile.k = k;
      tile.count = static_cast<std::int64_t>(std::min(size, positions.size() - first));
      for (std::size_t i = 0; i < size; ++i) {
        tile.positions.push_back(positions[std::min(first + i, positions.size() - 1)]);
      }
      for (std::size_t tap = 0; tap < k.size(); ++tap) {
        for (const std::int64_t position : tile.positions)
          tile.at.push_back(taps[position][tap].at);
      }
      tiles.push_back(std::move(tile));
    }
  }
  return tiles;
}

}  // namespace mpsnn::backend::cpu
