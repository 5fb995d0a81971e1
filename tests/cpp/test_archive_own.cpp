// SPDX-License-Identifier: MIT
// Objects of a program's own classes in archives, and data sources by themselves.
#include <cstring>
#include <set>

#include "archive_fixtures.h"
#include "base/json.h"
#include "base/safetensors.h"
#include "mpsnn/archive.h"
#include "mpsnn/error.h"
#include "mpsnn/libraries.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;
using base::Json;

namespace {

struct Settings final : SecureCoding {
  double exposure = 0;
  std::vector<std::int64_t> sizes;
  Coder::Array curve;

  std::string secure_class_name() const override { return "Settings"; }
  void encode(Coder& coder) const override {
    coder.encode("exposure", exposure);
    coder.encode("sizes", sizes);
    coder.encode("note", "a text");
    coder.encode("curve", curve);
  }
  static std::shared_ptr<SecureCoding> decode(const Coder& coder) {
    auto made = std::make_shared<Settings>();
    made->exposure = coder.decode_as<double>("exposure");
    made->sizes = coder.decode_as<std::vector<std::int64_t>>("sizes");
    made->curve = coder.decode_array("curve");
    CHECK_EQ(coder.decode_as<std::string>("note"), "a text");
    return made;
  }
};

Settings settings() {
  Settings made;
  made.exposure = 0.75;
  made.sizes = {3, -4};
  made.curve = {{2, 2}, {1, 2, 3, 4}};
  return made;
}

/// Weights that are computed, not given: all of one value.
class Constant final : public ConvolutionDataSource, public SecureCoding {
 public:
  Constant(float value, std::string label, std::shared_ptr<Optimizer> optimizer = nullptr)
      : ConvolutionDataSource(three_to_two(), false, std::move(label), std::move(optimizer)),
        value_(value) {}
  std::vector<float> values(std::string_view) const override {
    return std::vector<float>(static_cast<std::size_t>(three_to_two().weight_count()), value_);
  }
  std::string secure_class_name() const override { return "Constant"; }
  void encode(Coder& coder) const override { coder.encode("value", static_cast<double>(value_)); }
  static std::shared_ptr<SecureCoding> decode(const Coder& coder) {
    return std::make_shared<Constant>(static_cast<float>(coder.decode_as<double>("value")), "new");
  }
  float value() const { return value_; }

 private:
  static ConvolutionDescriptor three_to_two() {
    ConvolutionDescriptor descriptor;
    descriptor.kernel_width = descriptor.kernel_height = 1;
    descriptor.input_feature_channels = 3;
    descriptor.output_feature_channels = 2;
    return descriptor;
  }
  float value_;
};

Graph graph_of(const Device& device, const std::shared_ptr<ConvolutionDataSource>& source) {
  return Graph(device, {ConvolutionNode(ImageNode("in"), source).result_image()});
}

KeyedUnarchiver knowing(const Device& device) {
  KeyedUnarchiver unarchiver(device);
  unarchiver.allow("Settings", &Settings::decode);
  unarchiver.allow("Constant", &Constant::decode);
  return unarchiver;
}

}  // namespace

TEST_CASE("own objects: what was stored comes back, by the class that was named") {
  const Folder folder;
  const Rig rig;
  KeyedArchiver archiver;
  archiver.encode("settings", settings());
  CHECK_THROWS_CONTAINS(archiver.encode("settings", settings()), InvalidArgumentError, "a new one");
  archiver.write(folder / "net");
  const Archive archive = knowing(rig.device).open(folder / "net");
  CHECK_EQ(archive.object_keys(), std::vector<std::string>{"settings"});
  CHECK(archive.keys().empty());
  const auto object = std::dynamic_pointer_cast<Settings>(archive.decode_object("settings"));
  REQUIRE(object != nullptr);
  CHECK_EQ(object->exposure, 0.75);
  CHECK_EQ(object->sizes, settings().sizes);
  CHECK(object->curve == settings().curve);
  CHECK_THROWS_CONTAINS(archive.decode_object("other"), InvalidArgumentError, "\"settings\"");
}

TEST_CASE("own objects: a class that was not named is refused") {
  const Folder folder;
  const Rig rig;
  KeyedArchiver archiver;
  archiver.encode("settings", settings());
  archiver.encode("net", graph_of(rig.device, std::make_shared<Constant>(2.0F, "c")));
  archiver.write(folder / "net");
  const Archive none = KeyedUnarchiver(rig.device).open(folder / "net");
  CHECK_THROWS_CONTAINS(none.decode_object("settings"), ArchiveError,
                        "objects.settings.class: expected a class that the unarchiver allows, "
                        "which are none, got \"Settings\"");
  CHECK_THROWS_CONTAINS(none.decode_graph("net"), ArchiveError, "got \"Constant\"");
  KeyedUnarchiver other(rig.device);
  other.allow("Other", &Settings::decode);
  CHECK_THROWS_CONTAINS(other.open(folder / "net").decode_object("settings"), ArchiveError,
                        "one of \"Other\", got \"Settings\"");
}

TEST_CASE("own objects: names that begin like others keep their arrays apart") {
  const Folder folder;
  const Rig rig;
  KeyedArchiver archiver;
  archiver.encode("a", settings());
  archiver.encode("a/b", settings());
  // Its tensors' names begin as those of arrays of "own" do, and its time step is no float32.
  const auto own = std::make_shared<Constant>(2.0F, "own");
  const auto other = convolution_weights(2, 2, "own.secure", std::make_shared<OptimizerAdam>(0.5));
  archiver.encode("own", own, rig.device);
  archiver.encode("other", other, rig.device);
  archiver.write(folder / "net");
  KeyedUnarchiver counting(rig.device);
  std::vector<std::size_t> arrays;
  counting.allow("Settings", [&](const Coder& coder) {
    arrays.push_back(coder.arrays().size());
    return Settings::decode(coder);
  });
  counting.allow("Constant", [&](const Coder& coder) {
    arrays.push_back(coder.arrays().size());
    return Constant::decode(coder);
  });
  const Archive read = counting.open(folder / "net");
  for (const std::string key : {"a", "a/b"}) CHECK(read.decode_object(key) != nullptr);
  CHECK(read.decode_data_source("own") != nullptr);
  CHECK(read.decode_data_source("other") != nullptr);
  CHECK(arrays == std::vector<std::size_t>{1, 1, 0});
}

TEST_CASE("own objects: a data source keeps class, weights, optimizer and moments") {
  const Folder folder;
  const Rig rig, elsewhere;
  const auto adam = std::make_shared<OptimizerAdam>(0.5);
  const auto source = std::make_shared<Constant>(2.0F, "constant", adam);
  rig.device.write_parameter(*source, "weights", std::vector<float>(6, 7.0F));
  rig.device.write_parameter(*source, "weights.velocity", std::vector<float>(6, 3.0F));
  rig.device.set_time_step(*source, 11);
  KeyedArchiver archiver;
  archiver.encode("net", graph_of(rig.device, source));
  archiver.encode("alone", source, rig.device);
  archiver.write(folder / "net");

  const Archive archive = knowing(elsewhere.device).open(folder / "net");
  const Graph graph = archive.decode_graph("net");
  const auto back = std::dynamic_pointer_cast<Constant>(graph.data_sources()[0]);
  REQUIRE(back != nullptr);
  CHECK_EQ(back->value(), 2.0F);
  CHECK_EQ(back->label(), "constant");
  CHECK_EQ(elsewhere.device.read_parameter(*back, "weights"), std::vector<float>(6, 7.0F));
  CHECK_EQ(elsewhere.device.read_parameter(*back, "weights.velocity"), std::vector<float>(6, 3.0F));
  CHECK_EQ(elsewhere.device.time_step(*back), 11);
  CHECK_EQ(back->optimizer()->learning_rate(), 0.5);
  CHECK(archive.decode_data_source("alone") == back);
}

TEST_CASE("own objects: data sources by themselves") {
  const Folder folder;
  const Rig rig;
  const auto source = convolution_weights(3, 4, "first", std::make_shared<OptimizerRMSProp>(0.1));
  rig.device.write_parameter(*source, "weights", std::vector<float>(108, 1.5F));
  KeyedArchiver archiver;
  archiver.encode("first", source, rig.device);
  CHECK_THROWS_CONTAINS(archiver.encode("other", nullptr, rig.device), InvalidArgumentError,
                        "a data source");
  archiver.write(folder / "net");
  const Archive archive = KeyedUnarchiver(rig.device).open(folder / "net");
  CHECK_EQ(archive.data_source_keys(), std::vector<std::string>{"first"});
  const auto back = archive.decode_data_source("first");
  CHECK_EQ(back->initial("weights"), std::vector<float>(108, 1.5F));
  // The weights stand in the file, which the data source keeps open.
  const auto& weights = std::dynamic_pointer_cast<ConvolutionDataSource>(back)->stored_weights();
  const auto& mapped = std::get<MappedFloats>(weights.values);
  CHECK_EQ(mapped.size(), 108U);
  CHECK_EQ(mapped.data()[107], 1.5F);
  CHECK(mapped.file() != nullptr);
  CHECK(weights.data_type() == DataType::FLOAT32);
  CHECK_EQ(weights.count(), 108U);
  CHECK_EQ(back->initial("bias"), source->initial("bias"));
  CHECK(back->optimizer()->attributes() == source->optimizer()->attributes());
}

TEST_CASE("libraries: each has a name, and none stands twice") {
  std::set<std::string> names;
  for (const Library& library : libraries()) {
    CHECK(!library.name.empty());
    CHECK(names.insert(library.name).second);
    CHECK(library.name != "oneDNN" || library.version.find('.') != std::string::npos);
  }
}

TEST_CASE("own objects: coders and names refuse what does not fit") {
  const Rig rig;
  Coder coder;
  coder.encode("a", std::int64_t{1});
  CHECK_THROWS_CONTAINS(coder.encode("a", 2.0), InvalidArgumentError, "a new one");
  CHECK_THROWS_CONTAINS(coder.encode("", 2.0), InvalidArgumentError, "a name");
  CHECK_THROWS_CONTAINS(coder.encode("b", Coder::Array{{3}, {1, 2}}), InvalidArgumentError,
                        "3 values, as its shape says, got 2");
  CHECK_THROWS_CONTAINS(coder.encode("b", Coder::Array{{-1}, {}}), InvalidArgumentError, "shape");
  CHECK(coder.contains("a") && !coder.contains("b"));
  CHECK_THROWS_CONTAINS(coder.decode("b"), ArchiveError, "\"b\": expected a value, got none");
  CHECK_THROWS_CONTAINS(coder.decode_array("a"), ArchiveError, "expected an array, got a value");
  CHECK_THROWS_CONTAINS(coder.decode_as<double>("a"), ArchiveError, "another type");
  KeyedUnarchiver unarchiver = knowing(rig.device);
  CHECK_THROWS_CONTAINS(unarchiver.allow("Settings", &Settings::decode), InvalidArgumentError,
                        "\"Settings\" again");
  CHECK_THROWS_CONTAINS(unarchiver.allow("", &Settings::decode), InvalidArgumentError, "a name");
  CHECK_THROWS_CONTAINS(unarchiver.allow("New", nullptr), InvalidArgumentError, "a function");
}

TEST_CASE("own objects: spoilt entries are refused with their place") {
  const Rig rig;
  const Folder folder;
  const auto read = [&](const Json& objects, const char* dtype) {
    const Json document =
        Json::Object{{"format", "mpsnn"},           {"version", 1},
                     {"optimizers", Json::Array{}}, {"data_sources", Json::Array{}},
                     {"graphs", Json::Object{}},    {"objects", objects}};
    const std::vector<std::byte> curve(16);
    base::write_safetensors(folder / "spoilt", {{"objects/a/curve", dtype, {4}, curve}},
                            {{"mpsnn", base::to_string(document)}});
    static_cast<void>(knowing(rig.device).open(folder / "spoilt").decode_object("a"));
  };
  const auto entry = [](Json name, Json values) {
    return Json::Object{
        {"a", Json::Object{{"class", std::move(name)}, {"values", std::move(values)}}}};
  };
  const Json values = Json::Object{
      {"exposure", 1.0}, {"note", "a text"}, {"sizes", Json::Object{{"i64s", Json::Array{}}}}};
  read(entry("Settings", values), "F32");
  CHECK_THROWS_CONTAINS(read(entry("Virus", values), "F32"), ArchiveError, "\"Virus\"");
  CHECK_THROWS_CONTAINS(read(entry(1, values), "F32"), ArchiveError, "expected a string");
  CHECK_THROWS_CONTAINS(read(entry("Settings", Json::Array{}), "F32"), ArchiveError, "values");
  CHECK_THROWS_CONTAINS(read(entry("Settings", Json::Object{}), "F32"), ArchiveError,
                        "objects.a: \"exposure\": expected a value, got none");
  CHECK_THROWS_CONTAINS(read(entry("Settings", values), "I32"), ArchiveError,
                        "\"objects/a/curve\": expected F32, got I32");
  CHECK_THROWS_CONTAINS(read(Json::Array{}, "F32"), ArchiveError, "objects: expected an object");
  const auto listing = [&](Json arrays) {
    return Json::Object{
        {"a",
         Json::Object{{"class", "Settings"}, {"values", values}, {"arrays", std::move(arrays)}}}};
  };
  read(listing(Json::Array{"curve"}), "F32");
  CHECK_THROWS_CONTAINS(read(listing(Json::Array{"curve", "none"}), "F32"), ArchiveError,
                        "objects.a: expected a tensor \"objects/a/none\", got none");
  CHECK_THROWS_CONTAINS(read(listing(Json::Array{"curve", "curve"}), "F32"), ArchiveError,
                        "arrays: expected each once, got \"curve\" again");
  CHECK_THROWS_CONTAINS(read(listing(Json::Array{1}), "F32"), ArchiveError, "arrays[0]");
  CHECK_THROWS_CONTAINS(read(listing("curve"), "F32"), ArchiveError, "arrays: expected an array");
  CHECK_THROWS_CONTAINS(read(listing(Json::Array{}), "F32"), ArchiveError, "\"curve\"");
}
