// SPDX-License-Identifier: MIT
// What the operations of recurrent cells share: rows are cut into short pieces, so that what stands
// between two steps of a piece stays in the fastest cache.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/ops/neuron.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"

namespace mpsnn::backend::cpu {

inline constexpr std::int64_t kPiece = 256;  // channels
using Piece = std::array<float, kPiece>;

/// The neurons of an operation.
std::vector<Neuron> read_neurons(const AttributeMap& attributes);
/// All operands are float32, and all but those of gate_sums without gaps.
Fit fits_recurrent(const KernelQuery& query);

/// Rows and channels of an operation; its gates have several times the channels.
struct CellExtent {
  std::int64_t rows, channels, gate_stride;

  /// gates: input 0; another operand has the channels.
  CellExtent(const TensorDesc& gates, const TensorDesc& values)
      : rows(values.dims[1]), channels(values.dims[2]), gate_stride(gates.dims[2]) {}

  /// Calls fn(first gate's offset, the others' offset, channel, count) for all pieces.
  template <class Fn>
  void for_each_piece(const Fn& fn) const {
    const std::int64_t pieces = (channels + kPiece - 1) / kPiece;
    parallel_for(rows * pieces, grain_for(std::min(channels, kPiece) * 48),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     const std::int64_t row = i / pieces, channel = i % pieces * kPiece;
                     fn(row * gate_stride + channel, row * channels + channel, channel,
                        std::min(kPiece, channels - channel));
                   }
                 });
  }
};

/// gate += bias + peephole * memory; absent ones are null.
void add_terms(float* gate, const float* bias, const float* peephole, const float* memory,
               std::int64_t count);
/// to += a * b.
void add_product(float* to, const float* a, const float* b, std::int64_t count);
/// to = a * b; to may be one of them.
void set_product(float* to, const float* a, const float* b, std::int64_t count);

/// A vector of one value a channel, from a channel on; null where it is absent.
inline const float* from(const float* vector, std::int64_t channel) {
  return vector == nullptr ? nullptr : vector + channel;
}

}  // namespace mpsnn::backend::cpu
