// SPDX-License-Identifier: MIT
// Arithmetic of images and neurons of their channels. Images of MPS are made of our memory and
// copied back on the command buffer.
#include "backend/metal/images.h"
#include "backend/metal/kernels.h"
#include "base/attributes.h"

namespace mpsnn::backend::metal {
namespace {

constexpr std::int64_t kMostPixels = 16384, kMostChannels = 8192;

/// Arrays of other ranks are images of one row.
TensorDesc as_image(const TensorDesc& desc) {
  if (desc.dims.size() == 4) return desc;
  const std::int64_t channels = desc.dims.back();
  return {desc.type, {1, 1, desc.count() / channels, channels}, nullptr};
}

Fit fits_images(const KernelQuery& query) {
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

/// One of MPSCNNAdd and its kin; strides of 0 read the same pixel again and again.
template <class K>
MPSCNNArithmetic* make_arithmetic(id<MTLDevice> device, const AttributeMap& a,
                                  const std::vector<std::int64_t>& primary,
                                  const std::vector<std::int64_t>& secondary,
                                  const std::vector<std::int64_t>& result) {
  const auto number = [&](std::string_view name) { return static_cast<float>(get_float(a, name)); };
  const auto stride = [&](const std::vector<std::int64_t>& dims, std::size_t i) {
    return NSUInteger{dims[i] == result[i] ? 1U : 0U};
  };
  MPSCNNArithmetic* made = [[K alloc] initWithDevice:device];
  [made setPrimaryScale:number("primary_scale")];
  [made setSecondaryScale:number("secondary_scale")];
  [made setBias:number("bias")];
  [made setMinimumValue:number("minimum_value")];
  [made setMaximumValue:number("maximum_value")];
  [made setPrimaryStrideInPixelsY:stride(primary, 1)];
  [made setPrimaryStrideInPixelsX:stride(primary, 2)];
  [made setPrimaryStrideInFeatureChannels:stride(primary, 3)];
  [made setSecondaryStrideInPixelsY:stride(secondary, 1)];
  [made setSecondaryStrideInPixelsX:stride(secondary, 2)];
  [made setSecondaryStrideInFeatureChannels:stride(secondary, 3)];
  return made;
}

Fit fits_arithmetic(const KernelQuery& query) { return fits_images(query); }

/// Images of a batch; where there is one only, as many copies of it.
MPSImageBatch* make_batch(const Site& site, const std::byte* from, const TensorDesc& desc,
                          std::int64_t count) {
  const ImageCopies copies(site.device());
  NSMutableArray<MPSImage*>* images = [NSMutableArray array];
  for (std::int64_t i = 0; i < (desc.dims[0] == count ? 1 : count); ++i)
    [images addObjectsFromArray:copies.copy_in(site.commands(), site.range(from), desc)];
  return images;
}

template <class K>
std::shared_ptr<Kernel> prepare_arithmetic(const KernelQuery& query) {
  const TensorDesc primary = as_image(query.inputs[0]), secondary = as_image(query.inputs[1]),
                   result = as_image(query.outputs[0]);
  const Lazy<MPSCNNArithmetic*> kernel([=, a = query.attributes](id<MTLDevice> device) {
    return make_arithmetic<K>(device, a, primary.dims, secondary.dims, result.dims);
  });
  return make_single(query, [=](const Site& site) {
    MPSCommandBuffer* commands = site.commands();
    const std::int64_t count = result.dims[0];
    MPSImageBatch* made = ImageCopies::make_images(commands, result);
    [kernel.on(site) encodeBatchToCommandBuffer:commands
                                  primaryImages:make_batch(site, site.input(0), primary, count)
                                secondaryImages:make_batch(site, site.input(1), secondary, count)
                              destinationImages:made];
    ImageCopies(site.device()).copy_out(commands, made, site.range(site.output(0)), result);
  });
}

}  // namespace

// primary, secondary -> scaled sum, product, quotient
Fit fits_addition(const KernelQuery& query) { return fits_arithmetic(query); }
std::shared_ptr<Kernel> prepare_addition(const KernelQuery& query) {
  return prepare_arithmetic<MPSCNNAdd>(query);
}

Fit fits_multiplication(const KernelQuery& query) { return fits_arithmetic(query); }
std::shared_ptr<Kernel> prepare_multiplication(const KernelQuery& query) {
  return prepare_arithmetic<MPSCNNMultiply>(query);
}

Fit fits_division(const KernelQuery& query) { return fits_arithmetic(query); }
std::shared_ptr<Kernel> prepare_division(const KernelQuery& query) {
  return prepare_arithmetic<MPSCNNDivide>(query);
}

}  // namespace mpsnn::backend::metal
