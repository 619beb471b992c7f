/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tenant writes into its application's trace (transport/trace.h): one entry per command,
 * when it ends and before its end can be seen, with what it had to wait for. Whether a command is
 * traced is decided by one look when it is opened; commands that are not, cost nothing after that.
 *
 * A command that the client executes is written by the client, which knows what it is; from here
 * come its dependencies, and its number goes with the turn (slot.trace_id).
 */
#include "scheduler/dispatch_internal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void trace_init(struct dispatch *d)
{
	if (arax_trace_open(&d->trace, d->config.trace_fd, ARAX_TRACE_TENANT))
		return;
	close(d->config.trace_fd);
	/* Other numbers than those that a tenant before this one has given. */
	d->traced = (atomic_fetch_add(&d->trace.head->tenants, 1) & 0xFFF) * (1ull << 40);
	for (unsigned i = 0; i < d->config.ndevices; i++)
		trace_device(d, i);
}

void trace_device(struct dispatch *d, unsigned device)
{
	struct arax_trace_head *head = d->trace.head;

	if (!d->trace.entries || device >= ARAX_TRACE_DEVICES)
		return;
	snprintf(head->devices[device], sizeof(head->devices[device]), "%s",
		 device_at(d, device)->name);
	if (atomic_load_explicit(&head->ndevices, memory_order_relaxed) <= device)
		atomic_store_explicit(&head->ndevices, device + 1, memory_order_release);
}

/* A transfer between the arena and a device, with the command that cannot do without it. */
void trace_moved(struct dispatch *d, const struct transfer *t)
{
	struct arax_trace_event event = {
	    .kind = ARAX_TRACE_MOVE,
	    .device = t->device,
	    .type = t->activity.to == RESIDENCY_HOME,
	    .submit_ns = t->start_ns,
	    .start_ns = t->start_ns,
	    .end_ns = t->end_ns,
	    .bytes = t->activity.len,
	    .ndeps = t->cause != 0,
	    .deps = {t->cause},
	};

	if (arax_trace_on(&d->trace))
		arax_trace_put(&d->trace, &event);
}

/* Dependencies without their command: there were too many, or the client writes the command. */
static void flush_deps(struct dispatch *d, uint64_t id, const uint64_t *deps, uint32_t n)
{
	struct arax_trace_event event = {.kind = ARAX_TRACE_MORE, .id = id, .ndeps = n};

	memcpy(event.deps, deps, n * sizeof(*deps));
	arax_trace_put(&d->trace, &event);
}

static void depend(struct dispatch *d, struct command *c, uint64_t on)
{
	for (uint32_t i = 0; i < c->ndeps; i++)
		if (c->deps[i] == on)
			return;
	if (c->ndeps == ARAX_TRACE_DEPS) {
		flush_deps(d, c->trace_id, c->deps, c->ndeps);
		c->ndeps = 0;
	}
	c->deps[c->ndeps++] = on;
}

/* What the client put into the wait list had not ended when it looked; that it has by now does not
 * matter, and nobody else is in its slot before the client knows.
 *
 * The own slot is the client's again before a command that prints has ended here: it is read now.
 */
void trace_entered(struct dispatch *d, struct command *c, const struct arax_record *record)
{
	const struct arax_slot *slot = &d->shm->slots[c->slot];
	const uint32_t *waits = arax_record_waits(record);

	c->queued_ns = atomic_load_explicit(&slot->queued_ns, memory_order_relaxed);
	c->queue_handle = record->queue;
	c->ndeps = 0;
	for (uint32_t i = 0; i < record->nwait; i++) {
		const struct command *on = &d->commands[waits[i]];

		if (on != c && on->trace_id)
			depend(d, c, on->trace_id);
	}
}

/* On a command of the queue, unless it had ended before this one was enqueued. */
static void depend_earlier(struct dispatch *d, struct command *c, const struct queue_traced *traced)
{
	const struct command *on = &d->commands[traced->slot];

	if (!traced->id || on->trace_id != traced->id)
		return;
	if (on->node.state == GRAPH_FREE && c->queued_ns > on->end_ns)
		return;
	depend(d, c, traced->id);
}

/* The edges that graph_enqueue() is about to make, and those for which it was too fast: a command
 * that ends before the next one is read has been waited for all the same. */
void trace_order(struct dispatch *d, struct command *c, bool all, bool barrier)
{
	struct queue *queue = c->queue;

	if (!queue->graph.out_of_order) {
		depend_earlier(d, c, &queue->last);
	} else if (all) {
		for (const struct graph_node *node = queue->graph.first; node; node = node->next) {
			const struct command *on = (const struct command *)node;

			if (on->trace_id)
				depend(d, c, on->trace_id);
		}
		depend_earlier(d, c, &queue->last);
	} else {
		depend_earlier(d, c, &queue->barrier);
	}
	queue->last = (struct queue_traced){.id = c->trace_id, .slot = c->slot};
	if (barrier)
		queue->barrier = queue->last;
}

/* In an as-if queue: what graph_enqueue_line() has found, and an ordering point is behind the last
 * command of all. */
void trace_line(struct dispatch *d, struct command *c, bool point)
{
	struct queue *queue = c->queue;

	for (uint32_t i = 0; i < d->graph.nconflicts; i++) {
		const struct command *on = command_of(d->graph.conflicts[i]);

		if (on->trace_id)
			depend(d, c, on->trace_id);
	}
	if (point)
		depend_earlier(d, c, &queue->last);
	queue->last = (struct queue_traced){.id = c->trace_id, .slot = c->slot};
}

void trace_host(struct dispatch *d, const struct command *c)
{
	if (c->op == ARAX_OP_HOST && c->ndeps)
		flush_deps(d, c->trace_id, c->deps, c->ndeps);
}

static void fill_launch(struct arax_trace_event *event, const struct command *c)
{
	const struct launch *launch = c->work;
	size_t length = strlen(launch->kernel->name);

	event->kind = ARAX_TRACE_LAUNCH;
	event->device = c->ran ? c->device : ARAX_TRACE_NO_DEVICE;
	event->work_dim = launch->work_dim;
	for (int i = 0; i < 3; i++) {
		event->global[i] = launch->global[i];
		event->local[i] = launch->has_local ? launch->local[i] : 0;
	}
	memcpy(event->name, launch->kernel->name,
	       length < sizeof(event->name) ? length : sizeof(event->name));
}

static bool fill(struct arax_trace_event *event, const struct command *c)
{
	const struct arax_op_copy *copy = c->work;
	const struct arax_op_fill *box = c->work;

	switch (c->op) {
	case ARAX_OP_LAUNCH:
		fill_launch(event, c);
		return true;
	case ARAX_OP_COPY:
		event->kind = ARAX_TRACE_COPY;
		event->bytes = copy->width * copy->height * copy->depth;
		return true;
	case ARAX_OP_FILL:
		event->kind = ARAX_TRACE_FILL;
		event->bytes = box->width * box->height * box->depth;
		return true;
	case ARAX_OP_MARKER:
		event->kind = ARAX_TRACE_MARKER;
		return true;
	default:
		return false;
	}
}

void trace_ended(struct dispatch *d, const struct command *c, int status)
{
	struct arax_trace_event event = {
	    .device = ARAX_TRACE_NO_DEVICE,
	    .status = status,
	    .id = c->trace_id,
	    .queue = c->queue_handle,
	    .queued_ns = c->queued_ns,
	    .submit_ns = c->submit_ns ? c->submit_ns : c->start_ns,
	    .start_ns = c->start_ns,
	    .end_ns = c->end_ns,
	    .ndeps = c->ndeps,
	};

	if (!fill(&event, c))
		return;
	memcpy(event.deps, c->deps, c->ndeps * sizeof(c->deps[0]));
	arax_trace_put(&d->trace, &event);
}
