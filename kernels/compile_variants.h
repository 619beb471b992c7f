/* SPDX-License-Identifier: Apache-2.0
 *
 * Registered variants in a build: what a result gets of them besides the program's own binary, and
 * the programs of built-in kernels, which are made of nothing else.
 */
#ifndef ARAX_KERNELS_COMPILE_VARIANTS_H
#define ARAX_KERNELS_COMPILE_VARIANTS_H

#include "kernels/compile_pocl.h"
#include "kernels/registry.h"
#include "transport/build.h"

/* A program of built-in kernels: their references' sources and options together. */
struct variants_program {
	char *text, *options;
	const struct registry_entry **kernels; /* the references, in the order of the names */
	unsigned nkernels;
};

/**
 * variants_program() - from names with ';' between them
 * Return: 0; -ENOENT with a name that no built-in kernel has, to be freed; -ENOMEM.
 */
int variants_program(const struct registry *registry, const char *names,
		     struct variants_program *program, char **unknown);

/**
 * variants_program_end() - once that is built: result->kernels are those that were asked for, and
 * what devices with compilers of their own need is added
 * Return: 0, -EINVAL: a kernel is not as its manifest says (a variant of the result has the
 * reason), -ENOMEM.
 */
int variants_program_end(const struct variants_program *program, struct arax_result *result);

/**
 * variants_add() - what is registered for the kernels of a result, each built, compared and added;
 * what is no good is added with its reason, and not placed
 * @options: the application's
 * Return: 0 or -ENOMEM.
 */
int variants_add(const struct pocl *pocl, const struct registry *registry, const char *options,
		 struct arax_result *result);

#endif
