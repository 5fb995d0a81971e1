// SPDX-License-Identifier: MIT
// matrix_multiplication: oneDNN's product, which takes any strides, and a plain one.
#include <algorithm>
#include <vector>

#include "backend/cpu/ops/kernel_tools.h"
#if defined(MPSNN_WITH_ONEDNN)
#include "backend/cpu/ops/onednn.h"
#endif
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

/// Where the elements of matrices lie, in elements.
struct Strides {
  std::int64_t matrix, row, column;

  explicit Strides(const TensorDesc& desc)
      : matrix(desc.dims[1] * desc.dims[2]), row(desc.dims[2]), column(1) {
    if (desc.strides.empty()) return;
    const auto size = static_cast<std::int64_t>(size_of(desc.type));
    matrix = desc.strides[0] / size;
    row = desc.strides[1] / size;
    column = desc.strides[2] / size;
  }
};

}  // namespace

#if defined(MPSNN_WITH_ONEDNN)
namespace {

dnnl::memory::desc matrices(const TensorDesc& desc) {
  const Strides strides(desc);
  return {{desc.dims[0], desc.dims[1], desc.dims[2]},
          dnnl::memory::data_type::f32,
          {strides.matrix, strides.row, strides.column}};
}

}  // namespace

Fit fits_matrix_multiplication_onednn(const KernelQuery& query) {
  for (const TensorDesc* desc : {&query.inputs[0], &query.inputs[1], &query.outputs[0]}) {
    if (desc->type != DataType::FLOAT32) return Fit::no(str(name_of(desc->type), " operands"));
    const Strides strides(*desc);
    if (strides.column != 1 && strides.row != 1)
      return Fit::no("neither rows nor columns lie together");
  }
  return {};
}

std::shared_ptr<Kernel> prepare_matrix_multiplication_onednn(const KernelQuery& query) {
  const auto alpha = static_cast<float>(get_float(query.attributes, "alpha")),
             beta = static_cast<float>(get_float(query.attributes, "beta"));
  dnnl::primitive_attr attributes = onednn::make_attributes();
  dnnl::post_ops after;
  if (alpha != 1) after.append_eltwise(dnnl::algorithm::eltwise_linear, alpha, 0);
  if (beta != 0) after.append_sum(beta);
  attributes.set_post_ops(after);
  const dnnl::matmul::primitive_desc chosen(onednn::engine(), matrices(query.inputs[0]),
                                            matrices(query.inputs[1]), matrices(query.outputs[0]),
                                            attributes);
  using From = onednn::Operand::From;
  onednn::Step step(dnnl::matmul(chosen),
                    {{DNNL_ARG_SRC, chosen.src_desc(), From::INPUT, 0},
                     {DNNL_ARG_WEIGHTS, chosen.weights_desc(), From::INPUT, 1},
                     {DNNL_ARG_DST, chosen.dst_desc(), From::OUTPUT, 0},
                     {DNNL_ARG_SCRATCHPAD, chosen.scratchpad_desc(), From::SCRATCH, 0}});
  std::vector<onednn::Step> steps;
  steps.push_back(std::move(step));
  auto kernel = std::make_shared<onednn::StepsKernel>(std::move(steps));
  kernel->scratch_bytes = chosen.scratchpad_desc().get_size();
  return kernel;
}
#endif

Fit fits_matrix_multiplication_plain(const KernelQuery& query) {
  for (const TensorDesc* desc : {&query.inputs[0], &query.inputs[1], &query.outputs[0]}) {
    if (desc->type != DataType::FLOAT32) return Fit::no(str(name_of(desc->type), " operands"));
  }
  return {};
}

std::shared_ptr<Kernel> prepare_matrix_multiplication_plain(const KernelQuery& query) {
  const Strides left(query.inputs[0]), right(query.inputs[1]), result(query.outputs[0]);
  const std::int64_t batch = query.outputs[0].dims[0], m = query.outputs[0].dims[1],
                     n = query.outputs[0].dims[2], k = query.inputs[0].dims[2];
  const std::int64_t left_step = query.inputs[0].dims[0] == 1 ? 0 : left.matrix,
                     right_step = query.inputs[1].dims[0] == 1 ? 0 : right.matrix;
  const auto alpha = static_cast<float>(get_float(query.attributes, "alpha")),
             beta = static_cast<float>(get_float(query.attributes, "beta"));
  return make_kernel([=](const KernelArgs& args) {
    const float* const a = args.input<float>(0);
    const float* const b = args.input<float>(1);
    float* const c = args.output<float>(0);
    parallel_for(batch * m, grain_for(k * n * 8), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const float* const x = a + row / m * left_step + row % m * left.row;
        const float* const y = b + row / m * right_step;
        float* const z = c + row / m * result.matrix + row % m * result.row;
        for (std::int64_t j = 0; j < n; ++j) {
          float sum = 0;
          for (std::int64_t i = 0; i < k; ++i)
            sum += x[i * left.column] * y[i * right.row + j * right.column];
          float& to = z[j * result.column];
          to = beta == 0 ? alpha * sum : alpha * sum + beta * to;
        }
      }
    });
  });
}

}  // namespace mpsnn::backend::cpu
