/* SPDX-License-Identifier: Apache-2.0
 *
 * araxd's registry of variants and built-in kernels (kernels/registry.h): read at the start and
 * with the configuration, given to the compiler with the builds that they belong to.
 */
#ifndef ARAX_SCHEDULER_ARAXD_VARIANTS_H
#define ARAX_SCHEDULER_ARAXD_VARIANTS_H

#include "kernels/registry.h"
#include "scheduler/araxd.h"

/* What a build gets. */
struct variants_choice {
	int fd;				/* -1: nothing; to be closed */
	char digest[REGISTRY_HASH + 1]; /* part of the build's key; "" */
};

/** variants_load() - read all manifests (again); says in the log what is rejected.
 *  Return: 0 or -errno: what there was stays. */
int variants_load(struct araxd *daemon);
void variants_free(struct araxd *daemon);

/**
 * variants_choose() - what belongs to a request
 * @careful: only what cannot be done without, because the compiler has failed with the rest
 * Return: 0 or -errno.
 */
int variants_choose(const struct araxd *daemon, const void *request, size_t size, bool careful,
		    struct variants_choice *choice);

/** variants_built() - a result that the compiler made with variants: keep what was refused. */
void variants_built(struct araxd *daemon, const void *result, size_t size);

/** variants_failed() - the compiler gave nothing with these: say so of all that it can do without.
 */
void variants_failed(struct araxd *daemon, int fd);

/** variants_builtins() - the names of the built-in kernels, with ';' between them. */
void variants_builtins(const struct araxd *daemon, char *names, size_t size);

/** variants_json() - all entries and their states, to be freed; NULL without memory. */
char *variants_json(const struct araxd *daemon);

#endif
