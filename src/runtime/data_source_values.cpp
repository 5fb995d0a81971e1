// SPDX-License-Identifier: MIT
#include "runtime/data_source_values.h"

#include <exception>
#include <utility>

#include "base/check.h"
#include "mpsnn/error.h"

namespace mpsnn::runtime {
namespace {

/// What a method of a data source throws, with the names of both.
template <class Call>
auto named(const DataSource& source, std::string_view method, Call&& call) {
  try {
    return std::forward<Call>(call)();
  } catch (const std::exception& error) {
    std::string_view text = error.what();
    const std::string name = str(title(source), ": ");
    if (text.starts_with(name)) text.remove_prefix(name.size());  // it stands in front anyway
    std::throw_with_nested(StateError(str(name, method, ": ", text)));
  }
}

std::vector<float> values_of(const DataSource& source, const ParameterInfo& parameter) {
  auto values = named(source, "values", [&] { return source.values(parameter.name); });
  if (values.size() != count_of(parameter)) {
    throw_expected(str(title(source), ": values(\"", parameter.name, "\")"),
                   str(count_of(parameter), " values"), values.size());
  }
  return values;
}

ParameterValues all_values(const DataSource& source) {
  ParameterValues all;
  for (const ParameterInfo& parameter : source.parameters())
    all.emplace(parameter.name, values_of(source, parameter));
  return all;
}

}  // namespace

std::string title(const DataSource& source) {
  return str(source.class_name(), " \"", source.label(), '"');
}

std::size_t count_of(const ParameterInfo& parameter) {
  std::size_t count = 1;
  for (const std::int64_t extent : parameter.shape) count *= static_cast<std::size_t>(extent);
  return count;
}

ParameterValues load_values(const DataSource& source) {
  if (!named(source, "load", [&] { return source.load(); }))
    throw_expected<StateError>(title(source) + ": load", "true", "false");
  ParameterValues all;
  try {
    all = all_values(source);
  } catch (...) {
    source.purge();
    throw;
  }
  named(source, "purge", [&] { source.purge(); });
  return all;
}

}  // namespace mpsnn::runtime
