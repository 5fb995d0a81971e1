// SPDX-License-Identifier: MIT
#include "backend/metal/coding.h"

namespace mpsnn::backend::metal {

void ArchiveReader::refuse(NSString* key, std::string_view expected, std::string_view got) const {
  const std::string text = str(to_string(NSStringFromClass(kind_)), ": ", to_string(key),
                               ": expected ", expected, ", got ", got);
  @throw [NSException exceptionWithName:NSInvalidUnarchiveOperationException
                                 reason:to_ns_string(text)
                               userInfo:nil];
}

void ArchiveReader::check_there(NSString* key) const {
  if (![coder_ containsValueForKey:key]) refuse(key, "a number", "nothing");
}

std::int64_t ArchiveReader::integer(NSString* key, std::int64_t least, std::int64_t most) const {
  check_there(key);
  const std::int64_t value = [coder_ decodeInt64ForKey:key];
  if (value < least || value > most) refuse(key, str("from ", least, " to ", most), str(value));
  return value;
}

double ArchiveReader::number(NSString* key, double least, double most) const {
  check_there(key);
  const double value = [coder_ decodeDoubleForKey:key];
  if (!(value >= least && value <= most))  // nor is it NaN
    refuse(key, str("from ", least, " to ", most), str(value));
  return value;
}

}  // namespace mpsnn::backend::metal
