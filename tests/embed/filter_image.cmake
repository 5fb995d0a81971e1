# SPDX-License-Identifier: MIT
# The Objective-C++ example as a user builds it: out of tree, with the installed library alone, moved elsewhere.
# OBJCXX_COMPILER has the double in the place of Apple's frameworks. It runs on an archive with a graph "half".
#   cmake -DBUILD=<build folder> -DEXAMPLES=<examples> -DWORK=<empty folder> -DARCHIVE=<file> … -P
include("${CMAKE_CURRENT_LIST_DIR}/tools.cmake")
expect_given(BUILD EXAMPLES WORK ARCHIVE GENERATOR CXX_COMPILER OBJCXX_COMPILER)

file(REMOVE_RECURSE "${WORK}")
run("${CMAKE_COMMAND}" --install "${BUILD}" --component devel --prefix "${WORK}/first")
file(RENAME "${WORK}/first" "${WORK}/moved folder")
set(ENV{CMAKE_PREFIX_PATH} "${WORK}/moved folder:${PREFIX_PATH}")
set(ENV{OBJCXX} "${OBJCXX_COMPILER}")
build(objc/filter_image)
# No error is tried: with the double's runtime Objective-C++ catches no exception of C++.
execute_process(COMMAND "${WORK}/filter_image/filter_image" "${ARCHIVE}" half 4 6 3 3
                OUTPUT_VARIABLE said COMMAND_ERROR_IS_FATAL ANY)
if(NOT said STREQUAL "(1, 4, 6, 3): mean 0.250000\n")
  message(FATAL_ERROR "filter_image: expected (1, 4, 6, 3) and a mean of 0.25, got ${said}")
endif()
