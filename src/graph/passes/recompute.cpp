// SPDX-License-Identifier: MIT
// The memory of a training step is what the backward pass needs of the forward pass. Some of it is
// cheaper made again than kept: an upsampled image from the small one, a sum from its two terms, a
// normalised image from its source, which the gradient needs anyway.
#include <algorithm>
#include <optional>
#include <utility>

#include "base/check.h"
#include "graph/passes/passes.h"

namespace mpsnn::graph {
namespace {

/// A value is worth it from this share of the peak on; the plan stays readable and the time small.
constexpr std::size_t kSmallestShare = 50;
/// Bytes read and written for one byte saved: addition 3, upsampling less than 2; pooling 5 is too
/// much.
constexpr std::size_t kMostTraffic = 4;
/// How far back a value may be made from values that are made again themselves: an upsampling and
/// the addition of a skip connection is 2.
constexpr int kMostDepth = 2;
constexpr int kMostTimes = 256;  // bounds the work of the pass; real nets need a few

bool is_cheap(OpId op) {
  switch (op) {
    case OpId::addition:
    case OpId::concatenation:
    case OpId::normalization:
    case OpId::slice:
    case OpId::upsampling_nearest:
    case OpId::upsampling_bilinear:
      return true;
    default:
      return false;
  }
}

class Recompute {
 public:
  explicit Recompute(Draft& draft) : draft_(draft), plan_(draft.plan) {}

  /// Lowers the peak once; false where nothing helps any more.
  bool step() {
    note_uses();
    const auto [peak, bytes] = find_peak();
    std::optional<ValueId> best;
    for (ValueId id = 0; id < uses_.size(); ++id) {
      if (plan_.values[id].kind != ValueKind::TEMPORARY || bytes_of(id) * kSmallestShare < bytes)
        continue;
      const std::optional<std::size_t> at = use_after(id, peak);
      if (!at || !can_make(id, *at, kMostDepth)) continue;
      if (!best || bytes_of(id) > bytes_of(*best)) best = id;
    }
    if (best) make_again(*best, peak);
    return best.has_value();
  }

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  std::size_t bytes_of(ValueId id) const { return plan_.values[id].desc.bytes(); }

  void note_uses() {
    uses_.assign(plan_.values.size(), {});
    writer_.assign(plan_.values.size(), kNone);
    changed_.assign(plan_.values.size(), kNone);
    for (std::size_t i = 0; i < plan_.operations.size(); ++i) {
      const Operation& operation = plan_.operations[i];
      for (const std::vector<ValueId>* ids : {&operation.inputs, &operation.outputs}) {
        for (const ValueId id : *ids) {
          if (id != kNoValue && (uses_[id].empty() || uses_[id].back() != i))
            uses_[id].push_back(i);
        }
      }
      for (const ValueId id : operation.outputs) {
        if (id == kNoValue) continue;
        writer_[id] = i;
        changed_[id] = std::min(changed_[id], i);
      }
      if (operation.scratch != kNoValue) uses_[operation.scratch].push_back(i);
    }
  }

  /// The operation during which most bytes are alive, and how many.
  std::pair<std::size_t, std::size_t> find_peak() const {
    std::vector<std::ptrdiff_t> change(plan_.operations.size() + 1, 0);
    for (ValueId id = 0; id < uses_.size(); ++id) {
      if (uses_[id].empty() || plan_.values[id].kind != ValueKind::TEMPORARY) continue;
      change[uses_[id].front()] += static_cast<std::ptrdiff_t>(bytes_of(id));
      change[uses_[id].back() + 1] -= static_cast<std::ptrdiff_t>(bytes_of(id));
    }
    std::ptrdiff_t alive = 0, most = 0;
    std::size_t peak = 0;
    for (std::size_t i = 0; i < change.size(); ++i) {
      alive += change[i];
      if (alive > most) most = alive, peak = i;
    }
    return {peak, static_cast<std::size_t>(most)};
  }

  /// The first use behind `peak` of a value that lies unused while the peak passes.
  std::optional<std::size_t> use_after(ValueId id, std::size_t peak) const {
    const std::vector<std::size_t>& uses = uses_[id];
    const auto after = std::lower_bound(uses.begin(), uses.end(), peak);
    if (after == uses.begin() || after == uses.end() || *after == peak) return std::nullopt;
    return *after;
  }

  bool is_there(ValueId id, std::size_t at) const {
    // A parameter that was updated meanwhile is another one.
    if (plan_.values[id].kind == ValueKind::PARAMETER) return at <= changed_[id];
    if (plan_.values[id].kind != ValueKind::TEMPORARY) return true;
    return !uses_[id].empty() && uses_[id].front() < at && uses_[id].back() >= at;
  }

  /// true where the value can be made again right before operation `at` from what is there anyway.
  bool can_make(ValueId id, std::size_t at, int depth) const {
    if (depth == 0 || writer_[id] == kNone || writer_[id] >= at) return false;
    const Operation& writer = plan_.operations[writer_[id]];
    if (!is_cheap(writer.op) || writer.outputs.size() != 1) return false;
    std::size_t traffic = bytes_of(id);
    for (const ValueId input : writer.inputs) {
      if (!is_there(input, at) && !can_make(input, at, depth - 1)) return false;
      traffic += bytes_of(input);
    }
    return traffic <= kMostTraffic * bytes_of(id);
  }

  /// Inserts copies of the operations that make the value before its first use behind the peak, and
  /// lets all uses from there on read the copy.
  void make_again(ValueId id, std::size_t peak) {
    const std::size_t at = *use_after(id, peak);
    std::vector<Operation> made;
    const ValueId copy = copy_of(id, at, kMostDepth, made);
    for (std::size_t i = at; i < plan_.operations.size(); ++i) {
      std::replace(plan_.operations[i].inputs.begin(), plan_.operations[i].inputs.end(), id, copy);
    }
    plan_.operations.insert(plan_.operations.begin() + static_cast<std::ptrdiff_t>(at),
                            std::make_move_iterator(made.begin()),
                            std::make_move_iterator(made.end()));
  }

  ValueId copy_of(ValueId id, std::size_t at, int depth, std::vector<Operation>& made) {
    check_internal(can_make(id, at, depth), "what is made again can be made");
    Operation again = plan_.operations[writer_[id]];
    for (ValueId& input : again.inputs) {
      if (!is_there(input, at)) input = copy_of(input, at, depth - 1, made);
    }
    const Value original = plan_.values[id];
    again.outputs[0] =
        draft_.add_value(original.name + ".again", original.desc, ValueKind::TEMPORARY);
    again.label += ".again";
    if (again.scratch != kNoValue) {
      const Value scratch = plan_.values[again.scratch];
      again.scratch = draft_.add_value(scratch.name, scratch.desc, ValueKind::TEMPORARY);
    }
    made.push_back(std::move(again));
    return made.back().outputs[0];
  }

  Draft& draft_;
  Plan& plan_;
  std::vector<std::vector<std::size_t>> uses_;  // by value: operations, in order
  std::vector<std::size_t> writer_;             // by value: the operation, kNone for sources
  std::vector<std::size_t> changed_;            // by value: the first operation that writes it
};

}  // namespace

void recompute(Draft& draft) {
  Recompute pass(draft);
  for (int i = 0; i < kMostTimes && pass.step(); ++i) {
  }
}

}  // namespace mpsnn::graph
