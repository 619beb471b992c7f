/* SPDX-License-Identifier: Apache-2.0
 *
 * What a decision costs: for each policy the 50th and 99th percentile of the time of pick() and
 * learn(), with eight unlike devices and sixteen kernels of three sizes. Not a test: a shared
 * machine's times are no reason to fail.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scheduler/policy.h"
#include "transport/testing.h"

#define DEVICES 8
#define KERNELS 16
#define ROUNDS 200000

static struct policy_cost costs[KERNELS];
static struct policy_device devices[POLICY_DEVICES];
static uint32_t picks[ROUNDS], learns[ROUNDS];

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static void measure(const struct policy *policy, uint64_t clock_ns)
{
	static struct policy_state state;
	uint64_t seed = 1, missing[POLICY_DEVICES] = {0};
	char why[POLICY_WHY];

	memset(&state, 0, sizeof(state));
	memset(costs, 0, sizeof(costs));
	memset(devices, 0, sizeof(devices));
	for (unsigned i = 0; i < DEVICES; i++)
		devices[i] = (struct policy_device){
		    .discrete = true, .parallel = 8, .bytes_per_ns = 12, .latency_ns = 10000};
	policy_configure(policy, &state, "", why);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct policy_launch launch = {.cost = &costs[test_random(&seed) % KERNELS],
					       .items = 1024u << 5 * (test_random(&seed) % 3),
					       .candidates = (1 << DEVICES) - 1,
					       .held = i % 8,
					       .serial = i,
					       .devices = devices,
					       .missing = missing,
					       .kernel = "kernel",
					       .now_ns = 1 + i * 1000u};
		missing[test_random(&seed) % DEVICES] = test_random(&seed) % 3 << 20;
		uint64_t begin = now();
		unsigned device = policy->pick(&state, &launch);
		uint64_t picked = now();
		picks[i] = (uint32_t)(picked - begin);
		if (device == POLICY_WAIT)
			device = i % DEVICES;
		if (devices[device].queued > 3)
			devices[device].queued = devices[device].backlog_ns = 0;
		policy_began(&devices[device], 100000, launch.now_ns);
		uint64_t ns = 100000 + device * 10000 + test_random(&seed) % 1000;
		begin = now();
		policy->learn(&state, &launch, device, ns);
		learns[i] = (uint32_t)(now() - begin);
	}
	qsort(picks, ROUNDS, sizeof(picks[0]), compare);
	qsort(learns, ROUNDS, sizeof(learns[0]), compare);
	printf("%-14s pick p50 %5u ns, p99 %5u ns; learn p50 %4u ns, p99 %4u ns (clock: %u ns)\n",
	       policy->name, picks[ROUNDS / 2], picks[ROUNDS / 100 * 99], learns[ROUNDS / 2],
	       learns[ROUNDS / 100 * 99], (unsigned)clock_ns);
}

int main(void)
{
	uint64_t begin = now();

	for (int i = 0; i < 1000; i++)
		now();
	uint64_t clock_ns = (now() - begin) / 1001;
	for (unsigned n = 0; policy_name(n); n++)
		measure(policy_find(policy_name(n)), clock_ns);
	return 0;
}
