// SPDX-License-Identifier: MIT
// Images: contents, waiting reads, lifetimes; devices by name.
#include <cstdlib>
#include <cstring>

#include "mpsnn/array.h"
#include "mpsnn/buffer.h"
#include "mpsnn/error.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;

namespace {

std::vector<float> read(const Image& image) {
  std::vector<float> values(static_cast<std::size_t>(image.size().count()));
  image.read(values.data(), image.bytes());
  return values;
}

/// Encodes SmallNet's graph and gives its result.
Image encode(const Graph& graph, CommandBuffer& commands, const Image& source) {
  return *graph.encode(commands, {{"in", source}}).results.at(0);
}

}  // namespace

TEST_CASE("devices: one state a kind; unknown kinds are refused with those there are") {
  CHECK(Device("null") == Device("null"));
  CHECK_EQ(Device("null").kind(), "null");
  CHECK(!Device("null").name().empty());
  CHECK_THROWS_CONTAINS(Device("gameboy"), InvalidArgumentError, "\"null\"");
  CHECK_THROWS_CONTAINS(Device("gameboy"), InvalidArgumentError, "\"gameboy\"");
  const std::vector<std::string> kinds = Device::available();
  CHECK(std::find(kinds.begin(), kinds.end(), "null") != kinds.end());
  if (kinds.front() == "null") {
    CHECK_THROWS_AS(Device(), InvalidArgumentError);  // nothing that computes: never chosen unasked
  } else if (std::getenv("MPSNN_DEVICE") == nullptr) {
    CHECK_EQ(Device().kind(), kinds.front());
  }
}

TEST_CASE("devices: the environment names one for programs that name none") {
  const char* before = std::getenv("MPSNN_DEVICE");
  const std::string kept = before != nullptr ? before : "";
  setenv("MPSNN_DEVICE", "null", 1);
  CHECK_EQ(Device().kind(), "null");
  setenv("MPSNN_DEVICE", "gameboy", 1);
  CHECK_THROWS_CONTAINS(Device(), InvalidArgumentError, "got \"gameboy\" by MPSNN_DEVICE");
  CHECK_EQ(Device("null").kind(), "null");
  if (before == nullptr) {
    unsetenv("MPSNN_DEVICE");
  } else {
    setenv("MPSNN_DEVICE", kept.c_str(), 1);
  }
}

TEST_CASE("images: zeros, copies, writes, labels") {
  const Rig rig;
  CHECK_EQ(read(Image(rig.device, {1, 1, 2, 2})), (std::vector<float>(4, 0.0F)));
  std::vector<float> values = {1, 2, 3, 4};
  Image image(rig.device, {1, 1, 2, 2}, DataType::FLOAT32, values.data());
  values[0] = 9;
  CHECK_EQ(read(image), (std::vector<float>{1, 2, 3, 4}));
  image.write(values.data(), image.bytes());
  CHECK_EQ(read(image)[0], 9.0F);
  image.set_label("noisy");
  CHECK_EQ(Image(image).label(), "noisy");
  CHECK_EQ(image.bytes(), 16U);
  CHECK(image.device() == rig.device);
  CHECK_EQ(static_cast<float*>(image.data())[3], 4.0F);
}

TEST_CASE("images: reused memory is zeroed again") {
  const Rig rig;
  const std::vector<float> ones(16, 1.0F);
  Image(rig.device, {1, 2, 2, 4}, DataType::FLOAT32, ones.data());
  CHECK(rig.device.memory_stats().cached > 0);
  CHECK_EQ(read(Image(rig.device, {1, 2, 2, 4})), std::vector<float>(16, 0.0F));
}

TEST_CASE("images: wrapped memory is shared and its owner kept") {
  const Rig rig;
  auto owner = std::make_shared<std::vector<float>>(4, 2.0F);
  {
    const Image image =
        Image::wrap(rig.device, {1, 1, 1, 4}, DataType::FLOAT32, owner->data(), owner);
    CHECK_EQ(owner.use_count(), 2);
    (*owner)[1] = 5.0F;
    CHECK_EQ(read(image)[1], 5.0F);
    CHECK_EQ(image.data(), static_cast<void*>(owner->data()));
  }
  CHECK_EQ(owner.use_count(), 1);
  auto* odd = reinterpret_cast<std::byte*>(owner->data()) + 2;
  CHECK_THROWS_CONTAINS(Image::wrap(rig.device, {1, 1, 1, 3}, DataType::FLOAT32, odd, owner),
                        InvalidArgumentError, "a multiple of 4 bytes");
  CHECK_EQ(Image::wrap(rig.device, {1, 1, 1, 3}, DataType::FLOAT16, odd, owner).bytes(), 6U);
  CHECK_THROWS_AS(Image::wrap(rig.device, {1, 1, 1, 4}, DataType::FLOAT32, nullptr, nullptr),
                  InvalidArgumentError);
}

TEST_CASE("buffers: wrapped memory may lie anywhere, elements in it only where they are aligned") {
  const Rig rig;
  auto owner = std::make_shared<std::vector<float>>(8);
  void* odd = reinterpret_cast<std::byte*>(owner->data()) + 2;
  const Buffer buffer = Buffer::wrap(rig.device, odd, 16, owner);
  CHECK_EQ(buffer.data(), odd);
  CHECK_THROWS_CONTAINS(Matrix(buffer, MatrixDescriptor{.rows = 1, .columns = 3}),
                        InvalidArgumentError,
                        "Matrix: buffer: expected memory at a multiple of 4 bytes");
  CHECK_THROWS_CONTAINS(Vector(buffer, VectorDescriptor{.length = 3}), InvalidArgumentError,
                        "Vector: buffer: expected memory at a multiple of 4 bytes");
  CHECK_THROWS_CONTAINS(NDArray(buffer, NDArrayDescriptor{.shape = {3}}), InvalidArgumentError,
                        "NDArray: buffer: expected memory at a multiple of 4 bytes");
  CHECK_THROWS_CONTAINS(Predicate(buffer, 4), InvalidArgumentError,
                        "Predicate: buffer: expected memory at a multiple of 4 bytes");
  const Vector halves(buffer, VectorDescriptor{.length = 8, .data_type = DataType::FLOAT16});
  CHECK_EQ(halves.bytes(), 16U);
}

TEST_CASE("images: bad sizes and counts") {
  const Rig rig;
  CHECK_THROWS_CONTAINS(Image(rig.device, {1, 0, 2, 3}), InvalidArgumentError, "(1, 0, 2, 3)");
  CHECK_THROWS_AS(Image(rig.device, {1, -4, 2, 3}), InvalidArgumentError);
  const std::int64_t huge = std::int64_t{1} << 40;
  CHECK_THROWS_AS(Image(rig.device, {huge, huge, 1, 1}), InvalidArgumentError);
  CHECK_THROWS_AS(Image(rig.device, {1, huge, 1 << 18, 1}), OutOfMemoryError);
  const Image image(rig.device, {1, 1, 1, 4});
  float values[4] = {};
  CHECK_THROWS_CONTAINS(image.read(values, 12), InvalidArgumentError, "expected 16 bytes, got 12");
  CHECK_THROWS_AS(image.write(values, 20), InvalidArgumentError);
  CHECK_THROWS_AS(image.read(nullptr, 16), InvalidArgumentError);
  CHECK_THROWS_AS(Image(rig.device, {1, 1, 1, 4}, DataType::FLOAT32, nullptr),
                  InvalidArgumentError);
}

TEST_CASE("images: a result waits for the work that makes it") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const Graph graph = SmallNet().graph(rig.device);
  CommandBuffer commands(queue, "step");
  const Image result = encode(graph, commands, input(rig.device));
  CHECK_EQ(result.size(), (ImageSize{1, 8, 8, 2}));
  CHECK_THROWS_CONTAINS(read(result), StateError, "\"step\" was not committed");
  CHECK_THROWS_AS(result.data(), StateError);
  commands.commit();
  CHECK_EQ(read(result).size(), 128U);
  CHECK_EQ(commands.status(), CommandBufferStatus::COMPLETED);
  CHECK_EQ(rig.labels().size(), 2U);
}

TEST_CASE("images: a result whose work was dropped or failed") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const Graph graph = SmallNet().graph(rig.device);
  auto dropped = std::make_unique<CommandBuffer>(queue, "dropped");
  const Image never = encode(graph, *dropped, input(rig.device));
  dropped.reset();
  CHECK_THROWS_AS(read(never), StateError);
  CommandBuffer user(queue);
  CHECK_THROWS_CONTAINS(graph.encode(user, {{"in", never}}), StateError,
                        "\"dropped\" was never committed");

  rig.null->fail_command(1, std::make_exception_ptr(std::runtime_error("broken kernel")));
  CommandBuffer failing(queue, "failing");
  const Image failed = encode(graph, failing, input(rig.device));
  failing.commit();
  CHECK_THROWS_CONTAINS(read(failed), DeviceError, "\"second\": broken kernel");
  CHECK_THROWS_CONTAINS(failing.wait_until_completed(), DeviceError, "\"second\"");
  queue.wait_until_idle();  // told already

  CommandBuffer next(queue);
  const Image fine = encode(graph, next, input(rig.device));
  next.commit();
  CHECK_EQ(read(fine).size(), 128U);
}

TEST_CASE("images: the n-th command fails, the rest of its buffer is not run") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const Graph graph = SmallNet().graph(rig.device);
  for (std::size_t n = 0; n < 4; ++n) {
    rig.null->clear_commands();
    rig.null->fail_command(n, std::make_exception_ptr(DeviceError("boom")));
    CommandBuffer commands(queue);
    encode(graph, commands, input(rig.device));
    commands.commit_and_continue();
    const Image second = encode(graph, commands, input(rig.device));
    commands.commit();
    CHECK_THROWS_CONTAINS(commands.wait_until_completed(), DeviceError,
                          n % 2 == 0 ? "\"first\"" : "\"second\"");
    CHECK_THROWS_AS(read(second), DeviceError);
    CHECK_EQ(rig.labels().size(), n);
  }
}

TEST_CASE("images: sources live until the work that reads them is done") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const Graph graph = SmallNet().graph(rig.device);
  auto owner = std::make_shared<std::vector<float>>(8 * 8 * 3);
  Gate gate;
  CommandBuffer commands(queue);
  commands.encode_host_function("gate", [&] { gate.pass(); });
  {
    const Image source =
        Image::wrap(rig.device, {1, 8, 8, 3}, DataType::FLOAT32, owner->data(), owner);
    encode(graph, commands, source);
  }
  commands.commit();
  CHECK_EQ(owner.use_count(), 2);
  gate.open();
  commands.wait_until_completed();
  CHECK_EQ(owner.use_count(), 1);
}

TEST_CASE("images: a write waits for committed work that reads") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const Graph graph = SmallNet().graph(rig.device);
  const Image source = input(rig.device);
  const std::vector<float> ones(8 * 8 * 3, 1.0F);
  CommandBuffer commands(queue);
  encode(graph, commands, source);
  source.write(ones.data(), source.bytes());  // recorded only: does not wait
  commands.commit();
  source.write(ones.data(), source.bytes());
  CHECK_EQ(rig.labels().size(), 2U);
}

TEST_CASE(
    "images: one made by a buffer that is committed later is refused at commit, which can be "
    "repeated") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const ImageNode node("in");
  const Graph relu(rig.device, {NeuronReLUNode(node).result_image()});
  CommandBuffer maker(queue, "maker"), user(queue, "user");
  const Image between = encode(relu, maker, input(rig.device));
  const Image result = encode(relu, user, between);
  CHECK_THROWS_CONTAINS(user.commit(), StateError, "\"maker\", which was not committed");
  maker.commit();
  user.commit();
  CHECK_EQ(read(result).size(), 192U);

  auto dropped = std::make_unique<CommandBuffer>(queue, "dropped");
  const Image never = encode(relu, *dropped, input(rig.device));
  dropped.reset();
  CommandBuffer late(queue);
  CHECK_THROWS_CONTAINS(encode(relu, late, never), StateError, "never committed");
}

TEST_CASE("images: work on an image whose making failed is refused") {
  const Rig rig;
  const CommandQueue queue(rig.device), other(rig.device);
  const Graph relu(rig.device, {NeuronReLUNode(ImageNode("in")).result_image()});
  rig.null->fail_command(0, std::make_exception_ptr(DeviceError("boom")));
  CommandBuffer maker(queue), same(queue), across(other);
  const Image broken = encode(relu, maker, input(rig.device));
  const Image one = encode(relu, same, broken), two = encode(relu, across, broken);
  maker.commit();
  same.commit();
  across.commit();
  CHECK_THROWS_CONTAINS(read(one), DeviceError, "boom");
  CHECK_THROWS_CONTAINS(read(two), DeviceError, "boom");
  CHECK(rig.labels().empty());
}

TEST_CASE("images: work of another queue is waited for") {
  const Rig rig;
  const CommandQueue one(rig.device), two(rig.device);
  const Graph relu(rig.device, {NeuronReLUNode(ImageNode("in")).result_image()});
  Gate gate;
  CommandBuffer maker(one), user(two);
  maker.encode_host_function("gate", [&] { gate.pass(); });
  const Image between = encode(relu, maker, input(rig.device));
  const Image result = encode(relu, user, between);
  maker.commit();
  user.commit();
  gate.wait_for_arrival();
  CHECK(rig.labels().empty());
  gate.open();
  read(result);
  CHECK_EQ(rig.labels().size(), 2U);
}
