/* SPDX-License-Identifier: Apache-2.0
 *
 * Builds: from the cache, or from the compiler process.
 */
#ifndef ARAX_SCHEDULER_ARAXD_BUILD_H
#define ARAX_SCHEDULER_ARAXD_BUILD_H

#include "scheduler/araxd.h"

struct builder_state {
	const struct sandbox_state *sandbox;
	bool running, ready;
	pid_t pid;
	unsigned waiting, compiling;
	uint64_t hits, misses, failures;
	const char *error; /* why the compiler does not start; "" */
};

int builder_new(struct araxd *daemon, struct builder **builder);
void builder_free(struct builder *builder);

/** builder_warm() - start the compiler, so that it is ready when it is needed. */
void builder_warm(struct builder *builder);

/**
 * builder_submit() - build what a request carries; it is answered now or later
 * @compiler: the compiler's version, part of the key
 * The request belongs to the builder from here on.
 */
void builder_submit(struct builder *builder, struct request *request, const char *compiler);

/** builder_drop() - a client has gone. */
void builder_drop(struct builder *builder, const struct client *client);

struct arax_cache;

/** builder_cache() - of a trust domain; NULL when it has none. */
struct arax_cache *builder_cache(struct builder *builder, const struct domain_id *id);

struct builder_state builder_state(const struct builder *builder);

#endif
