// SPDX-License-Identifier: MIT
#include "mpsnn/libraries.h"

#ifdef MPSNN_WITH_CPU
namespace mpsnn::backend::cpu {
std::vector<Library> libraries();  // src/backend/cpu/libraries.cpp
}  // namespace mpsnn::backend::cpu
#endif

namespace mpsnn {

std::vector<Library> libraries() {
#ifdef MPSNN_WITH_CPU
  return backend::cpu::libraries();
#else
  return {};
#endif
}

}  // namespace mpsnn
