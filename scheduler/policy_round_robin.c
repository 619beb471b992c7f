/* SPDX-License-Identifier: Apache-2.0
 *
 * Policy "round-robin": launches go to the candidates in turn, whatever they cost. Useful to test
 * that results do not depend on the device, and as the baseline of comparisons.
 */
#include "scheduler/policy.h"

/* The turn lives in words[0]: the device after the one that ran last. */
static unsigned pick(struct policy_state *state, const struct policy_launch *launch)
{
	for (unsigned i = 0; i < POLICY_DEVICES; i++) {
		unsigned device = (unsigned)((state->words[0] + i) % POLICY_DEVICES);
		if (launch->candidates >> device & 1) {
			state->words[0] = device + 1;
			return device;
		}
	}
	return policy_first(launch->candidates);
}

const struct policy policy_round_robin = {.name = "round-robin", .pick = pick};
