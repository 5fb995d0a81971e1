// SPDX-License-Identifier: MIT
#pragma once

#include "base/json.h"
#include "mpsnn/error.h"

namespace mpsnn::graph {

/// Runs `make`; what it refuses is the archive's fault.
template <class Make>
auto built(const base::JsonField& field, const Make& make) {
  try {
    return make();
  } catch (const InvalidArgumentError& error) {
    field.fail(error.what());
  } catch (const ArgumentTypeError& error) {
    field.fail(error.what());
  } catch (const UnsupportedError& error) {
    field.fail(error.what());
  }
}

}  // namespace mpsnn::graph
