/* SPDX-License-Identifier: Apache-2.0
 *
 * The section [scheduling] of arax.conf: what applications get relative to others, and the
 * arguments of policies. Users' names are looked up here, while the file is read, and never when a
 * client comes: that could wait for a server.
 */
#include "scheduler/config_internal.h"

#include "scheduler/lease.h"
#include "scheduler/policy_rules.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>

static bool user_find(const char *name, uint32_t *uid)
{
	uint64_t number;
	const struct passwd *entry = getpwnam(name);

	if (entry) {
		*uid = entry->pw_uid;
		return true;
	}
	if (!config_number(name, false, &number) || number > UINT32_MAX)
		return false;
	*uid = (uint32_t)number;
	return true;
}

/* "user=NAME -> N" or "program=NAME -> N" */
static bool weight_parse(const char *entry, size_t length, struct config_weight *weight)
{
	char text[128], kind[16], name[64];
	unsigned number;
	int end = 0;

	if (length >= sizeof(text))
		return false;
	memcpy(text, entry, length);
	text[length] = '\0';
	if (sscanf(text, "%15[a-z] = %63[^ \t] -> %5u%n", kind, name, &number, &end) != 3 ||
	    (size_t)end != length || number < 1 || number > LEASE_WEIGHT_MAX)
		return false;
	*weight = (struct config_weight){.weight = number, .is_user = strcmp(kind, "user") == 0};
	if (weight->is_user)
		return user_find(name, &weight->uid);
	snprintf(weight->program, sizeof(weight->program), "%s", name);
	return strcmp(kind, "program") == 0;
}

const char *config_set_weights(struct config_parse *parse, const char *value)
{
	struct config *config = parse->config;
	const char *entry;
	size_t length;

	while (config_next(&value, &entry, &length)) {
		if (config->nweights == CONFIG_WEIGHTS_MAX)
			return "at most 32 entries";
		if (!weight_parse(entry, length, &config->weights[config->nweights]))
			return "a comma list of user=NAME -> N and program=NAME -> N, with users "
			       "that there are and N from 1 to 10000";
		config->nweights++;
	}
	return NULL;
}

/* Remembers who the users in the rules are. */
static const char *rules_users(struct config *config, const struct policy_rules *rules)
{
	config->nusers = 0;
	for (uint32_t i = 0; i < rules->n; i++) {
		struct config_user *user = &config->users[config->nusers];
		const char *name = rules->rule[i].name;

		if (rules->rule[i].of != POLICY_RULE_USER)
			continue;
		if (config->nusers == CONFIG_USERS_MAX || !user_find(name, &user->uid))
			return "rules with users that there are";
		snprintf(user->name, sizeof(user->name), "%s", name);
		config->nusers++;
	}
	return NULL;
}

const char *config_set_rules(struct config_parse *parse, const char *value)
{
	static char why[POLICY_WHY + 16];
	struct policy_rules rules;
	char wrong[POLICY_WHY];

	if (!config_append(parse->config->rules, sizeof(parse->config->rules), value))
		return "of at most 255 bytes in all";
	if (policy_rules_parse(parse->config->rules, &rules, wrong)) {
		snprintf(why, sizeof(why), "rules: %s", wrong);
		return why;
	}
	return rules_users(parse->config, &rules);
}

const char *config_set_seed(struct config_parse *parse, const char *value)
{
	char why[POLICY_WHY];
	uint64_t seed;

	if (strlen(value) >= sizeof(parse->config->seed) || policy_seed_parse(value, &seed, why))
		return "a decimal number";
	strcpy(parse->config->seed, value);
	return NULL;
}

uint32_t config_weight(const struct config *config, uint32_t uid, const char *program)
{
	uint64_t weight = LEASE_WEIGHT;
	bool user = false, named = false;

	/* The first that matches counts, of each kind. */
	for (unsigned i = 0; i < config->nweights; i++) {
		const struct config_weight *w = &config->weights[i];
		bool *seen = w->is_user ? &user : &named;

		if (*seen || (w->is_user ? w->uid != uid : !policy_matches(w->program, program)))
			continue;
		*seen = true;
		weight = weight * w->weight / LEASE_WEIGHT;
	}
	if (weight > LEASE_WEIGHT_MAX)
		return LEASE_WEIGHT_MAX;
	return weight ? (uint32_t)weight : 1;
}

const char *config_user(const struct config *config, uint32_t uid)
{
	for (unsigned i = 0; i < config->nusers; i++)
		if (config->users[i].uid == uid)
			return config->users[i].name;
	return "";
}

const char *config_argument(const struct config *config, const char *policy)
{
	if (strcmp(policy, "pinned") == 0)
		return config->rules;
	return strcmp(policy, "random") == 0 ? config->seed : "";
}
