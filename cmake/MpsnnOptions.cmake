# SPDX-License-Identifier: MIT
# How every target here is compiled: C++20, warnings, sanitizers, ccache. Kept on one interface target
# so that nothing leaks to those who use the library.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release, RelWithDebInfo" FORCE)
endif()

set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)  # there are none, and clang's scanner is a package of its own

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(MPSNN_CCACHE ccache)
  mark_as_advanced(MPSNN_CCACHE)
  if(MPSNN_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${MPSNN_CCACHE}")
  endif()
endif()

add_library(mpsnn_options INTERFACE)
target_compile_features(mpsnn_options INTERFACE cxx_std_20)
target_compile_options(mpsnn_options INTERFACE -Wall -Wextra -Wshadow)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 takes `"text" + std::string` for an overlapping copy: gcc.gnu.org/PR105651.
  target_compile_options(mpsnn_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
endif()
if(MPSNN_WERROR)
  target_compile_options(mpsnn_options INTERFACE -Werror)
endif()

if(MPSNN_SANITIZE)
  list(JOIN MPSNN_SANITIZE "," mpsnn_sanitizers)
  target_compile_options(mpsnn_options INTERFACE -fsanitize=${mpsnn_sanitizers} -g
                         -fno-omit-frame-pointer)
  target_link_options(mpsnn_options INTERFACE -fsanitize=${mpsnn_sanitizers})
  if("undefined" IN_LIST MPSNN_SANITIZE)
    target_compile_options(mpsnn_options INTERFACE -fno-sanitize-recover=undefined)
  endif()
endif()
