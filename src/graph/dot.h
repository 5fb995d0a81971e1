// SPDX-License-Identifier: MIT
// Graphviz source, written the same way for networks and plans.
#pragma once

#include <string>
#include <string_view>

namespace mpsnn::graph {

inline constexpr std::string_view kDotHead =
    "  rankdir=TB;\n"
    "  node [fontname=\"Helvetica\", fontsize=10, shape=box, style=filled, "
    "fillcolor=\"#f6f1e3\"];\n"
    "  edge [fontname=\"Helvetica\", fontsize=9];\n";
inline constexpr std::string_view kDotSource = "shape=ellipse, style=filled, fillcolor=\"#dceefb\"";
inline constexpr std::string_view kDotResult = "shape=ellipse, style=filled, fillcolor=\"#dff3e1\"";
inline constexpr std::string_view kDotParameter = "shape=ellipse, style=dashed";
inline constexpr std::string_view kDotTemporary = "shape=ellipse, style=solid";
inline constexpr std::string_view kDotGradient = "fillcolor=\"#fbe3dc\"";

/// The text as a quoted string of the DOT language; line ends become "\n" there.
inline std::string dot_string(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (c == '\n') {
      quoted += "\\n";
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

}  // namespace mpsnn::graph
