// SPDX-License-Identifier: MIT
#pragma once

/// The whole public API.
#include "mpsnn/archive.h"
#include "mpsnn/array.h"
#include "mpsnn/buffer.h"
#include "mpsnn/command_buffer.h"
#include "mpsnn/data_source.h"
#include "mpsnn/device.h"
#include "mpsnn/dropout_state.h"
#include "mpsnn/error.h"
#include "mpsnn/graph.h"
#include "mpsnn/kernel.h"
#include "mpsnn/kernels.h"
#include "mpsnn/node.h"
#include "mpsnn/nodes.h"
#include "mpsnn/normalization_data_source.h"
#include "mpsnn/null_device.h"
#include "mpsnn/pipeline.h"
#include "mpsnn/random.h"
#include "mpsnn/trace.h"
#include "mpsnn/types.h"
#include "mpsnn/version.h"
