// SPDX-License-Identifier: MIT
#include "pictures.h"

#include <OpenEXR/ImfChannelList.h>
#include <OpenEXR/ImfFrameBuffer.h>
#include <OpenEXR/ImfHeader.h>
#include <OpenEXR/ImfInputFile.h>
#include <OpenEXR/ImfOutputFile.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <stdexcept>

namespace {

constexpr std::size_t kColours = 3;
using ChannelNames = std::array<const char*, kColours>;

std::string suffix_of(const std::string& path) {
  std::string suffix = std::filesystem::path(path).extension().string();
  std::ranges::transform(suffix, suffix.begin(), [](unsigned char c) { return std::tolower(c); });
  return suffix;
}

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw std::runtime_error(path + ": " + what);
}

[[noreturn]] void fail_suffix(const std::string& path) {
  fail(path, "expected the suffix .exr or .png");
}

// ---- EXR ----------------------------------------------------------------------------------------

/// The names that the file gives its three channels. A fourth, alpha, is passed over.
ChannelNames channels_of(const std::string& path, const Imf::ChannelList& channels) {
  constexpr ChannelNames kRgb = {"R", "G", "B"}, kXyz = {"X", "Y", "Z"};
  for (const ChannelNames& names : {kRgb, kXyz}) {
    if (std::ranges::all_of(names, [&](const char* name) { return channels.findChannel(name); }))
      return names;
  }
  std::string have;
  for (auto channel = channels.begin(); channel != channels.end(); ++channel)
    have += std::string(" ") + channel.name();
  fail(path, "expected channels R, G, B or X, Y, Z, got" + have);
}

/// The picture's values as OpenEXR is told of them; the file's window begins at (left, top).
Imf::FrameBuffer frame_of(Picture& picture, const ChannelNames& names, int left, int top) {
  const std::size_t x_bytes = kColours * sizeof(float);
  const std::size_t y_bytes = x_bytes * static_cast<std::size_t>(picture.width);
  Imf::FrameBuffer frame;
  for (std::size_t i = 0; i < kColours; ++i) {
    char* const first = reinterpret_cast<char*>(picture.values.data() + i);
    // OpenEXR counts from (0, 0), wherever the window begins.
    char* const origin = first - static_cast<std::ptrdiff_t>(x_bytes) * left -
                         static_cast<std::ptrdiff_t>(y_bytes) * top;
    frame.insert(names[i], Imf::Slice(Imf::FLOAT, origin, x_bytes, y_bytes));
  }
  return frame;
}

Picture read_exr(const std::string& path) {
  Imf::InputFile file(path.c_str());
  const auto window = file.header().dataWindow();
  Picture picture{.height = window.max.y - window.min.y + 1,
                  .width = window.max.x - window.min.x + 1};
  picture.values.resize(static_cast<std::size_t>(picture.height * picture.width) * kColours);
  const ChannelNames names = channels_of(path, file.header().channels());
  file.setFrameBuffer(frame_of(picture, names, window.min.x, window.min.y));
  file.readPixels(window.min.y, window.max.y);
  return picture;
}

void write_exr(const std::string& path, Picture& radiance) {
  Imf::Header header(static_cast<int>(radiance.width), static_cast<int>(radiance.height));
  constexpr ChannelNames kNames = {"R", "G", "B"};
  for (const char* name : kNames) header.channels().insert(name, Imf::Channel(Imf::FLOAT));
  Imf::OutputFile file(path.c_str(), header);
  file.setFrameBuffer(frame_of(radiance, kNames, 0, 0));
  file.writePixels(static_cast<int>(radiance.height));
}

// ---- PNG ----------------------------------------------------------------------------------------

/// libpng's record of a picture, freed at the end.
struct PngImage : png_image {
  PngImage() : png_image() { version = PNG_IMAGE_VERSION; }
  ~PngImage() { png_image_free(this); }
  PngImage(const PngImage&) = delete;
  PngImage& operator=(const PngImage&) = delete;
};

float from_byte(png_byte byte, Role role) {
  const float shown = static_cast<float>(byte) / 255.0f;
  if (role == Role::COLOUR) return inverse_tonemap(shown);
  if (role == Role::NORMALS) return 2.0f * shown - 1.0f;
  return shown <= 0.04045f
             ? shown / 12.92f
             : static_cast<float>(std::pow((static_cast<double>(shown) + 0.055) / 1.055, 2.4));
}

Picture read_png(const std::string& path, Role role) {
  PngImage image;
  if (png_image_begin_read_from_file(&image, path.c_str()) == 0) fail(path, image.message);
  image.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;  // 16 bits have the same meaning as 8
  image.format = PNG_FORMAT_RGBA;            // alpha is read, then dropped: nothing is blended
  std::vector<png_byte> bytes(PNG_IMAGE_SIZE(image));
  Picture picture{.height = image.height, .width = image.width};
  if (png_image_finish_read(&image, nullptr, bytes.data(), 0, nullptr) == 0)
    fail(path, image.message);
  picture.values.reserve(bytes.size() / 4 * kColours);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i % 4 != 3) picture.values.push_back(from_byte(bytes[i], role));
  }
  return picture;
}

void write_png(const std::string& path, const Picture& toned) {
  std::vector<png_byte> bytes;
  bytes.reserve(toned.values.size());
  for (const float value : toned.values)
    bytes.push_back(static_cast<png_byte>(std::clamp(value, 0.0f, 1.0f) * 255.0f + 0.5f));
  PngImage image;
  image.width = static_cast<png_uint_32>(toned.width);
  image.height = static_cast<png_uint_32>(toned.height);
  image.format = PNG_FORMAT_RGB;
  if (png_image_write_to_file(&image, path.c_str(), 0, bytes.data(), 0, nullptr) == 0)
    fail(path, image.message);
}

// ---- both ---------------------------------------------------------------------------------------

/// As the Python application checks them: a NaN would spread over the whole picture.
void check_values(const std::string& path, const Picture& picture, Role role) {
  constexpr float kSlack = 1e-3f;  // rounding of half floats and of renderers
  const float low = role == Role::NORMALS ? -1.0f : 0.0f;
  for (const float value : picture.values) {
    if (!std::isfinite(value)) fail(path, "expected finite values, got NaN or infinity");
    if (role != Role::COLOUR && (value < low - kSlack || value > 1.0f + kSlack)) {
      fail(path,
           "expected values from " + std::to_string(low) + " to 1, got " + std::to_string(value));
    }
  }
}

}  // namespace

float tonemap(float radiance) {
  const float x = std::max(radiance, 0.0f);
  return static_cast<float>(std::pow(static_cast<double>(x / (1.0f + x)), 1.0 / 2.2));
}

float inverse_tonemap(float toned) {
  const double within = std::clamp(toned, 0.0f, 1.0f);
  const float ratio = static_cast<float>(std::pow(within, 2.2));
  return ratio / std::max(1.0f - ratio, 0x1p-14f);
}

Picture read_picture(const std::string& path, Role role) {
  const std::string suffix = suffix_of(path);
  if (suffix != ".exr" && suffix != ".png") fail_suffix(path);
  Picture picture;
  try {
    picture = suffix == ".exr" ? read_exr(path) : read_png(path, role);
  } catch (const std::exception& error) {
    fail("cannot read", error.what());  // the text names the file
  }
  check_values(path, picture, role);
  return picture;
}

void write_picture(const std::string& path, const Picture& toned) {
  const std::string suffix = suffix_of(path);
  // Under another name first: whoever looks at `path` sees the whole picture or none.
  const std::string draft = path + ".draft" + suffix;
  if (suffix == ".exr") {
    Picture radiance = toned;
    std::ranges::transform(radiance.values, radiance.values.begin(), inverse_tonemap);
    write_exr(draft, radiance);
  } else if (suffix == ".png") {
    write_png(draft, toned);
  } else {
    fail_suffix(path);
  }
  std::filesystem::rename(draft, path);
}
