# SPDX-License-Identifier: MIT
# The Metal backend, in Objective-C++: against Apple's frameworks, or against the double of them that
# runs on Linux (tests/metal/double), which clang compiles for GNUstep. All else is compiled as ever.

# mpsnn_metal_double(): the double as the library `metal_double`, in place of the frameworks.
function(mpsnn_metal_double)
  set(source "${CMAKE_CURRENT_SOURCE_DIR}/tests/metal/double")
  file(GLOB sources CONFIGURE_DEPENDS "${source}/*.mm" "${source}/*.cpp")
  add_library(metal_double SHARED ${sources})
  target_compile_features(metal_double PRIVATE cxx_std_20)
  target_include_directories(metal_double PRIVATE "${source}")
  target_include_directories(metal_double SYSTEM PUBLIC "${source}/include" /usr/include/GNUstep)
  # GCC's Objective-C headers, beside its runtime.
  file(GLOB objc_headers "/usr/lib/gcc/*/*/include/objc/objc.h")
  if(NOT objc_headers)
    message(FATAL_ERROR "mpsnn: the Metal double needs libgnustep-base-dev: no objc/objc.h found")
  endif()
  list(GET objc_headers -1 objc_header)
  get_filename_component(objc_include "${objc_header}/../.." ABSOLUTE)
  # Last: the folder also holds GCC's own headers.
  target_compile_options(metal_double PUBLIC
    $<$<COMPILE_LANGUAGE:OBJCXX>:-fobjc-runtime=gcc -fblocks -fobjc-exceptions
    -fconstant-string-class=NSConstantString -DGNUSTEP -DGNUSTEP_BASE_LIBRARY=1 -DGNU_RUNTIME=1
    -D_NATIVE_OBJC_EXCEPTIONS -idirafter "${objc_include}">)
  find_library(MPSNN_GNUSTEP gnustep-base REQUIRED)
  find_library(MPSNN_BLOCKS BlocksRuntime REQUIRED)
  mark_as_advanced(MPSNN_GNUSTEP MPSNN_BLOCKS)
  get_filename_component(objc_library "${objc_include}/../libobjc.so" ABSOLUTE)
  # Blocks first: GNUstep has stand-ins that copy nothing.
  target_link_libraries(metal_double PUBLIC "${MPSNN_BLOCKS}" "${MPSNN_GNUSTEP}" "${objc_library}")
  set_target_properties(metal_double PROPERTIES LINKER_LANGUAGE CXX)
endfunction()

# mpsnn_configure_metal_backend(): what the layer backend_metal is compiled with and linked to.
macro(mpsnn_configure_metal_backend)
  if(MPSNN_METAL_DOUBLE)
    mpsnn_layer_links(backend_metal $<BUILD_INTERFACE:metal_double>)  # never installed
    target_compile_definitions(mpsnn_backend_metal PRIVATE MPSNN_METAL_KIND="metal-double")
  else()
    mpsnn_layer_links(backend_metal "-framework Foundation" "-framework Metal"
                      "-framework MetalPerformanceShaders")
  endif()
endmacro()
