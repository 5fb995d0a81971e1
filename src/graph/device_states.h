// SPDX-License-Identifier: MIT
// The slot in which a data source keeps its state on each device. The graph layer only owns it;
// what is inside is the runtime's.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "mpsnn/data_source.h"

namespace mpsnn {

struct DataSource::DeviceStates {
  std::mutex mutex;
  std::map<const void*, std::shared_ptr<void>> by_device;  // key: the runtime's DeviceState
};

}  // namespace mpsnn
