// SPDX-License-Identifier: MIT
// The C interface over the public C++ one. Every function that can fail goes through `guarded`,
// which turns errors into a status and the thread's text: no exception leaves this file.
#include "mpsnn.h"

#include <algorithm>
#include <exception>
#include <map>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mpsnn/archive.h"
#include "mpsnn/command_buffer.h"
#include "mpsnn/device.h"
#include "mpsnn/error.h"
#include "mpsnn/graph.h"
#include "mpsnn/version.h"

using namespace mpsnn;  // NOLINT: this file is the other language's view of the namespace

struct mpsnn_device {
  Device device;
  CommandQueue queue;
  std::string kind, name;
};

struct mpsnn_archive {
  Archive archive;
  std::vector<std::string> keys;
};

struct mpsnn_graph {
  Graph graph;
  std::vector<std::string> sources;
  std::size_t results;
};

struct mpsnn_image {
  Image image;
};

struct mpsnn_commands {
  CommandBuffer commands;
};

struct mpsnn_outputs {
  GraphOutputs outputs;
};

namespace {

thread_local std::string last_error;

mpsnn_status failed(mpsnn_status status, const char* text) noexcept {
  try {
    last_error = text;
  } catch (const std::bad_alloc&) {
    last_error.clear();  // there is no room for the text; the status says what happened
  }
  return status;
}

mpsnn_status status_of_current() noexcept {
  try {
    throw;
  } catch (const InvalidArgumentError& error) {
    return failed(MPSNN_INVALID_ARGUMENT, error.what());
  } catch (const ArgumentTypeError& error) {
    return failed(MPSNN_ARGUMENT_TYPE, error.what());
  } catch (const UnsupportedError& error) {
    return failed(MPSNN_UNSUPPORTED, error.what());
  } catch (const OutOfMemoryError& error) {
    return failed(MPSNN_OUT_OF_MEMORY, error.what());
  } catch (const StateError& error) {
    return failed(MPSNN_STATE, error.what());
  } catch (const DeviceError& error) {
    return failed(MPSNN_DEVICE, error.what());
  } catch (const ArchiveError& error) {
    return failed(MPSNN_ARCHIVE, error.what());
  } catch (const FileError& error) {
    return failed(MPSNN_FILE, error.what());
  } catch (const std::bad_alloc&) {
    return failed(MPSNN_OUT_OF_MEMORY, "memory of the host ran out");
  } catch (const std::exception& error) {
    return failed(MPSNN_INTERNAL, error.what());
  } catch (...) {
    return failed(MPSNN_INTERNAL, "a failure of unknown kind");
  }
}

template <class Function>
mpsnn_status guarded(const Function& function) noexcept {
  try {
    function();
    return MPSNN_OK;
  } catch (...) {
    return status_of_current();
  }
}

/// Throws `<function>: <argument>: expected a pointer, got NULL`.
template <class T>
T& given(T* pointer, const char* argument) {
  if (pointer != nullptr) return *pointer;
  throw InvalidArgumentError(std::string(argument) + ": expected a pointer, got NULL");
}

const char* at(const std::vector<std::string>& texts, std::size_t index) {
  return index < texts.size() ? texts[index].c_str() : nullptr;
}

void expect_below(const char* argument, std::size_t index, std::size_t count) {
  if (index < count) return;
  throw InvalidArgumentError(std::string(argument) + ": expected an index below " +
                             std::to_string(count) + ", got " + std::to_string(index));
}

DataType type_of(mpsnn_data_type type) {
  if (type == MPSNN_FLOAT32) return DataType::FLOAT32;
  if (type == MPSNN_FLOAT16) return DataType::FLOAT16;
  throw InvalidArgumentError(
      "mpsnn_image_create: type: expected MPSNN_FLOAT32 or MPSNN_FLOAT16, got " +
      std::to_string(static_cast<int>(type)));
}

mpsnn_data_type type_of(DataType type) {
  return type == DataType::FLOAT16 ? MPSNN_FLOAT16 : MPSNN_FLOAT32;
}

void expect_bytes(const Image& image, const char* function, std::size_t bytes) {
  if (bytes == image.bytes()) return;
  throw InvalidArgumentError(std::string(function) + ": bytes: expected " +
                             std::to_string(image.bytes()) + ", got " + std::to_string(bytes));
}

}  // namespace

extern "C" {

uint32_t mpsnn_abi_version(void) noexcept { return MPSNN_ABI_VERSION; }
const char* mpsnn_version(void) noexcept { return version().data(); }
const char* mpsnn_last_error(void) noexcept { return last_error.c_str(); }

mpsnn_status mpsnn_device_create(const char* kind, mpsnn_device** device) noexcept {
  return guarded([&] {
    given(device, "mpsnn_device_create: device");
    const Device made(kind == nullptr ? "" : kind);
    *device = new mpsnn_device{made, made.command_queue(), made.kind(), made.name()};
  });
}

void mpsnn_device_release(mpsnn_device* device) noexcept { delete device; }
const char* mpsnn_device_kind(const mpsnn_device* device) noexcept {
  return device == nullptr ? nullptr : device->kind.c_str();
}
const char* mpsnn_device_name(const mpsnn_device* device) noexcept {
  return device == nullptr ? nullptr : device->name.c_str();
}

mpsnn_status mpsnn_archive_open(const mpsnn_device* device, const char* path,
                                mpsnn_archive** archive) noexcept {
  return guarded([&] {
    given(archive, "mpsnn_archive_open: archive");
    const KeyedUnarchiver unarchiver(given(device, "mpsnn_archive_open: device").device);
    Archive opened = unarchiver.open(&given(path, "mpsnn_archive_open: path"));
    std::vector<std::string> keys = opened.keys();
    std::ranges::sort(keys);
    *archive = new mpsnn_archive{std::move(opened), std::move(keys)};
  });
}

void mpsnn_archive_release(mpsnn_archive* archive) noexcept { delete archive; }
size_t mpsnn_archive_key_count(const mpsnn_archive* archive) noexcept {
  return archive == nullptr ? 0 : archive->keys.size();
}
const char* mpsnn_archive_key(const mpsnn_archive* archive, size_t index) noexcept {
  return archive == nullptr ? nullptr : at(archive->keys, index);
}

const char* mpsnn_archive_metadata(const mpsnn_archive* archive, const char* name) noexcept {
  if (archive == nullptr || name == nullptr) return nullptr;
  for (const auto& [key, text] : archive->archive.metadata()) {
    if (key == name) return text.c_str();
  }
  return nullptr;
}

mpsnn_status mpsnn_archive_graph(const mpsnn_archive* archive, const char* key,
                                 mpsnn_graph** graph) noexcept {
  return guarded([&] {
    given(graph, "mpsnn_archive_graph: graph");
    const Archive& from = given(archive, "mpsnn_archive_graph: archive").archive;
    Graph made = from.decode_graph(&given(key, "mpsnn_archive_graph: key"));
    std::vector<std::string> sources = made.source_handles();
    const std::size_t results = made.results_are_needed().size();
    *graph = new mpsnn_graph{std::move(made), std::move(sources), results};
  });
}

void mpsnn_graph_release(mpsnn_graph* graph) noexcept { delete graph; }
size_t mpsnn_graph_source_count(const mpsnn_graph* graph) noexcept {
  return graph == nullptr ? 0 : graph->sources.size();
}
const char* mpsnn_graph_source_handle(const mpsnn_graph* graph, size_t index) noexcept {
  return graph == nullptr ? nullptr : at(graph->sources, index);
}

mpsnn_status mpsnn_graph_source_type(const mpsnn_graph* graph, size_t index,
                                     mpsnn_data_type* type) noexcept {
  return guarded([&] {
    const mpsnn_graph& of = given(graph, "mpsnn_graph_source_type: graph");
    expect_below("mpsnn_graph_source_type: index", index, of.sources.size());
    given(type, "mpsnn_graph_source_type: type") =
        type_of(*of.graph.source_format(of.sources[index]));
  });
}

size_t mpsnn_graph_result_count(const mpsnn_graph* graph) noexcept {
  return graph == nullptr ? 0 : graph->results;
}

mpsnn_status mpsnn_graph_encode(const mpsnn_graph* graph, mpsnn_commands* commands,
                                const mpsnn_image* const* sources, size_t count,
                                mpsnn_outputs** outputs) noexcept {
  return guarded([&] {
    given(outputs, "mpsnn_graph_encode: outputs");
    const mpsnn_graph& of = given(graph, "mpsnn_graph_encode: graph");
    CommandBuffer& on = given(commands, "mpsnn_graph_encode: commands").commands;
    if (count != of.sources.size()) {
      throw InvalidArgumentError("mpsnn_graph_encode: count: expected " +
                                 std::to_string(of.sources.size()) + " sources, got " +
                                 std::to_string(count));
    }
    if (const auto states = of.graph.source_state_handles(); !states.empty()) {
      throw UnsupportedError("mpsnn_graph_encode: expected a graph without source states, got \"" +
                             states.front() + "\": such a graph is encoded from C++");
    }
    if (count > 0) given(sources, "mpsnn_graph_encode: sources");
    std::map<std::string, Image> images;
    for (std::size_t i = 0; i < count; ++i) {
      const std::string what = "mpsnn_graph_encode: sources[" + std::to_string(i) + "]";
      images.emplace(of.sources[i], given(sources[i], what.c_str()).image);
    }
    *outputs = new mpsnn_outputs{of.graph.encode(on, images)};
  });
}

void mpsnn_outputs_release(mpsnn_outputs* outputs) noexcept { delete outputs; }

mpsnn_status mpsnn_outputs_result(const mpsnn_outputs* outputs, size_t index,
                                  mpsnn_image** image) noexcept {
  return guarded([&] {
    given(image, "mpsnn_outputs_result: image");
    const auto& results = given(outputs, "mpsnn_outputs_result: outputs").outputs.results;
    expect_below("mpsnn_outputs_result: index", index, results.size());
    *image = results[index] ? new mpsnn_image{*results[index]} : nullptr;
  });
}

mpsnn_status mpsnn_outputs_named(const mpsnn_outputs* outputs, const char* handle,
                                 mpsnn_image** image) noexcept {
  return guarded([&] {
    given(image, "mpsnn_outputs_named: image");
    const GraphOutputs& of = given(outputs, "mpsnn_outputs_named: outputs").outputs;
    *image = new mpsnn_image{of[&given(handle, "mpsnn_outputs_named: handle")]};
  });
}

mpsnn_status mpsnn_image_create(const mpsnn_device* device, mpsnn_size size, mpsnn_data_type type,
                                const void* data, mpsnn_image** image) noexcept {
  return guarded([&] {
    given(image, "mpsnn_image_create: image");
    const Device& on = given(device, "mpsnn_image_create: device").device;
    const ImageSize extents = {size.n, size.height, size.width, size.channels};
    *image = new mpsnn_image{data == nullptr ? Image(on, extents, type_of(type))
                                             : Image(on, extents, type_of(type), data)};
  });
}

void mpsnn_image_release(mpsnn_image* image) noexcept { delete image; }

mpsnn_size mpsnn_image_size(const mpsnn_image* image) noexcept {
  if (image == nullptr) return {0, 0, 0, 0};
  const ImageSize& size = image->image.size();
  return {size.n, size.height, size.width, size.channels};
}

mpsnn_data_type mpsnn_image_type(const mpsnn_image* image) noexcept {
  return image == nullptr ? MPSNN_FLOAT32 : type_of(image->image.format());
}

size_t mpsnn_image_bytes(const mpsnn_image* image) noexcept {
  return image == nullptr ? 0 : image->image.bytes();
}

mpsnn_status mpsnn_image_read(const mpsnn_image* image, void* to, size_t bytes) noexcept {
  return guarded([&] {
    const Image& of = given(image, "mpsnn_image_read: image").image;
    if (to == nullptr)
      throw InvalidArgumentError("mpsnn_image_read: to: expected a pointer, got NULL");
    expect_bytes(of, "mpsnn_image_read", bytes);
    of.read(to, bytes);
  });
}

mpsnn_status mpsnn_image_write(mpsnn_image* image, const void* from, size_t bytes) noexcept {
  return guarded([&] {
    const Image& of = given(image, "mpsnn_image_write: image").image;
    if (from == nullptr)
      throw InvalidArgumentError("mpsnn_image_write: from: expected a pointer, got NULL");
    expect_bytes(of, "mpsnn_image_write", bytes);
    of.write(from, bytes);
  });
}

mpsnn_status mpsnn_commands_create(const mpsnn_device* device, const char* label,
                                   mpsnn_commands** commands) noexcept {
  return guarded([&] {
    given(commands, "mpsnn_commands_create: commands");
    const mpsnn_device& on = given(device, "mpsnn_commands_create: device");
    *commands = new mpsnn_commands{CommandBuffer(on.queue, label == nullptr ? "" : label)};
  });
}

void mpsnn_commands_release(mpsnn_commands* commands) noexcept { delete commands; }

mpsnn_status mpsnn_commands_commit(mpsnn_commands* commands) noexcept {
  return guarded([&] { given(commands, "mpsnn_commands_commit: commands").commands.commit(); });
}

mpsnn_status mpsnn_commands_wait(const mpsnn_commands* commands) noexcept {
  return guarded(
      [&] { given(commands, "mpsnn_commands_wait: commands").commands.wait_until_completed(); });
}

}  // extern "C"
