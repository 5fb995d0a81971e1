// SPDX-License-Identifier: MIT
#pragma once

#include <memory>

#include "backend/backend.h"

namespace mpsnn::backend::cpu {

/// The processors of this machine, all of them: kernels run on OpenMP's threads.
std::shared_ptr<backend::Device> make_device();
/// Another one, whose kernels run on so many threads. Throws InvalidArgumentError for more than
/// OpenMP has.
std::shared_ptr<backend::Device> make_device(int threads);

}  // namespace mpsnn::backend::cpu
