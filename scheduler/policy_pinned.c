/* SPDX-License-Identifier: Apache-2.0
 *
 * Policy "pinned": launches run where rules say (policy_rules.h), by the kernel's name; araxd has
 * left those that are about this tenant's user and program. Where a rule names several devices
 * ("sim*"), the one with the fewest launches. Without a rule, or where the device that it names
 * cannot run the launch, the first candidate in the order of the tenant's devices: with a device
 * list of one name this binds an application to that device.
 */
#include "scheduler/policy.h"

static uint32_t named(const struct policy_launch *launch, const char *pattern)
{
	uint32_t set = 0;

	POLICY_FOR_EACH(device, launch->candidates)
	{
		if (policy_matches(pattern, launch->devices[device].name))
			set |= 1u << device;
	}
	return set;
}

static unsigned fewest(const struct policy_launch *launch, uint32_t set)
{
	unsigned best = policy_first(set);

	POLICY_FOR_EACH(device, set)
	{
		if (launch->devices[device].queued < launch->devices[best].queued)
			best = device;
	}
	return best;
}

static unsigned pick(struct policy_state *state, const struct policy_launch *launch)
{
	const char *kernel = launch->kernel ? launch->kernel : "";

	for (uint32_t i = 0; i < state->rules.n; i++) {
		const struct policy_rule *rule = &state->rules.rule[i];
		if (rule->of != POLICY_RULE_ANY &&
		    (rule->of != POLICY_RULE_KERNEL || !policy_matches(rule->name, kernel)))
			continue;
		uint32_t set = named(launch, rule->device);
		return set ? fewest(launch, set) : policy_first(launch->candidates);
	}
	return policy_first(launch->candidates);
}

static void configure(struct policy_state *state, const char *argument)
{
	char why[POLICY_WHY];
	policy_rules_parse(argument, &state->rules, why);
}

const struct policy policy_pinned = {
    .name = "pinned", .pick = pick, .learn = policy_learn, .configure = configure};
