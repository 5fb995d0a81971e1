// SPDX-License-Identifier: MIT
// The safetensors format: eight bytes header length, a JSON header, then the tensors' bytes without
// gaps. https://github.com/huggingface/safetensors
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace mpsnn::base {

/// Whether a name would be a path out of the folder of a tool that unpacks archives: an absolute
/// one, one with "..", a backslash or a zero byte.
bool leads_elsewhere(std::string_view name) noexcept;

/// A tensor of an open file; the bytes belong to the file.
struct TensorView {
  std::string dtype;  // "F32", "I64" …
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

/// An open file whose header was checked as a whole: each tensor's name leads nowhere else, its
/// type is known, its bytes are as many as its shape says, aligned for its type, inside the file,
/// and no byte of the data is shared or unaccounted for.
class SafetensorsFile {
 public:
  /// Throws FileError where the file cannot be read, ArchiveError naming the file and the problem.
  explicit SafetensorsFile(const std::string& path);

  const std::map<std::string, TensorView, std::less<>>& tensors() const noexcept {
    return tensors_;
  }
  const std::map<std::string, std::string>& metadata() const noexcept { return metadata_; }
  /// Where the tensors' bytes lie.
  const std::shared_ptr<const MappedFile>& file() const noexcept { return file_; }

 private:
  void parse_header(std::string_view header, std::span<const std::byte> data);

  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, TensorView, std::less<>> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// A tensor to be written; the bytes are read while writing.
struct TensorToWrite {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

/// Writes a file atomically, tensors in an order that keeps each aligned. Throws
/// InvalidArgumentError for a name that stands twice, leads elsewhere or is not UTF-8, FileError.
void write_safetensors(const std::string& path, std::vector<TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace mpsnn::base
