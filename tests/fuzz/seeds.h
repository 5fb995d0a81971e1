// SPDX-License-Identifier: MIT
// Archives to start from.
#pragma once

#include <string>

namespace fuzzing {

/// The file of a training graph with an optimizer's state, a normalisation, a dropout, weights of
/// each element type, and of kernels with state.
std::string training_archive();

}  // namespace fuzzing
