// SPDX-License-Identifier: MIT
// top_k: the largest values of each row with their columns, the largest first; of equal ones the
// first column first; NaN counts as larger than all numbers.
#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/matrix_layout.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"

namespace mpsnn::backend::cpu {
namespace {

struct Entry {
  float value;
  std::uint32_t column;
};

bool is_before(const Entry& a, const Entry& b) {
  const bool a_is_nan = std::isnan(a.value), b_is_nan = std::isnan(b.value);
  if (a_is_nan != b_is_nan) return a_is_nan;
  if (a.value != b.value && !a_is_nan) return a.value > b.value;
  return a.column < b.column;
}

constexpr std::int64_t kBlock = 64;  // columns that are looked at together
/// Above, entries are put into place by a heap.
constexpr std::int64_t kFew = 32;

/// Whether a value of the block may belong to the largest: above the limit, or NaN.
MPSNN_SIMD bool has_above(const float* x, float limit) {
  int found = 0;
  for (std::int64_t i = 0; i < kBlock; ++i) found |= static_cast<int>(!(x[i] <= limit));
  return found != 0;
}

/// The k first entries in order, kept by insertion.
class Few {
 public:
  explicit Few(std::int64_t k) : k_(k) {}
  bool is_full() const noexcept { return count_ == k_; }
  float limit() const noexcept { return entries_[k_ - 1].value; }
  void add(const Entry& entry) {
    if (is_full() && !is_before(entry, entries_[k_ - 1])) return;
    std::int64_t at = is_full() ? k_ - 1 : count_++;
    for (; at > 0 && is_before(entry, entries_[at - 1]); --at) entries_[at] = entries_[at - 1];
    entries_[at] = entry;
  }
  const Entry* sorted() noexcept { return entries_; }

 private:
  std::int64_t k_, count_ = 0;
  Entry entries_[kFew];
};

/// The same for more, kept by a heap whose first entry is the last of them.
class Many {
 public:
  explicit Many(std::int64_t k) : k_(k) { entries_.reserve(static_cast<std::size_t>(k)); }
  bool is_full() const noexcept { return static_cast<std::int64_t>(entries_.size()) == k_; }
  float limit() const noexcept { return entries_.front().value; }
  void add(const Entry& entry) {
    if (is_full()) {
      if (!is_before(entry, entries_.front())) return;
      std::pop_heap(entries_.begin(), entries_.end(), is_before);
      entries_.back() = entry;
    } else {
      entries_.push_back(entry);
    }
    std::push_heap(entries_.begin(), entries_.end(), is_before);
  }
  const Entry* sorted() {
    std::sort_heap(entries_.begin(), entries_.end(), is_before);
    return entries_.data();
  }

 private:
  std::int64_t k_;
  std::vector<Entry> entries_;
};

template <class Largest>
void find(const float* x, std::int64_t columns, std::int64_t k, std::uint32_t index_offset,
          float* values, std::uint32_t* indices) {
  Largest largest(k);
  const auto add = [&](std::int64_t i) { largest.add({x[i], static_cast<std::uint32_t>(i)}); };
  std::int64_t i = 0;
  for (; !largest.is_full(); ++i) add(i);
  for (; i + kBlock <= columns; i += kBlock) {
    if (!has_above(x + i, largest.limit())) continue;
    for (std::int64_t lane = 0; lane < kBlock; ++lane) {
      if (!(x[i + lane] <= largest.limit())) add(i + lane);
    }
  }
  for (; i < columns; ++i) add(i);
  const Entry* const sorted = largest.sorted();
  for (std::int64_t rank = 0; rank < k; ++rank) {
    values[rank] = sorted[rank].value;
    indices[rank] = sorted[rank].column + index_offset;
  }
}

}  // namespace

// source -> values, indices
Fit fits_top_k_plain(const KernelQuery& query) {
  if (query.inputs[0].type != DataType::FLOAT32 || query.outputs[0].type != DataType::FLOAT32)
    return Fit::no("expected float32");
  if (query.outputs[1].type != DataType::UINT32) return Fit::no("expected indices of uint32");
  return {};
}

std::shared_ptr<Kernel> prepare_top_k_plain(const KernelQuery& query) {
  const MatrixLayout source(query.inputs[0]), values(query.outputs[0]), indices(query.outputs[1]);
  const std::int64_t k = values.columns;
  const auto index_offset = static_cast<std::uint32_t>(get_int(query.attributes, "index_offset"));
  const auto run = k <= kFew ? find<Few> : find<Many>;
  return make_kernel([=](const KernelArgs& args) {
    parallel_for(source.all_rows(), grain_for(source.columns * 8),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t row = begin; row < end; ++row) {
                     run(args.input<float>(0) + source.at(row), source.columns, k, index_offset,
                         args.output<float>(0) + values.at(row),
                         args.output<std::uint32_t>(1) + indices.at(row));
                   }
                 });
  });
}

}  // namespace mpsnn::backend::cpu
