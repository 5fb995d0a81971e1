// SPDX-License-Identifier: MIT
// copy: the same values with other strides or of another element type. Floating-point numbers that
// become integers are rounded to the nearest, ties to even, and clamped; NaN becomes 0.
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "backend/cpu/half.h"
#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"
#include "base/half.h"

namespace mpsnn::backend::cpu {
namespace {

/// A row of elements that are `stride` bytes apart.
struct Row {
  std::byte* start;
  std::int64_t stride;
};
using CopyRow = void (*)(const Row& from, const Row& to, std::int64_t count);

/// A float16 as an element: apart from uint16.
struct HalfElement {
  Half bits;
};

// Integers that float32 does not hold are beyond float16's largest: one rounding, not two.
template <class To, class From>
MPSNN_INLINE To converted(From value) {
  if constexpr (std::is_same_v<From, HalfElement>) {
    return converted<To>(float_of_half(value.bits));
  } else if constexpr (std::is_same_v<To, HalfElement>) {
    return {half_of_float(static_cast<float>(value))};
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    if (std::isnan(value)) return 0;
    const double rounded = std::nearbyint(static_cast<double>(value));
    constexpr auto low = static_cast<double>(std::numeric_limits<To>::min()),
                   high = static_cast<double>(std::numeric_limits<To>::max());
    // 2^63 - 1 is no double: its neighbour above is clamped too.
    if (rounded >= high) return std::numeric_limits<To>::max();
    return rounded <= low ? std::numeric_limits<To>::min() : static_cast<To>(rounded);
  } else {
    return static_cast<To>(value);
  }
}

template <class From, class To>
MPSNN_SIMD void copy_dense(const From* from, To* to, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) to[i] = converted<To>(from[i]);
}

// The processor's instructions, where it has them.
inline void copy_dense(const HalfElement* from, float* to, std::int64_t count) {
  halves_to_floats(&from->bits, to, count);
}
inline void copy_dense(const float* from, HalfElement* to, std::int64_t count) {
  floats_to_halves(from, &to->bits, count);
}

template <class From, class To>
void copy_row(const Row& from, const Row& to, std::int64_t count) {
  const bool is_dense = from.stride == sizeof(From) && to.stride == sizeof(To);
  if (is_dense && std::is_same_v<From, To>) {
    std::memcpy(to.start, from.start, static_cast<std::size_t>(count) * sizeof(From));
    return;
  }
  if (is_dense) {
    return copy_dense(reinterpret_cast<const From*>(from.start), reinterpret_cast<To*>(to.start),
                      count);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    *reinterpret_cast<To*>(to.start + i * to.stride) =
        converted<To>(*reinterpret_cast<const From*>(from.start + i * from.stride));
  }
}

template <class From>
CopyRow choose_to(DataType to) {
  switch (to) {
    case DataType::FLOAT32:
      return copy_row<From, float>;
    case DataType::INT32:
      return copy_row<From, std::int32_t>;
    case DataType::UINT32:
      return copy_row<From, std::uint32_t>;
    case DataType::UINT8:
      return copy_row<From, std::uint8_t>;
    case DataType::INT64:
      return copy_row<From, std::int64_t>;
    case DataType::INT8:
      return copy_row<From, std::int8_t>;
    case DataType::INT16:
      return copy_row<From, std::int16_t>;
    case DataType::UINT16:
      return copy_row<From, std::uint16_t>;
    case DataType::FLOAT16:
      return copy_row<From, HalfElement>;
  }
  return nullptr;
}

/// Null where the pair is not supported.
CopyRow choose(DataType from, DataType to) {
  if (from == DataType::FLOAT16 && to == DataType::FLOAT16)
    return copy_row<std::uint16_t, std::uint16_t>;  // the same bits, signalling NaN too
  switch (from) {
    case DataType::FLOAT32:
      return choose_to<float>(to);
    case DataType::INT32:
      return choose_to<std::int32_t>(to);
    case DataType::UINT32:
      return choose_to<std::uint32_t>(to);
    case DataType::UINT8:
      return choose_to<std::uint8_t>(to);
    case DataType::INT64:
      return choose_to<std::int64_t>(to);
    case DataType::INT8:
      return choose_to<std::int8_t>(to);
    case DataType::INT16:
      return choose_to<std::int16_t>(to);
    case DataType::UINT16:
      return choose_to<std::uint16_t>(to);
    case DataType::FLOAT16:
      return choose_to<HalfElement>(to);
  }
  return nullptr;
}

std::vector<std::int64_t> strides_of(const TensorDesc& desc) {
  if (!desc.strides.empty()) return desc.strides;
  std::vector<std::int64_t> strides(desc.dims.size());
  auto next = static_cast<std::int64_t>(size_of(desc.type));
  for (std::size_t i = desc.dims.size(); i-- > 0;) {
    strides[i] = next;
    next *= desc.dims[i];
  }
  return strides;
}

/// A copy with the dimensions that lie together in both operands made one.
struct Shape {
  std::vector<std::int64_t> dims, from, to;

  Shape(const TensorDesc& source, const TensorDesc& result) {
    const std::vector<std::int64_t> a = strides_of(source), b = strides_of(result);
    for (std::size_t i = 0; i < source.dims.size(); ++i) {
      const std::int64_t extent = source.dims[i];
      if (extent == 1 && !dims.empty()) continue;
      if (!dims.empty() && from.back() == extent * a[i] && to.back() == extent * b[i]) {
        dims.back() *= extent;
        from.back() = a[i];
        to.back() = b[i];
        continue;
      }
      dims.push_back(extent);
      from.push_back(a[i]);
      to.push_back(b[i]);
    }
  }
  std::int64_t rows() const {
    std::int64_t rows = 1;
    for (std::size_t i = 0; i + 1 < dims.size(); ++i) rows *= dims[i];
    return rows;
  }
  /// Bytes from the start to row r.
  static std::int64_t offset(const std::vector<std::int64_t>& dims,
                             const std::vector<std::int64_t>& strides, std::int64_t r) {
    std::int64_t offset = 0;
    for (std::size_t i = dims.size() - 1; i-- > 0; r /= dims[i]) offset += r % dims[i] * strides[i];
    return offset;
  }
};

constexpr std::int64_t kRowPart = 4096;  // elements that a thread copies at once

}  // namespace

Fit fits_copy_plain(const KernelQuery& query) {
  const DataType from = query.inputs[0].type, to = query.outputs[0].type;
  if (choose(from, to) != nullptr) return {};
  return Fit::no(str(name_of(from), " -> ", name_of(to), " is not converted"));
}

std::shared_ptr<Kernel> prepare_copy_plain(const KernelQuery& query) {
  const CopyRow copy = choose(query.inputs[0].type, query.outputs[0].type);
  const Shape shape(query.inputs[0], query.outputs[0]);
  const std::int64_t columns = shape.dims.back(), parts = (columns + kRowPart - 1) / kRowPart;
  const std::int64_t bytes =
      std::min(columns, kRowPart) *
      static_cast<std::int64_t>(size_of(query.inputs[0].type) + size_of(query.outputs[0].type));
  const bool is_same = query.inputs[0].type == query.outputs[0].type && shape.from == shape.to;
  return make_kernel([=](const KernelArgs& args) {
    auto* const from = const_cast<std::byte*>(args.input<std::byte>(0));
    auto* const to = args.output<std::byte>(0);
    if (is_same && from == to) return;  // a kernel that works in place
    parallel_for(shape.rows() * parts, grain_for(bytes), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t part = begin; part < end; ++part) {
        const std::int64_t row = part / parts, column = part % parts * kRowPart;
        const Row source{
            from + Shape::offset(shape.dims, shape.from, row) + column * shape.from.back(),
            shape.from.back()};
        const Row result{to + Shape::offset(shape.dims, shape.to, row) + column * shape.to.back(),
                         shape.to.back()};
        copy(source, result, std::min(kRowPart, columns - column));
      }
    });
  });
}

// fill: the plain one is of dense float32; this one of any type and strides.
Fit fits_fill_strided(const KernelQuery& query) {
  const DataType to = query.outputs[0].type;
  if (choose(DataType::FLOAT32, to) != nullptr) return {};
  return Fit::no(str("float32 -> ", name_of(to), " is not converted"));
}

std::shared_ptr<Kernel> prepare_fill_strided(const KernelQuery& query) {
  const CopyRow copy = choose(DataType::FLOAT32, query.outputs[0].type);
  const Shape shape(query.outputs[0], query.outputs[0]);
  const auto value = static_cast<float>(get_float(query.attributes, "value"));
  const std::int64_t columns = shape.dims.back();
  const auto bytes = columns * static_cast<std::int64_t>(size_of(query.outputs[0].type));
  return make_kernel([=](const KernelArgs& args) {
    auto* const to = args.output<std::byte>(0);
    parallel_for(shape.rows(), grain_for(bytes), [&](std::int64_t begin, std::int64_t end) {
      float own = value;
      for (std::int64_t row = begin; row < end; ++row) {
        copy({reinterpret_cast<std::byte*>(&own), 0},
             {to + Shape::offset(shape.dims, shape.to, row), shape.to.back()}, columns);
      }
    });
  });
}

}  // namespace mpsnn::backend::cpu
