// SPDX-License-Identifier: MIT
// Cells of GRUs. z is the input gate, r the recurrent gate, h0 the previous output, h the
// candidate.
#include <cmath>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/recurrent.h"
#include "backend/cpu/ops/rows.h"
#include "base/attributes.h"

namespace mpsnn::backend::cpu {
namespace {

/// (1 - z^p)^(1/p), z's counterpart, and its slope.
struct Complement {
  float p, inverse_p;
  explicit Complement(const AttributeMap& attributes)
      : p(static_cast<float>(get_float(attributes, "p"))), inverse_p(1.0F / p) {}

  void of(const float* z, float* to, std::int64_t count) const {
    if (p == 1) {
      for (std::int64_t i = 0; i < count; ++i) to[i] = 1.0F - z[i];
      return;
    }
    for (std::int64_t i = 0; i < count; ++i) to[i] = std::pow(1.0F - std::pow(z[i], p), inverse_p);
  }
  void slope(const float* z, float* to, std::int64_t count) const {
    if (p == 1) return static_cast<void>(std::fill_n(to, count, -1.0F));
    for (std::int64_t i = 0; i < count; ++i) {
      to[i] = -std::pow(z[i], p - 1.0F) * std::pow(1.0F - std::pow(z[i], p), inverse_p - 1.0F);
    }
  }
};

}  // namespace

Fit fits_gru_gates_plain(const KernelQuery& query) { return fits_recurrent(query); }

// reset output = r * h0, updated output = z * h0
std::shared_ptr<Kernel> prepare_gru_gates_plain(const KernelQuery& query) {
  const CellExtent extent(query.inputs[0], query.inputs[1]);
  return make_kernel([extent, neurons = read_neurons(query.attributes)](const KernelArgs& args) {
    extent.for_each_piece(
        [&](std::int64_t gate, std::int64_t at, std::int64_t channel, std::int64_t n) {
          float* const z = args.output<float>(0) + gate;
          float* const r = z + extent.channels;
          const float* const before = args.input<float>(1) + at;
          add_terms(z, from(args.input<float>(2), channel), nullptr, nullptr, n);
          add_terms(r, from(args.input<float>(3), channel), nullptr, nullptr, n);
          if (float* const reset = args.output<float>(1)) {
            apply_neuron(neurons[1], r, reset + at, n);
            set_product(reset + at, reset + at, before, n);
          }
          if (float* const updated = args.output<float>(2)) {
            apply_neuron(neurons[0], z, updated + at, n);
            set_product(updated + at, updated + at, before, n);
          }
        });
  });
}

Fit fits_gru_output_plain(const KernelQuery& query) { return fits_recurrent(query); }

// output = complement(z) * h + z * h0, h and h0 exchanged where it flips
std::shared_ptr<Kernel> prepare_gru_output_plain(const KernelQuery& query) {
  const CellExtent extent(query.inputs[0], query.outputs[0]);
  const bool flips = get_bool(query.attributes, "flips");
  return make_kernel([extent, flips, complement = Complement(query.attributes),
                      neurons = read_neurons(query.attributes)](const KernelArgs& args) {
    extent.for_each_piece(
        [&](std::int64_t gate, std::int64_t at, std::int64_t channel, std::int64_t n) {
          float* const candidate_sum = args.output<float>(1) + gate + 2 * extent.channels;
          const float* const before = args.input<float>(1) + at;
          Piece z, rest, candidate;
          add_terms(candidate_sum, from(args.input<float>(2), channel), nullptr, nullptr, n);
          apply_neuron(neurons[1], candidate_sum, candidate.data(), n);
          apply_neuron(neurons[0], args.output<float>(1) + gate, z.data(), n);
          complement.of(z.data(), rest.data(), n);
          float* const output = args.output<float>(0) + at;
          set_product(output, flips ? z.data() : rest.data(), candidate.data(), n);
          add_product(output, flips ? rest.data() : z.data(), before, n);
        });
  });
}

Fit fits_gru_output_gradient_plain(const KernelQuery& query) { return fits_recurrent(query); }

// The gradient of z itself, not of its neuron's source, is left in the first gate.
std::shared_ptr<Kernel> prepare_gru_output_gradient_plain(const KernelQuery& query) {
  const CellExtent extent(query.inputs[0], query.inputs[1]);
  const bool flips = get_bool(query.attributes, "flips");
  return make_kernel([extent, flips, complement = Complement(query.attributes),
                      neurons = read_neurons(query.attributes)](const KernelArgs& args) {
    extent.for_each_piece([&](std::int64_t gate, std::int64_t at, std::int64_t, std::int64_t n) {
      const float* const candidate_sum = args.input<float>(0) + gate + 2 * extent.channels;
      const float* const before = args.input<float>(1) + at;
      const float* const gradient = args.input<float>(2) + at;
      float* const d_z = args.output<float>(0) + gate;
      float* const d_candidate = d_z + 2 * extent.channels;
      Piece z, rest, candidate, work;
      apply_neuron(neurons[1], candidate_sum, candidate.data(), n);
      apply_neuron(neurons[0], args.input<float>(0) + gate, z.data(), n);
      complement.of(z.data(), rest.data(), n);
      // The output is rest * of_rest + z * of_z.
      const float* const of_rest = flips ? before : candidate.data();
      const float* const of_z = flips ? candidate.data() : before;
      complement.slope(z.data(), work.data(), n);
      set_product(work.data(), work.data(), of_rest, n);
      set_product(work.data(), work.data(), gradient, n);
      set_product(d_z, of_z, gradient, n);
      for (std::int64_t i = 0; i < n; ++i) d_z[i] += work[static_cast<std::size_t>(i)];
      add_product(args.output<float>(1) + at, flips ? rest.data() : z.data(), gradient, n);
      set_product(work.data(), flips ? z.data() : rest.data(), gradient, n);
      apply_neuron_gradient(neurons[1], work.data(), candidate_sum, d_candidate, n);
    });
  });
}

Fit fits_gru_gates_gradient_plain(const KernelQuery& query) { return fits_recurrent(query); }

std::shared_ptr<Kernel> prepare_gru_gates_gradient_plain(const KernelQuery& query) {
  const CellExtent extent(query.inputs[0], query.inputs[1]);
  return make_kernel([extent, neurons = read_neurons(query.attributes)](const KernelArgs& args) {
    extent.for_each_piece([&](std::int64_t gate, std::int64_t at, std::int64_t, std::int64_t n) {
      const float* const z = args.input<float>(0) + gate;
      const float* const r = z + extent.channels;
      const float* const before = args.input<float>(1) + at;
      float* const d_z = args.output<float>(0) + gate;
      float* const d_r = d_z + extent.channels;
      float* const d_before = args.output<float>(1) + at;
      Piece work;
      if (const float* const d_reset = from(args.input<float>(2), at)) {
        apply_neuron(neurons[1], r, work.data(), n);
        add_product(d_before, work.data(), d_reset, n);
        set_product(work.data(), before, d_reset, n);
        apply_neuron_gradient(neurons[1], work.data(), r, d_r, n);
      } else {
        std::fill_n(d_r, n, 0.0F);
      }
      if (const float* const d_updated = from(args.input<float>(3), at)) {
        apply_neuron(neurons[0], z, work.data(), n);
        add_product(d_before, work.data(), d_updated, n);
        add_product(d_z, before, d_updated, n);
      }
      apply_neuron_gradient(neurons[0], d_z, z, d_z, n);
    });
  });
}

}  // namespace mpsnn::backend::cpu
