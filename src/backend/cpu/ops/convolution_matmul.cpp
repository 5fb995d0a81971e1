// SPDX-License-Identifier: MIT
// The gradients of a fully connected layer as matrix products by oneDNN: with result = source W^T,
// W (outputs, inputs) as the data source holds it, grad source = grad W and grad W = grad^T source.
// No copy of the weights in another order is needed, and none of their gradient.
#if defined(MPSNN_WITH_ONEDNN)

#include "backend/cpu/ops/convolution.h"
#include "backend/cpu/ops/onednn.h"
#include "backend/cpu/ops/reduction.h"
#include "backend/cpu/ops/rows.h"

namespace mpsnn::backend::cpu {
namespace {

using dnnl::memory;
using onednn::Operand;
using From = Operand::From;

enum class Order { ROWS, COLUMNS };

memory::desc matrix(std::int64_t rows, std::int64_t columns, Order order) {
  const memory::dims strides =
      order == Order::ROWS ? memory::dims{columns, 1} : memory::dims{1, rows};
  return {{rows, columns}, memory::data_type::f32, strides};
}

/// left (rows, summed) times right (summed, columns), in the order of the operation's inputs.
struct Product {
  memory::desc left, right, result;
  std::size_t left_input, right_input;
};

Product data_gradient(const ConvolutionCase& c) {
  return {matrix(c.x.result, c.outputs, Order::ROWS), matrix(c.outputs, c.inputs, Order::ROWS),
          matrix(c.x.result, c.inputs, Order::ROWS), 0, 1};
}

Product weights_gradient(const ConvolutionCase& c) {
  return {matrix(c.outputs, c.x.result, Order::COLUMNS), matrix(c.x.result, c.inputs, Order::ROWS),
          matrix(c.outputs, c.inputs, Order::ROWS), 0, 1};
}

dnnl::matmul::primitive_desc describe(const Product& product) {
  constexpr bool kAllowEmpty = true;
  return {onednn::engine(),          product.left, product.right, product.result,
          onednn::make_attributes(), kAllowEmpty};
}

Fit fits_row_of_pixels(const KernelQuery& query) {
  const Fit fit = fits_convolution_case(query, /*zero_only=*/false);
  if (!fit.yes) return fit;
  const ConvolutionCase c = read_convolution(query);
  const bool is_row = c.images == 1 && c.y.source == 1 && c.y.result == 1 &&
                      c.x.source == c.x.result && c.x.stride == 1;
  if (!is_row || c.taps() != 1 || c.groups != 1 || c.y.pad != 0 || c.x.pad != 0)
    return Fit::no("expected a fully connected layer, or a 1x1 convolution of one row");
  return {};
}

Fit fits_product(const KernelQuery& query, Product (*product_of)(const ConvolutionCase&)) {
  const Fit fit = fits_row_of_pixels(query);
  if (!fit.yes) return fit;
  const auto description = describe(product_of(read_convolution(query)));
  if (description && !std::string_view(description.impl_info_str()).starts_with("ref")) return {};
  return Fit::no("oneDNN has no kernel for this product");
}

std::shared_ptr<onednn::StepsKernel> prepare(const Product& product) {
  const auto description = describe(product);
  std::vector<onednn::Step> steps;
  steps.emplace_back(
      dnnl::matmul(description),
      std::vector<Operand>{{DNNL_ARG_SRC, product.left, From::INPUT, product.left_input},
                           {DNNL_ARG_WEIGHTS, product.right, From::INPUT, product.right_input},
                           {DNNL_ARG_DST, product.result, From::OUTPUT, 0},
                           {DNNL_ARG_SCRATCHPAD, description.scratchpad_desc(), From::SCRATCH, 0}});
  auto kernel = std::make_shared<onednn::StepsKernel>(std::move(steps));
  kernel->scratch_bytes = description.scratchpad_desc().get_size();
  return kernel;
}

}  // namespace

Fit fits_convolution_data_gradient_matmul(const KernelQuery& query) {
  if (has_input(query, 2)) return Fit::no("bias: expected none");
  return fits_product(query, data_gradient);
}

std::shared_ptr<Kernel> prepare_convolution_data_gradient_matmul(const KernelQuery& query) {
  return prepare(data_gradient(read_convolution(query)));
}

Fit fits_convolution_weights_gradient_matmul(const KernelQuery& query) {
  return fits_product(query, weights_gradient);
}

std::shared_ptr<Kernel> prepare_convolution_weights_gradient_matmul(const KernelQuery& query) {
  const ConvolutionCase c = read_convolution(query);
  auto product = prepare(weights_gradient(c));
  if (!c.bias) return product;
  product->row = "convolution_weights_gradient/matmul";  // the runtime names the outer kernel only
  const ColumnSum bias(c.x.result, c.outputs);
  const std::size_t bias_at = onednn::aligned(product->scratch_bytes);
  return make_kernel(
      [product, bias, bias_at](const KernelArgs& args) {
        product->run(args);
        bias.run(args.input<float>(0), 1.0F, args.output<float>(1),
                 static_cast<std::byte*>(args.scratch) + bias_at);
      },
      bias_at + bias.scratch_bytes());
}

}  // namespace mpsnn::backend::cpu

#endif  // MPSNN_WITH_ONEDNN
