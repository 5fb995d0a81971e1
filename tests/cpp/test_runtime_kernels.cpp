// SPDX-License-Identifier: MIT
// Matrices, vectors, arrays; kernels that are encoded one by one, and how they are ordered.
#include <array>
#include <numeric>
#include <vector>

#include "mpsnn/array.h"
#include "mpsnn/error.h"
#include "mpsnn/kernels.h"
#include "runtime/buffer_state.h"
#include "runtime/kernel_impl.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;

namespace {

using Floats = std::vector<float>;

Matrix matrix(const Device& device, std::int64_t rows, std::int64_t columns,
              DataType type = DataType::FLOAT32) {
  return Matrix(device, {.rows = rows, .columns = columns, .data_type = type});
}

Floats read(const Array& array) {
  Floats values(array.bytes() / sizeof(float));
  array.read(values.data(), array.bytes());
  return values;
}

/// A function of a matrix that adds one to each element of a contiguous operand.
HostKernel increment(std::string label = "increment") {
  return HostKernel(
      [](const auto& reads, const auto& writes) {
        auto* const values = static_cast<float*>(writes.at(0).data);
        for (int i = 0; i < 4; ++i) values[i] += 1;
        for (const auto& read : reads) values[0] += *static_cast<const float*>(read.data);
      },
      std::move(label));
}

}  // namespace

TEST_CASE("matrices: elements lie where the descriptor says") {
  const Rig rig;
  const Buffer buffer(rig.device, 256);
  const Matrix view(
      buffer, {.rows = 2, .columns = 3, .matrices = 2, .row_bytes = 16, .matrix_bytes = 64}, 8);
  CHECK(view.shape() == std::vector<std::int64_t>({2, 2, 3}));
  CHECK(view.strides() == std::vector<std::int64_t>({64, 16, 4}));
  Floats values(12);
  std::iota(values.begin(), values.end(), 1.0F);
  view.write(values.data(), view.bytes());
  const auto at = [&](std::size_t offset) {
    float value = 0;
    buffer.read(offset, &value, sizeof value);
    return value;
  };
  CHECK_EQ(at(8), 1.0F);
  CHECK_EQ(at(8 + 4), 2.0F);
  CHECK_EQ(at(8 + 16), 4.0F);
  CHECK_EQ(at(8 + 64), 7.0F);
  CHECK_EQ(at(8 + 12), 0.0F);  // the gap between rows is left alone
  CHECK(read(view) == values);
}

TEST_CASE("matrices: what does not fit is refused with the field") {
  const Rig rig;
  const Device& device = rig.device;
  const Buffer buffer(device, 64);
  CHECK_THROWS_CONTAINS(matrix(device, 0, 2), InvalidArgumentError, "rows: expected at least 1");
  CHECK_THROWS_CONTAINS(Matrix(device, {.rows = 2, .columns = 4, .row_bytes = 12}),
                        InvalidArgumentError,
                        "row_bytes: expected a multiple of 4 bytes, at least");
  CHECK_THROWS_CONTAINS(Matrix(device, {.rows = 2, .columns = 4, .row_bytes = 18}),
                        InvalidArgumentError, "row_bytes");
  CHECK_THROWS_CONTAINS(
      Matrix(device, {.rows = 2, .columns = 4, .matrices = 2, .row_bytes = 16, .matrix_bytes = 40}),
      InvalidArgumentError, "matrix_bytes: expected a multiple of 16");
  CHECK_THROWS_CONTAINS(Matrix(buffer, {.rows = 4, .columns = 4}, 4), InvalidArgumentError,
                        "offset: expected elements inside of the buffer's 64 bytes");
  CHECK_THROWS_CONTAINS(Vector(buffer, {.length = 4}, 3), InvalidArgumentError,
                        "offset: expected a multiple of 4 bytes, got 3");
  CHECK_THROWS_CONTAINS(Vector(buffer, {.length = 17}), InvalidArgumentError, "Vector: offset");
  CHECK_THROWS_CONTAINS(NDArray(device, {.shape = {}}), InvalidArgumentError, "1 to 16 dimensions");
  CHECK_THROWS_CONTAINS(NDArray(device, {.shape = {2, 2}, .strides = {8}}), InvalidArgumentError,
                        "strides: expected 2");
  CHECK_THROWS_CONTAINS(matrix(device, std::int64_t{1} << 40, std::int64_t{1} << 40),
                        InvalidArgumentError, "fits in memory");
  const Matrix small = matrix(device, 1, 1);
  std::array<float, 2> two{};
  CHECK_THROWS_CONTAINS(small.read(two.data(), sizeof two), InvalidArgumentError,
                        "read: expected 4 bytes, got 8");
}

TEST_CASE("matrices: recommended strides are those that were measured") {
  CHECK_EQ(MatrixDescriptor::row_bytes_for_columns(0, DataType::FLOAT32), 0U);
  CHECK_EQ(MatrixDescriptor::row_bytes_for_columns(1, DataType::FLOAT32), 4U);
  CHECK_EQ(MatrixDescriptor::row_bytes_for_columns(3, DataType::FLOAT32), 16U);
  CHECK_EQ(MatrixDescriptor::row_bytes_for_columns(5, DataType::FLOAT16), 16U);
  CHECK_EQ(MatrixDescriptor::row_bytes_for_columns(2, DataType::INT8), 4U);
  CHECK_EQ(MatrixDescriptor::row_bytes_for_columns(5, DataType::INT32), 32U);
}

TEST_CASE("arrays: transposed and sliced views share the memory") {
  const Rig rig;
  const NDArray whole(rig.device, {.shape = {2, 3}});
  const Floats values = {1, 2, 3, 4, 5, 6};
  whole.write(values.data(), whole.bytes());
  CHECK(read(whole.transposed(0, 1)) == Floats({1, 4, 2, 5, 3, 6}));
  CHECK(read(whole.sliced(1, 1, 2)) == Floats({2, 3, 5, 6}));
  CHECK(read(whole.transposed(0, 1).sliced(0, 2, 1)) == Floats({3, 6}));
  CHECK_THROWS_CONTAINS(whole.transposed(0, 2), InvalidArgumentError, "below 2");
  CHECK_THROWS_CONTAINS(whole.sliced(1, 2, 2), InvalidArgumentError, "a range of 3 elements");
}

TEST_CASE("kernels: one command with the operands' addresses") {
  const Rig rig;
  const Matrix left = matrix(rig.device, 2, 3), right = matrix(rig.device, 3, 4),
               result = matrix(rig.device, 2, 4);
  const MatrixMultiplication product(rig.device, {.label = "product"});
  CommandBuffer commands(CommandQueue(rig.device));
  product.encode(commands, left, right, result);
  CHECK(rig.labels().empty());
  commands.commit();
  commands.wait_until_completed();
  const auto recorded = rig.null->commands();
  REQUIRE(recorded.size() == 1);
  CHECK_EQ(recorded[0].label, "product");
  CHECK(recorded[0].inputs == std::vector<const void*>({left.data(), right.data()}));
  CHECK(recorded[0].outputs == std::vector<const void*>({result.data()}));
}

TEST_CASE("kernels: operands are checked at the call, with kernel and operand") {
  const Rig rig, other;
  const Matrix a = matrix(rig.device, 2, 3), b = matrix(rig.device, 2, 4),
               c = matrix(rig.device, 2, 4);
  CommandBuffer commands(CommandQueue(rig.device));
  MatrixMultiplication product(rig.device);
  CHECK_THROWS_CONTAINS(product.encode(commands, a, b, c), InvalidArgumentError,
                        "MatrixMultiplication \"MatrixMultiplication\": right_matrix: expected");
  CHECK_THROWS_CONTAINS(product.encode(commands, a, a, a), InvalidArgumentError,
                        "result_matrix: expected memory apart from left_matrix");
  const Matrix foreign = matrix(other.device, 3, 4);
  CHECK_THROWS_CONTAINS(product.encode(commands, a, foreign, c), InvalidArgumentError,
                        "right_matrix: expected memory of device \"null\"");
  CommandBuffer foreign_commands(CommandQueue(other.device));
  CHECK_THROWS_CONTAINS(product.encode(foreign_commands, a, b, c), InvalidArgumentError,
                        "commands: expected a command buffer of device");
  const Matrix integers = matrix(rig.device, 3, 4, DataType::INT32);
  CHECK_THROWS_CONTAINS(product.encode(commands, a, integers, c), ArgumentTypeError,
                        "element types");
  const std::vector<KernelOperands> two = {{a}, {b}};
  CHECK_THROWS_CONTAINS(product.encode_method(commands, "encode", two), InvalidArgumentError,
                        "result_matrix: expected Matrix, got none");
  const std::vector<KernelOperands> kinds = {{a}, {Vector(rig.device, {.length = 4})}, {c}};
  CHECK_THROWS_CONTAINS(product.encode_method(commands, "encode", kinds), ArgumentTypeError,
                        "right_matrix: expected Matrix, got Vector");
  CHECK_THROWS_CONTAINS(product.encode_method(commands, "decode", {}), InvalidArgumentError,
                        "method: expected encode, got \"decode\"");
}

TEST_CASE("kernels: parameters are checked and take effect later") {
  const Rig rig;
  CHECK_THROWS_CONTAINS(DeviceKernel(rig.device, "MatrixDivision"), InvalidArgumentError,
                        "class_name");
  CHECK_THROWS_CONTAINS(DeviceKernel(rig.device, "MatrixSoftMax", {{"alpha", 1.0}}),
                        InvalidArgumentError, "got an argument alpha");
  CHECK_THROWS_CONTAINS(MatrixSoftMax(rig.device, {.source_rows = -2}), InvalidArgumentError,
                        "source_rows: expected >= -1");
  CHECK_THROWS_CONTAINS(MatrixMultiplication(rig.device, {.left_matrix_origin = {1}}),
                        InvalidArgumentError, "left_matrix_origin: expected a row and a column");
  MatrixMultiplication product(rig.device);
  CHECK_THROWS_CONTAINS(product.set_attribute("batch_size", std::int64_t{0}), InvalidArgumentError,
                        "batch_size: expected at least 1, or -1 for all, got 0");
  product.set_attribute("result_columns", std::int64_t{2});
  CHECK_EQ(std::get<std::int64_t>(product.attribute("result_columns")), 2);
  CHECK_THROWS_CONTAINS(product.attribute("gamma"), InvalidArgumentError, "\"gamma\"");
  CHECK_EQ(product.state_bytes(), 0U);
  char byte = 0;
  CHECK_THROWS_CONTAINS(product.read_state(&byte, 1), InvalidArgumentError, "0 bytes");
}

TEST_CASE("kernels: one plan serves all learning rates") {
  const Rig rig;
  const Vector gradient(rig.device, {.length = 2}), values(rig.device, {.length = 2}),
      squares(rig.device, {.length = 2});
  OptimizerRMSPropUpdate update(rig.device, {.learning_rate = 0.5});
  CommandBuffer commands(CommandQueue(rig.device));
  update.encode(commands, gradient, values, values, squares);
  update.set_attribute("learning_rate", 0.25);
  CHECK_EQ(std::get<double>(update.attribute("learning_rate")), 0.25);
  update.encode(commands, gradient, values, values, squares);
  const std::vector<KernelOperands> operands = {{gradient}, {values}, {values}, {squares}};
  update.encode_method(commands, "encode", operands, {{"learning_rate", std::int64_t{2}}});
  update.encode(commands, gradient, values, values, squares);
  CHECK_EQ(update.impl()->plans.size(), 1U);
  update.set_attribute("decay", 0.5);
  update.encode(commands, gradient, values, values, squares);
  CHECK_EQ(update.impl()->plans.size(), 2U);
  update.set_attribute("decay", 0.9);  // as at first
  update.encode_method(commands, "encode", operands, {{"decay", 0.5}});
  update.encode(commands, gradient, values, values, squares);
  CHECK_EQ(update.impl()->plans.size(), 2U);
  CHECK_THROWS_CONTAINS(update.set_attribute("learning_rate", -1.0), InvalidArgumentError,
                        "learning_rate: expected >= 0, got -1");
  CHECK_THROWS_CONTAINS(
      update.encode_method(commands, "encode", operands, {{"learning_rate", std::string("fast")}}),
      InvalidArgumentError, "learning_rate: expected a number");
  commands.commit();
  commands.wait_until_completed();
  std::vector<double> rates;
  for (const Command& command : rig.null->commands()) rates.push_back(command.scalars.at(0));
  CHECK(rates == std::vector<double>({0.5, 0.25, 2, 0.25, 0.25, 0.25, 0.25}));
}

TEST_CASE("kernels: what is recorded in a row shares its predicates") {
  const Rig rig;
  const Predicate one(rig.device), two(rig.device);
  CommandBuffer commands(CommandQueue(rig.device));
  CommandBuffer inner = CommandBuffer::wrap(commands);
  CHECK(inner.layer()->stack() == nullptr);
  inner.set_predicate(one);
  const auto first = inner.layer()->stack();
  REQUIRE(first != nullptr);
  CHECK(inner.layer()->stack() == first);
  commands.set_predicate(two);
  const auto both = inner.layer()->stack();
  CHECK_EQ(both->addresses.size(), 2U);
  CHECK_EQ(first->addresses.size(), 1U);
  inner.set_predicate(two);
  CHECK(inner.layer()->stack() != both);
  inner.set_predicate(std::nullopt);
  commands.set_predicate(std::nullopt);
  CHECK(inner.layer()->stack() == nullptr);
}

TEST_CASE("kernels: a predicate that is 0 skips them") {
  const Rig rig;
  const Matrix x = matrix(rig.device, 2, 2);
  const Predicate predicate(rig.device);
  CommandBuffer commands(CommandQueue(rig.device));
  commands.set_predicate(predicate);
  MatrixSoftMax(rig.device, {.label = "first"}).encode(commands, x, x);
  commands.encode_host_function("end", [&] { predicate.set_value(0); });
  MatrixSoftMax(rig.device, {.label = "second"}).encode(commands, x, x);
  commands.commit();
  commands.wait_until_completed();
  CHECK(rig.labels() == std::vector<std::string>({"first"}));
}

TEST_CASE("host kernels: run in their turn, ordered across queues by what they use") {
  const Rig rig;
  const Matrix x = matrix(rig.device, 2, 2), y = matrix(rig.device, 2, 2);
  Gate gate;
  CommandBuffer first(CommandQueue(rig.device, "one")), second(CommandQueue(rig.device, "two"));
  first.encode_host_function("gate", [&] { gate.pass(); });
  increment().encode(first, {}, {x});
  increment().encode(second, {x}, {y});
  first.commit();
  second.commit();
  gate.wait_for_arrival();
  CHECK(second.status() != CommandBufferStatus::COMPLETED);
  gate.open();
  CHECK(read(y) == Floats({2, 1, 1, 1}));
  CHECK(read(x) == Floats({1, 1, 1, 1}));
}

TEST_CASE("host kernels: a failure is kept for those who read, until the host writes") {
  const Rig rig;
  const Matrix x = matrix(rig.device, 2, 2), y = matrix(rig.device, 2, 2);
  const CommandQueue queue(rig.device);
  const HostKernel bad([](const auto&, const auto&) { throw DeviceError("no luck"); }, "bad");
  CommandBuffer commands(queue);
  bad.encode(commands, {}, {x});
  commands.commit();
  CHECK_THROWS_CONTAINS(read(x), DeviceError, "no luck");
  CHECK_THROWS_CONTAINS(commands.wait_until_completed(), DeviceError, "bad");
  CommandBuffer later(queue);
  increment().encode(later, {x}, {y});
  later.commit();
  CHECK_THROWS_CONTAINS(later.wait_until_completed(), DeviceError, "no luck");
  const Floats zeros(4);
  x.write(zeros.data(), x.bytes());
  y.write(zeros.data(), y.bytes());
  CommandBuffer last(queue);
  increment().encode(last, {x}, {y});
  last.commit();
  last.wait_until_completed();
  CHECK(read(y) == Floats({1, 1, 1, 1}));
}

TEST_CASE("host kernels: bad arguments") {
  const Rig rig, other;
  CHECK_THROWS_CONTAINS(HostKernel(nullptr), InvalidArgumentError, "HostKernel: function");
  CommandBuffer commands(CommandQueue(rig.device));
  CHECK_THROWS_CONTAINS(increment().encode(commands, {}, {matrix(other.device, 2, 2)}),
                        InvalidArgumentError, "writes: expected memory of device");
  const SmallNet net;
  CommandBuffer unmade(CommandQueue(rig.device));
  const Image image = *net.graph(rig.device).encode(unmade, {{"in", input(rig.device)}}).results[0];
  increment().encode(commands, {image}, {matrix(rig.device, 2, 2)});
  CHECK_THROWS_CONTAINS(commands.commit(), StateError, "which was not committed");
}
