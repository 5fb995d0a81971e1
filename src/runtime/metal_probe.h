// SPDX-License-Identifier: MIT
// What Metal's own kernels do, for mpsnn.measurements: no part of the public API.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mpsnn/device.h"

namespace mpsnn::metal::detail {

/// Runs a probe of the backend's (Interop::probe) and waits for it. Throws UnsupportedError where
/// the device is no Metal one.
std::vector<double> probe(const Device& device, const std::string& name,
                          const std::vector<std::uint64_t>& arguments);

}  // namespace mpsnn::metal::detail
