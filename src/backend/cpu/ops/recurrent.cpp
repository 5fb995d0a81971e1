// SPDX-License-Identifier: MIT
// Cells of one gate, of LSTMs, and sums over rows. The gates' values before their neurons are kept:
// gradients compute the neurons again, which costs less than reading more memory.
#include "backend/cpu/ops/recurrent.h"

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/rows.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

MPSNN_SIMD void increase(float* to, const float* by, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) to[i] += by[i];
}

MPSNN_SIMD void multiply_add(float* to, const float* a, const float* b, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) to[i] += a[i] * b[i];
}

MPSNN_SIMD void multiply(float* to, const float* a, const float* b, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) to[i] = a[i] * b[i];
}

}  // namespace

void add_product(float* to, const float* a, const float* b, std::int64_t count) {
  multiply_add(to, a, b, count);
}

void set_product(float* to, const float* a, const float* b, std::int64_t count) {
  multiply(to, a, b, count);
}

void add_terms(float* gate, const float* bias, const float* peephole, const float* memory,
               std::int64_t count) {
  if (bias != nullptr) increase(gate, bias, count);
  if (peephole != nullptr) multiply_add(gate, peephole, memory, count);
}

std::vector<Neuron> read_neurons(const AttributeMap& attributes) {
  const std::vector<double>& numbers = get_floats(attributes, "neurons");
  std::vector<Neuron> neurons;
  for (std::size_t i = 0; i + 3 < numbers.size(); i += 4) {
    neurons.push_back({static_cast<NeuronType>(static_cast<int>(numbers[i])),
                       static_cast<float>(numbers[i + 1]), static_cast<float>(numbers[i + 2]),
                       static_cast<float>(numbers[i + 3])});
  }
  return neurons;
}

Fit fits_recurrent(const KernelQuery& query) {
  for (const auto operands : {query.inputs, query.outputs}) {
    for (const TensorDesc& desc : operands) {
      if (!desc.strides.empty()) return Fit::no("operands with gaps");
    }
  }
  return all_plain_float32(query);
}

Fit fits_single_gate_plain(const KernelQuery& query) { return fits_recurrent(query); }

std::shared_ptr<Kernel> prepare_single_gate_plain(const KernelQuery& query) {
  const CellExtent extent(query.inputs[0], query.outputs[0]);
  return make_kernel([extent, neurons = read_neurons(query.attributes)](const KernelArgs& args) {
    extent.for_each_piece(
        [&](std::int64_t gate, std::int64_t at, std::int64_t channel, std::int64_t n) {
          float* const z = args.output<float>(1) + gate;
          add_terms(z, from(args.input<float>(1), channel), nullptr, nullptr, n);
          apply_neuron(neurons[0], z, args.output<float>(0) + at, n);
        });
  });
}

Fit fits_single_gate_gradient_plain(const KernelQuery& query) { return fits_recurrent(query); }

std::shared_ptr<Kernel> prepare_single_gate_gradient_plain(const KernelQuery& query) {
  const CellExtent extent(query.inputs[0], query.inputs[1]);
  return make_kernel([extent, neurons = read_neurons(query.attributes)](const KernelArgs& args) {
    extent.for_each_piece([&](std::int64_t gate, std::int64_t at, std::int64_t, std::int64_t n) {
      apply_neuron_gradient(neurons[0], args.input<float>(1) + at, args.input<float>(0) + gate,
                            args.output<float>(0) + gate, n);
    });
  });
}

Fit fits_lstm_memory_plain(const KernelQuery& query) { return fits_recurrent(query); }

// new memory = forget gate * memory + input gate * memory gate
std::shared_ptr<Kernel> prepare_lstm_memory_plain(const KernelQuery& query) {
  const CellExtent extent(query.inputs[0], query.outputs[0]);
  return make_kernel([extent, neurons = read_neurons(query.attributes)](const KernelArgs& args) {
    extent.for_each_piece(
        [&](std::int64_t gate, std::int64_t at, std::int64_t channel, std::int64_t n) {
          const float* const before = args.input<float>(1) + at;
          std::array<Piece, 3> gates;
          for (std::size_t g = 0; g < 3; ++g) {
            float* const z = args.output<float>(1) + gate + std::int64_t(g) * extent.channels;
            add_terms(z, from(args.input<float>(2 + g), channel),
                      from(args.input<float>(5 + g), channel), before, n);
            apply_neuron(neurons[g], z, gates[g].data(), n);
          }
          float* const after = args.output<float>(0) + at;
          multiply(after, gates[1].data(), before, n);
          multiply_add(after, gates[0].data(), gates[2].data(), n);
        });
  });
}

Fit fits_lstm_output_plain(const KernelQuery& query) { return fits_recurrent(query); }

// output = output gate * neuron(new memory)
std::shared_ptr<Kernel> prepare_lstm_output_plain(const KernelQuery& query) {
  const CellExtent extent(query.inputs[0], query.outputs[0]);
  return make_kernel([extent, neurons = read_neurons(query.attributes)](const KernelArgs& args) {
    extent.for_each_piece(
        [&](std::int64_t gate, std::int64_t at, std::int64_t channel, std::int64_t n) {
          const float* const memory = args.input<float>(1) + at;
          float* const z = args.output<float>(1) + gate + 3 * extent.channels;
          add_terms(z, from(args.input<float>(2), channel), from(args.input<float>(3), channel),
                    memory, n);
          Piece open;
          apply_neuron(neurons[0], z, open.data(), n);
          float* const output = args.output<float>(0) + at;
          apply_neuron(neurons[1], memory, output, n);
          multiply(output, output, open.data(), n);
        });
  });
}

Fit fits_lstm_output_gradient_plain(const KernelQuery& query) { return fits_recurrent(query); }

std::shared_ptr<Kernel> prepare_lstm_output_gradient_plain(const KernelQuery& query) {
  const CellExtent extent(query.inputs[0], query.inputs[1]);
  return make_kernel([extent, neurons = read_neurons(query.attributes)](const KernelArgs& args) {
    extent.for_each_piece(
        [&](std::int64_t gate, std::int64_t at, std::int64_t channel, std::int64_t n) {
          const float* const z = args.input<float>(0) + gate + 3 * extent.channels;
          const float* const memory = args.input<float>(1) + at;
          const float* const gradient = args.input<float>(2) + at;
          float* const dz = args.output<float>(0) + gate + 3 * extent.channels;
          float* const d_memory = args.output<float>(1) + at;
          Piece work;
          apply_neuron(neurons[1], memory, work.data(), n);
          multiply(work.data(), work.data(), gradient, n);
          apply_neuron_gradient(neurons[0], work.data(), z, dz, n);
          apply_neuron(neurons[0], z, work.data(), n);
          multiply(work.data(), work.data(), gradient, n);
          apply_neuron_gradient(neurons[1], work.data(), memory, work.data(), n);
          increase(d_memory, work.data(), n);
          if (const float* const peephole = args.input<float>(3))
            multiply_add(d_memory, dz, peephole + channel, n);
        });
  });
}

Fit fits_lstm_memory_gradient_plain(const KernelQuery& query) { return fits_recurrent(query); }

std::shared_ptr<Kernel> prepare_lstm_memory_gradient_plain(const KernelQuery& query) {
  const CellExtent extent(query.inputs[0], query.inputs[1]);
  return make_kernel([extent, neurons = read_neurons(query.attributes)](const KernelArgs& args) {
    extent.for_each_piece([&](std::int64_t gate, std::int64_t at, std::int64_t channel,
                              std::int64_t n) {
      const float* const memory = args.input<float>(1) + at;
      float* const d_memory = args.output<float>(1) + at;
      std::array<Piece, 3> gates;
      for (std::size_t g = 0; g < 3; ++g) {
        apply_neuron(neurons[g], args.input<float>(0) + gate + std::int64_t(g) * extent.channels,
                     gates[g].data(), n);
      }
      // What each gate's value was multiplied by.
      const std::array<const float*, 3> others = {gates[2].data(), memory, gates[0].data()};
      Piece work;
      for (std::size_t g = 0; g < 3; ++g) {
        const std::int64_t offset = gate + std::int64_t(g) * extent.channels;
        multiply(work.data(), d_memory, others[g], n);
        apply_neuron_gradient(neurons[g], work.data(), args.input<float>(0) + offset,
                              args.output<float>(0) + offset, n);
      }
      multiply(d_memory, d_memory, gates[1].data(), n);
      for (std::size_t g = 0; g < 3; ++g) {
        if (const float* const peephole = args.input<float>(2 + g)) {
          multiply_add(d_memory, args.output<float>(0) + gate + std::int64_t(g) * extent.channels,
                       peephole + channel, n);
        }
      }
    });
  });
}

// Rows may have gaps between them.
Fit fits_gate_sums_plain(const KernelQuery& query) {
  for (const auto operands : {query.inputs, query.outputs}) {
    for (const TensorDesc& desc : operands) {
      if (desc.type != DataType::FLOAT32) return Fit::no(str(name_of(desc.type), " operands"));
    }
  }
  return {};
}

std::shared_ptr<Kernel> prepare_gate_sums_plain(const KernelQuery& query) {
  const auto row_stride = [](const TensorDesc& desc) {
    return desc.strides.empty() ? desc.dims[2] : desc.strides[1] / std::int64_t(sizeof(float));
  };
  const std::int64_t rows = query.inputs[0].dims[1], columns = query.inputs[0].dims[2],
                     stride = row_stride(query.inputs[0]),
                     factor_stride = has_input(query, 1) ? row_stride(query.inputs[1]) : 0;
  const bool accumulates = get_bool(query.attributes, "accumulates");
  return make_kernel([=](const KernelArgs& args) {
    parallel_for((columns + kPiece - 1) / kPiece, grain_for(kPiece * rows * 4),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t piece = begin; piece < end; ++piece) {
                     const std::int64_t at = piece * kPiece, n = std::min(kPiece, columns - at);
                     float* const sums = args.output<float>(0) + at;
                     if (!accumulates) std::fill_n(sums, n, 0.0F);
                     for (std::int64_t row = 0; row < rows; ++row) {
                       const float* const values = args.input<float>(0) + row * stride + at;
                       const float* const factors = args.input<float>(1);
                       if (factors == nullptr) {
                         increase(sums, values, n);
                       } else {
                         multiply_add(sums, values, factors + row * factor_stride + at, n);
                       }
                     }
                   }
                 });
  });
}

}  // namespace mpsnn::backend::cpu
