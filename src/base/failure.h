// SPDX-License-Identifier: MIT
#pragma once

#include <exception>
#include <string_view>

namespace mpsnn {

/// The failure of a step, as it is told to the user: an mpsnn error whose text names `label` as it
/// is; any other as an error whose text starts with the label. Memory that ran out stays an
/// OutOfMemoryError, a lost device a DeviceLostError, everything else becomes a DeviceError.
std::exception_ptr name_failure(std::exception_ptr failure, std::string_view label);

}  // namespace mpsnn
