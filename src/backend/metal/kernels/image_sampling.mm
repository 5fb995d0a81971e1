// SPDX-License-Identifier: MIT
// Images read at positions that another image holds, and compared with their neighbourhoods.
#include "backend/metal/image_kernels.h"
#include "base/attributes.h"

namespace mpsnn::backend::metal {

// source, grid of positions -> source at these positions
Fit fits_grid_sample(const KernelQuery& query) { return float32_images(query); }

std::shared_ptr<Kernel> prepare_grid_sample(const KernelQuery& query) {
  return make_binary(
      query, Lazy<MPSCNNBinaryKernel*>([a = query.attributes](id<MTLDevice> device) {
        MPSNNGridSample* made = [[MPSNNGridSample alloc] initWithDevice:device];
        [made setUseGridValueAsInputCoordinate:get_bool(a, "is_absolute") ? YES : NO];
        [made setPrimaryEdgeMode:static_cast<MPSImageEdgeMode>(get_int(a, "edge_mode"))];
        return made;
      }));
}

// primary, secondary with margins of zeros -> products with the neighbourhood
namespace {

/// The margins on each side of the secondary image.
struct Margins {
  explicit Margins(const KernelQuery& query)
      : y((query.inputs[1].dims[1] - query.inputs[0].dims[1]) / 2),
        x((query.inputs[1].dims[2] - query.inputs[0].dims[2]) / 2) {}
  std::int64_t y, x;
};

}  // namespace

Fit fits_local_correlation(const KernelQuery& query) { return float32_images(query); }

/// MPS reads zeros outside of an image of the primary's size by itself: the margins are left out.
std::shared_ptr<Kernel> prepare_local_correlation(const KernelQuery& query) {
  const TensorDesc primary = query.inputs[0], secondary = query.inputs[1],
                   result = query.outputs[0];
  const Margins margins(query);
  const std::vector<std::int64_t> strides = strides_of(secondary);
  const auto offset = static_cast<NSUInteger>(margins.y * strides[1] + margins.x * strides[2]);
  const StridedCopy without_margins =
      *StridedCopy::between({secondary.type, primary.dims, nullptr, strides}, primary);
  const Lazy<MPSCNNBinaryKernel*> kernel([a = query.attributes](id<MTLDevice> device) {
    const auto number = [&](std::string_view name) {
      return static_cast<NSUInteger>(get_int(a, name));
    };
    MPSNNLocalCorrelation* made = [[MPSNNLocalCorrelation alloc] initWithDevice:device
                                                                      windowInX:number("window_x")
                                                                      windowInY:number("window_y")
                                                                      strideInX:number("stride_x")
                                                                      strideInY:number("stride_y")];
    [made setSecondaryEdgeMode:MPSImageEdgeModeZero];
    return made;
  });
  const auto encode = [=](const Site& site) {
    BufferRange whole = site.range(site.input(1));
    whole.offset += offset;
    const BufferRange inside = site.range(site.scratch());
    without_margins.encode(site, whole, inside);
    encode_binary(site, kernel.on(site), {site.range(site.input(0)), primary}, {inside, primary},
                  {site.range(site.output(0)), result});
  };
  return make_single(query, encode, primary.bytes());
}

}  // namespace mpsnn::backend::metal
