// SPDX-License-Identifier: MIT
#include "backend/cpu/ops/winograd_tiles.h"

#include "backend/cpu/simd.h"

namespace mpsnn::backend::cpu {
namespace {

// Bᵀ d: differences and sums of four neighbours.
MPSNN_INLINE void spread(const Vec& a, const Vec& b, const Vec& c, const Vec& d, Vec* to,
                         int step) {
  to[0] = a - c;
  to[step] = b + c;
  to[2 * step] = c - b;
  to[3 * step] = b - d;
}

// Aᵀ m: four products to two pixels.
MPSNN_INLINE void gather(const Vec& a, const Vec& b, const Vec& c, const Vec& d, Vec& first,
                         Vec& second) {
  first = a + b + c;
  second = b - c - d;
}

struct TilePlace {
  std::int64_t image, row, column;
};

MPSNN_INLINE TilePlace place_of(const TileGrid& grid, std::int64_t tile) {
  const std::int64_t columns = grid.columns(), a_picture = grid.rows() * columns;
  const std::int64_t rest = tile % a_picture;
  return {tile / a_picture, rest / columns * kTile, rest % columns * kTile};
}

// The 4 x 4 pixels from (top, left) on; those outside of the image are zero.
MPSNN_INLINE void load_tile(const TileGrid& grid, const float* picture, std::int64_t top,
                            std::int64_t left, std::int64_t channel, Vec* tile) {
  const std::int64_t h = grid.source_height, w = grid.source_width, c = grid.channels;
  if (top >= 0 && left >= 0 && top + 4 <= h && left + 4 <= w) {
    const float* corner = picture + (top * w + left) * c + channel;
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 4; ++j) load(tile[i * 4 + j], corner + (i * w + j) * c);
    }
    return;
  }
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      const std::int64_t y = top + i, x = left + j;
      if (y >= 0 && x >= 0 && y < h && x < w) {
        load(tile[i * 4 + j], picture + (y * w + x) * c + channel);
      } else {
        tile[i * 4 + j] = Vec{};
      }
    }
  }
}

MPSNN_INLINE void finish(const Epilogue& epilogue, std::int64_t channel, Vec& value) {
  if (epilogue.bias != nullptr) {
    Vec bias;
    load(bias, epilogue.bias + channel);
    value += bias;
  }
  if (epilogue.relu) value = value >= 0 ? value : value * epilogue.slope;
}

}  // namespace

MPSNN_SIMD void transform_source(const TileGrid& grid, const float* source, std::int64_t first,
                                 std::int64_t count, std::int64_t stride, float* values) {
  const std::int64_t channels = grid.channels;
  for (std::int64_t t = 0; t < count; ++t) {
    const TilePlace place = place_of(grid, first + t);
    const float* picture = source + place.image * grid.source_height * grid.source_width * channels;
    for (std::int64_t c = 0; c < channels; c += kLanes) {
      Vec tile[16], half[16];
      load_tile(grid, picture, place.row - grid.pad_top, place.column - grid.pad_left, c, tile);
      for (int j = 0; j < 4; ++j)
        spread(tile[j], tile[4 + j], tile[8 + j], tile[12 + j], half + j, 4);
      for (int i = 0; i < 16; i += 4)
        spread(half[i], half[i + 1], half[i + 2], half[i + 3], tile + i, 1);
      for (int p = 0; p < 16; ++p) store(values + (p * stride + t) * channels + c, tile[p]);
    }
  }
}

MPSNN_SIMD void transform_result(const TileGrid& grid, const float* products, std::int64_t first,
                                 std::int64_t count, std::int64_t stride, const Epilogue& epilogue,
                                 float* result) {
  const std::int64_t outputs = grid.outputs;
  for (std::int64_t t = 0; t < count; ++t) {
    const TilePlace place = place_of(grid, first + t);
    float* picture = result + place.image * grid.height * grid.width * outputs;
    for (std::int64_t k = 0; k < outputs; k += kLanes) {
      Vec product[16], half[8], pixel[4];
      for (int p = 0; p < 16; ++p) load(product[p], products + (p * stride + t) * outputs + k);
      for (int j = 0; j < 4; ++j) {
        gather(product[j], product[4 + j], product[8 + j], product[12 + j], half[j], half[4 + j]);
      }
      gather(half[0], half[1], half[2], half[3], pixel[0], pixel[1]);
      gather(half[4], half[5], half[6], half[7], pixel[2], pixel[3]);
      for (int i = 0; i < 4; ++i) {
        const std::int64_t y = place.row + i / 2, x = place.column + i % 2;
        if (y >= grid.height || x >= grid.width) continue;
        finish(epilogue, k, pixel[i]);
        store(picture + (y * grid.width + x) * outputs + k, pixel[i]);
      }
    }
  }
}

MPSNN_SIMD void transform_weights(const float* weights, std::int64_t outputs, std::int64_t inputs,
                                  bool mirrored, std::int64_t first, std::int64_t last,
                                  float* values) {
  // Rows are what is summed over: inputs, or outputs where mirrored.
  const std::int64_t rows = mirrored ? outputs : inputs, columns = mirrored ? inputs : outputs;
  for (std::int64_t row = first; row < last; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      const std::int64_t out = mirrored ? row : column, in = mirrored ? column : row;
      float g[3][3], half[4][3];
      for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < 3; ++j) {
          const int at = mirrored ? 8 - (i * 3 + j) : i * 3 + j;
          g[i][j] = weights[(out * 9 + at) * inputs + in];
        }
      }
      for (int j = 0; j < 3; ++j) {
        half[0][j] = g[0][j];
        half[1][j] = 0.5F * (g[0][j] + g[1][j] + g[2][j]);
        half[2][j] = 0.5F * (g[0][j] - g[1][j] + g[2][j]);
        half[3][j] = g[2][j];
      }
      float* to = values + row * columns + column;
      const std::int64_t step = rows * columns;
      for (int i = 0; i < 4; ++i) {
        to[(i * 4) * step] = half[i][0];
        to[(i * 4 + 1) * step] = 0.5F * (half[i][0] + half[i][1] + half[i][2]);
        to[(i * 4 + 2) * step] = 0.5F * (half[i][0] - half[i][1] + half[i][2]);
        to[(i * 4 + 3) * step] = half[i][2];
      }
    }
  }
}

}  // namespace mpsnn::backend::cpu
