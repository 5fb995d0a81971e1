// SPDX-License-Identifier: MIT
// Several threads at once; worth most under the thread sanitizer.
#include <atomic>
#include <thread>

#include "mpsnn/error.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;

namespace {

constexpr int kThreads = 4;

template <class Body>
void in_threads(Body body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(body, i);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

TEST_CASE("threads: one graph is encoded by several, on one queue and on their own") {
  const Rig rig;
  const CommandQueue shared(rig.device);
  const SmallNet net(std::make_shared<OptimizerAdam>());
  const Graph training = net.training(rig.device), inference = net.graph(rig.device);
  std::atomic<int> completed = 0;
  in_threads([&](int thread) {
    const CommandQueue own(rig.device);
    for (int i = 0; i < 50; ++i) {
      const CommandQueue& queue = i % 2 == 0 ? shared : own;
      CommandBuffer commands(queue);
      commands.add_completed_handler([&](CommandBuffer&) { ++completed; });
      const std::int64_t size = 4 + (i + thread) % 20;  // more sizes than plans are kept
      training.encode(commands, batch(rig.device, size));
      commands.commit_and_continue();
      const GraphOutputs outputs = inference.encode(commands, {{"in", input(rig.device, size)}});
      commands.commit();
      if (i % 3 == 0) {
        commands.wait_until_completed();
      } else if (i % 3 == 1) {
        std::vector<float> values(static_cast<std::size_t>(size * size * 2));
        outputs.results[0]->read(values.data(), values.size() * sizeof(float));
      }
    }
  });
  rig.device.synchronize();
  CHECK_EQ(completed.load(), kThreads * 50);
}

TEST_CASE("threads: parameters are read and written while others train") {
  const Rig rig;
  const SmallNet net(std::make_shared<OptimizerAdam>());
  const Graph training = net.training(rig.device);
  in_threads([&](int thread) {
    const CommandQueue queue(rig.device);
    for (int i = 0; i < 50; ++i) {
      if (thread == 0) {
        rig.device.write_parameter(*net.first, "weights",
                                   rig.device.read_parameter(*net.first, "weights"));
        rig.device.time_step(*net.second);
      } else if (thread == 1 && i % 10 == 0) {
        rig.device.trim();
        rig.device.synchronize();
      } else {
        CommandBuffer commands(queue);
        training.encode(commands, batch(rig.device));
        commands.commit();
      }
    }
    queue.wait_until_idle();
  });
}

TEST_CASE("threads: any thread may wait for, look at and drop a buffer") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const Graph graph = SmallNet().graph(rig.device);
  for (int i = 0; i < 50; ++i) {
    auto commands = std::make_shared<CommandBuffer>(queue, "shared");
    if (i % 2 == 1)
      commands->encode_host_function("breaks", [] { throw std::runtime_error("broke"); });
    graph.encode(*commands, {{"in", input(rig.device)}});
    commands->commit();
    std::atomic<int> failures = 0;
    in_threads([&, commands](int) {
      try {
        static_cast<void>(commands->status());
        commands->wait_until_completed();
      } catch (const DeviceError&) {
        ++failures;
      }
      CHECK_EQ(commands->error() != nullptr, i % 2 == 1);
    });
    CHECK_EQ(failures.load(), i % 2 == 1 ? kThreads : 0);
  }
}

TEST_CASE("threads: queues come and go with work in flight") {
  const Rig rig;
  const Graph graph = SmallNet().graph(rig.device);
  std::atomic<int> completed = 0;
  in_threads([&](int) {
    for (int i = 0; i < 30; ++i) {
      const CommandQueue queue(rig.device);
      CommandBuffer commands(queue);
      graph.encode(commands, {{"in", input(rig.device)}});
      commands.add_completed_handler([&](CommandBuffer&) { ++completed; });
      commands.commit();
    }
  });
  CHECK_EQ(completed.load(), kThreads * 30);
}
