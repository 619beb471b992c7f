/* SPDX-License-Identifier: Apache-2.0
 *
 * Build options: which there are, which of them PoCL gets, and nothing else ever reaches clang's
 * command line (it has options that load code).
 */
#ifndef ARAX_KERNELS_COMPILE_OPTIONS_H
#define ARAX_KERNELS_COMPILE_OPTIONS_H

#include "transport/build.h"

/**
 * options_check() - judge and translate an application's options
 * @kind: what is to be done
 * @options: as the application gave them
 * @prefix: put before them for sources; NULL for nothing
 * @passed: what PoCL gets, to be freed
 * @refused: the option that is not accepted, to be freed; NULL when all are
 *
 * Return: 0, -EINVAL when one is refused, -ENOMEM.
 */
int options_check(enum arax_build_kind kind, const char *options, const char *prefix, char **passed,
		  char **refused);

#endif
