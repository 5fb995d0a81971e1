// SPDX-License-Identifier: MIT
// Memory: the queue's heap and its arenas, the caching allocator, statistics.
#include <atomic>
#include <set>
#include <thread>

#include "mpsnn/error.h"
#include "runtime/allocator.h"
#include "runtime/queue_state.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;

namespace {

/// Where the first convolution of SmallNet writes, run after run: its place in the heap.
std::vector<const void*> temporaries(const Rig& rig) {
  std::vector<const void*> found;
  for (const Command& command : rig.null->commands()) {
    if (command.label == "first") found.push_back(command.outputs.at(0));
  }
  return found;
}

std::size_t heap_bytes(const Graph& graph, std::int64_t size) {
  return graph.cost({{"in", {1, size, size, 3}}}).heap_bytes;
}

Rig rig_of(std::size_t memory_bytes) {
  backend::null_device::Options options;
  options.memory_bytes = memory_bytes;
  return Rig(options);
}

void run_once(const Graph& graph, const CommandQueue& queue, std::int64_t size) {
  CommandBuffer commands(queue);
  graph.encode(commands, {{"in", input(graph.device(), size)}});
  commands.commit();
  commands.wait_until_completed();
}

/// A queue that holds memory of the device for itself, as Metal's do, and lets go of it when asked.
class HoldingQueue final : public backend::Queue {
 public:
  HoldingQueue(NullDevice& device, std::size_t bytes) : device_(device), bytes_(bytes) {}
  void submit(std::shared_ptr<backend::Submission> /*work*/) override {}
  void watch_heaps(std::function<void(std::ptrdiff_t)> changed) override {
    changed_ = std::move(changed);
    hold();
  }
  void hold() {
    const std::lock_guard lock(mutex_);
    held_ = device_.allocate(bytes_);
    changed_(static_cast<std::ptrdiff_t>(held_->bytes()));
  }
  void trim() override {
    const std::lock_guard lock(mutex_);
    if (!held_) return;
    changed_(-static_cast<std::ptrdiff_t>(held_->bytes()));
    held_.reset();
  }

 private:
  NullDevice& device_;
  const std::size_t bytes_;
  std::mutex mutex_;
  std::function<void(std::ptrdiff_t)> changed_;
  std::unique_ptr<backend::Memory> held_;
};

}  // namespace

TEST_CASE("heap: buffers that follow one another share one arena") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const Graph graph = SmallNet().graph(rig.device);
  REQUIRE(heap_bytes(graph, 8) > 0);
  Gate gate;
  CommandBuffer blocker(queue);
  blocker.encode_host_function("gate", [&] { gate.pass(); });
  blocker.commit();
  for (int i = 0; i < 3; ++i) {  // all in flight at once
    CommandBuffer commands(queue);
    graph.encode(commands, {{"in", input(rig.device)}});
    graph.encode(commands, {{"in", input(rig.device)}});
    commands.commit();
  }
  CHECK_EQ(rig.device.memory_stats().heap, heap_bytes(graph, 8));
  gate.open();
  queue.wait_until_idle();
  const std::vector<const void*> used = temporaries(rig);
  CHECK_EQ(used.size(), 6U);
  CHECK_EQ(std::set<const void*>(used.begin(), used.end()).size(), 1U);
}

TEST_CASE("heap: a buffer begun while another holds the arena takes a second one") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const Graph graph = SmallNet().graph(rig.device);
  CommandBuffer a(queue, "a"), b(queue, "b");
  for (int piece = 0; piece < 3; ++piece) {
    graph.encode(a, {{"in", input(rig.device)}});
    a.commit_and_continue();
    graph.encode(b, {{"in", input(rig.device)}});
    b.commit_and_continue();
  }
  queue.wait_until_idle();
  const std::vector<const void*> used = temporaries(rig);
  REQUIRE(used.size() == 6);
  CHECK(used[0] != used[1]);
  for (std::size_t i = 2; i < used.size(); ++i) CHECK_EQ(used[i], used[i - 2]);
  CHECK_EQ(rig.device.memory_stats().heap, 2 * heap_bytes(graph, 8));

  a.commit();
  b.commit();
  CommandBuffer c(queue);
  graph.encode(c, {{"in", input(rig.device)}});
  c.commit();
  queue.wait_until_idle();
  const void* reused = temporaries(rig).back();
  CHECK(reused == used[0] || reused == used[1]);
  CHECK_EQ(rig.device.memory_stats().heap, 2 * heap_bytes(graph, 8));
}

TEST_CASE("heap: a dropped buffer gives its arena back") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const Graph graph = SmallNet().graph(rig.device);
  for (int i = 0; i < 3; ++i) {
    CommandBuffer commands(queue);
    graph.encode(commands, {{"in", input(rig.device)}});
  }
  CHECK_EQ(rig.device.memory_stats().heap, heap_bytes(graph, 8));
}

TEST_CASE("heap: grows without disturbing work in flight, and is freed by trim when idle") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const Graph graph = SmallNet().graph(rig.device);
  Gate gate;
  CommandBuffer small(queue), large(queue);
  small.encode_host_function("gate", [&] { gate.pass(); });
  graph.encode(small, {{"in", input(rig.device, 8)}});
  small.commit();
  graph.encode(large, {{"in", input(rig.device, 32)}});
  CHECK_EQ(rig.device.memory_stats().heap, heap_bytes(graph, 8) + heap_bytes(graph, 32));
  gate.open();
  small.wait_until_completed();
  CHECK_EQ(rig.device.memory_stats().heap, heap_bytes(graph, 32));

  rig.device.trim();  // held by `large`
  CHECK_EQ(rig.device.memory_stats().heap, heap_bytes(graph, 32));
  large.commit();
  large.wait_until_completed();
  rig.device.trim();
  CHECK_EQ(rig.device.memory_stats().heap, 0U);
  CHECK_EQ(rig.device.memory_stats().cached, 0U);
}

TEST_CASE("heap: two queues have two heaps") {
  const Rig rig;
  const CommandQueue one(rig.device), two(rig.device);
  const Graph graph = SmallNet().graph(rig.device);
  for (const CommandQueue& queue : {one, two}) {
    CommandBuffer commands(queue);
    graph.encode(commands, {{"in", input(rig.device)}});
    commands.commit();
  }
  rig.device.synchronize();
  CHECK_EQ(rig.device.memory_stats().heap, 2 * heap_bytes(graph, 8));
}

TEST_CASE("allocator: freed memory is kept, reused and trimmed") {
  const auto null = std::make_shared<NullDevice>();
  runtime::Allocator allocator(null);
  runtime::MemoryHandle memory = allocator.allocate(1000);
  const void* first = memory->device_pointer();
  CHECK_EQ(allocator.statistics().current, 1024U);
  memory.reset();
  CHECK_EQ(allocator.statistics().current, 0U);
  CHECK_EQ(allocator.statistics().cached, 1024U);
  memory = allocator.allocate(900);
  CHECK_EQ(memory->device_pointer(), first);
  CHECK_EQ(allocator.statistics().cached, 0U);
  CHECK_EQ(allocator.statistics().peak, 1024U);
  memory.reset();
  memory = allocator.allocate(100'000);  // too large for what is kept
  CHECK_EQ(allocator.statistics().cached, 1024U);
  allocator.trim();
  CHECK_EQ(allocator.statistics().cached, 0U);
  CHECK_EQ(null->allocated(), memory->bytes());
}

TEST_CASE("allocator: the cache is bounded, the oldest goes first") {
  const auto null = std::make_shared<NullDevice>();
  runtime::Allocator allocator(null);
  const std::size_t bytes = runtime::kCacheLimit / 4;
  {
    std::vector<runtime::MemoryHandle> blocks;
    for (std::size_t i = 0; i < 6; ++i) blocks.push_back(allocator.allocate(bytes));
  }
  CHECK_EQ(allocator.statistics().cached, runtime::kCacheLimit);
  allocator.allocate(2 * runtime::kCacheLimit)
      .reset();  // alone too large: nothing else is kept for it
  CHECK(allocator.statistics().cached <= runtime::kCacheLimit);
}

TEST_CASE("allocator: memory outlives it, and running out gives the cache back first") {
  const auto null =
      std::make_shared<NullDevice>(backend::null_device::Options{.memory_bytes = 1 << 20});
  runtime::MemoryHandle survivor;
  {
    runtime::Allocator allocator(null);
    allocator.allocate(600 << 10).reset();
    survivor = allocator.allocate(900 << 10);  // only fits once the cache is gone
    CHECK_THROWS_CONTAINS(allocator.allocate(900 << 10), OutOfMemoryError, "921600");
    CHECK_EQ(allocator.statistics().current, std::size_t{900} << 10);
  }
  survivor.reset();
}

TEST_CASE("allocator: impossible sizes are OutOfMemoryErrors") {
  runtime::Allocator allocator(std::make_shared<NullDevice>());
  CHECK_THROWS_AS(allocator.allocate(std::numeric_limits<std::size_t>::max()), OutOfMemoryError);
}

TEST_CASE("memory: flat over 2000 encodes") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const Graph graph = SmallNet(std::make_shared<OptimizerAdam>()).training(rig.device);
  const auto sources = batch(rig.device);
  MemoryStats early, late;
  for (int i = 0; i < 2000; ++i) {
    CommandBuffer commands(queue);
    const GraphOutputs outputs = graph.encode(commands, sources);
    commands.commit();
    commands.wait_until_completed();
    (i == 1 ? early : late) = rig.device.memory_stats();
  }
  CHECK_EQ(late.current, early.current);
  CHECK_EQ(late.peak, early.peak);
  CHECK_EQ(late.heap, early.heap);
  CHECK_EQ(late.cached, early.cached);
  CHECK_EQ(rig.null->allocated(), late.current + late.cached);
}

TEST_CASE("memory: running out in the middle of an encode leaves nothing behind") {
  backend::null_device::Options options;
  options.memory_bytes = 64 << 10;
  const Rig rig(options);
  const CommandQueue queue(rig.device);
  const Graph graph = SmallNet().graph(rig.device);
  {
    const Image large = input(rig.device, 64);  // 48 KiB: the result does not fit beside it
    CommandBuffer commands(queue);
    CHECK_THROWS_AS(graph.encode(commands, {{"in", large}}), OutOfMemoryError);
    commands.commit();
    commands.wait_until_completed();
  }
  CHECK(rig.labels().empty());
  CommandBuffer commands(queue);
  const GraphOutputs outputs = graph.encode(commands, {{"in", input(rig.device, 8)}});
  commands.commit();
  commands.wait_until_completed();
  CHECK_EQ(rig.labels().size(), 2U);
}

TEST_CASE("memory: before it runs out, queues give back their idle heaps") {
  constexpr std::size_t kAll = std::size_t{1} << 20;
  const Rig rig = rig_of(kAll);
  const CommandQueue one(rig.device), two(rig.device);
  const Graph graph = SmallNet().graph(rig.device);
  for (const CommandQueue& queue : {one, two}) run_once(graph, queue, 64);
  const MemoryStats before = rig.device.memory_stats();
  CHECK_EQ(before.heap, 2 * heap_bytes(graph, 64));
  CHECK(before.cached > 0);
  const std::size_t rest = kAll - (before.current - before.heap);
  {
    const Buffer all(rig.device, rest);
    CHECK_EQ(rig.device.memory_stats().heap, 0U);
    CHECK_EQ(rig.null->allocated(), kAll);
  }
  run_once(graph, one, 64);  // makes its heap anew
  CHECK_EQ(rig.device.memory_stats().heap, heap_bytes(graph, 64));
  CHECK_THROWS_CONTAINS(Buffer(rig.device, rest + 1), OutOfMemoryError, "null");
  CHECK_EQ(rig.device.memory_stats().heap, 0U);
}

TEST_CASE("memory: a heap makes room for another queue's, and what is held stays") {
  constexpr std::size_t kAll = std::size_t{200} << 10;
  const Rig rig = rig_of(kAll);
  const CommandQueue one(rig.device), two(rig.device);
  const Graph graph = SmallNet().graph(rig.device);
  run_once(graph, one, 64);
  const std::size_t heap = heap_bytes(graph, 64);
  CommandBuffer held(two);
  held.prefetch_heap(100 << 10);  // beside one's 64 KiB and the weights
  CHECK_EQ(rig.device.memory_stats().heap, heap + (std::size_t{100} << 10));
  CommandBuffer second(two);
  second.prefetch_heap(64 << 10);  // instead of one's
  CHECK_EQ(rig.device.memory_stats().heap, std::size_t{164} << 10);
  CommandBuffer third(one);
  CHECK_THROWS_AS(third.prefetch_heap(64 << 10), OutOfMemoryError);  // two command buffers hold it
  CHECK_EQ(rig.device.memory_stats().heap, std::size_t{164} << 10);
}

TEST_CASE("memory: only the cache is given back where that is enough") {
  constexpr std::size_t kAll = std::size_t{1} << 20;
  const Rig rig = rig_of(kAll);
  const CommandQueue queue(rig.device);
  const Graph graph = SmallNet().graph(rig.device);
  run_once(graph, queue, 64);
  const MemoryStats before = rig.device.memory_stats();
  REQUIRE(before.cached > 0);
  const Buffer buffer(rig.device, kAll - before.current);
  CHECK_EQ(rig.device.memory_stats().cached, 0U);
  CHECK_EQ(rig.device.memory_stats().heap, before.heap);
}

TEST_CASE("memory: heaps of the backend's queues make room, until the queue is gone") {
  constexpr std::size_t kAll = std::size_t{1} << 20;
  const Rig rig = rig_of(kAll);
  auto holding = std::make_unique<HoldingQueue>(*rig.null, kAll / 2);
  HoldingQueue& backend = *holding;
  auto queue = std::make_shared<runtime::QueueState>(rig.device.state(), "own", std::move(holding),
                                                     std::make_shared<runtime::QueueLife>("own"));
  CHECK_EQ(rig.device.memory_stats().heap, kAll / 2);
  {
    const Buffer most(rig.device, kAll);
  }
  CHECK_EQ(rig.device.memory_stats().heap, 0U);
  rig.device.trim();  // the cache
  backend.hold();
  CHECK_EQ(queue->statistics().heap, kAll / 2);
  rig.device.trim();
  CHECK_EQ(queue->statistics().heap, 0U);
  queue.reset();
  CHECK_THROWS_AS(Buffer(rig.device, kAll + 1), OutOfMemoryError);
}

TEST_CASE("memory: threads that run out of it, trim, encode, and end queues") {
  const Rig rig = rig_of(std::size_t{700} << 10);
  const Graph graph = SmallNet().graph(rig.device);
  std::atomic<int> served = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) run_once(graph, CommandQueue(rig.device), 32);
    });
  }
  threads.emplace_back([&] {
    for (int i = 0; i < 300; ++i) {
      try {
        // Larger than the one before, which is in the cache: both do not fit.
        const Buffer buffer(rig.device,
                            (std::size_t{360} << 10) + static_cast<std::size_t>(i) * 128);
        ++served;
      } catch (const OutOfMemoryError&) {
        std::this_thread::yield();
      }
      if (i % 3 == 0) rig.device.trim();
    }
  });
  for (std::thread& thread : threads) thread.join();
  CHECK(served > 0);
  rig.device.synchronize();
  rig.device.trim();
  CHECK_EQ(rig.device.memory_stats().heap, 0U);
  CHECK_EQ(rig.null->allocated(), rig.device.memory_stats().current);
}
