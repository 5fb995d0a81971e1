// SPDX-License-Identifier: MIT
// Arithmetic of images and neurons of their channels. Images of MPS are made of our memory and
// copied back on the command buffer.
#include <algorithm>
#include <cmath>

#include "backend/metal/image_kernels.h"
#include "base/attributes.h"

namespace mpsnn::backend::metal {
namespace {

/// Images of a batch; where there is one only, as many copies of it.
MPSImageBatch* make_batch(const Site& site, const ImagePlace& from, std::int64_t count) {
  NSMutableArray<MPSImage*>* images = [NSMutableArray array];
  for (std::int64_t i = 0; i < (from.desc.dims[0] == count ? 1 : count); ++i)
    [images addObjectsFromArray:site.copies().copy_in(site.commands(), from.range, from.desc)];
  return images;
}

/// 1 to read pixel after pixel, 0 to read the same one again and again.
void set_strides(MPSCNNArithmetic* made, const std::vector<std::int64_t>& primary,
                 const std::vector<std::int64_t>& secondary,
                 const std::vector<std::int64_t>& result) {
  const auto stride = [&](const std::vector<std::int64_t>& dims, std::size_t i) {
    return NSUInteger{dims[i] == result[i] ? 1U : 0U};
  };
  [made setPrimaryStrideInPixelsY:stride(primary, 1)];
  [made setPrimaryStrideInPixelsX:stride(primary, 2)];
  [made setPrimaryStrideInFeatureChannels:stride(primary, 3)];
  [made setSecondaryStrideInPixelsY:stride(secondary, 1)];
  [made setSecondaryStrideInPixelsX:stride(secondary, 2)];
  [made setSecondaryStrideInFeatureChannels:stride(secondary, 3)];
}

/// One of MPSCNNAdd and its kin.
template <class K>
MPSCNNArithmetic* make_arithmetic(id<MTLDevice> device, const AttributeMap& a) {
  const auto number = [&](std::string_view name) { return static_cast<float>(get_float(a, name)); };
  MPSCNNArithmetic* made = [[K alloc] initWithDevice:device];
  [made setPrimaryScale:number("primary_scale")];
  [made setSecondaryScale:number("secondary_scale")];
  [made setBias:number("bias")];
  [made setMinimumValue:number("minimum_value")];
  [made setMaximumValue:number("maximum_value")];
  return made;
}

template <class K>
std::shared_ptr<Kernel> prepare_arithmetic(const KernelQuery& query) {
  const TensorDesc primary = as_image(query.inputs[0]), secondary = as_image(query.inputs[1]),
                   result = as_image(query.outputs[0]);
  return make_binary(query,
                     Lazy<MPSCNNBinaryKernel*>([=, a = query.attributes](id<MTLDevice> device) {
                       MPSCNNArithmetic* made = make_arithmetic<K>(device, a);
                       set_strides(made, primary.dims, secondary.dims, result.dims);
                       return made;
                     }));
}

}  // namespace

Fit float32_images(const KernelQuery& query) {
  if (Fit fit = dense_float32(query); !fit.yes) return fit;
  for (const auto& operands : {query.inputs, query.outputs}) {
    for (const TensorDesc& desc : operands) {
      const ImageSize size = as_image(desc).image();
      if (size.height > kMostPixels || size.width > kMostPixels || size.channels > kMostChannels) {
        return Fit::no(str("images have at most ", kMostPixels, " rows and columns and ",
                           kMostChannels, " channels, got ", mpsnn::to_string(desc)));
      }
    }
  }
  return {};
}

TensorDesc as_image(const TensorDesc& desc) {
  if (desc.dims.size() == 4) return desc;
  const std::int64_t channels = desc.dims.back();
  return {desc.type, {1, 1, desc.count() / channels, channels}, nullptr};
}

void encode_binary(const Site& site, MPSCNNBinaryKernel* kernel, const ImagePlace& primary,
                   const ImagePlace& secondary, const ImagePlace& result) {
  MPSCommandBuffer* commands = site.commands();
  const std::int64_t count = result.desc.dims[0];
  MPSImageBatch* made = ImageCopies::make_images(commands, result.desc);
  [kernel encodeBatchToCommandBuffer:commands
                       primaryImages:make_batch(site, primary, count)
                     secondaryImages:make_batch(site, secondary, count)
                   destinationImages:made];
  site.copies().copy_out(commands, made, result.range, result.desc);
}

std::shared_ptr<Kernel> make_binary(const KernelQuery& query,
                                    const Lazy<MPSCNNBinaryKernel*>& kernel) {
  const TensorDesc primary = as_image(query.inputs[0]), secondary = as_image(query.inputs[1]),
                   result = as_image(query.outputs[0]);
  return make_single(query, [=](const Site& site) {
    encode_binary(site, kernel.on(site), {site.range(site.input(0)), primary},
                  {site.range(site.input(1)), secondary}, {site.range(site.output(0)), result});
  });
}

// primary, secondary -> scaled sum, product, quotient
Fit fits_addition(const KernelQuery& query) { return float32_images(query); }
std::shared_ptr<Kernel> prepare_addition(const KernelQuery& query) {
  return prepare_arithmetic<MPSCNNAdd>(query);
}

Fit fits_multiplication(const KernelQuery& query) { return float32_images(query); }
std::shared_ptr<Kernel> prepare_multiplication(const KernelQuery& query) {
  return prepare_arithmetic<MPSCNNMultiply>(query);
}

Fit fits_division(const KernelQuery& query) { return float32_images(query); }
std::shared_ptr<Kernel> prepare_division(const KernelQuery& query) {
  return prepare_arithmetic<MPSCNNDivide>(query);
}

// primary, secondary -> 1 or 0
Fit fits_comparison(const KernelQuery& query) {
  if (get_float(query.attributes, "threshold") != 0)
    return Fit::no("threshold: expected 0, by which all comparisons are exact");
  return float32_images(query);
}

std::shared_ptr<Kernel> prepare_comparison(const KernelQuery& query) {
  const TensorDesc primary = as_image(query.inputs[0]), secondary = as_image(query.inputs[1]),
                   result = as_image(query.outputs[0]);
  const auto type = static_cast<MPSNNComparisonType>(get_int(query.attributes, "comparison_type"));
  return make_binary(query, Lazy<MPSCNNBinaryKernel*>([=](id<MTLDevice> device) {
                       MPSNNCompare* made = [[MPSNNCompare alloc] initWithDevice:device];
                       [made setComparisonType:type];
                       [made setThreshold:0];
                       set_strides(made, primary.dims, secondary.dims, result.dims);
                       return made;
                     }));
}

// source -> products with constants: one for all, or one a channel
namespace {

std::shared_ptr<Kernel> prepare_product(const KernelQuery& query,
                                        const std::vector<double>& factors) {
  const TensorDesc source = query.inputs[0], result = query.outputs[0];
  const TensorDesc constants = {
      DataType::FLOAT32, {1, 1, 1, static_cast<std::int64_t>(factors.size())}, nullptr};
  const Lazy<id<MTLBuffer>> buffer([=](id<MTLDevice> device) {
    id<MTLBuffer> made = make_constant(device, DataType::FLOAT32, 0, factors.size());
    std::ranges::transform(factors, static_cast<float*>([made contents]),
                           [](double factor) { return static_cast<float>(factor); });
    return made;
  });
  const Lazy<MPSCNNBinaryKernel*> kernel([=](id<MTLDevice> device) {
    MPSCNNMultiply* made = [[MPSCNNMultiply alloc] initWithDevice:device];
    set_strides(made, source.dims, constants.dims, result.dims);
    return made;
  });
  return make_single(query, [=](const Site& site) {
    const auto values = Owned<id<MTLBuffer>>::retained(buffer.on(site));
    encode_binary(site, kernel.on(site), {site.range(site.input(0)), source},
                  {{values, 0}, constants}, {site.range(site.output(0)), result});
  });
}

}  // namespace

Fit fits_broadcast(const KernelQuery& query) {
  if (query.inputs[0].dims.size() != 4) return Fit::no("it repeats pixels and channels of images");
  return float32_images(query);
}

std::shared_ptr<Kernel> prepare_broadcast(const KernelQuery& query) {
  return prepare_product(query, {get_float(query.attributes, "scale")});
}

Fit fits_channel_affine(const KernelQuery& query) {
  const AttributeMap& a = query.attributes;
  const bool multiplies = get_floats(a, "biases").empty() && get_int(a, "binarization") == 0;
  if (!multiplies || query.inputs.size() != 1 || get_floats(a, "scales").empty())
    return Fit::no("it multiplies the channels of images");
  return float32_images(query);
}

std::shared_ptr<Kernel> prepare_channel_affine(const KernelQuery& query) {
  return prepare_product(query, get_floats(query.attributes, "scales"));
}

// source -> smallest, largest, sum or mean along an axis of images
namespace {

enum class Reduction : std::uint8_t { MINIMUM, MAXIMUM, SUM, MEAN };

template <class Column, class Row, class Channels>
Class class_along(std::size_t axis) {
  if (axis == 1) return [Column class];
  return axis == 2 ? [Row class] : [Channels class];
}

/// MPS calls rows what lies along x.
Class class_of(Reduction reduction, std::size_t axis) {
  switch (reduction) {
    case Reduction::MINIMUM:
      return class_along<MPSNNReduceColumnMin, MPSNNReduceRowMin, MPSNNReduceFeatureChannelsMin>(
          axis);
    case Reduction::MAXIMUM:
      return class_along<MPSNNReduceColumnMax, MPSNNReduceRowMax, MPSNNReduceFeatureChannelsMax>(
          axis);
    case Reduction::SUM:
      return class_along<MPSNNReduceColumnSum, MPSNNReduceRowSum, MPSNNReduceFeatureChannelsSum>(
          axis);
    case Reduction::MEAN:
      return class_along<MPSNNReduceColumnMean, MPSNNReduceRowMean, MPSNNReduceFeatureChannelsMean>(
          axis);
  }
  throw InternalError("reduction out of range");
}

/// One axis after the other.
std::shared_ptr<Kernel> prepare_reduction(const KernelQuery& query, Reduction reduction,
                                          const std::vector<std::size_t>& axes) {
  const TensorDesc source = query.inputs[0], result = query.outputs[0];
  std::vector<Lazy<MPSNNReduceUnary*>> kernels;
  for (const std::size_t axis : axes) {
    kernels.emplace_back([=](id<MTLDevice> device) {
      return static_cast<MPSNNReduceUnary*>(
          [[class_of(reduction, axis) alloc] initWithDevice:device]);
    });
  }
  return make_single(query, [=](const Site& site) {
    const ImageCopies& copies = site.copies();
    TensorDesc desc = source;
    MPSImageBatch* images = copies.copy_in(site.commands(), site.range(site.input(0)), desc);
    for (std::size_t i = 0; i < axes.size(); ++i) {
      desc.dims[axes[i]] = 1;
      MPSImageBatch* made = ImageCopies::make_images(site.commands(), desc);
      [kernels[i].on(site) encodeBatchToCommandBuffer:site.commands()
                                         sourceImages:images
                                    destinationImages:made];
      images = made;
    }
    copies.copy_out(site.commands(), images, site.range(site.output(0)), result);
  });
}

/// The axes along which the result is shorter; none where the batch is.
std::vector<std::size_t> axes_of_sum(const KernelQuery& query) {
  const std::vector<std::int64_t>&from = query.inputs[0].dims, &to = query.outputs[0].dims;
  std::vector<std::size_t> found;
  if (from.size() != 4 || from[0] != to[0]) return found;
  for (std::size_t i = 1; i < from.size(); ++i) {
    if (from[i] != to[i]) found.push_back(i);
  }
  return found;
}

double mean_factor(const KernelQuery& query) {
  return static_cast<double>(query.outputs[0].count()) /
         static_cast<double>(query.inputs[0].count());
}

}  // namespace

Fit fits_extremum(const KernelQuery& query) {
  if (get_bool(query.attributes, "takes_index")) return Fit::no("indices are not made one by one");
  return float32_images(query);
}

std::shared_ptr<Kernel> prepare_extremum(const KernelQuery& query) {
  const bool largest = get_bool(query.attributes, "takes_maximum");
  return prepare_reduction(query, largest ? Reduction::MAXIMUM : Reduction::MINIMUM,
                           {static_cast<std::size_t>(get_int(query.attributes, "axis"))});
}

Fit fits_addition_gradient(const KernelQuery& query) {
  if (axes_of_sum(query).empty()) return Fit::no("sums along axes of images, not over a batch");
  const double scale = get_float(query.attributes, "scale"), mean = mean_factor(query);
  if (scale != 1 && std::abs(scale - mean) > 1e-12 * mean)
    return Fit::no(str("sums and means, got a factor of ", scale));
  return float32_images(query);
}

std::shared_ptr<Kernel> prepare_addition_gradient(const KernelQuery& query) {
  const bool is_sum = get_float(query.attributes, "scale") == 1;
  return prepare_reduction(query, is_sum ? Reduction::SUM : Reduction::MEAN, axes_of_sum(query));
}

}  // namespace mpsnn::backend::metal
