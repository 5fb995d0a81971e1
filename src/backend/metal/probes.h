// SPDX-License-Identifier: MIT
// Small runs of kernels of MPS that the backend does not use, or not in that way, so that what
// documentation leaves open of them can be measured. For .mm files.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "backend/metal/objects.h"

namespace mpsnn::backend::metal {

/// Runs a probe on a command queue of its own and waits for the device; probes.mm says what each
/// takes and gives. Throws InvalidArgumentError for one that there is not, and for arguments that
/// it does not take; DeviceError with what Metal or MPS says.
std::vector<double> run_probe(id<MTLDevice> device, std::string_view name,
                              std::span<const std::uint64_t> arguments);

}  // namespace mpsnn::backend::metal
