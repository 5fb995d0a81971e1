// SPDX-License-Identifier: MIT
#include "base/failure.h"

#include <new>
#include <string>

#include "mpsnn/error.h"

namespace mpsnn {
namespace {

template <class E>
std::exception_ptr make(std::string_view label, std::string_view what) {
  return std::make_exception_ptr(E("\"" + std::string(label) + "\": " + std::string(what)));
}

std::exception_ptr translate(const std::exception_ptr& failure, std::string_view label) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    if (std::string_view(error.what()).find(label) != std::string_view::npos) return failure;
    if (dynamic_cast<const DeviceLostError*>(&error))
      return make<DeviceLostError>(label, error.what());
    if (dynamic_cast<const OutOfMemoryError*>(&error))
      return make<OutOfMemoryError>(label, error.what());
    return make<DeviceError>(label, error.what());
  } catch (const std::bad_alloc&) {
    return make<OutOfMemoryError>(label, "the host's memory ran out");
  } catch (const std::exception& error) {
    return make<DeviceError>(label, error.what());
  } catch (...) {
    return make<DeviceError>(label, "failed with an exception of unknown type");
  }
}

}  // namespace

std::exception_ptr name_failure(std::exception_ptr failure, std::string_view label) {
  try {
    return translate(failure, label);
  } catch (const std::bad_alloc&) {
    return failure;  // no memory for the text either: the error is told without the label
  }
}

}  // namespace mpsnn
