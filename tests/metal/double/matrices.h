// SPDX-License-Identifier: MIT
// Matrices and vectors of the double, element by element.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "double.h"

/// The elements of one matrix of an object, or of a vector, as the commands that use it hold them.
class Elements {
 public:
  explicit Elements(MPSMatrix* matrix, NSUInteger index = 0)
      : buffer_(matrix->buffer_),
        start_(static_cast<char*>([matrix->buffer_ contents]) + matrix->offset_ +
               index * matrix->matrixBytes_),
        row_bytes_(matrix->rowBytes_),
        type_(matrix->dataType_),
        rows(matrix->rows_),
        columns(matrix->columns_) {}
  /// A vector is one row; nil: none.
  explicit Elements(MPSVector* vector)
      : buffer_(vector == nil ? nil : vector->buffer_),
        start_(vector == nil ? nullptr
                             : static_cast<char*>([vector->buffer_ contents]) + vector->offset_),
        type_(vector == nil ? MPSDataTypeFloat32 : vector->dataType_),
        rows(1),
        columns(vector == nil ? 0 : vector->length_) {}

  explicit operator bool() const { return start_ != nullptr; }
  MPSDataType type() const { return type_; }
  double at(NSUInteger row, NSUInteger column) const {
    const char* place = start_ + row * row_bytes_ + column * bytes_of(type_);
    switch (type_) {
      case MPSDataTypeFloat32:
        return static_cast<double>(load<float>(place));
      case MPSDataTypeFloat16:
        return static_cast<double>(metal_double::from_half(load<std::uint16_t>(place)));
      case MPSDataTypeInt8:
        return load<std::int8_t>(place);
      case MPSDataTypeInt16:
        return load<std::int16_t>(place);
      case MPSDataTypeInt32:
        return load<std::int32_t>(place);
      case MPSDataTypeUInt8:
        return load<std::uint8_t>(place);
      case MPSDataTypeUInt16:
        return load<std::uint16_t>(place);
      case MPSDataTypeUInt32:
        return load<std::uint32_t>(place);
    }
    return 0;
  }
  double at(NSUInteger column) const { return at(0, column); }
  void set(NSUInteger row, NSUInteger column, double value) const {
    char* place = start_ + row * row_bytes_ + column * bytes_of(type_);
    switch (type_) {
      case MPSDataTypeFloat32:
        return store(place, static_cast<float>(value));
      case MPSDataTypeFloat16:
        return store(place, metal_double::to_half(static_cast<float>(value)));
      case MPSDataTypeInt8:
        return store(place, rounded<std::int8_t>(value));
      case MPSDataTypeInt16:
        return store(place, rounded<std::int16_t>(value));
      case MPSDataTypeInt32:
        return store(place, rounded<std::int32_t>(value));
      case MPSDataTypeUInt8:
        return store(place, rounded<std::uint8_t>(value));
      case MPSDataTypeUInt16:
        return store(place, rounded<std::uint16_t>(value));
      case MPSDataTypeUInt32:
        return store(place, rounded<std::uint32_t>(value));
    }
  }
  char* place(NSUInteger row, NSUInteger column) const {
    return start_ + row * row_bytes_ + column * bytes_of(type_);
  }

 private:
  template <class T>
  static T load(const char* place) {
    T value;
    std::memcpy(&value, place, sizeof value);
    return value;
  }
  template <class T>
  static void store(char* place, T value) {
    std::memcpy(place, &value, sizeof value);
  }
  template <class T>
  static T rounded(double value) {
    const double low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
    const double near = std::nearbyint(value);
    return static_cast<T>(near < low ? low : near > high ? high : near);
  }

  Ref<id<MTLBuffer>> buffer_;
  char* start_ = nullptr;
  NSUInteger row_bytes_ = 0;
  MPSDataType type_;

 public:
  const NSUInteger rows, columns;
};

inline bool is_float_type(MPSDataType type) {
  return type == MPSDataTypeFloat32 || type == MPSDataTypeFloat16;
}

/// Refuses a matrix that does not hold rows x columns.
inline void want(const char* kernel, const char* what, const Elements& matrix, NSUInteger rows,
                 NSUInteger columns) {
  if (matrix.rows < rows || matrix.columns < columns)
    refuse(kernel, std::string(what) + " is too small");
}

struct DoubleNeuron {
  metal_double::Neuron rule;
  double alpha = 1;
  void set(MPSCNNNeuronType type, float a, float b, float c) {
    if (type == MPSCNNNeuronTypePReLU) refuse("setNeuronType", "PReLU has a setter of its own");
    rule = {static_cast<int>(type), a, b, c, {}};
  }
  void set_slopes(NSData* data) {
    rule = {MPSCNNNeuronTypePReLU, 0, 0, 0, {}};
    rule.slopes.resize([data length] / sizeof(float));
    std::memcpy(rule.slopes.data(), [data bytes], [data length]);
  }
  void check_slopes(NSUInteger columns) const {
    if (rule.type == MPSCNNNeuronTypePReLU && rule.slopes.size() != columns)
      refuse("MPSMatrixNeuron", "one slope a column is wanted");
  }
};
