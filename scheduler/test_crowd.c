/* SPDX-License-Identifier: Apache-2.0
 *
 * More threads than processors: that a tenant notices, for how long it believes it, and whom it
 * wakes when. A wake word of 1 is somebody who sleeps, 2 is one who was woken.
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "scheduler/dispatch_internal.h"
#include "transport/testing.h"

#define MS 1000000u
#define DEADLINE_NS 60000000000ull

static struct dispatch *d;
static struct arax_shm *shm;
static uint64_t now;

static void begin(void)
{
	d->crowd = (struct crowd){0};
	crowd_begin(d);
	now = 1000ull * MS;
}

/* Return: is it crowded after so many looks of 4 ms, of which taken were taken? */
static bool looks(unsigned n, uint64_t taken_ns)
{
	while (n--)
		crowd_judge(d, now += 4 * MS, taken_ns, 4 * MS);
	CHECK(atomic_load(&shm->crowded) == d->crowd.on);
	return d->crowd.on;
}

/* What one look says may be chance. */
static void test_noticed(void)
{
	begin();
	CHECK(!looks(100, 4 * MS / 9));
	CHECK(!looks(1, 3 * MS));
	CHECK(!looks(1, 0));
	CHECK(!looks(1, 3 * MS));
	CHECK(looks(1, 3 * MS));
}

/* Given up after 16 ms, 32 when it comes back at once, and not while much is taken. */
static void test_held(void)
{
	begin();
	CHECK(looks(2, 1 * MS));
	CHECK(looks(3, 0));
	CHECK(!looks(1, 0));
	CHECK(looks(2, 1 * MS));
	CHECK(looks(7, 0));
	CHECK(!looks(1, 0));
	CHECK(looks(2, 1 * MS));
	CHECK(looks(100, 2 * MS));
	CHECK(looks(15, 0));
	CHECK(!looks(1, 0));
	CHECK(!looks(10, 0));
	CHECK(looks(2, 1 * MS));
	CHECK(looks(3, 0));
	CHECK(!looks(1, 0));
}

/* A client that sleeps until the command of this slot ends. */
static void asleep(uint32_t slot)
{
	atomic_store(&shm->client_slot.word, 1);
	atomic_store(&shm->slots[slot].waited, 1);
}

static bool woken(void)
{
	return atomic_load(&shm->client_slot.word) == 2;
}

static void test_told(void)
{
	begin();
	asleep(3);
	crowd_tell(d, 3, now);
	CHECK(woken());
	CHECK(looks(2, 1 * MS));
	asleep(3);
	crowd_tell(d, 3, now);
	CHECK(!woken());
	crowd_tell(d, 4, now + MS / 20);
	CHECK(!woken());
	crowd_tell(d, 5, now + MS / 5);
	CHECK(woken());
	for (uint32_t i = 0; i < CROWD_OWED; i++) {
		asleep(3);
		CHECK(!d->crowd.nowed == !i);
		crowd_tell(d, 3 + i, now);
	}
	CHECK(woken());
	asleep(3);
	d->spread = true;
	crowd_tell(d, 3, now);
	CHECK(woken());
	d->spread = false;
	asleep(3);
	atomic_store(&shm->slots[3].waited, 0);
	crowd_tell(d, 3, now);
	crowd_pay(d);
#ifndef __SANITIZE_THREAD__ /* there it rings both, see wake.c */
	CHECK(!woken());
#endif
}

static bool paid_before(struct policy_cost *cost, float ns, unsigned device)
{
	struct kernel kernel = {.cost = cost};
	const struct launch launch = {.kernel = &kernel, .items = 64};

	cost->ns[policy_bucket(64)][device] = ns;
	asleep(3);
	crowd_tell(d, 3, now);
	CHECK(!woken());
	crowd_launch(d, &launch, device);
	bool paid = woken();
	crowd_pay(d);
	CHECK(woken());
	return paid;
}

/* Nobody waits for a launch that he did not ask for. */
static void test_launch(void)
{
	struct policy_cost *cost = calloc(1, sizeof(*cost));

	CHECK(cost);
	begin();
	CHECK(looks(2, 1 * MS));
	d->devices[0].inline_launch = true;
	CHECK(!paid_before(cost, 20e3f, 0));
	CHECK(paid_before(cost, 0, 0));
	CHECK(paid_before(cost, 5e6f, 0));
	CHECK(paid_before(cost, 20e3f, 1));
	free(cost);
}

static atomic_bool enough;

static void *compete(void *arg)
{
	while (!atomic_load(&enough))
		;
	return arg;
}

/* Really: another thread wants the only processor. */
static void test_taken(void)
{
	uint64_t deadline = arax_now_ns() + DEADLINE_NS;
	cpu_set_t all, one;
	pthread_t other;

	CHECK(!sched_getaffinity(0, sizeof(all), &all));
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	CHECK(!sched_setaffinity(0, sizeof(one), &one));
	CHECK(!pthread_create(&other, NULL, compete, NULL));
	begin();
	while (!atomic_load(&shm->crowded)) {
		CHECK(arax_now_ns() < deadline);
		crowd_look(d, arax_now_ns());
	}
	atomic_store(&enough, true);
	CHECK(!pthread_join(other, NULL));
	CHECK(!sched_setaffinity(0, sizeof(all), &all));
}

int main(void)
{
	d = calloc(1, sizeof(*d));
	shm = calloc(1, sizeof(*shm));
	CHECK(d && shm);
	d->shm = shm;
	test_noticed();
	test_held();
	test_told();
	test_launch();
	test_taken();
	free(shm);
	free(d);
	return 0;
}
