/* SPDX-License-Identifier: Apache-2.0
 *
 * Sharing a device by weights, on a device and a clock of the test's own: it executes what it is
 * given one after the other.
 */
#include "devices/share.h"

#include <string.h>

#include "transport/testing.h"

#define LINKS 8
#define QUEUE 256

struct user {
	struct share_link link; /* first */
	uint64_t command_ns;	/* what one of its commands takes */
	uint64_t spread_ns;	/* and up to so much more */
	bool greedy;		/* always has more to do */
	uint64_t busy_ns, commands;
	uint64_t offered_at, waited_ns, worst_ns; /* of those that are not greedy */
};

struct machine {
	struct share share;
	struct user users[LINKS];
	unsigned nusers;
	struct {
		struct user *user;
		uint64_t charged, busy_ns;
	} queue[QUEUE]; /* given to the device, in order */
	unsigned head, tail;
	uint64_t now, random;
};

static uint64_t length(struct machine *m, const struct user *user)
{
	if (!user->spread_ns)
		return user->command_ns;
	return user->command_ns + test_random(&m->random) % user->spread_ns;
}

/* Gives the device what it may have. */
static void give(struct machine *m)
{
	struct share_link *link;
	uint64_t charged;

	while ((link = share_next(&m->share, &charged))) {
		struct user *user = (struct user *)link;

		CHECK(m->tail - m->head < QUEUE);
		m->queue[m->tail % QUEUE].user = user;
		m->queue[m->tail % QUEUE].charged = charged;
		m->queue[m->tail % QUEUE].busy_ns = length(m, user);
		m->tail++;
		if (user->greedy)
			share_offer(&m->share, link);
	}
}

/* The command that the device is at ends. */
static struct user *step(struct machine *m)
{
	unsigned at = m->head % QUEUE;
	struct user *user = m->queue[at].user;

	CHECK(m->head != m->tail);
	m->head++;
	m->now += m->queue[at].busy_ns;
	user->busy_ns += m->queue[at].busy_ns;
	user->commands++;
	share_done(&m->share, &user->link, m->queue[at].charged, m->queue[at].busy_ns);
	return user;
}

static struct user *add(struct machine *m, uint32_t weight, uint32_t depth, uint64_t command_ns,
			uint64_t spread_ns)
{
	struct user *user = &m->users[m->nusers++];

	*user = (struct user){.command_ns = command_ns, .spread_ns = spread_ns};
	share_join(&m->share, &user->link, weight, depth);
	return user;
}

static struct user *add_greedy(struct machine *m, uint32_t weight, uint64_t command_ns,
			       uint64_t spread_ns)
{
	struct user *user = add(m, weight, 16, command_ns, spread_ns);

	user->greedy = true;
	share_offer(&m->share, &user->link);
	return user;
}

static void run(struct machine *m, uint64_t until)
{
	while (m->now < until) {
		give(m);
		step(m);
	}
}

/* Within 2 % of its part. */
static void expect_part(const struct machine *m, const struct user *user, double part)
{
	double had = (double)user->busy_ns / (double)m->now;

	if (had < part * 0.98 || had > part * 1.02)
		fprintf(stderr, "%f instead of %f\n", had, part);
	CHECK(had >= part * 0.98 && had <= part * 1.02);
}

static void greedy_by_weights(uint32_t a, uint32_t b, uint64_t a_ns, uint64_t b_ns)
{
	static struct machine m;
	struct user *first, *second;

	memset(&m, 0, sizeof(m));
	m.random = a + b;
	first = add_greedy(&m, a, a_ns, a_ns / 2);
	second = add_greedy(&m, b, b_ns, b_ns / 2);
	run(&m, 2000000000);
	expect_part(&m, first, (double)a / (a + b));
	expect_part(&m, second, (double)b / (a + b));
}

static double jain(const struct machine *m)
{
	double sum = 0, squares = 0;

	for (unsigned i = 0; i < m->nusers; i++) {
		double busy = (double)m->users[i].busy_ns;

		sum += busy;
		squares += busy * busy;
	}
	return sum * sum / (m->nusers * squares);
}

/* Commands of each link are twice as long as those of the one before. */
static void equals_are_equal(unsigned n)
{
	static struct machine m;

	memset(&m, 0, sizeof(m));
	m.random = n;
	for (unsigned i = 0; i < n; i++)
		add_greedy(&m, 5, 10000ull << i, 5000);
	run(&m, 1000000000);
	CHECK(jain(&m) >= 0.98);
	for (unsigned i = 0; i < n; i++)
		expect_part(&m, &m.users[i], 1.0 / n);
}

/* A light link's command waits at most for what is in flight: with a heavy neighbour that wants all
 * it can have, for SHARE_WINDOW of its commands. */
static void light_waits_for_the_window(void)
{
	static struct machine m;
	struct user *heavy, *light;
	uint64_t offered = 0;
	bool outstanding = false;

	memset(&m, 0, sizeof(m));
	heavy = add_greedy(&m, 1, 100000, 0);
	light = add(&m, 1, 0, 1000, 0);
	for (int i = 0; i < 5000; i++) {
		uint64_t in_flight = m.share.in_flight * heavy->command_ns;

		if (!outstanding) {
			share_offer(&m.share, &light->link);
			offered = m.now;
			outstanding = true;
			/* After its first it counts as a neighbour, also between its commands. */
			CHECK(i == 0 || in_flight <= SHARE_WINDOW * heavy->command_ns);
			light->worst_ns = in_flight;
		}
		give(&m);
		if (step(&m) == light) {
			CHECK(m.now - offered <= light->worst_ns + light->command_ns);
			outstanding = false;
		}
	}
	CHECK(light->commands > 1000);
}

/* Who was away does not get the time back. */
static void idle_does_not_save_up(void)
{
	static struct machine m;
	struct user *first, *second;
	uint64_t before;

	memset(&m, 0, sizeof(m));
	first = add_greedy(&m, 1, 10000, 0);
	second = add(&m, 1, 0, 10000, 0);
	run(&m, 1000000000);
	CHECK(!second->busy_ns);
	before = first->busy_ns;
	second->greedy = true;
	share_offer(&m.share, &second->link);
	run(&m, 1100000000);
	CHECK(first->busy_ns - before > 48000000 && first->busy_ns - before < 52000000);
}

static void alone_to_its_depth(void)
{
	static struct machine m;
	struct user *one, *other;
	uint64_t charged;

	memset(&m, 0, sizeof(m));
	one = add(&m, 1, 5, 10000, 0);
	other = add(&m, 1, 0, 10000, 0);
	for (int i = 0; i < 9; i++)
		share_offer(&m.share, &one->link);
	give(&m);
	CHECK(m.share.in_flight == 5 && one->link.waiting == 4);
	/* More is allowed from now on. */
	share_set(&one->link, 1, 6);
	give(&m);
	CHECK(m.share.in_flight == 6);
	/* Somebody else: nothing more until the window is free. */
	share_set(&one->link, 1, 0);
	share_offer(&m.share, &other->link);
	for (int i = 0; i < 5; i++) {
		CHECK(!share_next(&m.share, &charged));
		CHECK(step(&m) == one);
	}
	CHECK(share_next(&m.share, &charged) == &other->link);
	share_leave(&m.share, &other->link);
	CHECK(m.share.in_flight == 1);
	give(&m);
	CHECK(m.share.in_flight == 4 && !one->link.waiting);
}

/* Weights that change take effect. */
static void weights_change(void)
{
	static struct machine m;
	struct user *first, *second;

	memset(&m, 0, sizeof(m));
	first = add_greedy(&m, 1, 7000, 3000);
	second = add_greedy(&m, 1, 9000, 0);
	run(&m, 500000000);
	share_set(&first->link, 3, 0);
	first->busy_ns = second->busy_ns = m.now = 0;
	run(&m, 1000000000);
	expect_part(&m, first, 0.75);
	expect_part(&m, second, 0.25);
}

int main(void)
{
	greedy_by_weights(1, 1, 50000, 50000);
	greedy_by_weights(1, 1, 1000, 700000);
	greedy_by_weights(3, 1, 50000, 50000);
	greedy_by_weights(3, 1, 200000, 3000);
	greedy_by_weights(1, 3, 200000, 3000);
	equals_are_equal(2);
	equals_are_equal(4);
	equals_are_equal(8);
	light_waits_for_the_window();
	idle_does_not_save_up();
	alone_to_its_depth();
	weights_change();
	puts("ok");
	return 0;
}
