/* SPDX-License-Identifier: Apache-2.0
 *
 * Placement: on which device a launch runs. A policy is a small table of functions with a name,
 * chosen in the configuration or by ARAX_POLICY; the dispatcher asks pick() for every launch that
 * may run on more than one device and tells learn() how long it took.
 *
 * Adding a policy, worked through for one that always takes the device with the shortest backlog:
 *
 *   1. One file, scheduler/policy_least_loaded.c:
 *
 *	static unsigned pick(struct policy_state *state, const struct policy_launch *launch)
 *	{
 *		unsigned best = policy_first(launch->candidates);
 *		(void)state;
 *		POLICY_FOR_EACH(device, launch->candidates) {
 *			if (launch->devices[device].queued < launch->devices[best].queued)
 *				best = device;
 *		}
 *		return best;
 *	}
 *	const struct policy policy_least_loaded = {.name = "least-loaded", .pick = pick};
 *
 *   2. One line in policies[] of policy.c, one extern declaration below, one name in
 *      policy_names.h (what araxd accepts), one line in CMakeLists.txt.
 *   3. One case in test_policy.c.
 *
 * Threads: the dispatch thread only.
 */
#ifndef ARAX_SCHEDULER_POLICY_H
#define ARAX_SCHEDULER_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#define POLICY_DEVICES 16
#define POLICY_BUCKETS 48 /* by the logarithm of the number of work-items */

/* What is known about a device at this moment. */
struct policy_device {
	bool inline_launch;  /* occupies the dispatch thread, see struct arax_device */
	bool discrete;	     /* data has to move there */
	unsigned parallel;   /* compute units */
	uint32_t queued;     /* launches that it has not finished */
	uint32_t share;	     /* of 1024: the lease; devices with 0 are never candidates */
	uint32_t depth;	     /* launches in flight that the lease allows; 0: no bound */
	uint64_t backlog_ns; /* predicted time of what is queued there */
	float bytes_per_ns, latency_ns; /* of transfers, learned; 0: not known */
	char name[32];
};

/* What was learned about one kernel: a moving average per size and device. 0: nothing yet. */
struct policy_cost {
	float ns[POLICY_BUCKETS][POLICY_DEVICES];
	uint16_t launches[POLICY_BUCKETS]; /* since something else was tried; saturates */
	uint16_t gap[POLICY_BUCKETS];	   /* launches until something else is tried; 0: default */
	uint8_t last[POLICY_BUCKETS];	   /* device of the last ordinary choice, plus 1 */
};

/* One launch that wants a device. */
struct policy_launch {
	struct policy_cost *cost; /* of its kernel; never NULL */
	uint64_t items;		  /* work-items in all */
	uint32_t candidates;	  /* bit n: device n may run it; at least one bit */
	bool busy;		  /* other commands are waiting for the dispatch thread */
	const struct policy_device *devices;
	const uint64_t *missing; /* per device: bytes that would have to move there; NULL: none */
	const char *kernel;	 /* its name, "" when there is none */
	uint64_t now_ns;	 /* CLOCK_MONOTONIC, or the simulator's clock; 0: not read */
	uint64_t handover_ns;	 /* learn() only: until an idle device began with it; 0: unknown */
};

/* A policy's own memory; zeroed at start. */
struct policy_state {
	uint64_t words[4];
	float handover_ns[POLICY_DEVICES]; /* moving average; 0: nothing yet */
};

struct policy {
	const char *name;
	/** pick() - one of the candidates. */
	unsigned (*pick)(struct policy_state *state, const struct policy_launch *launch);
	/** learn() - it took ns on that device; may be NULL. */
	void (*learn)(struct policy_state *state, const struct policy_launch *launch,
		      unsigned device, uint64_t ns);
};

extern const struct policy policy_adaptive, policy_round_robin, policy_pinned;

/** policy_find() - by name, the default for NULL or "". Return: NULL when there is no such one. */
const struct policy *policy_find(const char *name);

/** policy_name() - name of policy number n, NULL behind the last. */
const char *policy_name(unsigned n);

/** policy_bucket() - the row of struct policy_cost for a number of work-items. */
static inline unsigned policy_bucket(uint64_t items)
{
	unsigned bucket = items ? 63u - (unsigned)__builtin_clzll(items) : 0;
	return bucket < POLICY_BUCKETS ? bucket : POLICY_BUCKETS - 1;
}

static inline unsigned policy_first(uint32_t candidates)
{
	return (unsigned)__builtin_ctz(candidates);
}

#define POLICY_FOR_EACH(device, candidates)                          \
	for (unsigned device = 0; device < POLICY_DEVICES; device++) \
		if ((candidates) >> device & 1)

#endif
