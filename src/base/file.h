// SPDX-License-Identifier: MIT
// Files: read by mapping, written as a whole or not at all.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace mpsnn::base {

/// A regular file, mapped read-only. The bytes are valid for as long as the object lives.
class MappedFile {
 public:
  /// Throws FileError with the path and the system's reason.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }

  /// A part of bytes() that may be written: each page is the file's until its first write, and a
  /// page of one's own then. The file and other such parts do not change.
  struct Writable {
    std::byte* data = nullptr;
    std::shared_ptr<void> owner;  // the part lives as long as this
  };
  /// Throws FileError where the system has no more mappings.
  Writable writable(std::span<const std::byte> part) const;

 private:
  std::string path_;
  int file_ = -1;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Writes the parts one after another to a temporary file beside `path`, forces it to the disk and
/// renames it: a reader, or a crash, sees the old contents or the new ones. A symbolic link is
/// followed. Throws FileError; the temporary file is removed then.
void write_file_atomically(const std::string& path,
                           std::span<const std::span<const std::byte>> parts);

}  // namespace mpsnn::base
