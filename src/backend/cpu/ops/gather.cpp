// SPDX-License-Identifier: MIT
// gather, gather_gradient: entries of an array along an axis by index. Operands are float32,
// (outer, entries, inner); an index that no entry has fails the command.
#include <algorithm>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

MPSNN_SIMD void add(const float* x, float* y, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) y[i] += x[i];
}

/// Indices that pass are the same as int32.
template <class Index>
void check_indices(const Index* indices, std::int64_t count, std::int64_t entries,
                   std::string_view label) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t index{indices[i]};
    if (index >= 0 && index < entries) continue;
    throw_expected<DeviceError>(str("\"", label, "\": index ", i), str("0 to ", entries - 1),
                                index);
  }
}

/// The indices of a run, which are checked.
const std::int32_t* indices_of(const KernelArgs& args, DataType type, std::int64_t count,
                               std::int64_t entries, std::string_view label) {
  if (type == DataType::UINT32) {
    check_indices(args.input<std::uint32_t>(1), count, entries, label);
  } else {
    check_indices(args.input<std::int32_t>(1), count, entries, label);
  }
  return args.input<std::int32_t>(1);
}

constexpr std::int64_t kInner = 512;  // inner elements that a thread sums at once

}  // namespace

// source, indices (int32, uint32) -> result
Fit fits_gather_plain(const KernelQuery& query) {
  const bool fits = query.inputs[0].type == DataType::FLOAT32 && query.inputs[0].strides.empty();
  return fits ? Fit{} : Fit::no("expected dense float32");
}

std::shared_ptr<Kernel> prepare_gather_plain(const KernelQuery& query) {
  const std::int64_t outer = query.inputs[0].dims[0], entries = query.inputs[0].dims[1],
                     inner = query.inputs[0].dims[2], count = query.outputs[0].dims[1];
  return make_kernel([=, label = std::string(query.label),
                      type = query.inputs[1].type](const KernelArgs& args) {
    const std::int32_t* const indices = indices_of(args, type, count, entries, label);
    parallel_for(outer * count, grain_for(inner * 8), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const float* const from =
            args.input<float>(0) + (i / count * entries + indices[i % count]) * inner;
        std::copy_n(from, inner, args.output<float>(0) + i * inner);
      }
    });
  });
}

// gradient, indices -> source gradient: each entry's gradients summed, in the order of the indices
Fit fits_gather_gradient_plain(const KernelQuery& query) { return fits_gather_plain(query); }

std::shared_ptr<Kernel> prepare_gather_gradient_plain(const KernelQuery& query) {
  const std::int64_t outer = query.outputs[0].dims[0], entries = query.outputs[0].dims[1],
                     inner = query.outputs[0].dims[2], count = query.inputs[0].dims[1];
  const std::int64_t parts = (inner + kInner - 1) / kInner;
  return make_kernel([=, label = std::string(query.label),
                      type = query.inputs[1].type](const KernelArgs& args) {
    const std::int32_t* const indices = indices_of(args, type, count, entries, label);
    parallel_for(
        outer * parts, grain_for((entries + count) * std::min(inner, kInner) * 4),
        [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t first = i % parts * kInner, width = std::min(kInner, inner - first);
            const float* const from = args.input<float>(0) + i / parts * count * inner + first;
            float* const to = args.output<float>(0) + i / parts * entries * inner + first;
            for (std::int64_t e = 0; e < entries; ++e) std::fill_n(to + e * inner, width, 0.0F);
            for (std::int64_t j = 0; j < count; ++j)
              add(from + j * inner, to + indices[j] * inner, width);
          }
        });
  });
}

}  // namespace mpsnn::backend::cpu
