// SPDX-License-Identifier: MIT
// parameter_layout: copies of weights in the order that a convolution kernel wants. Made anew only
// when the parameter's version has moved on since the last copy.
#include "backend/cpu/ops/parameter_layout.h"

#include <algorithm>

#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/check.h"
#if defined(MPSNN_WITH_ONEDNN)
#include "backend/cpu/ops/onednn.h"
#endif

namespace mpsnn::backend::cpu {
namespace {

/// parameter, its version?, the copy's version? -> copy, copy's version?
enum { PARAMETER = 0, COPY = 0 };

template <class Wanted>
const Wanted* wanted_layout(const KernelQuery& query) {
  return dynamic_cast<const Wanted*>(query.outputs[COPY].layout.get());
}

Fit fits_parameter(const KernelQuery& query, bool knows_layout, std::string_view maker) {
  const TensorDesc& parameter = query.inputs[PARAMETER];
  if (parameter.type != DataType::FLOAT32 || parameter.layout) {
    return Fit::no(str("parameter: expected plain float32, got ", to_string(parameter)));
  }
  if (knows_layout) return {};
  return Fit::no(str("layout: expected one of ", maker, ", got ", to_string(query.outputs[COPY])));
}

/// Strides, in floats, of a layout's block inside of an OHWI array.
struct BlockSource {
  std::int64_t tap, summed, lane;
};

/// Block `block` of `group`: to[tap][summed][lane].
void fill_block(const BlockedLayout& layout, std::int64_t group, std::int64_t block,
                const float* ohwi, float* to) {
  const std::int64_t output_stride = layout.taps * layout.inputs;
  const BlockSource from = layout.blocks_are_outputs ? BlockSource{layout.inputs, 1, output_stride}
                                                     : BlockSource{layout.inputs, output_stride, 1};
  const float* first = ohwi + group * layout.outputs * output_stride + block * kLanes * from.lane;
  const std::int64_t lanes = std::min(kLanes, layout.blocked() - block * kLanes);
  for (std::int64_t tap = 0; tap < layout.taps; ++tap) {
    for (std::int64_t s = 0; s < layout.summed(); ++s, to += kLanes) {
      const float* value = first + tap * from.tap + s * from.summed;
      for (std::int64_t lane = 0; lane < kLanes; ++lane)
        to[lane] = lane < lanes ? value[lane * from.lane] : 0;
    }
  }
}

}  // namespace

void CopyIfStale::run(const KernelArgs& args) const {
  if (args.inputs.size() < 3) {  // the copy lives in this run only
    make_->run(args);
    return;
  }
  const std::int64_t version = *args.input<std::int64_t>(1);
  if (*args.input<std::int64_t>(2) == version) return;
  make_->run(args);
  *args.output<std::int64_t>(1) = version;
}

BlockedLayout::BlockedLayout(const ConvolutionCase& c, bool outputs_are_blocked)
    : groups(c.groups),
      taps(c.taps()),
      inputs(c.inputs_a_group()),
      outputs(c.outputs_a_group()),
      blocks_are_outputs(outputs_are_blocked) {
  name = str("blocked16.", blocks_are_outputs ? "outputs" : "inputs", ".", taps, "x", inputs,
             groups == 1 ? "" : str(".groups", groups));
  bytes = static_cast<std::size_t>(groups * blocks() * block_size()) * sizeof(float);
}

std::int64_t BlockedLayout::blocks() const noexcept { return (blocked() + kLanes - 1) / kLanes; }
std::int64_t BlockedLayout::block_size() const noexcept { return taps * summed() * kLanes; }

Fit fits_parameter_layout_plain(const KernelQuery& query) {
  return fits_parameter(query, wanted_layout<BlockedLayout>(query) != nullptr,
                        "the plain convolution kernels");
}

std::shared_ptr<Kernel> prepare_parameter_layout_plain(const KernelQuery& query) {
  return std::make_shared<CopyIfStale>(
      make_kernel([layout = *wanted_layout<BlockedLayout>(query)](const KernelArgs& args) {
        const std::int64_t size = layout.block_size(), blocks = layout.blocks();
        parallel_for(layout.groups * blocks, grain_for(size * 8),
                     [&](std::int64_t begin, std::int64_t end) {
                       for (std::int64_t i = begin; i < end; ++i) {
                         fill_block(layout, i / blocks, i % blocks, args.input<float>(PARAMETER),
                                    args.output<float>(COPY) + i * size);
                       }
                     });
      }));
}

#if defined(MPSNN_WITH_ONEDNN)
namespace {

/// The order OHWI for the dimensions that oneDNN sees: (o, i, h, w), or (g, o, i, h, w).
dnnl::memory::desc ohwi_order(const dnnl::memory::dims& dims) {
  const std::size_t n = dims.size();
  const std::int64_t in = dims[n - 3], row = dims[n - 1] * in, filter = dims[n - 2] * row;
  dnnl::memory::dims strides = {filter, 1, row, in};
  if (n == 5) strides.insert(strides.begin(), dims[1] * filter);
  return {dims, dnnl::memory::data_type::f32, strides};
}

}  // namespace

Fit fits_parameter_layout_onednn(const KernelQuery& query) {
  return fits_parameter(query, wanted_layout<onednn::WeightsLayout>(query) != nullptr, "oneDNN");
}

std::shared_ptr<Kernel> prepare_parameter_layout_onednn(const KernelQuery& query) {
  using From = onednn::Operand::From;
  const dnnl::memory::desc to = wanted_layout<onednn::WeightsLayout>(query)->desc;
  const dnnl::memory::desc from = ohwi_order(to.get_dims());
  const dnnl::reorder::primitive_desc reorder(onednn::engine(), from, onednn::engine(), to,
                                              onednn::make_attributes());
  std::vector<onednn::Step> steps;
  steps.emplace_back(dnnl::reorder(reorder),
                     std::vector<onednn::Operand>{
                         {DNNL_ARG_FROM, from, From::INPUT, PARAMETER},
                         {DNNL_ARG_TO, to, From::OUTPUT, COPY},
                         {DNNL_ARG_SCRATCHPAD, reorder.scratchpad_desc(), From::SCRATCH, 0}});
  auto kernel = std::make_shared<onednn::StepsKernel>(std::move(steps));
  kernel->scratch_bytes = reorder.scratchpad_desc().get_size();
  kernel->row = "parameter_layout/onednn";  // the runtime names the outer kernel only
  return std::make_shared<CopyIfStale>(std::move(kernel));
}
#endif

}  // namespace mpsnn::backend::cpu
