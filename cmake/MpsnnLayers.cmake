# SPDX-License-Identifier: MIT
# A target a layer, and the library made of them.

# Version header, from the project's version.
configure_file("${CMAKE_CURRENT_SOURCE_DIR}/include/mpsnn/version.h.in"
               "${CMAKE_CURRENT_BINARY_DIR}/include/mpsnn/version.h" @ONLY)

# Where all of our code finds headers: public ones, generated ones, and src/ as the internal root.
add_library(mpsnn_headers INTERFACE)
target_include_directories(mpsnn_headers INTERFACE "${CMAKE_CURRENT_SOURCE_DIR}/include"
                           "${CMAKE_CURRENT_BINARY_DIR}/include" "${CMAKE_CURRENT_SOURCE_DIR}/src")
target_link_libraries(mpsnn_headers INTERFACE mpsnn_options)

# Headers that most files include, with those named, precompiled for a target of many files. Files still
# include what they use: CI builds without it.
function(mpsnn_precompile target)
  if(MPSNN_PCH)
    target_precompile_headers(${target} PRIVATE <algorithm> <cstdint> <functional> <map> <memory> <mutex>
                              <optional> <span> <string> <string_view> <variant> <vector> ${ARGN})
    if(MPSNN_METAL_DOUBLE)
      # Objective-C++ is clang's there: CMake writes a pragma of clang's into the header that GCC reads, too.
      target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wno-unknown-pragmas>)
    endif()
  endif()
endfunction()

# mpsnn_layer(<name> [SOURCES <folder of src/>] [NEEDS <layers>])
# makes the object library mpsnn_<name> of all .cpp files below src/<folder>. With the tests, the layer
# is also linked alone against what it names: a call against the arrows is an undefined symbol.
function(mpsnn_layer name)
  cmake_parse_arguments(PARSE_ARGV 1 layer "" "SOURCES" "NEEDS")
  if(NOT layer_SOURCES)
    set(layer_SOURCES ${name})
  endif()
  # Objective-C++ stands in the Metal backend only.
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "src/${layer_SOURCES}/*.cpp" "src/${layer_SOURCES}/*.mm")
  if(NOT sources)
    message(FATAL_ERROR "mpsnn: layer ${name} has no source in src/${layer_SOURCES}")
  endif()
  add_library(mpsnn_${name} OBJECT ${sources})
  target_link_libraries(mpsnn_${name} PRIVATE mpsnn_headers)
  list(LENGTH sources count)
  if(count GREATER 10 AND NOT sources MATCHES "\\.mm")
    mpsnn_precompile(mpsnn_${name})
  endif()

  if(MPSNN_TESTS AND CMAKE_SYSTEM_NAME STREQUAL "Linux" AND NOT MPSNN_SANITIZE)
    list(TRANSFORM layer_NEEDS PREPEND "mpsnn_closed_" OUTPUT_VARIABLE needed)
    add_library(mpsnn_closed_${name} SHARED $<TARGET_OBJECTS:mpsnn_${name}>)
    target_link_libraries(mpsnn_closed_${name} PRIVATE mpsnn_options ${needed})
    target_link_options(mpsnn_closed_${name} PRIVATE -Wl,--no-undefined)
  endif()
endfunction()

# What a layer links from outside; PRIVATE for its objects, and again for the library.
function(mpsnn_layer_links name)
  target_link_libraries(mpsnn_${name} PRIVATE ${ARGN})
  if(TARGET mpsnn_closed_${name})
    target_link_libraries(mpsnn_closed_${name} PRIVATE ${ARGN})
  endif()
  set_property(GLOBAL APPEND PROPERTY MPSNN_LINKS ${ARGN})
endfunction()

# mpsnn_library(<name> LAYERS <layers>): the library of all layers, and mpsnn::<name>.
function(mpsnn_library name)
  cmake_parse_arguments(PARSE_ARGV 1 library "" "" "LAYERS")
  list(TRANSFORM library_LAYERS REPLACE "(.+)" "$<TARGET_OBJECTS:mpsnn_\\1>" OUTPUT_VARIABLE objects)
  # Xcode builds no library of other targets' objects alone.
  set(own_source "${CMAKE_CURRENT_BINARY_DIR}/${name}_library.cpp")
  file(CONFIGURE OUTPUT "${own_source}" CONTENT "// The library's own source: its code is in the layers.\n")
  list(APPEND objects "${own_source}")
  # Internal code (tests, bindings) links the static library whatever the installed one is.
  add_library(${name}_static STATIC ${objects})
  mpsnn_finish_library(${name}_static)
  if(BUILD_SHARED_LIBS)
    add_library(${name} SHARED ${objects})
    mpsnn_finish_library(${name})
    mpsnn_hide_internals(${name})
    set_target_properties(${name} PROPERTIES VERSION ${PROJECT_VERSION}
                          SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
                          INSTALL_RPATH "$<IF:$<PLATFORM_ID:Darwin>,@loader_path,\$ORIGIN>"
                          INSTALL_RPATH_USE_LINK_PATH ON)
    add_library(mpsnn::${name} ALIAS ${name})
  else()
    set_target_properties(${name}_static PROPERTIES OUTPUT_NAME ${name} EXPORT_NAME ${name})
    add_library(mpsnn::${name} ALIAS ${name}_static)
  endif()
  # For the test of what a shared library shows, whatever is installed.
  if(MPSNN_TESTS AND NOT BUILD_SHARED_LIBS AND NOT MPSNN_SANITIZE)
    add_library(${name}_shown SHARED ${objects})
    mpsnn_finish_library(${name}_shown)
    mpsnn_hide_internals(${name}_shown)
  endif()
endfunction()

function(mpsnn_finish_library target)
  set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX)
  target_compile_features(${target} PUBLIC cxx_std_20)
  file(GLOB headers CONFIGURE_DEPENDS include/*.h include/mpsnn/*.h)
  target_sources(${target} PUBLIC FILE_SET HEADERS
    BASE_DIRS "${CMAKE_CURRENT_SOURCE_DIR}/include" "${CMAKE_CURRENT_BINARY_DIR}/include"
    FILES ${headers} "${CMAKE_CURRENT_BINARY_DIR}/include/mpsnn/version.h")
  get_property(links GLOBAL PROPERTY MPSNN_LINKS)
  list(REMOVE_DUPLICATES links)
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:mpsnn_options> Threads::Threads ${links})
endfunction()

# A shared library shows our namespace only, so that nobody meets our copies of templates of the
# standard library or of vendors. By name, since the public headers carry no export macros.
function(mpsnn_hide_internals target)
  if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
    target_link_options(${target} PRIVATE
      "LINKER:--version-script=${CMAKE_CURRENT_SOURCE_DIR}/cmake/exports.map")
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS
                 "${CMAKE_CURRENT_SOURCE_DIR}/cmake/exports.map")
  endif()
endfunction()
