// SPDX-License-Identifier: MIT
// Where windows lie: the bits of Apple's padding method, or a policy of the caller's own.
#include <algorithm>

#include "double.h"

using metal_double::Pixels;
using metal_double::Window;

namespace {

int extent(int kernel, int dilation) { return (kernel - 1) * dilation + 1; }

/// The kernel that a policy sets up, with the offsets that the class has.
MPSCNNKernel* make_kernel(Class kind, const Window& w) {
  MPSCNNKernel* kernel = [[[kind alloc] init] autorelease];
  [kernel setEdgeMode:w.clamps ? MPSImageEdgeModeClamp : MPSImageEdgeModeZero];
  return kernel;
}

MPSImageDescriptor* ask(const DoubleNode& node, MPSCNNKernel* kernel, const Placing& size,
                        int channels) {
  MPSImageDescriptor* suggested = [MPSImageDescriptor
      imageDescriptorWithChannelFormat:MPSImageFeatureChannelFormatFloat16
                                 width:static_cast<NSUInteger>(std::max(size.width, 1))
                                height:static_cast<NSUInteger>(std::max(size.height, 1))
                       featureChannels:static_cast<NSUInteger>(channels)];
  return [node.padding.get() destinationImageDescriptorForSourceImages:[NSArray array]
                                                          sourceStates:nil
                                                             forKernel:kernel
                                                   suggestedDescriptor:suggested];
}

void ask_policy(const DoubleNode& node, Class kind, Window& w, const Pixels& source,
                Placing& size) {
  MPSCNNKernel* kernel = make_kernel(kind, w);
  [kernel setOffset:{3, 5, 0}];  // of MPS's own computation, which runs first
  MPSImageDescriptor* wanted = ask(node, kernel, size, source.channels);
  size.height = static_cast<int>(wanted->height_);
  size.width = static_cast<int>(wanted->width_);
  int y = static_cast<int>([kernel offset].y), x = static_cast<int>([kernel offset].x);
  if ([kernel isKindOfClass:[MPSCNNConvolutionTranspose class]]) {
    auto* transposed = static_cast<MPSCNNConvolutionTranspose*>(kernel);
    if (y != 0 || x != 0)
      refuse("MPSCNNConvolutionTranspose", "the double wants kernel offsets only");
    y = static_cast<int>([transposed kernelOffsetY]);
    x = static_cast<int>([transposed kernelOffsetX]);
  }
  size.origin = {y - extent(w.kernel_y, w.dilation_y) / 2,
                 x - extent(w.kernel_x, w.dilation_x) / 2};
  w.clamps = [kernel edgeMode] == MPSImageEdgeModeClamp;
  if (![kernel isKindOfClass:[MPSCNNPoolingAverage class]]) return;
  w.border_x = static_cast<int>([static_cast<MPSCNNPoolingAverage*>(kernel) zeroPadSizeX]);
  w.border_y = static_cast<int>([static_cast<MPSCNNPoolingAverage*>(kernel) zeroPadSizeY]);
}

}  // namespace

Placing place(const DoubleNode& node, Class kernel, Window& w, const Pixels& source) {
  // The default of MPS's windowed kernels: centred, remainder to the top left, same size.
  const std::uint64_t method = node.padding.get() == nil ? 16 : [node.padding.get() paddingMethod];
  const auto y =
      metal_double::place(method, true, w.kernel_y, w.stride_y, w.dilation_y, source.height);
  const auto x =
      metal_double::place(method, false, w.kernel_x, w.stride_x, w.dilation_x, source.width);
  Placing size{y.size,
               x.size,
               {y.offset - extent(w.kernel_y, w.dilation_y) / 2,
                x.offset - extent(w.kernel_x, w.dilation_x) / 2}};
  if ((method & MPSNNPaddingMethodCustom) != 0) ask_policy(node, kernel, w, source, size);
  if (size.height < 1 || size.width < 1) refuse("MPSNNGraph", "a window does not fit its image");
  return size;
}

metal_double::Shape DoubleFilter::shape(const DoubleNode&, const Pixels& source) {
  return {source.height, source.width, source.channels};
}
