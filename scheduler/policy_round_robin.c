/* SPDX-License-Identifier: Apache-2.0
 *
 * Policy "round-robin": launches go to the candidates in turn, whatever they cost. Useful to test
 * that results do not depend on the device, and as the baseline of comparisons.
 */
#include "scheduler/policy.h"

static unsigned pick(struct policy_state *state, const struct policy_launch *launch)
{
	uint32_t later = launch->candidates & (~0u << state->turn);
	unsigned device = policy_first(later ? later : launch->candidates);

	state->turn = device + 1;
	return device;
}

const struct policy policy_round_robin = {
    .name = "round-robin", .pick = pick, .learn = policy_learn};
