# SPDX-License-Identifier: MIT
# mpsnn as part of another build, by FetchContent: built and run. It compiles the library once more: CI does it, where a
# cache has the objects.
#   cmake -DSOURCE=<this project> -DWORK=<folder> -DPREFIX_PATH=<oneDNN's> -DGENERATOR=… -DCXX_COMPILER=… -P
include("${CMAKE_CURRENT_LIST_DIR}/tools.cmake")
expect_given(SOURCE WORK GENERATOR CXX_COMPILER)
set(ENV{CMAKE_PREFIX_PATH} "${PREFIX_PATH}")

file(REMOVE_RECURSE "${WORK}/fetch")
run("${CMAKE_COMMAND}" -S "${SOURCE}/tests/embed/fetch" -B "${WORK}/fetch" -G "${GENERATOR}"
    "-DCMAKE_CXX_COMPILER=${CXX_COMPILER}" "-DCMAKE_BUILD_TYPE=Release" "-DMPSNN_SOURCE=${SOURCE}"
    -DMPSNN_PCH=OFF)
run("${CMAKE_COMMAND}" --build "${WORK}/fetch")
execute_process(COMMAND "${WORK}/fetch/fetch" OUTPUT_VARIABLE said COMMAND_ERROR_IS_FATAL ANY)
if(NOT said MATCHES "^mpsnn [0-9.]+: 4\n$")
  message(FATAL_ERROR "fetch: expected the largest pixel, 4, got ${said}")
endif()
