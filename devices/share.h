/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may give a device its next command: the links of an arax-device share it by weights. No
 * threads, no clock, no device in it: serve_run.c asks and tells, test_share.c does so with a
 * clock of its own.
 *
 * Start-time fair queueing: each link has a virtual time, its busy time on the device divided by
 * its weight; of those that have something to do the one that is furthest behind is next. Who was
 * idle does not save up: coming back, it starts where the device is. A command is charged with what
 * its link's commands usually take when it is given out, and corrected when it has ended, so that
 * several may be in flight.
 *
 * At most SHARE_WINDOW commands are in flight while several links want the device, or wanted it a
 * moment ago: what was given to it cannot be taken back, and so is what a newcomer has to wait for.
 * A link that is alone may have as many as its depth allows.
 */
#ifndef ARAX_DEVICES_SHARE_H
#define ARAX_DEVICES_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#define SHARE_WINDOW 2u
/* A moment, in the time that the device was busy since. */
#define SHARE_RECENT_NS 50000000u

struct share_link {
	struct share_link *next;
	uint32_t weight, depth; /* depth 0: no bound */
	uint32_t waiting;	/* commands that could begin */
	uint32_t in_flight;
	bool served;	     /* it has had the device */
	uint64_t virtual_ns; /* scaled by the weight */
	uint64_t usual_ns;   /* of one command, a moving average */
};

/* All zero at first. */
struct share {
	struct share_link *links;
	uint64_t virtual_ns; /* of the link that was served last, when it was */
	uint32_t in_flight;
};

/** share_join() - a link without commands. weight 0 is 1. */
void share_join(struct share *share, struct share_link *link, uint32_t weight, uint32_t depth);

/** share_leave() - it takes what it has in flight along: share_done() is not called for that. */
void share_leave(struct share *share, struct share_link *link);

/** share_set() - other values from now on. */
void share_set(struct share_link *link, uint32_t weight, uint32_t depth);

/** share_offer() - one more command of this link waits. */
void share_offer(struct share *share, struct share_link *link);

/**
 * share_next() - whose command is next, if the device may have one more
 * @charged: what it was charged with, for share_done()
 * Return: a link, of which one command less waits and one more is in flight; NULL.
 */
struct share_link *share_next(struct share *share, uint64_t *charged);

/** share_done() - one of its commands has ended, which took the device so long. */
void share_done(struct share *share, struct share_link *link, uint64_t charged, uint64_t busy_ns);

#endif
