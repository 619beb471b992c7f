/* SPDX-License-Identifier: Apache-2.0
 *
 * The arbiter's decision: which devices each tenant may use, with which share and how much of it at
 * a time. Pure: no clock, no allocation, nothing of araxd, so that the scheduling simulator uses
 * the same code. araxd_lease.c feeds it and sends what comes out; a tenant that ignores it gains
 * nothing, since arax-device schedules by the same shares.
 *
 * Call it when a tenant comes or goes, begins or stops to work, when a device comes or goes, and
 * when the time that it returned is over.
 */
#ifndef ARAX_SCHEDULER_LEASE_H
#define ARAX_SCHEDULER_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#define LEASE_DEVICES 16 /* as POLICY_DEVICES */
#define LEASE_TENANTS 256
#define LEASE_SHARE 1024u /* all of a device */
#define LEASE_WEIGHT 100u /* of a tenant of which nothing is said */
#define LEASE_WEIGHT_MAX 10000u
/* So long a tenant keeps its part when it has stopped working: who pauses between two commands does
 * not lose and get devices all the time. */
#define LEASE_LINGER_NS 50000000u
/* What is in flight may take so long: giving a device back waits for that at most. */
#define LEASE_DEPTH_NS 5000000u
#define LEASE_DEPTH_MAX 64u

enum lease_mode {
	/* Everything for everybody, by weight among all that are there. */
	LEASE_EVERYBODY,
	/* By weight among those that work, and over all devices together: who may have fewer
	 * devices has more of them. */
	LEASE_FAIR,
	/* The same sums, in whole devices as far as possible: what a tenant has it keeps, up to its
	 * part, so that its data stays where it is; idle devices go to who works. */
	LEASE_ELASTIC,
};

/* share is a weight relative to the others' on the device, 0: nothing may be placed there now.
 * depth: commands in flight at most. */
struct lease {
	uint32_t share, depth;
};

struct lease_tenant {
	/* From the caller, before every call. */
	uint32_t weight;     /* 1 to LEASE_WEIGHT_MAX */
	uint32_t allowed;    /* bit n: it may have device n */
	bool working;	     /* it has commands that have come and not ended */
	int urgency;	     /* of those: 1 high, -1 low priority; 0 neither (lease_weigh()) */
	unsigned domain;     /* of trust: tenants with the same number share one (lease_weigh()) */
	uint64_t command_ns; /* what one takes on the average; 0: not known */
	/* Of lease_decide(); all zero when the tenant is new. */
	bool active;	    /* works, or did so less than LEASE_LINGER_NS ago */
	uint64_t worked_ns; /* when it was last seen to work */
	uint64_t question;  /* what was decided last */
	struct lease lease[LEASE_DEVICES];
};

/** lease_mode() - what a policy's name means here. */
enum lease_mode lease_mode(const char *policy);

/**
 * lease_weigh() - what the priorities of its queues mean for a tenant's weight
 *
 * High is four times the weight, low a quarter. But a domain has no more weight together than it
 * would have without: who calls everything urgent takes from its own user's other applications,
 * and from nobody else; who says that it is not urgent gives to all. Call it before
 * lease_decide(), when the weights have been written.
 */
void lease_weigh(struct lease_tenant *const *tenants, unsigned ntenants);

/**
 * lease_decide() - write what each tenant has from now on to its lease[]
 * @devices: bit n: device n is there
 * @tenants: those beyond LEASE_TENANTS have everything that they are allowed, with a small share
 *
 * A tenant that is not active has a share for its first command, so that it need not ask; it takes
 * nothing from the others, since devices do not wait for who has no work.
 *
 * Return: in how many ns to ask again although nothing has changed; 0: no need.
 */
uint64_t lease_decide(enum lease_mode mode, uint32_t devices, struct lease_tenant *const *tenants,
		      unsigned ntenants, uint64_t now_ns);

#endif
