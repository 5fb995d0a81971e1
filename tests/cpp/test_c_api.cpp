// SPDX-License-Identifier: MIT
// The C interface, on whatever device computes here; and that no bad call gets through.
#include "mpsnn.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "archive_fixtures.h"
#include "mpsnn/mpsnn.h"
#include "testing.h"

using namespace fixtures;

namespace {

using Values = std::vector<float>;

/// The device's kind: "cpu" where this build has it; else "null", whose kernels compute nothing.
std::string kind() {
  const std::vector<std::string> kinds = mpsnn::Device::available();
  return std::ranges::find(kinds, "cpu") != kinds.end() ? "cpu" : "null";
}

/// An archive with the graph "net": y = 2 x + 1 for two channels, x exported.
std::string write_archive(const Folder& folder) {
  mpsnn::ImageNode x("x");
  const mpsnn::NeuronLinearNode net(x, {.a = 2.0, .b = 1.0});
  mpsnn::ImageNode result = net.result_image();
  result.set_handle("y");
  mpsnn::KeyedArchiver archiver;
  archiver.encode("net", mpsnn::Graph(mpsnn::Device(kind()), {result}));
  archiver.set_metadata("note", "a straight line");
  archiver.write(folder / "net.safetensors");
  return folder / "net.safetensors";
}

/// Everything that one run needs.
struct Fixture {
  Fixture() {
    path = write_archive(folder);
    REQUIRE(mpsnn_device_create(kind().c_str(), &device) == MPSNN_OK);
    REQUIRE(mpsnn_archive_open(device, path.c_str(), &archive) == MPSNN_OK);
    REQUIRE(mpsnn_archive_graph(archive, "net", &graph) == MPSNN_OK);
  }
  ~Fixture() {
    mpsnn_graph_release(graph);
    mpsnn_archive_release(archive);
    mpsnn_device_release(device);
  }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;

  Folder folder;
  std::string path;
  mpsnn_device* device = nullptr;
  mpsnn_archive* archive = nullptr;
  mpsnn_graph* graph = nullptr;
};

bool error_has(const std::string& part) {
  const bool has = std::string(mpsnn_last_error()).find(part) != std::string::npos;
  if (!has) std::printf("the last error is: %s\n", mpsnn_last_error());
  return has;
}

}  // namespace

TEST_CASE("C: an archive is opened, encoded and read") {
  CHECK_EQ(mpsnn_abi_version(), std::uint32_t{MPSNN_ABI_VERSION});
  CHECK_EQ(std::string(mpsnn_version()), std::string(mpsnn::version()));
  Fixture f;
  CHECK_EQ(std::string(mpsnn_device_kind(f.device)), kind());
  CHECK(std::strlen(mpsnn_device_name(f.device)) > 0);
  REQUIRE(mpsnn_archive_key_count(f.archive) == 1);
  CHECK_EQ(std::string(mpsnn_archive_key(f.archive, 0)), std::string("net"));
  CHECK(mpsnn_archive_key(f.archive, 1) == nullptr);
  CHECK_EQ(std::string(mpsnn_archive_metadata(f.archive, "note")), std::string("a straight line"));
  CHECK(mpsnn_archive_metadata(f.archive, "other") == nullptr);
  REQUIRE(mpsnn_graph_source_count(f.graph) == 1);
  CHECK_EQ(std::string(mpsnn_graph_source_handle(f.graph, 0)), std::string("x"));
  mpsnn_data_type type = MPSNN_FLOAT16;
  CHECK_EQ(mpsnn_graph_source_type(f.graph, 0, &type), MPSNN_OK);
  CHECK_EQ(type, MPSNN_FLOAT32);
  CHECK_EQ(mpsnn_graph_result_count(f.graph), std::size_t{1});

  const Values values = {1, 2, 3, 4};
  mpsnn_image *x = nullptr, *y = nullptr, *same = nullptr;
  mpsnn_commands* commands = nullptr;
  mpsnn_outputs* outputs = nullptr;
  REQUIRE(mpsnn_image_create(f.device, {1, 2, 1, 2}, MPSNN_FLOAT32, values.data(), &x) == MPSNN_OK);
  REQUIRE(mpsnn_commands_create(f.device, "run", &commands) == MPSNN_OK);
  REQUIRE(mpsnn_graph_encode(f.graph, commands, &x, 1, &outputs) == MPSNN_OK);
  mpsnn_image_release(x);  // what was encoded keeps it
  REQUIRE(mpsnn_outputs_result(outputs, 0, &y) == MPSNN_OK);
  REQUIRE(mpsnn_outputs_named(outputs, "y", &same) == MPSNN_OK);
  mpsnn_outputs_release(outputs);
  const mpsnn_size size = mpsnn_image_size(y);
  CHECK(size.n == 1 && size.height == 2 && size.width == 1 && size.channels == 2);
  CHECK_EQ(mpsnn_image_type(y), MPSNN_FLOAT32);
  REQUIRE(mpsnn_image_bytes(y) == 16);
  REQUIRE(mpsnn_commands_commit(commands) == MPSNN_OK);
  REQUIRE(mpsnn_commands_wait(commands) == MPSNN_OK);
  Values got(4), again(4);
  CHECK_EQ(mpsnn_image_read(y, got.data(), 16), MPSNN_OK);
  CHECK_EQ(mpsnn_image_read(same, again.data(), 16), MPSNN_OK);
  if (kind() == "cpu") CHECK_EQ(got, (Values{3, 5, 7, 9}));
  CHECK_EQ(got, again);
  CHECK_EQ(mpsnn_image_write(y, values.data(), 16), MPSNN_OK);
  CHECK_EQ(mpsnn_image_read(y, got.data(), 16), MPSNN_OK);
  CHECK_EQ(got, values);
  for (mpsnn_image* image : {y, same}) mpsnn_image_release(image);
  mpsnn_commands_release(commands);
}

TEST_CASE("C: wrong arguments are refused with their names") {
  Fixture f;
  mpsnn_device* device = nullptr;
  CHECK_EQ(mpsnn_device_create("abacus", &device), MPSNN_INVALID_ARGUMENT);
  CHECK(device == nullptr && error_has("abacus"));
  CHECK_EQ(mpsnn_device_create(nullptr, nullptr), MPSNN_INVALID_ARGUMENT);
  CHECK(error_has("mpsnn_device_create: device: expected a pointer, got NULL"));

  mpsnn_archive* archive = nullptr;
  CHECK_EQ(mpsnn_archive_open(f.device, (f.folder / "none").c_str(), &archive), MPSNN_FILE);
  write_bytes(f.folder / "short", "abc");
  CHECK_EQ(mpsnn_archive_open(f.device, (f.folder / "short").c_str(), &archive), MPSNN_ARCHIVE);
  CHECK_EQ(mpsnn_archive_open(f.device, nullptr, &archive), MPSNN_INVALID_ARGUMENT);
  CHECK(archive == nullptr);
  mpsnn_graph* graph = nullptr;
  CHECK_EQ(mpsnn_archive_graph(f.archive, "other", &graph), MPSNN_INVALID_ARGUMENT);
  CHECK(graph == nullptr && error_has("other"));
  CHECK_EQ(mpsnn_archive_graph(nullptr, "net", &graph), MPSNN_INVALID_ARGUMENT);

  mpsnn_data_type type = MPSNN_FLOAT32;
  CHECK_EQ(mpsnn_graph_source_type(f.graph, 1, &type), MPSNN_INVALID_ARGUMENT);
  CHECK(error_has("expected an index below 1, got 1"));

  mpsnn_image* image = nullptr;
  CHECK_EQ(mpsnn_image_create(f.device, {1, 0, 1, 2}, MPSNN_FLOAT32, nullptr, &image),
           MPSNN_INVALID_ARGUMENT);
  CHECK_EQ(
      mpsnn_image_create(f.device, {1, 1, 1, 1}, static_cast<mpsnn_data_type>(7), nullptr, &image),
      MPSNN_INVALID_ARGUMENT);
  CHECK(image == nullptr && error_has("expected MPSNN_FLOAT32 or MPSNN_FLOAT16, got 7"));
  REQUIRE(mpsnn_image_create(f.device, {1, 1, 1, 2}, MPSNN_FLOAT16, nullptr, &image) == MPSNN_OK);
  float value[2] = {};
  CHECK_EQ(mpsnn_image_read(image, value, 8), MPSNN_INVALID_ARGUMENT);
  CHECK(error_has("mpsnn_image_read: bytes: expected 4, got 8"));
  CHECK_EQ(mpsnn_image_write(image, nullptr, 4), MPSNN_INVALID_ARGUMENT);

  mpsnn_commands* commands = nullptr;
  mpsnn_outputs* outputs = nullptr;
  REQUIRE(mpsnn_commands_create(f.device, nullptr, &commands) == MPSNN_OK);
  CHECK_EQ(mpsnn_graph_encode(f.graph, commands, &image, 1, &outputs), MPSNN_ARGUMENT_TYPE);
  CHECK(error_has("source \"x\": expected float32, got float16"));
  CHECK_EQ(mpsnn_graph_encode(f.graph, commands, &image, 2, &outputs), MPSNN_INVALID_ARGUMENT);
  CHECK(error_has("count: expected 1 sources, got 2"));
  const mpsnn_image* none = nullptr;
  CHECK_EQ(mpsnn_graph_encode(f.graph, commands, &none, 1, &outputs), MPSNN_INVALID_ARGUMENT);
  CHECK(error_has("sources[0]: expected a pointer, got NULL"));
  CHECK(outputs == nullptr);
  CHECK_EQ(mpsnn_commands_wait(commands), MPSNN_STATE);
  CHECK_EQ(mpsnn_commands_commit(commands), MPSNN_OK);
  CHECK_EQ(mpsnn_commands_commit(commands), MPSNN_STATE);
  mpsnn_commands_release(commands);
  mpsnn_image_release(image);
}

TEST_CASE("C: an image of work that was not committed; outputs that are not there") {
  Fixture f;
  mpsnn_image *x = nullptr, *y = nullptr;
  mpsnn_commands* commands = nullptr;
  mpsnn_outputs* outputs = nullptr;
  REQUIRE(mpsnn_image_create(f.device, {1, 1, 1, 2}, MPSNN_FLOAT32, nullptr, &x) == MPSNN_OK);
  REQUIRE(mpsnn_commands_create(f.device, "never", &commands) == MPSNN_OK);
  REQUIRE(mpsnn_graph_encode(f.graph, commands, &x, 1, &outputs) == MPSNN_OK);
  CHECK_EQ(mpsnn_outputs_result(outputs, 1, &y), MPSNN_INVALID_ARGUMENT);
  CHECK_EQ(mpsnn_outputs_named(outputs, "z", &y), MPSNN_INVALID_ARGUMENT);
  CHECK(y == nullptr && error_has("\"z\""));
  REQUIRE(mpsnn_outputs_result(outputs, 0, &y) == MPSNN_OK);
  float values[2] = {};
  CHECK_EQ(mpsnn_image_read(y, values, 8), MPSNN_STATE);
  mpsnn_commands_release(commands);
  CHECK_EQ(mpsnn_image_read(y, values, 8), MPSNN_STATE);
  mpsnn_outputs_release(outputs);
  mpsnn_image_release(y);
  mpsnn_image_release(x);
}

TEST_CASE("C: NULL for each argument of each function that can fail is refused with its name") {
  Fixture f;
  mpsnn_image *x = nullptr, *image = nullptr;
  mpsnn_commands *commands = nullptr, *other = nullptr;
  mpsnn_outputs *outputs = nullptr, *again = nullptr;
  mpsnn_archive* archive = nullptr;
  mpsnn_graph* graph = nullptr;
  mpsnn_data_type type = MPSNN_FLOAT32;
  float values[2] = {};
  const mpsnn_size size = {1, 1, 1, 2};
  REQUIRE(mpsnn_image_create(f.device, size, MPSNN_FLOAT32, nullptr, &x) == MPSNN_OK);
  REQUIRE(mpsnn_commands_create(f.device, nullptr, &commands) == MPSNN_OK);
  REQUIRE(mpsnn_graph_encode(f.graph, commands, &x, 1, &outputs) == MPSNN_OK);

  const struct {
    const char* argument;
    std::function<mpsnn_status()> call;
  } cases[] = {
      {"device_create: device", [&] { return mpsnn_device_create(nullptr, nullptr); }},
      {"archive_open: device",
       [&] { return mpsnn_archive_open(nullptr, f.path.c_str(), &archive); }},
      {"archive_open: path", [&] { return mpsnn_archive_open(f.device, nullptr, &archive); }},
      {"archive_open: archive",
       [&] { return mpsnn_archive_open(f.device, f.path.c_str(), nullptr); }},
      {"archive_graph: archive", [&] { return mpsnn_archive_graph(nullptr, "net", &graph); }},
      {"archive_graph: key", [&] { return mpsnn_archive_graph(f.archive, nullptr, &graph); }},
      {"archive_graph: graph", [&] { return mpsnn_archive_graph(f.archive, "net", nullptr); }},
      {"graph_source_type: graph", [&] { return mpsnn_graph_source_type(nullptr, 0, &type); }},
      {"graph_source_type: type", [&] { return mpsnn_graph_source_type(f.graph, 0, nullptr); }},
      {"graph_encode: graph", [&] { return mpsnn_graph_encode(nullptr, commands, &x, 1, &again); }},
      {"graph_encode: commands",
       [&] { return mpsnn_graph_encode(f.graph, nullptr, &x, 1, &again); }},
      {"graph_encode: sources",
       [&] { return mpsnn_graph_encode(f.graph, commands, nullptr, 1, &again); }},
      {"graph_encode: outputs",
       [&] { return mpsnn_graph_encode(f.graph, commands, &x, 1, nullptr); }},
      {"outputs_result: outputs", [&] { return mpsnn_outputs_result(nullptr, 0, &image); }},
      {"outputs_result: image", [&] { return mpsnn_outputs_result(outputs, 0, nullptr); }},
      {"outputs_named: outputs", [&] { return mpsnn_outputs_named(nullptr, "y", &image); }},
      {"outputs_named: handle", [&] { return mpsnn_outputs_named(outputs, nullptr, &image); }},
      {"outputs_named: image", [&] { return mpsnn_outputs_named(outputs, "y", nullptr); }},
      {"image_create: device",
       [&] { return mpsnn_image_create(nullptr, size, MPSNN_FLOAT32, values, &image); }},
      {"image_create: image",
       [&] { return mpsnn_image_create(f.device, size, MPSNN_FLOAT32, values, nullptr); }},
      {"image_read: image", [&] { return mpsnn_image_read(nullptr, values, 8); }},
      {"image_read: to", [&] { return mpsnn_image_read(x, nullptr, 8); }},
      {"image_write: image", [&] { return mpsnn_image_write(nullptr, values, 8); }},
      {"image_write: from", [&] { return mpsnn_image_write(x, nullptr, 8); }},
      {"commands_create: device", [&] { return mpsnn_commands_create(nullptr, "run", &other); }},
      {"commands_create: commands",
       [&] { return mpsnn_commands_create(f.device, "run", nullptr); }},
      {"commands_commit: commands", [&] { return mpsnn_commands_commit(nullptr); }},
      {"commands_wait: commands", [&] { return mpsnn_commands_wait(nullptr); }},
  };
  for (const auto& [argument, call] : cases) {
    CHECK_EQ(call(), MPSNN_INVALID_ARGUMENT);
    CHECK_EQ(std::string(mpsnn_last_error()),
             "mpsnn_" + std::string(argument) + ": expected a pointer, got NULL");
  }
  CHECK(archive == nullptr && graph == nullptr && again == nullptr && image == nullptr);
  CHECK(other == nullptr);
  mpsnn_outputs_release(outputs);
  mpsnn_commands_release(commands);
  mpsnn_image_release(x);
}

TEST_CASE("C: sizes that no memory holds are refused") {
  Fixture f;
  mpsnn_image* image = nullptr;
  for (const mpsnn_size size :
       {mpsnn_size{INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX}, mpsnn_size{1, INT64_MIN, 1, 1},
        mpsnn_size{1, std::int64_t{1} << 61, 1, 1}, mpsnn_size{1, 1, 1, -1}}) {
    CHECK_EQ(mpsnn_image_create(f.device, size, MPSNN_FLOAT32, nullptr, &image),
             MPSNN_INVALID_ARGUMENT);
    CHECK(error_has("Image: size: expected"));
  }
  // A number of bytes that can be told but not had.
  CHECK_EQ(mpsnn_image_create(f.device, {1, std::int64_t{1} << 52, 1, 1}, MPSNN_FLOAT32, nullptr,
                              &image),
           MPSNN_OUT_OF_MEMORY);
  CHECK(image == nullptr && std::strlen(mpsnn_last_error()) > 0);
}

TEST_CASE("C: several threads share a device, a graph and its outputs") {
  if (kind() != "cpu") testing::skip("this build has no device that computes");
  Fixture f;
  std::vector<std::thread> threads;
  for (int number = 0; number < 4; ++number) {
    threads.emplace_back([&f, number] {
      for (int turn = 0; turn < 20; ++turn) {
        const float start = static_cast<float>(100 * number + turn);
        const float values[2] = {start, -start};
        float got[2] = {};
        mpsnn_image *x = nullptr, *y = nullptr;
        mpsnn_commands* commands = nullptr;
        mpsnn_outputs* outputs = nullptr;
        CHECK(mpsnn_image_create(f.device, {1, 1, 1, 2}, MPSNN_FLOAT32, values, &x) == MPSNN_OK);
        CHECK(mpsnn_commands_create(f.device, nullptr, &commands) == MPSNN_OK);
        CHECK(mpsnn_graph_encode(f.graph, commands, &x, 1, &outputs) == MPSNN_OK);
        CHECK(mpsnn_commands_commit(commands) == MPSNN_OK);
        CHECK(mpsnn_outputs_named(outputs, "y", &y) == MPSNN_OK);
        CHECK_EQ(mpsnn_image_read(y, got, sizeof got), MPSNN_OK);
        CHECK_EQ(got[0], 2 * start + 1);
        CHECK_EQ(got[1], 1 - 2 * start);
        mpsnn_image_release(y);
        mpsnn_outputs_release(outputs);
        mpsnn_commands_release(commands);
        mpsnn_image_release(x);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("C: NULL may be asked and released; errors belong to their thread") {
  mpsnn_device_release(nullptr);
  mpsnn_archive_release(nullptr);
  mpsnn_graph_release(nullptr);
  mpsnn_image_release(nullptr);
  mpsnn_commands_release(nullptr);
  mpsnn_outputs_release(nullptr);
  CHECK(mpsnn_device_kind(nullptr) == nullptr && mpsnn_device_name(nullptr) == nullptr);
  CHECK(mpsnn_archive_key(nullptr, 0) == nullptr && mpsnn_archive_key_count(nullptr) == 0);
  CHECK(mpsnn_archive_metadata(nullptr, "note") == nullptr);
  CHECK(mpsnn_archive_metadata(Fixture().archive, nullptr) == nullptr);
  CHECK(mpsnn_graph_source_handle(nullptr, 0) == nullptr);
  CHECK(mpsnn_graph_source_count(nullptr) == 0 && mpsnn_graph_result_count(nullptr) == 0);
  CHECK(mpsnn_image_bytes(nullptr) == 0 && mpsnn_image_size(nullptr).n == 0);
  CHECK_EQ(mpsnn_image_type(nullptr), MPSNN_FLOAT32);
  CHECK_EQ(mpsnn_commands_commit(nullptr), MPSNN_INVALID_ARGUMENT);
  const std::string here = mpsnn_last_error();
  CHECK(here.find("mpsnn_commands_commit: commands") == 0);
  std::string there = "not asked";
  std::thread([&there] { there = mpsnn_last_error(); }).join();
  CHECK_EQ(there, std::string());
  CHECK_EQ(std::string(mpsnn_last_error()), here);
}
