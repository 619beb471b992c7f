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
#include "transport/socket.h"

struct dispatch;
struct copy_engine;

struct dispatch_config {
	struct arax_device *devices; /* outlive the dispatcher */
	unsigned ndevices;
	uint32_t allowed; /* bit n: device n may be used */
	const struct policy *policy;
	void *arena;
	uint64_t arena_size;
	uint32_t commands, objects; /* that the client may have; 0: as many as can be named */
	struct arax_stats *stats;   /* or NULL */
	int trace_fd;  /* of the application's trace, mapped by dispatch_new(); or -1 */
	int stdout_fd; /* memfd that kernels print into (O_APPEND), or -1 */
	struct copy_engine *engine; /* from engine_new(), or NULL: made when first needed */
	/* What there is to say, on the dispatch thread; each may be NULL. */
	void (*drained)(void *arg, unsigned device); /* nothing is on the device any more */
	void (*log)(void *arg, const char *line);
	void *arg;
	bool as_if; /* in-order queues are as-if (scheduler/graph.h) from the start */
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

/*
 * Devices of a dispatcher that runs. To be called on its thread, from what it calls (a device's
 * poll(), for example) or before it runs. An index that is not there is ignored.
 */

/**
 * dispatch_device_add() - one more
 * @dev: copied; its index is its place
 * @share, @depth: its lease, as in struct policy_device
 * Return: 0, -EEXIST or -EINVAL, or -EBUSY while commands of a lost device with this index have not
 * come back.
 */
int dispatch_device_add(struct dispatch *dispatch, const struct arax_device *dev, uint32_t share,
			uint32_t depth);
void dispatch_device_lease(struct dispatch *dispatch, unsigned index, uint32_t share,
			   uint32_t depth);

/** dispatch_device_drain() - nothing new there, and everything home; then config.drained. */
void dispatch_device_drain(struct dispatch *dispatch, unsigned index);

/** dispatch_device_online() - the opposite, at any time. */
void dispatch_device_online(struct dispatch *dispatch, unsigned index);

/** dispatch_device_lost() - it is gone with its memory. What it was given still comes back, with
 *  CL_DEVICE_NOT_AVAILABLE. */
void dispatch_device_lost(struct dispatch *dispatch, unsigned index);

/** dispatch_device() - the device with this index, or NULL. */
struct arax_device *dispatch_device(struct dispatch *dispatch, unsigned index);

/**
 * dispatch_post() - a message from araxd, on any thread
 * @data, @size: ARAX_CONTROL_DEVICE or _POLICY
 * @fds: what came with it, or -1; closed by the dispatcher, whatever happens
 *
 * It takes effect between two commands.
 *
 * Return: 0, -EPROTO for another message, or -ENOMEM.
 */
int dispatch_post(struct dispatch *dispatch, const void *data, size_t size,
		  const int fds[ARAX_FDS_MAX]);

#endif
