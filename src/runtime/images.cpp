// SPDX-License-Identifier: MIT
#include <bit>
#include <cstdint>
#include <limits>

#include "mpsnn/error.h"
#include "runtime/image_state.h"

namespace mpsnn {
namespace {

using runtime::ImageState;

std::shared_ptr<ImageState> make_image(const Device& device, ImageSize size, DataType format) {
  const std::size_t bytes = runtime::checked_bytes(size, format);
  const auto& state = device.state();
  return std::make_shared<ImageState>(state, size, format, state->allocator.allocate(bytes));
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
  if (std::bit_cast<std::uintptr_t>(data) % size_of(format) != 0) {
    throw InvalidArgumentError("Image: wrap: data: expected memory at a multiple of " +
                               std::to_string(size_of(format)) + " bytes, got another address");
  }
  const auto& state = device.state();
  return Image(std::make_shared<ImageState>(
      state, size, format, runtime::wrap_memory(*state, "Image", data, bytes, std::move(owner))));
}

const ImageSize& Image::size() const { return state_->size; }
DataType Image::format() const { return state_->format; }
Device Image::device() const { return Device(state_->device); }
const std::string& Image::label() const { return state_->label; }
void Image::set_label(std::string label) { state_->label = std::move(label); }
std::size_t Image::bytes() const { return state_->bytes(); }

void Image::read(void* to, std::size_t bytes) const {
  check_count(*state_, "read", to, bytes);
  runtime::wait_for_maker(*state_);
  state_->device->backend->read(*state_->memory, 0, to, bytes);
}

void Image::write(const void* from, std::size_t bytes) const {
  check_count(*state_, "write", from, bytes);
  runtime::wait_for_users(*state_);
  state_->device->backend->write(*state_->memory, 0, from, bytes);
  runtime::take_over(*state_);
}

void* Image::data() const {
  runtime::wait_for_maker(*state_);
  return state_->memory->host_pointer();
}

}  // namespace mpsnn
