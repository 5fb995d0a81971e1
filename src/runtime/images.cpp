// SPDX-License-Identifier: MIT
#include <limits>

#include "mpsnn/error.h"
#include "runtime/image_state.h"
#include "runtime/trace_recorder.h"

namespace mpsnn {
namespace {

using runtime::ImageState;

/// Memory of the caller's.
class WrappedMemory final : public backend::Memory {
 public:
  WrappedMemory(void* data, std::size_t bytes, std::shared_ptr<void> owner)
      : data_(data), bytes_(bytes), owner_(std::move(owner)) {}
  void* device_pointer() const noexcept override { return data_; }
  void* host_pointer() const noexcept override { return data_; }
  std::size_t bytes() const noexcept override { return bytes_; }

 private:
  void* data_;
  std::size_t bytes_;
  std::shared_ptr<void> owner_;
};

std::shared_ptr<ImageState> make_image(const Device& device, ImageSize size, DataType format) {
  const std::size_t bytes = runtime::checked_bytes(size, format);
  const auto& state = device.state();
  return std::make_shared<ImageState>(ImageState{.device = state,
                                                 .size = size,
                                                 .format = format,
                                                 .memory = state->allocator.allocate(bytes),
                                                 .label = {}});
}

/// Waits for the work that makes the image.
void wait_for_maker(const ImageState& image) {
  std::shared_ptr<runtime::Piece> maker;
  {
    const std::lock_guard lock(image.device->usage_mutex);
    maker = image.usage.writer;
  }
  if (!maker) return;
  if (maker->state() < runtime::PieceState::COMMITTED) {
    throw StateError(image.title() +
                     ": read: expected an image that was made, got one whose command buffer \"" +
                     maker->label() + "\" was not committed");
  }
  if (!maker->is_executed()) {
    const runtime::HostSpan span(SpanKind::WAIT, image.title() + ": read", maker->label());
    maker->wait(runtime::PieceState::EXECUTED);
  }
  if (const auto failure = maker->failure()) failure->rethrow();
}

/// Waits for committed work that reads or makes the image; how that ended does not matter.
void wait_for_users(const ImageState& image) {
  std::vector<std::shared_ptr<runtime::Piece>> users;
  {
    const std::lock_guard lock(image.device->usage_mutex);
    image.usage.collect(true, users);
  }
  for (const auto& user : users) user->wait(runtime::PieceState::EXECUTED);
}

void check_count(const ImageState& image, const char* what, const void* pointer,
                 std::size_t bytes) {
  if (pointer != nullptr && bytes == image.bytes()) return;
  throw InvalidArgumentError(image.title() + ": " + what + ": expected " +
                             std::to_string(image.bytes()) + " bytes, got " +
                             (pointer ? std::to_string(bytes) : "a null pointer"));
}

}  // namespace

std::size_t runtime::checked_bytes(const ImageSize& size, DataType format) {
  auto bytes = static_cast<std::int64_t>(size_of(format));
  for (const std::int64_t extent : {size.n, size.height, size.width, size.channels}) {
    if (extent < 1 || __builtin_mul_overflow(bytes, extent, &bytes)) {
      throw InvalidArgumentError(
          "Image: size: expected (N, H, W, C), each at least 1, that fits in memory, got " +
          to_string(size));
    }
  }
  return static_cast<std::size_t>(bytes);
}

Image::Image(const Device& device, ImageSize size, DataType format)
    : state_(make_image(device, size, format)) {
  runtime::fill_zeros(*state_->device->backend, *state_->memory, state_->bytes());
}

Image::Image(const Device& device, ImageSize size, DataType format, const void* data)
    : state_(make_image(device, size, format)) {
  write(data, state_->bytes());
}

Image Image::wrap(const Device& device, ImageSize size, DataType format, void* data,
                  std::shared_ptr<void> owner) {
  const std::size_t bytes = runtime::checked_bytes(size, format);
  if (data == nullptr)
    throw InvalidArgumentError("Image: wrap: expected the caller's memory, got a null pointer");
  if (!device.state()->backend->info().wraps_host_memory) {
    throw UnsupportedError("Image: wrap: device \"" + device.kind() +
                           "\" cannot use the caller's memory");
  }
  return Image(std::make_shared<ImageState>(
      ImageState{.device = device.state(),
                 .size = size,
                 .format = format,
                 .memory = std::make_shared<WrappedMemory>(data, bytes, std::move(owner)),
                 .label = {}}));
}

const ImageSize& Image::size() const { return state_->size; }
DataType Image::format() const { return state_->format; }
Device Image::device() const { return Device(state_->device); }
const std::string& Image::label() const { return state_->label; }
void Image::set_label(std::string label) { state_->label = std::move(label); }
std::size_t Image::bytes() const { return state_->bytes(); }

void Image::read(void* to, std::size_t bytes) const {
  check_count(*state_, "read", to, bytes);
  wait_for_maker(*state_);
  state_->device->backend->read(*state_->memory, 0, to, bytes);
}

void Image::write(const void* from, std::size_t bytes) const {
  check_count(*state_, "write", from, bytes);
  wait_for_users(*state_);
  state_->device->backend->write(*state_->memory, 0, from, bytes);
  const std::lock_guard lock(state_->device->usage_mutex);
  // The contents are the host's now, unless work that was recorded but not committed will replace
  // them.
  const auto& writer = state_->usage.writer;
  if (writer && writer->state() != runtime::PieceState::RECORDING) state_->usage.writer = nullptr;
}

void* Image::data() const {
  wait_for_maker(*state_);
  return state_->memory->host_pointer();
}

}  // namespace mpsnn
