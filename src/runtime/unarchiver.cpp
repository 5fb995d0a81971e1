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
#include "runtime/mapped_memory.h"
#include "runtime/parameter_state.h"
#include "runtime/recurrent_archive.h"

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
  for (const std::string_view list :
       {"graphs", "kernels", "recurrent_layers", "objects", "named_data_sources"}) {
    const auto there = root.find(list);
    if (!there) continue;
    for (const auto& entry : there->object()) {
      if (base::leads_elsewhere(entry.first))
        there->fail("expected names, got a path to elsewhere, " +
                    base::to_string(Json(entry.first)));
    }
  }
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
  Impl(const Device& for_device, const std::string& from,
       std::map<std::string, DecodeObject> allowed)
      : device(for_device),
        path(from),
        file(from),
        document(read_document(file)),
        classes(std::move(allowed)) {
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
  const std::map<std::string, DecodeObject> classes;  // that the program has named
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

  RNNAnyLayer decode_layer(const std::string& key) {
    const std::lock_guard lock(mutex);
    return runtime::read_layer(
        device, root().at("recurrent_layers").at(key),
        [this](const JsonField& index) { return source_at(index.index(sources.size())); });
  }

  std::shared_ptr<DataSource> decode_data_source(const std::string& key) {
    const std::lock_guard lock(mutex);
    return source_at(root().at("named_data_sources").at(key).index(sources.size()));
  }

  std::shared_ptr<SecureCoding> decode_object(const std::string& key) const {
    return decode_own(root().at("objects").at(key), runtime::object_tensors(key));
  }

  /// Keys of one of the document's lists, which archives that are older than it lack.
  std::vector<std::string> keys_of(std::string_view list) const {
    std::vector<std::string> keys;
    const auto there = root().find(list);
    if (!there) return keys;
    for (const auto& entry : there->object()) keys.push_back(entry.first);
    return keys;
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
    if (!optimizer) optimizer = graph::read_optimizer(root().at("optimizers").at(which));
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
      find_tensor(field, parameter.name, runtime::kFloatTensor, parameter.shape);
      weights.values =
          MappedFloats(file.file(), reinterpret_cast<const float*>(tensor.bytes.data()),
                       tensor.bytes.size() / sizeof(float));
    }
    return weights;
  }

  /// Keys of the arrays that an object stored: those listed; all that begin with the prefix in
  /// files that are older than the list.
  std::vector<std::string> array_keys(const JsonField& field, const std::string& prefix) const {
    std::vector<std::string> keys;
    if (const auto listed = field.find(runtime::kSecureArrays)) {
      for (std::size_t i = 0; i < listed->size(); ++i) keys.push_back(listed->at(i).string());
      return keys;
    }
    for (auto at = file.tensors().lower_bound(prefix);
         at != file.tensors().end() && at->first.starts_with(prefix); ++at)
      keys.push_back(at->first.substr(prefix.size()));
    return keys;
  }

  std::map<std::string, Coder::Array, std::less<>> arrays_of(const JsonField& field,
                                                             const std::string& prefix) const {
    std::map<std::string, Coder::Array, std::less<>> arrays;
    for (const std::string& key : array_keys(field, prefix)) {
      if (arrays.contains(key)) field.fail("arrays: expected each once, got \"" + key + "\" again");
      const auto found = file.tensors().find(prefix + key);
      if (found == file.tensors().end())
        field.fail("expected a tensor \"" + prefix + key + "\", got none");
      const base::TensorView& tensor = found->second;
      if (tensor.dtype != runtime::kFloatTensor)
        field.fail("tensor \"" + found->first + "\": expected F32, got " + tensor.dtype);
      arrays.emplace(key, Coder::Array{tensor.shape, elements_of<float>(tensor)});
    }
    return arrays;
  }

  /// An object of a class of the program's, which must have been named.
  std::shared_ptr<SecureCoding> decode_own(const JsonField& field,
                                           const std::string& prefix) const {
    const JsonField name = field.at("class");
    const auto found = classes.find(name.string());
    if (found == classes.end()) {
      std::string named;
      for (const auto& entry : classes)
        named += (named.empty() ? "one of \"" : ", \"") + entry.first + "\"";
      name.fail("expected a class that the unarchiver allows, " +
                (named.empty() ? "which are none" : named) + ", got \"" + name.string() + "\"");
    }
    auto object = found->second(
        Coder(graph::read_attributes(field.at("values")), arrays_of(field, prefix), field.path()));
    if (!object) field.fail("expected an object from its class's function, got none");
    return object;
  }

  std::shared_ptr<DataSource> read_own_source(const JsonField& field, const JsonField& own,
                                              std::shared_ptr<Optimizer> optimizer) {
    const std::string prefix =
        field.at("name").string() + "." + std::string(runtime::kSecureTensor);
    auto source = std::dynamic_pointer_cast<DataSource>(decode_own(own, prefix));
    const JsonField base = field.at("class");
    if (!source || source->class_name() != base.string())
      own.fail("expected a class that derives from " + base.string());
    source->set_label(field.at("label").string());
    source->set_trainable(field.at("trainable").boolean());
    source->set_optimizer(std::move(optimizer));
    const auto state = runtime::ParameterState::of(*source, device.state());
    for (const ParameterInfo& parameter : source->parameters())
      state->write(*source, parameter.name, read_values(field, base.string(), parameter));
    return source;
  }

  /// The values that a parameter of an own data source had.
  std::vector<float> read_values(const JsonField& field, std::string_view class_name,
                                 const ParameterInfo& parameter) const {
    if (class_name == "ConvolutionDataSource" && parameter.name == "weights") {
      if (const auto weights = read_weights(field, parameter))
        return weights->floats(weights->count() / static_cast<std::size_t>(parameter.shape[0]));
    } else if (auto values = read_floats(field, parameter.name, parameter.shape)) {
      return *std::move(values);
    }
    field.fail("expected a tensor of its " + parameter.name + ", got none");
  }

  std::shared_ptr<DataSource> read_source(const JsonField& field) {
    std::shared_ptr<Optimizer> optimizer;
    if (const auto index = field.find("optimizer")) optimizer = optimizer_at(*index);
    if (const auto own = field.find(runtime::kSecureCoding)) {
      auto source = read_own_source(field, *own, std::move(optimizer));
      if (source->optimizer()) restore_optimizer_state(field, *source);
      return source;
    }
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
        const base::TensorView* values =
            find_tensor(field, name, runtime::kFloatTensor, parameter.shape);
        if (values == nullptr) continue;
        if (auto memory = runtime::map_bytes(*device.state(), file.file(), values->bytes)) {
          state->adopt(source, name, std::move(memory));
        } else {
          state->write(source, name, elements_of<float>(*values));
        }
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

std::vector<std::string> Archive::keys() const { return impl_->keys_of("graphs"); }
std::vector<std::string> Archive::kernel_keys() const { return impl_->keys_of("kernels"); }
std::vector<std::string> Archive::recurrent_layer_keys() const {
  return impl_->keys_of("recurrent_layers");
}
std::vector<std::string> Archive::object_keys() const { return impl_->keys_of("objects"); }
std::vector<std::string> Archive::data_source_keys() const {
  return impl_->keys_of("named_data_sources");
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

RNNAnyLayer Archive::decode_recurrent_layer(const std::string& key) const {
  check_key("Archive \"" + impl_->path + "\": decode_recurrent_layer: key", recurrent_layer_keys(),
            key);
  return with_path(impl_->path, [&] { return impl_->decode_layer(key); });
}

std::shared_ptr<DataSource> Archive::decode_data_source(const std::string& key) const {
  check_key("Archive \"" + impl_->path + "\": decode_data_source: key", data_source_keys(), key);
  return with_path(impl_->path, [&] { return impl_->decode_data_source(key); });
}

std::shared_ptr<SecureCoding> Archive::decode_object(const std::string& key) const {
  check_key("Archive \"" + impl_->path + "\": decode_object: key", object_keys(), key);
  return with_path(impl_->path, [&] { return impl_->decode_object(key); });
}

void KeyedUnarchiver::allow(const std::string& class_name, DecodeObject decode) {
  if (class_name.empty())
    throw_expected("KeyedUnarchiver: allow: class_name", "a name", "an empty one");
  if (!decode) throw_expected("KeyedUnarchiver: allow: decode", "a function", "none");
  if (!classes_.emplace(class_name, std::move(decode)).second) {
    throw_expected("KeyedUnarchiver: allow: class_name", "a new one",
                   "\"" + class_name + "\" again");
  }
}

Archive KeyedUnarchiver::open(const std::string& path) const {
  return with_path(
      path, [&] { return Archive(std::make_shared<Archive::Impl>(device_, path, classes_)); });
}

}  // namespace mpsnn
