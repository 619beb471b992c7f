/* SPDX-License-Identifier: Apache-2.0
 *
 * Policy "least-loaded": the device that will have finished first with what it was given, as
 * predicted from what its kernels took before; among equals the one with fewer launches, then in
 * turn. It does not ask how long this launch will take there, nor where its data is: with devices
 * that are much alike that is all there is to know.
 */
#include "scheduler/policy.h"

static unsigned pick(struct policy_state *state, const struct policy_launch *launch)
{
	unsigned best = POLICY_WAIT;
	float least = 0;

	/* In turn: those behind the last one first. */
	uint32_t candidates = policy_one_in_place(state, launch);
	uint32_t later = candidates & (~0u << state->turn);
	const uint32_t sets[2] = {later, candidates & ~later};
	for (int half = 0; half < 2; half++) {
		POLICY_FOR_EACH(device, sets[half])
		{
			const struct policy_device *d = &launch->devices[device];
			float backlog = policy_backlog(d, launch->now_ns);

			if (d->depth && d->queued >= d->depth)
				continue;
			if (best == POLICY_WAIT || backlog < least ||
			    (backlog <= least && d->queued < launch->devices[best].queued)) {
				best = device;
				least = backlog;
			}
		}
	}
	if (best != POLICY_WAIT)
		state->turn = best + 1;
	return best;
}

const struct policy policy_least_loaded = {
    .name = "least-loaded", .waits = true, .pick = pick, .learn = policy_learn};
