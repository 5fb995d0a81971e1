# SPDX-License-Identifier: MIT
# Embedding as a user does it: installs the library, moves the installed folder elsewhere (the package
# must be relocatable), builds examples/cpp/train_small out of tree with find_package, and runs it.
#   cmake -DBUILD=<build folder> -DSOURCE=<example> -DWORK=<empty folder> -DPREFIX_PATH=<oneDNN's:OpenBLAS's> -P
foreach(name BUILD SOURCE WORK GENERATOR CXX_COMPILER)
  if(NOT ${name})
    message(FATAL_ERROR "embed.cmake: -D${name}= is missing")
  endif()
endforeach()

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(REMOVE_RECURSE "${WORK}")
run("${CMAKE_COMMAND}" --install "${BUILD}" --component devel --prefix "${WORK}/first")
file(RENAME "${WORK}/first" "${WORK}/moved")
set(ENV{CMAKE_PREFIX_PATH} "${WORK}/moved:${PREFIX_PATH}")
run("${CMAKE_COMMAND}" -S "${SOURCE}" -B "${WORK}/build" -G "${GENERATOR}"
    "-DCMAKE_CXX_COMPILER=${CXX_COMPILER}" "-DCMAKE_BUILD_TYPE=Release")
run("${CMAKE_COMMAND}" --build "${WORK}/build")
run("${WORK}/build/train_small")
