// SPDX-License-Identifier: MIT
#pragma once

#include <span>

#include "backend/backend.h"

namespace mpsnn::backend::cpu {

/// The table of kernels. Rows of one operation stand in order of preference.
std::span<const KernelRow> kernel_rows() noexcept;

}  // namespace mpsnn::backend::cpu
