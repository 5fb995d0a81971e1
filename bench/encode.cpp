// SPDX-License-Identifier: MIT
// Host time to encode kernels one by one from C++; bench/encode.py runs it with the rounds.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <vector>

#include "mpsnn/kernels.h"
#include "mpsnn/rnn.h"

using namespace mpsnn;  // NOLINT: a program

namespace {

constexpr int kEncodes = 1000;
constexpr std::int64_t kSize = 8;

/// Prints microseconds of so many encodes, a round each, as an item of JSON's.
void measure(const char* name, const CommandQueue& queue, int rounds,
             const std::function<void(CommandBuffer&)>& encode) {
  std::vector<double> times;
  for (int round = -3; round < rounds; ++round) {
    CommandBuffer commands(queue, "bench", /*auto_commit=*/false);
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kEncodes; ++i) encode(commands);
    const std::chrono::duration<double, std::micro> taken =
        std::chrono::steady_clock::now() - start;
    if (round >= 0) times.push_back(taken.count());
    commands.commit();
    commands.wait_until_completed();
  }
  std::ranges::sort(times);
  std::cout << "{\"name\": \"" << name << "\", \"median\": " << times[times.size() / 2]
            << ", \"min\": " << times.front() << ", \"max\": " << times.back() << "}\n";
}

Matrix square(const Device& device) { return Matrix(device, {.rows = kSize, .columns = kSize}); }

}  // namespace

int main(int count, char** arguments) {
  const int rounds = count > 1 ? std::max(1, std::atoi(arguments[1])) : 30;
  const Device device("cpu");
  const CommandQueue queue(device);
  const Matrix a = square(device), b = square(device), c = square(device);
  const Vector bias(device, {.length = kSize});
  const MatrixMultiplication product(device);
  measure("a product", queue, rounds, [&](CommandBuffer& to) { product.encode(to, a, b, c); });
  const MatrixFullyConnected connected(device);
  measure("fully connected", queue, rounds,
          [&](CommandBuffer& to) { connected.encode(to, a, b, c, bias); });
  OptimizerRMSPropUpdate update(device);
  double rate = 0;
  measure("an optimizer at a new rate", queue, rounds, [&](CommandBuffer& to) {
    update.set_attribute("learning_rate", rate += 1e-6);
    update.encode(to, a, b, b, c);
  });
}
