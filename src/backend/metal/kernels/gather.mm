// SPDX-License-Identifier: MIT
// gather, gather_gradient: entries of an array along an axis by index. Arrays are (outer, entries,
// inner). MPS's own kernel does not look where indices lead to, so the host does; the entries, each
// a matrix of (outer, inner), are then copied and added up by it.
#include "backend/metal/kernels.h"
#include "mpsnn/error.h"

namespace mpsnn::backend::metal {
namespace {

/// Entry after entry, each a matrix.
MatrixView entries_of(const TensorDesc& array) {
  const std::vector<std::int64_t> strides = strides_of(array);
  return *view_of({array.type,
                   {array.dims[1], array.dims[0], array.dims[2]},
                   nullptr,
                   {strides[1], strides[0], strides[2]}});
}

class Indices {
 public:
  Indices(const KernelQuery& query, std::int64_t entries)
      : label_(query.label),
        is_signed_(query.inputs[1].type == DataType::INT32),
        count_(static_cast<std::size_t>(query.inputs[1].count())),
        entries_(entries) {}

  /// None where a predicate skips the kernel. An index that no entry has would read anywhere.
  std::vector<std::size_t> read(const Site& site) const {
    if (!site.settle()) return {};
    const auto* given = reinterpret_cast<const std::uint32_t*>(site.input(1));
    std::vector<std::size_t> indices;
    for (std::size_t i = 0; i < count_; ++i) {
      const std::int64_t index =
          is_signed_ ? std::int64_t{static_cast<std::int32_t>(given[i])} : std::int64_t{given[i]};
      if (index < 0 || index >= entries_) {
        throw_expected<DeviceError>(str("\"", label_, "\": index ", i), str("0 to ", entries_ - 1),
                                    index);
      }
      indices.push_back(static_cast<std::size_t>(index));
    }
    return indices;
  }

 private:
  std::string label_;
  bool is_signed_;
  std::size_t count_;
  std::int64_t entries_;
};

Fit fits_arrays(const KernelQuery& query) {
  const TensorDesc &from = query.inputs[0], &to = query.outputs[0];
  const bool fits = from.type == DataType::FLOAT32 && is_dense(from) && is_dense(to);
  return fits ? Fit{} : Fit::no("expected dense float32");
}

}  // namespace

// source, indices -> result
Fit fits_gather(const KernelQuery& query) { return fits_arrays(query); }

std::shared_ptr<Kernel> prepare_gather(const KernelQuery& query) {
  const MatrixView from = entries_of(query.inputs[0]), to = entries_of(query.outputs[0]);
  const Lazy<MPSMatrixCopy*> kernel([=](id<MTLDevice> device) {
    return [[MPSMatrixCopy alloc] initWithDevice:device
                                        copyRows:to.rows
                                     copyColumns:to.columns
                            sourcesAreTransposed:NO
                       destinationsAreTransposed:NO];
  });
  const Indices indices(query, query.inputs[0].dims[1]);
  return make_single(query, [=](const Site& site) {
    const std::vector<std::size_t> chosen = indices.read(site);
    if (chosen.empty()) return;
    MPSMatrixCopyDescriptor* copies =
        [[[MPSMatrixCopyDescriptor alloc] initWithDevice:site.device()
                                                   count:chosen.size()] autorelease];
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      [copies setCopyOperationAtIndex:i
                         sourceMatrix:site.matrix(site.input(0), from, chosen[i])
                    destinationMatrix:site.matrix(site.output(0), to, i)
                              offsets:MPSMatrixCopyOffsets{0, 0, 0, 0}];
    }
    [kernel.on(site) encodeToCommandBuffer:site.commands() copyDescriptor:copies];
  });
}

// gradient, indices -> source gradient: each entry's gradients summed, in the order of the indices
Fit fits_gather_gradient(const KernelQuery& query) { return fits_arrays(query); }

std::shared_ptr<Kernel> prepare_gather_gradient(const KernelQuery& query) {
  const TensorDesc result = query.outputs[0];
  const MatrixView from = entries_of(query.inputs[0]), to = entries_of(result);
  const Lazy<id<MTLBuffer>> zeros([=](id<MTLDevice> device) {
    return make_constant(device, DataType::FLOAT32, 0, static_cast<std::size_t>(result.count()));
  });
  const Lazy<MPSMatrixSum*> kernel([=](id<MTLDevice> device) {
    return [[MPSMatrixSum alloc] initWithDevice:device
                                          count:2
                                           rows:to.rows
                                        columns:to.columns
                                      transpose:NO];
  });
  const StridedCopy clear = *StridedCopy::between(result, result);
  const Indices indices(query, result.dims[1]);
  return make_single(query, [=](const Site& site) {
    const std::vector<std::size_t> chosen = indices.read(site);
    if (chosen.empty()) return;
    clear.encode(site, {Owned<id<MTLBuffer>>::retained(zeros.on(site)), 0},
                 site.range(site.output(0)));
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      MPSMatrix* sum = site.matrix(site.output(0), to, chosen[i]);
      [kernel.on(site) encodeToCommandBuffer:site.commands()
                              sourceMatrices:@[ sum, site.matrix(site.input(0), from, i) ]
                                resultMatrix:sum
                                 scaleVector:nil
                                offsetVector:nil
                                  biasVector:nil
                                  startIndex:0];
    }
  });
}

}  // namespace mpsnn::backend::metal
