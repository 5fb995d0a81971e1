// SPDX-License-Identifier: MIT
// random_philox, random_mtgp32: MPS's own generators. They begin at the start of their stream and
// go on from encode to encode; the position that our state holds says where one must be.
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "backend/metal/generators.h"
#include "backend/metal/kernels.h"
#include "base/attributes.h"
#include "base/mtgp.h"
#include "base/philox.h"
#include "mpsnn/error.h"

namespace mpsnn::backend::metal {
namespace {

/// Generators make words in groups; what is asked of MPS is whole groups that begin with one.
constexpr std::uint64_t kGroup = 4;
/// Words of a stream that are made at once to be passed over.
constexpr std::uint64_t kPassed = std::uint64_t{1} << 20;

/// The inverse of the normal distribution at 2^-24.
constexpr float kLeastNormal = -5.2947041F;

std::uint64_t rounded_down(std::uint64_t words) { return words / kGroup * kGroup; }
std::uint64_t rounded_up(std::uint64_t words) { return rounded_down(words + kGroup - 1); }

Stream32 stream_of(const KernelQuery& query) {
  const AttributeMap& a = query.attributes;
  const auto number = [&](std::string_view name) { return static_cast<float>(get_float(a, name)); };
  Stream32 stream;
  stream.is_philox = query.op == OpId::random_philox;
  stream.seed = get_uint(a, "seed");
  stream.type = mps_type(query.outputs[0].type);
  switch (static_cast<MatrixRandomDistribution>(get_int(a, "distribution_type"))) {
    case MatrixRandomDistribution::DEFAULT:
      return stream;
    case MatrixRandomDistribution::UNIFORM:
      stream.distribution = MPSMatrixRandomDistributionUniform;
      stream.parameters = {number("minimum"), number("maximum"), 0, 0};
      return stream;
    case MatrixRandomDistribution::NORMAL:
      stream.distribution = MPSMatrixRandomDistributionNormal;
      stream.parameters = {number("minimum"), number("maximum"), number("mean"),
                           number("standard_deviation")};
      return stream;
  }
  throw InternalError("distribution out of range");
}

class Filling {
 public:
  explicit Filling(const KernelQuery& query)
      : stream_(stream_of(query)), count_(static_cast<std::uint64_t>(query.outputs[0].count())) {
    const TensorDesc& result = query.outputs[0];
    is_dense_ = is_dense(result);
    copy_ = StridedCopy::between({result.type, result.dims, nullptr}, result);
  }

  /// For words that do not go straight to their places.
  std::size_t scratch_bytes() const noexcept { return rounded_up(count_ + kGroup) * 4; }

  void encode(const Site& site) const {
    const bool is_normal = stream_.distribution == MPSMatrixRandomDistributionNormal;
    if (is_normal && site.stream().is_the_programs()) {
      throw UnsupportedError(
          "normal random numbers on a command buffer of the program's: MPS makes a NaN once in "
          "2^23, which the host replaces, and nothing runs before the program commits it");
    }
    // The state is the host's: it must know whether this fill happens.
    if (site.stream().is_predicated()) {
      if (!site.settle()) return;
      site.stream().set_predicates({});
    }
    // Both kinds of state hold the words taken; philox's seed stands before.
    auto* state = reinterpret_cast<std::uint64_t*>(site.output(1));
    Stream32 stream = stream_;
    if (stream.is_philox) {
      stream.seed = *state++;
    } else {
      rewind(*reinterpret_cast<MtgpState*>(state), stream.seed);
    }
    const std::uint64_t position = *state;
    Made made;
    site.stream().generators().with(
        site.device(), state, stream, rounded_down(position),
        [&](Generators::Entry& entry) { made = fill(site, entry, position); });
    *state = position + count_;
    if (is_normal) replace_nan(site, made, stream);
    if (made.is_direct) return;
    made.range.offset += static_cast<NSUInteger>(made.first * 4);
    copy_->encode(site, made.range, site.range(site.output(0)));
  }

 private:
  /// MPS's words are not made of the streams. They stay where they begin, so that a device that
  /// does make words of them knows what to pass over; one that did may have moved them.
  static void rewind(MtgpState& state, std::uint64_t seed) {
    if (state.streams[0] == mtgp_first_words(seed, 0)) return;
    for (std::size_t s = 0; s < kMtgpStreams; ++s) state.streams[s] = mtgp_first_words(seed, s);
  }

  /// Words as MPS makes them, of which the first ones may be passed over.
  struct Made {
    BufferRange range;
    std::uint64_t words = 0, first = 0;
    bool is_direct = false;  // they are where they shall be
  };

  Made fill(const Site& site, Generators::Entry& entry, std::uint64_t position) const {
    pass(site, entry, rounded_down(position) - entry.position);
    const std::uint64_t first = position - entry.position, words = rounded_up(first + count_);
    const BufferRange result = site.range(site.output(0));
    const bool is_direct = is_dense_ && words == count_ && result.offset % 16 == 0;
    const BufferRange made = is_direct ? result : site.range(site.scratch());
    take(site, entry, made, words);
    return {made, words, first, is_direct};
  }

  /// Words of the stream before the position: into memory that nobody reads.
  static void pass(const Site& site, Generators::Entry& entry, std::uint64_t words) {
    if (words == 0) return;
    const Owned<id<MTLBuffer>> unread([site.device()
        newBufferWithLength:std::min(words, kPassed) * 4
                    options:MTLResourceStorageModeShared]);
    if (!unread) fail_on_device("random numbers", "the device has no memory left");
    for (; words > 0; words -= std::min(words, kPassed))
      take(site, entry, {unread, 0}, std::min(words, kPassed));
  }

  /// Apple's normal numbers are NaN where a word's 23 bits are 0 (measured on an M3 Pro,
  /// macOS 26.5, https://github.com/JuliaGPU/Metal.jl/issues/474), where ours are the number half a
  /// step above. No kernel of MPS is documented to tell a NaN from a number, or to keep one out of
  /// its result: the device is waited for and the host looks.
  static void replace_nan(const Site& site, const Made& made, const Stream32& stream) {
    site.settle();
    auto* numbers = reinterpret_cast<float*>(
        static_cast<std::byte*>([made.range.buffer.get() contents]) + made.range.offset);
    const auto [minimum, maximum, mean, deviation] = stream.parameters;
    const float least = std::clamp(std::fma(deviation, kLeastNormal, mean), minimum, maximum);
    std::replace_if(
        numbers, numbers + made.words, [](float number) { return std::isnan(number); }, least);
  }

  static void take(const Site& site, Generators::Entry& entry, const BufferRange& to,
                   std::uint64_t words) {
    MPSVectorDescriptor* descriptor =
        [MPSVectorDescriptor vectorDescriptorWithLength:static_cast<NSUInteger>(words)
                                               dataType:entry.stream.type];
    MPSVector* vector = [[[MPSVector alloc] initWithBuffer:to.buffer.get()
                                                    offset:to.offset
                                                descriptor:descriptor] autorelease];
    [entry.kernel.get() encodeToCommandBuffer:site.commands() destinationVector:vector];
    entry.position += words;
  }

  Stream32 stream_;
  std::uint64_t count_;
  bool is_dense_ = false;
  std::optional<StridedCopy> copy_;
};

Fit fits_filling(const KernelQuery& query) {
  const TensorDesc& result = query.outputs[0];
  if (result.type != DataType::UINT32 && result.type != DataType::FLOAT32)
    return Fit::no(str("MPS makes uint32 and float32, got ", name_of(result.type)));
  std::string reason;
  if (!StridedCopy::between({result.type, result.dims, nullptr}, result, &reason))
    return Fit::no(std::move(reason));
  return {};
}

std::shared_ptr<Kernel> prepare_filling(const KernelQuery& query) {
  const Filling filling(query);
  return make_single(
      query, [=](const Site& site) { filling.encode(site); }, filling.scratch_bytes());
}

}  // namespace

// state -> random numbers, state
Fit fits_random_philox(const KernelQuery& query) { return fits_filling(query); }
std::shared_ptr<Kernel> prepare_random_philox(const KernelQuery& query) {
  return prepare_filling(query);
}

Fit fits_random_mtgp32(const KernelQuery& query) { return fits_filling(query); }
std::shared_ptr<Kernel> prepare_random_mtgp32(const KernelQuery& query) {
  return prepare_filling(query);
}

static_assert(offsetof(PhiloxState, position) == sizeof(std::uint64_t));
static_assert(offsetof(MtgpState, position) == 0);

}  // namespace mpsnn::backend::metal
