// SPDX-License-Identifier: MIT
#include <exception>
#include <functional>
#include <string>

/// For .mm files, whose own handlers know no classes of C++ in GNU's runtime.
std::string failure_of(const std::function<void()>& function);

std::string failure_of(const std::function<void()>& function) {
  try {
    function();
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}
