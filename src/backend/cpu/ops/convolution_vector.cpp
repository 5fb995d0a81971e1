// SPDX-License-Identifier: MIT
// convolution of one pixel: a fully connected layer of one image, or a 1x1 convolution of one
// pixel. It is BLAS's product of the weights, as the data source holds them, and the pixel. The
// weights are read once: a copy in another order would cost more than the product, and as much
// memory again.
#include <algorithm>

#include "backend/cpu/ops/convolution.h"
#include "backend/cpu/ops/lapack.h"
#include "backend/cpu/ops/rows.h"

namespace mpsnn::backend::cpu {

Fit fits_convolution_vector(const KernelQuery& query) {
  if (Fit fit = lapack::available(); !fit.yes) return fit;
  if (Fit fit = fits_convolution_case(query, /*zero_only=*/false); !fit.yes) return fit;
  const ConvolutionCase c = read_convolution(query);
  const bool is_pixel = c.images == 1 && c.y.source == 1 && c.y.result == 1 && c.x.source == 1 &&
                        c.x.result == 1 && c.y.pad == 0 && c.x.pad == 0;
  if (!is_pixel || c.taps() != 1 || c.groups != 1) return Fit::no("expected one pixel");
  return lapack::fits_integers(query);
}

std::shared_ptr<Kernel> prepare_convolution_vector(const KernelQuery& query) {
  return make_kernel([c = read_convolution(query)](const KernelArgs& args) {
    const lapack::Matrix weights{const_cast<float*>(args.input<float>(1)), c.inputs};
    float* const result = args.output<float>(0);
    if (c.bias) std::copy_n(args.input<float>(2), c.outputs, result);
    lapack::multiply_vector(weights, c.outputs, c.inputs, /*transpose=*/false, 1.0F,
                            args.input<float>(0), 1, c.bias ? 1.0F : 0.0F, result, 1);
    apply_neuron(c.neuron, result, result, c.outputs);
  });
}

}  // namespace mpsnn::backend::cpu
