// SPDX-License-Identifier: MIT
// Fuzz target: any bytes as an archive file.
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzzing::MemoryFile file;
  static const mpsnn::NullDevice null;
  file.write({reinterpret_cast<const char*>(data), size});
  fuzzing::restore_all(null.device(), file.path());
  return 0;
}
