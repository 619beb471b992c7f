/* SPDX-License-Identifier: Apache-2.0
 *
 * Trace rings: order, overwriting that is counted, entries that are never seen half written, and
 * memory in which somebody has written what he liked.
 */
#include "transport/trace.h"
#include "transport/socket.h"
#include "transport/testing.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WRITERS 3
#define PER_WRITER 200000u

struct world {
	int fd;
	struct arax_trace *memory; /* writable, to do harm */
	const struct arax_trace *trace;
	struct arax_trace_writer writer;
	struct arax_trace_reader reader;
};

static void world_open(struct world *w)
{
	w->fd = arax_memfd_new("test-trace", sizeof(struct arax_trace));
	CHECK(w->fd >= 0);
	CHECK(arax_trace_open(&w->writer, w->fd, ARAX_TRACE_CLIENT) == 0);
	CHECK(arax_trace_map(w->fd, &w->trace) == 0);
	w->memory = mmap(NULL, sizeof(*w->memory), PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
	CHECK(w->memory != MAP_FAILED);
	arax_trace_reader_init(&w->reader, w->trace, ARAX_TRACE_CLIENT, 0);
}

static void world_close(struct world *w)
{
	munmap(w->memory, sizeof(*w->memory));
	arax_trace_unmap(w->trace);
	arax_trace_close(&w->writer);
	close(w->fd);
}

static void put(struct world *w, uint64_t n)
{
	struct arax_trace_event event = {.kind = ARAX_TRACE_HOST, .id = n, .bytes = ~n};

	arax_trace_put(&w->writer, &event);
}

static void test_order(void)
{
	struct arax_trace_event event;
	struct world w;

	world_open(&w);
	CHECK(!arax_trace_on(&w.writer));
	atomic_store(&w.memory->head.on, 1);
	CHECK(arax_trace_on(&w.writer));
	CHECK(!arax_trace_take(&w.reader, &event, false));
	CHECK(!arax_trace_take(&w.reader, &event, true));
	for (uint64_t n = 0; n < 3 * ARAX_TRACE_CLIENT_ENTRIES; n++) {
		put(&w, n);
		CHECK(arax_trace_take(&w.reader, &event, false));
		CHECK(event.id == n && event.bytes == ~n && event.kind == ARAX_TRACE_HOST);
		CHECK(!arax_trace_take(&w.reader, &event, false));
	}
	CHECK(w.reader.dropped == 0);
	world_close(&w);
}

/* A writer that is faster loses nothing but the oldest, and every loss is counted. */
static void test_overwritten(void)
{
	struct arax_trace_event event;
	struct world w;
	uint64_t seen = 0, last = 0, total = ARAX_TRACE_CLIENT_ENTRIES * 2 + 77;

	world_open(&w);
	for (uint64_t n = 1; n <= total; n++)
		put(&w, n);
	while (arax_trace_take(&w.reader, &event, false)) {
		CHECK(event.id > last);
		last = event.id;
		seen++;
	}
	CHECK(last == total);
	CHECK(seen > 0 && seen <= ARAX_TRACE_CLIENT_ENTRIES);
	CHECK(seen + w.reader.dropped == total);
	world_close(&w);
}

/* A writer killed in the middle of an entry: the others' are there all the same. */
static void test_unfinished(void)
{
	struct arax_trace_event event;
	struct world w;

	world_open(&w);
	for (uint64_t n = 1; n <= 3; n++)
		put(&w, n);
	atomic_store(&w.memory->client[1].seq, ARAX_TRACE_BUSY);
	CHECK(arax_trace_take(&w.reader, &event, false) && event.id == 1);
	CHECK(!arax_trace_take(&w.reader, &event, false)); /* it may be finished yet */
	CHECK(arax_trace_take(&w.reader, &event, true) && event.id == 3);
	CHECK(!arax_trace_take(&w.reader, &event, true));
	CHECK(w.reader.dropped == 1);
	world_close(&w);
}

static _Atomic int writing;

static void *write_many(void *arg)
{
	struct world *w = arg;

	for (uint64_t n = 1; n <= PER_WRITER; n++)
		put(w, n);
	atomic_fetch_sub(&writing, 1);
	return NULL;
}

/* What is read is what somebody wrote, whole, and nothing is read or lost without being counted. */
static void test_concurrent(void)
{
	pthread_t threads[WRITERS];
	struct arax_trace_event event;
	struct world w;
	uint64_t seen = 0;

	world_open(&w);
	atomic_store(&writing, WRITERS);
	for (int i = 0; i < WRITERS; i++)
		CHECK(pthread_create(&threads[i], NULL, write_many, &w) == 0);
	for (bool final = false, more = true; more || !final;) {
		final = atomic_load(&writing) == 0;
		while ((more = arax_trace_take(&w.reader, &event, final))) {
			CHECK(event.bytes == ~event.id);
			seen++;
		}
	}
	for (int i = 0; i < WRITERS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(seen + w.reader.dropped == WRITERS * PER_WRITER);
	CHECK(!arax_trace_take(&w.reader, &event, true));
	world_close(&w);
}

/* Positions and indices of a hostile writer: the reader stays inside, and each call ends. */
static void test_hostile(void)
{
	struct arax_trace_event event;
	struct world w;
	uint64_t state = 7;

	world_open(&w);
	for (int round = 0; round < 200; round++) {
		for (int i = 0; i < 200; i++) {
			uint64_t r = test_random(&state);
			uint64_t at = test_random(&state) % ARAX_TRACE_CLIENT_ENTRIES;

			atomic_store(&w.memory->client[at].seq, r >> (r & 63));
			put(&w, r);
		}
		uint64_t next = test_random(&state);
		atomic_store(&w.memory->head.writers[ARAX_TRACE_CLIENT].next, next >> (next & 63));
		for (int i = 0; i < 1000 && arax_trace_take(&w.reader, &event, round & 1); i++)
			;
		CHECK(w.reader.dropped <= 1ull << 53);
		if (round % 20 == 0)
			arax_trace_reader_init(&w.reader, w.trace, ARAX_TRACE_CLIENT,
					       test_random(&state));
	}
	world_close(&w);
}

static void test_refused(void)
{
	const struct arax_trace *trace;
	struct arax_trace_writer writer;
	int small = arax_memfd_new("test-trace", 4096);
	int loose = memfd_create("test-trace", MFD_CLOEXEC);

	CHECK(small >= 0 && loose >= 0);
	CHECK(ftruncate(loose, sizeof(*trace)) == 0);
	CHECK(arax_trace_map(small, &trace) < 0);
	CHECK(arax_trace_map(loose, &trace) < 0); /* could shrink under the reader */
	CHECK(arax_trace_open(&writer, small, ARAX_TRACE_TENANT) < 0);
	CHECK(!arax_trace_on(&writer));
	CHECK(arax_trace_open(&writer, -1, ARAX_TRACE_TENANT) < 0);
	CHECK(!arax_trace_on(&writer));
	arax_trace_close(&writer);
	close(small);
	close(loose);
}

int main(void)
{
	test_order();
	test_overwritten();
	test_unfinished();
	test_concurrent();
	test_hostile();
	test_refused();
	puts("ok");
	return 0;
}
