// SPDX-License-Identifier: MIT
// matrix_multiplication, column_sums: MPSMatrixMultiplication, matrix by matrix.
#include "backend/metal/kernels.h"
#include "base/attributes.h"

namespace mpsnn::backend::metal {
namespace {

struct Product {
  NSUInteger rows, columns, interior;
  bool left_turns = false, right_turns = false;
  double alpha = 1, beta = 0;
};

Lazy<MPSMatrixMultiplication*> make_product(const Product& p) {
  return Lazy<MPSMatrixMultiplication*>([p](id<MTLDevice> device) {
    return [[MPSMatrixMultiplication alloc] initWithDevice:device
                                             transposeLeft:p.left_turns
                                            transposeRight:p.right_turns
                                                resultRows:p.rows
                                             resultColumns:p.columns
                                           interiorColumns:p.interior
                                                     alpha:p.alpha
                                                      beta:p.beta];
  });
}

/// The dims before rows and columns.
std::span<const std::int64_t> batch_of(const TensorDesc& desc) {
  return {desc.dims.data(), desc.dims.size() - 2};
}

bool is_small_integer(DataType type) { return type == DataType::INT8 || type == DataType::INT16; }

}  // namespace

// left, right -> alpha * left * right + beta * result
Fit fits_matrix_multiplication(const KernelQuery& query) {
  const TensorDesc &left = query.inputs[0], &right = query.inputs[1], &result = query.outputs[0];
  if (result.type != DataType::FLOAT32)
    return Fit::no(str("its results are float32, got ", name_of(result.type)));
  if (left.type != right.type || (left.type != DataType::FLOAT32 && !is_small_integer(left.type))) {
    return Fit::no(str("expected two of float32, int8 or int16, got ", name_of(left.type), " and ",
                       name_of(right.type)));
  }
  for (const TensorDesc* desc : {&left, &right, &result}) {
    if (!view_of(*desc))
      return Fit::no("expected rows or columns whose elements lie together, got " +
                     mpsnn::to_string(*desc));
  }
  return {};
}

std::shared_ptr<Kernel> prepare_matrix_multiplication(const KernelQuery& query) {
  const TensorDesc& result = query.outputs[0];
  const std::size_t last = result.dims.size() - 1;
  const auto batch = batch_of(result);
  MatrixView left = *view_of(query.inputs[0], batch), right = *view_of(query.inputs[1], batch);
  const MatrixView product = *view_of(result);
  Product p{static_cast<NSUInteger>(result.dims[last - 1]),
            static_cast<NSUInteger>(result.dims[last]),
            static_cast<NSUInteger>(query.inputs[0].dims[last]),
            left.is_transposed,
            right.is_transposed,
            get_float(query.attributes, "alpha"),
            get_float(query.attributes, "beta")};
  // A result that lies in columns is the transpose of the product of the transposes.
  const bool turns = product.is_transposed;
  if (turns) {
    std::swap(left, right);
    std::swap(p.rows, p.columns);
    p.left_turns = !left.is_transposed;
    p.right_turns = !right.is_transposed;
  }
  return make_single(query, [=, kernel = make_product(p)](const Site& site) {
    const std::byte *first = site.input(turns ? 1 : 0), *second = site.input(turns ? 0 : 1);
    for (std::size_t i = 0; i < product.matrices(); ++i) {
      [kernel.on(site) encodeToCommandBuffer:site.commands()
                                  leftMatrix:site.matrix(first, left, i)
                                 rightMatrix:site.matrix(second, right, i)
                                resultMatrix:site.matrix(site.output(0), product, i)];
    }
  });
}

// source -> sums of its columns, over all matrices: products with a row of ones
Fit fits_column_sums(const KernelQuery& query) { return float32_matrices(query); }

std::shared_ptr<Kernel> prepare_column_sums(const KernelQuery& query) {
  const TensorDesc& desc = query.inputs[0];
  const std::size_t last = desc.dims.size() - 1;
  const auto rows = static_cast<NSUInteger>(desc.dims[last - 1]),
             columns = static_cast<NSUInteger>(desc.dims[last]);
  const MatrixView source = *view_of(desc), sums = *view_of(query.outputs[0]);
  const MatrixView ones = rows_of({DataType::FLOAT32, {desc.dims[last - 1]}, nullptr});
  Product p{1, columns, rows, false, source.is_transposed};
  const auto first = make_product(p);
  p.beta = 1;
  const auto next = make_product(p);
  const Lazy<id<MTLBuffer>> row(
      [=](id<MTLDevice> device) { return make_constant(device, DataType::FLOAT32, 1, rows); });
  return make_single(query, [=](const Site& site) {
    const BufferRange constant{Owned<id<MTLBuffer>>::retained(row.on(site)), 0};
    for (std::size_t i = 0; i < source.matrices(); ++i) {
      [(i == 0 ? first : next).on(site) encodeToCommandBuffer:site.commands()
                                                   leftMatrix:Site::matrix_at(constant, ones)
                                                  rightMatrix:site.matrix(site.input(0), source, i)
                                                 resultMatrix:site.matrix(site.output(0), sums)];
    }
  });
}

}  // namespace mpsnn::backend::metal
