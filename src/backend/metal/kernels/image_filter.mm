// SPDX-License-Identifier: MIT
// Images with margins, filtered by a window, resized.
#include <algorithm>

#include "backend/metal/image_kernels.h"
#include "base/attributes.h"

namespace mpsnn::backend::metal {

// source -> result, with margins that are filled or cut
Fit fits_padding(const KernelQuery& query) {
  if (query.inputs[0].dims[3] != query.outputs[0].dims[3])
    return Fit::no("it gives margins to rows and columns, not to channels");
  return float32_images(query);
}

std::shared_ptr<Kernel> prepare_padding(const KernelQuery& query) {
  const TensorDesc source = query.inputs[0], result = query.outputs[0];
  const Lazy<MPSNNPad*> kernel([a = query.attributes](id<MTLDevice> device) {
    MPSNNPad* made = [[MPSNNPad alloc] initWithDevice:device];
    [made setOffset:{-static_cast<NSInteger>(get_int(a, "before_x")),
                     -static_cast<NSInteger>(get_int(a, "before_y")), 0}];
    [made setEdgeMode:static_cast<MPSImageEdgeMode>(get_int(a, "edge_mode"))];
    [made setFillValue:static_cast<float>(get_float(a, "fill_value"))];
    return made;
  });
  return make_single(query, [=](const Site& site) {
    const ImageCopies& copies = site.copies();
    MPSCommandBuffer* commands = site.commands();
    MPSImageBatch* made = ImageCopies::make_images(commands, result);
    [kernel.on(site)
        encodeBatchToCommandBuffer:commands
                      sourceImages:copies.copy_in(commands, site.range(site.input(0)), source)
                 destinationImages:made];
    copies.copy_out(commands, made, site.range(site.output(0)), result);
  });
}

// Filters of textures, which hold four channels: images of more are taken apart
namespace {

using Filter = Lazy<MPSUnaryImageKernel*>;
constexpr std::int64_t kTextureChannels = 4;

void encode_filter(const Site& site, const Filter& filter, const ImagePlace& from,
                   const ImagePlace& to) {
  const ImageCopies& copies = site.copies();
  MPSCommandBuffer* commands = site.commands();
  MPSImageBatch* sources = copies.copy_in(commands, from.range, from.desc);
  MPSImageBatch* results = ImageCopies::make_images(commands, to.desc);
  read_once(sources, [&] {
    for (NSUInteger i = 0; i < [sources count]; ++i) {
      [filter.on(site) encodeToCommandBuffer:commands
                                 sourceImage:[sources objectAtIndex:i]
                            destinationImage:[results objectAtIndex:i]];
    }
  });
  copies.copy_out(commands, results, to.range, to.desc);
}

TensorDesc with_channels(const TensorDesc& images, std::int64_t count) {
  TensorDesc desc = images;
  desc.dims[3] = count;
  return desc;
}

/// Some channels where they lie among the others.
TensorDesc part_of(const TensorDesc& images, std::int64_t count) {
  TensorDesc desc = with_channels(images, count);
  desc.strides = strides_of(images);
  return desc;
}

/// Up to four channels of source and result: as they are taken out, filtered and put back.
struct Channels {
  Channels(const TensorDesc& source, const TensorDesc& result, std::int64_t at, std::int64_t count)
      : offset(static_cast<NSUInteger>(at) * size_of(source.type)),
        from(with_channels(source, count)),
        to(with_channels(result, count)),
        gather(*StridedCopy::between(part_of(source, count), from)),
        scatter(*StridedCopy::between(to, part_of(result, count))) {}

  NSUInteger offset;  // bytes
  TensorDesc from, to;
  StridedCopy gather, scatter;
};

BufferRange behind(BufferRange range, NSUInteger bytes) {
  range.offset += bytes;
  return range;
}

std::shared_ptr<Kernel> make_filter(const KernelQuery& query, const Filter& filter) {
  const TensorDesc source = query.inputs[0], result = query.outputs[0];
  const std::int64_t all = source.dims[3];
  if (all <= kTextureChannels) {
    return make_single(query, [=](const Site& site) {
      encode_filter(site, filter, {site.range(site.input(0)), source},
                    {site.range(site.output(0)), result});
    });
  }
  std::vector<Channels> parts;
  for (std::int64_t at = 0; at < all; at += kTextureChannels)
    parts.emplace_back(source, result, at, std::min(kTextureChannels, all - at));
  const auto gathered = static_cast<NSUInteger>(parts[0].from.bytes());
  const auto encode = [=](const Site& site) {
    const BufferRange from = site.range(site.scratch()), to = behind(from, gathered);
    for (const Channels& part : parts) {
      part.gather.encode(site, behind(site.range(site.input(0)), part.offset), from);
      encode_filter(site, filter, {from, part.from}, {to, part.to});
      part.scatter.encode(site, to, behind(site.range(site.output(0)), part.offset));
    }
  };
  return make_single(query, encode, gathered + parts[0].to.bytes());
}

}  // namespace

// source with its margins -> sums of a window
Fit fits_image_filter(const KernelQuery& query) { return float32_images(query); }

std::shared_ptr<Kernel> prepare_image_filter(const KernelQuery& query) {
  return make_filter(
      query, Filter([a = query.attributes](id<MTLDevice> device) {
        const auto width = static_cast<NSUInteger>(get_int(a, "kernel_width")),
                   height = static_cast<NSUInteger>(get_int(a, "kernel_height"));
        const std::vector<double>& weights = get_floats(a, "weights");
        const std::vector<float> rounded(weights.begin(), weights.end());
        MPSImageConvolution* made = [[MPSImageConvolution alloc] initWithDevice:device
                                                                    kernelWidth:width
                                                                   kernelHeight:height
                                                                        weights:rounded.data()];
        [made setBias:static_cast<float>(get_float(a, "bias"))];
        // The first result belongs to the middle of the first window.
        [made setOffset:{static_cast<NSInteger>(width / 2), static_cast<NSInteger>(height / 2), 0}];
        return made;
      }));
}

// source -> result of any size
Fit fits_resampling(const KernelQuery& query) { return float32_images(query); }

std::shared_ptr<Kernel> prepare_resampling(const KernelQuery& query) {
  return make_filter(query, Filter([a = query.attributes](id<MTLDevice> device) {
                       const MPSScaleTransform transform = {
                           get_float(a, "scale_x"), get_float(a, "scale_y"),
                           get_float(a, "translate_x"), get_float(a, "translate_y")};
                       constexpr std::int64_t kLanczos = 1;
                       MPSImageScale* made = nil;
                       if (get_int(a, "filter") == kLanczos) {
                         made = [[MPSImageLanczosScale alloc] initWithDevice:device];
                       } else {
                         made = [[MPSImageBilinearScale alloc] initWithDevice:device];
                       }
                       [made setScaleTransform:&transform];
                       [made setEdgeMode:MPSImageEdgeModeClamp];
                       return made;
                     }));
}

}  // namespace mpsnn::backend::metal
