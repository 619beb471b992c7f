/* SPDX-License-Identifier: Apache-2.0
 *
 * Sleeping and waking: ping-pong between two threads and between two processes with waits that
 * have no bound, so that one lost wake-up hangs the test; several sleepers; time-outs.
 */
#include "transport/wake.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "transport/testing.h"

#define ROUNDS 50000u
#define SLEEPERS 3

struct table {
	struct arax_wake wake[2];
	_Atomic uint32_t turn; /* the ball: even for player 0, odd for player 1 */
	_Atomic uint32_t gate;
	_Atomic uint32_t passed;
};

struct player {
	struct table *table;
	uint32_t side, next, spin_ns;
};

static bool my_turn(void *arg)
{
	struct player *p = arg;

	return atomic_load_explicit(&p->table->turn, memory_order_acquire) == p->next;
}

static void *play(void *arg)
{
	struct player *p = arg;
	struct arax_spin spin;

	arax_spin_init(&spin, p->spin_ns);
	for (p->next = p->side; p->next < 2 * ROUNDS; p->next += 2) {
		while (!arax_wake_wait(&p->table->wake[p->side], &spin, my_turn, p, -1))
			;
		atomic_store_explicit(&p->table->turn, p->next + 1, memory_order_release);
		arax_wake_ring(&p->table->wake[!p->side]);
	}
	CHECK(spin.budget_ns <= spin.max_ns);
	return NULL;
}

static void test_processes(struct table *table, uint32_t spin_ns)
{
	struct player players[2] = {{table, 0, 0, spin_ns}, {table, 1, 0, spin_ns}};
	int status;
	pid_t pid;

	memset(table, 0, sizeof(*table));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		play(&players[1]);
		_exit(0);
	}
	play(&players[0]);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(table->turn == 2 * ROUNDS);
}

static void test_threads(struct table *table, uint32_t spin_ns)
{
	struct player players[2] = {{table, 0, 0, spin_ns}, {table, 1, 0, spin_ns}};
	pthread_t thread;

	memset(table, 0, sizeof(*table));
	CHECK(!pthread_create(&thread, NULL, play, &players[1]));
	play(&players[0]);
	CHECK(!pthread_join(thread, NULL));
	CHECK(table->turn == 2 * ROUNDS);
}

static bool gate_open(void *arg)
{
	struct player *p = arg;

	return atomic_load_explicit(&p->table->gate, memory_order_acquire) >= p->next;
}

static bool all_passed(void *arg)
{
	struct player *p = arg;

	return atomic_load_explicit(&p->table->passed, memory_order_acquire) == p->next * SLEEPERS;
}

static void *pass(void *arg)
{
	struct player p = {arg, 0, 0, 0};
	struct arax_spin spin;

	arax_spin_init(&spin, 0);
	for (p.next = 1; p.next <= 2000; p.next++) {
		while (!arax_wake_wait(&p.table->wake[0], &spin, gate_open, &p, -1))
			;
		atomic_fetch_add(&p.table->passed, 1);
		arax_wake_ring(&p.table->wake[1]);
	}
	return NULL;
}

/* Several sleepers on one word: one ring wakes them all. */
static void test_many(struct table *table)
{
	struct player p = {table, 0, 0, 0};
	pthread_t threads[SLEEPERS];
	struct arax_spin spin;

	memset(table, 0, sizeof(*table));
	arax_spin_init(&spin, 0);
	for (int i = 0; i < SLEEPERS; i++)
		CHECK(!pthread_create(&threads[i], NULL, pass, table));
	for (p.next = 1; p.next <= 2000; p.next++) {
		atomic_store_explicit(&table->gate, p.next, memory_order_release);
		arax_wake_ring(&table->wake[0]);
		while (!arax_wake_wait(&table->wake[1], &spin, all_passed, &p, -1))
			;
	}
	for (int i = 0; i < SLEEPERS; i++)
		CHECK(!pthread_join(threads[i], NULL));
}

static bool never(void *arg)
{
	(void)arg;
	return false;
}

static bool always(void *arg)
{
	(void)arg;
	return true;
}

static void test_timeout(struct table *table)
{
	struct arax_spin spin;
	uint64_t start = arax_now_ns();

	memset(table, 0, sizeof(*table));
	arax_spin_init(&spin, 20000);
	for (int i = 0; i < 10; i++) {
		CHECK(!arax_wake_wait(&table->wake[0], &spin, never, NULL, 2));
		CHECK(!spin.max_ns || (spin.budget_ns >= 1000 && spin.budget_ns <= 20000));
	}
	CHECK(arax_now_ns() - start >= 10 * 1900000ull);
	CHECK(!arax_wake_wait(&table->wake[0], &spin, never, NULL, 0));
	CHECK(arax_wake_wait(&table->wake[0], &spin, always, NULL, -1));
	/* Announced and gone: the first ring clears that, then nobody sleeps and nothing changes.
	 */
	arax_wake_ring(&table->wake[0]);
	CHECK(table->wake[0].word == 2);
	arax_wake_ring(&table->wake[0]);
	CHECK(table->wake[0].word == 2);
}

/* The second word only when somebody has said that it sleeps there, to any of them. */
static void test_two_words(struct table *table)
{
	_Atomic uint32_t waited = 0, other = 0;
	const _Atomic uint32_t *flags[] = {&other, &waited};

	memset(table, 0, sizeof(*table));
	atomic_store(&table->wake[0].word, 1);
	atomic_store(&table->wake[1].word, 1);
#ifndef __SANITIZE_THREAD__ /* there it rings both, see wake.c */
	arax_wake_ring_if(&table->wake[0], &table->wake[1], flags, 2);
	CHECK(table->wake[0].word == 2 && table->wake[1].word == 1);
	waited = 1;
	arax_wake_ring_if(&table->wake[0], &table->wake[1], flags, 1);
	CHECK(table->wake[0].word == 2 && table->wake[1].word == 1);
#endif
	waited = 1;
	arax_wake_ring_if(&table->wake[0], &table->wake[1], flags, 2);
	CHECK(table->wake[0].word == 2 && table->wake[1].word == 2);
	atomic_store(&table->wake[0].word, 5);
	arax_wake_ring_all(&table->wake[0], &table->wake[1]);
	CHECK(table->wake[0].word == 6 && table->wake[1].word == 2);
}

static void test_limit(void)
{
	struct arax_spin spin = {.budget_ns = 40000, .max_ns = 50000}, none = {0};

	arax_spin_limit(&spin, 5000);
	CHECK(spin.max_ns == 5000 && spin.budget_ns == 5000);
	arax_spin_limit(&spin, 50000);
	CHECK(spin.max_ns == 50000 && spin.budget_ns == 5000);
	arax_spin_limit(&none, 50000);
	CHECK(none.max_ns == 0);
}

int main(void)
{
	struct table *table =
	    mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(table != MAP_FAILED);
	test_timeout(table);
	test_two_words(table);
	test_limit();
	test_processes(table, 0);
	test_processes(table, 50000);
	test_threads(table, 0);
	test_threads(table, 50000);
	test_many(table);
	return 0;
}
