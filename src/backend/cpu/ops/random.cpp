// SPDX-License-Identifier: MIT
// random_philox, random_mtgp32: a destination is filled with the next words of a stream, or with
// numbers made of them. Words come in pieces that lie in the first-level cache, numbers go from
// there to the elements, whatever their strides.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/random_numbers.h"
#include "backend/cpu/ops/random_words.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace mpsnn::backend::cpu {
namespace {

/// From so many bytes on, a fill leaves the caches anyway: stores pass them by, and what is written
/// is not read first.
constexpr std::int64_t kStreamed = std::int64_t{4} << 20;

/// Copies past the caches.
void copy_streamed(void* to, const void* from, std::size_t bytes) {
#if defined(__SSE2__)
  auto* out = static_cast<std::byte*>(to);
  const auto* in = static_cast<const std::byte*>(from);
  constexpr std::size_t kStore = sizeof(__m128i);
  const std::size_t head =
      std::min(bytes, (kStore - reinterpret_cast<std::uintptr_t>(out) % kStore) % kStore);
  std::memcpy(out, in, head);
  std::size_t at = head;
  for (; at + kStore <= bytes; at += kStore) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(out + at),
                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + at)));
  }
  std::memcpy(out + at, in + at, bytes - at);
#else
  std::memcpy(to, from, bytes);
#endif
}

/// Makes streamed stores visible to other threads.
void end_streaming() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

/// The elements of a destination in the order in which they are numbered.
class Elements {
 public:
  explicit Elements(const TensorDesc& desc)
      : size_(static_cast<std::int64_t>(size_of(desc.type))), count_(desc.count()) {
    std::int64_t step = size_;
    for (std::size_t i = desc.dims.size(); i-- > 0;) {
      const std::int64_t extent = desc.dims[i];
      const std::int64_t stride = desc.strides.empty() ? step : desc.strides[i];
      step *= extent;
      if (extent == 1) continue;
      if (!dims_.empty() && stride == dims_.back().extent * dims_.back().stride) {
        dims_.back().extent *= extent;
      } else if (dims_.empty() && stride != size_) {
        dims_ = {{1, size_}, {extent, stride}};  // elements that do not touch
      } else {
        dims_.push_back({extent, stride});
      }
    }
    if (dims_.empty()) dims_ = {{1, size_}};
  }

  std::int64_t count() const noexcept { return count_; }
  std::int64_t bytes() const noexcept { return count_ * size_; }
  bool is_dense() const noexcept { return dims_.size() == 1; }

  /// Calls fn(first byte, elements) for the runs of elements [begin, begin + count) that touch.
  template <class Fn>
  void for_each_run(std::int64_t begin, std::int64_t count, Fn&& fn) const {
    const std::int64_t run = dims_.front().extent;
    for (std::int64_t at = begin; at < begin + count;) {
      const std::int64_t part = std::min(run - at % run, begin + count - at);
      fn(offset(at), part);
      at += part;
    }
  }

 private:
  struct Dim {
    std::int64_t extent, stride;
  };
  std::int64_t offset(std::int64_t element) const {
    std::int64_t offset = 0;
    for (const Dim& dim : dims_) {
      offset += element % dim.extent * dim.stride;
      element /= dim.extent;
    }
    return offset;
  }

  std::int64_t size_, count_;
  std::vector<Dim> dims_;  // the fastest first; what touches is one
};

struct Destination {
  Elements elements;
  Distribution distribution;
  bool streamed;

  explicit Destination(const KernelQuery& query)
      : elements(query.outputs[0]),
        distribution(query.attributes, query.outputs[0].type),
        streamed(elements.is_dense() && elements.bytes() >= kStreamed) {}

  std::int64_t element_bytes() const { return elements.bytes() / elements.count(); }

  /// Numbers [first, first + count) of the destination, made of as many words; kPiece at most.
  void write(std::byte* to, std::int64_t first, const std::uint32_t* words,
             std::int64_t count) const {
    const std::int64_t size = element_bytes();
    if (elements.is_dense() && !streamed)
      return write_numbers(distribution, words, to + first * size, count);
    alignas(64) std::uint32_t numbers[kPiece];
    write_numbers(distribution, words, numbers, count);
    if (streamed)
      return copy_streamed(to + first * size, numbers, static_cast<std::size_t>(count * size));
    const auto* from = reinterpret_cast<const std::byte*>(numbers);
    elements.for_each_run(first, count, [&](std::int64_t offset, std::int64_t run) {
      std::memcpy(to + offset, from, static_cast<std::size_t>(run * size));
      from += run * size;
    });
  }

  static constexpr std::int64_t kPiece = 1024;  // words
};

void fill_philox(const Destination& destination, const KernelArgs& args) {
  constexpr std::int64_t kPiece = Destination::kPiece, kBlock = 4;
  auto& state = *args.output<PhiloxState>(1);
  const PhiloxStream stream{state.seed, 0};
  const std::int64_t count = destination.elements.count();
  // Pieces begin at multiples of a block of the stream; the first one may lack its beginning.
  const auto lead = static_cast<std::int64_t>(state.position % kBlock);
  const std::uint64_t first_block = state.position / kBlock;
  const std::int64_t pieces = (lead + count + kPiece - 1) / kPiece;
  parallel_for(pieces, grain_for(kPiece * 8), [&](std::int64_t begin, std::int64_t end) {
    alignas(64) std::uint32_t words[kPiece];
    for (std::int64_t piece = begin; piece < end; ++piece) {
      const std::int64_t at = piece * kPiece;  // words from the first block's start
      const std::int64_t from = std::max(at, lead), to = std::min(at + kPiece, lead + count);
      constexpr std::int64_t kGroup = kBlock * kPhiloxGroup;
      philox_words(stream, first_block + static_cast<std::uint64_t>(at / kBlock),
                   (to - at + kGroup - 1) / kGroup * kPhiloxGroup, words);
      destination.write(args.output<std::byte>(0), from - lead, words + (from - at), to - from);
    }
    if (destination.streamed) end_streaming();
  });
  state.position += static_cast<std::uint64_t>(count);
}

/// Blocks of 256 words from `position` on that an encode touches.
struct MtgpBlocks {
  std::uint64_t position;
  std::int64_t count;           // words
  std::uint64_t first, blocks;  // the first block, and how many

  MtgpBlocks(std::uint64_t from, std::int64_t words)
      : position(from),
        count(words),
        first(from / kMtgpStep),
        blocks((from % kMtgpStep + static_cast<std::uint64_t>(words) + kMtgpStep - 1) / kMtgpStep) {
  }
  /// Of blocks first + k: the stream that makes it.
  std::size_t stream(std::uint64_t k) const { return (first + k) % kMtgpStreams; }
  /// Whether all words of block first + k are used up by this encode.
  bool is_finished(std::uint64_t k) const {
    return (k + 1) * kMtgpStep <= position % kMtgpStep + static_cast<std::uint64_t>(count);
  }
};

constexpr std::uint64_t kMtgpRounds = 4;  // steps of a stream in turn, while its state is at hand

/// Steps a stream makes in blocks k, k + kMtgpStreams … below `end`, kMtgpRounds at most.
void run_stream(const Destination& destination, const MtgpBlocks& blocks, std::uint64_t k,
                std::uint64_t end, MtgpState& state, std::byte* to) {
  alignas(64) std::uint32_t x[kMtgpSize + kMtgpRounds * kMtgpStep], words[kMtgpStep];
  const std::size_t s = blocks.stream(k);
  auto& kept = state.streams[s];
  const MtgpStepper stepper(mtgp_parameters(static_cast<int>(s % kMtgpSets)));
  std::memcpy(x, kept.data(), sizeof kept);
  std::uint32_t* at = x;
  const auto lead = static_cast<std::int64_t>(blocks.position % kMtgpStep);
  for (; k < end; k += kMtgpStreams) {
    stepper.step(at, words);
    const std::int64_t start = static_cast<std::int64_t>(k) * kMtgpStep;
    const std::int64_t from = std::max(start, lead),
                       until = std::min(start + kMtgpStep, lead + blocks.count);
    destination.write(to, from - lead, words + (from - start), until - from);
    if (blocks.is_finished(k)) at += kMtgpStep;
  }
  std::memcpy(kept.data(), at, sizeof kept);
}

/// The beginning of a sequence, to tell by it whether its streams were moved at all.
struct MtgpBeginning {
  MtgpWords first;
  std::string label;
};
/// Words that are passed over, at most: about a minute of one thread.
constexpr std::uint64_t kMtgpPassed = std::uint64_t{1} << 36;

/// Another device moves the position and leaves the streams where they begin: they are brought to
/// it.
void catch_up(const MtgpBeginning& beginning, MtgpState& state) {
  const std::uint64_t finished = state.position / kMtgpStep;  // blocks, of all streams in turn
  if (finished == 0 || state.streams[0] != beginning.first) return;
  if (state.position > kMtgpPassed) {
    throw_expected<DeviceError>(str("\"", beginning.label, "\": state of another device"),
                                str("at most ", kMtgpPassed, " words taken"), state.position);
  }
  parallel_for(kMtgpStreams, 1, [&](std::int64_t begin, std::int64_t end) {
    alignas(64) std::uint32_t x[kMtgpSize + kMtgpStep], words[kMtgpStep];
    for (auto s = static_cast<std::size_t>(begin); s < static_cast<std::size_t>(end); ++s) {
      const MtgpStepper stepper(mtgp_parameters(static_cast<int>(s % kMtgpSets)));
      auto& kept = state.streams[s];
      for (std::uint64_t block = s; block < finished; block += kMtgpStreams) {
        std::memcpy(x, kept.data(), sizeof kept);
        stepper.step(x, words);
        std::memcpy(kept.data(), x + kMtgpStep, sizeof kept);
      }
    }
  });
}

void fill_mtgp32(const Destination& destination, const MtgpBeginning& beginning,
                 const KernelArgs& args) {
  auto& state = *args.output<MtgpState>(1);
  catch_up(beginning, state);
  const MtgpBlocks blocks(state.position, destination.elements.count());
  const auto streams =
      static_cast<std::int64_t>(std::min<std::uint64_t>(blocks.blocks, kMtgpStreams));
  const auto steps = static_cast<std::int64_t>((blocks.blocks + kMtgpStreams - 1) / kMtgpStreams);
  parallel_for(
      streams, grain_for(kMtgpStep * 8 * steps), [&](std::int64_t begin, std::int64_t end) {
        constexpr std::uint64_t kTurn = kMtgpRounds * kMtgpStreams;
        for (std::uint64_t turn = 0; turn < blocks.blocks; turn += kTurn) {
          const std::uint64_t turn_end = std::min(turn + kTurn, blocks.blocks);
          for (std::int64_t stream = begin; stream < end; ++stream) {
            const std::uint64_t k = turn + static_cast<std::uint64_t>(stream);
            if (k < turn_end)
              run_stream(destination, blocks, k, turn_end, state, args.output<std::byte>(0));
          }
        }
        if (destination.streamed) end_streaming();
      });
  state.position += static_cast<std::uint64_t>(destination.elements.count());
}

template <class State>
Fit fits(const KernelQuery& query) {
  check_internal(query.inputs[0].bytes() == sizeof(State), "a generator gets its own state");
  const DataType type = query.outputs[0].type;
  if (type == DataType::UINT32 || type == DataType::FLOAT32 || type == DataType::FLOAT16) return {};
  return Fit::no(str("no random numbers of ", name_of(type)));
}

}  // namespace

Fit fits_random_philox_plain(const KernelQuery& query) { return fits<PhiloxState>(query); }

std::shared_ptr<Kernel> prepare_random_philox_plain(const KernelQuery& query) {
  return make_kernel([destination = Destination(query)](const KernelArgs& args) {
    fill_philox(destination, args);
  });
}

Fit fits_random_mtgp32_plain(const KernelQuery& query) { return fits<MtgpState>(query); }

std::shared_ptr<Kernel> prepare_random_mtgp32_plain(const KernelQuery& query) {
  MtgpBeginning beginning{mtgp_first_words(get_uint(query.attributes, "seed"), 0),
                          std::string(query.label)};
  return make_kernel([destination = Destination(query), beginning = std::move(beginning)](
                         const KernelArgs& args) { fill_mtgp32(destination, beginning, args); });
}

}  // namespace mpsnn::backend::cpu
