// SPDX-License-Identifier: MIT
#include <map>
#include <string>
#include <utility>

#include "base/check.h"
#include "graph/passes/passes.h"

namespace mpsnn::graph {
namespace {

/// "weights@blocked" and "weights" are one parameter of their data source.
std::string master_of(const std::string& parameter) {
  return parameter.substr(0, parameter.find('@'));
}

class Order {
 public:
  explicit Order(Plan& plan)
      : plan_(plan),
        writer_(plan.values.size(), kNone),
        waiting_for_(plan.operations.size(), 0),
        then_(plan.operations.size()),
        done_(plan.operations.size(), false) {}

  void run() {
    note_writers();
    note_updates();
    for (std::size_t i = 0; i < plan_.operations.size(); ++i) {
      if (!is_lazy(i) && !is_eager(i)) emit(i);
    }
    for (std::size_t i = 0; i < plan_.operations.size(); ++i) {
      if (is_lazy(i)) emit(i);  // a result that no operation reads
    }
    check_internal(order_.size() == plan_.operations.size(),
                   "every operation has its place in the order");
    std::vector<Operation> ordered;
    for (const std::size_t i : order_) ordered.push_back(std::move(plan_.operations[i]));
    plan_.operations = std::move(ordered);
  }

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  const Operation& operation(std::size_t i) const { return plan_.operations[i]; }

  /// Needs no image: runs right before its first reader.
  bool is_lazy(std::size_t i) const {
    return operation(i).op == OpId::parameter_layout || operation(i).op == OpId::fill;
  }

  /// Belongs to the update of weights: runs as soon as all that it waits for is done.
  bool is_eager(std::size_t i) const { return eager_.contains(i); }

  void note_writers() {
    for (std::size_t i = 0; i < plan_.operations.size(); ++i) {
      if (operation(i).optimizer != nullptr) continue;  // its outputs are parameters that exist
      for (const ValueId output : operation(i).outputs) {
        if (output != kNoValue) writer_[output] = i;
      }
    }
  }

  void wait(std::size_t later, std::size_t earlier) {
    then_[earlier].push_back(later);
    ++waiting_for_[later];
  }

  /// Optimizers, and the additions before them that join gradients of parameters, are eager. An
  /// update waits for its gradient and for every reader of the parameter or a copy of it.
  void note_updates() {
    std::map<std::pair<std::uint32_t, std::string>, std::vector<std::size_t>> readers;
    for (std::size_t i = 0; i < plan_.operations.size(); ++i) {
      if (operation(i).optimizer != nullptr) {
        note_eager(i);
        continue;
      }
      for (const ValueId input : operation(i).inputs) {
        if (input == kNoValue || plan_.values[input].kind != ValueKind::PARAMETER) continue;
        const Value& value = plan_.values[input];
        readers[{value.data_source, master_of(value.parameter)}].push_back(i);
      }
    }
    for (const auto& [update, is_update] : eager_) {
      if (!is_update) continue;
      const Value& value = plan_.values[operation(update).inputs[0]];
      for (const std::size_t reader : readers[{value.data_source, value.parameter}])
        wait(update, reader);
    }
  }

  void note_eager(std::size_t update) {
    eager_[update] = true;
    std::size_t reader = update;
    ValueId gradient = operation(update).inputs[1];
    // Sums are chains: (((g0 + g1) + g2) + …); none of them came from a node.
    while (operation(writer_[gradient]).op == OpId::addition &&
           operation(writer_[gradient]).node_class.empty()) {
      const std::size_t sum = writer_[gradient];
      eager_[sum] = false;
      wait(reader, sum);
      wait(sum, writer_[operation(sum).inputs[1]]);
      gradient = operation(sum).inputs[0];
      reader = sum;
    }
    wait(reader, writer_[gradient]);
  }

  void emit(std::size_t first) {
    std::vector<std::size_t> ready = {first};  // grows while it is walked
    for (std::size_t next = 0; next < ready.size(); ++next) {
      const std::size_t i = ready[next];
      if (done_[i]) continue;
      for (const ValueId input : operation(i).inputs) {
        const std::size_t writer = input == kNoValue ? kNone : writer_[input];
        if (writer != kNone && is_lazy(writer)) finish(writer, ready);
      }
      finish(i, ready);
    }
  }

  void finish(std::size_t i, std::vector<std::size_t>& ready) {
    if (done_[i]) return;
    done_[i] = true;
    order_.push_back(i);
    for (const std::size_t next : then_[i]) {
      if (--waiting_for_[next] == 0) ready.push_back(next);
    }
  }

  Plan& plan_;
  std::vector<std::size_t> writer_;             // by value; kNone: sources and parameters
  std::vector<std::size_t> waiting_for_;        // eager operations: how many others must come first
  std::vector<std::vector<std::size_t>> then_;  // eager operations that wait for one
  std::vector<bool> done_;
  std::map<std::size_t, bool> eager_;  // true: an optimizer's operation
  std::vector<std::size_t> order_;
};

}  // namespace

void order_operations(Draft& draft) { Order(draft.plan).run(); }

}  // namespace mpsnn::graph
