/* SPDX-License-Identifier: Apache-2.0
 *
 * The list of placement policies; see policy.h for how to add one.
 */
#include "scheduler/policy.h"

#include <stddef.h>
#include <string.h>

/* The first is the default. */
static const struct policy *const policies[] = {
    &policy_adaptive, &policy_round_robin, &policy_least_loaded, &policy_heterogeneous,
    &policy_fair,     &policy_elastic,	   &policy_pinned,	 &policy_random,
};
#define NPOLICIES (sizeof(policies) / sizeof(policies[0]))

const struct policy *policy_find(const char *name)
{
	if (!name || !name[0])
		return policies[0];
	for (size_t i = 0; i < NPOLICIES; i++) {
		if (!strcmp(policies[i]->name, name))
			return policies[i];
	}
	return NULL;
}

const char *policy_name(unsigned n)
{
	return n < NPOLICIES ? policies[n]->name : NULL;
}

int policy_configure(const struct policy *policy, struct policy_state *state, const char *argument,
		     char why[POLICY_WHY])
{
	int rc = policy_argument_check(policy->name, argument, why);

	if (!rc && policy->configure)
		policy->configure(state, argument);
	return rc;
}

void policy_changed(struct policy_state *state, unsigned device)
{
	state->handover_ns[device] = state->slower[device] = state->reserved[device] = 0;
	state->won[device] = 0;
}
