/* SPDX-License-Identifier: Apache-2.0
 *
 * One build, from the bytes of the request to those of the result.
 */
#ifndef ARAX_KERNELS_COMPILE_BUILD_H
#define ARAX_KERNELS_COMPILE_BUILD_H

#include "kernels/compile_pocl.h"
#include "kernels/registry.h"
#include "transport/build.h"

/**
 * build_run() - do what a request asks; the current directory is private to this build
 * @registry: the registered variants that belong to it, or NULL
 * Return: 0 with the result in *w (a failed build is a result), or -errno: the request is not
 * one, or memory ran out.
 */
int build_run(const struct pocl *pocl, const void *request, size_t size,
	      const struct registry *registry, struct arax_writer *w);

/** build_flags() - what of options those who load a binary must know: ARAX_RESULT_*. */
uint32_t build_flags(const char *options);

/** build_failure() - the result of a build of this kind that ended with no result of its own
 *  @ours: it is not the program's fault, nor the compiler's. */
void build_failure(struct arax_writer *w, uint32_t kind, bool ours, const char *log);

#endif
