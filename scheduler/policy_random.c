/* SPDX-License-Identifier: Apache-2.0
 *
 * Policy "random": a stress mode. Every launch is forced onto a device that follows from the seed
 * and the launch's number alone, so that a run can be repeated whatever the timing. Its argument is
 * the seed. A device that is no candidate leaves the launches of all others where they are.
 */
#include "scheduler/policy.h"

/* splitmix64's mixing. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
	x = (x ^ x >> 27) * 0x94D049BB133111EBull;
	return x ^ x >> 31;
}

static unsigned pick(struct policy_state *state, const struct policy_launch *launch)
{
	unsigned best = policy_first(launch->candidates);
	uint64_t most = 0;

	POLICY_FOR_EACH(device, launch->candidates)
	{
		uint64_t drawn = mix(mix(state->seed + 0x9E3779B97F4A7C15ull * launch->serial) +
				     0x9E3779B97F4A7C15ull * (device + 1));
		if (drawn >= most) {
			most = drawn;
			best = device;
		}
	}
	return best;
}

static void configure(struct policy_state *state, const char *argument)
{
	char why[POLICY_WHY];
	policy_seed_parse(argument, &state->seed, why);
}

const struct policy policy_random = {
    .name = "random", .pick = pick, .learn = policy_learn, .configure = configure};
