// SPDX-License-Identifier: MIT
// Optimizers used directly on arrays. Values, gradient, version, time step?, moments -> the same
// but the gradient.
#include "backend/metal/optimizer.h"
#include "backend/metal/kernels.h"
#include "mpsnn/data_source.h"

namespace mpsnn::backend::metal {
namespace {

/// All but the counters, which are the host's.
Fit fits_update(const KernelQuery& query, std::size_t counters) {
  for (const auto& operands : {query.inputs.first(2), query.inputs.subspan(2 + counters)}) {
    for (const TensorDesc& desc : operands) {
      if (desc.type != DataType::FLOAT32 || !is_dense(desc))
        return Fit::no("expected dense float32, got " + mpsnn::to_string(desc));
    }
  }
  return {};
}

std::shared_ptr<Kernel> prepare_update(const KernelQuery& query, std::size_t counters) {
  const std::int64_t count = query.outputs[0].count();
  const std::size_t first = 2 + counters, end = query.inputs.size();
  const std::shared_ptr<Optimizer> optimizer = mpsnn::make_optimizer(query.attributes);
  const Lazy<MPSNNOptimizer*> kernel([=](id<MTLDevice> device) {
    return [metal::make_optimizer(*optimizer, device).get() retain];
  });
  return make_single(query, [=](const Site& site) {
    // The counters are the host's: it must know whether this update happens.
    if (site.stream().is_predicated()) {
      if (!site.settle()) return;
      site.stream().set_predicates({});
    }
    NSMutableArray<MPSVector*>* moments = [NSMutableArray array];
    for (std::size_t i = first; i < end; ++i) [moments addObject:site.vector(site.input(i), count)];
    const auto counter = [&](std::size_t i) {
      return reinterpret_cast<std::int64_t*>(site.output(i));
    };
    MPSNNOptimizer* own = kernel.on(site);
    [own setLearningRate:static_cast<float>(site.scalars()[0])];
    encode_optimizer({site.vector(site.input(1), count), site.vector(site.input(0), count),
                      site.vector(site.output(0), count), moments, counters > 1 ? *counter(2) : 0},
                     own, site.commands());
    for (std::size_t i = 1; i <= counters; ++i) ++*counter(i);
  });
}

}  // namespace

Fit fits_optimizer_stochastic_gradient_descent(const KernelQuery& query) {
  return fits_update(query, 1);
}
std::shared_ptr<Kernel> prepare_optimizer_stochastic_gradient_descent(const KernelQuery& query) {
  return prepare_update(query, 1);
}

Fit fits_optimizer_adam(const KernelQuery& query) { return fits_update(query, 2); }
std::shared_ptr<Kernel> prepare_optimizer_adam(const KernelQuery& query) {
  return prepare_update(query, 2);
}

Fit fits_optimizer_rms_prop(const KernelQuery& query) { return fits_update(query, 1); }
std::shared_ptr<Kernel> prepare_optimizer_rms_prop(const KernelQuery& query) {
  return prepare_update(query, 1);
}

}  // namespace mpsnn::backend::metal
