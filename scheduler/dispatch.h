/* SPDX-License-Identifier: Apache-2.0
 *
 * The dispatcher: takes records from the client's ring, orders them (graph), places launches
 * (policy), runs them (devices) and reports outcomes. The heart of arax-tenant; it neither prints
 * nor exits, so that tests can drive it.
 */
#ifndef ARAX_SCHEDULER_DISPATCH_H
#define ARAX_SCHEDULER_DISPATCH_H

#include <stdint.h>

#include "devices/device.h"
#include "scheduler/policy.h"
#include "transport/control.h"

struct dispatch;
struct copy_engine;

struct dispatch_config {
	struct arax_device *devices; /* outlive the dispatcher */
	unsigned ndevices;
	uint32_t allowed; /* bit n: device n may be used */
	const struct policy *policy;
	void *arena;
	uint64_t arena_size;
	struct arax_stats *stats; /* or NULL */
	int trace_fd;		  /* of the application's trace, mapped by dispatch_new(); or -1 */
	int stdout_fd;		  /* memfd that kernels print into (O_APPEND), or -1 */
	struct copy_engine *engine; /* from engine_new(), or NULL: made when first needed */
};

/** engine_new() - the thread for large copies, for who cannot make one later. Return: 0 or -errno.
 */
int engine_new(struct copy_engine **engine);

/** dispatch_new() - Return: 0 or -errno. */
int dispatch_new(const struct dispatch_config *config, struct dispatch **dispatch);

/**
 * dispatch_run() - serve until something is wrong
 * @why: one line about it, static
 * Return: -EPROTO for a client that broke the protocol, or another -errno. Never 0.
 */
int dispatch_run(struct dispatch *dispatch, const char **why);

#endif
