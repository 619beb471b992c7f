/* SPDX-License-Identifier: Apache-2.0
 *
 * The list of placement policies; see policy.h for how to add one.
 */
#include "scheduler/policy.h"

#include <stddef.h>
#include <string.h>

/* The first is the default. */
static const struct policy *const policies[] = {
    &policy_adaptive,
    &policy_round_robin,
    &policy_pinned,
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
