// SPDX-License-Identifier: MIT
// Normalisations by statistics: y = (x - mean) * gamma / sqrt(variance + epsilon) + beta.
#include <cfloat>
#include <cmath>

#include "double.h"

using metal_double::each;
using metal_double::Pixels;

@implementation MPSCNNNormalizationGammaAndBetaState
@synthesize gamma = gamma_, beta = beta_;
- (instancetype)initWithGamma:(id<MTLBuffer>)gamma beta:(id<MTLBuffer>)beta {
  self = [super init];
  if (self == nil) return nil;
  gamma_ = [gamma retain];
  beta_ = [beta retain];
  return self;
}
- (void)dealloc {
  [gamma_ release];
  [beta_ release];
  [super dealloc];
}
@end

@implementation MPSCNNNormalizationMeanAndVarianceState
@synthesize mean = mean_, variance = variance_;
- (instancetype)initWithMean:(id<MTLBuffer>)mean variance:(id<MTLBuffer>)variance {
  self = [super init];
  if (self == nil) return nil;
  mean_ = [mean retain];
  variance_ = [variance retain];
  return self;
}
- (void)dealloc {
  [mean_ release];
  [variance_ release];
  [super dealloc];
}
@end

@implementation MPSCNNBatchNormalizationState
- (void)dealloc {
  [mean_ release];
  [variance_ release];
  [gammaGradient_ release];
  [betaGradient_ release];
  [super dealloc];
}
- (id<MTLBuffer>)mean {
  return mean_;
}
- (id<MTLBuffer>)variance {
  return variance_;
}
- (id<MTLBuffer>)gradientForGamma {
  return gammaGradient_;
}
- (id<MTLBuffer>)gradientForBeta {
  return betaGradient_;
}
@end

@implementation MPSCNNInstanceNormalizationGradientState
@synthesize gradientForGamma = gammaGradient_, gradientForBeta = betaGradient_;
- (void)dealloc {
  [gammaGradient_ release];
  [betaGradient_ release];
  [super dealloc];
}
@end

@implementation MPSCNNGroupNormalizationGradientState
@synthesize gradientForGamma = gammaGradient_, gradientForBeta = betaGradient_;
- (void)dealloc {
  [gammaGradient_ release];
  [betaGradient_ release];
  [super dealloc];
}
@end

namespace {

using Buffer = Ref<id<MTLBuffer>>;

Buffer new_buffer(id<MTLDevice> device, std::size_t floats) {
  id<MTLBuffer> made = [device newBufferWithLength:floats * sizeof(float)
                                           options:MTLResourceStorageModeShared];
  const Buffer buffer(made);
  [made release];
  return buffer;
}

float* floats_of(id<MTLBuffer> buffer) { return static_cast<float*>([buffer contents]); }

/// Values of a channel's place in a kind of normalisation.
struct Statistic {
  double mean = 0, variance = 0, count = 0;
};

class Normalization : public DoubleFilter {
 public:
  explicit Normalization(id source) : source_(source) {}
  void load() override;
  void run(const FilterRun& run, const Batch& from, const Batch& to) override;
  void gradient(const FilterRun& run, const Batch& given, const Batch& from, const Batch& to,
                bool updates) override;

 protected:
  /// Which statistic belongs to a channel of an image; their number.
  virtual std::size_t place(std::size_t n, int c) const = 0;
  virtual std::size_t places(std::size_t images) const = 0;
  virtual bool computes(const FilterRun&) const { return true; }
  /// Hands gradients over, those of image n in (n, channels), and takes what comes back.
  virtual void update(const FilterRun& run, std::size_t images, const Buffer& gammas,
                      const Buffer& betas) = 0;
  void take(const FilterRun& run, MPSCNNNormalizationGammaAndBetaState* state);
  template <class T>
  std::shared_ptr<T> self() {
    return std::static_pointer_cast<T>(shared_from_this());
  }
  template <class T>
  T source() const {
    return static_cast<T>(source_.get());
  }

  Ref<id> source_;
  int channels_ = 0;
  double epsilon_ = static_cast<double>(FLT_MIN);
  std::vector<float> gamma_, beta_, mean_, variance_;
  std::vector<Statistic> statistics_;  // of the last run

 private:
  void measure(const Batch& from);
  double normalized(const Pixels& image, std::size_t n, int y, int x, int c) const {
    const Statistic& s = statistics_[place(n, c)];
    return (static_cast<double>(image.at(y, x, c)) - s.mean) / std::sqrt(s.variance + epsilon_);
  }
};

void Normalization::load() {
  id<MPSCNNBatchNormalizationDataSource> from = static_cast<id>(source_.get());
  if ([from respondsToSelector:@selector(load)] && ![from load])
    refuse("MPSNNGraph", "the data source did not load");
  channels_ = static_cast<int>([from numberOfFeatureChannels]);
  if ([from respondsToSelector:@selector(epsilon)]) epsilon_ = static_cast<double>([from epsilon]);
  gamma_.assign([from gamma], [from gamma] + channels_);
  beta_.assign([from beta], [from beta] + channels_);
  if ([from respondsToSelector:@selector(mean)]) {
    mean_.assign([from mean], [from mean] + channels_);
    variance_.assign([from variance], [from variance] + channels_);
  }
  [from purge];
}

/// Population variance; two passes.
void Normalization::measure(const Batch& from) {
  statistics_.assign(places(from.size()), {});
  const auto all = [&](auto f) {
    for (std::size_t n = 0; n < from.size(); ++n) {
      each(*from[n], [&](int y, int x, int c) {
        f(statistics_[place(n, c)], static_cast<double>(from[n]->at(y, x, c)));
      });
    }
  };
  all([](Statistic& s, double value) {
    s.mean += value;
    s.count += 1;
  });
  for (Statistic& s : statistics_) s.mean /= s.count;
  all([](Statistic& s, double value) {
    s.variance += (value - s.mean) * (value - s.mean) / s.count;
  });
}

void Normalization::run(const FilterRun& run, const Batch& from, const Batch& to) {
  if (from[0]->channels != channels_)
    refuse("MPSCNNNormalization", "the image has other channels than the data source");
  const bool fresh = computes(run);
  record(run.commands, [=, self = self<Normalization>()] {
    if (fresh) {
      self->measure(from);
    } else {
      self->statistics_.clear();
      for (std::size_t c = 0; c < self->mean_.size(); ++c) {
        self->statistics_.push_back(
            {static_cast<double>(self->mean_[c]), static_cast<double>(self->variance_[c]), 1});
      }
    }
    for (std::size_t n = 0; n < to.size(); ++n) {
      each(*to[n], [&](int y, int x, int c) {
        const auto channel = static_cast<std::size_t>(c);
        to[n]->set(
            y, x, c,
            self->normalized(*from[n], n, y, x, c) * static_cast<double>(self->gamma_[channel]) +
                static_cast<double>(self->beta_[channel]));
      });
    }
  });
}

void Normalization::gradient(const FilterRun& run, const Batch& given, const Batch& from,
                             const Batch& to, bool updates) {
  if (!computes(run))
    refuse("MPSCNNBatchNormalizationGradient", "statistics that are not the batch's");
  const std::size_t size = from.size() * static_cast<std::size_t>(channels_);
  const Buffer gammas = new_buffer(run.device, size), betas = new_buffer(run.device, size);
  record(run.commands, [=, self = self<Normalization>()] {
    struct Sums {
      double gradient = 0, product = 0;
    };
    std::vector<Sums> sums(self->statistics_.size());
    std::fill_n(floats_of(gammas), size, 0.0F);
    std::fill_n(floats_of(betas), size, 0.0F);
    const auto of = [&](std::size_t n, int y, int x, int c) {
      return static_cast<double>(given[n]->at(y, x, c)) *
             static_cast<double>(self->gamma_[static_cast<std::size_t>(c)]);
    };
    for (std::size_t n = 0; n < from.size(); ++n) {
      each(*from[n], [&](int y, int x, int c) {
        const auto at = n * static_cast<std::size_t>(self->channels_) + static_cast<std::size_t>(c);
        const auto g = static_cast<double>(given[n]->at(y, x, c));
        const double value = self->normalized(*from[n], n, y, x, c);
        floats_of(gammas)[at] += static_cast<float>(g * value);
        floats_of(betas)[at] += static_cast<float>(g);
        Sums& s = sums[self->place(n, c)];
        s.gradient += of(n, y, x, c);
        s.product += of(n, y, x, c) * value;
      });
    }
    for (std::size_t n = 0; n < to.size(); ++n) {
      each(*to[n], [&](int y, int x, int c) {
        const std::size_t place = self->place(n, c);
        const Statistic& s = self->statistics_[place];
        const double rest =
            (sums[place].gradient + self->normalized(*from[n], n, y, x, c) * sums[place].product) /
            s.count;
        to[n]->set(y, x, c, (of(n, y, x, c) - rest) / std::sqrt(s.variance + self->epsilon_));
      });
    }
  });
  if (updates) update(run, from.size(), gammas, betas);
}

void Normalization::take(const FilterRun& run, MPSCNNNormalizationGammaAndBetaState* state) {
  if (state == nil) return;
  const Ref<MPSCNNNormalizationGammaAndBetaState*> kept(state);
  record(run.commands, [=, self = self<Normalization>()] {
    const auto count = static_cast<std::size_t>(self->channels_);
    self->gamma_.assign(floats_of([kept.get() gamma]), floats_of([kept.get() gamma]) + count);
    self->beta_.assign(floats_of([kept.get() beta]), floats_of([kept.get() beta]) + count);
  });
}

/// Adds those of the other images to the first one's.
void add_images(const FilterRun& run, std::size_t images, int channels, const Buffer& gradients) {
  record(run.commands, [=] {
    for (std::size_t i = static_cast<std::size_t>(channels);
         i < images * static_cast<std::size_t>(channels); ++i)
      floats_of(gradients)[i % static_cast<std::size_t>(channels)] += floats_of(gradients)[i];
  });
}

class BatchNormalization final : public Normalization {
 public:
  BatchNormalization(id source, MPSCNNBatchNormalizationFlags flags)
      : Normalization(source), flags_(flags) {
    load();
  }

 private:
  std::size_t place(std::size_t, int c) const override { return static_cast<std::size_t>(c); }
  std::size_t places(std::size_t) const override { return static_cast<std::size_t>(channels_); }
  bool computes(const FilterRun& run) const override {
    return flags_ == MPSCNNBatchNormalizationFlagsDefault
               ? run.is_differentiated
               : flags_ == MPSCNNBatchNormalizationFlagsCalculateStatisticsAlways;
  }
  void update(const FilterRun& run, std::size_t images, const Buffer& gammas,
              const Buffer& betas) override {
    add_images(run, images, channels_, gammas);
    add_images(run, images, channels_, betas);
    MPSCNNBatchNormalizationState* state =
        temporary_state([[MPSCNNBatchNormalizationState alloc] init], 2);
    const auto count = static_cast<std::size_t>(channels_);
    state->gammaGradient_ = [gammas.get() retain];
    state->betaGradient_ = [betas.get() retain];
    state->mean_ = [new_buffer(run.device, count).get() retain];
    state->variance_ = [new_buffer(run.device, count).get() retain];
    const Ref<MPSCNNBatchNormalizationState*> kept(state);
    record(run.commands, [=, self = self<BatchNormalization>()] {
      for (std::size_t c = 0; c < count; ++c) {
        floats_of(kept.get()->mean_)[c] = static_cast<float>(self->statistics_[c].mean);
        floats_of(kept.get()->variance_)[c] = static_cast<float>(self->statistics_[c].variance);
      }
    });
    ask(run, state);
  }

  void ask(const FilterRun& run, MPSCNNBatchNormalizationState* state) {
    const auto from = source<id<MPSCNNBatchNormalizationDataSource>>();
    const Ref<MPSCNNNormalizationMeanAndVarianceState*> moved(
        [from updateMeanAndVarianceWithCommandBuffer:run.commands batchNormalizationState:state]);
    if (state->readCount_ != 1)
      refuse("updateMeanAndVariance", "the state's read count must be decremented");
    take(run, [from updateGammaAndBetaWithCommandBuffer:run.commands
                                batchNormalizationState:state]);
    if (state->readCount_ != 0)
      refuse("updateGammaAndBeta", "the state's read count must be decremented");
    if (moved.get() == nil) return;
    record(run.commands, [=, self = self<BatchNormalization>()] {
      const auto count = static_cast<std::size_t>(self->channels_);
      const float *mean = floats_of([moved.get() mean]),
                  *variance = floats_of([moved.get() variance]);
      self->mean_.assign(mean, mean + count);
      self->variance_.assign(variance, variance + count);
    });
  }

  MPSCNNBatchNormalizationFlags flags_;
};

/// A state for each image, as instance normalisations have them.
class InstanceNormalization final : public Normalization {
 public:
  explicit InstanceNormalization(id source) : Normalization(source) { load(); }

 private:
  std::size_t place(std::size_t n, int c) const override {
    return n * static_cast<std::size_t>(channels_) + static_cast<std::size_t>(c);
  }
  std::size_t places(std::size_t images) const override { return place(images, 0); }
  void update(const FilterRun& run, std::size_t images, const Buffer& gammas,
              const Buffer& betas) override {
    NSMutableArray<MPSCNNInstanceNormalizationGradientState*>* states = [NSMutableArray array];
    for (std::size_t n = 0; n < images; ++n) {
      MPSCNNInstanceNormalizationGradientState* state =
          temporary_state([[MPSCNNInstanceNormalizationGradientState alloc] init]);
      state->gammaGradient_ = [of_image(run, gammas, n).get() retain];
      state->betaGradient_ = [of_image(run, betas, n).get() retain];
      [states addObject:state];
    }
    const auto from = source<id<MPSCNNInstanceNormalizationDataSource>>();
    take(run, [from updateGammaAndBetaWithCommandBuffer:run.commands
                        instanceNormalizationStateBatch:states]);
    for (MPSCNNInstanceNormalizationGradientState* state in states) {
      if (state->readCount_ != 0)
        refuse("updateGammaAndBeta", "the states' read counts must be decremented");
    }
  }

  Buffer of_image(const FilterRun& run, const Buffer& gradients, std::size_t n) {
    const auto count = static_cast<std::size_t>(channels_);
    const Buffer made = new_buffer(run.device, count);
    record(run.commands,
           [=] { std::copy_n(floats_of(gradients) + n * count, count, floats_of(made)); });
    return made;
  }
};

/// One state for the whole batch. Apple's headers leave open whether images share one: both are to
/// work.
class GroupNormalization final : public Normalization {
 public:
  explicit GroupNormalization(id source) : Normalization(source) {
    load();
    groups_ =
        static_cast<int>([this->source<id<MPSCNNGroupNormalizationDataSource>>() numberOfGroups]);
    if (channels_ % groups_ != 0) refuse("MPSCNNGroupNormalization", "groups of different sizes");
  }

 private:
  std::size_t place(std::size_t n, int c) const override {
    return n * static_cast<std::size_t>(groups_) +
           static_cast<std::size_t>(c / (channels_ / groups_));
  }
  std::size_t places(std::size_t images) const override { return place(images, 0); }
  void update(const FilterRun& run, std::size_t images, const Buffer& gammas,
              const Buffer& betas) override {
    add_images(run, images, channels_, gammas);
    add_images(run, images, channels_, betas);
    // MPSState.h: the read count of a state that images share is that of one.
    MPSCNNGroupNormalizationGradientState* state =
        temporary_state([[MPSCNNGroupNormalizationGradientState alloc] init]);
    state->gammaGradient_ = [gammas.get() retain];
    state->betaGradient_ = [betas.get() retain];
    NSMutableArray<MPSCNNGroupNormalizationGradientState*>* states = [NSMutableArray array];
    for (std::size_t n = 0; n < images; ++n) [states addObject:state];
    const auto from = source<id<MPSCNNGroupNormalizationDataSource>>();
    take(run, [from updateGammaAndBetaWithCommandBuffer:run.commands
                           groupNormalizationStateBatch:states]);
    if (state->readCount_ != 0)
      refuse("updateGammaAndBeta", "the states' read counts must be decremented");
  }

  int groups_ = 1;
};

template <class Made>
MPSNNFilterNode* make(Class kind, Class gradient_class, MPSNNImageNode* source, id data) {
  if (data == nil) refuse("MPSCNNNormalizationNode", "no data source");
  MPSNNFilterNode* made =
      fill_node([[[kind alloc] init] autorelease], DoubleKind::FILTER, {source});
  node_of(made)->make_filter = [data = Ref<id>(data)] { return std::make_shared<Made>(data); };
  node_of(made)->gradient_class = gradient_class;
  node_of(made)->training_style = MPSNNTrainingStyleUpdateDeviceGPU;
  return made;
}

}  // namespace

@implementation MPSCNNBatchNormalizationNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source
                    dataSource:(id<MPSCNNBatchNormalizationDataSource>)dataSource {
  if (dataSource == nil) refuse("MPSCNNBatchNormalizationNode", "no data source");
  auto* made = static_cast<MPSCNNBatchNormalizationNode*>(
      fill_node([[[self alloc] init] autorelease], DoubleKind::FILTER, {source}));
  node_of(made)->gradient_class = [MPSCNNBatchNormalizationGradientNode class];
  node_of(made)->training_style = MPSNNTrainingStyleUpdateDeviceGPU;
  made->data_ = [dataSource retain];
  [made setFlags:MPSCNNBatchNormalizationFlagsDefault];
  return made;
}
- (void)dealloc {
  [data_ release];
  [super dealloc];
}
- (MPSCNNBatchNormalizationFlags)flags {
  return flags_;
}
- (void)setFlags:(MPSCNNBatchNormalizationFlags)flags {
  flags_ = flags;
  node_of(self)->make_filter = [data = Ref<id>(data_), flags] {
    return std::make_shared<BatchNormalization>(data, flags);
  };
}
DOUBLE_TRAINING_STYLE
@end

@implementation MPSCNNInstanceNormalizationNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source
                    dataSource:(id<MPSCNNInstanceNormalizationDataSource>)dataSource {
  return static_cast<MPSCNNInstanceNormalizationNode*>(make<InstanceNormalization>(
      self, [MPSCNNInstanceNormalizationGradientNode class], source, dataSource));
}
DOUBLE_TRAINING_STYLE
@end

@implementation MPSCNNGroupNormalizationNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source
                    dataSource:(id<MPSCNNGroupNormalizationDataSource>)dataSource {
  return static_cast<MPSCNNGroupNormalizationNode*>(make<GroupNormalization>(
      self, [MPSCNNGroupNormalizationGradientNode class], source, dataSource));
}
DOUBLE_TRAINING_STYLE
@end

@implementation MPSCNNBatchNormalizationGradientNode
DOUBLE_TRAINING_STYLE
@end
@implementation MPSCNNInstanceNormalizationGradientNode
DOUBLE_TRAINING_STYLE
@end
@implementation MPSCNNGroupNormalizationGradientNode
DOUBLE_TRAINING_STYLE
@end
