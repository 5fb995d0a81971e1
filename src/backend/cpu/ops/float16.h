// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "backend/backend.h"

namespace mpsnn::backend::cpu {

/// The last row of every operation: images of float16. Asks the operation's other rows with float32
/// in the place of float16, and converts on the way in and out; all sums are float32's.
Fit fits_float16(const KernelQuery& query);
std::shared_ptr<Kernel> prepare_float16(const KernelQuery& query);

}  // namespace mpsnn::backend::cpu
