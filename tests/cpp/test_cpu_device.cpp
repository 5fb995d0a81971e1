// SPDX-License-Identifier: MIT
// The CPU device, its memory, its table, and the reasons with which its rows refuse.
#include <algorithm>
#include <cstdint>
#include <set>
#include <thread>

#include "backend/cpu/device.h"
#include "cpu_fixtures.h"

namespace {

using namespace cpu_tests;

TEST_CASE("cpu device: tells what it is") {
  const auto device = backend::cpu::make_device();
  CHECK_EQ(device->info().kind, "cpu");
  CHECK(device->info().name.find("thread") != std::string::npos);
  CHECK(device->info().memory_bytes > (std::size_t{1} << 20));
  CHECK(device->info().unified_memory);
  CHECK(device->graph_compiler() == nullptr);
  CHECK(!device->kernels().empty());
}

TEST_CASE("cpu device: memory is aligned, holds what is written, and may be empty") {
  const auto device = backend::cpu::make_device();
  for (const std::size_t bytes :
       {std::size_t{0}, std::size_t{1}, std::size_t{1000}, std::size_t{5} << 20}) {
    const auto memory = device->allocate(bytes);
    CHECK_EQ(memory->bytes(), bytes);
    CHECK(memory->device_pointer() != nullptr);
    CHECK(memory->device_pointer() == memory->host_pointer());
    CHECK_EQ(reinterpret_cast<std::uintptr_t>(memory->device_pointer()) % 128, 0U);
  }
  const auto memory = device->allocate(64);
  const std::vector<int> values = {1, 2, 3, 4};
  device->write(*memory, 16, values.data(), 16);
  std::vector<int> back(2);
  device->read(*memory, 24, back.data(), 8);
  CHECK_EQ(back, std::vector<int>({3, 4}));
  device->write(*memory, 64, nullptr, 0);
}

TEST_CASE("cpu device: too much memory is an error that names the bytes") {
  const auto device = backend::cpu::make_device();
  CHECK_THROWS_CONTAINS(device->allocate(std::size_t{1} << 60), OutOfMemoryError,
                        "1152921504606846976 bytes");
  CHECK_THROWS_CONTAINS(device->allocate(SIZE_MAX), OutOfMemoryError, "bytes");
  CHECK_THROWS_CONTAINS(device->allocate(SIZE_MAX - 127), OutOfMemoryError, "bytes");
}

TEST_CASE("cpu device: copies beyond the memory are refused") {
  const auto device = backend::cpu::make_device();
  const auto memory = device->allocate(16);
  char byte = 0;
  CHECK_THROWS_AS(device->write(*memory, 16, &byte, 1), InternalError);
  CHECK_THROWS_AS(device->read(*memory, 17, &byte, 0), InternalError);
  CHECK_THROWS_AS(device->read(*memory, SIZE_MAX, &byte, 1), InternalError);
}

TEST_CASE("cpu kernels: every operation has a row; names are those of the operation, and unique") {
  std::set<std::string_view> names;
  for (const KernelRow& row : backend::cpu::kernel_rows()) {
    CHECK(names.insert(row.name).second);
    CHECK(row.name.starts_with(str(name_of(row.op), "/")));
  }
  for (std::size_t op = 0; op < kOpCount; ++op) {
    if (static_cast<OpId>(op) == OpId::graph) continue;  // of backends that take whole graphs
    // A library's own; where it is not built in, the graph has the steps one by one.
    if (static_cast<OpId>(op) == OpId::recurrent_sequence && !names.contains("convolution/onednn"))
      continue;
    if (!CHECK(!rows_of(static_cast<OpId>(op)).empty()))
      std::printf("no row for operation %zu\n", op);
  }
}

/// A small convolution; `change` makes it one that is refused.
Case convolution_with(const std::map<std::string, AttributeValue>& change,
                      Dims weights = {4, 3, 3, 4}) {
  const auto one = std::int64_t{1}, three = std::int64_t{3};
  Values values(31);
  Case c = {.op = OpId::convolution,
            .inputs = {values.integers({1, 6, 6, 4}), values.integers(std::move(weights))},
            .outputs = {desc_of({1, 6, 6, 4})},
            .attributes = {{"kernel_height", three},
                           {"kernel_width", three},
                           {"stride_y", one},
                           {"stride_x", one},
                           {"dilation_y", one},
                           {"dilation_x", one},
                           {"groups", one},
                           {"pad_top", one},
                           {"pad_left", one},
                           {"edge_mode", std::int64_t{0}},
                           {"neuron_type", std::int64_t{0}},
                           {"neuron_a", 0.0},
                           {"neuron_b", 0.0},
                           {"neuron_c", 0.0}},
            .in_place = {},
            .scalars = {}};
  for (const auto& [name, value] : change) c.attributes[name] = value;
  return c;
}

/// Every row of the case's operation refuses it, with `part` in its reason where it is not empty.
void check_refused(const Case& c, std::string_view part) {
  CHECK(!fit_of(float16_row(c.op), c).yes);
  const std::vector<std::string> rows = rows_of(c.op);
  for (const std::string& row : rows) {
    const Fit fit = fit_of(row, c);
    CHECK(!fit.yes);
    CHECK(!fit.reason.empty());
    if (row == rows.back() && !CHECK(fit.reason.find(part) != std::string::npos)) {
      testing::report_failure(__FILE__, __LINE__, row + ": " + fit.reason);
    }
  }
}

/// Operations that have rows for integers, or whose operands are none of float32 anyway.
bool takes_integers(OpId op) {
  constexpr OpId kOperations[] = {
      OpId::copy,          OpId::fill,           OpId::matrix_copy,   OpId::matrix_multiplication,
      OpId::matrix_neuron, OpId::random_philox,  OpId::random_mtgp32, OpId::apply_pivots,
      OpId::gather,        OpId::gather_gradient};
  return std::ranges::find(kOperations, op) != std::end(kOperations);
}

TEST_CASE("cpu kernels: what is not supported is refused with the reason") {
  check_refused(convolution_with({{"edge_mode", std::int64_t{2}}}),
                "edge_mode: expected ZERO or CLAMP, got mode 2");
  check_refused(convolution_with({{"neuron_type", std::int64_t{10}}}),
                "neuron_type: expected one but PRELU to fuse, got type 10");
  for (std::size_t op = 0; op < kOpCount; ++op) {
    Case whole = convolution_with({});
    whole.op = static_cast<OpId>(op);
    whole.inputs[0].desc.type = DataType::INT32;
    if (takes_integers(whole.op) || whole.op == OpId::graph) continue;  // graph: of other backends
    check_refused(whole, whole.op == OpId::gate_sums ? "int32 operands" : "float32");
  }
}

TEST_CASE("cpu kernels: losses, neurons, pooling and slopes that are not supported are refused") {
  const Dims dims = {2, 4, 4, 3};
  Values values(32);
  const AttributeMap base = {{"loss_type", std::int64_t{6}},
                             {"reduction_type", std::int64_t{1}},
                             {"number_of_classes", std::int64_t{1}},
                             {"weight", 1.0},
                             {"label_smoothing", 0.0},
                             {"epsilon", 1e-7},
                             {"delta", 1.0},
                             {"reduce_across_batch", false},
                             {"is_labels_gradient", false},
                             {"is_weights_gradient", false}};
  Case c = {.op = OpId::loss,
            .inputs = {values.reals(dims), values.reals(dims)},
            .outputs = {desc_of({2, 1, 1, 1})},
            .attributes = base,
            .in_place = {},
            .scalars = {}};
  c.inputs[1] = values.reals({2, 4, 4, 1});
  check_refused(c, "input 1: expected the predictions' size");
  Case gradient = {.op = OpId::loss_gradient,
                   .inputs = {values.reals({1, 1, 1, 1}), values.reals(dims), values.reals(dims)},
                   .outputs = {desc_of(dims)},
                   .attributes = c.attributes,
                   .in_place = {},
                   .scalars = {}};
  check_refused(gradient, "gradient: expected");

  Case neuron = {.op = OpId::neuron,
                 .inputs = {values.reals(dims)},
                 .outputs = {desc_of(dims)},
                 .attributes = {{"neuron_type", std::int64_t{16}},
                                {"neuron_a", 0.0},
                                {"neuron_b", 0.0},
                                {"neuron_c", 0.0},
                                {"neuron_parameters", std::vector<double>{}}},
                 .in_place = {},
                 .scalars = {}};
  check_refused(neuron, "neuron_type");
  neuron.attributes["neuron_type"] = std::int64_t{10};
  check_refused(neuron, "expected 3 slopes, one a channel, got 0");
  neuron.op = OpId::neuron_gradient;
  neuron.inputs.push_back(values.reals(dims));
  neuron.attributes["from_result"] = true;
  neuron.attributes["neuron_parameters"] = std::vector<double>{0.5, -0.5, 1};
  check_refused(neuron, "from_result");

  Case add = {.op = OpId::addition,
              .inputs = {values.reals(dims), values.reals({2, 4, 2, 3})},
              .outputs = {desc_of(dims)},
              .attributes = {},
              .in_place = {},
              .scalars = {}};
  check_refused(add, "(2, 4, 2, 3)");
  const Case pooling = {.op = OpId::pooling_max,
                        .inputs = {values.reals(dims)},
                        .outputs = {desc_of(dims)},
                        .attributes = {{"edge_mode", std::int64_t{4}}},
                        .in_place = {},
                        .scalars = {}};
  check_refused(pooling, "edge_mode");
}

TEST_CASE("cpu kernels: operands that contradict the attributes are an internal error") {
  const Case c = convolution_with({}, {4, 3, 3, 5});
  CHECK_THROWS_CONTAINS(fit_of("convolution/plain", c), InternalError, "OHWI");
}

TEST_CASE("cpu kernels: one prepared kernel runs on several threads at once") {
  Case c = convolution_with({{"neuron_type", std::int64_t{1}}});
  for (const std::string& row : rows_of(OpId::convolution)) {
    if (!fit_of(row, c).yes) continue;
    const std::shared_ptr<Kernel> kernel = prepare(row, c);
    Case ready = c;
    for (std::size_t i = 0; i < kernel->input_layouts.size(); ++i) {
      if (kernel->input_layouts[i])
        ready.inputs[i] = in_layout(c.inputs[i], kernel->input_layouts[i]);
    }
    const std::vector<float> expected = run_once(*kernel, ready)[0].floats();
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 20; ++i) CHECK_EQ(run_once(*kernel, ready)[0].floats(), expected);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
}

}  // namespace
