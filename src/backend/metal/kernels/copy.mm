// SPDX-License-Identifier: MIT
// Copies: parts of matrices, other strides, other element types, channels of images, one value
// everywhere. MPSMatrixCopy moves them all.
#include <algorithm>
#include <cstring>

#include "backend/metal/images.h"
#include "backend/metal/kernels.h"
#include "base/attributes.h"
#include "base/half.h"

namespace mpsnn::backend::metal {
namespace {

/// A dimension of a copy: its extent, and the bytes of a step in source and result.
struct Axis {
  std::int64_t extent, from, to;
};

/// The dimensions with those that lie together in both operands made one.
std::vector<Axis> axes_of(const TensorDesc& from, const TensorDesc& to) {
  const std::vector<std::int64_t> a = strides_of(from), b = strides_of(to);
  std::vector<Axis> axes;
  for (std::size_t i = 0; i < from.dims.size(); ++i) {
    const Axis next{from.dims[i], a[i], b[i]};
    if (next.extent == 1) continue;
    if (!axes.empty() && axes.back().from == next.extent * next.from &&
        axes.back().to == next.extent * next.to) {
      axes.back() = {axes.back().extent * next.extent, next.from, next.to};
    } else {
      axes.push_back(next);
    }
  }
  return axes;
}

/// Takes the axis out that `wanted` chooses, the longest of several; an axis of one element where
/// there is none.
template <class Wanted>
Axis take(std::vector<Axis>& axes, Axis otherwise, Wanted&& wanted) {
  auto best = axes.end();
  for (auto at = axes.begin(); at != axes.end(); ++at) {
    if (wanted(*at) && (best == axes.end() || at->extent > best->extent)) best = at;
  }
  if (best == axes.end()) return otherwise;
  const Axis taken = *best;
  axes.erase(best);
  return taken;
}

MatrixView plain_view(std::int64_t rows, std::int64_t columns, std::int64_t row_step,
                      std::int64_t element, MPSDataType type) {
  MatrixView view;
  view.rows = static_cast<NSUInteger>(rows);
  view.columns = static_cast<NSUInteger>(columns);
  view.row_bytes = static_cast<NSUInteger>(rows == 1 ? columns * element : row_step);
  view.type = type;
  return view;
}

/// The offsets of all copies: one for each place along the axes that are left.
void place_copies(const std::vector<Axis>& axes, MatrixView& from, MatrixView& to) {
  from.offsets = to.offsets = {0};
  for (const Axis& axis : axes) {
    std::vector<NSUInteger> sources, results;
    for (std::size_t i = 0; i < from.offsets.size(); ++i) {
      for (std::int64_t k = 0; k < axis.extent; ++k) {
        sources.push_back(from.offsets[i] + static_cast<NSUInteger>(k * axis.from));
        results.push_back(to.offsets[i] + static_cast<NSUInteger>(k * axis.to));
      }
    }
    from.offsets = std::move(sources);
    to.offsets = std::move(results);
  }
}

/// The places of the first `count` of several elements: dims and strides of a part of a desc.
TensorDesc part_of(const TensorDesc& whole, std::vector<std::int64_t> dims) {
  return {whole.type, std::move(dims), nullptr, strides_of(whole)};
}

std::shared_ptr<Kernel> make_copies(const KernelQuery& query, std::vector<StridedCopy> copies,
                                    std::vector<NSUInteger> from_offsets,
                                    std::vector<NSUInteger> to_offsets) {
  return make_single(query, [=](const Site& site) {
    for (std::size_t i = 0; i < copies.size(); ++i) {
      const bool is_joined = to_offsets.size() > 1;
      BufferRange from = site.range(site.input(is_joined ? i : 0)), to = site.range(site.output(0));
      from.offset += from_offsets[i];
      to.offset += to_offsets[i];
      copies[i].encode(site, from, to);
    }
  });
}

Fit fits_between(const TensorDesc& from, const TensorDesc& to) {
  std::string reason;
  if (StridedCopy::between(from, to, &reason)) return {};
  return Fit::no(std::move(reason));
}

}  // namespace

std::optional<StridedCopy> StridedCopy::between(const TensorDesc& from, const TensorDesc& to,
                                                std::string* reason) {
  const auto refuse = [&](std::string why) -> std::optional<StridedCopy> {
    if (reason != nullptr) *reason = std::move(why);
    return std::nullopt;
  };
  if (from.type != to.type)
    return refuse(
        str("it copies one element type, got ", name_of(from.type), " -> ", name_of(to.type)));
  if (from.type == DataType::INT64) return refuse("it has no int64");
  const auto element = static_cast<std::int64_t>(size_of(from.type));
  std::vector<Axis> axes = axes_of(from, to);
  const Axis one{1, element, element};
  const auto fits = [&](const Axis& axis, std::int64_t source, std::int64_t result) {
    return axis.from >= source * element && axis.to >= result * element &&
           axis.from % element == 0 && axis.to % element == 0;
  };
  StridedCopy copy;
  const MPSDataType type = mps_type(from.type);
  NSUInteger rows = 0, columns = 0;
  bool turns = false;
  // Elements that lie together on both sides are the columns.
  const Axis both =
      take(axes, one, [&](const Axis& a) { return a.from == element && a.to == element; });
  std::vector<Axis> rest = axes;
  const Axis source = take(rest, one, [&](const Axis& a) { return a.from == element; });
  const Axis result = take(rest, one, [&](const Axis& a) { return a.to == element; });
  turns = both.extent == 1 && source.extent > 1 && result.extent > 1 &&
          fits({0, result.from, source.to}, source.extent, result.extent);
  if (turns) {
    axes = rest;
    copy.from_ = plain_view(result.extent, source.extent, result.from, element, type);
    copy.to_ = plain_view(source.extent, result.extent, source.to, element, type);
    rows = copy.to_.rows;
    columns = copy.to_.columns;
  } else {
    const Axis row =
        take(axes, one, [&](const Axis& a) { return fits(a, both.extent, both.extent); });
    copy.from_ = plain_view(row.extent, both.extent, row.from, element, type);
    copy.to_ = plain_view(row.extent, both.extent, row.to, element, type);
    rows = copy.from_.rows;
    columns = copy.from_.columns;
  }
  place_copies(axes, copy.from_, copy.to_);
  copy.kernel_.emplace([=](id<MTLDevice> device) {
    return [[MPSMatrixCopy alloc] initWithDevice:device
                                        copyRows:rows
                                     copyColumns:columns
                            sourcesAreTransposed:turns
                       destinationsAreTransposed:NO];
  });
  return copy;
}

void StridedCopy::encode(const Site& site, const BufferRange& from, const BufferRange& to) const {
  const NSUInteger count = from_.matrices();
  MPSMatrixCopyDescriptor* copies =
      [[[MPSMatrixCopyDescriptor alloc] initWithDevice:site.device() count:count] autorelease];
  for (NSUInteger i = 0; i < count; ++i) {
    [copies setCopyOperationAtIndex:i
                       sourceMatrix:Site::matrix_at(from, from_, i)
                  destinationMatrix:Site::matrix_at(to, to_, i)
                            offsets:MPSMatrixCopyOffsets{0, 0, 0, 0}];
  }
  [kernel_->on(site) encodeToCommandBuffer:site.commands() copyDescriptor:copies];
}

// source -> the same values with other strides
Fit fits_copy(const KernelQuery& query) { return fits_between(query.inputs[0], query.outputs[0]); }

std::shared_ptr<Kernel> prepare_copy(const KernelQuery& query) {
  return make_copies(query, {*StridedCopy::between(query.inputs[0], query.outputs[0])}, {0}, {0});
}

// source -> the same values of another element type: through images, which MPS converts. Dense
// memory on both sides, or copies of it in the scratch.
namespace {

class Conversion {
 public:
  Conversion(const TensorDesc& from, const TensorDesc& to)
      : from_(from.type), to_(to.type), count_(from.count()) {}

  void encode(const Site& site, const BufferRange& from, const BufferRange& to) const {
    const std::int64_t rows = count_ / kMostPixels, rest = count_ % kMostPixels;
    if (rows > 0) encode_image(site, from, to, 0, {1, rows, kMostPixels, 1});
    if (rest > 0) encode_image(site, from, to, rows * kMostPixels, {1, 1, rest, 1});
  }

 private:
  void encode_image(const Site& site, BufferRange from, BufferRange to, std::int64_t first,
                    const std::vector<std::int64_t>& dims) const {
    const TensorDesc source{from_, dims, nullptr}, result{to_, dims, nullptr};
    from.offset += static_cast<NSUInteger>(first) * size_of(from_);
    to.offset += static_cast<NSUInteger>(first) * size_of(to_);
    MPSImageBatch* images = site.copies().copy_in(site.commands(), from, source);
    MPSImageBatch* converted = ImageCopies::make_images(site.commands(), result);
    [neuron_.on(site) encodeBatchToCommandBuffer:site.commands()
                                    sourceImages:images
                               destinationImages:converted];
    site.copies().copy_out(site.commands(), converted, to, result);
  }

  DataType from_, to_;
  std::int64_t count_;
  Lazy<MPSCNNNeuron*> neuron_{[](id<MTLDevice> device) {
    // 1 x + 0: no header says that a neuron of no type is a kernel.
    MPSNNNeuronDescriptor* identity =
        [MPSNNNeuronDescriptor cnnNeuronDescriptorWithType:MPSCNNNeuronTypeLinear a:1 b:0 c:0];
    return [[MPSCNNNeuron alloc] initWithDevice:device neuronDescriptor:identity];
  }};
};

bool is_float(DataType type) { return type == DataType::FLOAT32 || type == DataType::FLOAT16; }

}  // namespace

Fit fits_conversion(const KernelQuery& query) {
  const TensorDesc &from = query.inputs[0], &to = query.outputs[0];
  if (from.type == to.type) return Fit::no("one element type needs no conversion");
  if (!is_float(from.type) || !is_float(to.type)) {
    return Fit::no(str("MPS converts float16 and float32, got ", name_of(from.type), " -> ",
                       name_of(to.type)));
  }
  if (from.count() > kMostPixels * kMostPixels)
    return Fit::no(
        str("an image holds ", kMostPixels * kMostPixels, " numbers, got ", from.count()));
  return {};
}

std::shared_ptr<Kernel> prepare_conversion(const KernelQuery& query) {
  const TensorDesc from = query.inputs[0], to = query.outputs[0];
  std::optional<StridedCopy> gather, scatter;
  std::size_t gathered = 0, scattered = 0;
  if (!is_dense(from)) {
    gather = StridedCopy::between(from, dense(from));
    gathered = aligned(dense(from).bytes());
  }
  if (!is_dense(to)) {
    scatter = StridedCopy::between(dense(to), to);
    scattered = dense(to).bytes();
  }
  const Conversion conversion(from, to);
  const auto encode = [=](const Site& site) {
    BufferRange source = site.range(site.input(0)), result = site.range(site.output(0));
    if (gather) {
      const BufferRange copy = site.range(site.scratch());
      gather->encode(site, source, copy);
      source = copy;
    }
    if (!scatter) return conversion.encode(site, source, result);
    const BufferRange copy = site.range(site.scratch() + gathered);
    conversion.encode(site, source, copy);
    scatter->encode(site, copy, result);
  };
  return make_single(query, encode, gathered + scattered);
}

// matrix -> its transpose
namespace {

TensorDesc turned(const TensorDesc& matrix) {
  TensorDesc desc = matrix;
  desc.strides = strides_of(matrix);
  const std::size_t last = desc.dims.size() - 1;
  std::swap(desc.dims[last], desc.dims[last - 1]);
  std::swap(desc.strides[last], desc.strides[last - 1]);
  return desc;
}

}  // namespace

Fit fits_transpose(const KernelQuery& query) {
  return fits_between(turned(query.inputs[0]), query.outputs[0]);
}

std::shared_ptr<Kernel> prepare_transpose(const KernelQuery& query) {
  return make_copies(query, {*StridedCopy::between(turned(query.inputs[0]), query.outputs[0])}, {0},
                     {0});
}

// sources -> result, along the channels
Fit fits_concatenation(const KernelQuery& query) {
  for (const TensorDesc& source : query.inputs) {
    if (Fit fit = fits_between(source, part_of(query.outputs[0], source.dims)); !fit.yes)
      return fit;
  }
  return {};
}

std::shared_ptr<Kernel> prepare_concatenation(const KernelQuery& query) {
  std::vector<StridedCopy> copies;
  std::vector<NSUInteger> offsets;
  NSUInteger offset = 0;
  for (const TensorDesc& source : query.inputs) {
    copies.push_back(*StridedCopy::between(source, part_of(query.outputs[0], source.dims)));
    offsets.push_back(offset);
    offset += static_cast<NSUInteger>(source.dims.back()) * size_of(source.type);
  }
  return make_copies(query, std::move(copies), std::vector<NSUInteger>(offsets.size()), offsets);
}

// source -> a range of its channels
Fit fits_slice(const KernelQuery& query) {
  return fits_between(part_of(query.inputs[0], query.outputs[0].dims), query.outputs[0]);
}

std::shared_ptr<Kernel> prepare_slice(const KernelQuery& query) {
  const auto first = static_cast<NSUInteger>(get_int(query.attributes, "channel_offset"));
  const TensorDesc part = part_of(query.inputs[0], query.outputs[0].dims);
  return make_copies(query, {*StridedCopy::between(part, query.outputs[0])},
                     {first * size_of(part.type)}, {0});
}

// -> one value everywhere
id<MTLBuffer> make_constant(id<MTLDevice> device, DataType type, double value, std::size_t count) {
  const NSUInteger bytes = count * size_of(type);
  id<MTLBuffer> made = [device newBufferWithLength:bytes options:MTLResourceStorageModeShared];
  if (made == nil) fail_on_device("constant", "the device has no memory left");
  if (type == DataType::FLOAT16) {
    std::fill_n(static_cast<std::uint16_t*>([made contents]), count,
                half_of_float(static_cast<float>(value)));
  } else {
    std::fill_n(static_cast<float*>([made contents]), count, static_cast<float>(value));
  }
  return made;
}

Fit fits_fill(const KernelQuery& query) {
  const TensorDesc& result = query.outputs[0];
  if (!is_float(result.type))
    return Fit::no(str("expected float32 or float16, got ", name_of(result.type)));
  return fits_between(dense(result), result);
}

std::shared_ptr<Kernel> prepare_fill(const KernelQuery& query) {
  const TensorDesc result = query.outputs[0];
  const double value = get_float(query.attributes, "value");
  const Lazy<id<MTLBuffer>> constant([=](id<MTLDevice> device) {
    return make_constant(device, result.type, value, static_cast<std::size_t>(result.count()));
  });
  const StridedCopy copy = *StridedCopy::between(dense(result), result);
  return make_single(query, [=](const Site& site) {
    const auto values = Owned<id<MTLBuffer>>::retained(constant.on(site));
    copy.encode(site, {values, 0}, site.range(site.output(0)));
  });
}

}  // namespace mpsnn::backend::metal
