/* SPDX-License-Identifier: Apache-2.0
 *
 * Names that are too long for PoCL, which makes them names of files: the compiler sees a short one
 * in their place (arax_kernel_short_name()), everybody else the long one.
 */
#ifndef ARAX_KERNELS_COMPILE_NAMES_H
#define ARAX_KERNELS_COMPILE_NAMES_H

#include <stddef.h>

/* The long names of a program; zero-initialised: none. They live as long as the process. */
struct names {
	char **list;
	size_t count;
};

/**
 * names_scan() - add the long identifiers of a source; each once
 * Return: 0 or -ENOMEM.
 */
int names_scan(struct names *names, const char *text, size_t size);

/**
 * names_options() - options that rename them
 * @before: what stands before these options, or NULL
 * @options: to be freed
 * Return: 0 or -ENOMEM.
 */
int names_options(const struct names *names, const char *before, char **options);

/** names_long() - the name that became this one; itself if it was not shortened. */
const char *names_long(const struct names *names, const char *name);

#endif
