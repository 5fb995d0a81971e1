// SPDX-License-Identifier: MIT
// Reading the values that a data source gives.
#pragma once

#include <string>

#include "mpsnn/data_source.h"

namespace mpsnn::runtime {

/// How errors call it: `ConvolutionDataSource "first"`.
std::string title(const DataSource& source);

/// Elements of a parameter.
std::size_t count_of(const ParameterInfo& parameter);

/// The values of all parameters, read between one load() and its purge(). Throws StateError naming
/// the data source where that fails, InvalidArgumentError where a count is wrong.
ParameterValues load_values(const DataSource& source);

}  // namespace mpsnn::runtime
