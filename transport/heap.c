/* SPDX-License-Identifier: Apache-2.0
 *
 * Which ranges of the arena's heap are used: two-level segregated free lists (TLSF) over block
 * descriptors in the client's private memory, plus a treap of the used blocks by offset, because
 * an SVM pointer may point anywhere into its range.
 *
 * Every free block knows which part of it may still have pages: [dirty, dirty_end). The sum of
 * these parts is kept below the high-water mark by punching holes, longest freed first.
 */
#include "transport/heap.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>

#define GRAIN 256u
#define PAGE 4096u
#define SECOND_BITS 4
#define SECOND (1u << SECOND_BITS)
#define FIRST 58u
/* How many blocks of the exact class are looked at before a larger class is taken. */
#define PROBES 8
#define CHUNK 128

struct block {
	uint64_t offset, size, wanted;
	uint64_t dirty, dirty_end;    /* free blocks: may have pages; equal when none */
	struct block *before, *after; /* neighbours in the heap */
	union {
		struct { /* free */
			struct block *list_prev, *list_next;
			struct block *older, *newer; /* of the dirty ones */
		};
		struct { /* used */
			struct block *left, *right;
			uint32_t priority;
		};
	};
	bool used;
};

struct chunk {
	struct chunk *next;
	struct block blocks[CHUNK];
};

struct arax_heap {
	uint64_t start, end, used, dirty, high_water;
	int fd;
	uint32_t random;
	uint64_t first_map;
	uint32_t second_map[FIRST];
	struct block *lists[FIRST][SECOND];
	struct block *oldest, *newest; /* dirty free blocks in the order they were freed */
	struct block *root;	       /* used blocks */
	struct block *spare;	       /* descriptors, linked by after */
	struct chunk *chunks;
};

static uint64_t align_down(uint64_t value, uint64_t align)
{
	return value & ~(align - 1);
}

static uint64_t align_up(uint64_t value, uint64_t align)
{
	return align_down(value + align - 1, align);
}

/* Descriptors */

static bool spare_fill(struct arax_heap *heap, unsigned want)
{
	struct chunk *chunk;
	unsigned have = 0;

	for (struct block *b = heap->spare; b && have < want; b = b->after)
		have++;
	if (have >= want)
		return true;
	chunk = calloc(1, sizeof(*chunk));
	if (!chunk)
		return false;
	chunk->next = heap->chunks;
	heap->chunks = chunk;
	for (unsigned i = 0; i < CHUNK; i++) {
		chunk->blocks[i].after = heap->spare;
		heap->spare = &chunk->blocks[i];
	}
	return true;
}

static struct block *block_new(struct arax_heap *heap, uint64_t offset, uint64_t size)
{
	struct block *b = heap->spare;

	heap->spare = b->after;
	*b = (struct block){.offset = offset, .size = size, .dirty = offset, .dirty_end = offset};
	return b;
}

static void block_drop(struct arax_heap *heap, struct block *b)
{
	b->after = heap->spare;
	heap->spare = b;
}

/* Free lists */

static void class_of(uint64_t size, unsigned *first, unsigned *second)
{
	uint64_t grains = size / GRAIN;
	unsigned log;

	if (grains < SECOND) {
		*first = 0;
		*second = (unsigned)grains;
		return;
	}
	log = 63u - (unsigned)__builtin_clzll(grains);
	*first = log - SECOND_BITS + 1;
	*second = (unsigned)(grains >> (log - SECOND_BITS)) - SECOND;
}

static void dirty_link(struct arax_heap *heap, struct block *b)
{
	if (b->dirty == b->dirty_end)
		return;
	heap->dirty += b->dirty_end - b->dirty;
	b->newer = NULL;
	b->older = heap->newest;
	*(heap->newest ? &heap->newest->newer : &heap->oldest) = b;
	heap->newest = b;
}

static void dirty_unlink(struct arax_heap *heap, struct block *b)
{
	if (b->dirty == b->dirty_end)
		return;
	heap->dirty -= b->dirty_end - b->dirty;
	*(b->older ? &b->older->newer : &heap->oldest) = b->newer;
	*(b->newer ? &b->newer->older : &heap->newest) = b->older;
}

/* At the front of its list: what was freed last is taken first. */
static void free_link(struct arax_heap *heap, struct block *b)
{
	unsigned first, second;

	class_of(b->size, &first, &second);
	b->used = false;
	b->list_prev = NULL;
	b->list_next = heap->lists[first][second];
	if (b->list_next)
		b->list_next->list_prev = b;
	heap->lists[first][second] = b;
	heap->first_map |= 1ull << first;
	heap->second_map[first] |= 1u << second;
	dirty_link(heap, b);
}

static void free_unlink(struct arax_heap *heap, struct block *b)
{
	unsigned first, second;

	dirty_unlink(heap, b);
	class_of(b->size, &first, &second);
	if (b->list_next)
		b->list_next->list_prev = b->list_prev;
	if (b->list_prev) {
		b->list_prev->list_next = b->list_next;
		return;
	}
	heap->lists[first][second] = b->list_next;
	if (b->list_next)
		return;
	heap->second_map[first] &= ~(1u << second);
	if (!heap->second_map[first])
		heap->first_map &= ~(1ull << first);
}

/* The first list that is not empty at or above a class; NULL when there is none. */
static struct block *list_from(struct arax_heap *heap, unsigned *first, unsigned *second)
{
	uint32_t seconds;
	uint64_t firsts;

	if (*second >= SECOND) {
		*second = 0;
		++*first;
	}
	if (*first >= FIRST)
		return NULL;
	seconds = heap->second_map[*first] & (UINT32_MAX << *second);
	if (!seconds) {
		firsts = heap->first_map & (UINT64_MAX << *first << 1);
		if (!firsts)
			return NULL;
		*first = (unsigned)__builtin_ctzll(firsts);
		seconds = heap->second_map[*first];
	}
	*second = (unsigned)__builtin_ctz(seconds);
	return heap->lists[*first][*second];
}

static bool fits(const struct block *b, uint64_t size, uint64_t align)
{
	uint64_t gap = align_up(b->offset, align) - b->offset;

	return gap <= b->size && size <= b->size - gap;
}

/*
 * A free block that holds size bytes at align. First a few of the class that the size itself is
 * in: that is where a range of the same size lies that was freed just now. Then any block of the
 * next class that is surely large enough. Last, when the heap is nearly full, all the others.
 */
static struct block *free_find(struct arax_heap *heap, uint64_t size, uint64_t align)
{
	unsigned first, second, probes = 0;
	uint64_t sure, round;
	struct block *b;

	class_of(size, &first, &second);
	for (b = heap->lists[first][second]; b && probes < PROBES; b = b->list_next, probes++)
		if (fits(b, size, align))
			return b;
	sure = size + align - GRAIN;
	class_of(sure, &first, &second);
	round = first ? ((uint64_t)GRAIN << (first - 1)) - GRAIN : 0;
	class_of(sure + round, &first, &second);
	b = list_from(heap, &first, &second);
	if (b)
		return b;
	class_of(size, &first, &second);
	while ((b = list_from(heap, &first, &second))) {
		for (; b; b = b->list_next)
			if (fits(b, size, align))
				return b;
		second++;
	}
	return NULL;
}

/* Used blocks by offset */

static void tree_split(struct block *t, uint64_t offset, struct block **left, struct block **right)
{
	while (t) {
		if (t->offset < offset) {
			*left = t;
			left = &t->right;
			t = t->right;
		} else {
			*right = t;
			right = &t->left;
			t = t->left;
		}
	}
	*left = NULL;
	*right = NULL;
}

static void tree_insert(struct arax_heap *heap, struct block *b)
{
	struct block **at = &heap->root;

	heap->random ^= heap->random << 13;
	heap->random ^= heap->random >> 17;
	heap->random ^= heap->random << 5;
	b->priority = heap->random;
	while (*at && (*at)->priority >= b->priority)
		at = b->offset < (*at)->offset ? &(*at)->left : &(*at)->right;
	tree_split(*at, b->offset, &b->left, &b->right);
	*at = b;
}

static void tree_remove(struct arax_heap *heap, struct block *b)
{
	struct block **at = &heap->root;
	struct block *left = b->left, *right = b->right;

	while (*at != b)
		at = b->offset < (*at)->offset ? &(*at)->left : &(*at)->right;
	while (left && right) {
		if (left->priority >= right->priority) {
			*at = left;
			at = &left->right;
			left = left->right;
		} else {
			*at = right;
			at = &right->left;
			right = right->left;
		}
	}
	*at = left ? left : right;
}

/* The used block with the greatest offset that is not above this one. */
static struct block *tree_floor(const struct arax_heap *heap, uint64_t offset)
{
	struct block *t = heap->root, *best = NULL;

	while (t) {
		if (t->offset <= offset) {
			best = t;
			t = t->right;
		} else {
			t = t->left;
		}
	}
	return best;
}

/* Blocks */

/* Cuts an unlinked block at size; the rest, returned unlinked, takes its part of the dirt. */
static struct block *block_cut(struct arax_heap *heap, struct block *b, uint64_t size)
{
	uint64_t at = b->offset + size;
	struct block *rest = block_new(heap, at, b->size - size);

	b->size = size;
	rest->before = b;
	rest->after = b->after;
	if (b->after)
		b->after->before = rest;
	b->after = rest;
	if (b->dirty_end > at) {
		rest->dirty = b->dirty > at ? b->dirty : at;
		rest->dirty_end = b->dirty_end;
		b->dirty_end = at;
		if (b->dirty >= at)
			b->dirty = b->dirty_end = b->offset;
	}
	return rest;
}

/* Joins two unlinked neighbours; what lies between their dirty parts counts as dirty too. */
static void block_join(struct arax_heap *heap, struct block *b, struct block *next)
{
	if (b->dirty == b->dirty_end) {
		b->dirty = next->dirty;
		b->dirty_end = next->dirty_end;
	} else if (next->dirty != next->dirty_end) {
		b->dirty_end = next->dirty_end;
	}
	b->size += next->size;
	b->after = next->after;
	if (b->after)
		b->after->before = b;
	block_drop(heap, next);
}

/* Gives back pages of [from, to) of a free block, except those that it shares with a neighbour. */
static void block_punch(struct arax_heap *heap, const struct block *b, uint64_t from, uint64_t to)
{
	uint64_t low = align_down(from, PAGE), high = align_up(to, PAGE);

	if (low < b->offset)
		low += PAGE;
	if (high > b->offset + b->size)
		high -= PAGE;
	/* It is an optimisation: where it fails, the pages just stay. */
	if (heap->fd >= 0 && low < high)
		(void)!fallocate(heap->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)low,
				 (off_t)(high - low));
}

/* Down to three quarters of the mark, so that not every release at the mark is a system call. Of
 * a large block the end goes first, because allocations are cut from its beginning. */
static void dirty_trim(struct arax_heap *heap)
{
	uint64_t keep = heap->high_water - heap->high_water / 4;

	if (heap->dirty <= heap->high_water)
		return;
	while (heap->oldest && heap->dirty > keep) {
		struct block *b = heap->oldest;
		uint64_t excess = heap->dirty - keep, from = b->dirty, to = b->dirty_end;

		if (to - from > excess)
			from = align_down(to - excess, PAGE) > from ? align_down(to - excess, PAGE)
								    : from;
		dirty_unlink(heap, b);
		block_punch(heap, b, from, to);
		b->dirty_end = from;
		if (b->dirty == b->dirty_end)
			b->dirty = b->dirty_end = b->offset;
		dirty_link(heap, b);
	}
}

struct arax_heap *arax_heap_new(uint64_t start, uint64_t end, int fd, uint64_t high_water)
{
	struct arax_heap *heap;

	end = align_down(end, GRAIN);
	if (start > UINT64_MAX / 4 || end > UINT64_MAX / 4 || align_up(start, GRAIN) >= end)
		return NULL;
	heap = calloc(1, sizeof(*heap));
	if (!heap)
		return NULL;
	heap->start = align_up(start, GRAIN);
	heap->end = end;
	heap->fd = fd;
	heap->high_water = high_water;
	heap->random = 2463534242u;
	if (!spare_fill(heap, 1)) {
		free(heap);
		return NULL;
	}
	free_link(heap, block_new(heap, heap->start, heap->end - heap->start));
	return heap;
}

void arax_heap_free(struct arax_heap *heap)
{
	if (!heap)
		return;
	while (heap->chunks) {
		struct chunk *chunk = heap->chunks;

		heap->chunks = chunk->next;
		free(chunk);
	}
	free(heap);
}

/* Makes a free block the used one that holds size bytes at align. */
static struct block *block_take(struct arax_heap *heap, struct block *b, uint64_t size,
				uint64_t align)
{
	uint64_t gap = align_up(b->offset, align) - b->offset;

	free_unlink(heap, b);
	if (gap) {
		struct block *rest = block_cut(heap, b, gap);

		free_link(heap, b);
		b = rest;
	}
	if (b->size > size)
		free_link(heap, block_cut(heap, b, size));
	return b;
}

int arax_heap_alloc(struct arax_heap *heap, uint64_t size, uint64_t align, uint64_t *offset)
{
	uint64_t wanted = size;
	struct block *b;

	assert(size && align && !(align & (align - 1)));
	if (size > heap->end - heap->start || align > heap->end)
		return -ENOMEM;
	if (align < GRAIN)
		align = GRAIN;
	if (size >= PAGE && align < PAGE)
		align = PAGE;
	/* Whole pages for large ranges: then all of them can be given back. */
	size = align_up(size, size >= PAGE ? PAGE : GRAIN);
	/* Before anything changes: a cut at each end takes a descriptor. */
	if (!spare_fill(heap, 2))
		return -ENOMEM;
	b = free_find(heap, size, align);
	if (!b)
		return -ENOMEM;
	b = block_take(heap, b, size, align);
	b->used = true;
	b->wanted = wanted;
	tree_insert(heap, b);
	heap->used += size;
	*offset = b->offset;
	return 0;
}

void arax_heap_release(struct arax_heap *heap, uint64_t offset)
{
	struct block *b = tree_floor(heap, offset);

	assert(b && b->offset == offset);
	if (!b || b->offset != offset)
		return;
	tree_remove(heap, b);
	heap->used -= b->size;
	b->dirty = b->offset;
	b->dirty_end = b->offset + b->size;
	if (b->after && !b->after->used) {
		free_unlink(heap, b->after);
		block_join(heap, b, b->after);
	}
	if (b->before && !b->before->used) {
		struct block *before = b->before;

		free_unlink(heap, before);
		block_join(heap, before, b);
		b = before;
	}
	free_link(heap, b);
	dirty_trim(heap);
}

uint64_t arax_heap_size(struct arax_heap *heap, uint64_t offset, uint64_t *start)
{
	struct block *b = tree_floor(heap, offset);

	if (!b || offset - b->offset >= b->wanted)
		return 0;
	*start = b->offset;
	return b->wanted;
}

uint64_t arax_heap_used(const struct arax_heap *heap)
{
	return heap->used;
}
