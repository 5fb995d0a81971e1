// SPDX-License-Identifier: MIT
// What the double refuses, as MPS's assertions do.
#pragma once

#import <Foundation/Foundation.h>

inline bool is_refused(void (^call)(void)) {
  bool is_caught = false;
  @autoreleasepool {
    @try {
      call();
    } @catch (NSException*) {
      is_caught = true;
    }
  }
  return is_caught;
}
