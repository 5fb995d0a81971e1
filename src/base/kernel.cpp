// SPDX-License-Identifier: MIT
#include "base/kernel.h"

#include <array>

#include "base/check.h"

namespace mpsnn {
namespace {

constexpr std::array<std::string_view, kOpCount> kOpNames = {
#define MPSNN_OP(name, doc) #name,
#include "base/ops.def"
#undef MPSNN_OP
};

}  // namespace

std::string_view name_of(OpId op) noexcept { return kOpNames[static_cast<std::size_t>(op)]; }

std::int64_t TensorDesc::count() const noexcept {
  std::int64_t product = 1;
  for (const std::int64_t dim : dims) product *= dim;
  return product;
}

std::size_t TensorDesc::bytes() const noexcept {
  if (layout) return layout->bytes;
  if (strides.empty() || count() == 0) return static_cast<std::size_t>(count()) * size_of(type);
  std::size_t end = size_of(type);
  for (std::size_t i = 0; i < dims.size(); ++i)
    end += static_cast<std::size_t>((dims[i] - 1) * strides[i]);
  return end;
}

ImageSize TensorDesc::image() const {
  if (dims.size() != 4)  // at each encode: no text unless it is needed
    check_internal(false, str("an image has rank 4, not ", dims.size()));
  return {dims[0], dims[1], dims[2], dims[3]};
}

std::string to_string(const TensorDesc& desc) {
  std::string text = str(name_of(desc.type), " (");
  for (std::size_t i = 0; i < desc.dims.size(); ++i) text += str(i == 0 ? "" : ", ", desc.dims[i]);
  text += desc.dims.size() == 1 ? ",)" : ")";
  if (desc.layout) text += str("@", desc.layout->name);
  return text;
}

}  // namespace mpsnn
