// SPDX-License-Identifier: MIT
// Pieces that Graph::encode commits by itself, the heap they share, times, completion, pipelines.
#include <chrono>
#include <future>
#include <thread>

#include "mpsnn/error.h"
#include "mpsnn/pipeline.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;

namespace {

using Lines = std::vector<std::string>;
using std::chrono::milliseconds;

constexpr CommitThreshold kEachOperation{0, 0};
constexpr auto kNever = static_cast<std::uint64_t>(-1);

std::size_t pieces(const Graph& graph, const Device& device, CommitThreshold threshold,
                   bool auto_commit = true) {
  const CommandQueue queue(device);
  CommandBuffer commands(queue, "step", auto_commit);
  commands.set_commit_threshold(threshold);
  graph.encode(commands, batch(device));
  const std::size_t by_itself = commands.piece_count();
  commands.commit();
  commands.wait_until_completed();
  return by_itself;
}

}  // namespace

TEST_CASE("pieces: encode commits by work, by bytes, or not at all") {
  const Rig rig;
  const SmallNet net(std::make_shared<OptimizerAdam>());
  const Graph training = net.training(rig.device);
  const Graph::Cost cost = training.cost({{"in", {1, 8, 8, 3}}, {"target", {1, 8, 8, 2}}});
  REQUIRE(cost.operations > 6);
  CHECK_EQ(pieces(training, rig.device, CommitThreshold{}), 0U);
  CHECK_EQ(pieces(training, rig.device, kEachOperation), cost.operations);
  CHECK_EQ(pieces(training, rig.device, kEachOperation, false), 0U);
  CHECK_EQ(pieces(training, rig.device, {cost.flops, kNever}), 1U);
  CHECK_EQ(pieces(training, rig.device, {cost.flops + 1, kNever}), 0U);
  const std::size_t halves = pieces(training, rig.device, {cost.flops / 2, kNever});
  CHECK_EQ(halves, 1U);
  CHECK(pieces(training, rig.device, {kNever, 1000}) > 3);
}

TEST_CASE("pieces: the same kernels run in the same order, however they are cut") {
  Lines whole;
  for (const std::uint64_t flops :
       {kNever, std::uint64_t{0}, std::uint64_t{500}, std::uint64_t{20000}}) {
    const Rig rig;
    const SmallNet net(std::make_shared<OptimizerAdam>());
    const Graph training = net.training(rig.device);
    const CommandQueue queue(rig.device);
    CommandBuffer commands(queue);
    commands.set_commit_threshold({flops, kNever});
    for (int i = 0; i < 3; ++i) training.encode(commands, batch(rig.device));
    commands.commit();
    commands.wait_until_completed();
    if (whole.empty()) whole = rig.labels();
    CHECK(!whole.empty());
    CHECK(rig.labels() == whole);
  }
}

TEST_CASE("pieces: work adds up over graphs, and each piece needs twice as much") {
  const Rig rig;
  const SmallNet net;
  const Graph graph = net.graph(rig.device);
  const std::uint64_t flops = graph.cost({{"in", {1, 8, 8, 3}}}).flops;
  const CommandQueue queue(rig.device);
  CommandBuffer commands(queue);
  commands.set_commit_threshold({3 * flops, kNever});
  std::vector<std::size_t> counts;
  for (int i = 0; i < 10; ++i) {
    graph.encode(commands, {{"in", input(rig.device)}});
    counts.push_back(commands.piece_count());
  }
  CHECK(counts == (std::vector<std::size_t>{0, 0, 1, 1, 1, 1, 1, 1, 2, 2}));
  CHECK(commands.commit_threshold() == (CommitThreshold{3 * flops, kNever}));
}

TEST_CASE("pieces: the device runs the first ones while the buffer still records") {
  const Rig rig;
  const SmallNet net;
  const Graph graph = net.graph(rig.device);
  const CommandQueue queue(rig.device);
  CommandBuffer commands(queue);
  commands.set_commit_threshold(kEachOperation);
  graph.encode(commands, {{"in", input(rig.device)}});
  commands.wait_until_completed();  // what was committed so far: all of the graph
  CHECK(!rig.labels().empty());
  CHECK(commands.status() == CommandBufferStatus::SCHEDULED);  // not completed: it still records
  commands.encode_host_function("the buffer still records", [] {});
  commands.commit();
  commands.wait_until_completed();
}

TEST_CASE("pieces: results belong to the piece that makes them, and feed later graphs") {
  const Rig rig;
  const UpsamplingNearestNode up(ImageNode("in"), 2);
  const Graph graph(rig.device, {up.result_image()});
  const CommandQueue queue(rig.device);
  CommandBuffer commands(queue);
  commands.set_commit_threshold(kEachOperation);
  Image image = input(rig.device, 2);
  for (int i = 0; i < 4; ++i) image = *graph.encode(commands, {{"in", image}}).results[0];
  commands.commit();
  std::vector<float> values(static_cast<std::size_t>(image.size().count()));
  image.read(values.data(), image.bytes());  // waits, and finds it made
  CHECK_EQ(image.size().height, 32);
  CHECK_EQ(rig.labels().size(), 4U);
}

TEST_CASE("pieces: a source that another buffer has yet to commit holds them back") {
  const Rig rig;
  const UpsamplingNearestNode up(ImageNode("in"), 2);
  const Graph graph(rig.device, {up.result_image()});
  const CommandQueue queue(rig.device);
  CommandBuffer first(queue, "first"), second(queue, "second");
  second.set_commit_threshold(kEachOperation);
  const Image made = *graph.encode(first, {{"in", input(rig.device)}}).results[0];
  graph.encode(second, {{"in", made}});
  CHECK_EQ(second.piece_count(), 0U);
  CHECK_THROWS_CONTAINS(second.commit(), StateError, "first");
  first.commit();
  second.commit();
  second.wait_until_completed();
  CHECK_EQ(rig.labels().size(), 2U);
}

TEST_CASE("pieces: a failure in one refuses the later ones, and the next buffer runs") {
  const Rig rig;
  const SmallNet net;
  const Graph graph = net.graph(rig.device);
  const CommandQueue queue(rig.device);
  rig.null->fail_command(1, std::make_exception_ptr(DeviceError("broken")));
  CommandBuffer commands(queue, "step");
  commands.set_commit_threshold(kEachOperation);
  for (int i = 0; i < 5; ++i) graph.encode(commands, {{"in", input(rig.device)}});
  commands.commit();
  CHECK_THROWS_CONTAINS(commands.wait_until_completed(), DeviceError, "broken");
  CHECK_EQ(rig.labels().size(), 1U);
  CHECK(commands.status() == CommandBufferStatus::ERROR);
  CommandBuffer next(queue);
  graph.encode(next, {{"in", input(rig.device)}});
  next.commit();
  next.wait_until_completed();
  CHECK_EQ(rig.labels().size(), 3U);
}

TEST_CASE("pieces: one heap serves them all, and a prefetched one need not grow") {
  const Rig rig;
  const SmallNet net;
  const Graph graph = net.graph(rig.device);
  const std::size_t heap = graph.cost({{"in", {1, 8, 8, 3}}}).heap_bytes;
  REQUIRE(heap > 0);
  const CommandQueue queue(rig.device, "main");
  {
    CommandBuffer commands(queue);
    commands.prefetch_heap(4 * heap);
    const std::size_t held = rig.device.memory_stats().heap;
    CHECK(held >= 4 * heap);
    commands.set_commit_threshold(kEachOperation);
    for (int i = 0; i < 5; ++i) graph.encode(commands, {{"in", input(rig.device)}});
    commands.commit();
    commands.wait_until_completed();
    CHECK_EQ(rig.device.memory_stats().heap, held);
  }
  const MemoryStats stats = rig.device.memory_stats();
  REQUIRE(stats.queues.size() == 1);
  CHECK_EQ(stats.queues[0].label, "main");
  CHECK_EQ(stats.queues[0].arenas, 1U);
  CHECK_EQ(stats.queues[0].heap, stats.heap);
  rig.device.trim();
  CHECK_EQ(rig.device.memory_stats().queues[0].heap, 0U);
  CommandBuffer late(queue);
  late.commit();
  CHECK_THROWS_AS(late.prefetch_heap(1), StateError);
}

TEST_CASE(
    "pieces: memory that runs out while one is prefetched or encoded is told, and only that") {
  backend::null_device::Options options;
  options.memory_bytes = 1 << 20;
  const Rig rig(std::move(options));
  const SmallNet net;
  const Graph graph = net.graph(rig.device);
  const CommandQueue queue(rig.device);
  CommandBuffer commands(queue);
  graph.encode(commands, {{"in", input(rig.device)}});
  CHECK_THROWS_AS(commands.prefetch_heap(1 << 22), OutOfMemoryError);
  const Image large(rig.device, {1, 200, 200, 3});  // its result still fits, the heap does not
  CHECK_THROWS_AS(graph.encode(commands, {{"in", large}}), OutOfMemoryError);
  graph.encode(commands, {{"in", input(rig.device)}});
  commands.commit();
  commands.wait_until_completed();
  CHECK_EQ(rig.labels().size(), 4U);
}

TEST_CASE("times: grow from commit to end, over all pieces") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  CommandBuffer commands(queue);
  CHECK_EQ(commands.times().kernel_start, 0.0);
  commands.encode_host_function("a", [] { std::this_thread::sleep_for(milliseconds(2)); });
  commands.commit_and_continue();
  commands.encode_host_function("b", [] { std::this_thread::sleep_for(milliseconds(2)); });
  commands.commit();
  commands.wait_until_completed();
  const CommandBufferTimes times = commands.times();
  CHECK(times.kernel_start > 0);
  CHECK(times.gpu_start >= times.kernel_start);
  CHECK(times.kernel_end >= times.kernel_start);
  CHECK(times.gpu_end - times.gpu_start >= 0.004);
}

TEST_CASE("completion: futures and functions, also of work that has ended") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  Gate gate;
  CommandBuffer commands(queue, "step");
  CHECK_THROWS_CONTAINS(commands.completed(), StateError, "\"step\"");
  commands.encode_host_function("gate", [&] { gate.pass(); });
  commands.commit();
  std::future<void> future = commands.completed();
  std::promise<void> called;
  commands.when_completed([&] { called.set_value(); });
  CHECK(future.wait_for(milliseconds(5)) == std::future_status::timeout);
  gate.open();
  future.get();
  called.get_future().get();
  int late = 0;
  commands.when_completed([&] { ++late; });
  CHECK_EQ(late, 1);
  CHECK_THROWS_AS(commands.when_completed(nullptr), InvalidArgumentError);

  CommandBuffer failing(queue);
  failing.encode_host_function("bad", [] { throw DeviceError("broken"); });
  failing.commit();
  CHECK_THROWS_CONTAINS(failing.completed().get(), DeviceError, "broken");
  CommandBuffer throwing(queue, "throwing");
  throwing.commit();
  throwing.wait_until_completed();
  throwing.when_completed([] { throw DeviceError("late"); });
  CHECK_THROWS_CONTAINS(throwing.wait_until_completed(), DeviceError, "late");
}

TEST_CASE("pipeline: no more buffers in flight than asked for, one heap") {
  const Rig rig;
  const SmallNet net;
  const Graph graph = net.graph(rig.device);
  const CommandQueue queue(rig.device);
  std::atomic<int> in_flight = 0, most = 0;
  Pipeline pipeline(queue, 3);
  std::vector<int> data(40);
  pipeline.run(data, [&](CommandBuffer& commands, int) {
    most = std::max(most.load(), ++in_flight);
    graph.encode(commands, {{"in", input(rig.device)}});
    commands.add_completed_handler([&](CommandBuffer&) { --in_flight; });
  });
  CHECK(most <= 4);  // the one being recorded, too
  CHECK_EQ(in_flight.load(), 0);
  CHECK_EQ(rig.labels().size(), 80U);
  CHECK_EQ(rig.device.memory_stats().queues[0].arenas, 1U);
  CHECK_THROWS_CONTAINS(Pipeline(queue, 0), InvalidArgumentError, "buffers");
}

TEST_CASE("pipeline: the first error comes with its batch, and nothing is left in flight") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const std::vector<int> data = {0, 1, 2, 3, 4, 5};
  const auto run = [&](int failing, bool on_host) {
    Pipeline pipeline(queue);
    pipeline.run(data, [&](CommandBuffer& commands, int number) {
      if (number == failing && on_host) throw InvalidArgumentError("the batch is empty");
      commands.encode_host_function("work", [=] {
        if (number >= failing) throw DeviceError("broken " + std::to_string(number));
      });
    });
  };
  CHECK_THROWS_CONTAINS(run(2, true), BatchError, "batch 2: the batch is empty");
  try {
    run(2, false);
    CHECK(false);
  } catch (const BatchError& error) {
    CHECK_EQ(error.batch(), 2U);
    CHECK(std::string(error.what()).find("batch 2") != std::string::npos);
    CHECK_THROWS_CONTAINS(std::rethrow_if_nested(error), DeviceError, "broken 2");
  }
  queue.wait_until_idle();  // failures behind the first one were told with it
}
