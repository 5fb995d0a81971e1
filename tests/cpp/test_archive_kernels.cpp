// SPDX-License-Identifier: MIT
// Archives of kernels that are encoded one by one: what comes back, and what is refused.
#include <cstring>

#include "archive_fixtures.h"
#include "base/json.h"
#include "base/safetensors.h"
#include "mpsnn/archive.h"
#include "mpsnn/error.h"
#include "mpsnn/kernels.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;
using base::Json;

namespace {

std::vector<std::byte> state_of(const DeviceKernel& kernel) {
  std::vector<std::byte> state(kernel.state_bytes());
  kernel.read_state(state.data(), state.size());
  return state;
}

MatrixRandomPhilox generator(const Device& device) {
  MatrixRandomPhiloxOptions options;
  options.seed = ~std::uint64_t{0};
  options.data_type = DataType::FLOAT16;
  options.distribution_descriptor = MatrixRandomDistributionDescriptor::normal(1, 2);
  options.label = "noise";
  MatrixRandomPhilox made(device, options);
  const std::uint64_t state[] = {5, 77};
  made.write_state(state, sizeof state);
  return made;
}

/// Reads an archive whose document has this entry of `kernels`, and a state of so many bytes.
void read_spoilt(const Json& kernels, std::size_t bytes, const char* dtype = "U8") {
  const Folder folder;
  const std::vector<std::byte> state(bytes);
  const Json document = Json::Object{{"format", "mpsnn"},           {"version", 1},
                                     {"optimizers", Json::Array{}}, {"data_sources", Json::Array{}},
                                     {"graphs", Json::Object{}},    {"kernels", kernels}};
  base::write_safetensors(folder / "spoilt",
                          {{"kernels/a/state", dtype, {static_cast<std::int64_t>(bytes)}, state}},
                          {{"mpsnn", base::to_string(document)}});
  const Rig rig;
  static_cast<void>(KeyedUnarchiver(rig.device).open(folder / "spoilt").decode_kernel("a"));
}

Json entry(Json::Object changes) {
  Json::Object kernel = {
      {"class", "MatrixRandomPhilox"}, {"label", "a"}, {"attributes", Json::Object{{"seed", 3}}}};
  for (auto& [key, value] : changes) kernel[key] = std::move(value);
  return Json::Object{{"a", std::move(kernel)}};
}

}  // namespace

TEST_CASE("archive of kernels: class, label, parameters and state come back") {
  const Folder folder;
  const Rig rig;
  const MatrixRandomPhilox one = generator(rig.device);
  const MatrixSoftMax other(rig.device, {.source_rows = 4});
  const MatrixRandomMTGP32 twister(rig.device);
  KeyedArchiver archiver;
  archiver.encode("one", one);
  archiver.encode("other", other);
  archiver.encode("twister", twister);
  CHECK_THROWS_CONTAINS(archiver.encode("one", other), InvalidArgumentError, "a new one");
  CHECK_THROWS_CONTAINS(archiver.encode("", other), InvalidArgumentError, "a name");
  archiver.write(folder / "archive");
  const Archive archive = KeyedUnarchiver(rig.device).open(folder / "archive");
  CHECK_EQ(archive.kernel_keys(), std::vector<std::string>({"one", "other", "twister"}));
  CHECK(archive.keys().empty());
  const DeviceKernel back = archive.decode_kernel("one");
  CHECK_EQ(back.class_name(), "MatrixRandomPhilox");
  CHECK_EQ(back.label(), "noise");
  CHECK(back.attributes() == one.attributes());
  CHECK(state_of(back) == state_of(one));
  CHECK(archive.decode_kernel("other").attributes() == other.attributes());
  CHECK(state_of(archive.decode_kernel("twister")) == state_of(twister));
  CHECK_THROWS_CONTAINS(archive.decode_kernel("none"), InvalidArgumentError, "one of \"one\"");
}

TEST_CASE("archive of kernels: what does not fit is refused with its place") {
  read_spoilt(entry({}), 16);
  struct Row {
    Json kernels;
    std::size_t bytes;
    std::string part;
  };
  const Row rows[] = {
      {entry({{"class", "Virus"}}), 16, "Virus"},
      {entry({{"class", 3}}), 16, "class: expected a string"},
      {entry({{"label", Json()}}), 16, "label"},
      {entry({{"attributes", Json::Array{}}}), 16, "attributes"},
      {entry({{"attributes", Json::Object{{"seed", -1}}}}), 16, "seed"},
      {entry({{"attributes", Json::Object{{"seed", Json::Object{{"u64", "1x"}}}}}}), 16, "u64"},
      {entry({{"attributes", Json::Object{{"seed", Json::Object{{"u64", "-1"}}}}}}), 16, "u64"},
      {entry(
           {{"attributes", Json::Object{{"seed", Json::Object{{"u64", "18446744073709551616"}}}}}}),
       16, "u64"},
      {entry({{"attributes", Json::Object{{"sprout", 1}}}}), 16, "sprout"},
      {entry({}), 15, "expected 16 bytes, the state of a MatrixRandomPhilox"},
      {entry({}), 17, "expected 16 bytes"},
      {entry({{"class", "MatrixRandomMTGP32"}}), 16, "the state of a MatrixRandomMTGP32"},
      {Json::Array{}, 16, "kernels: expected an object"},
      {Json::Object{{"a", 1}}, 16, "kernels.a"},
  };
  for (const Row& row : rows)
    CHECK_THROWS_CONTAINS(read_spoilt(row.kernels, row.bytes), ArchiveError, row.part);
  CHECK_THROWS_CONTAINS(read_spoilt(entry({}), 16, "I8"), ArchiveError, "expected 16 bytes");
}
