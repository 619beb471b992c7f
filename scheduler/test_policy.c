/* SPDX-License-Identifier: Apache-2.0
 *
 * Placement policies, and the choice of work-groups, as functions of what they are told.
 */
#include <string.h>

#include "scheduler/dispatch_internal.h"
#include "scheduler/policy_names.h"
#include "transport/testing.h"

enum { BASIC, PTHREAD };
static const struct policy_device devices[2] = {
    {.inline_launch = true, .parallel = 1},
    {.inline_launch = false, .parallel = 2},
};
static struct policy_cost cost;
static struct policy_state state;
static struct policy_launch launch = {.cost = &cost, .candidates = 3, .devices = devices};

static unsigned pick(const struct policy *policy, uint64_t items, bool busy)
{
	launch.items = items;
	launch.busy = busy;
	return policy->pick(&state, &launch);
}

static void learn(uint64_t items, unsigned device, uint64_t ns)
{
	launch.items = items;
	policy_adaptive.learn(&state, &launch, device, ns);
}

static int others(uint64_t items, bool busy, unsigned device, int launches)
{
	int other = 0;
	for (int i = 0; i < launches; i++)
		other += pick(&policy_adaptive, items, busy) != device;
	return other;
}

static void forget(void)
{
	memset(&cost, 0, sizeof(cost));
	memset(&state, 0, sizeof(state));
}

/* All cores first, where they can help at all: they cost a hand-over, a wrong guess the other way
 * whatever the kernel takes. One core is tried next where that cannot take long. */
static void test_adaptive_unknown(void)
{
	forget();
	CHECK(pick(&policy_adaptive, 2048, true) == PTHREAD);
	CHECK(pick(&policy_adaptive, 1 << 20, false) == PTHREAD);
	launch.one_group = true;
	CHECK(pick(&policy_adaptive, 1, true) == BASIC);
	CHECK(pick(&policy_adaptive, 1024, true) == BASIC);
	launch.one_group = false;
	learn(2048, PTHREAD, 500000);
	CHECK(pick(&policy_adaptive, 2048, true) == BASIC);
	learn(2048, BASIC, 20000);
	CHECK(pick(&policy_adaptive, 2048, true) == BASIC);
	forget();
	learn(2048, PTHREAD, 1600000000);
	CHECK(pick(&policy_adaptive, 2048, false) == PTHREAD);
	learn(1 << 13, PTHREAD, 500000); /* many work-items: the next launch may take much longer */
	CHECK(pick(&policy_adaptive, 1 << 13, false) == PTHREAD);
}

static void test_adaptive_known(void)
{
	forget();
	learn(1000, BASIC, 2000);
	for (int i = 0; i < 100; i++) /* nothing to win elsewhere: no exploring */
		CHECK(pick(&policy_adaptive, 1000, true) == BASIC);
	forget();
	learn(1000, BASIC, 1500000); /* a bad surprise, once */
	CHECK(pick(&policy_adaptive, 1000, false) == PTHREAD);
	CHECK(pick(&policy_adaptive, 1000, true) == PTHREAD);
	forget();
	for (int i = 0; i < 5; i++) {
		learn(1 << 20, BASIC, 3000000);
		learn(1 << 20, PTHREAD, 1600000);
	}
	CHECK(others(1 << 20, false, PTHREAD, 16 + 32 + 64) == 3);
	for (int i = 0; i < 20; i++) /* the machine got busy: pthread is slower now */
		learn(1 << 20, PTHREAD, 4000000);
	CHECK(pick(&policy_adaptive, 1 << 20, false) == BASIC);
	CHECK(pick(&policy_adaptive, 1 << 20, true) == PTHREAD);
}

/* One core's 150 us are there sooner than all cores' 120 and the way to them; unless commands wait,
 * since behind each other they hide the way, and the intake must not stand still. */
static void test_adaptive_handover(void)
{
	forget();
	learn(1000, BASIC, 150000);
	learn(1000, PTHREAD, 120000);
	CHECK(pick(&policy_adaptive, 1000, false) == PTHREAD);
	launch.handover_ns = 50000;
	learn(1000, PTHREAD, 120000);
	launch.handover_ns = 0; /* not to be had: what is known stays */
	learn(1000, PTHREAD, 120000);
	CHECK(pick(&policy_adaptive, 1000, false) == BASIC);
	CHECK(pick(&policy_adaptive, 1000, true) == PTHREAD);
	learn(1 << 20, BASIC, 3000000); /* nothing beside what two cores win here */
	learn(1 << 20, PTHREAD, 1600000);
	CHECK(pick(&policy_adaptive, 1 << 20, false) == PTHREAD);
}

/* The way not taken is tried now and then, more and more seldom, where it is worth it. */
static void test_adaptive_explores(void)
{
	forget();
	learn(1000, BASIC, 50000);
	CHECK(others(1000, false, BASIC, 16 + 32 + 64) == 3);
	forget();
	learn(1 << 20, PTHREAD, 100000);
	CHECK(others(1 << 20, false, PTHREAD, 16 + 32 + 64) == 3);
	CHECK(others(1 << 20, true, PTHREAD, 1000) == 0); /* not while somebody waits */
	forget();
	learn(1 << 20, PTHREAD, 50000000);
	CHECK(others(1 << 20, false, PTHREAD, 1000) == 0);
	/* Sizes are learned apart from each other. */
	forget();
	learn(1000, BASIC, 5000);
	CHECK(pick(&policy_adaptive, 1000, false) == BASIC);
	CHECK(pick(&policy_adaptive, 10, false) == PTHREAD);
}

/* A kernel that lost the processor for a while comes back to where it belongs. */
static void test_adaptive_outlier(void)
{
	forget();
	for (int i = 0; i < 5; i++)
		learn(1, BASIC, 1000);
	learn(1, BASIC, 5000000);
	CHECK(pick(&policy_adaptive, 1, true) == BASIC);
	forget();
	learn(1, BASIC, 5000000); /* unlucky at once */
	learn(1, PTHREAD, 80000);
	CHECK(pick(&policy_adaptive, 1, false) == PTHREAD);
	for (int i = 0; i < 10000; i++) {
		unsigned device = pick(&policy_adaptive, 1, false);
		learn(1, device, device == BASIC ? 1000 : 80000);
	}
	CHECK(pick(&policy_adaptive, 1, true) == BASIC);
	forget();
	learn(1, BASIC, 5000000); /* and never a quiet moment to try again: all cores tell */
	learn(1, PTHREAD, 20000);
	CHECK(pick(&policy_adaptive, 1, true) == BASIC);
}

static void test_candidates(void)
{
	forget();
	launch.candidates = 1 << PTHREAD;
	for (unsigned n = 0; policy_name(n); n++)
		CHECK(pick(policy_find(policy_name(n)), 1, false) == PTHREAD);
	launch.candidates = 3;
	CHECK(pick(&policy_pinned, 1 << 30, true) == BASIC);
	for (unsigned i = 0; i < 10; i++)
		CHECK(pick(&policy_round_robin, 1, false) == i % 2);
}

static void test_names(void)
{
	CHECK(policy_find(NULL) == &policy_adaptive && policy_find("") == &policy_adaptive);
	CHECK(policy_find("round-robin") == &policy_round_robin);
	CHECK(policy_find("pinned") == &policy_pinned);
	CHECK(!policy_find("pin"));
	/* What araxd accepts is what there is. */
	static const char *const accepted[] = {ARAX_POLICY_NAMES};
	const unsigned n = sizeof(accepted) / sizeof(accepted[0]);
	for (unsigned i = 0; i < n; i++)
		CHECK(policy_find(accepted[i]));
	CHECK(policy_name(n - 1) && !policy_name(n));
	CHECK(policy_find(ARAX_POLICY_DEFAULT) == policy_find(""));
}

static void check_group(size_t x, size_t y, size_t z, unsigned dims, unsigned parallel)
{
	const size_t global[3] = {x, y, z};
	size_t local[3], product = 1;
	group_choose(global, dims, parallel, 1024, local);
	for (unsigned i = 0; i < 3; i++) {
		CHECK(local[i] >= 1 && (i < dims || local[i] == 1));
		CHECK(i >= dims || global[i] % local[i] == 0);
		product *= local[i];
	}
	CHECK(product <= 1024);
}

static void test_groups(void)
{
	size_t local[3];
	uint64_t seed = 3;
	group_choose((const size_t[]){1 << 20, 1, 1}, 1, 2, 1024, local);
	CHECK(local[0] == 1024);
	group_choose((const size_t[]){4096, 1, 1}, 1, 4, 1024, local);
	CHECK(local[0] == 512);
	group_choose((const size_t[]){1000, 1, 1}, 1, 1, 1024, local);
	CHECK(local[0] == 1000);
	group_choose((const size_t[]){4, 4096, 1}, 2, 1, 1024, local);
	CHECK(local[0] == 4 && local[1] == 256);
	group_choose((const size_t[]){1000003, 1, 1}, 1, 2, 1024, local);
	CHECK(local[0] == 1);
	check_group(SIZE_MAX, SIZE_MAX, SIZE_MAX, 3, 2);
	check_group(1, 1, 1, 3, 64);
	for (int i = 0; i < 2000; i++)
		check_group(1 + test_random(&seed) % 5000, 1 + test_random(&seed) % 500,
			    1 + test_random(&seed) % 50, 1 + (unsigned)(test_random(&seed) % 3),
			    1 + (unsigned)(test_random(&seed) % 16));
}

int main(void)
{
	test_adaptive_unknown();
	test_adaptive_known();
	test_adaptive_handover();
	test_adaptive_explores();
	test_adaptive_outlier();
	test_candidates();
	test_names();
	test_groups();
	return 0;
}
