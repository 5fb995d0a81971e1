// SPDX-License-Identifier: MIT
// A process that is killed while it saves: the file is always one of the states that were saved.
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <random>
#include <set>
#include <thread>

#include "archive_fixtures.h"
#include "mpsnn/archive.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;

namespace {

constexpr int kKills = 300, kStates = 4;

/// The archive of a state: a note says which, and so does every weight. Large enough that writing
/// takes some time.
KeyedArchiver state_of(const Device& device, int state) {
  ConvolutionDescriptor descriptor;
  descriptor.input_feature_channels = descriptor.output_feature_channels = 96;
  const auto count = static_cast<std::size_t>(descriptor.weight_count());
  const auto weights = std::make_shared<ConvolutionDataSource>(
      descriptor, std::vector<float>(count, static_cast<float>(state)), std::nullopt, "weights");
  KeyedArchiver archiver;
  archiver.encode("net", Graph(device, {ConvolutionNode(ImageNode("in"), weights).result_image()}));
  archiver.set_metadata("state", std::to_string(state));
  return archiver;
}

/// Which state the file is; -1 where it is a mixture.
int read_state(const Device& device, const std::string& path) {
  const Archive archive = KeyedUnarchiver(device).open(path);
  const int state = std::stoi(archive.metadata().at("state"));
  const Graph graph = archive.decode_graph("net");
  const std::vector<float> weights = graph.data_sources()[0]->initial("weights");
  const auto expected = static_cast<float>(state);
  return std::ranges::all_of(weights, [&](float w) { return w == expected; }) ? state : -1;
}

/// Saves one state after the other until it is killed.
[[noreturn]] void save_for_ever(const std::vector<KeyedArchiver>& states, const std::string& path,
                                std::size_t first) {
  try {
    for (std::size_t i = first;; ++i) states[i % states.size()].write(path);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
  ::_exit(1);
}

}  // namespace

TEST_CASE("kill: the file is one of the states, however often its writer is killed") {
  const Folder folder;
  const std::string path = folder / "net";
  const Rig rig;  // without a queue there is no thread, so that the process may fork
  std::vector<KeyedArchiver> states;
  for (int i = 0; i < kStates; ++i) states.push_back(state_of(rig.device, i));
  states[0].write(path);
  std::mt19937 random(20191022);
  std::set<int> seen;
  std::size_t cut_off = 0;
  for (int kill = 0; kill < kKills; ++kill) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) save_for_ever(states, path, static_cast<std::size_t>(kill));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    REQUIRE(::kill(child, SIGKILL) == 0);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));  // it did not end by itself, with an error
    const int state = read_state(rig.device, path);
    CHECK(state >= 0);
    seen.insert(state);
    // What the child was writing is left beside the file, under a name of its own.
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
      const std::string name = entry.path().filename().string();
      if (name == "net") continue;
      CHECK(name.starts_with(".net.") && name.ends_with(".tmp"));
      std::filesystem::remove(entry.path());
      ++cut_off;
    }
  }
  CHECK_EQ(seen.size(), static_cast<std::size_t>(kStates));  // children got to the end of a save
  CHECK(cut_off > kKills / 10);                              // and were killed within one
}
