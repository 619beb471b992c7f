/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's bookkeeping of the arena's heap: which ranges are used. All of it is private memory
 * of the client, so that nothing a kernel writes can confuse it. Good fit in constant time
 * (two-level segregated lists over separate block descriptors, as in TLSF, Masmano et al. 2004);
 * recently freed memory is preferred because its pages exist already; freed memory above a
 * high-water mark goes back to the system (fallocate PUNCH_HOLE).
 *
 * Threads: the caller serialises.
 */
#ifndef ARAX_TRANSPORT_HEAP_H
#define ARAX_TRANSPORT_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct arax_heap;

/**
 * arax_heap_new() - bookkeeping for [start, end) of an arena
 * @fd: the memfd to punch holes into, or -1 for none (tests)
 * @high_water: bytes of freed memory that keep their pages; above it the pages of what was freed
 *              first are given back, down to three quarters of it
 * Return: the heap or NULL (ENOMEM).
 */
struct arax_heap *arax_heap_new(uint64_t start, uint64_t end, int fd, uint64_t high_water);
void arax_heap_free(struct arax_heap *heap);

/**
 * arax_heap_alloc() - take a range
 * @size: bytes, at least 1; @align: a power of two (at least 256 is used)
 * Return: 0 with *offset set; -ENOMEM.
 */
int arax_heap_alloc(struct arax_heap *heap, uint64_t size, uint64_t align, uint64_t *offset);

/** arax_heap_release() - give back the range that begins at offset (asserts that it is one). */
void arax_heap_release(struct arax_heap *heap, uint64_t offset);

/** arax_heap_size() - size, as it was asked for, of the allocated range that contains offset, its
 *  start in *start; 0 if offset is in none. */
uint64_t arax_heap_size(struct arax_heap *heap, uint64_t offset, uint64_t *start);

/** arax_heap_used() - bytes allocated now, rounded as they were allocated. */
uint64_t arax_heap_used(const struct arax_heap *heap);

#endif
