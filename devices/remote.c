/* SPDX-License-Identifier: Apache-2.0
 *
 * The tenant's end of a link, see remote.h: sends records (remote_ops.c makes them), and turns
 * completions into calls of done. What comes from the other side is checked as if it were a
 * client's: an arax-device runs code of others, too.
 *
 * Records that find the ring full wait in a list of our own, in their order; arax-device is asked
 * to ring when it has made room. Commands are bounded by their slots, definitions by the objects
 * that the client may have.
 */
#include "devices/remote_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/fault_point.h"
#include "transport/wake.h"

#define STATUS_LEAST (-10000) /* no error of OpenCL or an extension is below */

/* ---- sending -------------------------------------------------------------------------------- */

/* The next record, zeroed as far as its fixed part goes. */
void *record_begin(struct remote *r, unsigned op)
{
	struct arax_record *record = (struct arax_record *)r->record;

	memset(record, 0, arax_link_fixed_size(op));
	record->op = (uint16_t)op;
	record->slot = ARAX_NO_SLOT;
	return record;
}

void record_tail(struct remote *r, const void *data, size_t size)
{
	struct arax_record *record = (struct arax_record *)r->record;
	unsigned char *tail = r->record + arax_link_fixed_size(record->op);

	memcpy(tail, data, size);
	memset(tail + size, 0, -size & 7);
	record->tail_size = (uint32_t)size;
}

/* Writes what waits, as far as there is room. Asks for a ring when there is none. */
static void flush(struct remote *r)
{
	bool asked = false, wrote = false;

	while (r->first && !r->broken) {
		struct remote_record *record = r->first;
		int rc = arax_ring_write(&r->sq, record->bytes, record->size);

		if (rc == -EAGAIN && !asked) {
			/* Before the other look: who makes room in between sees the question. */
			atomic_exchange(&r->shm->tenant_waits, 1);
			asked = true;
			continue;
		}
		if (rc == -EAGAIN)
			break;
		if (rc) {
			r->broken = true;
			break;
		}
		wrote = true;
		r->first = record->next;
		if (!r->first)
			r->last = &r->first;
		free(record);
	}
	if (wrote)
		arax_wake_ring(&r->shm->device_wake);
}

static int keep(struct remote *r, const struct arax_record *record)
{
	struct remote_record *kept = malloc(sizeof(*kept) + record->size);

	if (!kept)
		return -ENOMEM;
	kept->next = NULL;
	kept->size = record->size;
	memcpy(kept->bytes, record, record->size);
	*r->last = kept;
	r->last = &kept->next;
	flush(r);
	return 0;
}

/* Return: 0 or -ENOMEM. A device that is lost takes everything and does nothing. */
int record_send(struct remote *r)
{
	struct arax_record *record = (struct arax_record *)r->record;
	int rc;

	if (r->lost || r->broken)
		return 0;
	record->size = (uint32_t)(arax_link_fixed_size(record->op) +
				  (((size_t)record->tail_size + 7) & ~(size_t)7));
	if (r->first)
		return keep(r, record);
	rc = arax_ring_write(&r->sq, record, record->size);
	if (rc == -EAGAIN)
		return keep(r, record);
	if (rc)
		r->broken = true;
	else
		arax_wake_ring(&r->shm->device_wake);
	return 0;
}

/* ---- numbers -------------------------------------------------------------------------------- */

/* Return: a handle, 0 when there are no more. */
uint32_t handle_new(struct remote *r, uint32_t kind)
{
	struct remote_numbers *numbers = &r->numbers[kind];

	if (numbers->nfree)
		return ARAX_HANDLE(kind, numbers->free[--numbers->nfree]);
	if (numbers->next == ARAX_LINK_OBJECTS)
		return 0;
	return ARAX_HANDLE(kind, numbers->next++);
}

/* Without memory for the list the number is just never used again. */
void handle_free(struct remote *r, uint32_t handle)
{
	struct remote_numbers *numbers = &r->numbers[ARAX_HANDLE_KIND(handle)];

	if (numbers->nfree == numbers->capacity) {
		size_t capacity = numbers->capacity ? numbers->capacity * 2 : 64;
		uint32_t *list = realloc(numbers->free, capacity * sizeof(*list));

		if (!list)
			return;
		numbers->free = list;
		numbers->capacity = capacity;
	}
	numbers->free[numbers->nfree++] = ARAX_HANDLE_INDEX(handle);
}

uint32_t slot_new(struct remote *r)
{
	uint32_t slot = r->slot_free;

	if (slot != NO_SLOT) {
		r->slot_free = r->slots[slot].next;
		r->slots[slot].busy = true;
	}
	return slot;
}

void slot_free(struct remote *r, uint32_t slot)
{
	r->slots[slot].busy = false;
	r->slots[slot].next = r->slot_free;
	r->slot_free = slot;
}

/* ---- receiving ------------------------------------------------------------------------------ */

static bool completion_ok(const struct remote *r, const struct arax_link_done *done, int size)
{
	if (size < (int)sizeof(*done) || done->log_size > ARAX_LINK_LOG_MAX ||
	    (size_t)size != sizeof(*done) + ((done->log_size + 7u) & ~7u))
		return false;
	if (done->slot >= ARAX_LINK_SLOTS || !r->slots[done->slot].busy)
		return false;
	if (done->log_size && !r->slots[done->slot].program)
		return false;
	return done->status <= 0 && done->status > STATUS_LEAST;
}

/* The slot is free before done is called, which may want one. */
static void slot_end(struct remote *r, uint32_t number, int status, const char *log, uint64_t start,
		     uint64_t end)
{
	struct remote_slot slot = r->slots[number];

	slot_free(r, number);
	if (!slot.program)
		slot.done.command(slot.arg, status, start, end);
	else if (slot.done.program)
		slot.done.program(slot.arg, status, log);
}

static void complete(struct remote *r, struct arax_link_done *done, uint64_t now)
{
	char *log = (char *)(done + 1);

	log[done->log_size] = '\0';
	if (done->end_ns > now)
		done->end_ns = now;
	if (done->start_ns > done->end_ns)
		done->start_ns = done->end_ns;
	r->seen += done->status == CL_MEM_OBJECT_ALLOCATION_FAILURE;
	ARAX_FAULT_POINT(TENANT_DEVICE_ENDED);
	slot_end(r, done->slot, done->status, log, done->start_ns, done->end_ns);
}

/* Return: how many, or -EPROTO. Bounded, however fast the other side is. */
static int fetch(struct remote *r)
{
	struct arax_link_done *done = (struct arax_link_done *)r->done;
	uint64_t now = 0;
	int n = 0;

	while (n < (int)ARAX_LINK_SLOTS && !r->lost) {
		int size = arax_ring_read(&r->cq, done, sizeof(r->done) - 8);

		if (!size)
			break;
		if (size < 0 || !completion_ok(r, done, size))
			return -EPROTO;
		if (!now)
			now = arax_now_ns();
		complete(r, done, now);
		n++;
	}
	return n;
}

void arax_remote_lost(struct arax_device *dev)
{
	struct remote *r = remote_of(dev);
	uint64_t now = arax_now_ns();

	if (r->lost)
		return;
	r->lost = true;
	while (r->first) {
		struct remote_record *record = r->first;

		r->first = record->next;
		free(record);
	}
	r->last = &r->first;
	for (uint32_t i = 0; i < ARAX_LINK_SLOTS; i++)
		if (r->slots[i].busy)
			slot_end(r, i, CL_DEVICE_NOT_AVAILABLE, "", now, now);
}

int remote_poll(struct arax_device *dev)
{
	struct remote *r = remote_of(dev);
	/* What ended before the link did has its completion there. */
	bool open = atomic_load_explicit(&r->shm->state, memory_order_acquire) == ARAX_LINK_OPEN;
	int n;

	if (r->lost)
		return -ENODEV;
	flush(r);
	n = fetch(r);
	if (n < 0 || r->broken || !open)
		arax_remote_lost(dev);
	return r->lost ? -ENODEV : n;
}

bool remote_ready(const struct arax_device *dev)
{
	const struct remote *r = remote_of(dev);

	if (r->lost)
		return false;
	if (arax_ring_pending(&r->cq) || r->broken)
		return true;
	if (r->first &&
	    atomic_load_explicit(&r->sq.index->head, memory_order_relaxed) != r->sq.seen)
		return true;
	return atomic_load_explicit(&r->shm->state, memory_order_relaxed) != ARAX_LINK_OPEN;
}

int arax_remote_new(const char *name, unsigned index, const struct arax_device_caps *caps,
		    int link_fd, void *arena, uint64_t arena_size, struct arax_device *dev)
{
	struct remote *r = calloc(1, sizeof(*r));
	int err = r ? arax_link_map(link_fd, &r->shm) : -ENOMEM;

	if (err) {
		free(r);
		return err;
	}
	arax_ring_init(&r->sq, &r->shm->sq, r->shm->sq_data, ARAX_LINK_SQ_BYTES);
	arax_ring_init(&r->cq, &r->shm->cq, r->shm->cq_data, ARAX_LINK_CQ_BYTES);
	r->arena = arena;
	r->arena_size = arena_size;
	r->features = caps->features;
	r->last = &r->first;
	for (uint32_t i = 0; i < ARAX_LINK_SLOTS; i++)
		r->slots[i].next = i + 1;
	for (int kind = 0; kind < KINDS; kind++)
		r->numbers[kind].next = 1;
	*dev = (struct arax_device){.ops = &remote_ops,
				    .index = index,
				    .discrete = true,
				    .parallel = caps->compute_units ?: 1,
				    .caps = *caps,
				    .priv = r};
	snprintf(dev->name, sizeof(dev->name), "%s", name);
	return 0;
}

void arax_remote_free(struct arax_device *dev)
{
	struct remote *r = remote_of(dev);

	arax_remote_lost(dev);
	arax_link_unmap(r->shm);
	for (int kind = 0; kind < KINDS; kind++)
		free(r->numbers[kind].free);
	free(r);
	dev->priv = NULL;
}
