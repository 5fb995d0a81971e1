// SPDX-License-Identifier: MIT
// Matrices on the CPU: LAPACK's factors and solves in row order, products of vectors and bytes,
// copies. Small numbers with exact results.
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "mpsnn/array.h"
#include "mpsnn/command_buffer.h"
#include "mpsnn/error.h"
#include "mpsnn/kernels.h"
#include "testing.h"

using namespace mpsnn;

namespace {

template <class T>
Matrix matrix(const Device& device, std::int64_t rows, std::int64_t columns,
              const std::vector<T>& values, DataType type = DataType::FLOAT32) {
  // Longer rows than needed: a stride that is not the number of columns.
  Matrix made(device, {.rows = rows,
                       .columns = columns,
                       .data_type = type,
                       .row_bytes = static_cast<std::size_t>(columns + 3) * sizeof(T)});
  if (!values.empty()) made.write(values.data(), made.bytes());
  return made;
}

template <class T = float>
std::vector<T> read(const Array& array) {
  std::vector<T> values(array.bytes() / sizeof(T));
  array.read(values.data(), array.bytes());
  return values;
}

using Floats = std::vector<float>;
using Integers = std::vector<std::uint32_t>;

}  // namespace

TEST_CASE("LU factors are those of the rows, with pivots from 0") {
  const Device device("cpu");
  CommandBuffer commands(device.command_queue());
  const Matrix a = matrix<float>(device, 3, 2, {1, 2, 4, 2, 2, 9});
  const Matrix pivots = matrix<std::uint32_t>(device, 1, 2, {}, DataType::UINT32);
  const Vector status(device, {.length = 1, .data_type = DataType::INT32});
  MatrixDecompositionLU(device).encode(commands, a, a, pivots, status);
  commands.commit();
  commands.wait_until_completed();
  CHECK(read(a) == Floats({4, 2, 0.5F, 8, 0.25F, 0.1875F}));
  CHECK(read<std::uint32_t>(pivots) == Integers({1, 2}));
  CHECK(read<std::int32_t>(status) == std::vector<std::int32_t>({0}));
}

TEST_CASE("Cholesky factors leave the other triangle; NaN is not positive definite") {
  const Device device("cpu");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Vector status(device, {.length = 1, .data_type = DataType::INT32});
  const auto factor = [&](const Floats& values) {
    CommandBuffer commands(device.command_queue());
    const Matrix a = matrix(device, 2, 2, values);
    MatrixDecompositionCholesky(device).encode(commands, a, a, status);
    commands.commit();
    commands.wait_until_completed();
    return read(a);
  };
  CHECK(factor({4, -7, 2, 5}) == Floats({2, -7, 1, 2}));
  CHECK(read<std::int32_t>(status) == std::vector<std::int32_t>({0}));
  factor({4, -7, nan, 5});
  CHECK(read<std::int32_t>(status) == std::vector<std::int32_t>({-3}));
}

TEST_CASE("a vector's product does not read a result that beta drops") {
  const Device device("cpu");
  CommandBuffer commands(device.command_queue());
  const Matrix a = matrix<float>(device, 2, 3, {1, 2, 3, 4, 5, 6});
  const Vector x(device, {.length = 3}), y(device, {.length = 2});
  const Floats ones(3, 1.0F), nans(2, std::numeric_limits<float>::quiet_NaN());
  x.write(ones.data(), x.bytes());
  y.write(nans.data(), y.bytes());
  MatrixVectorMultiplication(device).encode(commands, a, x, y);
  commands.commit();
  commands.wait_until_completed();
  CHECK(read(y) == Floats({6, 15}));
}

TEST_CASE("products of bytes are exact at their bounds") {
  const Device device("cpu");
  CommandBuffer commands(device.command_queue());
  constexpr std::int64_t kInner = 67;
  const std::vector<std::int8_t> least(2 * kInner, -128);
  const Matrix left = matrix(device, 2, kInner, least, DataType::INT8),
               right = matrix(device, kInner, 2, least, DataType::INT8),
               result = matrix<std::int32_t>(device, 2, 2, {}, DataType::INT32);
  MatrixMultiplication(device).encode(commands, left, right, result);
  commands.commit();
  commands.wait_until_completed();
  CHECK(read<std::int32_t>(result) == std::vector<std::int32_t>(4, kInner * 128 * 128));
}
