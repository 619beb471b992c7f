/* SPDX-License-Identifier: Apache-2.0
 *
 * The rings: wrap-around, full and empty, what a hostile peer can do to an index or a size, and
 * two threads that check every byte.
 */
#include "transport/ring.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "transport/testing.h"

#define BYTES 4096u
#define RECORDS 1000000u

static struct arax_ring_index shared;
static _Alignas(8) unsigned char data[BYTES];
static struct arax_ring producer, consumer;

static void setup(uint32_t size)
{
	memset(&shared, 0, sizeof(shared));
	arax_ring_init(&producer, &shared, data, size);
	arax_ring_init(&consumer, &shared, data, size);
}

/* As if 2^32 bytes had nearly gone through. */
static void advance(uint32_t index)
{
	atomic_store(&shared.head, index);
	atomic_store(&shared.tail, index);
	producer.own = producer.seen = consumer.own = consumer.seen = index;
}

static uint32_t record_make(uint64_t *words, uint64_t number)
{
	uint32_t n = 3 + (uint32_t)(number * 7 % 40);

	words[0] = n * 8;
	for (uint32_t i = 1; i < n; i++)
		words[i] = number * 31 + i;
	return n * 8;
}

static void test_bytes(void)
{
	uint64_t words[64], got[64];
	uint32_t written, size;

	setup(BYTES);
	advance(UINT32_MAX - 2047);
	CHECK(arax_ring_read(&consumer, got, sizeof(got)) == 0);
	for (uint64_t round = 0; round < 1000; round++) {
		CHECK(!arax_ring_pending(&consumer));
		for (written = 0;; written++) {
			size = record_make(words, round + written);
			int err = arax_ring_write(&producer, words, size);

			CHECK(err == 0 || err == -EAGAIN);
			if (err)
				break;
			CHECK(arax_ring_pending(&consumer));
		}
		CHECK(written >= BYTES / (42 * 8));
		for (uint32_t i = 0; i < written; i++) {
			size = record_make(words, round + i);
			CHECK(arax_ring_read(&consumer, got, sizeof(got)) == (int)size);
			CHECK(!memcmp(words, got, size));
		}
		CHECK(arax_ring_read(&consumer, got, sizeof(got)) == 0);
	}
}

static void test_entries(void)
{
	uint32_t entry;

	setup(16);
	advance(UINT32_MAX - 7);
	for (uint32_t round = 0; round < 10; round++) {
		for (uint32_t i = 0; i < 16; i++)
			CHECK(arax_ring_push(&producer, round * 100 + i) == 0);
		CHECK(arax_ring_push(&producer, 1) == -EAGAIN);
		for (uint32_t i = 0; i < 16; i++) {
			CHECK(arax_ring_pop(&consumer, &entry) == 1);
			CHECK(entry == round * 100 + i);
		}
		CHECK(arax_ring_pop(&consumer, &entry) == 0);
	}
}

static void test_hostile_producer(void)
{
	uint64_t words[4] = {24, 1, 2, 3}, got[4];
	const uint32_t sizes[] = {0, 8, 16, 23, 25, 28, 40, 4096, 1u << 31, UINT32_MAX};
	const uint32_t tails[] = {BYTES + 8, BYTES * 2, 1u << 31, UINT32_MAX, 8, 23};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		setup(BYTES);
		words[0] = sizes[i];
		memcpy(data, words, sizeof(words));
		atomic_store(&shared.tail, 32);
		CHECK(arax_ring_read(&consumer, got, sizeof(got)) == -EPROTO);
	}
	for (unsigned i = 0; i < sizeof(tails) / sizeof(*tails); i++) {
		setup(BYTES);
		words[0] = 24;
		memcpy(data, words, sizeof(words));
		atomic_store(&shared.tail, tails[i]);
		CHECK(arax_ring_read(&consumer, got, sizeof(got)) == -EPROTO);
	}
	/* A size that the scratch could hold, but more than was published. */
	setup(BYTES);
	words[0] = 32;
	memcpy(data, words, sizeof(words));
	atomic_store(&shared.tail, 24);
	CHECK(arax_ring_read(&consumer, got, sizeof(got)) == -EPROTO);
	words[0] = 24;
	/* A tail that moves back into what was announced before. */
	setup(BYTES);
	CHECK(arax_ring_write(&producer, words, 24) == 0);
	CHECK(arax_ring_write(&producer, words, 24) == 0);
	CHECK(arax_ring_read(&consumer, got, sizeof(got)) == 24);
	atomic_store(&shared.tail, 24);
	CHECK(arax_ring_read(&consumer, got, sizeof(got)) == 24); /* it was seen before */
	CHECK(arax_ring_read(&consumer, got, sizeof(got)) == -EPROTO);
	setup(16);
	atomic_store(&shared.tail, 17);
	CHECK(arax_ring_pop(&consumer, (uint32_t *)got) == -EPROTO);
}

static void test_hostile_consumer(void)
{
	uint64_t words[4] = {24, 1, 2, 3};
	const uint32_t ahead[] = {1, 24, 1u << 31, UINT32_MAX - BYTES};

	for (unsigned i = 0; i < sizeof(ahead) / sizeof(*ahead); i++) {
		uint32_t own = 0;

		/* The producer looks when it is out of room. */
		setup(BYTES);
		for (; arax_ring_write(&producer, words, 24) == 0; own += 24)
			;
		CHECK(own + 24 > BYTES);
		atomic_store(&shared.head, own + ahead[i]);
		CHECK(arax_ring_write(&producer, words, 24) == -EPROTO);
		setup(16);
		for (own = 0; arax_ring_push(&producer, 1) == 0; own++)
			;
		CHECK(own == 16);
		atomic_store(&shared.head, own + ahead[i]);
		CHECK(arax_ring_push(&producer, 1) == -EPROTO);
	}
	/* A head that moves back. */
	setup(16);
	for (int i = 0; i < 16; i++)
		CHECK(arax_ring_push(&producer, 1) == 0);
	CHECK(arax_ring_push(&producer, 1) == -EAGAIN);
	atomic_store(&shared.head, 1);
	CHECK(arax_ring_push(&producer, 1) == 0);
	atomic_store(&shared.head, 0);
	CHECK(arax_ring_push(&producer, 1) == -EPROTO);
}

static void *produce(void *arg)
{
	uint64_t words[64];

	(void)arg;
	for (uint64_t i = 0; i < RECORDS; i++) {
		uint32_t size = record_make(words, i);
		int err;

		while ((err = arax_ring_write(&producer, words, size)) == -EAGAIN)
			sched_yield();
		CHECK(!err);
	}
	return NULL;
}

static void *push(void *arg)
{
	(void)arg;
	for (uint32_t i = 0; i < RECORDS; i++) {
		int err;

		while ((err = arax_ring_push(&producer, i)) == -EAGAIN)
			sched_yield();
		CHECK(!err);
	}
	return NULL;
}

static void test_threads(void)
{
	uint64_t words[64], got[64];
	pthread_t thread;

	setup(BYTES);
	CHECK(!pthread_create(&thread, NULL, produce, NULL));
	for (uint64_t i = 0; i < RECORDS; i++) {
		uint32_t size = record_make(words, i);
		int n;

		while (!(n = arax_ring_read(&consumer, got, sizeof(got))))
			sched_yield();
		CHECK(n == (int)size && !memcmp(words, got, size));
	}
	CHECK(!pthread_join(thread, NULL));
	setup(64);
	CHECK(!pthread_create(&thread, NULL, push, NULL));
	for (uint32_t i = 0; i < RECORDS; i++) {
		uint32_t entry;
		int n;

		while (!(n = arax_ring_pop(&consumer, &entry)))
			sched_yield();
		CHECK(n == 1 && entry == i);
	}
	CHECK(!pthread_join(thread, NULL));
}

int main(void)
{
	test_bytes();
	test_entries();
	test_hostile_producer();
	test_hostile_consumer();
	test_threads();
	return 0;
}
