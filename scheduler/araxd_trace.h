/* SPDX-License-Identifier: Apache-2.0
 *
 * Traces: araxd makes each application's memory for one, says whether to write into it, and hands
 * it to those who read traces and may see the application. It reads no entry.
 */
#ifndef ARAX_SCHEDULER_ARAXD_TRACE_H
#define ARAX_SCHEDULER_ARAXD_TRACE_H

#include "transport/control.h"
#include "transport/trace.h"

struct araxd;
struct client;
struct tenant;

struct trace_memory {
	int fd;
	struct arax_trace_head *head;
	uint64_t serial;
};

/**
 * trace_share() - an application's memory for a tenant of it; made when it is the first
 * Return: 0 or -errno. Both are closed by trace_close(), each for itself.
 */
int trace_share(struct trace_memory *of_tenant, struct trace_memory *of_client);
void trace_close(struct trace_memory *memory);

/** trace_take() - the memory of an application of an earlier araxd's, known to be like ours. fd is
 *  taken over. Return: 0 or -errno. */
int trace_take(struct trace_memory *of_tenant, struct trace_memory *of_client, int fd);

/**
 * trace_subscribe() - a client wants to trace: it is told of all that it may see, now and later
 * Return: 0, or a positive error for the client.
 */
int trace_subscribe(struct client *client, const struct arax_control_trace *request);

/** trace_unsubscribe() - it has gone: nothing is written any more that nobody else reads. */
void trace_unsubscribe(struct client *client);

/** trace_begun(), trace_ended() - an application has a tenant, or a tenant has ended: the
 *  application with it, unless the client is there and may get another one. */
void trace_begun(struct araxd *daemon, struct tenant *tenant);
void trace_ended(struct araxd *daemon, struct tenant *tenant);

/** trace_gone() - a client that has no tenant leaves. */
void trace_gone(const struct client *client);

#endif
