// SPDX-License-Identifier: MIT
// MPS's random generators, each of which goes on in its stream from encode to encode, by the state
// that our kernels keep: seed and words taken. For .mm files.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>

#include "backend/metal/objects.h"

namespace mpsnn::backend::metal {

/// Which stream, and what is made of its words.
struct Stream32 {
  bool is_philox = true;
  std::uint64_t seed = 0;
  MPSDataType type = MPSDataTypeUInt32;
  MPSMatrixRandomDistribution distribution = MPSMatrixRandomDistributionDefault;
  std::array<float, 4> parameters = {};  // minimum, maximum, mean, standard deviation
  friend bool operator==(const Stream32&, const Stream32&) = default;
};

/// The generators of a device by the address of their state. Thread-safe.
class Generators {
 public:
  /// A generator of MPS and the words that it made so far.
  struct Entry {
    Stream32 stream;
    Owned<MPSMatrixRandom*> kernel;
    std::uint64_t position = 0;
  };

  /// Calls `use` with the generator of a state, at most `position` words into its stream. Nobody
  /// else encodes it meanwhile.
  template <class Use>
  void with(id<MTLDevice> device, const void* state, const Stream32& stream, std::uint64_t position,
            Use&& use) {
    const std::lock_guard lock(mutex_);
    use(entry(device, state, stream, position));
  }

 private:
  Entry& entry(id<MTLDevice> device, const void* state, const Stream32& stream,
               std::uint64_t position);

  std::mutex mutex_;
  std::map<const void*, Entry> entries_;
};

}  // namespace mpsnn::backend::metal
