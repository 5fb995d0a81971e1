// SPDX-License-Identifier: MIT
// Archives that are broken, foreign or made to do harm: an error, and nothing else.
#include <functional>
#include <random>

#include "archive_fixtures.h"
#include "base/json.h"
#include "base/safetensors.h"
#include "mpsnn/archive.h"
#include "mpsnn/error.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;
using base::Json;
using base::JsonField;

namespace {

/// The file of a small training graph.
std::string good_file(const Folder& folder) {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const SmallNet net(std::make_shared<OptimizerAdam>());
  const Graph graph = net.training(rig.device);
  train_once(graph, queue, batch(rig.device));
  KeyedArchiver archiver;
  archiver.encode("net", graph);
  archiver.set_metadata("note", "text");
  archiver.write(folder / "good");
  return read_bytes(folder / "good");
}

void open_and_decode(const Device& device, const std::string& path) {
  const Archive archive = KeyedUnarchiver(device).open(path);
  for (const std::string& key : archive.keys()) static_cast<void>(archive.decode_graph(key));
}

/// A good archive whose document can be spoilt.
class Spoiler {
 public:
  Spoiler() : good_(good_file(folder_)), file_(folder_ / "good") {
    std::uint64_t length = 0;
    std::memcpy(&length, good_.data(), sizeof length);
    header_ = base::parse_json(std::string_view(good_).substr(sizeof length, length));
    data_ = good_.substr(sizeof length + length);
    document_ = base::parse_json(file_.metadata().at("mpsnn"));
  }

  /// Applies `spoil` to the value at a path of the document, writes the archive, and reads it.
  void read_spoilt(const std::vector<Json>& path, const std::function<void(Json&)>& spoil) const {
    Json document = document_;
    spoil(descend(document, path));
    read_text(to_string(document));
  }

  void read_text(const std::string& document) const {
    if (without_.empty()) {
      Json header =
          header_;  // the same tensors; written without fsync, since this runs thousands of times
      descend(header, {"__metadata__", "mpsnn"}) = document;
      write_bytes(folder_ / "spoilt", safetensors(to_string(header), data_));
    } else {
      std::vector<base::TensorToWrite> tensors;
      for (const auto& [name, tensor] : file_.tensors()) {
        if (name != without_) tensors.push_back({name, tensor.dtype, tensor.shape, tensor.bytes});
      }
      base::write_safetensors(folder_ / "spoilt", std::move(tensors), {{"mpsnn", document}});
    }
    const Rig rig;
    open_and_decode(rig.device, folder_ / "spoilt");
  }

  void leave_out(std::string tensor) { without_ = std::move(tensor); }
  const Json& document() const { return document_; }
  const Folder& folder() const { return folder_; }

 private:
  static Json& descend(Json& document, const std::vector<Json>& path) {
    Json* at = &document;
    for (const Json& step : path) {
      if (const std::string* key = step.get_if<std::string>()) {
        at = &(*const_cast<Json::Object*>(at->get_if<Json::Object>()))[*key];
      } else {
        at = &const_cast<Json::Array*>(at->get_if<Json::Array>())
                  ->at(static_cast<std::size_t>(*step.get_if<std::int64_t>()));
      }
    }
    return *at;
  }

  Folder folder_;
  std::string good_;
  base::SafetensorsFile file_;
  Json header_, document_;
  std::string data_, without_;
};

const std::vector<Json> kNetwork = {"graphs", "net", "network"};

std::vector<Json> in_network(std::vector<Json> rest) {
  std::vector<Json> path = kNetwork;
  path.insert(path.end(), rest.begin(), rest.end());
  return path;
}

}  // namespace

TEST_CASE("hostile: an unspoilt archive is read") {
  const Spoiler spoiler;
  spoiler.read_spoilt({}, [](Json&) {});
}

TEST_CASE("hostile: values of the document") {
  const Spoiler spoiler;
  struct Row {
    std::vector<Json> path;
    Json value;
    std::string part;
  };
  const std::string unknown_class = "NoSuchNode";
  const Row rows[] = {
      {{"format"}, "other", "format: expected \"mpsnn\""},
      {{"format"}, 1, "expected a string"},
      {{"version"}, 2, "written by a newer mpsnn"},
      {{"version"}, 0, "version"},
      {{"version"}, "1", "expected an integer"},
      {{"graphs"}, Json::Array{}, "expected an object"},
      {{"graphs", "net"}, Json(), "expected an object"},
      {{"graphs", "net", "label"}, 1, "label: expected a string"},
      {{"data_sources"}, 3, "expected an array"},
      {{"data_sources"}, Json::Array{}, "an index below 0"},
      {{"optimizers"}, Json::Object{}, "expected an array"},
      {{"optimizers"}, Json::Array{}, "an index below 0"},
      {{"optimizers", 0}, 1, "expected an object"},
      {{"optimizers", 0, "type"}, "OptimizerX", "OptimizerX"},
      {{"optimizers", 0, "beta1"}, 7.0, "beta1"},
      {{"optimizers", 0, "beta1"}, "x", "beta1"},
      {{"optimizers", 0, "learning_rate"}, Json::Object{{"f64", "nan"}}, "learning_rate"},
      {{"optimizers", 0, "time_step"}, -1, "time_step"},
      {{"optimizers", 0, "regularization_type"}, 9, "regularization_type"},
      {{"data_sources", 0, "class"}, "Virus", "Virus"},
      {{"data_sources", 0, "name"}, "other", "expected a tensor of its weights"},
      {{"data_sources", 0, "name"}, 1, "expected a string"},
      {{"data_sources", 0, "optimizer"}, -1, "an index below 1, got -1"},
      {{"data_sources", 0, "optimizer"}, 1, "an index below 1, got 1"},
      {{"data_sources", 0, "trainable"}, 1, "expected true or false"},
      {{"data_sources", 0, "attributes"}, Json::Array{}, "expected an object"},
      {{"data_sources", 0, "attributes", "groups"}, 0, "groups"},
      {{"data_sources", 0, "attributes", "groups"}, 2, "its type or shape"},
      {{"data_sources", 0, "attributes", "kernel_width"}, std::int64_t{1} << 40, "kernel_width"},
      {{"data_sources", 0, "attributes", "kernel_width"}, 5, "its type or shape"},
      {{"data_sources", 0, "attributes", "kernel_width"}, -3, "kernel_width"},
      {{"data_sources", 0, "attributes", "neuron_type"}, -1, "neuron_type"},
      {{"data_sources", 0, "attributes", "neuron_type"}, 99, "fused_neuron_descriptor"},
      {in_network({"sources"}), 1, "expected an array"},
      {in_network({"sources", 0}), 1, "expected an object"},
      {in_network({"sources", 0, "handle"}), "", "handle"},
      {in_network({"sources", 0, "handle"}), 1, "expected a string"},
      {in_network({"nodes"}), Json::Object{}, "expected an array"},
      {in_network({"nodes", 0}), Json::Array{}, "expected an object"},
      {in_network({"nodes", 0, "class"}), unknown_class, "NoSuchNode"},
      {in_network({"nodes", 0, "class"}), "", "nodes[0]"},
      {in_network({"nodes", 0, "class"}), "NeuronReLUNode", "nodes[0]"},
      {in_network({"nodes", 0, "label"}), 1, "expected a string"},
      {in_network({"nodes", 0, "weights"}), -1, "an index below 2, got -1"},
      {in_network({"nodes", 0, "weights"}), 2, "an index below 2, got 2"},
      {in_network({"nodes", 0, "weights"}), Json(), "weights"},
      {in_network({"nodes", 0, "padding"}), 1 << 14, "padding"},
      {in_network({"nodes", 0, "padding"}), "same", "expected an object"},
      {in_network({"nodes", 0, "training_style"}), 3, "from 0 to 2"},
      {in_network({"nodes", 0, "attributes"}), 1, "expected an object"},
      {in_network({"nodes", 0, "attributes"}), Json::Object{{"surprise", 1}}, "surprise"},
      {in_network({"nodes", 0, "attributes"}), Json::Object{{"edge_mode", "x"}}, "edge_mode"},
      {in_network({"nodes", 0, "attributes"}), Json::Object{{"edge_mode", Json::Object{}}}, "f64s"},
      {in_network({"nodes", 0, "attributes"}),
       Json::Object{{"edge_mode", Json::Object{{"f64", "many"}}}}, "many"},
      {in_network({"nodes", 0, "sources"}), Json::Array{}, "sources"},
      {in_network({"nodes", 0, "sources", 0}), Json::Object{{"source", 9}},
       "an index below 2, got 9"},
      {in_network({"nodes", 0, "sources", 0}), Json::Object{{"source", -1}}, "got -1"},
      {in_network({"nodes", 0, "sources", 0}), Json::Object{{"node", 0}},
       "an index below 0, got 0"},
      {in_network({"nodes", 1, "sources", 0}), Json::Object{{"node", 2}},
       "an index below 1, got 2"},
      {in_network({"nodes", 0, "sources", 0}), Json::Object{}, "expected a key \"node\""},
      {in_network({"nodes", 0, "result"}), Json::Object{{"format", "float7"}}, "float7"},
      {in_network({"nodes", 0, "result"}), Json::Object{{"export", true}}, "handle"},
      {in_network({"results"}), Json::Array{}, "at least one"},
      {in_network({"results", 0}), Json::Object{{"source", 0}, {"needed", true}}, "result_images"},
      {in_network({"results", 0, "needed"}), 1, "expected true or false"},
      {in_network({"results", 0, "node"}), 1000, "an index below"},
      {in_network({"results", 0, "node"}), std::numeric_limits<std::int64_t>::min(),
       "an index below"},
  };
  for (const Row& row : rows) {
    const auto spoil = [&](Json& value) { value = row.value; };
    CHECK_THROWS_CONTAINS(spoiler.read_spoilt(row.path, spoil), ArchiveError, row.part);
    CHECK_THROWS_CONTAINS(spoiler.read_spoilt(row.path, spoil), ArchiveError, "spoilt\": ");
  }
}

TEST_CASE("hostile: an inference link forward or to itself") {
  const Spoiler spoiler;
  const JsonField nodes =
      JsonField(spoiler.document(), "d").at("graphs").at("net").at("network").at("nodes");
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    for (const std::size_t target : {i, nodes.size() - 1}) {
      const auto link = [&](Json& node) {
        const_cast<Json::Object&>(*node.get_if<Json::Object>())["inference_node"] =
            static_cast<std::int64_t>(target);
      };
      const std::vector<Json> path = in_network({"nodes", static_cast<std::int64_t>(i)});
      CHECK_THROWS_CONTAINS(spoiler.read_spoilt(path, link), ArchiveError,
                            "inference_node: expected an index below");
    }
  }
}

TEST_CASE("hostile: every key left out, every value of another type") {
  const Spoiler spoiler;
  // Walks the document; whatever happens to a value must end in an error of ours or in a graph.
  const Json replacements[] = {
      Json(), true, -1, 1e300, "", Json::Array{}, Json::Object{}, std::int64_t{1} << 62};
  std::size_t refused = 0, accepted = 0;
  const auto attempt = [&](const std::vector<Json>& path, const std::function<void(Json&)>& spoil) {
    try {
      spoiler.read_spoilt(path, spoil);
      ++accepted;
    } catch (const ArchiveError&) {
      ++refused;
    }
  };
  const std::function<void(const Json&, std::vector<Json>)> walk = [&](const Json& value,
                                                                       std::vector<Json> path) {
    for (const Json& replacement : replacements) attempt(path, [&](Json& at) { at = replacement; });
    if (const auto* object = value.get_if<Json::Object>()) {
      for (const auto& entry : *object) {
        attempt(path, [&](Json& at) {
          const_cast<Json::Object*>(at.get_if<Json::Object>())->erase(entry.first);
        });
        path.emplace_back(entry.first);
        walk(entry.second, path);
        path.pop_back();
      }
    } else if (const auto* array = value.get_if<Json::Array>()) {
      for (std::size_t i = 0; i < array->size(); ++i) {
        path.emplace_back(static_cast<std::int64_t>(i));
        walk((*array)[i], path);
        path.pop_back();
      }
    }
  };
  walk(spoiler.document(), {});
  CHECK(refused > 1000);
  CHECK(accepted > 0);  // labels and numbers may be anything
}

TEST_CASE("hostile: a document that is no document") {
  const Spoiler spoiler;
  for (const std::string text : {"", "{", "[]", "1", "\"mpsnn\"", "{}", "{\"format\":\"mpsnn\"}"}) {
    CHECK_THROWS_AS(spoiler.read_text(text), ArchiveError);
  }
  CHECK_THROWS_AS(spoiler.read_text(std::string(200'000, '[')), ArchiveError);
  const Rig rig;
  write_bytes(spoiler.folder() / "foreign", safetensors("{}"));
  CHECK_THROWS_CONTAINS(KeyedUnarchiver(rig.device).open(spoiler.folder() / "foreign"),
                        ArchiveError, "foreign\": not an archive of mpsnn");
}

TEST_CASE("hostile: tensors that are missing or of another type or shape") {
  Spoiler spoiler;
  spoiler.leave_out("first.weights.momentum");  // optimizers' state may be missing
  spoiler.read_spoilt({}, [](Json&) {});
  spoiler.leave_out("first.weights");
  CHECK_THROWS_CONTAINS(spoiler.read_spoilt({}, [](Json&) {}), ArchiveError,
                        "tensor of its weights");
  spoiler.leave_out("");
  // "second" has other shapes than "first".
  const auto rename = [](Json& name) { name = "second"; };
  CHECK_THROWS_CONTAINS(spoiler.read_spoilt({"data_sources", 0, "name"}, rename), ArchiveError,
                        "second.weights");
}

TEST_CASE("hostile: a file cut off at every length") {
  const Folder folder;
  const Rig rig;
  const std::string good = good_file(folder);
  // All of the header, and steps through the tensors.
  std::uint64_t header = 0;
  std::memcpy(&header, good.data(), sizeof header);
  std::size_t cuts = 0;
  for (std::size_t length = 0; length < good.size();
       length += length < header + 16 ? 1 : 37, ++cuts) {
    write_bytes(folder / "cut", good.substr(0, length));
    CHECK_THROWS_AS(open_and_decode(rig.device, folder / "cut"), ArchiveError);
  }
  CHECK(cuts > 1000);
  open_and_decode(rig.device, folder / "good");
}

TEST_CASE("hostile: random bytes changed") {
  const Folder folder;
  const Rig rig;
  const std::string good = good_file(folder);
  std::uint64_t header = 0;
  std::memcpy(&header, good.data(), sizeof header);
  std::mt19937 random(20191020);
  std::size_t refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = good;
    const std::size_t range = round % 4 == 0 ? good.size() : 8 + header;
    for (std::size_t change = 0; change <= random() % 4; ++change) {
      bytes[random() % range] =
          round % 2 == 0 ? static_cast<char>(random()) : "0123456789{}[]\",:.-e"[random() % 20];
    }
    write_bytes(folder / "changed", bytes);
    try {
      open_and_decode(rig.device, folder / "changed");
    } catch (const ArchiveError&) {
      ++refused;
    }
  }
  CHECK(refused > 500);
}
