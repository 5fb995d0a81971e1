// SPDX-License-Identifier: MIT
// What the pooling kernels share: the case in one struct.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/cpu/ops/kernel_tools.h"

namespace mpsnn::backend::cpu {

/// One axis of a pooling: window p reads the positions first(p) + i * dilation, i in [0, kernel).
struct PoolingAxis {
  std::int64_t source, result, kernel, stride, pad, dilation = 1;
  std::int64_t first(std::int64_t p) const noexcept { return p * stride - pad; }
};

struct Pooling {
  std::int64_t images, channels;
  PoolingAxis y, x;
  bool zero_edges;

  std::int64_t source_row() const noexcept { return x.source * channels; }
  std::int64_t result_row() const noexcept { return x.result * channels; }
  /// Windows of 2 x 2 side by side that cover the source exactly.
  bool is_2x2() const noexcept {
    const auto halves = [](const PoolingAxis& a) {
      return a.kernel == 2 && a.stride == 2 && a.pad == 0 && a.dilation == 1 &&
             a.source == 2 * a.result;
    };
    return halves(y) && halves(x);
  }
};

/// Where the part of a window that lies in the image begins along one axis, and how many positions
/// it has there.
struct PoolingRange {
  std::int64_t begin, count;
  PoolingRange(const PoolingAxis& axis, std::int64_t p) {
    const std::int64_t first = axis.first(p), d = axis.dilation;
    const std::int64_t skipped = first < 0 ? (-first + d - 1) / d : 0;
    begin = first + skipped * d;
    const std::int64_t fit = begin < axis.source ? (axis.source - 1 - begin) / d + 1 : 0;
    count = std::clamp<std::int64_t>(axis.kernel - skipped, 0, fit);
  }
};

/// The case whose attributes have a window (base/attributes.h).
Pooling read_pooling(const AttributeMap& attributes, const ImageSize& source,
                     const ImageSize& result);

/// Yes if operands are plain float32 and the edge mode, where there is one, is ZERO or CLAMP.
Fit fits_pooling(const KernelQuery& query);

}  // namespace mpsnn::backend::cpu
