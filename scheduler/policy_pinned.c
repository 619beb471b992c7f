/* SPDX-License-Identifier: Apache-2.0
 *
 * Policy "pinned": every launch runs on the first device that is allowed, in the order of the
 * tenant's devices. With a device list of one name this binds an application to that device.
 */
#include "scheduler/policy.h"

static unsigned pick(struct policy_state *state, const struct policy_launch *launch)
{
	(void)state;
	return policy_first(launch->candidates);
}

const struct policy policy_pinned = {.name = "pinned", .pick = pick};
