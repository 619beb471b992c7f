/* SPDX-License-Identifier: Apache-2.0
 *
 * The dispatcher's loop: one record at a time from the submission ring, every check before any
 * handler, and between records whatever became ready. Handlers of commands are here, those of
 * definitions in dispatch_objects.c.
 *
 * The loop never waits for a kernel or the client; when there is nothing to do it spins shortly and
 * sleeps in one place, tenant_wake, where the client and the devices' threads ring.
 */
#include "scheduler/dispatch_internal.h"
#include "transport/fault_point.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPIN_NS 50000
#define SPIN_BUSY_NS 5000 /* while kernels run they need the processors more than we do */
#define SLEEP_BUSY_MS 50  /* how late statistics and references may be */
/* A client that cannot ring (transport/wake.c) is heard late, but is heard. */
#define SLEEP_FIRST_MS 10
#define SLEEP_LAST_MS 1000

/* Makes a waiting command independent of the scratch memory. */
static int command_keep(struct command *c)
{
	if (c->op == ARAX_OP_LAUNCH)
		return launch_keep(c);
	return c->work ? box_keep(c) : 0;
}

static int slot_claim(struct dispatch *d, struct command *c)
{
	if (c->node.state == GRAPH_FREE)
		return 0;
	/* Its end was published, but we have not come to it yet. */
	int rc = drain_done(d);
	if (!rc)
		rc = drain_host(d);
	if (rc)
		return rc;
	if (c->node.state == GRAPH_FREE)
		return 0;
	d->why = "slot in use";
	return -EPROTO;
}

int command_open(struct dispatch *d, const struct arax_record *record, struct command **out)
{
	struct command *c = &d->commands[record->slot];
	int rc = slot_claim(d, c);
	if (rc)
		return rc;
	graph_open(&d->graph, &c->node);
	d->inflight++;
	stats_depth(d);
	c->dispatch = d;
	c->slot = record->slot;
	c->op = record->op;
	trace_open(d, c);
	c->device = c->access = 0;
	c->exact = false;
	c->stage = NULL;
	c->owned = c->inlined = c->deferred = c->ran = false;
	c->error = 0;
	c->work = NULL;
	c->queue = NULL;
	c->submit_ns = c->start_ns = c->end_ns = c->result = 0;
	atomic_store_explicit(&c->after, NULL, memory_order_relaxed);
	atomic_store_explicit(&c->published, false, memory_order_relaxed);
	c->node.failed = record->flags & ARAX_RECORD_FAILED_WAIT;
	*out = c;
	return 0;
}

/* The command before it in its as-if queue, behind which its end is to be seen. */
static void line_after(struct command *c)
{
	struct graph_node *before = c->node.prev;
	atomic_store_explicit(&c->after, before ? command_of(before) : NULL, memory_order_relaxed);
}

/* A place in an as-if queue, by what the command touches. One that has failed already touches
 * nothing, and its work may be half of one. The client shows the end of HOST commands. */
static int line_enqueue(struct dispatch *d, struct command *c, const struct arax_record *record)
{
	bool point = false;
	uint32_t n = c->error ? 0 : command_accesses(d, c, record, d->access_scratch, &point);
	for (uint32_t i = 0; i < n; i++) {
		const struct access *access = &d->access_scratch[i];
		d->graph_scratch[i] = (struct graph_access){
		    .begin = access->off,
		    .end = access->off + access->len,
		    .write = access->what != ARAX_ACCESS_READ,
		};
	}
	enum graph_place place = point			 ? GRAPH_PLACE_POINT
				 : c->op == ARAX_OP_HOST ? GRAPH_PLACE_FIRST
							 : GRAPH_PLACE_ANY;
	int rc = graph_enqueue_line(&d->graph, &c->node, d->graph_scratch, n, place);
	if (rc)
		return rc;
	line_after(c);
	if (c->trace_id)
		trace_line(d, c, point);
	return 0;
}

/* The wait list, then the place in the queue. */
int command_enqueue(struct dispatch *d, struct command *c, const struct arax_record *record,
		    bool all, bool barrier)
{
	const uint32_t *waits = arax_record_waits(record);
	struct queue *queue = NULL;
	uint32_t edges = record->nwait + (all ? d->inflight : 1);
	bool line = false;
	if (c->trace_id)
		trace_entered(d, c, record);
	if (record->queue) {
		queue = (struct queue *)objects_get(&d->objects, record->queue);
		line = queue && graph_lines(&d->graph, &queue->graph);
	}
	if (line)
		edges = 2u * record->nwait + GRAPH_CONFLICTS + 3;
	/* Without room for its edges it has no place in the order, and fails at once. */
	int rc = graph_reserve(&d->graph, edges);
	if (rc) {
		c->error = STATUS_OUT_OF_HOST_MEMORY;
		return 0;
	}
	if (line)
		graph_line(&c->node, &queue->graph);
	for (uint32_t i = 0; i < record->nwait && !rc; i++)
		rc = graph_wait(&d->graph, &c->node, &d->commands[waits[i]].node);
	if (rc || !record->queue)
		return rc;
	if (!queue && d->objects.lost) {
		c->error = STATUS_OUT_OF_HOST_MEMORY;
		return 0;
	}
	if (!queue) {
		d->why = "undefined queue";
		return -EPROTO;
	}
	c->queue = queue;
	object_ref(&queue->object);
	d->inflight_of[queue->graph.priority]++;
	stats_urgency(d);
	if (line)
		return line_enqueue(d, c, record);
	if (c->trace_id)
		trace_order(d, c, all, barrier);
	return graph_enqueue(&d->graph, &c->node, &queue->graph, all, barrier);
}

/* The command is entered: run it now or keep it for later. A launch that starts at once is
 * submitted when it starts; every look at the clock counts there. */
int command_submit(struct dispatch *d, struct command *c)
{
	int rc;
	if (c->op != ARAX_OP_LAUNCH || c->node.pending)
		c->submit_ns = arax_now_ns();
	atomic_store_explicit(&d->shm->slots[c->slot].status, STATUS_SUBMITTED,
			      memory_order_relaxed);
	if (graph_close(&c->node))
		return command_start(d, c);
	if (c->error)
		return 0;
	if (c->op == ARAX_OP_LAUNCH && launch_chain(d, c, &rc))
		return rc;
	if (command_keep(c))
		c->error = STATUS_OUT_OF_HOST_MEMORY;
	return 0;
}

int command_start(struct dispatch *d, struct command *c)
{
	if (c->node.line)
		line_after(c);
	if (c->node.failed)
		return command_end(d, c, STATUS_WAIT_FAILED);
	if (c->error)
		return command_end(d, c, c->error);
	int rc;
	if (c->op == ARAX_OP_LAUNCH)
		return launch_start(d, c);
	if (d->spread && stage_home(d, c, &rc))
		return rc;
	return command_go(d, c);
}

/* Nothing is in its way any more. */
int command_go(struct dispatch *d, struct command *c)
{
	switch (c->op) {
	case ARAX_OP_COPY:
	case ARAX_OP_FILL:
		crowd_pay(d);
		return box_start(d, c);
	case ARAX_OP_HOST:
		return host_announce(d, c);
	default:
		assert(c->op == ARAX_OP_MARKER);
		return command_end(d, c, 0);
	}
}

static int handler_launch(struct dispatch *d, const struct arax_record *record)
{
	struct launch *launch;
	struct command *c;
	int decoded = launch_decode(d, (const void *)record, &launch);
	int rc = decoded == -ENOMEM ? 0 : decoded;
	if (!rc)
		rc = command_open(d, record, &c);
	if (rc)
		return rc;
	if (decoded)
		c->error = STATUS_OUT_OF_HOST_MEMORY;
	c->work = launch;
	rc = command_enqueue(d, c, record, false, false);
	return rc ? rc : command_submit(d, c);
}

static int handle_box(struct dispatch *d, const struct arax_record *record)
{
	struct command *c;
	int rc = command_open(d, record, &c);
	if (rc)
		return rc;
	c->work = record;
	rc = command_enqueue(d, c, record, false, false);
	return rc ? rc : command_submit(d, c);
}

static int handler_copy(struct dispatch *d, const struct arax_record *record)
{
	return handle_box(d, record);
}

static int handler_fill(struct dispatch *d, const struct arax_record *record)
{
	return handle_box(d, record);
}

static int handler_marker(struct dispatch *d, const struct arax_record *record)
{
	const struct arax_op_marker *op = (const void *)record;
	struct command *c;
	int rc = command_open(d, record, &c);
	if (rc)
		return rc;
	c->access = (uint8_t)op->access;
	c->off = op->data_off;
	c->len = op->data_len;
	rc = command_enqueue(d, c, record, op->all, op->barrier);
	return rc ? rc : command_submit(d, c);
}

static int handler_host(struct dispatch *d, const struct arax_record *record)
{
	const struct arax_op_host *op = (const void *)record;
	struct command *c;
	int rc = command_open(d, record, &c);
	if (rc)
		return rc;
	c->access = (uint8_t)op->access;
	c->exact = op->exact;
	c->off = op->data_off;
	c->len = op->data_len;
	rc = command_enqueue(d, c, record, false, false);
	return rc ? rc : command_submit(d, c);
}

static int handler_user(struct dispatch *d, const struct arax_record *record)
{
	struct command *c;
	if (record->nwait || record->queue)
		return -EPROTO;
	int rc = command_open(d, record, &c);
	if (rc)
		return rc;
	graph_close(&c->node);
	c->node.state = GRAPH_HOST;
	return 0;
}

typedef int (*handler_fn)(struct dispatch *d, const struct arax_record *record);
static const handler_fn handlers[ARAX_OP_COUNT] = {
#define OP(number, NAME, name, tail, slotted) [number] = handler_##name,
    ARAX_OPS(OP)
#undef OP
};

/* Return: 1 when a record was handled, 0 when there was none. */
static int take_record(struct dispatch *d)
{
	struct arax_record *record = d->record;
	int size = arax_ring_read(&d->sq, record, ARAX_RECORD_MAX);
	if (size <= 0) {
		if (size < 0)
			d->why = "submission ring";
		return size;
	}
	if (arax_record_check(record, (size_t)size, ARAX_HEAP_OFFSET, d->config.arena_size)) {
		d->why = "malformed record";
		return -EPROTO;
	}
	/* The client knows how many slots it has. */
	if (d->config.commands && record->slot >= d->config.commands &&
	    record->slot != ARAX_NO_SLOT) {
		d->why = "more commands in flight than there may be";
		return -EPROTO;
	}
	ARAX_FAULT_POINT(TENANT_RECORD_READ);
	if (record->op != ARAX_OP_LAUNCH)
		crowd_pay(d);
	/* What the client has ended before it sent this is over for it, and so has to be for
	 * whatever the record brings: an event that is complete is no longer waited for. */
	int rc = arax_ring_pending(&d->hq) ? drain_host(d) : 0;
	if (!rc)
		rc = handlers[record->op](d, record);
	if (!rc && d->config.objects && d->objects.count > d->config.objects) {
		d->why = "more objects than there may be";
		return -EPROTO;
	}
	if (rc == -EPROTO && !d->why)
		d->why = arax_op_name(record->op);
	return rc ? rc : 1;
}

static int start_ready(struct dispatch *d)
{
	struct graph_node *node;
	int rc = 0;
	while (!rc && (node = graph_next(&d->graph))) {
		struct command *c = command_of(node);
		rc = node->state == GRAPH_HELD ? command_end(d, c, c->status) : command_start(d, c);
	}
	if (!rc && d->held.first)
		rc = launch_pump(d);
	return rc;
}

/* Without any device, as before the first of those that are not in place has come, nothing is taken
 * in: araxd sees to it that one comes, or ends this process. */
static bool can_serve(const struct dispatch *d)
{
	return d->config.allowed != 0;
}

static bool work_waits(void *arg)
{
	struct dispatch *d = arg;
	return ((arax_ring_pending(&d->sq) || arax_ring_pending(&d->hq)) && can_serve(d)) ||
	       atomic_load_explicit(&d->done, memory_order_relaxed) ||
	       atomic_load_explicit(&d->fatal, memory_order_relaxed) ||
	       atomic_load_explicit(&d->mail, memory_order_relaxed) ||
	       (d->polled && devices_ready(d)) || (d->spread && stage_waits(d));
}

/* The word goes back to 0 before a record is taken, so whoever sees that the ring is empty and
 * then the word set knows that nothing moves without the client. */
static void set_idle(struct dispatch *d, bool idle)
{
	if (d->idle == idle)
		return;
	d->idle = idle;
	atomic_store(&d->shm->tenant_idle, idle);
}

/* ms that a sleep may last until somebody wants to ask a device again. */
static int rest_most(const struct dispatch *d)
{
	int most = d->running ? SLEEP_BUSY_MS : d->sleep_ms;
	if (!d->objects.retry_ns)
		return most;
	uint64_t now = arax_now_ns();
	uint64_t left = d->objects.retry_ns > now ? (d->objects.retry_ns - now) / 1000000 + 1 : 0;
	return left < (uint64_t)most ? (int)left : most;
}

/* Return: whether there is something to do. */
static bool rest_shortly(struct dispatch *d)
{
	struct arax_spin *spin = d->running || d->crowd.on ? &d->spin_busy : &d->spin;
	if (arax_wake_spin(spin, work_waits, d))
		return true;
	uint64_t start_ns = arax_now_ns();
	bool more = arax_wake_sleep(&d->shm->tenant_wake, spin, work_waits, d, rest_most(d));
	d->crowd.slept_ns += arax_now_ns() - start_ns;
	return more;
}

static void rest(struct dispatch *d)
{
	crowd_pay(d);
	set_idle(d, !d->running && !d->moving && !d->objects.builds && !d->nplacing);
	atomic_store(&d->others, d->inflight - d->running);
	arax_wake_ring(&d->shm->client_room);
	if (d->costs.page)
		costs_keep(d);
	if (rest_shortly(d))
		d->sleep_ms = SLEEP_FIRST_MS;
	else if (!d->running && d->sleep_ms < SLEEP_LAST_MS)
		d->sleep_ms *= 2;
}

/* The records before a host entry were visible when the entry was, and have all been read. */
static int check_parked(struct dispatch *d)
{
	int rc = drain_host(d);
	if (rc || !d->parked)
		return rc;
	d->why = "host completion of no command";
	return -EPROTO;
}

static int step(struct dispatch *d)
{
	int rc = 0;
	if (atomic_load_explicit(&d->mail, memory_order_relaxed)) {
		crowd_pay(d);
		control_step(d);
	}
	if (d->polled)
		devices_poll(d);
	if (atomic_load_explicit(&d->done, memory_order_relaxed))
		rc = drain_done(d);
	if (!rc && d->spread)
		rc = stage_step(d);
	if (!rc && (d->parked || arax_ring_pending(&d->hq)) && can_serve(d))
		rc = drain_host(d);
	if (!rc && (graph_has_ready(&d->graph) || d->held.first))
		rc = start_ready(d);
	return rc || !can_serve(d) ? rc : take_record(d);
}

int dispatch_run(struct dispatch *d, const char **why)
{
	int rc = 0;
	d->why = NULL;
	for (;;) {
		if (d->idle && work_waits(d))
			set_idle(d, false);
		rc = step(d);
		if (rc == 0 && d->parked && can_serve(d))
			rc = check_parked(d);
		if (rc < 0)
			break;
		/* Ready commands may have come out of the record that was just handled. */
		if (rc == 0 && !graph_has_ready(&d->graph) && !work_waits(d))
			rest(d);
	}
	*why = d->why ? d->why : strerror(-rc);
	return rc;
}

static void rings_init(struct dispatch *d)
{
	struct arax_shm *shm = d->shm;
	arax_ring_init(&d->sq, &shm->sq, shm->sq_data, ARAX_SQ_BYTES);
	arax_ring_init(&d->hq, &shm->hq, shm->hq_entries, ARAX_HQ_ENTRIES);
	arax_ring_init(&d->cq, &shm->cq, shm->cq_entries, ARAX_CQ_ENTRIES);
	d->sleep_ms = SLEEP_FIRST_MS;
	arax_spin_init(&d->spin, SPIN_NS);
	arax_spin_init(&d->spin_busy, SPIN_BUSY_NS);
}

static int devices_init(struct dispatch *d)
{
	int rc = objects_init(&d->objects, d->config.devices, d->config.ndevices, d->shm);
	if (rc)
		return rc;
	for (unsigned i = 0; i < d->config.ndevices; i++) {
		d->devices[i] = (struct policy_device){
		    .inline_launch = d->config.devices[i].inline_launch,
		    .parallel = d->config.devices[i].parallel,
		    .share = 1024,
		};
		snprintf(d->devices[i].name, sizeof(d->devices[i].name), "%s",
			 d->config.devices[i].name);
		d->polled |= (uint32_t)(d->config.devices[i].ops->poll != NULL) << i;
	}
	stats_init(d);
	return 0;
}

/* The process ends with its dispatcher, so there is no opposite of this. */
int dispatch_new(const struct dispatch_config *config, struct dispatch **out)
{
	static struct arax_stats private_stats;
	assert(config->ndevices <= POLICY_DEVICES);
	struct dispatch *d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->config = *config;
	d->shm = config->arena;
	d->engine = config->engine;
	d->stats = config->stats ? config->stats : &private_stats;
	d->record = aligned_alloc(64, ARAX_RECORD_MAX);
	d->launch_scratch = malloc(sizeof(struct launch) + 1024 * sizeof(struct launch_arg));
	d->arg_scratch = malloc(1024 * sizeof(struct arax_launch_arg));
	d->access_scratch = malloc(1024 * sizeof(struct access));
	d->graph_scratch = malloc(1024 * sizeof(struct graph_access));
	d->loose = queue_new(true, GRAPH_MEDIUM);
	if (!d->record || !d->launch_scratch || !d->arg_scratch || !d->access_scratch ||
	    !d->graph_scratch || !d->loose || devices_init(d)) {
		free(d->record);
		free(d->launch_scratch);
		free(d->arg_scratch);
		free(d->access_scratch);
		free(d->graph_scratch);
		free(d->loose);
		free(d);
		return -ENOMEM;
	}
	pthread_mutex_init(&d->cq_lock, NULL);
	graph_init(&d->graph);
	d->graph.as_if = config->as_if;
	rings_init(d);
	trace_init(d);
	crowd_begin(d);
	*out = d;
	return 0;
}
