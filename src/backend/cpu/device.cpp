// SPDX-License-Identifier: MIT
#include "backend/cpu/device.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <thread>

#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "backend/cpu/kernels.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "backend/host/host_queue.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

constexpr std::size_t kAlignment = 128;  // two cache lines: what adjacent-line prefetch takes
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kHugeFrom = std::size_t{4} << 20;  // below, half a huge page could be wasted

#if defined(__APPLE__)
std::string sysctl_text(const char* name) {
  std::size_t bytes = 0;
  if (sysctlbyname(name, nullptr, &bytes, nullptr, 0) != 0 || bytes == 0) return "";
  std::string text(bytes, '\0');
  if (sysctlbyname(name, text.data(), &bytes, nullptr, 0) != 0) return "";
  return text.c_str();
}
#endif

std::string processor_name() {
#if defined(__APPLE__)
  const std::string name = sysctl_text("machdep.cpu.brand_string");
  if (!name.empty()) return name;
#else
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
#endif
  return "CPU";
}

std::size_t physical_memory() {
#if defined(__APPLE__)
  std::uint64_t bytes = 0;
  std::size_t size = sizeof(bytes);
  return sysctlbyname("hw.memsize", &bytes, &size, nullptr, 0) == 0 ? bytes : 0;
#elif defined(_SC_PHYS_PAGES)
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<std::size_t>(pages) * static_cast<std::size_t>(page)
                               : 0;
#else
  return 0;
#endif
}

struct Free {
  void operator()(void* memory) const noexcept { std::free(memory); }
};

class HostMemory final : public Memory {
 public:
  explicit HostMemory(std::size_t bytes) : bytes_(bytes) {
    const std::size_t alignment = bytes >= kHugeFrom ? kHugePage : kAlignment;
    if (bytes <= std::numeric_limits<std::size_t>::max() - alignment) {
      const std::size_t rounded =
          (std::max<std::size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
      memory_.reset(std::aligned_alloc(alignment, rounded));
#if defined(__linux__) && defined(MADV_HUGEPAGE)
      // Advice only: a kernel without huge pages refuses it and the memory is as good.
      if (memory_ && alignment == kHugePage)
        static_cast<void>(madvise(memory_.get(), rounded, MADV_HUGEPAGE));
#endif
    }
    if (!memory_) throw OutOfMemoryError(str("the host has no ", bytes, " bytes of memory left"));
  }
  void* device_pointer() const noexcept override { return memory_.get(); }
  void* host_pointer() const noexcept override { return memory_.get(); }
  std::size_t bytes() const noexcept override { return bytes_; }

 private:
  std::size_t bytes_;
  std::unique_ptr<void, Free> memory_;
};

void check_range(const Memory& memory, std::size_t offset, std::size_t bytes) {
  if (offset <= memory.bytes() && bytes <= memory.bytes() - offset) return;
  check_internal(
      false, str("a copy of ", bytes, " bytes at ", offset, " stays inside of ", memory.bytes()));
}

class CpuDevice final : public Device {
 public:
  /// 0: all threads.
  explicit CpuDevice(int limit) {
    const int threads = limit == 0 ? all_threads() : limit;
    info_.threads = threads;
    info_.limits_threads = limit != 0;
    info_.kind = "cpu";
    info_.name = str(processor_name(), ", ", threads, threads == 1 ? " thread, " : " threads, ",
                     name_of_instructions());
    info_.memory_bytes = physical_memory();
    info_.unified_memory = true;
  }
  const DeviceInfo& info() const noexcept override { return info_; }
  std::unique_ptr<Memory> allocate(std::size_t bytes) override {
    return std::make_unique<HostMemory>(bytes);
  }
  void write(Memory& to, std::size_t offset, const void* from, std::size_t bytes) override {
    check_range(to, offset, bytes);
    if (bytes != 0) std::memcpy(static_cast<std::byte*>(to.host_pointer()) + offset, from, bytes);
  }
  void read(const Memory& from, std::size_t offset, void* to, std::size_t bytes) override {
    check_range(from, offset, bytes);
    if (bytes != 0)
      std::memcpy(to, static_cast<const std::byte*>(from.host_pointer()) + offset, bytes);
  }
  std::unique_ptr<Queue> make_queue(const std::string& label) override {
    return host::make_queue(label);
  }
  std::span<const KernelRow> kernels() const noexcept override { return kernel_rows(); }

 private:
  DeviceInfo info_;
};

}  // namespace

int all_threads() {
  static const int found = [] {
    int threads = 1;
    std::thread([&] { threads = thread_count(); }).join();
    return threads;
  }();
  return found;
}

std::shared_ptr<backend::Device> make_device() { return std::make_shared<CpuDevice>(0); }

std::shared_ptr<backend::Device> make_device(int threads) {
  if (threads > all_threads()) {
    throw_expected("Device: threads", str("1 to ", all_threads(), ", all that OpenMP has"),
                   std::to_string(threads));
  }
  return std::make_shared<CpuDevice>(threads);
}

}  // namespace mpsnn::backend::cpu
