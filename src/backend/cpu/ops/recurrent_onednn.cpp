// SPDX-License-Identifier: MIT
// recurrent_sequence by oneDNN: LSTMs and GRUs with their usual neurons. The weights come a gate
// after the other, (outputs, inputs) each, and are put into oneDNN's order in every run.
#if defined(MPSNN_WITH_ONEDNN)

#include <optional>
#include <utility>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/onednn.h"
#include "backend/cpu/ops/rows.h"
#include "base/attributes.h"

namespace mpsnn::backend::cpu {
namespace {

using dnnl::memory;
using onednn::Operand;
using onednn::Step;
using From = Operand::From;
using Tag = memory::format_tag;

constexpr auto kFloat = memory::data_type::f32;
constexpr auto kInference = dnnl::prop_kind::forward_inference;
constexpr bool kAllowEmpty = true;
enum Input : std::size_t {
  kInputs,
  kInputWeights,
  kRecurrentWeights,
  kBiases,
  kPeepholes,
  kFirstOutput,
  kFirstMemory
};

/// A sequence in oneDNN's terms.
struct Case {
  bool is_gru, backward, has_peepholes;
  std::int64_t steps, rows, inputs, outputs, gates;

  explicit Case(const KernelQuery& query)
      : is_gru(get_bool(query.attributes, "is_gru")),
        backward(get_bool(query.attributes, "backward")),
        has_peepholes(has_input(query, kPeepholes)),
        steps(get_int(query.attributes, "steps")),
        rows(query.inputs[kInputs].dims[1] / steps),
        inputs(query.inputs[kInputs].dims[2]),
        outputs(query.outputs[0].dims[2]),
        gates(is_gru ? 3 : 4) {}

  memory::desc sequence(std::int64_t channels) const {
    return {{steps, rows, channels}, kFloat, Tag::tnc};
  }
  memory::desc state() const { return {{1, 1, rows, outputs}, kFloat, Tag::ldnc}; }
  memory::desc weights(std::int64_t channels, Tag order) const {
    return {{1, 1, channels, gates, outputs}, kFloat, order};
  }
  memory::desc biases() const { return {{1, 1, gates, outputs}, kFloat, Tag::ldgo}; }
  memory::desc peepholes() const {
    return has_peepholes ? memory::desc({1, 1, 3, outputs}, kFloat, Tag::ldgo) : memory::desc();
  }
};

/// The primitive with the orders that it wants its weights in.
struct Chosen {
  dnnl::primitive primitive;
  memory::desc input_weights, recurrent_weights, scratch;
};

template <class Description>
std::optional<Chosen> chosen(const Description& description) {
  if (!description) return std::nullopt;
  return Chosen{dnnl::primitive(description.get()), description.weights_layer_desc(),
                description.weights_iter_desc(), description.scratchpad_desc()};
}

std::optional<Chosen> choose(const Case& c) {
  const auto direction = c.backward ? dnnl::rnn_direction::unidirectional_right2left
                                    : dnnl::rnn_direction::unidirectional_left2right;
  const memory::desc of_inputs = c.weights(c.inputs, Tag::any),
                     of_outputs = c.weights(c.outputs, Tag::any);
  if (c.is_gru) {
    return chosen(dnnl::gru_forward::primitive_desc(
        onednn::engine(), kInference, direction, c.sequence(c.inputs), c.state(), of_inputs,
        of_outputs, c.biases(), c.sequence(c.outputs), c.state(), onednn::make_attributes(),
        kAllowEmpty));
  }
  return chosen(dnnl::lstm_forward::primitive_desc(
      onednn::engine(), kInference, direction, c.sequence(c.inputs), c.state(), c.state(),
      of_inputs, of_outputs, c.peepholes(), c.biases(), c.sequence(c.outputs), c.state(), c.state(),
      onednn::make_attributes(), kAllowEmpty));
}

/// Puts one input into an order, in scratch memory from `at` on; moves `at` behind all that is
/// used.
Step reorder(Input input, const memory::desc& from, const memory::desc& to, std::size_t& at) {
  const dnnl::reorder::primitive_desc description(onednn::engine(), from, onednn::engine(), to,
                                                  onednn::make_attributes());
  const std::size_t scratch_at = at + onednn::aligned(to.get_size());
  std::vector<Operand> operands = {
      {DNNL_ARG_FROM, from, From::INPUT, input},
      {DNNL_ARG_TO, to, From::SCRATCH, at},
      {DNNL_ARG_SCRATCHPAD, description.scratchpad_desc(), From::SCRATCH, scratch_at}};
  at = scratch_at + onednn::aligned(description.scratchpad_desc().get_size());
  return {dnnl::reorder(description), std::move(operands)};
}

}  // namespace

Fit fits_recurrent_sequence_onednn(const KernelQuery& query) {
  const Fit plain = all_plain_float32(query);
  if (!plain.yes) return plain;
  // What oneDNN calls its reference for GRUs is made of matrix products: it is welcome.
  return choose(Case(query)) ? Fit() : Fit::no("oneDNN has no kernel for this case");
}

std::shared_ptr<Kernel> prepare_recurrent_sequence_onednn(const KernelQuery& query) {
  const Case c(query);
  const std::optional<Chosen> found = choose(c);
  std::size_t at = 0;
  const std::size_t input_weights_at = at;
  std::vector<Step> steps;
  steps.push_back(
      reorder(kInputWeights, c.weights(c.inputs, Tag::ldgoi), found->input_weights, at));
  const std::size_t recurrent_weights_at = at;
  steps.push_back(
      reorder(kRecurrentWeights, c.weights(c.outputs, Tag::ldgoi), found->recurrent_weights, at));
  const std::size_t last_output_at = at;
  at += onednn::aligned(c.state().get_size());
  std::vector<Operand> operands = {
      {DNNL_ARG_SRC_LAYER, c.sequence(c.inputs), From::INPUT, kInputs},
      {DNNL_ARG_SRC_ITER, c.state(), From::INPUT, kFirstOutput},
      {DNNL_ARG_WEIGHTS_LAYER, found->input_weights, From::SCRATCH, input_weights_at},
      {DNNL_ARG_WEIGHTS_ITER, found->recurrent_weights, From::SCRATCH, recurrent_weights_at},
      {DNNL_ARG_BIAS, c.biases(), From::INPUT, kBiases},
      {DNNL_ARG_DST_LAYER, c.sequence(c.outputs), From::OUTPUT, 0},
      {DNNL_ARG_DST_ITER, c.state(), From::SCRATCH, last_output_at},
      {DNNL_ARG_SCRATCHPAD, found->scratch, From::SCRATCH, at}};
  if (c.has_peepholes)
    operands.push_back({DNNL_ARG_WEIGHTS_PEEPHOLE, c.peepholes(), From::INPUT, kPeepholes});
  if (!c.is_gru) {
    operands.push_back({DNNL_ARG_SRC_ITER_C, c.state(), From::INPUT, kFirstMemory});
    operands.push_back({DNNL_ARG_DST_ITER_C, c.state(), From::OUTPUT, 1});
  }
  steps.emplace_back(found->primitive, std::move(operands));
  auto kernel = std::make_shared<onednn::StepsKernel>(std::move(steps));
  kernel->scratch_bytes = at + found->scratch.get_size();
  return kernel;
}

}  // namespace mpsnn::backend::cpu

#endif  // MPSNN_WITH_ONEDNN
