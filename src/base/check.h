// SPDX-License-Identifier: MIT
// Small helpers for errors: text out of parts, and a check of our own rules.
#pragma once

#include <sstream>
#include <string>
#include <string_view>

#include "mpsnn/error.h"

namespace mpsnn {

/// All parts printed one after the other: str("expected ", 3, ", got ", 4).
template <class... Parts>
std::string str(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// "<subject>: expected <expected>, got <got>", the form of all texts about bad arguments.
template <class E = InvalidArgumentError, class Expected, class Got>
[[noreturn]] void throw_expected(std::string_view subject, const Expected& expected,
                                 const Got& got) {
  throw E(str(subject, ": expected ", expected, ", got ", got));
}

/// A rule that the library itself must keep. Always on: the planner's checks are cheap.
inline void check_internal(bool holds, std::string_view rule) {
  if (!holds) throw InternalError(str("mpsnn broke its own rule: ", rule));
}

}  // namespace mpsnn
