# SPDX-License-Identifier: MIT
# Installs headers, library and the CMake package, all relocatable. Component `devel`; the Python
# module is component `python`.
include(CMakePackageConfigHelpers)

set(mpsnn_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/mpsnn")
if(BUILD_SHARED_LIBS)
  set(mpsnn_installed mpsnn)
else()
  set(mpsnn_installed mpsnn_static)
endif()

install(TARGETS ${mpsnn_installed} EXPORT mpsnnTargets
        ARCHIVE COMPONENT devel LIBRARY COMPONENT devel RUNTIME COMPONENT devel
        FILE_SET HEADERS COMPONENT devel)
install(EXPORT mpsnnTargets NAMESPACE mpsnn:: DESTINATION "${mpsnn_package_dir}" COMPONENT devel)

configure_package_config_file(cmake/mpsnnConfig.cmake.in
  "${CMAKE_CURRENT_BINARY_DIR}/mpsnnConfig.cmake" INSTALL_DESTINATION "${mpsnn_package_dir}")
# Before 1.0 a minor version may change the API.
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/mpsnnConfigVersion.cmake"
                                 COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/mpsnnConfig.cmake"
              "${CMAKE_CURRENT_BINARY_DIR}/mpsnnConfigVersion.cmake"
        DESTINATION "${mpsnn_package_dir}" COMPONENT devel)
