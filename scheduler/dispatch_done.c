/* SPDX-License-Identifier: Apache-2.0
 *
 * How commands end: publication of the outcome (slot, completion ring, wake-up) and retirement from
 * the graph.
 *
 * Publication has one rule: nothing is published before what it depends on. On the dispatch thread
 * the graph sees to it. A device's thread publishes by itself, because a way through the dispatch
 * thread would cost a wake-up; it may do so since a command only runs there when its predecessors
 * are published, or when it is chained behind one or later than one in an as-if queue, which is
 * looked at under the lock. The command is on the done stack before its outcome is visible, so that
 * a client that uses the slot again at once finds the dispatcher able to learn that it is free.
 */
#include "scheduler/dispatch_internal.h"
#include "transport/fault_point.h"

#include <errno.h>
#include <stdlib.h>

/* In a queue whose order is as-if nobody shall see that a command ended before an earlier one: it
 * keeps how long it took, and moves. Return: by how much. */
static uint64_t later_by(struct command *c)
{
	uint64_t last = c->queue->ended_ns;
	if (c->end_ns >= last) {
		c->queue->ended_ns = c->end_ns;
		return 0;
	}
	return last - c->end_ns;
}

/* cq_lock is held. Counted first: on what it sees a client may end, and its tenant with it. */
static int publish_locked(struct dispatch *d, struct command *c, int status)
{
	struct arax_slot *slot = &d->shm->slots[c->slot];
	uint64_t moved = c->node.line ? later_by(c) : 0;
	stats_ended(d, c, status);
	slot->device = c->device;
	atomic_store_explicit(&slot->submit_ns, c->submit_ns ? c->submit_ns : c->start_ns,
			      memory_order_relaxed);
	atomic_store_explicit(&slot->start_ns, c->start_ns + moved, memory_order_relaxed);
	atomic_store_explicit(&slot->end_ns, c->end_ns + moved, memory_order_relaxed);
	atomic_store_explicit(&slot->result, c->result, memory_order_relaxed);
	atomic_store_explicit(&slot->status, status, memory_order_release);
	d->since_room++;
	ARAX_FAULT_POINT(TENANT_OUTCOME_WRITTEN);
	return arax_ring_push(&d->cq, ARAX_ENTRY(ARAX_CQ_COMPLETE, c->slot));
}

/* After publication. Who waits for room is woken seldom: a wake-up costs more than a command. */
void wake_client(struct dispatch *d, const _Atomic uint32_t *const *waited, uint32_t n)
{
	struct arax_shm *shm = d->shm;
	ARAX_FAULT_POINT(TENANT_ENTRY_PUSHED);
	arax_wake_ring_if(&shm->client_wake, &shm->client_slot, waited, n);
	ARAX_FAULT_POINT(TENANT_CLIENT_WOKEN);
	if (d->since_room < ARAX_ROOM)
		return;
	d->since_room = 0;
	arax_wake_ring(&d->shm->client_room);
}

/* A full completion ring means slots were used again without being taken from it. */
static int publish(struct dispatch *d, struct command *c, int status)
{
	/* Other threads publish only what is counted as running, and this one counts. */
	bool alone = d->running == 0;
	uint32_t slot = c->slot;
	if (!alone)
		pthread_mutex_lock(&d->cq_lock);
	int rc = publish_locked(d, c, status);
	atomic_store_explicit(&c->published, true, memory_order_release);
	if (!alone)
		pthread_mutex_unlock(&d->cq_lock);
	if (rc) {
		d->why = "completion ring";
		return -EPROTO;
	}
	crowd_tell(d, slot, c->end_ns);
	return 0;
}

static void times_complete(struct command *c)
{
	if (c->start_ns && c->end_ns)
		return;
	c->start_ns = c->end_ns = arax_now_ns();
}

/* It is the client's turn with this command. */
int host_announce(struct dispatch *d, struct command *c)
{
	struct arax_slot *slot = &d->shm->slots[c->slot];
	crowd_pay(d);
	c->node.state = GRAPH_HOST;
	if (c->trace_id)
		trace_host(d, c);
	atomic_store_explicit(&slot->trace_id, c->trace_id, memory_order_relaxed);
	atomic_store_explicit(&slot->submit_ns, c->submit_ns ? c->submit_ns : c->start_ns,
			      memory_order_relaxed);
	pthread_mutex_lock(&d->cq_lock);
	int rc = arax_ring_push(&d->cq, ARAX_ENTRY(ARAX_CQ_HOST_READY, c->slot));
	pthread_mutex_unlock(&d->cq_lock);
	if (rc) {
		d->why = "completion ring";
		return -EPROTO;
	}
	ARAX_FAULT_POINT(TENANT_HOST_ANNOUNCED);
	arax_wake_ring_all(&d->shm->client_wake, &d->shm->client_slot);
	return 0;
}

/* What was printed goes to the client before the command completes: its turn, then. */
static int announce_print(struct dispatch *d, struct command *c)
{
	struct arax_slot *slot = &d->shm->slots[c->slot];
	atomic_store_explicit(&slot->start_ns, c->start_ns, memory_order_relaxed);
	atomic_store_explicit(&slot->end_ns, c->end_ns, memory_order_relaxed);
	atomic_store_explicit(&slot->result, c->result, memory_order_relaxed);
	slot->device = c->device;
	return host_announce(d, c);
}

/* 0 when it would say more about the commands before than about the way to the device. */
static uint64_t handover_ns(const struct command *c)
{
	return c->handed_ns && c->start_ns > c->handed_ns ? c->start_ns - c->handed_ns : 0;
}

void command_retire(struct dispatch *d, struct command *c, int status)
{
	if (c->op == ARAX_OP_LAUNCH && c->ran && !status && d->config.policy->learn) {
		const struct launch *launch = c->work;
		const struct policy_launch facts = {
		    .cost = launch->kernel->cost,
		    .items = launch->items,
		    .devices = d->devices,
		    .handover_ns = handover_ns(c),
		};
		d->config.policy->learn(&d->policy, &facts, c->device, c->end_ns - c->start_ns);
	}
	graph_finish(&d->graph, &c->node, status);
	if (c->op == ARAX_OP_LAUNCH && c->owned)
		launch_release(d, c);
	if (c->owned)
		free((void *)c->work);
	c->work = NULL;
	c->owned = false;
	if (c->queue) {
		d->inflight_of[c->queue->graph.priority]--;
		stats_urgency(d);
		object_unref(&d->objects, &c->queue->object);
	}
	c->queue = NULL;
	d->inflight--;
	ARAX_FAULT_POINT(TENANT_RETIRED);
	stats_depth(d);
}

int command_end(struct dispatch *d, struct command *c, int status)
{
	if (status > 0)
		status = STATUS_OUT_OF_RESOURCES;
	c->status = status;
	if (c->stage)
		stage_over(d, c);
	if (c->node.pending) {
		/* Chained, and its predecessor is not through yet: it comes out of the graph. */
		graph_end(&d->graph, &c->node, status);
		return 0;
	}
	times_complete(c);
	if (c->op == ARAX_OP_LAUNCH && d->exclusive == c) {
		d->exclusive = NULL;
		if (!status && launch_print(d, c)) {
			c->status = status = STATUS_OUT_OF_RESOURCES;
			c->result = 0;
		}
		if (c->result)
			return announce_print(d, c);
	}
	/* Its followers begin; others see its end when its turn in the queue has come. */
	if (c->node.line && !graph_end(&d->graph, &c->node, status))
		return 0;
	int rc = publish(d, c, status);
	if (!rc)
		command_retire(d, c, status);
	return rc;
}

static void push_done(struct dispatch *d, struct command *c)
{
	c->link = atomic_load_explicit(&d->done, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&d->done, &c->link, c))
		;
}

/* On any thread. After the lock is released the command belongs to the dispatch thread. */
void command_done(void *arg, int status, uint64_t start_ns, uint64_t end_ns)
{
	struct command *c = arg;
	struct dispatch *d = c->dispatch;
	uint32_t slot = c->slot;
	c->status = status;
	c->start_ns = start_ns < c->submit_ns ? c->submit_ns : start_ns;
	c->end_ns = end_ns;
	if (c->inlined)
		return;

	pthread_mutex_lock(&d->cq_lock);
	push_done(d, c);
	struct command *after = atomic_load_explicit(&c->after, memory_order_relaxed);
	bool now = !c->deferred &&
		   (!after || atomic_load_explicit(&after->published, memory_order_acquire));
	if (now) {
		if (publish_locked(d, c, status))
			atomic_store(&d->fatal, -EPROTO);
		atomic_store_explicit(&c->published, true, memory_order_release);
	}
	pthread_mutex_unlock(&d->cq_lock);

	const _Atomic uint32_t *waited = &d->shm->slots[slot].waited;
	if (now)
		wake_client(d, &waited, 1);
	if (!now || atomic_load(&d->others) || atomic_load(&d->fatal))
		arax_wake_ring(&d->shm->tenant_wake);
}

static int settle(struct dispatch *d, struct command *c)
{
	if (!atomic_load_explicit(&c->published, memory_order_acquire)) {
		/* Either it is left to us, or its thread is just about to publish it. */
		pthread_mutex_lock(&d->cq_lock);
		pthread_mutex_unlock(&d->cq_lock);
	}
	int rc;
	d->running--;
	if (c->op == ARAX_OP_LAUNCH) {
		d->on_devices--;
		policy_ended(&d->devices[c->device], c->predicted_ns, c->end_ns);
		stats_running(d, c->device, --d->given[c->device] != 0);
	}
	if (c->stage && stage_ended(d, c, &rc))
		return rc;
	if (!atomic_load_explicit(&c->published, memory_order_acquire))
		return command_end(d, c, c->status);
	command_retire(d, c, c->status);
	return 0;
}

int drain_done(struct dispatch *d)
{
	struct command *c = atomic_exchange(&d->done, NULL), *ordered = NULL;
	while (c) {
		struct command *next = c->link;
		c->link = ordered;
		ordered = c;
		c = next;
	}
	while (ordered) {
		struct command *next = ordered->link;
		int rc = settle(d, ordered);
		if (rc)
			return rc;
		ordered = next;
	}
	return atomic_load_explicit(&d->fatal, memory_order_relaxed);
}

/* Return: 1 when the entry was used, 0 when the record of its command is still unread. */
static int host_completed(struct dispatch *d, uint32_t entry)
{
	uint32_t slot = ARAX_ENTRY_SLOT(entry), failed = ARAX_ENTRY_KIND(entry);
	if (slot >= ARAX_SLOTS || failed > 1) {
		d->why = "host ring entry";
		return -EPROTO;
	}
	struct command *c = &d->commands[slot];
	if (c->node.state != GRAPH_HOST && c->node.state != GRAPH_FREE) {
		int rc = drain_done(d);
		if (rc)
			return rc;
	}
	if (c->node.state == GRAPH_FREE)
		return 0;
	if (c->node.state != GRAPH_HOST) {
		d->why = "host completion of a command that is not the client's";
		return -EPROTO;
	}
	ARAX_FAULT_POINT(TENANT_HOST_ENDED);
	/* The slot may be in use again already, so the entry alone says how it ended. */
	int status = failed ? STATUS_OUT_OF_RESOURCES : 0;
	if (c->trace_id && !c->end_ns)
		c->end_ns = arax_now_ns();
	if (d->spread)
		stage_host_ended(d, c);
	pthread_mutex_lock(&d->cq_lock);
	stats_ended(d, c, status);
	if (c->node.line)
		c->queue->ended_ns = arax_now_ns();
	pthread_mutex_unlock(&d->cq_lock);
	command_retire(d, c, status);
	return 1;
}

/* An entry may overtake its record: setting a user event does not queue behind the submission ring.
 * It then waits, with all behind it, until the record was read (dispatch_run() sees to it that
 * there is one). */
int drain_host(struct dispatch *d)
{
	int rc = 1;
	while (rc > 0) {
		if (!d->parked) {
			rc = arax_ring_pop(&d->hq, &d->parked_entry);
			d->parked = rc > 0;
			if (rc < 0)
				d->why = "host ring";
		}
		if (d->parked) {
			rc = host_completed(d, d->parked_entry);
			d->parked = rc == 0;
		}
	}
	return rc;
}
