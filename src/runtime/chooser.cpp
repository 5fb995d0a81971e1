// SPDX-License-Identifier: MIT
#include "runtime/chooser.h"

#include <algorithm>

#include "mpsnn/error.h"

namespace mpsnn::runtime {
namespace {

std::string list_of(std::span<const TensorDesc> operands) {
  std::string text;
  for (const TensorDesc& operand : operands) {
    text += (text.empty() ? "" : ", ") + (operand.dims.empty() ? "none" : to_string(operand));
  }
  return text;
}

}  // namespace

TableChooser::TableChooser(const backend::Device& device)
    : kind_(device.info().kind),
      threads_(device.info().limits_threads ? device.info().threads : 0) {
  for (const backend::KernelRow& row : device.kernels())
    rows_[static_cast<std::size_t>(row.op)].push_back(&row);
}

std::shared_ptr<const Kernel> TableChooser::choose(const KernelQuery& asked) const {
  KernelQuery query = asked;
  query.threads = threads_;
  std::string reasons;
  for (const backend::KernelRow* row : rows_[static_cast<std::size_t>(query.op)]) {
    const backend::Fit fit = row->fits(query);
    if (!fit.yes) {
      reasons += "\n  " + std::string(row->name) + ": " + fit.reason;
      continue;
    }
    const std::shared_ptr<Kernel> kernel = row->prepare(query);
    // A kernel that runs another one says so in a name of its own.
    if (kernel->row.empty()) kernel->row = row->name;
    return kernel;
  }
  if (reasons.empty()) reasons = "\n  there is no kernel for this operation";
  throw UnsupportedError("node \"" + std::string(query.label) + "\": device \"" + kind_ +
                         "\" has no kernel for " + std::string(name_of(query.op)) + " of " +
                         list_of(query.inputs) + " -> " + list_of(query.outputs) + ":" + reasons);
}

bool TableChooser::has(const KernelQuery& query) const {
  return std::ranges::any_of(rows_[static_cast<std::size_t>(query.op)],
                             [&](const auto* row) { return row->fits(query).yes; });
}

}  // namespace mpsnn::runtime
