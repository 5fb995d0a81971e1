// SPDX-License-Identifier: MIT
// Writes what fuzzing starts from: `write_seeds FOLDER` makes archive/ and document/ with inputs,
// and `dictionary` with the words of archives.
#include <cstdio>
#include <filesystem>
#include <set>

#include "../cpp/archive_fixtures.h"
#include "base/json.h"
#include "base/safetensors.h"
#include "graph/kernel_table.h"
#include "graph/node_table.h"
#include "graph/serialize.h"
#include "seeds.h"

namespace {

using mpsnn::base::Json;

/// Every key and text of a document.
void collect_words(const Json& value, std::set<std::string>& words) {
  if (const auto* text = value.get_if<std::string>()) words.insert(*text);
  if (const auto* array = value.get_if<Json::Array>()) {
    for (const Json& one : *array) collect_words(one, words);
  }
  if (const auto* object = value.get_if<Json::Object>()) {
    for (const auto& [key, one] : *object) {
      words.insert(key);
      collect_words(one, words);
    }
  }
}

/// An entry of libFuzzer's dictionary: bytes that are not plain are escaped.
std::string quoted(const std::string& word) {
  std::string text = "\"";
  for (const char byte : word) {
    char escaped[5];
    const auto code = static_cast<unsigned char>(byte);
    const bool plain = code >= 0x20 && code < 0x7f && byte != '"' && byte != '\\';
    std::snprintf(escaped, sizeof escaped, plain ? "%c" : "\\x%02X", code);
    text += escaped;
  }
  return text + "\"";
}

/// A document with one node of a class, all attributes at their defaults.
Json document_of(const mpsnn::graph::NodeClass& node) {
  Json::Object attributes;
  for (const auto& spec : node.attributes) {
    if (!spec.default_value) continue;  // refused as it is; the fuzzer has its name as a word
    const mpsnn::AttributeMap one = {{std::string(spec.name), *spec.default_value}};
    const Json json = mpsnn::graph::to_json(one);
    attributes.insert(json.get_if<Json::Object>()->begin(), json.get_if<Json::Object>()->end());
  }
  const Json::Array sources(node.sources.size(), Json::Object{{"source", 0}});
  Json::Object entry = {{"class", node.name},
                        {"label", "x"},
                        {"sources", sources},
                        {"attributes", std::move(attributes)}};
  if (!node.weights.empty()) entry["weights"] = 0;
  if (node.has_padding) entry["padding"] = 16;
  if (node.trainable) entry["training_style"] = 2;
  Json network =
      Json::Object{{"sources", Json::Array{Json::Object{{"handle", "in"}}}},
                   {"nodes", Json::Array{Json(std::move(entry))}},
                   {"results", Json::Array{Json::Object{{"node", 0}, {"needed", true}}}}};
  return Json::Object{
      {"format", "mpsnn"},
      {"version", 1},
      {"optimizers", Json::Array{}},
      {"data_sources", Json::Array{}},
      {"graphs",
       Json::Object{{"g", Json::Object{{"label", "g"}, {"network", std::move(network)}}}}},
      {"kernels", Json::Object{}}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: write_seeds FOLDER\n"), 2;
  const std::filesystem::path folder(argv[1]);
  std::filesystem::create_directories(folder / "archive");
  std::filesystem::create_directories(folder / "document");
  const std::string good = fuzzing::training_archive();
  fixtures::write_bytes((folder / "archive" / "training").string(), good);
  std::set<std::string> words = {"__metadata__", "dtype", "shape", "data_offsets", "F32",
                                 "F16",          "U8",    "I64",   "f64",          "i64s",
                                 "f64s",         "u64",   "inf",   "nan"};
  const std::string text = mpsnn::base::SafetensorsFile((folder / "archive" / "training").string())
                               .metadata()
                               .at("mpsnn");
  fixtures::write_bytes((folder / "document" / "training").string(), text);
  collect_words(mpsnn::base::parse_json(text), words);
  for (const auto& node : mpsnn::graph::node_classes()) {
    const Json document = document_of(node);
    collect_words(document, words);
    fixtures::write_bytes((folder / "document" / node.name).string(), to_string(document));
  }
  for (const auto& kernel : mpsnn::graph::kernel_classes()) words.insert(std::string(kernel.name));
  std::string dictionary;
  for (const std::string& word : words) dictionary += quoted("\"" + word + "\"") + "\n";
  for (const char* number : {"-1", "0", "1", "65536", "2147483647", "2147483648",
                             "9223372036854775807", "-9223372036854775808", "1e308", "0.5"})
    dictionary += quoted(number) + "\n";
  fixtures::write_bytes((folder / "dictionary").string(), dictionary);
  return 0;
}
