// SPDX-License-Identifier: MIT
// What the fuzz targets share: a file in memory, and reading all that an archive holds.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "mpsnn/archive.h"
#include "mpsnn/coding.h"
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

/// A class of a program's own: a number, a text, a list and an array.
struct Settings final : mpsnn::SecureCoding {
  double level = 0.5;
  std::string note = "a text";
  std::vector<std::int64_t> sizes = {3, -4};
  mpsnn::Coder::Array curve = {{2, 2}, {1, 2, 3, 4}};

  std::string secure_class_name() const override { return "Settings"; }
  void encode(mpsnn::Coder& coder) const override {
    coder.encode("level", level);
    coder.encode("note", note);
    coder.encode("sizes", sizes);
    coder.encode("curve", curve);
  }
  static std::shared_ptr<mpsnn::SecureCoding> decode(const mpsnn::Coder& coder) {
    auto made = std::make_shared<Settings>();
    made->level = coder.decode_as<double>("level");
    made->note = coder.decode_as<std::string>("note");
    made->sizes = coder.decode_as<std::vector<std::int64_t>>("sizes");
    made->curve = coder.decode_array("curve");
    return made;
  }
};

/// Calls `restore` with each key; one that is refused leaves the next, which may be sound.
template <class Restore>
void restore_each(const std::vector<std::string>& keys, const Restore& restore) {
  for (const std::string& key : keys) {
    try {
      static_cast<void>(restore(key));
    } catch (const mpsnn::ArchiveError&) {
      continue;
    }
  }
}

/// Restores all that a file holds. What is wrong with it must be told by ArchiveError;
/// any other exception leaves, which the fuzzer takes for a crash.
inline void restore_all(const mpsnn::Device& device, const std::string& path) {
  try {
    mpsnn::KeyedUnarchiver unarchiver(device);
    unarchiver.allow("Settings", &Settings::decode);
    const mpsnn::Archive archive = unarchiver.open(path);
    restore_each(archive.keys(), [&](const auto& key) { return archive.decode_graph(key); });
    restore_each(archive.kernel_keys(),
                 [&](const auto& key) { return archive.decode_kernel(key); });
    restore_each(archive.recurrent_layer_keys(),
                 [&](const auto& key) { return archive.decode_recurrent_layer(key); });
    restore_each(archive.data_source_keys(),
                 [&](const auto& key) { return archive.decode_data_source(key); });
    restore_each(archive.object_keys(),
                 [&](const auto& key) { return archive.decode_object(key); });
  } catch (const mpsnn::ArchiveError&) {
    return;  // refused as a whole
  }
}

}  // namespace fuzzing
