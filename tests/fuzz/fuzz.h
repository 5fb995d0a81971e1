// SPDX-License-Identifier: MIT
// What the fuzz targets share: a file in memory, and reading all that an archive holds.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "mpsnn/archive.h"
#include "mpsnn/error.h"
#include "mpsnn/null_device.h"

namespace fuzzing {

/// A file that no disk holds, with other bytes each time.
class MemoryFile {
 public:
  MemoryFile() : file_(::memfd_create("archive", MFD_CLOEXEC)) {
    if (file_ < 0) std::abort();
  }
  ~MemoryFile() { ::close(file_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  void write(std::string_view bytes) const {
    if (::ftruncate(file_, 0) != 0) std::abort();
    const ssize_t written = ::pwrite(file_, bytes.data(), bytes.size(), 0);
    if (written != static_cast<ssize_t>(bytes.size())) std::abort();
  }
  std::string path() const { return "/proc/self/fd/" + std::to_string(file_); }

 private:
  int file_;
};

/// Restores every graph and kernel of a file. What is wrong with it must be told by ArchiveError;
/// any other exception leaves, which the fuzzer takes for a crash.
inline void restore_all(const mpsnn::Device& device, const std::string& path) {
  try {
    const mpsnn::Archive archive = mpsnn::KeyedUnarchiver(device).open(path);
    for (const std::string& key : archive.keys()) {
      try {
        static_cast<void>(archive.decode_graph(key));
      } catch (const mpsnn::ArchiveError&) {
        continue;  // the next one may be sound
      }
    }
    for (const std::string& key : archive.kernel_keys()) {
      try {
        static_cast<void>(archive.decode_kernel(key));
      } catch (const mpsnn::ArchiveError&) {
        continue;
      }
    }
  } catch (const mpsnn::ArchiveError&) {
    return;  // refused as a whole
  }
}

}  // namespace fuzzing
