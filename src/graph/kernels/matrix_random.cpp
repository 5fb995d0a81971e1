// SPDX-License-Identifier: MIT
// Random numbers. Operations: random_philox, random_mtgp32  state -> destination, state.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include "base/attributes.h"
#include "base/half_bounds.h"
#include "base/mtgp.h"
#include "base/philox.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/matrix_tools.h"

namespace mpsnn::graph {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::size_t kDestination = 0;

DataType type_of(const AttributeMap& attributes) {
  return static_cast<DataType>(get_int(attributes, "data_type"));
}

MatrixRandomDistribution distribution_of(const AttributeMap& attributes) {
  return static_cast<MatrixRandomDistribution>(get_int(attributes, "distribution_type"));
}

void expect_finite(std::string_view title, std::string_view name, double value) {
  if (std::isfinite(static_cast<float>(value))) return;
  throw_expected(str(title, ": ", name), "a finite number of float32", value);
}

/// Whether a float16 lies between; the upper bound itself counts where `closed`.
bool holds_half(float minimum, float maximum, bool closed) {
  const float first = half_at_least(minimum);
  return std::isfinite(first) && (closed ? first <= maximum : first < maximum);
}

void check_uniform(std::string_view title, const AttributeMap& attributes) {
  const double minimum = get_float(attributes, "minimum"),
               maximum = get_float(attributes, "maximum");
  expect_finite(title, "minimum", minimum);
  expect_finite(title, "maximum", maximum);
  const auto low = static_cast<float>(minimum), high = static_cast<float>(maximum);
  if (!(low < high)) throw_expected(str(title, ": maximum"), str("above minimum ", low), maximum);
  if (type_of(attributes) == DataType::FLOAT16 && !holds_half(low, high, false))
    throw_expected(str(title, ": maximum"), str("a float16 in [", low, ", maximum)"), maximum);
}

void check_normal(std::string_view title, const AttributeMap& attributes) {
  const double mean = get_float(attributes, "mean"),
               deviation = get_float(attributes, "standard_deviation"),
               minimum = get_float(attributes, "minimum"),
               maximum = get_float(attributes, "maximum");
  expect_finite(title, "mean", mean);
  expect_finite(title, "standard_deviation", deviation);
  if (deviation < 0) throw_expected(str(title, ": standard_deviation"), ">= 0", deviation);
  for (const auto& [name, value] : {std::pair("minimum", minimum), std::pair("maximum", maximum)}) {
    if (!std::isinf(value)) expect_finite(title, name, value);
  }
  if (minimum == kInfinity) throw_expected(str(title, ": minimum"), "below infinity", minimum);
  const auto low = static_cast<float>(minimum), high = static_cast<float>(maximum);
  if (!(low < high)) throw_expected(str(title, ": maximum"), str("above minimum ", low), maximum);
  const auto centre = static_cast<float>(mean);
  if (deviation == 0 && (centre < low || centre > high)) {
    throw_expected(str(title, ": mean"),
                   str("from ", low, " to ", high, ", as standard_deviation is 0"), mean);
  }
  if (type_of(attributes) == DataType::FLOAT16 &&
      !holds_half(std::max(low, -65504.0F), std::min(high, 65504.0F), true)) {
    throw_expected(str(title, ": maximum"), str("a float16 in [", low, ", maximum]"), maximum);
  }
}

void check(std::string_view title, const AttributeMap& attributes) {
  check_batch_range(title, attributes);
  const MatrixRandomDistribution distribution = distribution_of(attributes);
  if (distribution == MatrixRandomDistribution::DEFAULT) return;
  if (type_of(attributes) == DataType::UINT32) {
    throw_expected(
        str(title, ": distribution_type"), "DEFAULT, as data_type is UINT32",
        enumerator_name("MatrixRandomDistribution", static_cast<std::int64_t>(distribution)));
  }
  if (distribution == MatrixRandomDistribution::UNIFORM) return check_uniform(title, attributes);
  check_normal(title, attributes);
}

/// Vectors as matrices of one row.
TensorDesc as_matrices(const TensorDesc& desc) {
  if (desc.dims.size() == 3) return desc;
  const std::vector<std::int64_t> strides = strides_of(desc);
  return {
      desc.type, {desc.dims[0], 1, desc.dims[1]}, nullptr, {strides[0], strides[0], strides[1]}};
}

template <OpId op>
void lower(KernelLowering& to) {
  const AttributeMap& a = to.attributes();
  to.expect_type(kDestination, {type_of(a)});
  const std::int64_t start = get_int(a, "batch_start"), size = get_int(a, "batch_size");
  const TensorDesc whole = as_matrices(to.desc(kDestination));
  const auto part = part_of(whole, 0, 0, -1, -1, start, size);
  if (!part) {
    const bool is_vector = to.desc(kDestination).dims.size() == 2;
    to.fail_operand(kDestination, str(is_vector ? "vectors " : "matrices ", start, " + ",
                                      size < 0 ? std::string("all") : str(size)));
  }
  AttributeMap attributes;
  for (const std::string_view name :
       {"seed", "distribution_type", "minimum", "maximum", "mean", "standard_deviation"}) {
    attributes.emplace(name, a.find(name)->second);
  }
  to.add(op, {to.state()}, {to.view(kDestination, part->desc, part->offset), to.state()},
         std::move(attributes));
}

template <class State>
std::vector<std::byte> bytes_of(const State& state) {
  const auto* const bytes = reinterpret_cast<const std::byte*>(&state);
  return {bytes, bytes + sizeof(State)};
}

std::vector<std::byte> make_philox(const AttributeMap& attributes) {
  return bytes_of(PhiloxState{get_uint(attributes, "seed"), 0});
}

std::vector<std::byte> make_mtgp32(const AttributeMap& attributes) {
  const std::uint64_t seed = get_uint(attributes, "seed");
  const auto state = std::make_unique<MtgpState>();
  for (std::size_t s = 0; s < kMtgpStreams; ++s) state->streams[s] = mtgp_first_words(seed, s);
  return bytes_of(*state);
}

AttributeSpec number(std::string_view name, std::string_view doc) {
  return {.name = name, .type = AttributeType::FLOAT, .doc = doc, .default_value = 0.0};
}

std::vector<AttributeSpec> attributes() {
  const auto enumerator = [](auto value) { return static_cast<std::int64_t>(value); };
  std::vector<AttributeSpec> all = {
      {.name = "data_type",
       .type = AttributeType::ENUM,
       .doc = "element type of the destination",
       .default_value = enumerator(DataType::UINT32),
       .enum_name = "DataType",
       .supported = {enumerator(DataType::UINT32), enumerator(DataType::FLOAT32),
                     enumerator(DataType::FLOAT16)}},
      {.name = "seed",
       .type = AttributeType::UINT,
       .doc = "where the sequence begins, 64 bits; can be set at construction only",
       .default_value = std::uint64_t{0},
       .minimum = 0},
      {.name = "distribution_type",
       .type = AttributeType::ENUM,
       .doc = "how the numbers are distributed",
       .default_value = enumerator(MatrixRandomDistribution::DEFAULT),
       .enum_name = "MatrixRandomDistribution"},
      number("minimum", "lower bound, of the uniform and the truncated distribution"),
      number("maximum",
             "upper bound: excluded by the uniform distribution, or the truncated one's"),
      number("mean", "of the normal distribution before it is truncated"),
      number("standard_deviation", "the same")};
  for (AttributeSpec& spec : batch_range()) all.push_back(std::move(spec));
  return all;
}

template <OpId op>
EncodeMethod method() {
  return {.doc = "Records the filling of a matrix or vector with the next numbers.",
          .operands = {{.name = "destination",
                        .kind = OperandKind::MATRIX | OperandKind::VECTOR,
                        .doc = "of `data_type`, with any offset and strides",
                        .writes = true}},
          .lower = lower<op>};
}

constexpr std::string_view kPhiloxDoc =
    R"(Philox4x32-10 (Salmon et al. 2011). Word i is word i mod 4 of block i / 4, the block having the key (seed mod
2^32, seed / 2^32) and the counter (0, 0, block / 2^32, block mod 2^32). The elements of the destination take the
words in row order: matrix by matrix, row by row, without gaps. The next encode goes on with the next word,
whatever the sizes: two encodes give the same numbers as one of both lengths. The state is (seed, words taken),
two little-endian integers of 64 bits.

**Distributions** (MatrixRandomDistributionDescriptor), with t = (word >> 9) * 2^-23:

- default: the words themselves as uint32; floating-point numbers are uniform in [0, 1)
- uniform: fma(maximum - minimum, t, minimum) in float32; never maximum, not even after rounding
- normal: mean + standard_deviation * z, z being the inverse of the normal distribution at t, or at 2^-24 where t
  is 0; z lies within 5.3 and has an error below 2e-6
- truncated normal: the inverse at Phi(a) + (t + 2^-24) (Phi(b) - Phi(a)), a and b being the bounds in standard
  deviations; nothing lies outside of them

float16 is rounded from float32, and kept inside of the bounds. No number is NaN or infinite: what overflows is the
largest finite one.

**Unlike Apple**: bits 32 to 63 of the seed are used (what Apple does with them is not known); t = 0 does not give
NaN; batch ranges are taken on matrices; float16 is supported. Apple's numbers are these for at least the first
4000 elements of one encode; beyond, its order is not known.)";

constexpr std::string_view kMtgp32Doc =
    R"(MTGP32 of period 2^11213 - 1 (Saito and Matsumoto, arXiv:1005.4973) in 1024 streams: stream s has the authors'
parameter set s mod 128 and begins by their `init_by_array` with {seed mod 2^32, seed / 2^32, s / 128}. One step
of a stream makes 256 words: word i lies in block i / 256, which stream (i / 256) mod 1024 makes. The elements of
the destination take the words in row order: matrix by matrix, row by row, without gaps. The next encode goes on
with the next word, whatever the sizes: two encodes give the same numbers as one of both lengths. The state is the
number of words taken (64 bits), then 351 words of each stream: those before its first block that is not used up.

**Distributions** (MatrixRandomDistributionDescriptor) are MatrixRandomPhilox's, with the same formulas.

**Unlike Apple**: Apple's parameters, seeding and order are not public; its numbers are others. float16 is
supported. There is no `synchronizeStateOnCommandBuffer:`: `read_state` waits for what changes the state.)";

constexpr std::string_view kPhiloxExample =
    R"(words = mps.Matrix(device, rows=2, columns=4, data_type=mps.DataType.UINT32)
weights = mps.Vector(device, length=1000)
normal = mps.MatrixRandomDistributionDescriptor.normal(mean=0.0, standard_deviation=0.1)
commands = mps.CommandBuffer(queue)
mps.MatrixRandomPhilox(device).encode(commands, words)
mps.MatrixRandomPhilox(
    device, data_type=mps.DataType.FLOAT32, seed=7, distribution_descriptor=normal
).encode(commands, weights)
commands.commit()
assert np.asarray(words)[0, 0] == 0x6627E8D5
assert 0.08 < np.asarray(weights).std() < 0.12
)";

constexpr std::string_view kMtgp32Example =
    R"(numbers = mps.Vector(device, length=1000)
uniform = mps.MatrixRandomDistributionDescriptor.uniform(minimum=-1.0, maximum=1.0)
generator = mps.MatrixRandomMTGP32(
    device, data_type=mps.DataType.FLOAT32, distribution_descriptor=uniform
)
commands = mps.CommandBuffer(queue)
generator.encode(commands, numbers)
commands.commit()
assert -1 <= np.asarray(numbers).min() < np.asarray(numbers).max() < 1
)";

}  // namespace

std::vector<KernelClass> matrix_random_kernels() {
  return {
      {.name = "MatrixRandomPhilox",
       .apple = "MPSMatrixRandomPhilox",
       .family = "matrix_random",
       .brief = "Random numbers of a counter-based generator",
       .doc = kPhiloxDoc,
       .example = kPhiloxExample,
       .attributes = attributes(),
       .methods = {method<OpId::random_philox>()},
       .check = check,
       .make_state = make_philox},
      {.name = "MatrixRandomMTGP32",
       .apple = "MPSMatrixRandomMTGP32",
       .family = "matrix_random",
       .brief = "Random numbers of Mersenne Twisters for graphic processors",
       .doc = kMtgp32Doc,
       .example = kMtgp32Example,
       .attributes = attributes(),
       .methods = {method<OpId::random_mtgp32>()},
       .check = check,
       .make_state = make_mtgp32},
  };
}

}  // namespace mpsnn::graph
