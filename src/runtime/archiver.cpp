// SPDX-License-Identifier: MIT
// Writing archives; docs/archive-format.md describes the file.
#include <algorithm>
#include <cstring>
#include <set>
#include <utility>
#include <variant>

#include "base/check.h"
#include "base/safetensors.h"
#include "graph/serialize.h"
#include "mpsnn/archive.h"
#include "runtime/archive_format.h"
#include "runtime/graph_impl.h"
#include "runtime/parameter_state.h"
#include "runtime/recurrent_archive.h"

namespace mpsnn {
namespace {

using base::Json;

/// A tensor of a data source as it was when the archive took it.
struct StoredTensor {
  std::string name;  // within the data source: "weights.momentum"
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;
};

struct StoredSource {
  std::shared_ptr<DataSource> source;
  Json::Object json;
  std::vector<StoredTensor> tensors;
};

template <class T>
StoredTensor store(std::string name, std::string_view dtype, std::vector<std::int64_t> shape,
                   std::span<const T> values) {
  const auto bytes = std::as_bytes(values);
  return {std::move(name), std::string(dtype), std::move(shape), {bytes.begin(), bytes.end()}};
}

/// Weights that are still those that they were given as, in their own element type; false, and
/// nothing is added, for others and for float32.
bool add_as_given(const DataSource& source, const ParameterInfo& parameter,
                  const std::vector<float>& values, std::vector<StoredTensor>& tensors) {
  const auto* convolution = dynamic_cast<const ConvolutionDataSource*>(&source);
  if (convolution == nullptr || parameter.name != "weights") return false;
  const ConvolutionWeights& weights = convolution->stored_weights();
  if (weights.data_type() == DataType::FLOAT32) return false;
  const std::vector<float> given = source.initial(parameter.name);
  if (std::memcmp(given.data(), values.data(), given.size() * sizeof(float)) != 0) return false;
  const auto add_floats = [&](std::string_view suffix, const std::vector<float>& numbers,
                              std::vector<std::int64_t> shape) {
    if (numbers.empty()) return;
    tensors.push_back(store<float>(parameter.name + std::string(suffix), runtime::kFloatTensor,
                                   std::move(shape), numbers));
  };
  if (const auto* halves = std::get_if<std::vector<std::uint16_t>>(&weights.values)) {
    tensors.push_back(
        store<std::uint16_t>(parameter.name, runtime::kHalfTensor, parameter.shape, *halves));
  } else {
    tensors.push_back(store<std::uint8_t>(parameter.name, runtime::kByteTensor, parameter.shape,
                                          std::get<std::vector<std::uint8_t>>(weights.values)));
  }
  add_floats(runtime::kRangesTensor, weights.ranges, {parameter.shape[0], 2});
  add_floats(runtime::kTableTensor, weights.lookup_table,
             {static_cast<std::int64_t>(weights.lookup_table.size())});
  return true;
}

/// What an object says of itself; arrays are added as tensors whose names begin with `prefix`.
Json secure_json(const SecureCoding& object, const std::string& prefix,
                 std::vector<StoredTensor>& tensors) {
  Coder coder;
  object.encode(coder);
  Json::Array arrays;
  for (const auto& [key, array] : coder.arrays()) {
    tensors.push_back(store<float>(prefix + key, runtime::kFloatTensor, array.shape, array.values));
    arrays.emplace_back(key);
  }
  return Json::Object{{"class", object.secure_class_name()},
                      {"values", graph::to_json(coder.values())},
                      {std::string(runtime::kSecureArrays), std::move(arrays)}};
}

std::vector<StoredTensor> snapshot(const DataSource& source,
                                   const std::shared_ptr<runtime::DeviceState>& device) {
  const auto state = runtime::ParameterState::of(source, device);
  std::vector<StoredTensor> tensors;
  const auto add = [&](const std::string& name, const ParameterInfo& parameter) {
    const std::vector<float> values = state->read(source, name);
    if (name == parameter.name && add_as_given(source, parameter, values, tensors)) return;
    tensors.push_back(store<float>(name, runtime::kFloatTensor, parameter.shape, values));
  };
  for (const ParameterInfo& parameter : source.parameters()) {
    add(parameter.name, parameter);
    if (!source.optimizer() || !parameter.trained) continue;
    for (const std::string& moment : source.optimizer()->moments()) {
      const std::string name = parameter.name + "." + moment;
      if (state->find(name)) add(name, parameter);  // not made yet: zeros, as after reading
    }
    const std::int64_t step = state->time_step(source, parameter.name);
    tensors.push_back(store<std::int64_t>(parameter.name + std::string(runtime::kTimeStepTensor),
                                          runtime::kCounterTensor, {}, std::span(&step, 1)));
  }
  return tensors;
}

}  // namespace

struct KeyedArchiver::Impl {
  std::vector<StoredSource> sources;
  std::vector<std::pair<std::shared_ptr<Optimizer>, Json>> optimizers;
  Json::Object graphs, kernels, layers, objects;
  std::map<std::string, std::shared_ptr<DataSource>> named_sources;
  std::vector<StoredTensor> other_tensors;  // kernels' states, arrays of objects
  std::map<std::string, std::string> metadata;

  void check_key(const std::string& key) const {
    if (key.empty()) throw_expected("KeyedArchiver: encode: key", "a name", "an empty one");
    if (base::leads_elsewhere(key))
      throw_expected("KeyedArchiver: encode: key", "a name",
                     "a path to elsewhere, " + base::to_string(Json(key)));
    if (graphs.contains(key) || kernels.contains(key) || layers.contains(key) ||
        objects.contains(key) || named_sources.contains(key))
      throw_expected("KeyedArchiver: encode: key", "a new one", "\"" + key + "\" again");
  }

  std::size_t index_of(const DataSource& source) const {
    const auto found = std::ranges::find(sources, &source,
                                         [](const StoredSource& one) { return one.source.get(); });
    check_internal(found != sources.end(), "data sources are taken before the nodes that use them");
    return static_cast<std::size_t>(found - sources.begin());
  }

  std::int64_t take(const std::shared_ptr<Optimizer>& optimizer) {
    Json json = graph::to_json(optimizer->attributes());
    const auto found =
        std::ranges::find(optimizers, optimizer, [](const auto& one) { return one.first; });
    const auto index = found - optimizers.begin();
    if (found == optimizers.end()) {
      optimizers.emplace_back(optimizer, std::move(json));
    } else {
      found->second = std::move(json);
    }
    return index;
  }

  /// A data source that was taken before is brought up to date.
  void take(const std::shared_ptr<DataSource>& source,
            const std::shared_ptr<runtime::DeviceState>& device) {
    StoredSource stored{source, graph::to_json(*source), snapshot(*source, device)};
    if (source->optimizer()) stored.json["optimizer"] = take(source->optimizer());
    const auto* own = dynamic_cast<const SecureCoding*>(source.get());
    if (own != nullptr && !own->secure_class_name().empty()) {
      stored.json[std::string(runtime::kSecureCoding)] =
          secure_json(*own, std::string(runtime::kSecureTensor), stored.tensors);
    }
    const auto found = std::ranges::find(sources, source, &StoredSource::source);
    if (found == sources.end()) {
      sources.push_back(std::move(stored));
    } else {
      *found = std::move(stored);
    }
  }

  /// A name for each data source with which the names of all tensors differ: its label, or its
  /// index. Labels that came with an ONNX model may begin with a slash.
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    std::set<std::string> taken;
    for (std::size_t i = 0; i < sources.size(); ++i) {
      const std::string& label = sources[i].source->label();
      std::string wanted = label.substr(std::min(label.find_first_not_of('/'), label.size()));
      if (wanted.empty() || base::leads_elsewhere(wanted)) wanted = std::to_string(i);
      std::string name = wanted;
      const auto collides = [&](const StoredTensor& tensor) {
        return taken.contains(name + "." + tensor.name);
      };
      for (int n = 2; std::ranges::any_of(sources[i].tensors, collides); ++n)
        name = wanted + "#" + std::to_string(n);
      for (const StoredTensor& tensor : sources[i].tensors) taken.insert(name + "." + tensor.name);
      names.push_back(std::move(name));
    }
    return names;
  }

  Json document(const std::vector<std::string>& names) const {
    Json::Array optimizer_list, source_list;
    Json::Object named;
    for (const auto& optimizer : optimizers) optimizer_list.push_back(optimizer.second);
    for (std::size_t i = 0; i < sources.size(); ++i) {
      Json::Object json = sources[i].json;
      json["name"] = names[i];
      source_list.emplace_back(std::move(json));
    }
    for (const auto& [key, source] : named_sources)
      named.emplace(key, static_cast<std::int64_t>(index_of(*source)));
    return Json::Object{{"format", runtime::kArchiveFormat},
                        {"version", runtime::kArchiveVersion},
                        {"optimizers", std::move(optimizer_list)},
                        {"data_sources", std::move(source_list)},
                        {"graphs", graphs},
                        {"kernels", kernels},
                        {"recurrent_layers", layers},
                        {"named_data_sources", std::move(named)},
                        {"objects", objects}};
  }
};

KeyedArchiver::KeyedArchiver() : impl_(std::make_shared<Impl>()) {}

void KeyedArchiver::encode(const std::string& key, const Graph& graph) {
  impl_->check_key(key);
  const Graph::Impl& compiled = *graph.impl();
  for (const auto& source : compiled.network.data_sources)
    impl_->take(source, compiled.device.state());
  Json json = graph::to_json(compiled.network,
                             [this](const DataSource& source) { return impl_->index_of(source); });
  impl_->graphs.emplace(key, Json::Object{{"label", compiled.label}, {"network", std::move(json)}});
}

void KeyedArchiver::encode(const std::string& key, const DeviceKernel& kernel) {
  impl_->check_key(key);
  const std::size_t bytes = kernel.state_bytes();
  if (bytes != 0) {
    std::vector<std::byte> state(bytes);
    kernel.read_state(state.data(), bytes);
    impl_->other_tensors.push_back(store<std::byte>(runtime::kernel_tensor(key),
                                                    runtime::kByteTensor,
                                                    {static_cast<std::int64_t>(bytes)}, state));
  }
  impl_->kernels.emplace(key, Json::Object{{"class", std::string(kernel.class_name())},
                                           {"label", kernel.label()},
                                           {"attributes", graph::to_json(kernel.attributes())}});
}

void KeyedArchiver::encode(const std::string& key, const RNNLayer& layer) {
  impl_->check_key(key);
  const runtime::RecurrentLayer& state = *layer.state();
  for (const RNNLayerDescriptor& descriptor : state.descriptors) {
    graph::for_each_weights(
        descriptor, [&](const RNNWeights& weights) { impl_->take(weights, state.device.state()); });
  }
  Json json =
      runtime::to_json(state, [this](const DataSource& source) { return impl_->index_of(source); });
  impl_->layers.emplace(key, std::move(json));
}

void KeyedArchiver::encode(const std::string& key, const std::shared_ptr<DataSource>& source,
                           const Device& device) {
  impl_->check_key(key);
  if (!source) throw_expected("KeyedArchiver: encode: source", "a data source", "none");
  impl_->take(source, device.state());
  impl_->named_sources.emplace(key, source);
}

void KeyedArchiver::encode(const std::string& key, const SecureCoding& object) {
  impl_->check_key(key);
  if (object.secure_class_name().empty())
    throw_expected("KeyedArchiver: encode: object: secure_class_name", "a name", "an empty one");
  Json json = secure_json(object, runtime::object_tensors(key), impl_->other_tensors);
  impl_->objects.emplace(key, std::move(json));
}

void KeyedArchiver::set_metadata(const std::string& key, std::string value) {
  if (key.empty() || key == runtime::kArchiveKey) {
    throw_expected("KeyedArchiver: set_metadata: key",
                   "a name other than \"" + std::string(runtime::kArchiveKey) + "\"",
                   "\"" + key + "\"");
  }
  impl_->metadata[key] = std::move(value);
}

void KeyedArchiver::write(const std::string& path) const {
  const std::vector<std::string> names = impl_->names();
  std::map<std::string, std::string> metadata = impl_->metadata;
  metadata.emplace(runtime::kArchiveKey, base::to_string(impl_->document(names)));
  std::vector<base::TensorToWrite> tensors;
  for (std::size_t i = 0; i < names.size(); ++i) {
    for (const StoredTensor& tensor : impl_->sources[i].tensors) {
      tensors.push_back({names[i] + "." + tensor.name, tensor.dtype, tensor.shape, tensor.bytes});
    }
  }
  for (const StoredTensor& tensor : impl_->other_tensors)
    tensors.push_back({tensor.name, tensor.dtype, tensor.shape, tensor.bytes});
  base::write_safetensors(path, std::move(tensors), metadata);
}

}  // namespace mpsnn
