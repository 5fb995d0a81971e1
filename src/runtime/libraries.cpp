// SPDX-License-Identifier: MIT
#include "mpsnn/libraries.h"

#include "base/library.h"

#ifdef MPSNN_WITH_CPU
namespace mpsnn::backend::cpu {
std::vector<base::LibraryInfo> libraries();  // src/backend/cpu/libraries.cpp
}  // namespace mpsnn::backend::cpu
#endif

namespace mpsnn {

std::vector<Library> libraries() {
  std::vector<Library> found;
#ifdef MPSNN_WITH_CPU
  for (const base::LibraryInfo& one : backend::cpu::libraries())
    found.push_back({one.name, one.version, one.detail});
#endif
  return found;
}

}  // namespace mpsnn
