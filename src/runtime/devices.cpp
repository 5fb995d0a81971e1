// SPDX-License-Identifier: MIT
// The devices there are, and the public Device.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "mpsnn/error.h"
#include "runtime/buffer_state.h"
#include "runtime/device_state.h"
#include "runtime/queue_state.h"
#include "runtime/trace_recorder.h"

// The factories of the built-in backends; each is defined in its own folder. Null: this machine has
// no such device.
namespace mpsnn::backend {
#if defined(MPSNN_WITH_METAL) || defined(MPSNN_WITH_METAL_DOUBLE)
namespace metal {
std::shared_ptr<Device> make_device();
std::shared_ptr<Device> make_device(const std::string& name, bool low_power);
}  // namespace metal
#endif
#ifdef MPSNN_WITH_CUDA
namespace cuda {
std::shared_ptr<Device> make_device();
}
#endif
#ifdef MPSNN_WITH_CPU
namespace cpu {
std::shared_ptr<Device> make_device();
std::shared_ptr<Device> make_device(int threads);
}  // namespace cpu
#endif
namespace null_device {
std::shared_ptr<Device> make_device();
}
}  // namespace mpsnn::backend

namespace mpsnn {
namespace {

using Choose = std::shared_ptr<backend::Device>(const std::string& name, bool low_power);

struct BuiltIn {
  std::string_view kind;
  std::shared_ptr<backend::Device> (*make)();
  bool chosen_unasked;
  /// Null: there is never more than one. It throws where no device is as wanted.
  Choose* choose = nullptr;
  /// A device whose kernels run on so many of the host's threads. Null: they run on none of them.
  std::shared_ptr<backend::Device> (*limit)(int threads) = nullptr;
};

/// In the order in which Device("") takes them.
constexpr auto kBuiltIns = std::to_array<BuiltIn>({
#ifdef MPSNN_WITH_METAL
    {"metal", &backend::metal::make_device, true, &backend::metal::make_device},
#endif
#ifdef MPSNN_WITH_CUDA
    {"cuda", &backend::cuda::make_device, true},
#endif
#ifdef MPSNN_WITH_CPU
    {"cpu", &backend::cpu::make_device, true, nullptr, &backend::cpu::make_device},
#endif
#ifdef MPSNN_WITH_METAL_DOUBLE
    {"metal-double", &backend::metal::make_device, false, &backend::metal::make_device},
#endif
    {"null", &backend::null_device::make_device, false},
});

/// One state a device and process, made at the first use and kept.
class Registry {
 public:
  static Registry& instance() {
    static Registry registry;
    return registry;
  }

  /// Null where this machine has no such device.
  std::shared_ptr<runtime::DeviceState> get(std::size_t built_in) {
    const std::lock_guard lock(mutex_);
    std::optional<std::shared_ptr<runtime::DeviceState>>& state = states_[built_in];
    if (!state) {
      std::shared_ptr<backend::Device> device = kBuiltIns[built_in].make();
      state = device ? std::make_shared<runtime::DeviceState>(std::move(device)) : nullptr;
    }
    return *state;
  }

  /// The device of a kind that is wanted; that of `get` where it is the same. Null as above.
  std::shared_ptr<runtime::DeviceState> get(std::size_t built_in, const DeviceChoice& choice) {
    auto state = get(built_in);
    if (!state) return state;
    const BuiltIn& kind = kBuiltIns[built_in];
    check_threads(kind, choice.threads);
    std::shared_ptr<backend::Device> device;
    if (kind.choose != nullptr && (!choice.name.empty() || choice.low_power)) {
      device = kind.choose(choice.name, choice.low_power);
    } else if (kind.choose == nullptr) {
      check_only(*state, choice);
      if (choice.threads != 0) device = kind.limit(choice.threads);
    }
    if (!device || device->info().name == state->backend->info().name) return state;
    const std::lock_guard lock(mutex_);
    const std::string name = device->info().name;
    auto& other = others_[{built_in, name}];
    if (!other) other = std::make_shared<runtime::DeviceState>(std::move(device), name);
    return other;
  }

 private:
  static void check_only(const runtime::DeviceState& state, const DeviceChoice& choice) {
    const std::string& name = state.backend->info().name;
    if (choice.low_power) {
      throw_expected("Device: low_power",
                     str("false, as device \"", state.kind(), "\" is the only one of its kind"),
                     "true");
    }
    if (!choice.name.empty() && choice.name != name)
      throw_expected("Device: name", str('"', name, '"'), str('"', choice.name, '"'));
  }

  static void check_threads(const BuiltIn& kind, int threads) {
    if (threads == 0) return;
    if (kind.limit == nullptr) {
      throw_expected("Device: threads",
                     str("0, as device \"", kind.kind, "\" runs no kernels on the host's threads"),
                     std::to_string(threads));
    }
    if (threads < 0) throw_expected("Device: threads", "0 or more", std::to_string(threads));
  }

  std::mutex mutex_;
  std::array<std::optional<std::shared_ptr<runtime::DeviceState>>, kBuiltIns.size()> states_;
  std::map<std::pair<std::size_t, std::string>, std::shared_ptr<runtime::DeviceState>> others_;
};

/// The kind that the environment names for programs that name none; empty: none.
std::string kind_of_environment() {
  const char* kind = std::getenv("MPSNN_DEVICE");
  return kind != nullptr ? kind : "";
}

std::shared_ptr<runtime::DeviceState> find_device(const std::string& named,
                                                  const DeviceChoice& choice) {
  const std::string kind = named.empty() ? kind_of_environment() : named;
  for (std::size_t i = 0; i < kBuiltIns.size(); ++i) {
    if (kind.empty() ? !kBuiltIns[i].chosen_unasked : kind != kBuiltIns[i].kind) continue;
    if (auto state = Registry::instance().get(i, choice)) return state;
  }
  std::string there;
  for (const std::string& one : Device::available())
    there += (there.empty() ? "\"" : ", \"") + one + "\"";
  const std::string where = named.empty() && !kind.empty() ? " by MPSNN_DEVICE" : "";
  throw InvalidArgumentError("Device: kind: expected one of " + there + ", got \"" + kind + "\"" +
                             where);
}

}  // namespace

namespace runtime {

DeviceState::DeviceState(std::shared_ptr<backend::Device> with, std::string own_name)
    : backend(std::move(with)),
      allocator(backend),
      chooser(*backend),
      predicate_slots(std::make_shared<PredicateSlots>()),
      own_name_(std::move(own_name)) {}

void DeviceState::add_queue(const std::shared_ptr<QueueState>& queue) {
  const std::lock_guard lock(queues_mutex_);
  std::erase_if(queues_, [](const auto& one) { return one.expired(); });
  queues_.push_back(queue);
}

void DeviceState::add_leftover(Leftover leftover) noexcept {
  const std::lock_guard lock(queues_mutex_);
  try {
    std::erase_if(leftovers_, [](const Leftover& one) {
      return one.last->state() == PieceState::FINISHED && one.failures->is_empty();
    });
    leftovers_.push_back(std::move(leftover));
  } catch (const std::bad_alloc&) {
    return;  // its work runs all the same; only `synchronize` does not wait for it
  }
}

std::vector<DeviceState::Leftover> DeviceState::leftovers() {
  const std::lock_guard lock(queues_mutex_);
  return leftovers_;
}

std::vector<std::shared_ptr<QueueState>> DeviceState::queues() {
  std::vector<std::shared_ptr<QueueState>> alive;
  const std::lock_guard lock(queues_mutex_);
  for (const auto& one : queues_) {
    if (auto queue = one.lock()) alive.push_back(std::move(queue));
  }
  return alive;
}

}  // namespace runtime

Device::Device(const std::string& kind) : Device(kind, DeviceChoice{}) {}
Device::Device(const std::string& kind, const DeviceChoice& choice)
    : state_(find_device(kind, choice)) {}

std::vector<std::string> Device::available() {
  std::vector<std::string> kinds;
  for (std::size_t i = 0; i < kBuiltIns.size(); ++i) {
    if (Registry::instance().get(i)) kinds.emplace_back(kBuiltIns[i].kind);
  }
  return kinds;
}

std::string Device::kind() const { return state_->kind(); }
std::string Device::name() const { return state_->backend->info().name; }
int Device::threads() const { return state_->backend->info().threads; }
CommandQueue Device::command_queue(const std::string& label) const {
  return CommandQueue(*this, label);
}
MemoryStats Device::memory_stats() const {
  MemoryStats stats = state_->allocator.statistics();
  for (const auto& queue : state_->queues()) stats.queues.push_back(queue->statistics());
  return stats;
}

void Device::trim() const { state_->allocator.trim(); }

void Device::shut_down() const {
  for (const auto& queue : state_->queues()) queue->life->close();
  synchronize();
}

void Device::synchronize() const {
  const runtime::HostSpan span(SpanKind::WAIT, "synchronize", state_->kind());
  const auto queues = state_->queues();
  const auto leftovers = state_->leftovers();
  // What the program holds back is as good as not committed.
  const auto wait_for = [](const std::shared_ptr<runtime::Piece>& last) {
    if (last && !last->is_held_back()) last->wait(runtime::PieceState::FINISHED);
  };
  for (const auto& queue : queues) wait_for(queue->last_piece());
  for (const auto& leftover : leftovers) wait_for(leftover.last);
  for (const auto& queue : queues) queue->failures->rethrow_first_untold();
  for (const auto& leftover : leftovers) leftover.failures->rethrow_first_untold();
}

}  // namespace mpsnn
