// SPDX-License-Identifier: MIT
// Denoises a ray-traced picture with the net that `mpsnn denoise train` wrote, and gives what
// `mpsnn denoise apply` gives. Built out of tree, with find_package(mpsnn), OpenEXR and libpng.
#include <cstdint>
#include <cstdio>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <mpsnn/mpsnn.h>

#include "pictures.h"

namespace {

constexpr const char* kUsage =
    "usage: denoise ARCHIVE NOISY ALBEDO NORMALS OUT [--pad] [--device KIND]\n"
    "  ARCHIVE  what `mpsnn denoise train` wrote\n"
    "  NOISY, ALBEDO, NORMALS, OUT  pictures, .exr or .png\n"
    "  --pad    mirror the lower and right edge where the net's poolings cannot divide the size\n";

struct Arguments {
  std::string archive, noisy, albedo, normals, out, device;
  bool pad = false;
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--pad") {
      arguments.pad = true;
    } else if (word == "--device" && i + 1 < argc) {
      arguments.device = argv[++i];
    } else if (word.starts_with("--")) {
      throw std::invalid_argument("unknown option " + word);
    } else {
      paths.push_back(word);
    }
  }
  if (paths.size() != 5) throw std::invalid_argument("expected an archive and four pictures");
  arguments.archive = paths[0];
  arguments.noisy = paths[1];
  arguments.albedo = paths[2];
  arguments.normals = paths[3];
  arguments.out = paths[4];
  return arguments;
}

mpsnn::Graph load(const mpsnn::Device& device, const std::string& path) {
  return mpsnn::KeyedUnarchiver(device).open(path).decode_graph("denoiser");
}

/// What height and width must be multiples of: the product of the poolings' strides.
std::int64_t divisor_of(const mpsnn::Graph& graph) {
  std::int64_t divisor = 1;
  for (const mpsnn::FilterNode& node : graph.nodes()) {
    if (node.class_name() == "PoolingMaxNode") divisor *= 2;
  }
  return divisor;
}

/// `extent` rounded up.
std::int64_t padded(std::int64_t extent, std::int64_t divisor) {
  return (extent + divisor - 1) / divisor * divisor;
}

/// The index inside of `extent` that `i` is the mirror image of, the edge's own pixel repeated.
std::int64_t mirrored(std::int64_t i, std::int64_t extent) {
  const std::int64_t place = i % (2 * extent);
  return place < extent ? place : 2 * extent - 1 - place;
}

/// The picture as a source of the net: four channels, of which the last stays zero, mirrored to
/// `size`.
mpsnn::Image source(const mpsnn::Device& device, const Picture& picture, mpsnn::ImageSize size) {
  std::vector<float> values(static_cast<std::size_t>(size.count()), 0.0f);
  float* to = values.data();
  for (std::int64_t y = 0; y < size.height; ++y) {
    const std::int64_t row = mirrored(y, picture.height) * picture.width;
    for (std::int64_t x = 0; x < size.width; ++x, to += size.channels) {
      const auto from = static_cast<std::size_t>(3 * (row + mirrored(x, picture.width)));
      for (std::size_t c = 0; c < 3; ++c) to[c] = picture.values[from + c];
    }
  }
  return mpsnn::Image(device, size, mpsnn::DataType::FLOAT32, values.data());
}

/// The upper left part of the result, as large as the picture was.
Picture cut(const mpsnn::Image& image, std::int64_t height, std::int64_t width) {
  const mpsnn::ImageSize& size = image.size();
  std::vector<float> values(static_cast<std::size_t>(size.count()));
  image.read(values.data(), values.size() * sizeof(float));  // waits for the command buffer
  Picture picture{.height = height, .width = width};
  for (std::int64_t y = 0; y < height; ++y) {
    const auto first = values.begin() + y * size.width * size.channels;
    picture.values.insert(picture.values.end(), first, first + width * size.channels);
  }
  return picture;
}

Picture denoise(const mpsnn::Device& device, const mpsnn::Graph& graph,
                const std::map<std::string, Picture>& pictures, bool pad) {
  const Picture& noisy = pictures.at("noisy");
  const std::int64_t divisor = divisor_of(graph);
  if (!pad && (noisy.height % divisor != 0 || noisy.width % divisor != 0)) {
    throw std::runtime_error("height and width: expected multiples of " + std::to_string(divisor) +
                             " or --pad, got " + std::to_string(noisy.height) + " x " +
                             std::to_string(noisy.width));
  }
  const mpsnn::ImageSize size{.n = 1,
                              .height = padded(noisy.height, divisor),
                              .width = padded(noisy.width, divisor),
                              .channels = 4};
  std::map<std::string, mpsnn::Image> sources;
  for (const auto& [name, picture] : pictures) sources.emplace(name, source(device, picture, size));
  mpsnn::CommandBuffer commands(device.command_queue("denoiser"), "denoise");
  const mpsnn::GraphOutputs outputs = graph.encode(commands, sources);
  commands.commit();
  return cut(outputs["denoised"], noisy.height, noisy.width);
}

void run(const Arguments& arguments) {
  const mpsnn::Device device(arguments.device);
  const mpsnn::Graph graph = load(device, arguments.archive);
  std::map<std::string, Picture> pictures = {
      {"noisy", read_picture(arguments.noisy, Role::COLOUR)},
      {"albedo", read_picture(arguments.albedo, Role::ALBEDO)},
      {"normals", read_picture(arguments.normals, Role::NORMALS)}};
  const Picture& noisy = pictures.at("noisy");
  for (const auto& [name, picture] : pictures) {
    if (picture.height != noisy.height || picture.width != noisy.width) {
      throw std::runtime_error(name + ": expected " + std::to_string(noisy.height) + " x " +
                               std::to_string(noisy.width) + " pixels as noisy has, got " +
                               std::to_string(picture.height) + " x " +
                               std::to_string(picture.width));
    }
  }
  for (float& value : pictures.at("noisy").values) value = tonemap(value);
  write_picture(arguments.out, denoise(device, graph, pictures, arguments.pad));
  std::printf("%s: %d x %d pixels, on %s\n", arguments.out.c_str(), static_cast<int>(noisy.height),
              static_cast<int>(noisy.width), device.name().c_str());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse(argc, argv));
    return 0;
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "denoise: %s\n%s", error.what(), kUsage);
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "denoise: %s\n", error.what());
    return 1;
  }
}
