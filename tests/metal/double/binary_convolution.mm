// SPDX-License-Identifier: MIT
// Binary convolutions: weights of one bit, 32 channels a word, read once when the graph is made.
#include <cmath>

#include "double.h"

using metal_double::Origin;
using metal_double::Pixels;
using metal_double::Window;

namespace {

/// What the node was made with. Lists may be empty.
struct BinaryRule {
  Ref<id<MPSCNNConvolutionDataSource>> source;
  std::vector<float> output_bias, output_scale, input_bias, input_scale;
  bool takes_bias;  // of the data source
  MPSCNNBinaryConvolutionType type;
  bool scales_by_beta;
};

float value_of(const std::vector<float>& list, int i, float otherwise) {
  return list.empty() ? otherwise : list[static_cast<std::size_t>(i)];
}

class BinaryConvolution final : public DoubleFilter {
 public:
  explicit BinaryConvolution(BinaryRule rule);
  /// It has no reloadWeights: what was read stays.
  void load() override {}
  metal_double::Shape shape(const DoubleNode& node, const Pixels& source) override;
  void run(const FilterRun& run, const Batch& from, const Batch& to) override;
  void gradient(const FilterRun&, const Batch&, const Batch&, const Batch&, bool) override {
    refuse("MPSCNNBinaryConvolution", "it has no gradient");
  }

 private:
  bool bit(int o, int i, int j, int c) const {
    const int words = (inputs_ + 31) / 32;
    const int at = ((o * window_.kernel_y + i) * window_.kernel_x + j) * words + c / 32;
    return (words_[static_cast<std::size_t>(at)] >> (c % 32) & 1U) != 0;
  }
  double read(const Pixels& from, int y, int x, int c) const;
  double product(double in, bool weight) const;
  void convolve(const Pixels& from, const Window& w, Origin origin, Pixels& to) const;

  BinaryRule rule_;
  Window window_;
  int inputs_ = 0, outputs_ = 0;
  metal_double::Neuron neuron_;
  std::vector<std::uint32_t> words_;
};

BinaryConvolution::BinaryConvolution(BinaryRule rule) : rule_(std::move(rule)) {
  id<MPSCNNConvolutionDataSource> from = rule_.source;
  if (![from load]) refuse("MPSNNGraph", "the data source did not load");
  MPSCNNConvolutionDescriptor* d = [from descriptor];
  const auto number = [](NSUInteger value) { return static_cast<int>(value); };
  if (d->groups_ != 1) refuse("MPSCNNBinaryConvolution", "no groups");
  if ([from dataType] != MPSDataTypeUInt32)
    refuse("MPSCNNBinaryConvolution", "weights are bits in words of 32");
  window_ = {number(d->kernelHeight_), number(d->kernelWidth_), number(d->strideY_),
             number(d->strideX_),      number(d->dilationY_),   number(d->dilationX_)};
  inputs_ = number(d->inputs_);
  outputs_ = number(d->outputs_);
  if (d->neuron_ != nil)
    neuron_ = {d->neuron_->type_, d->neuron_->a_, d->neuron_->b_, d->neuron_->c_, {}};
  const auto* words = static_cast<const std::uint32_t*>([from weights]);
  words_.assign(words,
                words + outputs_ * window_.kernel_y * window_.kernel_x * ((inputs_ + 31) / 32));
  if (const float* bias = [from biasTerms]; rule_.takes_bias && bias != nullptr)
    rule_.output_bias.assign(bias, bias + outputs_);
  [from purge];
}

metal_double::Shape BinaryConvolution::shape(const DoubleNode& node, const Pixels& source) {
  if (source.channels != inputs_)
    refuse("MPSCNNBinaryConvolution", "the image has other channels than the descriptor");
  Window w = window_;
  const Placing size = place(node, [MPSCNNKernel class], w, source);
  return {size.height, size.width, outputs_};
}

double BinaryConvolution::read(const Pixels& from, int y, int x, int c) const {
  if (!from.contains(y, x)) {
    // The header does not say what binarizing and biases make of it.
    if (rule_.type != MPSCNNBinaryConvolutionTypeBinaryWeights || !rule_.input_bias.empty())
      refuse("MPSCNNBinaryConvolution", "a position outside of the image");
    return 0;
  }
  return static_cast<double>(from.at(y, x, c) + value_of(rule_.input_bias, c, 0)) *
         static_cast<double>(value_of(rule_.input_scale, c, 1));
}

double BinaryConvolution::product(double in, bool weight) const {
  if (rule_.type == MPSCNNBinaryConvolutionTypeBinaryWeights) return weight ? in : -in;
  const bool is_set = !(in < 0);
  if (rule_.type == MPSCNNBinaryConvolutionTypeAND) return is_set && weight ? 1 : 0;
  return is_set == weight ? 1 : -1;
}

void BinaryConvolution::convolve(const Pixels& from, const Window& w, Origin origin,
                                 Pixels& to) const {
  metal_double::each(to, [&](int y, int x, int o) {
    double sum = 0, absolute = 0;
    for (int i = 0; i < w.kernel_y; ++i) {
      for (int j = 0; j < w.kernel_x; ++j) {
        for (int c = 0; c < inputs_; ++c) {
          const double in = read(from, y * w.stride_y + origin.y + i * w.dilation_y,
                                 x * w.stride_x + origin.x + j * w.dilation_x, c);
          sum += product(in, bit(o, i, j, c));
          absolute += std::fabs(in);
        }
      }
    }
    if (rule_.scales_by_beta) sum *= absolute / (w.kernel_y * w.kernel_x * inputs_);
    sum *= static_cast<double>(value_of(rule_.output_scale, o, 1));
    sum += static_cast<double>(value_of(rule_.output_bias, o, 0));
    to.set(y, x, o, metal_double::neuron(neuron_, sum, o));
  });
}

void BinaryConvolution::run(const FilterRun& run, const Batch& from, const Batch& to) {
  Window w = window_;
  const Origin origin = place(run.node, [MPSCNNKernel class], w, *from[0]).origin;
  if (w.clamps) refuse("MPSCNNBinaryConvolution", "the double reads zeros outside of the image");
  const auto self = std::static_pointer_cast<BinaryConvolution>(shared_from_this());
  record_each(run.commands, to.size(),
              [=](std::size_t n) { self->convolve(*from[n], w, origin, *to[n]); });
}

MPSNNFilterNode* make(Class kind, MPSNNImageNode* source, const BinaryRule& rule) {
  if (rule.source.get() == nil) refuse("MPSCNNBinaryConvolutionNode", "no weights");
  MPSNNFilterNode* made =
      fill_node([[[kind alloc] init] autorelease], DoubleKind::FILTER, {source});
  node_of(made)->make_filter = [rule] { return std::make_shared<BinaryConvolution>(rule); };
  // Its default policy is ValidOnly: one position.
  if (kind == [MPSCNNBinaryFullyConnectedNode class])
    node_of(made)->padding =
        [MPSNNDefaultPadding paddingWithMethod:MPSNNPaddingMethodAlignCentered];
  return made;
}

}  // namespace

@implementation MPSCNNBinaryConvolutionNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode
                       weights:(id<MPSCNNConvolutionDataSource>)weights
                    scaleValue:(float)scaleValue
                          type:(MPSCNNBinaryConvolutionType)type
                         flags:(MPSCNNBinaryConvolutionFlags)flags {
  const std::vector<float> scale([weights descriptor]->outputs_, scaleValue);
  const bool beta = flags == MPSCNNBinaryConvolutionFlagsUseBetaScaling;
  return static_cast<MPSCNNBinaryConvolutionNode*>(
      make(self, sourceNode, {weights, {}, scale, {}, {}, true, type, beta}));
}
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode
                       weights:(id<MPSCNNConvolutionDataSource>)weights
               outputBiasTerms:(const float*)outputBiasTerms
              outputScaleTerms:(const float*)outputScaleTerms
                inputBiasTerms:(const float*)inputBiasTerms
               inputScaleTerms:(const float*)inputScaleTerms
                          type:(MPSCNNBinaryConvolutionType)type
                         flags:(MPSCNNBinaryConvolutionFlags)flags {
  MPSCNNConvolutionDescriptor* d = [weights descriptor];
  const auto copy = [](const float* terms, NSUInteger count) {
    return terms == nullptr ? std::vector<float>() : std::vector<float>(terms, terms + count);
  };
  const bool beta = flags == MPSCNNBinaryConvolutionFlagsUseBetaScaling;
  return static_cast<MPSCNNBinaryConvolutionNode*>(make(
      self, sourceNode,
      {weights, copy(outputBiasTerms, d->outputs_), copy(outputScaleTerms, d->outputs_),
       copy(inputBiasTerms, d->inputs_), copy(inputScaleTerms, d->inputs_), false, type, beta}));
}
@end
@implementation MPSCNNBinaryFullyConnectedNode
@end
