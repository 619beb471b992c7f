/* SPDX-License-Identifier: Apache-2.0
 *
 * The rings between a client and its tenant: records of bytes one way (submission), 32-bit entries
 * both ways (host ring, completion ring). The peer may write anything into the shared part at any
 * time; what is believed of it is one index per call, after a check, and bytes that were copied.
 *
 * What is done here in which order is checked in every interleaving by model_ring.pml: who changes
 * the one changes the other.
 */
#include "transport/ring.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "transport/protocol.h"

void arax_ring_init(struct arax_ring *ring, struct arax_ring_index *index, void *data,
		    uint32_t size)
{
	assert(size >= 8 && !(size & (size - 1)));
	*ring = (struct arax_ring){.index = index, .data = data, .size = size};
}

/* The peer's index is looked at only when what was seen of it last is used up: each look takes the
 * cache line from the peer, who writes it with every record. */

/* How much is free for the producer. The peer's head moves forward only, and never past us. */
static int ring_free(struct arax_ring *ring, uint32_t wanted, uint32_t *free)
{
	*free = ring->size - (ring->own - ring->seen);
	if (*free >= wanted)
		return 0;

	uint32_t head = atomic_load_explicit(&ring->index->head, memory_order_acquire);

	if (head - ring->seen > ring->own - ring->seen)
		return -EPROTO;
	ring->seen = head;
	*free = ring->size - (ring->own - head);
	return 0;
}

/* How much there is for the consumer. The peer's tail moves forward only, by at most the ring. */
static int ring_used(struct arax_ring *ring, uint32_t *used)
{
	*used = ring->seen - ring->own;
	if (*used)
		return 0;

	uint32_t tail = atomic_load_explicit(&ring->index->tail, memory_order_acquire);

	if (tail - ring->own > ring->size || tail - ring->own < ring->seen - ring->own)
		return -EPROTO;
	ring->seen = tail;
	*used = tail - ring->own;
	return 0;
}

static void copy_in(struct arax_ring *ring, const void *from, uint32_t size)
{
	uint32_t at = ring->own & (ring->size - 1);
	uint32_t first = size < ring->size - at ? size : ring->size - at;

	memcpy((char *)ring->data + at, from, first);
	memcpy(ring->data, (const char *)from + first, size - first);
}

static void copy_out(const struct arax_ring *ring, uint32_t skip, void *to, uint32_t size)
{
	uint32_t at = (ring->own + skip) & (ring->size - 1);
	uint32_t first = size < ring->size - at ? size : ring->size - at;

	memcpy(to, (const char *)ring->data + at, first);
	memcpy((char *)to + first, ring->data, size - first);
}

int arax_ring_write(struct arax_ring *ring, const void *record, uint32_t size)
{
	uint32_t free;
	int err;

	assert(size >= sizeof(struct arax_record) && size % 8 == 0 && size <= ring->size / 2);
	err = ring_free(ring, size, &free);
	if (err)
		return err;
	if (free < size)
		return -EAGAIN;
	copy_in(ring, record, size);
	ring->own += size;
	atomic_store_explicit(&ring->index->tail, ring->own, memory_order_release);
	return 0;
}

int arax_ring_room(struct arax_ring *ring, uint32_t *room)
{
	return ring_free(ring, ring->size, room);
}

int arax_ring_read(struct arax_ring *ring, void *scratch, uint32_t capacity)
{
	const uint32_t least = sizeof(struct arax_record);
	uint32_t used, size;
	int err;

	err = ring_used(ring, &used);
	if (err || !used)
		return err;
	if (used < least || capacity < least)
		return -EPROTO;
	/* The word with the size is fetched once and not again with the rest: the producer could
	 * change it between the check and the copy. */
	copy_out(ring, 0, scratch, 8);
	memcpy(&size, scratch, sizeof(size));
	if (size < least || size % 8 || size > capacity || size > used)
		return -EPROTO;
	copy_out(ring, 8, (char *)scratch + 8, size - 8);
	ring->own += size;
	atomic_store_explicit(&ring->index->head, ring->own, memory_order_release);
	return (int)size;
}

int arax_ring_push(struct arax_ring *ring, uint32_t entry)
{
	uint32_t free;
	int err;

	err = ring_free(ring, 1, &free);
	if (err)
		return err;
	if (!free)
		return -EAGAIN;
	((uint32_t *)ring->data)[ring->own & (ring->size - 1)] = entry;
	ring->own++;
	atomic_store_explicit(&ring->index->tail, ring->own, memory_order_release);
	return 0;
}

int arax_ring_pop(struct arax_ring *ring, uint32_t *entry)
{
	uint32_t used;
	int err;

	err = ring_used(ring, &used);
	if (err || !used)
		return err;
	/* volatile: one fetch, so that the caller's checks and uses see the same value. */
	*entry = ((volatile uint32_t *)ring->data)[ring->own & (ring->size - 1)];
	ring->own++;
	atomic_store_explicit(&ring->index->head, ring->own, memory_order_release);
	return 1;
}
