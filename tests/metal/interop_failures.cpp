// SPDX-License-Identifier: MIT
#include <exception>
#include <functional>
#include <string>

/// For test_metal_interop.mm.
std::string failure_of(const std::function<void()>& function);

std::string failure_of(const std::function<void()>& function) {
  try {
    function();
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}
