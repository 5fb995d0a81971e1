// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
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
/// Weights as they were given, and what explains those of 8 bits.
inline constexpr std::string_view kHalfTensor = "F16", kByteTensor = "U8";
inline constexpr std::string_view kRangesTensor = ".ranges", kTableTensor = ".lookup_table";

/// Data sources and objects of a program's own classes: the class's name and what it stored. Arrays
/// are tensors, `<data source>.secure.<key>` and `objects/<object's key>/<key>`; their keys are
/// listed, as other names may begin like these: an object "a" and an object "a/b".
inline constexpr std::string_view kSecureCoding = "secure_coding";
inline constexpr std::string_view kSecureTensor = "secure.", kSecureArrays = "arrays";

inline std::string object_tensors(const std::string& key) { return "objects/" + key + "/"; }

/// The state of the kernel of a key, bytes of kByteTensor.
inline std::string kernel_tensor(const std::string& key) { return "kernels/" + key + "/state"; }

}  // namespace mpsnn::runtime
