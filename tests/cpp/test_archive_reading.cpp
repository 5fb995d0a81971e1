// SPDX-License-Identifier: MIT
// The reading rules of docs/archive-format.md: what an older library must ignore of a newer one's
// archive, what it must refuse, and what may be absent.
#include <functional>

#include "archive_fixtures.h"
#include "base/json.h"
#include "base/safetensors.h"
#include "mpsnn/archive.h"
#include "mpsnn/error.h"
#include "mpsnn/kernels.h"
#include "mpsnn/nodes.h"
#include "mpsnn/rnn.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;
using base::Json;

namespace {

/// An object, and weights, of a program's own classes.
struct Level final : SecureCoding {
  std::string secure_class_name() const override { return "Level"; }
  void encode(Coder& coder) const override { coder.encode("level", 0.5); }
  static std::shared_ptr<SecureCoding> decode(const Coder& coder) {
    CHECK_EQ(coder.decode_as<double>("level"), 0.5);
    return std::make_shared<Level>();
  }
};

struct Flat final : ConvolutionDataSource, SecureCoding {
  Flat() : ConvolutionDataSource(three_to_four(), false, "flat") {}
  std::vector<float> values(std::string_view) const override {
    return std::vector<float>(static_cast<std::size_t>(three_to_four().weight_count()), 0.25F);
  }
  std::string secure_class_name() const override { return "Flat"; }
  void encode(Coder& coder) const override { coder.encode("level", 0.25); }
  static std::shared_ptr<SecureCoding> decode(const Coder&) { return std::make_shared<Flat>(); }

  static ConvolutionDescriptor three_to_four() {
    ConvolutionDescriptor descriptor;
    descriptor.kernel_width = descriptor.kernel_height = 1;
    descriptor.input_feature_channels = 3;
    descriptor.output_feature_channels = 4;
    return descriptor;
  }
};

using Path = std::vector<Json>;
using Change = std::function<void(Json::Object&)>;

Json::Object& object(Json& value) {
  return const_cast<Json::Object&>(*value.get_if<Json::Object>());
}

/// An archive with something of each kind: data source 0 and optimizer 0 belong to the graph "net",
/// the layer "layer" has the last data source, of a class of its own.
class Everything {
 public:
  Everything() {
    const Rig rig;
    const SmallNet net(std::make_shared<OptimizerAdam>());
    RNNSingleGateDescriptor layer;
    layer.input_feature_channels = 3;
    layer.output_feature_channels = 4;
    layer.input_weights = std::make_shared<Flat>();
    KeyedArchiver archiver;
    archiver.encode("net", net.training(rig.device));
    archiver.encode("noise", MatrixRandomPhilox(rig.device));
    archiver.encode("layer", RNNMatrixInferenceLayer(rig.device, layer));
    archiver.encode("alone", layer.input_weights, rig.device);
    archiver.encode("settings", Level());
    archiver.write(folder_ / "good");
    document_ = base::parse_json(base::SafetensorsFile(folder_ / "good").metadata().at("mpsnn"));
    last_source_ =
        static_cast<std::int64_t>(object(document_)["data_sources"].get_if<Json::Array>()->size()) -
        1;
  }

  Json last_source() const { return last_source_; }

  /// Changes the object at a path of the document, an empty one where there is another value, adds
  /// `strays` and reads all.
  void read(const Path& path, const Change& change,
            std::vector<base::TensorToWrite> strays = {}) const {
    Json document = document_;
    Json* at = &document;
    for (const Json& step : path) {
      if (const std::string* key = step.get_if<std::string>()) {
        at = &object(*at)[*key];
      } else {
        at = &const_cast<Json::Array*>(at->get_if<Json::Array>())
                  ->at(static_cast<std::size_t>(*step.get_if<std::int64_t>()));
      }
    }
    if (at->get_if<Json::Object>() == nullptr) *at = Json::Object();
    change(object(*at));
    const base::SafetensorsFile good(folder_ / "good");
    for (const auto& [name, tensor] : good.tensors())
      strays.push_back({name, tensor.dtype, tensor.shape, tensor.bytes});
    base::write_safetensors(folder_ / "changed", std::move(strays),
                            {{"mpsnn", base::to_string(document)}});
    read_all(folder_ / "changed");
  }

 private:
  static void read_all(const std::string& path) {
    const Rig rig;
    KeyedUnarchiver unarchiver(rig.device);
    unarchiver.allow("Level", &Level::decode);
    unarchiver.allow("Flat", &Flat::decode);
    const Archive archive = unarchiver.open(path);
    for (const auto& key : archive.keys()) static_cast<void>(archive.decode_graph(key));
    for (const auto& key : archive.kernel_keys()) static_cast<void>(archive.decode_kernel(key));
    for (const auto& key : archive.recurrent_layer_keys())
      static_cast<void>(archive.decode_recurrent_layer(key));
    for (const auto& key : archive.data_source_keys())
      static_cast<void>(archive.decode_data_source(key));
    for (const auto& key : archive.object_keys()) static_cast<void>(archive.decode_object(key));
  }

  Folder folder_;
  Json document_;
  std::int64_t last_source_ = 0;
};

Change with(const std::string& key, const Json& value) {
  return [=](Json::Object& at) { at[key] = value; };
}
Change without(const std::string& key) {
  return [=](Json::Object& at) { at.erase(key); };
}

const Path kNetwork = {"graphs", "net", "network"};
const Path kNode = {"graphs", "net", "network", "nodes", 0};
const Path kDescriptor = {"recurrent_layers", "layer", "descriptors", 0};

Path in(Path path, std::initializer_list<Json> rest) {
  path.insert(path.end(), rest.begin(), rest.end());
  return path;
}

}  // namespace

TEST_CASE("reading: keys from the future are ignored, whatever their values are") {
  const Everything all;
  const Path objects[] = {
      {},
      {"graphs", "net"},
      kNetwork,
      in(kNetwork, {"sources", 0}),
      in(kNetwork, {"results", 0}),
      kNode,
      in(kNode, {"sources", 0}),
      in(kNode, {"result"}),
      {"optimizers", 0},
      {"data_sources", 0},
      {"data_sources", 0, "attributes"},
      {"data_sources", all.last_source(), "secure_coding"},
      {"kernels", "noise"},
      {"recurrent_layers", "layer"},
      kDescriptor,
      {"objects", "settings"},
  };
  const Json values[] = {0.5, true, "text", Json(), Json::Array{1, "x"}, Json::Object{{"a", 1}}};
  for (const Path& path : objects) {
    for (const Json& value : values) all.read(path, with("from_the_future", value));
  }
  all.read({"objects", "settings", "values"}, with("from_the_future", 0.5));
  all.read(in(kNode, {"padding"}), [](Json::Object& padding) {
    padding = {{"method", 0}, {"from_the_future", Json::Array{1}}};
  });
}

TEST_CASE("reading: unknown attributes of nodes, kernels and layers are refused") {
  const Everything all;
  const Path objects[] = {
      in(kNode, {"attributes"}),
      {"kernels", "noise", "attributes"},
      {"recurrent_layers", "layer", "attributes"},
      in(kDescriptor, {"attributes"}),
      in(kDescriptor, {"weights"}),
  };
  for (const Path& path : objects) {
    for (const Json& value : {Json(0), Json(Json::Object{{"f64s", Json::Array{0.5}}})}) {
      CHECK_THROWS_CONTAINS(all.read(path, with("from_the_future", value)), ArchiveError,
                            "from_the_future");
    }
  }
}

TEST_CASE("reading: what an optimizer has must be of its form") {
  const Everything all;
  const Path optimizer = {"optimizers", 0};
  all.read(optimizer, without("use_amsgrad"));  // of later archives
  CHECK_THROWS_CONTAINS(all.read(optimizer, without("beta1")), ArchiveError,
                        "optimizers[0]: make_optimizer: expected an attribute beta1, got none");
  CHECK_THROWS_CONTAINS(all.read(optimizer, with("beta1", Json::Object{{"a", 1}})), ArchiveError,
                        "optimizers[0].beta1");
}

TEST_CASE("reading: lists that came later may be absent, the first ones may not") {
  const Everything all;
  for (const char* list : {"kernels", "recurrent_layers", "named_data_sources", "objects"})
    all.read({}, without(list));
  for (const char* list : {"graphs", "data_sources", "optimizers", "format", "version"})
    CHECK_THROWS_CONTAINS(all.read({}, without(list)), ArchiveError, list);
}

TEST_CASE("reading: tensors that no entry refers to are ignored") {
  const Everything all;
  const std::vector<std::byte> bytes(16);
  for (const char* dtype : {"F32", "BF16", "I8"}) {
    const std::int64_t count = dtype[0] == 'F' ? 4 : dtype[0] == 'B' ? 8 : 16;
    all.read({}, [](Json::Object&) {},
             {{"from.the.future", dtype, {count}, bytes},
              {"kernels/other/state", dtype, {count}, bytes},
              {"objects/other/curve", dtype, {count}, bytes}});
  }
}

TEST_CASE("reading: a newer version is refused") {
  const Everything all;
  CHECK_THROWS_CONTAINS(all.read({}, with("version", 2)), ArchiveError,
                        "version: written by a newer mpsnn: expected at most 1, got 2");
}
