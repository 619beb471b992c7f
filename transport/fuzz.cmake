# SPDX-License-Identifier: Apache-2.0
#
# arax_add_fuzzer(NAME SOURCES ... LIBRARIES ...): fuzz_NAME.c of this folder with what it tests, and its
# corpus, corpus/NAME. Always the CTest FOLDER.corpus-NAME, which runs the corpus and mutations of it as part
# of this build. Where clang has libFuzzer also fuzz-FOLDER-NAME, built with its sanitizers, and two CTests:
# FOLDER.fuzz-NAME, some seconds, and a long one:
#   ctest --test-dir build -C long -L fuzz-long          (ARAX_FUZZ_SECONDS each, found inputs are kept
#                                                         in build/fuzz/FOLDER-NAME)
set(ARAX_FUZZ_SECONDS 1800 CACHE STRING "How long each target runs in the long fuzz tests, in seconds")
set(ARAX_FUZZ_SHORT 12 CACHE STRING "How long each target runs in the short fuzz tests, in seconds")
find_program(ARAX_CLANG NAMES clang)
if(ARAX_CLANG AND NOT DEFINED ARAX_LIBFUZZER)
	file(WRITE ${PROJECT_BINARY_DIR}/CMakeFiles/fuzzer.c
		"int LLVMFuzzerTestOneInput(const void *d, unsigned long n) { return d && n > 99; }\n")
	execute_process(COMMAND ${ARAX_CLANG} -fsanitize=fuzzer,address,undefined
			${PROJECT_BINARY_DIR}/CMakeFiles/fuzzer.c -o ${PROJECT_BINARY_DIR}/CMakeFiles/fuzzer
		RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
	if(failed)
		set(ARAX_LIBFUZZER FALSE CACHE INTERNAL "clang makes fuzzers")
	else()
		set(ARAX_LIBFUZZER TRUE CACHE INTERNAL "clang makes fuzzers")
	endif()
endif()
function(arax_add_fuzzer name)
	cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBRARIES")
	get_filename_component(folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
	list(TRANSFORM arg_SOURCES PREPEND ${PROJECT_SOURCE_DIR}/)
	set(sources ${CMAKE_CURRENT_SOURCE_DIR}/fuzz_${name}.c ${arg_SOURCES})
	set(corpus ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name})

	set(replay replay-${folder}-${name})
	add_executable(${replay} ${sources} ${PROJECT_SOURCE_DIR}/transport/fuzz_replay.c)
	target_compile_definitions(${replay} PRIVATE _GNU_SOURCE)
	target_link_libraries(${replay} PRIVATE ${arg_LIBRARIES})
	add_test(NAME ${folder}.corpus-${name} COMMAND ${replay} ${corpus})
	set_tests_properties(${folder}.corpus-${name} PROPERTIES TIMEOUT 120)

	# With other sanitizers the corpus is enough: the fuzzers have their own.
	if(NOT ARAX_LIBFUZZER OR ARAX_SANITIZE)
		return()
	endif()
	file(GLOB headers ${PROJECT_SOURCE_DIR}/transport/*.h ${PROJECT_SOURCE_DIR}/transport/*.def
		${PROJECT_SOURCE_DIR}/devices/*.h ${PROJECT_SOURCE_DIR}/scheduler/*.h
		${PROJECT_SOURCE_DIR}/kernels/*.h)
	set(fuzzer ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/fuzz-${folder}-${name})
	set(found ${PROJECT_BINARY_DIR}/fuzz/${folder}-${name})
	file(MAKE_DIRECTORY ${found})
	add_custom_command(OUTPUT ${fuzzer}
		COMMAND ${ARAX_CLANG} -std=gnu17 -O2 -g -Wall -Wextra -Werror -fno-strict-aliasing
			-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -D_GNU_SOURCE
			-I${PROJECT_SOURCE_DIR} ${sources} -o ${fuzzer} ${arg_LIBRARIES}
		DEPENDS ${sources} ${headers} VERBATIM
		COMMENT "Building fuzz-${folder}-${name} with clang")
	add_custom_target(fuzz-${folder}-${name} ALL DEPENDS ${fuzzer})
	foreach(long FALSE TRUE)
		set(test ${folder}.fuzz-${name})
		set(seconds ${ARAX_FUZZ_SHORT})
		unset(configurations)
		if(long)
			set(test ${test}-long)
			set(seconds ${ARAX_FUZZ_SECONDS})
			set(configurations CONFIGURATIONS long)
		endif()
		math(EXPR timeout "${seconds} + 120")
		# What is found first goes to the first folder; a crash leaves its input there, too.
		add_test(NAME ${test} ${configurations}
			COMMAND ${fuzzer} -max_total_time=${seconds} -max_len=8192 -timeout=10
				-print_final_stats=1 -artifact_prefix=${found}.crash- ${found} ${corpus})
		set_tests_properties(${test} PROPERTIES TIMEOUT ${timeout}
			LABELS $<IF:$<BOOL:${long}>,fuzz-long,fuzz>)
	endforeach()
endfunction()
