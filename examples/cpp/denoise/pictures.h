// SPDX-License-Identifier: MIT
// Pictures in files: EXR with linear values, PNG with values as a screen shows them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// Red, green and blue of each pixel, row by row.
struct Picture {
  std::int64_t height = 0, width = 0;
  std::vector<float> values = {};  // height · width · 3
};

/// What a file holds, which says how a PNG's bytes are to be read.
enum class Role : std::uint8_t { COLOUR, ALBEDO, NORMALS };

/// Reads `path`, whose suffix is .exr or .png. Colour becomes linear radiance: an EXR holds that, a
/// PNG the tone-mapped values. A PNG's albedo has the sRGB curve, its normals are (n + 1) / 2.
/// Throws std::runtime_error naming the file.
Picture read_picture(const std::string& path, Role role);

/// Writes a tone-mapped picture: to an EXR as linear radiance in float32, to a PNG as it is, 8 bits
/// a channel. Throws std::runtime_error naming the file.
void write_picture(const std::string& path, const Picture& toned);

/// (x / (1 + x)) ^ (1 / 2.2): brings linear radiance to the space that the net was trained in,
/// [0, 1). Values below 0 count as 0.
float tonemap(float radiance);
/// The way back; the highest value it gives is 16384.
float inverse_tonemap(float toned);
