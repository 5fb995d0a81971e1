// SPDX-License-Identifier: MIT
// The transforms of F(2x2, 3x3) on blocks of tiles. A tile is 2 x 2 pixels of the result and needs
// 4 x 4 pixels of the source, one row and column more on each side. Transformed values lie as 16
// matrices (one a position of the 4 x 4 tile) of tiles x channels.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mpsnn::backend::cpu {

inline constexpr std::int64_t kTile = 2;        // pixels of the result along an edge
inline constexpr std::int64_t kPositions = 16;  // of a transformed tile

/// Where a block's tiles lie.
struct TileGrid {
  std::int64_t source_height, source_width, channels;  // of the source
  std::int64_t height, width, outputs;                 // of the result
  std::int64_t pad_top, pad_left;
  std::int64_t rows() const { return (height + kTile - 1) / kTile; }
  std::int64_t columns() const { return (width + kTile - 1) / kTile; }
};

/// What happens to a result before it is stored.
struct Epilogue {
  const float* bias = nullptr;
  bool relu = false;
  float slope = 0;  // of ReLU below zero
};

/// Source pixels of tiles [first, first + count) -> values[16][stride][channels].
void transform_source(const TileGrid& grid, const float* source, std::int64_t first,
                      std::int64_t count, std::int64_t stride, float* values);
/// products[16][stride][outputs] of tiles [first, first + count) -> pixels of the result.
void transform_result(const TileGrid& grid, const float* products, std::int64_t first,
                      std::int64_t count, std::int64_t stride, const Epilogue& epilogue,
                      float* result);
/// Weights OHWI -> values[16][inputs][outputs]; `mirrored`: turned by half a turn with inputs and
/// outputs swapped, values[16][outputs][inputs], for the gradient of the source. Computes the rows
/// [first, last) of each matrix.
void transform_weights(const float* weights, std::int64_t outputs, std::int64_t inputs,
                       bool mirrored, std::int64_t first, std::int64_t last, float* values);

}  // namespace mpsnn::backend::cpu
