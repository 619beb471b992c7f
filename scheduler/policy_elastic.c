/* SPDX-License-Identifier: Apache-2.0
 *
 * Policy "elastic": an application grows onto every device that it may use and gives it back soon.
 * Each launch goes where it ends first, counting what waits; but on no device more is in flight
 * than keeps it busy (policy_room), the rest waits unbound. So a device that comes has work in the
 * moment it comes, and one that goes, or has to be shared, is free after a few kernels. araxd's
 * side, who has which device, is scheduler/lease.c.
 */
#include "scheduler/policy.h"

static unsigned pick(struct policy_state *state, const struct policy_launch *launch)
{
	unsigned best = policy_first(launch->candidates);
	float first = 0, least = 0, best_ns = 0;
	bool any = false, known;

	if (!launch->held)
		policy_reserve(state, POLICY_DEVICES, 0);
	POLICY_FOR_EACH(device, policy_one_in_place(state, launch))
	{
		const struct policy_device *d = &launch->devices[device];
		float backlog = policy_backlog(d, launch->now_ns) + state->reserved[device];
		float transfer = policy_transfer(launch, device);
		float ns = policy_estimate(state, launch, device, &known) * policy_stretch(d);
		float end = (transfer > backlog ? transfer : backlog) + ns;

		/* Nothing known: as many to each. */
		if (!any || end < first || (end <= first && (float)d->queued < least)) {
			best = device;
			first = end;
			least = (float)d->queued;
			best_ns = ns;
			any = true;
		}
	}
	if (policy_room(&launch->devices[best]) || policy_own(launch, best))
		return best;
	policy_reserve(state, best, best_ns);
	return POLICY_WAIT;
}

const struct policy policy_elastic = {
    .name = "elastic", .waits = true, .pick = pick, .learn = policy_learn};
