/* SPDX-License-Identifier: Apache-2.0
 *
 * Moves between the arena and discrete devices: beginning and ending them, eviction (room for
 * something else on a device) and drain (a device is to be emptied). What has to be moved, and when
 * that may be, is residency.c's matter.
 *
 * A transfer ends on any thread, with one push on a list; everything else happens on the dispatch
 * thread (transfers_drain()).
 */
#include "scheduler/dispatch_internal.h"
#include "scheduler/dispatch_stage.h"

#include <errno.h>
#include <stdlib.h>

#define FAILURES 3 /* write-backs of one object after which it stays where it is */

/* On any thread. */
static void transfer_done(void *arg, int status, uint64_t start_ns, uint64_t end_ns)
{
	struct transfer *t = arg;
	struct dispatch *d = t->dispatch;
	t->status = status;
	t->start_ns = start_ns;
	t->end_ns = end_ns;
	t->link = atomic_load_explicit(&d->moved, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&d->moved, &t->link, t))
		;
	arax_wake_ring(&d->shm->tenant_wake);
}

/* From here on both sides of the range are in use, and the root with them. */
static int transfer_give(struct dispatch *d, struct transfer *t, struct arax_device_stream *stream)
{
	struct arax_device *dev = device_at(d, t->device);
	const struct activity *a = &t->activity;
	struct arax_device_mem *mem;
	int rc = mem_on(&d->objects, t->root, t->device, &mem);
	if (rc)
		return rc;
	const struct arax_transfer transfer = {
	    .direction = a->to == RESIDENCY_HOME ? ARAX_FROM_DEVICE : ARAX_TO_DEVICE,
	    .mem = mem,
	    .offset = a->off,
	    .size = a->len,
	    .host = (char *)t->root->desc.data + a->off,
	    .done = transfer_done,
	    .arg = t,
	};
	return dev->ops->transfer(dev, stream, &transfer);
}

int transfer_begin(struct dispatch *d, const struct residency_move *move,
		   struct arax_device_stream *stream, struct stage *rider)
{
	struct transfer *t = calloc(1, sizeof(*t));
	if (!t)
		return STATUS_OUT_OF_HOST_MEMORY;
	t->dispatch = d;
	t->root = move->storage->owner;
	t->device = move->to == RESIDENCY_HOME ? move->from : move->to;
	t->cause = rider ? rider->command->trace_id : d->room_for;
	int rc = 0;
	if (!stream)
		rc = queue_on(&d->objects, d->loose, t->device, &stream);
	if (!rc && residency_move_begin(&d->objects.residency, &t->activity, move, stream))
		rc = STATUS_OUT_OF_HOST_MEMORY;
	if (rc) {
		free(t);
		return rc;
	}
	/* Before it is given to the device, which may end it at once. */
	if (rider)
		transfer_ride(t, rider);
	d->moving++;
	d->moves[t->device]++;
	if (move->to == t->device)
		d->devices[t->device].moving += move->len;
	object_ref(&t->root->object);
	rc = transfer_give(d, t, stream);
	if (!rc)
		return 0;
	if (rider)
		stage_unride(rider);
	d->moving--;
	d->moves[t->device]--;
	if (move->to == t->device)
		d->devices[t->device].moving -= move->len;
	residency_move_end(&d->objects.residency, &t->activity, false);
	object_unref(&d->objects, &t->root->object);
	free(t);
	return rc;
}

bool transfer_ride(struct transfer *t, struct stage *rider)
{
	for (unsigned i = 0; i < t->nriders; i++) {
		if (t->riders[i] == rider)
			return true;
	}
	if (t->nriders == TRANSFER_RIDERS)
		return false;
	t->riders[t->nriders++] = rider;
	stage_ride(rider);
	return true;
}

static void transfer_count(struct dispatch *d, const struct transfer *t)
{
	bool home = t->activity.to == RESIDENCY_HOME;
	if (!home)
		d->devices[t->device].moving -= t->activity.len;
	if (t->status)
		return;
	policy_moved(&d->devices[t->device], t->activity.len, t->end_ns - t->start_ns);
	if (t->device < ARAX_STATS_DEVICES) {
		struct arax_stats_device *stats = &d->stats->devices[t->device];
		stats_add(home ? &stats->bytes_out : &stats->bytes_in, t->activity.len);
	}
	trace_moved(d, t);
}

static int transfer_ended(struct dispatch *d, struct transfer *t)
{
	struct storage *s = t->activity.storage;
	struct replica *replica = t->activity.replica;
	bool home = t->activity.to == RESIDENCY_HOME;
	int rc = 0;
	d->moving--;
	d->moves[t->device]--;
	transfer_count(d, t);
	if (home)
		replica->failures = t->status ? (uint8_t)(replica->failures + 1) : 0;
	residency_move_end(&d->objects.residency, &t->activity, !t->status);
	if (t->status == STATUS_DEVICE_NOT_AVAILABLE)
		dispatch_device_lost(d, t->device);
	for (unsigned i = 0; i < t->nriders && !rc; i++)
		rc = stage_moved(d, t->riders[i], t);
	stage_wake_storage(d, s);
	stage_wake_memory(d, t->device);
	object_unref(&d->objects, &t->root->object);
	free(t);
	return rc;
}

int transfers_drain(struct dispatch *d)
{
	struct transfer *t = atomic_exchange(&d->moved, NULL), *ordered = NULL;
	int rc = 0;
	while (t) {
		struct transfer *next = t->link;
		t->link = ordered;
		ordered = t;
		t = next;
	}
	while (ordered && !rc) {
		struct transfer *next = ordered->link;
		rc = transfer_ended(d, ordered);
		ordered = next;
	}
	return rc;
}

/* ---- room on devices ------------------------------------------------------------------------ */

void move_resident(struct dispatch *d, unsigned device)
{
	if (device < ARAX_STATS_DEVICES)
		atomic_store_explicit(&d->stats->devices[device].resident,
				      d->objects.residency.devices[device].used,
				      memory_order_relaxed);
}

static void replica_leave(struct dispatch *d, struct replica *replica)
{
	unsigned device = replica->device;
	mem_off(&d->objects, replica->storage->owner, device);
	residency_drop(&d->objects.residency, replica);
	move_resident(d, device);
}

/* What is only there goes home. Return: is something to be waited for: a move that has begun, or
 * one that could not as long as the device has so much to do? */
static bool write_back(struct dispatch *d, struct replica *replica)
{
	struct residency_plan plan;
	bool waits = false;
	residency_writeback(replica, &plan);
	for (unsigned i = 0; i < plan.nmoves; i++) {
		unsigned device = replica->device;
		int rc = transfer_begin(d, &plan.moves[i], NULL, NULL);
		waits |= !rc ||
			 (rc == STATUS_OUT_OF_RESOURCES && (d->moves[device] || d->given[device]));
	}
	if (plan.nmoves && !waits)
		replica->failures++;
	return waits;
}

int move_evict(struct dispatch *d, unsigned device, uint64_t bytes, uint32_t mark)
{
	struct residency *r = &d->objects.residency;
	struct replica *replica = residency_victim(r, device, mark, NULL);
	uint64_t freed = 0, leaving = 0;
	for (struct replica *other = r->devices[device].first; other; other = other->next)
		leaving += other->moves && !other->pins ? other->storage->size : 0;
	while (replica && freed + leaving < bytes) {
		struct replica *next = residency_victim(r, device, mark, replica);
		uint64_t size = replica->storage->size;
		if (!replica_dirty(replica)) {
			replica_leave(d, replica);
			freed += size;
			if (device < ARAX_STATS_DEVICES)
				d->stats->devices[device].evictions++;
		} else if (replica->failures < FAILURES && write_back(d, replica)) {
			leaving += size;
		}
		replica = next;
	}
	if (freed >= bytes || (freed && !leaving))
		return 1;
	return leaving ? 0 : -1;
}

/* Return: does anything go on there that has to end first? */
static bool drain_replica(struct dispatch *d, struct replica *replica)
{
	if (replica->pins || replica->moves)
		return true;
	if (!replica_dirty(replica)) {
		replica_leave(d, replica);
		return false;
	}
	while (replica->failures < FAILURES) {
		if (write_back(d, replica))
			return true;
	}
	return false;
}

static bool drain(struct dispatch *d, unsigned device)
{
	struct replica *replica = d->objects.residency.devices[device].first;
	bool left = d->given[device] || d->moves[device];
	while (replica) {
		struct replica *next = replica->next;
		left |= drain_replica(d, replica);
		replica = next;
	}
	return left;
}

void move_drain(struct dispatch *d)
{
	uint32_t devices = d->draining & ~d->drained & d->discrete;
	POLICY_FOR_EACH(i, devices)
	{
		if (drain(d, i))
			continue;
		d->drained |= 1u << i;
		if (d->objects.residency.devices[i].first)
			device_log(d, "%s: some of its memory could not be read back",
				   device_at(d, i)->name);
		if (d->config.drained)
			d->config.drained(d->config.arg, i);
	}
}
