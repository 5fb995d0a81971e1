// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

namespace mpsnn::runtime {

/// The entry of the file's metadata that holds the document.
inline constexpr std::string_view kArchiveKey = "mpsnn";
inline constexpr std::string_view kArchiveFormat = "mpsnn";
/// Raised when a file could no longer be read rightly by an older library.
inline constexpr std::int64_t kArchiveVersion = 1;
/// `<data source>.<parameter>.time_step`: updates made to the parameter.
inline constexpr std::string_view kTimeStepTensor = ".time_step";
inline constexpr std::string_view kFloatTensor = "F32", kCounterTensor = "I64";

}  // namespace mpsnn::runtime
