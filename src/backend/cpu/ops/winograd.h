// SPDX-License-Identifier: MIT
// 3 x 3 convolutions by Winograd's F(2x2, 3x3): 2.25 times fewer multiplications than the direct
// form. Its transforms only add, subtract and halve, so small integers stay exact and rounding
// errors are like the direct form's. The products are oneDNN's batched matrix multiplications, run
// block by block so that a block's transformed tiles stay in a core's cache. oneDNN has no Winograd
// kernel for float32 on x86-64.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace mpsnn::backend::cpu {

Fit fits_winograd_convolution(const KernelQuery& query);
std::shared_ptr<Kernel> prepare_winograd_convolution(const KernelQuery& query);

Fit fits_winograd_data_gradient(const KernelQuery& query);
std::shared_ptr<Kernel> prepare_winograd_data_gradient(const KernelQuery& query);

/// Row of `parameter_layout` for the transformed weights.
Fit fits_winograd_layout(const KernelQuery& query);
std::shared_ptr<Kernel> prepare_winograd_layout(const KernelQuery& query);

}  // namespace mpsnn::backend::cpu
