// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace mpsnn::base {

/// A library that a backend was built with; mpsnn/libraries.h tells what the texts are.
struct LibraryInfo {
  std::string name, version, detail;
};

}  // namespace mpsnn::base
