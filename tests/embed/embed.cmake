# SPDX-License-Identifier: MIT
# Embedding as a user does it: installs the library, moves the installed folder elsewhere (the package
# must be relocatable), builds the examples out of tree with find_package, and runs them: what one
# trained and archived the other, in C, runs.
#   cmake -DBUILD=<build folder> -DEXAMPLES=<examples> -DWORK=<empty folder> -DPREFIX_PATH=<oneDNN's:OpenBLAS's> -P
include("${CMAKE_CURRENT_LIST_DIR}/tools.cmake")
expect_given(BUILD EXAMPLES WORK GENERATOR CXX_COMPILER)

file(REMOVE_RECURSE "${WORK}")
run("${CMAKE_COMMAND}" --install "${BUILD}" --component devel --prefix "${WORK}/first")
file(RENAME "${WORK}/first" "${WORK}/moved folder")
set(ENV{CMAKE_PREFIX_PATH} "${WORK}/moved folder:${PREFIX_PATH}")

build(cpp/train_small)
run("${WORK}/train_small/train_small" "${WORK}/blur.safetensors")

# The header is plain C99.
set(ENV{CFLAGS} "-Wall -Wextra -Wstrict-prototypes -pedantic -Werror")
build(c/run_archive)
unset(ENV{CFLAGS})
run("${WORK}/run_archive/run_archive" "${WORK}/blur.safetensors")
execute_process(COMMAND "${WORK}/run_archive/run_archive" "${WORK}/blur.safetensors" blur 16 16 1
                OUTPUT_VARIABLE said COMMAND_ERROR_IS_FATAL ANY)
# Grey stays grey but for the border, which is blurred with the dark outside.
if(NOT said MATCHES "^\\(1, 16, 16, 1\\): mean 0\\.4[0-9]+\n$")
  message(FATAL_ERROR "run_archive: expected a mean of 0.4…, got ${said}")
endif()
execute_process(COMMAND "${WORK}/run_archive/run_archive" "${WORK}/none.safetensors"
                RESULT_VARIABLE status ERROR_VARIABLE said)
if(status EQUAL 0 OR NOT said MATCHES "none.safetensors: error 8: ")
  message(FATAL_ERROR "run_archive without an archive: expected error 8, got ${status}: ${said}")
endif()

# A project of C alone is told what it lacks.
file(WRITE "${WORK}/c_alone/CMakeLists.txt" "cmake_minimum_required(VERSION 3.25)\nproject(c_alone LANGUAGES C)\n"
                                            "find_package(mpsnn CONFIG REQUIRED)\n")
execute_process(COMMAND "${CMAKE_COMMAND}" -S "${WORK}/c_alone" -B "${WORK}/c_alone/build" -G "${GENERATOR}"
                RESULT_VARIABLE status OUTPUT_QUIET ERROR_VARIABLE said)
if(status EQUAL 0 OR NOT said MATCHES "mpsnn needs the language CXX")
  message(FATAL_ERROR "A project of C alone: expected to be told that it needs CXX, got ${status}: ${said}")
endif()

# Elsewhere filter_image.cmake does it, with the double of Metal.
if(CMAKE_HOST_APPLE)
  build(objc/filter_image)
  run("${WORK}/filter_image/filter_image" "${WORK}/blur.safetensors" blur 16 16 1 1)
endif()
