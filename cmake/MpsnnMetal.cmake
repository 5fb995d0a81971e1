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
  set(flags -fobjc-runtime=gcc -fblocks -fobjc-exceptions -fconstant-string-class=NSConstantString -DGNUSTEP
      -DGNUSTEP_BASE_LIBRARY=1 -DGNU_RUNTIME=1 -D_NATIVE_OBJC_EXCEPTIONS -idirafter "${objc_include}")
  target_compile_options(metal_double PUBLIC "$<$<COMPILE_LANGUAGE:OBJCXX>:${flags}>")
  find_library(MPSNN_GNUSTEP gnustep-base REQUIRED)
  find_library(MPSNN_BLOCKS BlocksRuntime REQUIRED)
  mark_as_advanced(MPSNN_GNUSTEP MPSNN_BLOCKS)
  get_filename_component(objc_library "${objc_include}/../libobjc.so" ABSOLUTE)
  # Blocks first: GNUstep has stand-ins that copy nothing.
  target_link_libraries(metal_double PUBLIC "${MPSNN_BLOCKS}" "${MPSNN_GNUSTEP}" "${objc_library}")
  set_target_properties(metal_double PROPERTIES LINKER_LANGUAGE CXX)
  # For a compiler that puts the double in the place of the frameworks: mpsnn_metal_double_compiler().
  list(JOIN flags " " flags)
  set_property(GLOBAL PROPERTY MPSNN_DOUBLE_FLAGS
               "${flags} -isystem ${source}/include -isystem /usr/include/GNUstep")
  set_property(GLOBAL PROPERTY MPSNN_DOUBLE_LIBRARIES "${MPSNN_BLOCKS} ${MPSNN_GNUSTEP} ${objc_library}")
endfunction()

# mpsnn_metal_double_compiler(<file>): a script that is the Objective-C++ compiler with the double's headers and
# library in the place of Apple's frameworks, for projects that know nothing of the double.
function(mpsnn_metal_double_compiler file)
  get_property(double_flags GLOBAL PROPERTY MPSNN_DOUBLE_FLAGS)
  get_property(double_libraries GLOBAL PROPERTY MPSNN_DOUBLE_LIBRARIES)
  get_property(coverage_libraries GLOBAL PROPERTY MPSNN_COVERAGE_LIBRARIES)
  configure_file("${PROJECT_SOURCE_DIR}/tests/embed/objcxx.in" "${file}.in" @ONLY)
  file(GENERATE OUTPUT "${file}" INPUT "${file}.in"
       FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
endfunction()

# mpsnn_cover_metal_backend(): counts which of its lines run: clang's way in Objective-C++, GCC's in
# C++. tools/metal_coverage reads both.
function(mpsnn_cover_metal_backend)
  execute_process(COMMAND "${CMAKE_OBJCXX_COMPILER}" -print-file-name=libclang_rt.profile-x86_64.a
                  OUTPUT_VARIABLE profile OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT EXISTS "${profile}")
    message(FATAL_ERROR "mpsnn: MPSNN_METAL_COVERAGE needs libclang-rt-19-dev: no ${profile} found")
  endif()
  target_compile_options(mpsnn_backend_metal PRIVATE
    $<$<COMPILE_LANGUAGE:OBJCXX>:-fprofile-instr-generate -fcoverage-mapping>
    $<$<COMPILE_LANGUAGE:CXX>:--coverage>)
  mpsnn_layer_links(backend_metal $<BUILD_INTERFACE:-Wl,-u,__llvm_profile_runtime>
                    $<BUILD_INTERFACE:${profile}> $<BUILD_INTERFACE:gcov>)
  set_property(GLOBAL PROPERTY MPSNN_COVERAGE_LIBRARIES "-Wl,-u,__llvm_profile_runtime ${profile} -lgcov")
endfunction()

# mpsnn_configure_metal_backend(): what the layer backend_metal is compiled with and linked to.
macro(mpsnn_configure_metal_backend)
  if(MPSNN_METAL_DOUBLE)
    mpsnn_layer_links(backend_metal $<BUILD_INTERFACE:metal_double>)  # never installed
    target_compile_definitions(mpsnn_backend_metal PRIVATE MPSNN_METAL_KIND="metal-double")
    if(MPSNN_METAL_COVERAGE)
      mpsnn_cover_metal_backend()
    endif()
  else()
    mpsnn_layer_links(backend_metal "-framework Foundation" "-framework Metal"
                      "-framework MetalPerformanceShaders")
    if(CMAKE_SYSTEM_NAME STREQUAL "Darwin")
      # Metal has a default device only where this framework is in the process
      # (MTLCreateSystemDefaultDevice); nothing else of it is used.
      mpsnn_layer_links(backend_metal "-framework CoreGraphics")
    endif()
  endif()
endmacro()
