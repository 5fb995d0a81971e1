// SPDX-License-Identifier: MIT
// The public Trace: summary and file of what was recorded.
#include "mpsnn/trace.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <span>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "runtime/trace_recorder.h"

namespace mpsnn {
namespace {

using base::Json;

constexpr std::size_t kGapsShown = 5, kNodesShown = 10;
constexpr double kNanosecond = 1e-9;

std::string_view name_of(SpanKind kind) {
  switch (kind) {
    case SpanKind::ENCODE:
      return "encode";
    case SpanKind::COMMIT:
      return "commit";
    case SpanKind::WAIT:
      return "wait";
    case SpanKind::HANDLER:
      return "handler";
    case SpanKind::PIECE:
      return "piece";
    case SpanKind::KERNEL:
      return "kernel";
    case SpanKind::HOST_FUNCTION:
      return "host_function";
  }
  return "unknown";
}

bool is_work(const Span& span) {
  return span.kind == SpanKind::KERNEL || span.kind == SpanKind::HOST_FUNCTION;
}

/// Tells whether a queue was between pieces; asked for pauses in the order of time.
class Pieces {
 public:
  explicit Pieces(std::vector<const Span*> pieces) : pieces_(std::move(pieces)) {
    std::ranges::sort(pieces_, {}, &Span::start_ns);
  }
  /// true where no piece was being run for more than half of the pause.
  bool starved(std::int64_t start, std::int64_t end) {
    while (next_ < pieces_.size() && pieces_[next_]->end_ns <= start) ++next_;
    std::int64_t covered = 0;
    for (std::size_t i = next_; i < pieces_.size() && pieces_[i]->start_ns < end; ++i)
      covered += std::min(pieces_[i]->end_ns, end) - std::max(pieces_[i]->start_ns, start);
    return 2 * covered < end - start;
  }

 private:
  std::vector<const Span*> pieces_;
  std::size_t next_ = 0;
};

QueueSummary summary_of(const std::string& lane, const std::vector<const Span*>& spans) {
  QueueSummary summary;
  summary.lane = lane;
  std::vector<const Span*> work, pieces;
  std::int64_t first = spans.front()->start_ns, last = spans.front()->end_ns;
  for (const Span* span : spans) {
    first = std::min(first, span->start_ns);
    last = std::max(last, span->end_ns);
    if (is_work(*span)) work.push_back(span);
    if (span->kind == SpanKind::PIECE) pieces.push_back(span);
  }
  Pieces between(std::move(pieces));
  summary.seconds = kNanosecond * static_cast<double>(last - first);
  for (std::size_t i = 0; i < work.size(); ++i) {
    summary.kernels += work[i]->kind == SpanKind::KERNEL ? 1 : 0;
    summary.skipped += work[i]->skipped ? 1 : 0;
    if (!work[i]->skipped)
      summary.busy_seconds += kNanosecond * static_cast<double>(work[i]->duration_ns());
    if (i == 0 || work[i]->start_ns <= work[i - 1]->end_ns) continue;
    const Span &before = *work[i - 1], &after = *work[i];
    Gap gap{before.end_ns, after.start_ns, before.name, after.name,
            between.starved(before.end_ns, after.start_ns)};
    if (gap.starved)
      summary.starved_seconds += kNanosecond * static_cast<double>(gap.end_ns - gap.start_ns);
    summary.gaps.push_back(std::move(gap));
  }
  std::ranges::stable_sort(summary.gaps, std::ranges::greater{},
                           [](const Gap& gap) { return gap.end_ns - gap.start_ns; });
  summary.gaps.resize(std::min(summary.gaps.size(), kGapsShown));
  return summary;
}

std::vector<NodeCost> costs_of(const std::vector<Span>& spans) {
  std::map<std::string, NodeCost> by_name;
  double all = 0;
  for (const Span& span : spans) {
    if (span.kind != SpanKind::KERNEL || span.skipped) continue;
    NodeCost& cost = by_name[span.name + '\n' + span.kernel];
    cost.name = span.name;
    cost.kernel = span.kernel;
    ++cost.count;
    cost.seconds += kNanosecond * static_cast<double>(span.duration_ns());
    cost.flops += span.flops;
    cost.bytes += span.bytes;
    all += kNanosecond * static_cast<double>(span.duration_ns());
  }
  std::vector<NodeCost> costs;
  for (auto& [key, cost] : by_name) {
    cost.share = all > 0 ? cost.seconds / all : 0;
    costs.push_back(std::move(cost));
  }
  std::ranges::stable_sort(costs, std::ranges::greater{}, &NodeCost::seconds);
  costs.resize(std::min(costs.size(), kNodesShown));
  return costs;
}

/// A row of text, columns as in printf.
template <class... Values>
std::string row(const char* format, Values... values) {
  const int size = std::snprintf(nullptr, 0, format, values...);
  std::string text(static_cast<std::size_t>(size) + 1, '\0');
  std::snprintf(text.data(), text.size(), format, values...);
  text.back() = '\n';
  return text;
}

Json::Object event_of(const Span& span, std::int64_t thread) {
  Json::Object details{{"commands", span.commands}};
  if (span.kind == SpanKind::KERNEL) {
    details.emplace("kernel", span.kernel);
    details.emplace("shapes", span.shapes);
    details.emplace("skipped", span.skipped);
  }
  if (span.kind == SpanKind::KERNEL || span.kind == SpanKind::ENCODE) {
    details.emplace("bytes", static_cast<std::int64_t>(span.bytes));
    details.emplace("flops", static_cast<std::int64_t>(span.flops));
  }
  const auto microseconds = [](std::int64_t ns) { return 1e-3 * static_cast<double>(ns); };
  return {{"args", std::move(details)},
          {"cat", name_of(span.kind)},
          {"dur", microseconds(span.duration_ns())},
          {"name", span.name.empty() ? std::string(name_of(span.kind)) : span.name},
          {"ph", "X"},
          {"pid", 1},
          {"tid", thread},
          {"ts", microseconds(span.start_ns)}};
}

Json::Object thread_name(const std::string& lane, std::int64_t thread) {
  return {{"args", Json::Object{{"name", lane}}},
          {"name", "thread_name"},
          {"ph", "M"},
          {"pid", 1},
          {"tid", thread}};
}

}  // namespace

Trace::Trace() : recorder_(std::make_shared<runtime::TraceRecorder>()) {}
void Trace::start() const { recorder_->start(); }
void Trace::stop() const { recorder_->stop(); }
bool Trace::is_running() const { return recorder_->is_running(); }
std::vector<Span> Trace::spans() const { return recorder_->spans(); }

TraceSummary Trace::summary() const {
  const std::vector<Span> spans = this->spans();
  TraceSummary summary;
  if (spans.empty()) return summary;
  std::map<std::string, std::vector<const Span*>> queues;
  for (const Span& span : spans) {
    if (span.kind == SpanKind::PIECE) queues[span.lane];
  }
  std::int64_t first = spans.front().start_ns, last = 0;
  for (const Span& span : spans) {
    first = std::min(first, span.start_ns);
    last = std::max(last, span.end_ns);
    if (const auto queue = queues.find(span.lane); queue != queues.end())
      queue->second.push_back(&span);
  }
  summary.seconds = kNanosecond * static_cast<double>(last - first);
  for (const auto& [lane, of_lane] : queues) summary.queues.push_back(summary_of(lane, of_lane));
  summary.nodes = costs_of(spans);
  return summary;
}

std::string TraceSummary::text() const {
  std::string text = row("%.3f ms", 1e3 * seconds);
  for (const QueueSummary& queue : queues) {
    text += row("%s: busy %.1f %% of %.3f ms, starved %.3f ms, %zu kernels, %zu skipped",
                queue.lane.c_str(), 100 * queue.busy(), 1e3 * queue.seconds,
                1e3 * queue.starved_seconds, queue.kernels, queue.skipped);
    for (const Gap& gap : queue.gaps) {
      text += row("  %9.3f ms %s between %s and %s",
                  1e-6 * static_cast<double>(gap.end_ns - gap.start_ns),
                  gap.starved ? "starved" : "paused ", gap.after.c_str(), gap.before.c_str());
    }
  }
  if (nodes.empty()) return text;
  text +=
      row("%10s %6s %6s %9s %8s  %s", "ms", "share", "count", "GFLOP/s", "GB/s", "node, kernel");
  for (const NodeCost& node : nodes) {
    const double per_second = node.seconds > 0 ? 1e-9 / node.seconds : 0;
    text +=
        row("%10.3f %5.1f%% %6zu %9.1f %8.1f  %s, %s", 1e3 * node.seconds, 100 * node.share,
            node.count, per_second * static_cast<double>(node.flops),
            per_second * static_cast<double>(node.bytes), node.name.c_str(), node.kernel.c_str());
  }
  return text;
}

std::string Trace::json() const {
  std::vector<Span> spans = this->spans();
  std::ranges::stable_sort(spans, {}, &Span::start_ns);
  std::map<std::string, std::int64_t> threads;
  Json::Array events;
  for (const Span& span : spans) {
    const auto [thread, is_new] =
        threads.try_emplace(span.lane, static_cast<std::int64_t>(threads.size()) + 1);
    if (is_new) events.emplace_back(thread_name(span.lane, thread->second));
    events.emplace_back(event_of(span, thread->second));
  }
  return base::to_string(
      Json::Object{{"displayTimeUnit", "ms"}, {"traceEvents", std::move(events)}});
}

void Trace::save(const std::string& path) const {
  const std::string text = json();
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(text))};
  base::write_file_atomically(path, parts);
}

}  // namespace mpsnn
