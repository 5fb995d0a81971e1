// SPDX-License-Identifier: MIT
#if defined(MPSNN_WITH_ONEDNN)

#include "backend/cpu/ops/onednn.h"

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <string_view>

#include "base/check.h"

namespace mpsnn::backend::cpu::onednn {
namespace {

/// FNV-1a over 64-bit words: short, and the same in every run and on every machine.
std::uint32_t hash_of(const std::vector<dnnl::memory::dims>& lists) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const auto& list : lists) {
    for (const std::int64_t value : list)
      hash = (hash ^ static_cast<std::uint64_t>(value)) * 0x100000001b3;
    hash = (hash ^ list.size()) * 0x100000001b3;
  }
  return static_cast<std::uint32_t>(hash ^ (hash >> 32));
}

/// oneDNN's own way to write an order: dimensions from the slowest to the fastest, capital where
/// blocked, then the blocks ("Acdb16a").
std::string tag_of(const dnnl::memory::desc& desc) {
  const auto strides = desc.get_strides(), blocks = desc.get_inner_blks(),
             indices = desc.get_inner_idxs();
  std::vector<std::size_t> order(strides.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return strides[a] > strides[b]; });
  std::string tag;
  for (const std::size_t dim : order) {
    const bool blocked =
        std::find(indices.begin(), indices.end(), static_cast<std::int64_t>(dim)) != indices.end();
    tag += static_cast<char>((blocked ? 'A' : 'a') + dim);
  }
  for (std::size_t i = 0; i < blocks.size(); ++i)
    tag += str(blocks[i], static_cast<char>('a' + indices[i]));
  return tag;
}

/// Tag for the reader; the hash covers what the tag leaves out (sizes, padding, exact strides).
std::string name_of_order(const dnnl::memory::desc& desc) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const std::uint32_t hash = hash_of({desc.get_dims(), desc.get_padded_dims(), desc.get_strides(),
                                      desc.get_inner_blks(), desc.get_inner_idxs()});
  std::string name = str("onednn.", tag_of(desc), ".");
  for (int shift = 28; shift >= 0; shift -= 4) name += kDigits[(hash >> shift) & 15];
  return name;
}

void check_status(dnnl_status_t status, std::string_view what) {
  if (status == dnnl_success) return;
  if (status == dnnl_out_of_memory)
    throw OutOfMemoryError(str(what, ": oneDNN has no memory left"));
  throw DeviceError(str(what, ": oneDNN failed with status ", static_cast<int>(status)));
}

/// A stream a thread: streams are not made for several at once.
dnnl_stream_t stream() {
  static thread_local const dnnl::stream instance(engine());
  return instance.get();
}

void* address_of(const Operand& operand, const KernelArgs& args) {
  switch (operand.from) {
    case Operand::From::INPUT:
      return args.table[args.inputs[operand.at]];
    case Operand::From::OUTPUT:
      return args.table[args.outputs[operand.at]];
    case Operand::From::SCRATCH:
      return static_cast<std::byte*>(args.scratch) + operand.at;
  }
  return nullptr;
}

}  // namespace

const dnnl::engine& engine() {
  static const dnnl::engine instance(dnnl::engine::kind::cpu, 0);
  return instance;
}

dnnl::primitive_attr make_attributes() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
#if DNNL_VERSION_MAJOR > 3 || (DNNL_VERSION_MAJOR == 3 && DNNL_VERSION_MINOR >= 4)
  attributes.set_deterministic(true);
#endif
  return attributes;
}

WeightsLayout::WeightsLayout(dnnl::memory::desc order) : desc(std::move(order)) {
  check_internal(desc.get_format_kind() == dnnl::memory::format_kind::blocked,
                 "layouts of oneDNN's weights are blocked ones");
  name = name_of_order(desc);
  bytes = desc.get_size();
}

/// oneDNN's objects for the operands' memory, pointed at the operands of one run. Made anew they
/// would take longer than a small convolution.
class Step::Views {
 public:
  explicit Views(const std::vector<Operand>& operands) {
    memories_.reserve(operands.size());
    for (const Operand& operand : operands) {
      memories_.emplace_back(operand.desc, engine(), nullptr);
      arguments_.push_back({operand.argument, memories_.back().get()});
    }
  }
  void point(std::size_t i, void* data, std::string_view row) {
    check_status(dnnl_memory_set_data_handle(arguments_[i].memory, data), row);
  }
  const std::vector<dnnl_exec_arg_t>& arguments() const noexcept { return arguments_; }

 private:
  std::vector<dnnl::memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

/// Views that no run uses now: one for each run that was ever under way at the same time.
struct Step::Pool {
  std::mutex mutex;
  std::vector<std::unique_ptr<Views>> free;

  std::unique_ptr<Views> take(const std::vector<Operand>& operands) {
    {
      const std::lock_guard lock(mutex);
      if (!free.empty()) {
        std::unique_ptr<Views> views = std::move(free.back());
        free.pop_back();
        return views;
      }
    }
    return std::make_unique<Views>(operands);
  }
  void give_back(std::unique_ptr<Views> views) {
    const std::lock_guard lock(mutex);
    free.push_back(std::move(views));
  }
};

Step::Step(dnnl::primitive primitive, std::vector<Operand> operands)
    : primitive_(std::move(primitive)),
      operands_(std::move(operands)),
      pool_(std::make_shared<Pool>()) {
  pool_->give_back(std::make_unique<Views>(operands_));
}

// By the C interface: the C++ one would fill a hash map in each run.
void Step::run(const KernelArgs& args, std::string_view row) const {
  std::unique_ptr<Views> views = pool_->take(operands_);
  for (std::size_t i = 0; i < operands_.size(); ++i)
    views->point(i, address_of(operands_[i], args), row);
  const auto& arguments = views->arguments();
  check_status(dnnl_primitive_execute(primitive_.get(), stream(),
                                      static_cast<int>(arguments.size()), arguments.data()),
               row);
  check_status(dnnl_stream_wait(stream()), row);
  pool_->give_back(std::move(views));
}

void StepsKernel::run(const KernelArgs& args) const {
  for (const Step& step : steps_) step.run(args, row);
}

}  // namespace mpsnn::backend::cpu::onednn

#endif  // MPSNN_WITH_ONEDNN
