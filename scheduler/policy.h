/* SPDX-License-Identifier: Apache-2.0
 *
 * Placement: on which device a launch runs. A policy is a small table of functions with a name,
 * chosen in the configuration or by ARAX_POLICY; the dispatcher asks pick() for every launch that
 * may run on more than one device and tells learn() how long it took. The scheduling simulator
 * (simulate.c) drives the same code with a clock of its own.
 *
 * Adding a policy, worked through for one that always takes the device with the fewest launches:
 *
 *   1. One file, scheduler/policy_fewest.c:
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
 *	const struct policy policy_fewest = {.name = "fewest", .pick = pick, .learn = policy_learn};
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

#include "scheduler/policy_rules.h"

#define POLICY_DEVICES 16
#define POLICY_BUCKETS 48	   /* by the logarithm of the number of work-items */
#define POLICY_WAIT POLICY_DEVICES /* pick(): on none of them now */
#define POLICY_WINDOW 64	   /* held launches that are worth being asked again */

/* What is known about a device at this moment. */
struct policy_device {
	bool inline_launch;  /* occupies the dispatch thread, see struct arax_device */
	bool discrete;	     /* data has to move there */
	uint8_t alike;	     /* 1 + the lowest index of the same make; 0: not known */
	unsigned parallel;   /* compute units */
	uint32_t queued;     /* launches that it has not finished */
	uint32_t share;	     /* of 1024: the lease; devices with 0 are never candidates */
	uint32_t depth;	     /* launches in flight that the lease allows; 0: no bound */
	uint64_t moved_ns;   /* transfers to it took so long since something ended there */
	uint64_t backlog_ns; /* predicted time of what is queued there */
	uint64_t since_ns;   /* when the first of them came first; 0: not known */
	float pace; /* learned: real time per predicted time, while it has something to do; 0: not
		       known. Above 1: others use it, too; below: it executes several at a time */
	uint64_t moving;		/* bytes on their way to it */
	float bytes_per_ns, latency_ns; /* of transfers, learned; 0: not known */
	char name[32];
};

/* What was learned about one kernel: a moving average per size and device. 0: nothing yet. */
struct policy_cost {
	float ns[POLICY_BUCKETS][POLICY_DEVICES];
	uint16_t launches[POLICY_BUCKETS]; /* since something else was tried; saturates */
	uint16_t gap[POLICY_BUCKETS];	   /* launches until something else is tried; 0: default */
	uint8_t last[POLICY_BUCKETS];	   /* device of the last ordinary choice, plus 1 */
	/* The same of "heterogeneous", which has more than one other. */
	uint16_t since[POLICY_BUCKETS], pause[POLICY_BUCKETS];
	uint8_t choice[POLICY_BUCKETS], tried[POLICY_BUCKETS], trying[POLICY_BUCKETS];
};

/* One launch that wants a device. */
struct policy_launch {
	struct policy_cost *cost; /* of its kernel; never NULL */
	uint64_t items;		  /* work-items in all */
	bool one_group;		  /* of one work-group: nothing to spread */
	uint32_t candidates;	  /* bit n: device n may run it; at least one bit */
	bool busy;		  /* other commands are waiting for the dispatch thread */
	uint32_t held;		  /* launches that were asked before it in this pass and wait */
	uint64_t serial;	  /* its number, the same however often it is asked */
	const struct policy_device *devices;
	const uint64_t *missing; /* per device: bytes that would have to move there, and are not
				    on their way; NULL: none */
	const char *kernel;	 /* its name, "" when there is none */
	uint64_t now_ns;	 /* CLOCK_MONOTONIC, or the simulator's clock; 0: not read */
	uint64_t handover_ns;	 /* learn() only: until an idle device began with it; 0: unknown */
};

/* A policy's own memory; zeroed at start, and kept when the policy changes. */
struct policy_state {
	uint64_t turn;			   /* round-robin: the device after the one that ran last */
	uint64_t seed;			   /* random */
	uint64_t run_ns, explored_ns;	   /* heterogeneous: its account of exploring */
	bool unlike;			   /* there are devices to be compared with each other */
	float handover_ns[POLICY_DEVICES]; /* moving average; 0: nothing yet */
	float slower[POLICY_DEVICES]; /* than the best known, over all kernels; 0: nothing yet */
	float won[POLICY_DEVICES];    /* had data been there: ns, since something was moved there */
	float reserved[POLICY_DEVICES]; /* for launches that wait, in this pass */
	struct policy_rules rules;	/* pinned */
};

struct policy {
	const char *name;
	/* It keeps to a lease's depth by itself: it would rather wait for a device than have
	 * another one. For others devices without room are no candidates. */
	bool waits;
	/**
	 * pick() - one of the candidates, or POLICY_WAIT
	 *
	 * It waits only if one of the candidates has something queued. The launch is then asked
	 * again when something has ended or the devices have changed, oldest first; POLICY_WAIT
	 * says nothing about launches after it.
	 */
	unsigned (*pick)(struct policy_state *state, const struct policy_launch *launch);
	/** learn() - it executed for ns on that device; may be NULL. */
	void (*learn)(struct policy_state *state, const struct policy_launch *launch,
		      unsigned device, uint64_t ns);
	/** configure() - with the argument that was checked; NULL: it takes none. */
	void (*configure)(struct policy_state *state, const char *argument);
};

extern const struct policy policy_adaptive, policy_round_robin, policy_least_loaded,
    policy_heterogeneous, policy_fair, policy_elastic, policy_pinned, policy_random;

/** policy_find() - by name, the default for NULL or "". Return: NULL when there is no such one. */
const struct policy *policy_find(const char *name);

/** policy_name() - name of policy number n, NULL behind the last. */
const char *policy_name(unsigned n);

/**
 * policy_configure() - before a policy's first pick() and when its argument changes
 * Return: 0, or -EINVAL with a line that says why; then nothing has changed.
 */
int policy_configure(const struct policy *policy, struct policy_state *state, const char *argument,
		     char why[POLICY_WHY]);

/** policy_changed() - another device has this index now, or the same with nothing in common. */
void policy_changed(struct policy_state *state, unsigned device);

/* ---- what is learned, for all policies alike (policy_learn.c) -------------------------------- */

void policy_learn(struct policy_state *state, const struct policy_launch *launch, unsigned device,
		  uint64_t ns);

/**
 * policy_estimate() - how long it will execute on that device
 * @known: whether it comes from this kernel's own times there, or on a device of the same make
 * Return: ns, 0 when nothing is known that it could be guessed from.
 */
float policy_estimate(const struct policy_state *state, const struct policy_launch *launch,
		      unsigned device, bool *known);

/** policy_predict() - the same for the books of policy_began(). */
static inline uint64_t policy_predict(const struct policy_state *state,
				      const struct policy_launch *launch, unsigned device)
{
	bool known;
	return (uint64_t)policy_estimate(state, launch, device, &known);
}

/** policy_moved() - a transfer to or from a discrete device took so long. */
void policy_moved(struct policy_device *device, uint64_t bytes, uint64_t ns);

/** policy_stretch() - real time per time of execution, at its pace. */
float policy_stretch(const struct policy_device *device);

/** policy_backlog() - until it has finished what it was given. */
float policy_backlog(const struct policy_device *device, uint64_t now_ns);

/** policy_transfer() - until the data is there. */
float policy_transfer(const struct policy_launch *launch, unsigned device);

/** policy_reserve() - a launch that waits for a device takes so much of its time before others do;
 * forgotten when the next pass begins (launch->held). */
void policy_reserve(struct policy_state *state, unsigned device, float ns);

/** policy_one_in_place() - the candidates, but only one, adaptive's choice, of the devices in
 * place: they share the processors. */
uint32_t policy_one_in_place(struct policy_state *state, const struct policy_launch *launch);

/** policy_room() - may it have one more, so that it can be given back soon? */
bool policy_room(const struct policy_device *device);

/** policy_own() - it is in place, and there is no discrete one to choose: nothing is gained by
 * waiting for it. */
bool policy_own(const struct policy_launch *launch, unsigned device);

/* ---- the books of a device ------------------------------------------------------------------- */

/** policy_paced() - what ended, or nothing but time, tells how fast the device goes on. */
void policy_paced(struct policy_device *device, uint64_t predicted, uint64_t now_ns);

/** policy_began() - a launch was given to it; predicted as policy_predict() said. */
static inline void policy_began(struct policy_device *device, uint64_t predicted, uint64_t now_ns)
{
	if (!device->queued++) {
		if (now_ns)
			policy_paced(device, 0, now_ns);
		device->since_ns = now_ns;
	}
	device->backlog_ns += predicted;
}

/** policy_ended() - that launch has ended, however. */
static inline void policy_ended(struct policy_device *device, uint64_t predicted, uint64_t now_ns)
{
	if (now_ns && predicted)
		policy_paced(device, predicted, now_ns);
	device->queued--;
	device->backlog_ns -= predicted;
	device->since_ns = now_ns;
}

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

/* The devices of a set, by index. */
#define POLICY_FOR_EACH(device, set)                                                   \
	for (uint32_t device##_left = (set) & ((1u << POLICY_DEVICES) - 1), device;    \
	     device##_left && (device = (uint32_t)__builtin_ctz(device##_left), true); \
	     device##_left &= device##_left - 1)

#endif
