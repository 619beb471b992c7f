/* SPDX-License-Identifier: Apache-2.0
 *
 * The heap's bookkeeping against a reference (one byte per grain), and against a real memfd: what
 * is allocated keeps its contents, what is punched reads zero, what is free keeps no more pages
 * than the high-water mark allows.
 */
#include "transport/heap.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transport/testing.h"

#define START (4u << 20)
#define SIZE (64u << 20)
#define GRAIN 256u
#define LIVE 600

struct range {
	uint64_t offset, size;
	unsigned char mark;
};

static unsigned char map[SIZE / GRAIN];
static struct range live[LIVE];
static unsigned nlive;

static void take(struct arax_heap *heap, uint64_t *state, unsigned char *memory)
{
	uint64_t size = 1 + test_random(state) % (1ull << (test_random(state) % 20));
	uint64_t align = 1ull << (test_random(state) % 15), offset, start;
	struct range *r = &live[nlive];
	int err = arax_heap_alloc(heap, size, align, &offset);

	if (err) {
		CHECK(err == -ENOMEM);
		return;
	}
	CHECK(offset % align == 0 && offset % GRAIN == 0);
	CHECK(size < 4096 || offset % 4096 == 0);
	CHECK(offset >= START && offset + size <= START + SIZE);
	for (uint64_t i = offset; i < offset + size; i += GRAIN) {
		CHECK(!map[(i - START) / GRAIN]);
		map[(i - START) / GRAIN] = 1;
	}
	CHECK(arax_heap_size(heap, offset + size - 1, &start) == size && start == offset);
	CHECK(arax_heap_size(heap, offset, &start) == size && start == offset);
	*r = (struct range){offset, size, (unsigned char)(test_random(state) | 1)};
	if (memory)
		memset(memory + offset, r->mark, size);
	nlive++;
}

static void drop(struct arax_heap *heap, uint64_t *state, const unsigned char *memory)
{
	unsigned i = (unsigned)(test_random(state) % nlive);
	struct range r = live[i];
	uint64_t start;

	for (uint64_t at = 0; memory && at < r.size; at += 61)
		CHECK(memory[r.offset + at] == r.mark);
	CHECK(!memory || memory[r.offset + r.size - 1] == r.mark);
	for (uint64_t at = r.offset; at < r.offset + r.size; at += GRAIN)
		map[(at - START) / GRAIN] = 0;
	arax_heap_release(heap, r.offset);
	CHECK(arax_heap_size(heap, r.offset, &start) == 0);
	live[i] = live[--nlive];
}

static void test_random_steps(int steps, int fd, unsigned char *memory)
{
	struct arax_heap *heap = arax_heap_new(START, START + SIZE, fd, 1 << 20);
	uint64_t state = 42, offset;

	CHECK(heap);
	for (int i = 0; i < steps; i++) {
		/* Waves, so that it is now nearly empty, now full. */
		bool grow = test_random(&state) % 8 < ((i / 4000) % 2 ? 3 : 5);

		if (nlive && (!grow || nlive == LIVE))
			drop(heap, &state, memory);
		else
			take(heap, &state, memory);
	}
	while (nlive)
		drop(heap, &state, memory);
	/* One block again: all of it can be had at once. */
	CHECK(arax_heap_used(heap) == 0);
	CHECK(arax_heap_alloc(heap, SIZE, 1, &offset) == 0 && offset == START);
	CHECK(arax_heap_used(heap) == SIZE);
	arax_heap_release(heap, offset);
	arax_heap_free(heap);
}

static void test_exhaustion(void)
{
	struct arax_heap *heap = arax_heap_new(START, START + (1 << 20), -1, 0);
	uint64_t offset, all[4096], start;

	CHECK(heap);
	CHECK(arax_heap_alloc(heap, (1 << 20) + 1, 1, &offset) == -ENOMEM);
	CHECK(arax_heap_alloc(heap, UINT64_MAX, 1, &offset) == -ENOMEM);
	CHECK(arax_heap_alloc(heap, 1, 1ull << 63, &offset) == -ENOMEM);
	for (unsigned i = 0; i < 4096; i++)
		CHECK(arax_heap_alloc(heap, 256, 1, &all[i]) == 0);
	CHECK(arax_heap_alloc(heap, 1, 1, &offset) == -ENOMEM);
	CHECK(arax_heap_size(heap, START - 1, &start) == 0);
	CHECK(arax_heap_size(heap, START + (1 << 20), &start) == 0);
	/* Every second one: 512 KiB are free but no two neighbours. */
	for (unsigned i = 0; i < 4096; i += 2)
		arax_heap_release(heap, all[i]);
	CHECK(arax_heap_alloc(heap, 257, 1, &offset) == -ENOMEM);
	CHECK(arax_heap_alloc(heap, 256, 1024, &offset) == 0 && offset % 1024 == 0);
	arax_heap_free(heap);
	CHECK(!arax_heap_new(START, START, -1, 0));
	CHECK(!arax_heap_new(START, START - 1, -1, 0));
}

/* The only range that is large enough lies behind more than are tried of its class. */
static void test_nearly_full(void)
{
	const uint64_t small = 512 * 256, large = 528 * 256;
	struct arax_heap *heap = arax_heap_new(START, START + large + 20 * small, -1, 0);
	uint64_t first, offset[20], found;

	CHECK(heap && !arax_heap_alloc(heap, large, 1, &first));
	for (int i = 0; i < 20; i++)
		CHECK(arax_heap_alloc(heap, small, 1, &offset[i]) == 0);
	arax_heap_release(heap, first);
	for (int i = 1; i < 20; i += 2)
		arax_heap_release(heap, offset[i]);
	CHECK(arax_heap_alloc(heap, large, 1, &found) == 0 && found == first);
	CHECK(arax_heap_alloc(heap, large, 1, &found) == -ENOMEM);
	arax_heap_free(heap);
	CHECK(!arax_heap_new(UINT64_MAX / 2, UINT64_MAX, -1, 0));
	arax_heap_free(NULL);
}

static void test_recent_first(void)
{
	struct arax_heap *heap = arax_heap_new(START, START + SIZE, -1, SIZE);
	uint64_t offset[8], again;

	CHECK(heap);
	for (int i = 0; i < 8; i++)
		CHECK(arax_heap_alloc(heap, 100000, 1, &offset[i]) == 0);
	arax_heap_release(heap, offset[1]);
	arax_heap_release(heap, offset[5]);
	arax_heap_release(heap, offset[3]);
	CHECK(arax_heap_alloc(heap, 100000, 1, &again) == 0 && again == offset[3]);
	CHECK(arax_heap_alloc(heap, 100000, 1, &again) == 0 && again == offset[5]);
	CHECK(arax_heap_alloc(heap, 100000, 1, &again) == 0 && again == offset[1]);
	arax_heap_free(heap);
}

static uint64_t resident(int fd)
{
	struct stat st;

	CHECK(!fstat(fd, &st));
	return (uint64_t)st.st_blocks * 512;
}

static void test_high_water(int fd, unsigned char *memory)
{
	const uint64_t mark = 8 << 20, size = 1 << 20;
	struct arax_heap *heap = arax_heap_new(START, START + SIZE, fd, mark);
	uint64_t offset[32], zeros = 0;

	CHECK(heap);
	for (int i = 0; i < 32; i++) {
		CHECK(arax_heap_alloc(heap, size, 1, &offset[i]) == 0);
		memset(memory + offset[i], 0xAA, size);
	}
	CHECK(resident(fd) >= 32 * size);
	for (int i = 0; i < 8; i++)
		arax_heap_release(heap, offset[i * 2]);
	/* At the mark nothing was given back, one more and the oldest is. */
	CHECK(memory[offset[0]] == 0xAA && memory[offset[14]] == 0xAA);
	arax_heap_release(heap, offset[16]);
	CHECK(memory[offset[0]] == 0 && memory[offset[0] + size - 1] == 0);
	CHECK(memory[offset[16]] == 0xAA);
	for (int i = 0; i < 32; i++)
		if (i % 2 || i > 16)
			arax_heap_release(heap, offset[i]);
	CHECK(resident(fd) <= mark);
	for (uint64_t i = START; i < START + 32 * size; i += 4096)
		zeros += memory[i] == 0;
	CHECK(zeros * 4096 >= 32 * size - mark);
	arax_heap_free(heap);
}

/* Neighbours inside one page: the page goes when the last of them is free, and not before. */
static void test_shared_pages(int fd, unsigned char *memory)
{
	struct arax_heap *heap = arax_heap_new(START, START + SIZE, fd, 0);
	uint64_t offset[64];

	CHECK(heap);
	for (int i = 0; i < 64; i++) {
		CHECK(arax_heap_alloc(heap, 256, 1, &offset[i]) == 0);
		memset(memory + offset[i], 0xBB, 256);
	}
	for (int i = 0; i < 64; i++) {
		if (i == 20)
			continue;
		arax_heap_release(heap, offset[i]);
		CHECK(memory[offset[20]] == 0xBB && memory[offset[20] + 255] == 0xBB);
	}
	CHECK(memory[offset[0]] == 0 && memory[offset[40]] == 0);
	CHECK(memory[offset[19]] == 0xBB);
	arax_heap_release(heap, offset[20]);
	for (int i = 0; i < 64; i++)
		CHECK(memory[offset[i]] == 0);
	arax_heap_free(heap);
}

int main(void)
{
	unsigned char *memory;
	int fd = memfd_create("heap", MFD_CLOEXEC);

	CHECK(fd >= 0 && !ftruncate(fd, START + SIZE));
	memory = mmap(NULL, START + SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(memory != MAP_FAILED);
	test_exhaustion();
	test_nearly_full();
	test_recent_first();
	test_high_water(fd, memory);
	CHECK(!ftruncate(fd, 0) && !ftruncate(fd, START + SIZE));
	test_shared_pages(fd, memory);
	test_random_steps(200000, -1, NULL);
	test_random_steps(20000, fd, memory);
	return 0;
}
