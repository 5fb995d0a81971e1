// SPDX-License-Identifier: MIT
// GNUstep's headers ask for this file when blocks are on.
#pragma once
#include <Block.h>
