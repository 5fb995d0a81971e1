// SPDX-License-Identifier: MIT
// matrix_copy: a part of a matrix into a part of another, both found on the device: by offsets and
// by the places that rows and columns get.
#include <algorithm>

#include "backend/metal/kernels.h"
#include "base/attributes.h"
#include "mpsnn/error.h"

namespace mpsnn::backend::metal {
namespace {

/// Rows and columns of a part.
struct Extent {
  NSUInteger rows, columns;
};

class PartCopy {
 public:
  explicit PartCopy(const KernelQuery& query)
      : label_(query.label),
        source_(*view_of(query.inputs[0])),
        result_(*view_of(query.outputs[0])),
        offset_index_(static_cast<NSUInteger>(get_int(query.attributes, "offset_index"))) {
    const AttributeMap& a = query.attributes;
    const auto number = [&](std::string_view name) {
      return static_cast<std::uint32_t>(get_int(a, name));
    };
    offsets_ = {number("source_row"), number("source_column"), number("result_row"),
                number("result_column")};
    const NSUInteger rows = number("copy_rows"), columns = number("copy_columns");
    const bool from_turned = get_bool(a, "source_is_transposed"),
               to_turned = get_bool(a, "destination_is_transposed");
    read_ = from_turned ? Extent{columns, rows} : Extent{rows, columns};
    written_ = to_turned ? Extent{columns, rows} : Extent{rows, columns};
    kernel_.emplace([=](id<MTLDevice> device) {
      return [[MPSMatrixCopy alloc] initWithDevice:device
                                          copyRows:rows
                                       copyColumns:columns
                              sourcesAreTransposed:from_turned
                         destinationsAreTransposed:to_turned];
    });
  }

  void encode(const Site& site) const {
    const auto* given = reinterpret_cast<const std::uint32_t*>(site.input(1));
    MPSMatrixCopyOffsets offsets = offsets_;
    if (given != nullptr || site.input(2) != nullptr || site.input(3) != nullptr) {
      // MPS does not look where offsets and places that the device reads lead to: the host does.
      if (!site.settle()) return;
      if (given != nullptr) {
        const std::uint32_t* own = given + 4 * offset_index_;
        offsets = {own[0], own[1], own[2], own[3]};
      }
    }
    check(offsets, site);
    MPSMatrixCopyDescriptor* copies =
        [MPSMatrixCopyDescriptor descriptorWithSourceMatrix:site.matrix(site.input(0), source_)
                                          destinationMatrix:site.matrix(site.output(0), result_)
                                                    offsets:offsets];
    if (site.input(2) == nullptr && site.input(3) == nullptr) {
      [kernel_->on(site) encodeToCommandBuffer:site.commands() copyDescriptor:copies];
      return;
    }
    [kernel_->on(site) encodeToCommandBuffer:site.commands()
                              copyDescriptor:copies
                           rowPermuteIndices:places(site, 2, written_.rows)
                            rowPermuteOffset:0
                        columnPermuteIndices:places(site, 3, written_.columns)
                         columnPermuteOffset:0];
  }

 private:
  static MPSVector* places(const Site& site, std::size_t i, NSUInteger count) {
    if (site.input(i) == nullptr) return nil;
    return site.vector(site.input(i), static_cast<std::int64_t>(count), MPSDataTypeUInt32);
  }

  void check(const MPSMatrixCopyOffsets& at, const Site& site) const {
    check_range("offset_vector", at.sourceRowOffset, read_.rows, source_.rows, "source row");
    check_range("offset_vector", at.sourceColumnOffset, read_.columns, source_.columns,
                "source column");
    check_places("row_permute_indices", site.input(2), at.destinationRowOffset, written_.rows,
                 result_.rows);
    check_places("column_permute_indices", site.input(3), at.destinationColumnOffset,
                 written_.columns, result_.columns);
  }

  void check_places(std::string_view argument, const std::byte* permutation, NSUInteger offset,
                    NSUInteger count, NSUInteger extent) const {
    if (permutation == nullptr) return check_range(argument, offset, count, extent, "place");
    const auto* own = reinterpret_cast<const std::uint32_t*>(permutation);
    for (NSUInteger i = 0; i < count; ++i)
      check_range(argument, own[i] + offset, 1, extent, "place");
  }

  void check_range(std::string_view argument, NSUInteger at, NSUInteger size, NSUInteger extent,
                   std::string_view what) const {
    if (size <= extent && at <= extent - size) return;
    throw_expected<DeviceError>(str("MatrixCopy \"", label_, "\": ", argument),
                                str("a ", what, " of at most ", extent - std::min(size, extent)),
                                at);
  }

  std::string label_;
  MatrixView source_, result_;
  NSUInteger offset_index_;
  MPSMatrixCopyOffsets offsets_ = {};
  Extent read_ = {}, written_ = {};
  std::optional<Lazy<MPSMatrixCopy*>> kernel_;
};

}  // namespace

// source, offsets?, row permutation?, column permutation? -> result
Fit fits_matrix_copy(const KernelQuery& query) {
  for (const TensorDesc* desc : {&query.inputs[0], &query.outputs[0]}) {
    if (desc->type == DataType::INT64) return Fit::no("it has no int64");
    const auto view = view_of(*desc);
    if (!view || view->is_transposed)
      return Fit::no("expected rows whose elements lie together, got " + mpsnn::to_string(*desc));
  }
  return {};
}

std::shared_ptr<Kernel> prepare_matrix_copy(const KernelQuery& query) {
  return make_single(query, [copy = PartCopy(query)](const Site& site) { copy.encode(site); });
}

}  // namespace mpsnn::backend::metal
