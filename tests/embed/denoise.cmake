# SPDX-License-Identifier: MIT
# The denoiser in C++, out of tree against the library that embed.cmake installed and moved, and its pictures
# beside those of the Python application. Needs OpenEXR and libpng; CI has them.
#   cmake -DEXAMPLES=<examples> -DWORK=<embed.cmake's folder> -DPREFIX_PATH=<oneDNN's:OpenBLAS's> -P
include("${CMAKE_CURRENT_LIST_DIR}/tools.cmake")
expect_given(EXAMPLES WORK GENERATOR CXX_COMPILER)
set(ENV{CMAKE_PREFIX_PATH} "${WORK}/moved folder:${PREFIX_PATH}")

file(WRITE "${WORK}/probe/CMakeLists.txt" [[
cmake_minimum_required(VERSION 3.25)
project(probe LANGUAGES CXX)
find_package(OpenEXR 3 CONFIG REQUIRED)
find_package(PNG REQUIRED)
]])
execute_process(COMMAND "${CMAKE_COMMAND}" -S "${WORK}/probe" -B "${WORK}/probe/build" -G "${GENERATOR}"
                "-DCMAKE_CXX_COMPILER=${CXX_COMPILER}"
                RESULT_VARIABLE status OUTPUT_QUIET ERROR_VARIABLE said)
if(NOT status EQUAL 0)
  if(DEFINED ENV{CI})
    message(FATAL_ERROR "${said}")
  endif()
  message(NOTICE "SKIPPED embed_denoise: it needs OpenEXR and libpng (Debian: libopenexr-dev, libpng-dev)")
  return()
endif()

build(cpp/denoise)
# That of PATH, not of the environment where oneDNN lies.
find_program(python NAMES python python3 REQUIRED NO_CMAKE_PATH NO_CMAKE_ENVIRONMENT_PATH)
file(REMOVE_RECURSE "${WORK}/pictures")
file(MAKE_DIRECTORY "${WORK}/pictures")
run("${python}" "${CMAKE_CURRENT_LIST_DIR}/denoise.py" "${WORK}/denoise/denoise" "${WORK}/pictures")
