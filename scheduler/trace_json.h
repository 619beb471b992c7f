/* SPDX-License-Identifier: Apache-2.0
 *
 * Traces as JSON in the format of Chrome and Perfetto, written as the events come: a process per
 * application, a thread per device (more, numbered, where a device executes several commands at a
 * time), a slice per command, flow arrows for what waited for what.
 *
 * Applications are not trusted: each event is checked, times are brought into order, texts are
 * escaped; what makes no sense is left out and counted.
 */
#ifndef ARAX_SCHEDULER_TRACE_JSON_H
#define ARAX_SCHEDULER_TRACE_JSON_H

#include "transport/trace.h"

#include <stdio.h>
#include <sys/types.h>

struct trace_json;
struct trace_app;

/* What became of it all. */
struct trace_totals {
	uint64_t commands, flows, apps;
	uint64_t dropped;  /* overwritten before they were read */
	uint64_t invalid;  /* left out: they made no sense */
	uint64_t unwanted; /* left out: the file has become too large */
	uint64_t loose;	   /* arrows left out: the command that they begin at is not there */
};

/**
 * trace_json_new() - begins the file
 * @base_ns: when the trace begins, the zero of its time axis
 * @limit: bytes after which no more events are written
 * Return: NULL without memory.
 */
struct trace_json *trace_json_new(FILE *out, uint64_t base_ns, uint64_t limit);

/** trace_json_app() - an application; NULL without memory. It lives as long as the trace. */
struct trace_app *trace_json_app(struct trace_json *json, pid_t pid, uid_t uid, pid_t tenant_pid,
				 const char *program);

/** trace_json_devices() - the names of its devices, as the tenant says. */
void trace_json_devices(struct trace_app *app, const struct arax_trace_head *head);

/**
 * trace_json_event() - one entry
 * @now_ns: nothing can have ended later than this
 */
void trace_json_event(struct trace_app *app, enum arax_trace_source source,
		      const struct arax_trace_event *event, uint64_t now_ns);

/** trace_json_settle() - writes the arrows whose both ends are known by now. */
void trace_json_settle(struct trace_app *app);

/** trace_json_dropped() - so many were lost in all. */
void trace_json_dropped(struct trace_app *app, uint64_t dropped);

/**
 * trace_json_finish() - ends the file and frees everything; out stays open, but is flushed
 * Return: 0 or -errno.
 */
int trace_json_finish(struct trace_json *json, struct trace_totals *totals);

#endif
