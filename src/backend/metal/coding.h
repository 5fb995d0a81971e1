// SPDX-License-Identifier: MIT
// What our classes read of an archive, which may come from anywhere. For .mm files.
#pragma once

#include <cstdint>

#include "backend/metal/objects.h"

namespace mpsnn::backend::metal {

/// The numbers of an object in an archive. They are raised about, as NSCoder's callers expect it:
/// NSInvalidUnarchiveOperationException names class and key, what was expected and what came.
class ArchiveReader {
 public:
  /// `kind`: the class that reads.
  ArchiveReader(NSCoder* coder, Class kind) : coder_(coder), kind_(kind) {}

  /// Raises where the key is missing or the number lies outside of what the class writes.
  std::int64_t integer(NSString* key, std::int64_t least, std::int64_t most) const;
  double number(NSString* key, double least, double most) const;

 private:
  void check_there(NSString* key) const;
  [[noreturn]] void refuse(NSString* key, std::string_view expected, std::string_view got) const;

  NSCoder* coder_;
  Class kind_;
};

}  // namespace mpsnn::backend::metal
