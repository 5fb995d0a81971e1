// SPDX-License-Identifier: MIT
// Dropout: a new mask at each encode, the same for forward and gradient filter. Apple does not say
// what its generator is: masks are as the library documents them.
#include "double.h"
#include "philox.h"

namespace {

struct DropoutRule {
  float keep;
  std::uint64_t seed;
  bool shares_x, shares_y, shares_channels;
};

/// What an element is multiplied by.
class Mask {
 public:
  Mask(const DropoutRule& rule, std::uint64_t step, const metal_double::Pixels& like)
      : rule_(rule),
        step_(step),
        height_(rule.shares_y ? 1 : like.height),
        width_(rule.shares_x ? 1 : like.width),
        channels_(rule.shares_channels ? 1 : like.channels) {}
  double at(std::size_t n, int y, int x, int c) const {
    const int row = rule_.shares_y ? 0 : y, column = rule_.shares_x ? 0 : x;
    const int channel = rule_.shares_channels ? 0 : c;
    const auto image = static_cast<std::uint64_t>(height_ * width_ * channels_);
    const std::uint64_t i =
        n * image + static_cast<std::uint64_t>((row * width_ + column) * channels_ + channel);
    const auto keep = static_cast<double>(rule_.keep);
    return static_cast<double>(word(i) >> 9) * 0x1p-23 < keep ? 1 / keep : 0;
  }

 private:
  std::uint32_t word(std::uint64_t i) const {
    const auto low = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
    const std::uint64_t block = i / 4;
    return philox({low(step_), low(step_ >> 32), low(block >> 32), low(block)}, low(rule_.seed),
                  low(rule_.seed >> 32))[i % 4];
  }
  DropoutRule rule_;
  std::uint64_t step_;
  int height_, width_, channels_;
};

class Dropout final : public DoubleFilter {
 public:
  explicit Dropout(const DropoutRule& rule) : rule_(rule) {}
  void load() override {}
  metal_double::Shape shape(const DoubleNode&, const metal_double::Pixels& source) override {
    return {source.height, source.width, source.channels};
  }
  void run(const FilterRun& run, const Batch& from, const Batch& to) override {
    step_ = next_++;
    apply(run.commands, from, to);
  }
  void gradient(const FilterRun& run, const Batch& given, const Batch&, const Batch& to,
                bool) override {
    apply(run.commands, given, to);
  }

 private:
  void apply(id<MTLCommandBuffer> commands, const Batch& from, const Batch& to) const {
    const Mask mask(rule_, step_, *from[0]);
    record_each(commands, to.size(), [=](std::size_t n) {
      metal_double::each(*to[n], [&](int y, int x, int c) {
        to[n]->set(y, x, c, static_cast<double>(from[n]->at(y, x, c)) * mask.at(n, y, x, c));
      });
    });
  }

  const DropoutRule rule_;
  std::uint64_t step_ = 0, next_ = 0;
};

}  // namespace

@implementation MPSCNNDropoutNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source
               keepProbability:(float)keepProbability
                          seed:(NSUInteger)seed
            maskStrideInPixels:(MTLSize)maskStrideInPixels {
  const MTLSize stride = maskStrideInPixels;
  if (!(keepProbability > 0 && keepProbability < 1))
    refuse("MPSCNNDropoutNode", "keepProbability is above 0 and below 1");
  if (stride.width > 1 || stride.height > 1 || stride.depth > 1)
    refuse("MPSCNNDropoutNode", "strides of a mask are 0 or 1");
  auto* made = static_cast<MPSCNNDropoutNode*>(
      fill_node([[[self alloc] init] autorelease], DoubleKind::FILTER, {source}));
  const DropoutRule rule = {keepProbability, seed, stride.width == 0, stride.height == 0,
                            stride.depth == 0};
  node_of(made)->make_filter = [rule] { return std::make_shared<Dropout>(rule); };
  node_of(made)->gradient_class = [MPSCNNDropoutGradientNode class];
  return made;
}
@end
@implementation MPSCNNDropoutGradientNode
@end
