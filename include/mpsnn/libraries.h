// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

namespace mpsnn {

/// A library that the backends of this build use.
struct Library {
  std::string name;     // "oneDNN"
  std::string version;  // "3.2.1", as the library itself tells; "" where it does not
  std::string detail;   // what it was built with or has chosen on this machine; may be ""
};

/// The libraries of this build: for reports of problems.
std::vector<Library> libraries();

}  // namespace mpsnn
