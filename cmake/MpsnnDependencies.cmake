# SPDX-License-Identifier: MIT
# What is found outside: threads, OpenMP, oneDNN, Python.

find_package(Threads REQUIRED)
set(MPSNN_HAS_OPENMP OFF)
set(MPSNN_HAS_ONEDNN OFF)

# Looks for oneDNN in the prefix of the active Python environment too: PyPI's onednn-devel-cpu-gomp
# installs its CMake package there, and the package's own file list says where that is (also inside
# pip's isolated build environments).
function(mpsnn_find_onednn)
  set(hints "")
  if(MPSNN_PYTHON)
    find_package(Python 3.10 QUIET COMPONENTS Interpreter Development.Module)
  else()
    find_package(Python 3.10 QUIET COMPONENTS Interpreter)
  endif()
  if(Python_Interpreter_FOUND)
    execute_process(
      COMMAND "${Python_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/cmake/find_onednn.py"
      OUTPUT_VARIABLE hints OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  endif()
  set(required "")
  if(MPSNN_ONEDNN STREQUAL "ON")
    set(required REQUIRED)
  endif()
  find_package(dnnl 3 CONFIG QUIET ${required} HINTS ${hints})
  if(dnnl_FOUND)
    set_target_properties(DNNL::dnnl PROPERTIES IMPORTED_GLOBAL TRUE)
    message(STATUS "mpsnn: oneDNN ${dnnl_VERSION} (${dnnl_DIR})")
    set(MPSNN_HAS_ONEDNN ON PARENT_SCOPE)
  else()
    message(STATUS "mpsnn: oneDNN not found: plain kernels only")
  endif()
endfunction()

# Flags and libraries of the CPU backend's kernels. errno and floating-point traps are of no use
# there and stand in the way of vectorisation; nothing that changes results is switched on.
macro(mpsnn_configure_cpu_backend)
  find_package(OpenMP QUIET COMPONENTS CXX)
  if(OpenMP_CXX_FOUND)
    set(MPSNN_HAS_OPENMP ON)
    mpsnn_layer_links(backend_cpu OpenMP::OpenMP_CXX)
  else()
    message(STATUS "mpsnn: OpenMP not found: plain kernels run on one thread")
  endif()
  if(MPSNN_ONEDNN STREQUAL "OFF")
    message(STATUS "mpsnn: oneDNN switched off: plain kernels only")
  else()
    mpsnn_find_onednn()
  endif()
  if(MPSNN_HAS_ONEDNN)
    mpsnn_layer_links(backend_cpu DNNL::dnnl)
  endif()
  target_compile_options(mpsnn_backend_cpu PRIVATE -fno-math-errno -fno-trapping-math
                         $<$<NOT:$<CONFIG:Debug>>:-O3>)
  # Random numbers have the same bits on every path.
  set_source_files_properties(src/backend/cpu/ops/random_numbers.cpp PROPERTIES
                              COMPILE_OPTIONS -ffp-contract=off)
  if(MPSNN_HAS_ONEDNN)
    target_compile_definitions(mpsnn_backend_cpu PRIVATE MPSNN_WITH_ONEDNN)
  endif()
endmacro()
