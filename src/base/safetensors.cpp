// SPDX-License-Identifier: MIT
#include "base/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "base/json.h"
#include "mpsnn/error.h"

namespace mpsnn::base {
namespace {

static_assert(std::endian::native == std::endian::little,
              "tensors are stored as they lie in memory");

/// The limit of the format's own library.
constexpr std::size_t kHeaderLimit = 100'000'000;
/// The data starts at a multiple of this, so that any element type is aligned.
constexpr std::size_t kDataAlignment = 64;
constexpr std::string_view kMetadataKey = "__metadata__";

constexpr std::array<std::pair<std::string_view, std::size_t>, 13> kTypes = {{{"F64", 8},
                                                                              {"I64", 8},
                                                                              {"U64", 8},
                                                                              {"F32", 4},
                                                                              {"I32", 4},
                                                                              {"U32", 4},
                                                                              {"F16", 2},
                                                                              {"BF16", 2},
                                                                              {"I16", 2},
                                                                              {"U16", 2},
                                                                              {"I8", 1},
                                                                              {"U8", 1},
                                                                              {"BOOL", 1}}};

std::optional<std::size_t> bytes_of(std::string_view dtype) noexcept {
  const auto* found = std::ranges::find(kTypes, dtype, [](const auto& type) { return type.first; });
  if (found == kTypes.end()) return std::nullopt;
  return found->second;
}

std::string text_of(std::size_t number) { return std::to_string(number); }

/// Elements of a shape times bytes of one; none where that does not fit in 64 bits.
std::optional<std::size_t> bytes_of(std::span<const std::int64_t> shape,
                                    std::size_t element) noexcept {
  std::size_t bytes = element;
  for (const std::int64_t extent : shape) {
    if (__builtin_mul_overflow(bytes, static_cast<std::size_t>(extent), &bytes))
      return std::nullopt;
  }
  return bytes;
}

TensorView parse_tensor(const JsonField& entry, std::span<const std::byte> data) {
  TensorView tensor;
  tensor.dtype = entry.at("dtype").string();
  const std::optional<std::size_t> element = bytes_of(tensor.dtype);
  if (!element) entry.at("dtype").fail("unknown element type \"" + tensor.dtype + "\"");
  const JsonField shape = entry.at("shape"), offsets = entry.at("data_offsets");
  for (std::size_t i = 0; i < shape.size(); ++i) tensor.shape.push_back(shape.at(i).integer(0));
  if (offsets.size() != 2) offsets.fail("expected 2 numbers, got " + text_of(offsets.size()));
  const auto limit = static_cast<std::int64_t>(data.size());
  const std::int64_t begin = offsets.at(0).integer(0, limit),
                     end = offsets.at(1).integer(begin, limit);
  const std::optional<std::size_t> wanted = bytes_of(tensor.shape, *element);
  const auto size = static_cast<std::size_t>(end - begin);
  if (!wanted || *wanted != size) {
    entry.fail("expected " + (wanted ? text_of(*wanted) : "an impossible number of") +
               " bytes for its shape and type, got " + text_of(size));
  }
  tensor.bytes = data.subspan(static_cast<std::size_t>(begin), size);
  if (std::bit_cast<std::uintptr_t>(tensor.bytes.data()) % *element != 0) {
    entry.fail("its bytes are not aligned for " + tensor.dtype);
  }
  return tensor;
}

std::uint64_t header_length(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(std::uint64_t)) {
    throw ArchiveError("truncated: expected at least 8 bytes, got " + text_of(bytes.size()));
  }
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  const bool starts_well = bytes.size() > sizeof length && bytes[sizeof length] == std::byte{'{'};
  if (length < 2 || length > kHeaderLimit || !starts_well) {
    throw ArchiveError("not a safetensors file: expected a header length and a JSON header");
  }
  if (length > bytes.size() - sizeof length) {
    throw ArchiveError("truncated: expected a header of " + std::to_string(length) +
                       " bytes, got " + text_of(bytes.size() - sizeof length));
  }
  return length;
}

std::string header_for(const std::vector<TensorToWrite>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  Json::Object header;
  if (!metadata.empty()) {
    Json::Object texts;
    for (const auto& [key, value] : metadata) texts.emplace(key, value);
    header.emplace(kMetadataKey, std::move(texts));
  }
  std::size_t offset = 0;
  for (const TensorToWrite& tensor : tensors) {
    const std::size_t end = offset + tensor.bytes.size();
    Json::Array shape(tensor.shape.begin(), tensor.shape.end());
    Json::Array offsets{static_cast<std::int64_t>(offset), static_cast<std::int64_t>(end)};
    const bool added = header
                           .emplace(tensor.name, Json::Object{{"dtype", tensor.dtype},
                                                              {"shape", std::move(shape)},
                                                              {"data_offsets", std::move(offsets)}})
                           .second;
    if (!added)
      throw InvalidArgumentError("tensor \"" + tensor.name +
                                 "\": expected names that differ, got it twice");
    offset = end;
  }
  std::string text = to_string(header);
  const std::size_t unaligned = (sizeof(std::uint64_t) + text.size()) % kDataAlignment;
  if (unaligned != 0) text.append(kDataAlignment - unaligned, ' ');
  return text;
}

}  // namespace

bool leads_elsewhere(std::string_view name) noexcept {
  constexpr std::string_view kRefused("\\\0", 2);
  if (name.starts_with('/') || name.find_first_of(kRefused) != std::string_view::npos) return true;
  while (!name.empty()) {
    const std::size_t end = std::min(name.find('/'), name.size());
    if (name.substr(0, end) == "..") return true;
    name.remove_prefix(std::min(end + 1, name.size()));
  }
  return false;
}

SafetensorsFile::SafetensorsFile(const std::string& path)
    : file_(std::make_shared<const MappedFile>(path)) {
  const std::span<const std::byte> bytes = file_->bytes();
  try {
    const std::uint64_t length = header_length(bytes);
    const auto* text = reinterpret_cast<const char*>(bytes.data()) + sizeof length;
    parse_header({text, length}, bytes.subspan(sizeof length + length));
  } catch (const ArchiveError& error) {
    throw ArchiveError("\"" + path + "\": " + error.what());
  }
}

void SafetensorsFile::parse_header(std::string_view header, std::span<const std::byte> data) {
  const Json document = parse_json(header);
  std::vector<std::pair<std::span<const std::byte>, std::string_view>> ranges;
  for (const auto& [name, value] : JsonField(document, "header").object()) {
    const JsonField entry(value, "tensor \"" + name + "\"");
    if (name == kMetadataKey) {
      for (const auto& [key, text] : entry.object()) metadata_.emplace(key, entry.at(key).string());
      continue;
    }
    if (leads_elsewhere(name))
      throw ArchiveError("tensor " + to_string(Json(name)) +
                         ": expected a name, got a path to elsewhere");
    const auto added = tensors_.emplace(name, parse_tensor(entry, data)).first;
    ranges.emplace_back(added->second.bytes, added->first);
  }
  std::ranges::sort(ranges, [](const auto& a, const auto& b) {
    return std::pair(a.first.data(), a.first.size()) < std::pair(b.first.data(), b.first.size());
  });
  const std::byte* expected = data.data();
  for (const auto& [range, name] : ranges) {
    if (range.data() != expected) {
      throw ArchiveError("tensor \"" + std::string(name) +
                         "\": its bytes overlap others or leave a gap");
    }
    expected = range.data() + range.size();
  }
  if (expected != data.data() + data.size()) {
    throw ArchiveError("expected " + text_of(static_cast<std::size_t>(expected - data.data())) +
                       " bytes of tensors, got " + text_of(data.size()));
  }
}

void write_safetensors(const std::string& path, std::vector<TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata) {
  for (const TensorToWrite& tensor : tensors) {
    if (leads_elsewhere(tensor.name)) {
      throw InvalidArgumentError("tensor " + to_string(Json(tensor.name)) +
                                 ": expected a name, got a path to elsewhere");
    }
    const std::optional<std::size_t> element = bytes_of(tensor.dtype);
    if (!element || bytes_of(tensor.shape, *element) != tensor.bytes.size() ||
        tensor.name == kMetadataKey) {
      throw InternalError("tensor \"" + tensor.name +
                          "\": its bytes do not fit its shape and type");
    }
  }
  // Whole cache lines first: kernels that work on the mapped file then find such tensors aligned
  // for vectors. Of the others the widest first: each starts at a multiple of its own element size.
  std::ranges::stable_sort(tensors, std::greater<>(), [](const TensorToWrite& t) {
    return std::pair(t.bytes.size() % kDataAlignment == 0, *bytes_of(t.dtype));
  });
  const std::string header = header_for(tensors, metadata);
  if (header.size() > kHeaderLimit) {
    throw InvalidArgumentError("archive: expected a header of at most " + text_of(kHeaderLimit) +
                               " bytes, got " + text_of(header.size()));
  }
  const std::uint64_t length = header.size();
  std::vector<std::span<const std::byte>> parts = {std::as_bytes(std::span(&length, 1)),
                                                   std::as_bytes(std::span(header))};
  for (const TensorToWrite& tensor : tensors) parts.push_back(tensor.bytes);
  write_file_atomically(path, parts);
}

}  // namespace mpsnn::base
