/* SPDX-License-Identifier: Apache-2.0
 *
 * Single-producer single-consumer rings over shared memory. The index that a side owns lives in
 * its private memory and is only published; the peer's index is loaded once per call and checked:
 * a peer that moves it outside the window gets -EPROTO, never an access outside the ring.
 *
 * Threads: one producer and one consumer at a time; callers serialise.
 */
#ifndef ARAX_TRANSPORT_RING_H
#define ARAX_TRANSPORT_RING_H

#include <stddef.h>
#include <stdint.h>

#include "transport/shm.h"

/* One side's view of a ring of bytes (records) or of 32-bit entries. */
struct arax_ring {
	struct arax_ring_index *index; /* shared */
	void *data;		       /* shared */
	uint32_t size;		       /* bytes or entries, a power of two; private */
	uint32_t own;		       /* own index, free-running; private */
	uint32_t seen;		       /* the peer's index as last accepted; private */
};

void arax_ring_init(struct arax_ring *ring, struct arax_ring_index *index, void *data,
		    uint32_t size);

/**
 * arax_ring_write() - append one record of bytes (record->size first, multiple of 8)
 * @size: bytes, at most half of the ring
 *
 * Copies the record (wrapping byte-wise) and publishes it with a release store.
 *
 * Return: 0, -EAGAIN when there is no room now, -EPROTO when the peer's index is impossible.
 */
int arax_ring_write(struct arax_ring *ring, const void *record, uint32_t size);

/**
 * arax_ring_read() - take one record into private memory
 * @scratch, @capacity: where it is copied (8-byte aligned)
 *
 * The first 4 bytes in the ring are the record's size; they are read once, from the copy.
 *
 * Return: the record's size in bytes, 0 when the ring is empty, -EPROTO when the size or the
 * peer's index is impossible (size < 24, not a multiple of 8, above capacity or what is there).
 */
int arax_ring_read(struct arax_ring *ring, void *scratch, uint32_t capacity);

/** arax_ring_room() - how much the producer could write now. Return: 0 or -EPROTO. */
int arax_ring_room(struct arax_ring *ring, uint32_t *room);

/** arax_ring_push() - append one entry. Return: 0, -EAGAIN, -EPROTO. */
int arax_ring_push(struct arax_ring *ring, uint32_t entry);

/** arax_ring_pop() - take one entry. Return: 1 with *entry set, 0 when empty, -EPROTO. */
int arax_ring_pop(struct arax_ring *ring, uint32_t *entry);

/** arax_ring_pending() - one load at most: is there something for the consumer to take? */
static inline int arax_ring_pending(const struct arax_ring *ring)
{
	return ring->seen != ring->own ||
	       atomic_load_explicit(&ring->index->tail, memory_order_acquire) != ring->own;
}

#endif
