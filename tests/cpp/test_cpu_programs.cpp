// SPDX-License-Identifier: MIT
// Random programs of training steps, inferences, predicates and commit points give the same bits as
// the same work run one by one.
#include <algorithm>
#include <array>
#include <optional>
#include <random>

#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;

namespace {

constexpr std::size_t kPredicates = 3;

/// One thing that a program does.
struct Action {
  enum class Kind { TRAIN, INFER, SET, COMMIT, NEW_BUFFER } kind = Kind::TRAIN;
  int picture = 0;
  /// Under which predicates it stands: none, one, or two by a wrapper.
  std::vector<std::size_t> predicates;
  std::size_t slot = 0;  // SET
  std::int32_t value = 0;
};

using Program = std::vector<Action>;

Program random_program(std::mt19937& random, std::size_t length) {
  const auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
  Program program(length);
  for (Action& action : program) {
    action.kind = std::array{Action::Kind::TRAIN, Action::Kind::INFER,  Action::Kind::INFER,
                             Action::Kind::SET,   Action::Kind::COMMIT, Action::Kind::NEW_BUFFER}
        [static_cast<std::size_t>(below(6))];
    action.picture = below(4);
    for (int i = below(3); i > 0; --i)
      action.predicates.push_back(static_cast<std::size_t>(below(kPredicates)));
    action.slot = static_cast<std::size_t>(below(kPredicates));
    action.value = below(2) * (below(2) == 0 ? -5 : 1);
  }
  return program;
}

/// The pictures' pixels differ, so that every step counts.
std::map<std::string, Image> picture(const Device& device, int number) {
  auto images = batch(device);
  for (auto& [handle, image] : images) {
    std::vector<float> values(static_cast<std::size_t>(image.size().count()));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = 0.01F * static_cast<float>((i * 7 + static_cast<std::size_t>(number) * 13) % 29);
    image.write(values.data(), image.bytes());
  }
  return images;
}

/// What a program leaves: all that it inferred, then the weights. Empty where skipped.
using Outcome = std::vector<std::vector<float>>;

struct World {
  World() {
    for (int i = 0; i < 4; ++i) pictures.push_back(picture(device, i));
  }
  Outcome outcome() const {
    Outcome all;
    for (const std::optional<Image>& image : inferred) {
      std::vector<float>& values = all.emplace_back();
      if (!image) continue;
      values.resize(static_cast<std::size_t>(image->size().count()));
      image->read(values.data(), image->bytes());
    }
    for (const auto& source : {net.first, net.second})
      all.push_back(device.read_parameter(*source, "weights"));
    return all;
  }

  Device device{"cpu"};
  SmallNet net{std::make_shared<OptimizerAdam>()};
  Graph training = net.training(device), inference = net.graph(device);
  std::vector<std::map<std::string, Image>> pictures;
  std::vector<std::optional<Image>> inferred;
  CommandQueue queue{device};
};

/// The oracle: no predicates and no pieces; what would be skipped is left out.
Outcome one_by_one(const Program& program) {
  World world;
  std::array<std::int32_t, kPredicates> values = {1, 1, 1};
  for (const Action& action : program) {
    if (action.kind == Action::Kind::SET) {
      values[action.slot] = action.value;
      continue;
    }
    if (action.kind != Action::Kind::TRAIN && action.kind != Action::Kind::INFER) continue;
    const bool skipped =
        std::ranges::any_of(action.predicates, [&](std::size_t slot) { return values[slot] == 0; });
    if (action.kind == Action::Kind::INFER) world.inferred.emplace_back();
    if (skipped) continue;
    const auto& sources = world.pictures[static_cast<std::size_t>(action.picture)];
    CommandBuffer commands(world.queue, "one", false);
    if (action.kind == Action::Kind::TRAIN) {
      world.training.encode(commands, sources);
    } else {
      world.inferred.back() =
          *world.inference.encode(commands, {{"in", sources.at("in")}}).results[0];
    }
    commands.commit();
    commands.wait_until_completed();
  }
  return world.outcome();
}

/// The same program with predicates read on the device, and pieces as they come.
Outcome as_written(const Program& program, std::uint64_t threshold, bool auto_commit) {
  World world;
  std::array<std::int32_t, kPredicates> values = {1, 1, 1};
  std::vector<Predicate> predicates;
  for (std::size_t i = 0; i < kPredicates; ++i) predicates.emplace_back(world.device);
  const auto start = [&] {
    CommandBuffer commands(world.queue, "program", auto_commit);
    commands.set_commit_threshold({threshold, static_cast<std::uint64_t>(-1)});
    return commands;
  };
  CommandBuffer commands = start();
  for (const Action& action : program) {
    if (action.kind == Action::Kind::COMMIT) commands.commit_and_continue();
    if (action.kind == Action::Kind::NEW_BUFFER) {
      commands.commit();
      commands = start();
    }
    if (action.kind == Action::Kind::SET) {
      values[action.slot] = action.value;
      commands.encode_host_function("set", [predicate = predicates[action.slot], &action] {
        predicate.set_value(action.value);
      });
    }
    if (action.kind != Action::Kind::TRAIN && action.kind != Action::Kind::INFER) continue;
    CommandBuffer recorder = commands;
    bool skipped = false;
    for (const std::size_t slot : action.predicates) {
      recorder = CommandBuffer::wrap(recorder);
      recorder.set_predicate(predicates[slot]);
      skipped = skipped || values[slot] == 0;
    }
    const auto& sources = world.pictures[static_cast<std::size_t>(action.picture)];
    if (action.kind == Action::Kind::TRAIN) {
      world.training.encode(recorder, sources);
      continue;
    }
    const auto made = world.inference.encode(recorder, {{"in", sources.at("in")}});
    world.inferred.push_back(skipped ? std::nullopt : made.results[0]);
  }
  commands.commit();
  commands.wait_until_completed();
  return world.outcome();
}

}  // namespace

TEST_CASE("programs: predicates and pieces give the bits of the same work one by one") {
  std::mt19937 random(7);
  constexpr auto kNever = static_cast<std::uint64_t>(-1);
  for (int round = 0; round < 6; ++round) {
    const Program program = random_program(random, 20 + 5 * static_cast<std::size_t>(round));
    const Outcome expected = one_by_one(program);
    CHECK(expected == one_by_one(program));
    for (const std::uint64_t threshold : {kNever, std::uint64_t{0}, std::uint64_t{30000}})
      CHECK(expected == as_written(program, threshold, true));
    CHECK(expected == as_written(program, 0, false));
  }
}
