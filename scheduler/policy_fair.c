/* SPDX-License-Identifier: Apache-2.0
 *
 * Policy "fair", the placer's side: work is spread over the leased devices in proportion to the
 * share that this tenant has of each, and never more is in flight than lease and room allow, so
 * that what another tenant gives or takes is felt at once. The shares themselves are araxd's
 * (scheduler/lease.c), and the devices enforce them.
 */
#include "scheduler/policy.h"

static float share_of(const struct policy_device *device)
{
	return device->share && device->share < 1024 ? (float)device->share / 1024 : 1;
}

static unsigned pick(struct policy_state *state, const struct policy_launch *launch)
{
	unsigned best = POLICY_WAIT;
	float least = 0, queued = 0;
	bool known;

	POLICY_FOR_EACH(device, policy_one_in_place(state, launch))
	{
		const struct policy_device *d = &launch->devices[device];

		if (!policy_room(d) && !policy_own(launch, device))
			continue;
		float share = share_of(d),
		      backlog = policy_backlog(d, launch->now_ns) / policy_stretch(d) / share;
		float transfer = policy_transfer(launch, device);
		float ns = policy_estimate(state, launch, device, &known) / share;
		float end = (transfer > backlog ? transfer : backlog) + ns;
		float weighted = (float)d->queued / share;
		if (best == POLICY_WAIT || end < least || (end <= least && weighted < queued)) {
			best = device;
			least = end;
			queued = weighted;
		}
	}
	return best;
}

const struct policy policy_fair = {
    .name = "fair", .waits = true, .pick = pick, .learn = policy_learn};
