// SPDX-License-Identifier: MIT
#include "runtime/source_states.h"

#include <algorithm>
#include <variant>

#include "base/check.h"
#include "graph/node_records.h"

namespace mpsnn::runtime {
namespace {

std::string quoted(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += str(text.empty() ? "\"" : ", \"", name, '"');
  return text.empty() ? "none" : text;
}

template <class Map>
std::vector<std::string> keys_of(const Map& map) {
  std::vector<std::string> keys;
  for (const auto& entry : map) keys.push_back(entry.first);
  return keys;
}

struct Reader {
  const std::string& subject;
  const StateNode& state;

  GivenState operator()(const LossLabels& labels) const {
    if (!state.record()->labels)
      throw_expected(subject, "the arrays " + quoted(state.names()), "a LossLabels");
    GivenState given = {labels, {labels.labels_image(), labels.weights_image()}};
    if (state.record()->parts.size() == 2) return given;
    if (given.parts[1]) throw_expected(subject, "labels without weights", "weights");
    given.parts.pop_back();
    return given;
  }

  GivenState operator()(const StateArrays& arrays) const {
    if (state.record()->labels)
      throw_expected(subject, "a LossLabels", "the arrays " + quoted(keys_of(arrays)));
    GivenState given;
    for (const std::string& name : state.names()) {
      const auto found = arrays.find(name);
      if (found == arrays.end()) break;
      given.parts.emplace_back(found->second);
    }
    if (given.parts.size() != state.names().size() || given.parts.size() != arrays.size()) {
      throw_expected(subject, "the arrays " + quoted(state.names()), quoted(keys_of(arrays)));
    }
    return given;
  }
};

}  // namespace

std::vector<GivenState> states_in_order(const std::string& title,
                                        const std::vector<StateNode>& wanted,
                                        const std::map<std::string, SourceState>& states) {
  std::vector<GivenState> found;
  std::vector<std::string> known;
  for (const StateNode& state : wanted) {
    known.push_back(state.handle());
    const auto at = states.find(state.handle());
    if (at == states.end()) {
      throw_expected(title + ": states",
                     str(state.record()->labels ? "labels" : "arrays", " for the state \"",
                         state.handle(), '"'),
                     quoted(keys_of(states)));
    }
    const std::string subject = title + ": state \"" + state.handle() + "\"";
    found.push_back(std::visit(Reader{subject, state}, at->second));
  }
  for (const auto& entry : states) {
    if (std::ranges::find(known, entry.first) != known.end()) continue;
    throw_expected(title + ": states", "only " + quoted(known),
                   "an unknown state \"" + entry.first + "\"");
  }
  return found;
}

}  // namespace mpsnn::runtime
