# SPDX-License-Identifier: Apache-2.0
#
# The daemon, its command-line tool and their tests; included by scheduler/CMakeLists.txt.
find_package(PkgConfig REQUIRED)
pkg_check_modules(INIH REQUIRED IMPORTED_TARGET inih)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(NCURSES REQUIRED IMPORTED_TARGET ncurses)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)

set(CONFIG_SOURCES config.c config_device.c config_scheduling.c policy_rules.c
	../devices/sim_options.c ../kernels/sandbox_walls.c)
add_executable(araxd araxd.c araxd_adopt.c araxd_build.c araxd_cgroup.c araxd_child.c araxd_client.c araxd_costs.c
	araxd_device.c araxd_domain.c araxd_journal.c araxd_lease.c araxd_link.c araxd_loop.c araxd_manage.c
	araxd_process.c araxd_sandbox.c araxd_seat.c araxd_socket.c araxd_trace.c araxd_variants.c araxd_work.c
	history.c journal.c lease.c pool.c pool_cpu.c status.c
	status_devices.c zygote.c ${CONFIG_SOURCES})
target_compile_definitions(araxd PRIVATE _GNU_SOURCE ARAX_VERSION="${PROJECT_VERSION}"
	ARAX_LIBEXECDIR="${ARAX_LIBEXECDIR}")
target_include_directories(araxd PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(araxd PRIVATE arax-registry arax-kernels arax-transport PkgConfig::INIH
	PkgConfig::JANSSON PkgConfig::SYSTEMD Threads::Threads)

# The scheduling simulator: placement and arbiter with a clock of its own.
add_library(arax-simulate STATIC lease.c simulate.c simulate_device.c simulate_load.c simulate_read.c
	simulate_report.c simulate_result.c simulate_trace.c)
target_compile_definitions(arax-simulate PRIVATE _GNU_SOURCE)
target_link_libraries(arax-simulate PUBLIC arax-policy PkgConfig::INIH PkgConfig::JANSSON m)

add_executable(test-scheduler-simulate test_simulate.c)
target_compile_definitions(test-scheduler-simulate PRIVATE _GNU_SOURCE)
target_link_libraries(test-scheduler-simulate PRIVATE arax-simulate)
foreach(topic elasticity paper newcomer jain light static exhaustive single large memory determinism
	files recorded)
	add_test(NAME scheduler.simulate-${topic} COMMAND test-scheduler-simulate
		${CMAKE_CURRENT_SOURCE_DIR}/simulations ${topic})
	set_tests_properties(scheduler.simulate-${topic} PROPERTIES TIMEOUT 300)
endforeach()

add_executable(arax arax.c arax_cli.c arax_manage.c arax_plot.c arax_simulate.c arax_top.c arax_trace.c
	plot.c trace_json.c)
target_compile_definitions(arax PRIVATE _GNU_SOURCE ARAX_VERSION="${PROJECT_VERSION}")
target_include_directories(arax PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(arax PRIVATE arax-simulate arax-transport PkgConfig::JANSSON PkgConfig::NCURSES
	${CMAKE_DL_LIBS} m)

add_executable(test-scheduler-cgroup test_cgroup.c araxd_cgroup.c araxd_domain.c)
target_compile_definitions(test-scheduler-cgroup PRIVATE _GNU_SOURCE)
target_include_directories(test-scheduler-cgroup PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(test-scheduler-cgroup PRIVATE arax-transport Threads::Threads)
add_test(NAME scheduler.cgroup COMMAND test-scheduler-cgroup)
set_tests_properties(scheduler.cgroup PROPERTIES TIMEOUT 60)

add_executable(test-scheduler-config test_config.c ${CONFIG_SOURCES})
target_compile_definitions(test-scheduler-config PRIVATE _GNU_SOURCE)
target_include_directories(test-scheduler-config PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(test-scheduler-config PRIVATE PkgConfig::INIH)
add_test(NAME scheduler.config COMMAND test-scheduler-config)
set_tests_properties(scheduler.config PROPERTIES TIMEOUT 60)

if(BUILD_TESTING)
	set(CONFIG_FUZZED scheduler/config.c scheduler/config_device.c
		scheduler/config_scheduling.c scheduler/policy_rules.c devices/sim_options.c
		kernels/sandbox_walls.c)
	arax_add_fuzzer(config SOURCES ${CONFIG_FUZZED} LIBRARIES -linih)
	arax_add_fuzzer(journal SOURCES scheduler/araxd_journal.c scheduler/history.c scheduler/journal.c
		transport/wake.c)
	arax_add_fuzzer(client SOURCES scheduler/araxd_client.c scheduler/araxd_domain.c
		scheduler/araxd_trace.c ${CONFIG_FUZZED}
		transport/socket.c transport/trace.c transport/wake.c LIBRARIES -linih)
endif()

add_executable(test-scheduler-journal test_journal.c araxd_domain.c araxd_process.c journal.c)
target_compile_definitions(test-scheduler-journal PRIVATE _GNU_SOURCE)
target_link_libraries(test-scheduler-journal PRIVATE arax-transport)
add_test(NAME scheduler.journal COMMAND test-scheduler-journal)
set_tests_properties(scheduler.journal PROPERTIES TIMEOUT 60)

add_executable(test-scheduler-lease test_lease.c lease.c)
target_compile_definitions(test-scheduler-lease PRIVATE _GNU_SOURCE)
target_include_directories(test-scheduler-lease PRIVATE ${PROJECT_SOURCE_DIR})
add_test(NAME scheduler.lease COMMAND test-scheduler-lease)
set_tests_properties(scheduler.lease PROPERTIES TIMEOUT 60)

# Stands in for arax-tenant and arax-compile, so that the daemon's test needs no OpenCL.
add_executable(test-scheduler-fake-child fake_child.c)
target_compile_definitions(test-scheduler-fake-child PRIVATE _GNU_SOURCE)
target_link_libraries(test-scheduler-fake-child PRIVATE arax-transport)

foreach(topic araxd araxd_adopt araxd_device)
	string(REPLACE _ - name ${topic})
	add_executable(test-scheduler-${name} test_${topic}.c test_daemon.c)
	target_compile_definitions(test-scheduler-${name} PRIVATE _GNU_SOURCE)
	target_link_libraries(test-scheduler-${name} PRIVATE arax-transport)
	add_dependencies(test-scheduler-${name} araxd test-scheduler-fake-child)
	add_test(NAME scheduler.${name} COMMAND test-scheduler-${name} $<TARGET_FILE:araxd>
		$<TARGET_FILE:test-scheduler-fake-child>)
	set_tests_properties(scheduler.${name} PROPERTIES TIMEOUT 120)
endforeach()

add_executable(test-scheduler-trace-json test_trace_json.c plot.c trace_json.c)
target_compile_definitions(test-scheduler-trace-json PRIVATE _GNU_SOURCE)
target_include_directories(test-scheduler-trace-json PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(test-scheduler-trace-json PRIVATE PkgConfig::JANSSON m)
add_test(NAME scheduler.trace-json COMMAND test-scheduler-trace-json)
set_tests_properties(scheduler.trace-json PROPERTIES TIMEOUT 120)

set(simulations ${CMAKE_CURRENT_SOURCE_DIR}/simulations)
add_test(NAME scheduler.simulate-command COMMAND arax simulate ${simulations}/four.machine.ini
	${simulations}/newcomer.load.ini --policy elastic --seed 3 --learned 1 --json
	--svg ${CMAKE_CURRENT_BINARY_DIR}/simulated.svg --trace ${CMAKE_CURRENT_BINARY_DIR}/simulated.json)
set_tests_properties(scheduler.simulate-command PROPERTIES TIMEOUT 60
	PASS_REGULAR_EXPRESSION "\"fair_after_ns\": [0-9]+" FIXTURES_SETUP simulated)
# The timeline is one like those that are recorded.
add_test(NAME scheduler.simulate-picture COMMAND arax plot ${CMAKE_CURRENT_BINARY_DIR}/simulated.json
	${CMAKE_CURRENT_BINARY_DIR}/simulated-again.svg)
add_test(NAME scheduler.simulate-same-picture COMMAND ${CMAKE_COMMAND} -E compare_files
	${CMAKE_CURRENT_BINARY_DIR}/simulated.svg ${CMAKE_CURRENT_BINARY_DIR}/simulated-again.svg)
set_tests_properties(scheduler.simulate-picture PROPERTIES FIXTURES_REQUIRED simulated
	FIXTURES_SETUP simulated-again)
set_tests_properties(scheduler.simulate-same-picture PROPERTIES FIXTURES_REQUIRED
	"simulated;simulated-again")
add_test(NAME scheduler.simulate-refuses COMMAND arax simulate ${simulations}/newcomer.load.ini
	${simulations}/newcomer.load.ini)
set_tests_properties(scheduler.simulate-refuses PROPERTIES
	PASS_REGULAR_EXPRESSION "newcomer.load.ini:[0-9]+: section .kernel step.: must be")

install(TARGETS araxd RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
install(TARGETS arax RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# As for the .icd file: --prefix may change when installing, and below /usr it is /etc that counts. What
# the administrator wrote stays.
install(CODE "
  set(etc \"\${CMAKE_INSTALL_PREFIX}/etc\")
  if(CMAKE_INSTALL_PREFIX STREQUAL \"/usr\")
    set(etc /etc)
  endif()
  set(conf \"\$ENV{DESTDIR}\${etc}/arax/arax.conf\")
  if(NOT EXISTS \"\${conf}\")
    message(STATUS \"Installing: \${conf}\")
    configure_file(\"${CMAKE_CURRENT_SOURCE_DIR}/arax.conf\" \"\${conf}\" COPYONLY)
  endif()
")
install(FILES man/arax.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES man/arax.conf.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
install(FILES man/araxd.8 man/arax-tenant.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
foreach(unit arax.service arax.socket)
	configure_file(systemd/system/${unit}.in systemd/system/${unit} @ONLY)
	configure_file(systemd/user/${unit}.in systemd/user/${unit} @ONLY)
	install(FILES ${CMAKE_CURRENT_BINARY_DIR}/systemd/system/${unit}
		DESTINATION lib/systemd/system)
	install(FILES ${CMAKE_CURRENT_BINARY_DIR}/systemd/user/${unit}
		DESTINATION lib/systemd/user)
endforeach()
