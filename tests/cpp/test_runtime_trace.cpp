// SPDX-License-Identifier: MIT
// Timelines: what is recorded, summed up and written.
#include <algorithm>
#include <chrono>
#include <set>
#include <thread>

#include "base/json.h"
#include "mpsnn/error.h"
#include "mpsnn/trace.h"
#include "runtime/trace_recorder.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;

namespace {

std::vector<Span> of_kind(const std::vector<Span>& spans, SpanKind kind) {
  std::vector<Span> found;
  std::ranges::copy_if(spans, std::back_inserter(found),
                       [&](const Span& span) { return span.kind == kind; });
  return found;
}

void sleep_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

}  // namespace

TEST_CASE("trace: everything that host and queue do is in it, once") {
  const Rig rig;
  const SmallNet net;
  Graph graph = net.graph(rig.device);
  graph.set_label("net");
  const CommandQueue queue(rig.device, "main");
  const Predicate off(rig.device);
  off.set_value(0);
  const Trace trace;
  CHECK(!trace.is_running());
  {
    const Capture capture(trace);
    CHECK(trace.is_running());
    CommandBuffer commands(queue, "step");
    graph.encode(commands, {{"in", input(rig.device)}});
    commands.commit_and_continue();
    commands.set_predicate(off);
    graph.encode(commands, {{"in", input(rig.device)}});
    commands.set_predicate(std::nullopt);
    commands.encode_host_function("sleep", [] { sleep_ms(3); });
    commands.add_completed_handler([](CommandBuffer&) {});
    commands.commit();
    commands.wait_until_completed();
  }
  train_once(graph, queue, {{"in", input(rig.device)}});  // after the end: not in it
  const std::vector<Span> spans = trace.spans();
  const auto encodes = of_kind(spans, SpanKind::ENCODE);
  REQUIRE(encodes.size() == 2);
  CHECK_EQ(encodes[0].name, "net");
  CHECK_EQ(encodes[0].lane, "host 1");
  CHECK_EQ(encodes[0].flops, graph.cost({{"in", {1, 8, 8, 3}}}).flops);
  CHECK_EQ(of_kind(spans, SpanKind::COMMIT).size(), 2U);
  CHECK_EQ(of_kind(spans, SpanKind::PIECE).size(), 2U);
  CHECK_EQ(of_kind(spans, SpanKind::WAIT).size(), 1U);
  CHECK_EQ(of_kind(spans, SpanKind::HANDLER).size(), 1U);
  const auto kernels = of_kind(spans, SpanKind::KERNEL);
  REQUIRE(kernels.size() == 4);
  CHECK_EQ(kernels[0].name, "first");
  CHECK_EQ(kernels[0].lane, "null: main");
  CHECK_EQ(kernels[0].commands, "step");
  CHECK_EQ(kernels[0].kernel, "convolution/null");
  CHECK(kernels[0].shapes.find("-> (1, 8, 8, 4)") != std::string::npos);
  CHECK(kernels[0].flops > 0);
  CHECK(kernels[0].bytes > 0);
  CHECK(!kernels[1].skipped);
  CHECK(kernels[2].skipped);
  CHECK(kernels[3].skipped);
  const auto functions = of_kind(spans, SpanKind::HOST_FUNCTION);
  REQUIRE(functions.size() == 1);
  CHECK_EQ(functions[0].name, "sleep");
  CHECK(functions[0].duration_ns() >= 3'000'000);
  for (const Span& span : spans) CHECK(span.start_ns >= 0 && span.end_ns >= span.start_ns);
}

TEST_CASE("trace: the summary says how busy a queue was, and where it starved") {
  const Rig rig;
  const CommandQueue queue(rig.device, "main");
  const Trace trace;
  {
    const Capture capture(trace);
    CommandBuffer first(queue), second(queue);
    first.encode_host_function("a", [] { sleep_ms(4); });
    first.commit();
    first.wait_until_completed();
    sleep_ms(20);  // nothing committed
    second.encode_host_function("b", [] { sleep_ms(4); });
    second.commit();
    second.wait_until_completed();
  }
  const TraceSummary summary = trace.summary();
  REQUIRE(summary.queues.size() == 1);
  const QueueSummary& main = summary.queues[0];
  CHECK_EQ(main.lane, "null: main");
  CHECK(main.busy_seconds >= 0.008);
  CHECK(main.starved_seconds >= 0.018);
  // Sleeps may take longer than they should, on a busy machine.
  const double idle = main.starved_seconds / (main.busy_seconds + main.starved_seconds);
  CHECK(main.busy() > 0 && main.busy() < 1 - 0.9 * idle);
  REQUIRE(main.gaps.size() == 1);
  CHECK(main.gaps[0].starved);
  CHECK_EQ(main.gaps[0].after, "a");
  CHECK_EQ(main.gaps[0].before, "b");
  CHECK(summary.text().find("starved") != std::string::npos);
  CHECK(Trace().summary().queues.empty());
}

TEST_CASE("trace: the ten most costly nodes, summed over their runs") {
  const Rig rig;
  const SmallNet net(std::make_shared<OptimizerAdam>());
  const Graph training = net.training(rig.device);
  const CommandQueue queue(rig.device);
  const Trace trace;
  {
    const Capture capture(trace);
    for (int i = 0; i < 3; ++i) train_once(training, queue, batch(rig.device));
  }
  const TraceSummary summary = trace.summary();
  REQUIRE(!summary.nodes.empty());
  CHECK(summary.nodes.size() <= 10);
  double share = 0;
  for (const NodeCost& node : summary.nodes) {
    CHECK_EQ(node.count % 3, 0U);
    share += node.share;
  }
  CHECK(share <= 1.0001 && share > 0.5);
  CHECK(std::ranges::is_sorted(summary.nodes, std::ranges::greater{}, &NodeCost::seconds));
}

TEST_CASE("trace: the file is Chrome's format") {
  const Rig rig;
  const SmallNet net;
  const Graph graph = net.graph(rig.device);
  const CommandQueue queue(rig.device, "a \"quoted\" queue");
  const Trace trace;
  {
    const Capture capture(trace);
    train_once(graph, queue, {{"in", input(rig.device)}});
  }
  const base::Json document = base::parse_json(trace.json());
  const base::JsonField events = base::JsonField(document, "trace").at("traceEvents");
  std::set<std::int64_t> named, used;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const base::JsonField event = events.at(i);
    const std::string& phase = event.at("ph").string();
    (phase == "M" ? named : used).insert(event.at("tid").integer());
    if (phase != "M") {
      CHECK(phase == "X");
      CHECK(event.at("dur").number() >= 0);
      CHECK(event.at("ts").number() >= 0);
    }
  }
  CHECK_EQ(used.size(), 2U);
  CHECK(named == used);
  CHECK_THROWS_CONTAINS(trace.save("/no such folder/trace.json"), FileError, "/no such folder");
}

TEST_CASE("trace: while none runs, its looks at the flag cost less than 1 % of the smallest step") {
  const Rig rig;
  const SmallNet net;
  const Graph graph = net.graph(rig.device);
  const CommandQueue queue(rig.device);
  const std::map<std::string, Image> sources = {{"in", input(rig.device)}};
  const auto seconds_of = [](int count, const auto& function) {
    double best = 1e9;
    for (int round = 0; round < 5; ++round) {
      const auto started = std::chrono::steady_clock::now();
      for (int i = 0; i < count; ++i) function();
      const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - started;
      best = std::min(best, passed.count() / count);
    }
    return best;
  };
  std::size_t running = 0;
  const double look =
      seconds_of(100000, [&] { running += runtime::TraceRecorder::active() ? 1 : 0; });
  const double step = seconds_of(200, [&] { train_once(graph, queue, sources); });
  CHECK_EQ(running, 0U);
  // Encode, commit, wait, the piece, and its two kinds of handlers.
  CHECK(6 * look < 0.01 * step);
}

TEST_CASE("trace: one at a time, each once") {
  const Trace first, second;
  first.start();
  CHECK_THROWS_AS(second.start(), StateError);
  CHECK_THROWS_AS(first.start(), StateError);
  first.stop();
  first.stop();
  CHECK_THROWS_AS(first.start(), StateError);
  second.start();
  CHECK(second.is_running());
  second.stop();
}

TEST_CASE("trace: begins and ends while several threads encode") {
  const Rig rig;
  const SmallNet net;
  const Graph graph = net.graph(rig.device);
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      const CommandQueue queue(rig.device);
      while (!stop) train_once(graph, queue, {{"in", input(rig.device)}});
    });
  }
  std::size_t most = 0;
  for (int i = 0; i < 20; ++i) {
    const Trace trace;
    trace.start();
    sleep_ms(1);
    trace.stop();
    most = std::max(most, trace.spans().size());
    CHECK(trace.json().size() > 10);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(most > 0);
}
