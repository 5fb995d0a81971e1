// SPDX-License-Identifier: MIT
// Updates that are no operations of a plan: by the host, and by data sources of one's own.
#pragma once

#include "mpsnn/command_buffer.h"
#include "mpsnn/device.h"
#include "runtime/plan_run.h"

namespace mpsnn::runtime {

/// The gradients of one data source that a run makes.
struct OwnGradients {
  explicit OwnGradients(const graph::OwnUpdate& of) : update(of) {}
  const graph::OwnUpdate& update;
  ParameterImages images = {};
};

/// Records what updates the data source, behind the run.
void record_update(CommandBuffer& commands, const PlanRun& run, const OwnGradients& gradients);

}  // namespace mpsnn::runtime
