/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests: a program as the compiler would deliver it. PoCL compiles in a forked process, which
 * must not have loaded PoCL before, so that the test's own process never compiles.
 */
#ifndef ARAX_DEVICES_TEST_POCL_H
#define ARAX_DEVICES_TEST_POCL_H

#include <stddef.h>

/* The short names of PoCL's devices, in the order of POCL_DEVICES. */
extern const char *const test_pocl_names[2];

/** test_pocl_environment() - POCL_DEVICES and so on, with a cache directory of its own; the
 *  directory is removed at exit. */
void test_pocl_environment(void);

/**
 * test_pocl_compile() - a build result with all kernels of a source, for both devices
 * Return: the bytes, to be freed, *size set. Ends the test when it cannot.
 */
void *test_pocl_compile(const char *source, size_t *size);

#endif
