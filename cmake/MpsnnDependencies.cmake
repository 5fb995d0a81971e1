# SPDX-License-Identifier: MIT
# What is found outside: threads, OpenMP, oneDNN, LAPACK, Python.

find_package(Threads REQUIRED)
set(MPSNN_HAS_OPENMP OFF)
set(MPSNN_HAS_ONEDNN OFF)
set(MPSNN_LAPACK_PACKAGE "")  # OpenBLAS, LAPACK or none

# mpsnn_python_package_dir(<variable> <distribution> <file>): the folder of that file if the active Python
# environment has the distribution, whose own file list says where that is (also inside pip's isolated
# build environments); else empty, also where the libraries of that environment are another machine's.
function(mpsnn_python_package_dir variable distribution file)
  set(found "")
  if(CMAKE_CROSSCOMPILING)
    set(${variable} "" PARENT_SCOPE)
    return()
  endif()
  if(MPSNN_PYTHON)
    find_package(Python 3.10 QUIET COMPONENTS Interpreter Development.Module)
  else()
    find_package(Python 3.10 QUIET COMPONENTS Interpreter)
  endif()
  if(Python_Interpreter_FOUND)
    execute_process(
      COMMAND "${Python_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/cmake/find_in_package.py"
              "${distribution}" "${file}"
      OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  endif()
  set(${variable} "${found}" PARENT_SCOPE)
endfunction()

# Looks for oneDNN in the Python environment too: PyPI's onednn-devel-cpu-gomp installs its CMake package
# there.
function(mpsnn_find_onednn)
  mpsnn_python_package_dir(hints onednn-devel-cpu-gomp dnnl-config.cmake)
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

# LAPACK with BLAS: OpenBLAS of PyPI's scipy-openblas32, whose names begin with scipy_, else the system's
# (Accelerate on macOS). Sets MPSNN_LAPACK_PACKAGE and the target to link in MPSNN_LAPACK_TARGET.
function(mpsnn_find_lapack)
  mpsnn_python_package_dir(hints scipy-openblas32 OpenBLASConfig.cmake)
  if((hints OR OpenBLAS_DIR) AND NOT APPLE)
    find_package(OpenBLAS CONFIG QUIET PATHS ${hints} NO_DEFAULT_PATH)
  endif()
  if(OpenBLAS_FOUND)
    set_target_properties(OpenBLAS::OpenBLAS PROPERTIES IMPORTED_GLOBAL TRUE)
    message(STATUS "mpsnn: LAPACK of OpenBLAS ${OpenBLAS_VERSION} (${OpenBLAS_DIR})")
    set(MPSNN_LAPACK_PACKAGE OpenBLAS PARENT_SCOPE)
    set(MPSNN_LAPACK_TARGET OpenBLAS::OpenBLAS PARENT_SCOPE)
    return()
  endif()
  set(required "")
  if(MPSNN_LAPACK STREQUAL "ON")
    set(required REQUIRED)
  endif()
  find_package(LAPACK QUIET ${required})
  if(LAPACK_FOUND)
    message(STATUS "mpsnn: LAPACK of the system (${LAPACK_LIBRARIES})")
    foreach(target LAPACK::LAPACK BLAS::BLAS)
      if(TARGET ${target})
        set_target_properties(${target} PROPERTIES IMPORTED_GLOBAL TRUE)
      endif()
    endforeach()
    set(MPSNN_LAPACK_PACKAGE LAPACK PARENT_SCOPE)
    set(MPSNN_LAPACK_TARGET LAPACK::LAPACK PARENT_SCOPE)
  else()
    message(STATUS "mpsnn: LAPACK not found: no kernels of decompositions and solves")
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
  if(NOT MPSNN_LAPACK STREQUAL "OFF")
    mpsnn_find_lapack()
  endif()
  if(MPSNN_LAPACK_PACKAGE)
    mpsnn_layer_links(backend_cpu ${MPSNN_LAPACK_TARGET})
    set(mpsnn_lapack_definitions MPSNN_WITH_LAPACK MPSNN_LAPACK_PREFIX=)
    if(MPSNN_LAPACK_PACKAGE STREQUAL "OpenBLAS")
      set(mpsnn_lapack_definitions MPSNN_WITH_LAPACK MPSNN_LAPACK_PREFIX=scipy_
          MPSNN_LAPACK_THREADS=scipy_openblas_set_num_threads
          MPSNN_LAPACK_CONFIG=scipy_openblas_get_config)
    endif()
    set_source_files_properties(src/backend/cpu/ops/lapack.cpp PROPERTIES
                                COMPILE_DEFINITIONS "${mpsnn_lapack_definitions}")
    set_source_files_properties(src/backend/cpu/kernels.cpp PROPERTIES
                                COMPILE_DEFINITIONS MPSNN_WITH_LAPACK)
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
