# SPDX-License-Identifier: MIT
# What the tests of embedding share.

# expect_given(<names>): each must have come as -D<name>=….
function(expect_given)
  foreach(name IN LISTS ARGN)
    if(NOT ${name})
      message(FATAL_ERROR "${CMAKE_SCRIPT_MODE_FILE}: -D${name}= is missing")
    endif()
  endforeach()
endfunction()

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# build(<example>): out of tree, its program is ${WORK}/<name>/<name>.
function(build example)
  get_filename_component(name "${example}" NAME)
  run("${CMAKE_COMMAND}" -S "${EXAMPLES}/${example}" -B "${WORK}/${name}" -G "${GENERATOR}"
      "-DCMAKE_CXX_COMPILER=${CXX_COMPILER}" "-DCMAKE_BUILD_TYPE=Release")
  run("${CMAKE_COMMAND}" --build "${WORK}/${name}")
endfunction()
