// SPDX-License-Identifier: MIT
// The data sources of normalisations. For .mm files.
#pragma once

#include "backend/metal/weights.h"
#include "mpsnn/normalization_data_source.h"

namespace mpsnn::backend::metal {

class NormalizationWeights final : public Weights {
 public:
  NormalizationWeights(std::shared_ptr<NormalizationDataSource> source, std::size_t index,
                       const graph::WholeGraph& graph, id<MTLDevice> device);
  id make_object() override;

  // What the object is asked by MPS.
  const NormalizationDataSource& data_source() const noexcept;
  NSUInteger groups() const noexcept;
  /// Encodes the optimizer for gamma and beta, in place, where there is one. The gradients are the
  /// sums of those of all states, which are left in the first one's buffers. Returns the arrays as
  /// a state, from which MPS refreshes its own copy; nil: there is no optimizer.
  MPSCNNNormalizationGammaAndBetaState* update(id<MTLCommandBuffer> commands,
                                               NSArray<id<MTLBuffer>>* gamma_gradients,
                                               NSArray<id<MTLBuffer>>* beta_gradients);
  /// Encodes the step of the running statistics towards those of the batch; nil: they stay.
  MPSCNNNormalizationMeanAndVarianceState* move(id<MTLCommandBuffer> commands, id<MTLBuffer> mean,
                                                id<MTLBuffer> variance);

 private:
  void update(const BoundParameter& parameter, NSArray<id<MTLBuffer>>* gradients,
              id<MTLCommandBuffer> commands) const;

  Owned<MPSNNOptimizerStochasticGradientDescent*> sum_, average_;
};

}  // namespace mpsnn::backend::metal
