// SPDX-License-Identifier: MIT
// Cells of recurrent layers, step by step. MPS's own layers take copies of their weights when they
// are made, or train with states that nothing else can read; here weights change on the device
// from one encode to the next.
#include "backend/metal/kernels/cell.h"
#include "base/attributes.h"

namespace mpsnn::backend::metal {
namespace {

/// The neurons of an operation.
std::vector<NeuronDescriptor> neurons_of(const AttributeMap& attributes) {
  const std::vector<double>& numbers = get_floats(attributes, "neurons");
  std::vector<NeuronDescriptor> neurons;
  for (std::size_t i = 0; i + 3 < numbers.size(); i += 4) {
    neurons.push_back({static_cast<NeuronType>(static_cast<int>(numbers[i])),
                       static_cast<float>(numbers[i + 1]), static_cast<float>(numbers[i + 2]),
                       static_cast<float>(numbers[i + 3])});
  }
  return neurons;
}

/// gate += bias + peephole * memory; either may have been left out.
void add_terms(CellProgram& program, const KernelQuery& query, const CellMatrix& gate,
               std::size_t bias, std::size_t peephole = 0,
               const std::optional<CellMatrix>& memory = std::nullopt) {
  if (has_input(query, bias)) program.neuron({}, gate, gate, program.input(bias));
  if (memory && has_input(query, peephole))
    program.increase(gate, program.sum({{*memory, program.input(peephole)}}));
}

}  // namespace

// gates, bias? -> output, gates with bias
Fit fits_single_gate(const KernelQuery& query) { return dense_float32(query); }

std::shared_ptr<Kernel> prepare_single_gate(const KernelQuery& query) {
  CellProgram program(query);
  add_terms(program, query, program.output(1), 1);
  program.neuron(neurons_of(query.attributes)[0], program.output(1), program.output(0));
  return program.finish();
}

// gates, output gradient -> gates gradient
Fit fits_single_gate_gradient(const KernelQuery& query) { return dense_float32(query); }

std::shared_ptr<Kernel> prepare_single_gate_gradient(const KernelQuery& query) {
  CellProgram program(query);
  program.slope(neurons_of(query.attributes)[0], program.input(1), program.input(0),
                program.output(0));
  return program.finish();
}

// gates, memory, biases?, peepholes? -> new memory = forget gate * memory + input gate * cell gate
Fit fits_lstm_memory(const KernelQuery& query) { return CellProgram::fits(query); }

std::shared_ptr<Kernel> prepare_lstm_memory(const KernelQuery& query) {
  CellProgram program(query);
  const CellMatrix before = program.input(1), after = program.output(0);
  std::vector<CellMatrix> gates;
  for (std::size_t g = 0; g < 3; ++g) {
    const CellMatrix z = CellProgram::gate(program.output(1), g, after);
    add_terms(program, query, z, 2 + g, 5 + g, before);
    gates.push_back(program.neuron(neurons_of(query.attributes)[g], z));
  }
  program.sum({{before, gates[1]}, {gates[0], gates[2]}}, after);
  return program.finish();
}

// gates, new memory, bias?, peephole? -> output = output gate * neuron(new memory)
Fit fits_lstm_output(const KernelQuery& query) { return CellProgram::fits(query); }

std::shared_ptr<Kernel> prepare_lstm_output(const KernelQuery& query) {
  CellProgram program(query);
  const std::vector<NeuronDescriptor> neurons = neurons_of(query.attributes);
  const CellMatrix memory = program.input(1), output = program.output(0),
                   z = CellProgram::gate(program.output(1), 3, output);
  add_terms(program, query, z, 2, 3, memory);
  program.sum({{program.neuron(neurons[0], z), program.neuron(neurons[1], memory)}}, output);
  return program.finish();
}

// gates, new memory, output gradient, peephole? -> gates gradient, memory gradient in place
Fit fits_lstm_output_gradient(const KernelQuery& query) { return CellProgram::fits(query); }

std::shared_ptr<Kernel> prepare_lstm_output_gradient(const KernelQuery& query) {
  CellProgram program(query);
  const std::vector<NeuronDescriptor> neurons = neurons_of(query.attributes);
  const CellMatrix memory = program.input(1), gradient = program.input(2),
                   d_memory = program.output(1), z = CellProgram::gate(program.input(0), 3, memory);
  const CellMatrix d_z = program.scratch(memory), through = program.scratch(memory);
  program.slope(neurons[0], program.sum({{gradient, program.neuron(neurons[1], memory)}}), z, d_z);
  program.copy(d_z, CellProgram::gate(program.output(0), 3, memory));
  program.slope(neurons[1], program.sum({{gradient, program.neuron(neurons[0], z)}}), memory,
                through);
  std::vector<CellTerm> terms = {{d_memory}, {through}};
  if (has_input(query, 3)) terms.push_back({d_z, program.input(3)});
  program.sum(terms, d_memory);
  return program.finish();
}

// gates, memory, peepholes? -> gates gradient, memory gradient in place
Fit fits_lstm_memory_gradient(const KernelQuery& query) { return CellProgram::fits(query); }

std::shared_ptr<Kernel> prepare_lstm_memory_gradient(const KernelQuery& query) {
  CellProgram program(query);
  const std::vector<NeuronDescriptor> neurons = neurons_of(query.attributes);
  const CellMatrix memory = program.input(1), d_memory = program.output(1);
  const auto source = [&](std::size_t g) { return CellProgram::gate(program.input(0), g, memory); };
  std::vector<CellMatrix> gates;
  for (std::size_t g = 0; g < 3; ++g) gates.push_back(program.neuron(neurons[g], source(g)));
  // What each gate's value was multiplied by.
  const std::vector<CellMatrix> others = {gates[2], memory, gates[0]};
  std::vector<CellTerm> terms = {{d_memory, gates[1]}};
  for (std::size_t g = 0; g < 3; ++g) {
    const CellMatrix d_z = program.scratch(memory);
    program.slope(neurons[g], program.sum({{d_memory, others[g]}}), source(g), d_z);
    program.copy(d_z, CellProgram::gate(program.output(0), g, memory));
    if (has_input(query, 2 + g)) terms.push_back({d_z, program.input(2 + g)});
  }
  program.sum(terms, d_memory);
  return program.finish();
}

// GRUs: z is the input gate, r the recurrent gate, h0 the previous output, h the candidate.
namespace {

/// (1 - z^p)^(1/p), z's counterpart, as two neurons.
struct Complement {
  NeuronDescriptor power, rest;

  explicit Complement(const AttributeMap& attributes) {
    const auto p = static_cast<float>(get_float(attributes, "p"));
    rest = {NeuronType::LINEAR, -1, 1, 0};
    if (p == 1) return;
    power = {NeuronType::POWER, 1, 0, p};
    rest = {NeuronType::POWER, -1, 1, 1 / p};
  }
};

}  // namespace

// gates, h0, biases? -> gates with biases, r h0?, z h0?
Fit fits_gru_gates(const KernelQuery& query) { return CellProgram::fits(query); }

std::shared_ptr<Kernel> prepare_gru_gates(const KernelQuery& query) {
  CellProgram program(query);
  const std::vector<NeuronDescriptor> neurons = neurons_of(query.attributes);
  const CellMatrix before = program.input(1);
  for (std::size_t g = 0; g < 2; ++g) {
    const CellMatrix z = CellProgram::gate(program.output(0), g, before);
    const std::size_t product = 2 - g;
    add_terms(program, query, z, 2 + g);
    if (has_output(query, product))
      program.sum({{before, program.neuron(neurons[g], z)}}, program.output(product));
  }
  return program.finish();
}

// gates, h0, bias? -> complement(z) * h + z * h0, h and h0 exchanged where it flips
Fit fits_gru_output(const KernelQuery& query) { return CellProgram::fits(query); }

std::shared_ptr<Kernel> prepare_gru_output(const KernelQuery& query) {
  CellProgram program(query);
  const std::vector<NeuronDescriptor> neurons = neurons_of(query.attributes);
  const Complement complement(query.attributes);
  const CellMatrix before = program.input(1), output = program.output(0),
                   candidate_sum = CellProgram::gate(program.output(1), 2, output);
  add_terms(program, query, candidate_sum, 2);
  const CellMatrix candidate = program.neuron(neurons[1], candidate_sum),
                   z = program.neuron(neurons[0], CellProgram::gate(program.output(1), 0, output)),
                   rest = program.neuron(complement.rest, program.neuron(complement.power, z));
  const bool flips = get_bool(query.attributes, "flips");
  program.sum({{candidate, flips ? z : rest}, {before, flips ? rest : z}}, output);
  return program.finish();
}

// gates, h0, output gradient -> gates gradient, h0's gradient in place. The gradient of z itself,
// not of its neuron's source, is left in the first gate.
Fit fits_gru_output_gradient(const KernelQuery& query) { return CellProgram::fits(query); }

std::shared_ptr<Kernel> prepare_gru_output_gradient(const KernelQuery& query) {
  CellProgram program(query);
  const std::vector<NeuronDescriptor> neurons = neurons_of(query.attributes);
  const Complement complement(query.attributes);
  const CellMatrix before = program.input(1), gradient = program.input(2),
                   d_before = program.output(1),
                   candidate_sum = CellProgram::gate(program.input(0), 2, before);
  const CellMatrix candidate = program.neuron(neurons[1], candidate_sum),
                   z = program.neuron(neurons[0], CellProgram::gate(program.input(0), 0, before)),
                   power = program.neuron(complement.power, z),
                   rest = program.neuron(complement.rest, power);
  const bool flips = get_bool(query.attributes, "flips");
  // The output is rest * of_rest + z * of_z.
  const CellMatrix of_rest = flips ? before : candidate, of_z = flips ? candidate : before;
  const CellMatrix through = program.sum({{gradient, of_rest}});
  program.slope(complement.rest, through, power, through);
  program.slope(complement.power, through, z, through);
  program.copy(program.sum({{gradient, of_z}, {through}}),
               CellProgram::gate(program.output(0), 0, before));
  program.sum({{d_before}, {gradient, flips ? rest : z}}, d_before);
  program.slope(neurons[1], program.sum({{gradient, flips ? z : rest}}), candidate_sum,
                CellProgram::gate(program.output(0), 2, before));
  return program.finish();
}

// gates, h0, gradients of r h0? and z h0? -> gates gradient, h0's gradient in place
Fit fits_gru_gates_gradient(const KernelQuery& query) { return CellProgram::fits(query); }

std::shared_ptr<Kernel> prepare_gru_gates_gradient(const KernelQuery& query) {
  CellProgram program(query);
  const std::vector<NeuronDescriptor> neurons = neurons_of(query.attributes);
  const CellMatrix before = program.input(1), d_before = program.output(1);
  const auto source = [&](std::size_t g) { return CellProgram::gate(program.input(0), g, before); };
  const auto result = [&](std::size_t g) {
    return CellProgram::gate(program.output(0), g, before);
  };
  std::vector<CellTerm> terms = {{d_before}};
  if (has_input(query, 2)) {
    const CellMatrix d_reset = program.input(2);
    terms.push_back({d_reset, program.neuron(neurons[1], source(1))});
    program.slope(neurons[1], program.sum({{before, d_reset}}), source(1), result(1));
  } else {
    program.clear(result(1));
  }
  CellMatrix d_z = program.dense(result(0));
  if (has_input(query, 3)) {
    const CellMatrix d_updated = program.input(3);
    terms.push_back({d_updated, program.neuron(neurons[0], source(0))});
    d_z = program.sum({{d_z}, {before, d_updated}});
  }
  program.slope(neurons[0], d_z, source(0), result(0));
  if (terms.size() > 1) program.sum(terms, d_before);
  return program.finish();
}

// values, factors? -> sums of their products over the rows, added to the result or not
Fit fits_gate_sums(const KernelQuery& query) {
  if (Fit fit = float32_rows(query); !fit.yes || !has_input(query, 1)) return fit;
  return CellProgram::fits_image(query.inputs[0].dims[1], query.inputs[0].dims[2]);
}

std::shared_ptr<Kernel> prepare_gate_sums(const KernelQuery& query) {
  CellProgram program(query);
  CellMatrix values = program.input(0);
  if (has_input(query, 1)) values = program.sum({{values, program.input(1)}});
  program.column_sums(values, program.output(0), get_bool(query.attributes, "accumulates"));
  return program.finish();
}

}  // namespace mpsnn::backend::metal
