/* SPDX-License-Identifier: Apache-2.0
 *
 * One side of a ring whose other side writes any index and any data at any time: the client's
 * reader of completions and writer of submissions, and the tenant's opposite. Nothing outside the
 * ring is touched, the own index moves by what was reported only, and an index that was believed
 * lies in the window that the other side may move in.
 *
 * Input: steps of 8 bytes: what to do (1), one bit more or less (1), size (2), a word (4).
 */
#include "transport/fuzz.h"

#include <errno.h>
#include <string.h>

#include "transport/ring.h"

#define BYTES 4096u
#define ENTRIES 64u

struct step {
	uint8_t what, how;
	uint16_t size;
	uint32_t word;
};

struct fuzzed {
	struct arax_ring ring;
	struct arax_ring_index *index;
	void *data; /* of exactly the ring's size */
	uint32_t before;
};

static void begin(struct fuzzed *f, uint32_t size, uint32_t item, uint32_t start)
{
	f->index = calloc(1, sizeof(*f->index));
	f->data = calloc(size, item);
	CHECK(f->index && f->data);
	arax_ring_init(&f->ring, f->index, f->data, size);
	f->ring.own = f->ring.seen = start;
	atomic_store(&f->index->head, start);
	atomic_store(&f->index->tail, start);
}

static void end(struct fuzzed *f)
{
	free(f->index);
	free(f->data);
}

/* Where the peer says that it is: near to us as a rule. */
static void peer_moves(struct fuzzed *f, const struct step *step, _Atomic uint32_t *index)
{
	if (step->how & 1)
		atomic_store(index, step->word);
	else if (step->how & 2)
		atomic_store(index, f->ring.own + (int16_t)step->word);
	else if (step->how & 4)
		atomic_store(index, atomic_load(index) + (step->word & 0xFFF8));
	f->before = f->ring.own;
}

static void produced(struct fuzzed *f, int rc, uint32_t size)
{
	CHECK(rc == 0 || rc == -EAGAIN || rc == -EPROTO);
	CHECK(f->ring.own - f->before == (rc ? 0 : size));
	CHECK(rc || f->ring.own - f->ring.seen <= f->ring.size);
	CHECK(rc || atomic_load(&f->index->tail) == f->ring.own);
}

static void consumed(struct fuzzed *f, int rc, uint32_t size)
{
	CHECK(rc >= 0 || rc == -EPROTO);
	CHECK(f->ring.own - f->before == (rc > 0 ? size : 0));
	CHECK(rc < 0 || f->ring.seen - f->ring.own <= f->ring.size);
	CHECK(rc <= 0 || atomic_load(&f->index->head) == f->ring.own);
}

static void do_write(struct fuzzed *f, const struct step *step)
{
	static _Alignas(8) unsigned char record[BYTES / 2];
	uint32_t size = 24 + step->size % (BYTES / 2 - 24) / 8 * 8;

	memset(record, step->what, sizeof(record));
	memcpy(record, &size, sizeof(size));
	peer_moves(f, step, &f->index->head);
	produced(f, arax_ring_write(&f->ring, record, size), size);
}

static void do_read(struct fuzzed *f, const struct step *step)
{
	uint32_t capacity = step->size % (step->how & 32 ? 64 : BYTES);
	void *scratch = aligned_alloc(8, (capacity + 7) & ~7u);
	uint32_t size;
	int rc;

	CHECK(scratch || !capacity);
	if (step->how & 8)
		memcpy((char *)f->data + (f->ring.own & (BYTES - 1) & ~7u), &step->word, 4);
	if (step->how & 16) {
		size = step->word & 0x1F8;
		memcpy((char *)f->data + (f->ring.own & (BYTES - 1) & ~7u), &size, 4);
	}
	peer_moves(f, step, &f->index->tail);
	rc = arax_ring_read(&f->ring, scratch, capacity);
	CHECK(rc <= (int)capacity);
	if (rc > 0) {
		memcpy(&size, scratch, sizeof(size));
		CHECK(size == (uint32_t)rc && size >= 24 && size % 8 == 0);
	}
	consumed(f, rc, (uint32_t)rc);
	free(scratch);
}

static void do_push(struct fuzzed *f, const struct step *step)
{
	peer_moves(f, step, &f->index->head);
	produced(f, arax_ring_push(&f->ring, step->word), 1);
}

static void do_pop(struct fuzzed *f, const struct step *step)
{
	uint32_t entry;

	peer_moves(f, step, &f->index->tail);
	consumed(f, arax_ring_pop(&f->ring, &entry), 1);
	(void)arax_ring_pending(&f->ring);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const act[4])(struct fuzzed *, const struct step *) = {do_write, do_read,
									     do_push, do_pop};
	struct fuzzed rings[4];
	struct step step;
	uint32_t start = 0;

	if (size < sizeof(start))
		return 0;
	memcpy(&start, data, sizeof(start));
	for (int i = 0; i < 4; i++)
		begin(&rings[i], i < 2 ? BYTES : ENTRIES, i < 2 ? 1 : 4,
		      i < 2 ? start & ~7u : start);
	for (size_t at = sizeof(start); size - at >= sizeof(step); at += sizeof(step)) {
		memcpy(&step, data + at, sizeof(step));
		act[step.what & 3](&rings[step.what & 3], &step);
	}
	for (int i = 0; i < 4; i++)
		end(&rings[i]);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t max, char *name)
{
	static const uint8_t peers[] = {0, 2, 4, 4 | 16, 4 | 8, 1, 4 | 16 | 32};
	uint32_t start = n % 2 ? UINT32_MAX - 100 : 0;
	uint64_t random = n;
	size_t size = sizeof(start);

	(void)max;
	if (n >= 2 * sizeof(peers))
		return 0;
	memcpy(data, &start, sizeof(start));
	for (int i = 0; i < 60; i++, size += sizeof(struct step)) {
		struct step step = {(uint8_t)test_random(&random), peers[n / 2],
				    (uint16_t)test_random(&random),
				    (uint32_t)test_random(&random) % 200};

		memcpy(data + size, &step, sizeof(step));
	}
	snprintf(name, 32, "steps-%02u", n);
	return size;
}
