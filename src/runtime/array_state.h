// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "base/kernel.h"
#include "mpsnn/array.h"
#include "runtime/buffer_state.h"

namespace mpsnn::runtime {

/// A strided view of a buffer.
struct ArrayState {
  ArrayKind kind;
  Buffer buffer;
  std::size_t offset = 0;
  /// dims (matrices, rows, columns), (vectors, length) or the shape. Strides empty where dense.
  TensorDesc desc;
  std::string label = {};

  const std::shared_ptr<BufferState>& resource() const noexcept { return buffer.state(); }
};

}  // namespace mpsnn::runtime
