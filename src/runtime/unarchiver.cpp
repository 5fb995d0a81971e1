// SPDX-License-Identifier: MIT
// Reading archives; docs/archive-format.md describes the file. Nothing in it is trusted.
#include <cstring>
#include <mutex>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/safetensors.h"
#include "graph/serialize.h"
#include "graph/serialize_tools.h"
#include "mpsnn/archive.h"
#include "runtime/archive_format.h"
#include "runtime/parameter_state.h"

namespace mpsnn {
namespace {

using base::Json;
using base::JsonField;

/// The document of an archive. Throws ArchiveError where there is none that this library can read.
Json read_document(const base::SafetensorsFile& file) {
  const auto found = file.metadata().find(std::string(runtime::kArchiveKey));
  if (found == file.metadata().end())
    throw ArchiveError("not an archive of mpsnn: it holds no graphs");
  Json document = base::parse_json(found->second);
  const JsonField root(document, "archive");
  const JsonField format = root.at("format"), version = root.at("version");
  if (format.string() != runtime::kArchiveFormat)
    format.fail("expected \"mpsnn\", got \"" + format.string() + "\"");
  if (version.integer(1) > runtime::kArchiveVersion) {
    version.fail("written by a newer mpsnn: expected at most " +
                 std::to_string(runtime::kArchiveVersion) + ", got " +
                 std::to_string(version.integer()));
  }
  static_cast<void>(root.at("graphs").object());
  if (const auto kernels = root.find("kernels")) static_cast<void>(kernels->object());
  static_cast<void>(root.at("data_sources").size());
  static_cast<void>(root.at("optimizers").size());
  return document;
}

/// Runs `read`; what is wrong with the archive is told with its path.
template <class Read>
auto with_path(const std::string& path, const Read& read) {
  try {
    return read();
  } catch (const ArchiveError& error) {
    const std::string_view text = error.what();
    if (text.find(path) != std::string_view::npos) throw;
    throw ArchiveError("\"" + path + "\": " + std::string(text));
  }
}

}  // namespace

struct Archive::Impl {
  Impl(const Device& for_device, const std::string& from)
      : device(for_device), path(from), file(from), document(read_document(file)) {
    for (const auto& entry : file.metadata()) {
      if (entry.first != runtime::kArchiveKey) metadata.insert(entry);
    }
    sources.resize(root().at("data_sources").size());
    optimizers.resize(root().at("optimizers").size());
  }

  const Device device;
  const std::string path;
  const base::SafetensorsFile file;
  const Json document;
  std::map<std::string, std::string> metadata;

  std::mutex mutex;  // guards what graphs share; made at the first use
  std::vector<std::shared_ptr<DataSource>> sources;
  std::vector<std::shared_ptr<Optimizer>> optimizers;

  JsonField root() const { return {document, "archive"}; }

  Graph decode(const std::string& key) {
    const std::lock_guard lock(mutex);
    const JsonField entry = root().at("graphs").at(key);
    const graph::NetworkRoots roots = graph::read_network(
        entry.at("network"),
        [this](const JsonField& index) { return source_at(index.index(sources.size())); });
    try {
      Graph graph(device, roots.results, roots.needed, roots.format);
      graph.set_label(entry.at("label").string());
      return graph;
    } catch (const InvalidArgumentError& error) {
      entry.fail(error.what());
    } catch (const UnsupportedError& error) {
      entry.fail(error.what());
    }
  }

  DeviceKernel decode_kernel(const std::string& key) const {
    const JsonField entry = root().at("kernels").at(key);
    const AttributeMap attributes = graph::read_attributes(entry.at("attributes"));
    DeviceKernel kernel = graph::built(
        entry, [&] { return DeviceKernel(device, entry.at("class").string(), attributes); });
    kernel.set_label(entry.at("label").string());
    const std::string name = runtime::kernel_tensor(key);
    const auto found = file.tensors().find(name);
    if (kernel.state_bytes() == 0) return kernel;
    if (found == file.tensors().end()) entry.fail("expected a tensor \"" + name + "\", got none");
    const std::vector<std::int64_t> shape = {static_cast<std::int64_t>(kernel.state_bytes())};
    if (found->second.dtype != runtime::kByteTensor || found->second.shape != shape) {
      entry.fail("tensor \"" + name + "\": expected " + std::to_string(kernel.state_bytes()) +
                 " bytes, the state of a " + std::string(kernel.class_name()));
    }
    kernel.write_state(found->second.bytes.data(), found->second.bytes.size());
    return kernel;
  }

 private:
  std::shared_ptr<DataSource> source_at(std::size_t index) {
    std::shared_ptr<DataSource>& source = sources[index];
    if (!source) source = read_source(root().at("data_sources").at(index));
    return source;
  }

  std::shared_ptr<Optimizer> optimizer_at(const JsonField& index) {
    const std::size_t which = index.index(optimizers.size());
    std::shared_ptr<Optimizer>& optimizer = optimizers[which];
    if (optimizer) return optimizer;
    const JsonField field = root().at("optimizers").at(which);
    const AttributeMap attributes = graph::read_attributes(field);
    try {
      optimizer = make_optimizer(attributes);
    } catch (const InvalidArgumentError& error) {
      field.fail(error.what());
    }
    return optimizer;
  }

  const base::TensorView* find_tensor(const JsonField& field, const std::string& name,
                                      std::string_view dtype,
                                      const std::vector<std::int64_t>& shape) const {
    const auto found = file.tensors().find(field.at("name").string() + "." + name);
    if (found == file.tensors().end()) return nullptr;
    if (found->second.dtype != dtype || found->second.shape != shape) {
      field.fail("tensor \"" + found->first +
                 "\": its type or shape is not that of the data source");
    }
    return &found->second;
  }

  std::optional<std::vector<float>> read_floats(const JsonField& field, const std::string& name,
                                                const std::vector<std::int64_t>& shape) const {
    const base::TensorView* tensor = find_tensor(field, name, runtime::kFloatTensor, shape);
    if (tensor == nullptr) return std::nullopt;
    return elements_of<float>(*tensor);
  }

  template <class T>
  static std::vector<T> elements_of(const base::TensorView& tensor) {
    std::vector<T> elements(tensor.bytes.size() / sizeof(T));
    std::memcpy(elements.data(), tensor.bytes.data(), tensor.bytes.size());
    return elements;
  }

  /// Weights in the element type in which they are stored.
  std::optional<ConvolutionWeights> read_weights(const JsonField& field,
                                                 const ParameterInfo& parameter) const {
    const auto found = file.tensors().find(field.at("name").string() + "." + parameter.name);
    if (found == file.tensors().end()) return std::nullopt;
    const base::TensorView& tensor = found->second;
    ConvolutionWeights weights;
    if (tensor.dtype == runtime::kHalfTensor) {
      find_tensor(field, parameter.name, runtime::kHalfTensor, parameter.shape);
      weights.values = elements_of<std::uint16_t>(tensor);
    } else if (tensor.dtype == runtime::kByteTensor) {
      find_tensor(field, parameter.name, runtime::kByteTensor, parameter.shape);
      weights.values = elements_of<std::uint8_t>(tensor);
      const auto numbers = [&](std::string_view suffix, const std::vector<std::int64_t>& shape) {
        return read_floats(field, parameter.name + std::string(suffix), shape)
            .value_or(std::vector<float>());
      };
      weights.ranges = numbers(runtime::kRangesTensor, {parameter.shape[0], 2});
      weights.lookup_table = numbers(runtime::kTableTensor, {256});
    } else {
      weights.values = *read_floats(field, parameter.name, parameter.shape);
    }
    return weights;
  }

  std::shared_ptr<DataSource> read_source(const JsonField& field) {
    std::shared_ptr<Optimizer> optimizer;
    if (const auto index = field.find("optimizer")) optimizer = optimizer_at(*index);
    auto source = graph::read_data_source(
        field,
        [&](const ParameterInfo& parameter) {
          return read_floats(field, parameter.name, parameter.shape);
        },
        [&](const ParameterInfo& parameter) { return read_weights(field, parameter); },
        std::move(optimizer));
    if (source->optimizer()) restore_optimizer_state(field, *source);
    return source;
  }

  /// Moments and counts go to the device as they were: training continues with the same bits.
  void restore_optimizer_state(const JsonField& field, DataSource& source) {
    const auto state = runtime::ParameterState::of(source, device.state());
    for (const ParameterInfo& parameter : source.parameters()) {
      if (!parameter.trained) continue;
      for (const std::string& moment : source.optimizer()->moments()) {
        const std::string name = parameter.name + "." + moment;
        if (const auto values = read_floats(field, name, parameter.shape))
          state->write(source, name, *values);
      }
      const std::string name = parameter.name + std::string(runtime::kTimeStepTensor);
      const base::TensorView* tensor = find_tensor(field, name, runtime::kCounterTensor, {});
      if (tensor == nullptr) continue;
      std::int64_t step = 0;
      std::memcpy(&step, tensor->bytes.data(), sizeof step);
      if (step < 0)
        field.fail("tensor \"" + name + "\": expected >= 0, got " + std::to_string(step));
      state->set_time_step(source, parameter.name, step);
    }
  }
};

std::vector<std::string> Archive::keys() const {
  std::vector<std::string> keys;
  for (const auto& entry : impl_->root().at("graphs").object()) keys.push_back(entry.first);
  return keys;
}

std::vector<std::string> Archive::kernel_keys() const {
  std::vector<std::string> keys;
  const auto kernels = impl_->root().find("kernels");
  if (!kernels) return keys;  // of an archive that was written before there were any
  for (const auto& entry : kernels->object()) keys.push_back(entry.first);
  return keys;
}

const std::map<std::string, std::string>& Archive::metadata() const { return impl_->metadata; }

namespace {

void check_key(const std::string& title, const std::vector<std::string>& keys,
               const std::string& key) {
  std::string there;
  for (const std::string& one : keys) {
    if (one == key) return;
    there += (there.empty() ? "\"" : ", \"") + one + "\"";
  }
  throw_expected(title, there.empty() ? "none, there are none" : "one of " + there,
                 "\"" + key + "\"");
}

}  // namespace

Graph Archive::decode_graph(const std::string& key) const {
  check_key("Archive \"" + impl_->path + "\": decode_graph: key", keys(), key);
  return with_path(impl_->path, [&] { return impl_->decode(key); });
}

DeviceKernel Archive::decode_kernel(const std::string& key) const {
  check_key("Archive \"" + impl_->path + "\": decode_kernel: key", kernel_keys(), key);
  return with_path(impl_->path, [&] { return impl_->decode_kernel(key); });
}

Archive KeyedUnarchiver::open(const std::string& path) const {
  return with_path(path, [&] { return Archive(std::make_shared<Archive::Impl>(device_, path)); });
}

}  // namespace mpsnn
