# SPDX-License-Identifier: MIT
# What a shared object shows to whoever loads it: names that match a pattern, and those that it must have.
#   cmake -DNM=<nm> -DOBJECT=<file> -DALLOWED=<regular expression> -DWANTED=<names> -P
include("${CMAKE_CURRENT_LIST_DIR}/tools.cmake")
expect_given(NM OBJECT ALLOWED WANTED)

execute_process(COMMAND "${NM}" --dynamic --defined-only --format=posix "${OBJECT}"
                OUTPUT_VARIABLE lines COMMAND_ERROR_IS_FATAL ANY)
string(REGEX REPLACE " [^\n]*\n" ";" names "${lines}")
set(foreign ${names})
list(FILTER foreign EXCLUDE REGEX "^(${ALLOWED}|)$")
if(foreign)
  list(LENGTH foreign count)
  list(SUBLIST foreign 0 20 foreign)
  list(JOIN foreign "\n  " foreign)
  message(FATAL_ERROR "${OBJECT} shows ${count} names that are not ours:\n  ${foreign}")
endif()
foreach(name IN LISTS WANTED)
  if(NOT name IN_LIST names)
    message(FATAL_ERROR "${OBJECT} does not show ${name}")
  endif()
endforeach()
list(LENGTH names count)
message(STATUS "${OBJECT}: ${count} names, all ours")
