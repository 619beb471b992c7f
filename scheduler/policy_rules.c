/* SPDX-License-Identifier: Apache-2.0
 *
 * See policy_rules.h.
 */
#include "scheduler/policy_rules.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *word;
	enum policy_rule_of of;
} kinds[] = {{"kernel=", POLICY_RULE_KERNEL},
	     {"program=", POLICY_RULE_PROGRAM},
	     {"user=", POLICY_RULE_USER}};

struct piece {
	const char *at;
	size_t size;
};

static struct piece trimmed(const char *at, size_t size)
{
	while (size && (*at == ' ' || *at == '\t'))
		at++, size--;
	while (size && (at[size - 1] == ' ' || at[size - 1] == '\t'))
		size--;
	return (struct piece){at, size};
}

/* A name without control characters and without what rules are made of; '*' only at its end. */
static bool copy_name(struct piece piece, char *to, size_t room)
{
	if (!piece.size || piece.size >= room)
		return false;
	for (size_t i = 0; i < piece.size; i++) {
		unsigned char c = (unsigned char)piece.at[i];
		if (c < 0x20 || c == 0x7F || c == ',' || c == '>' ||
		    (c == '*' && i + 1 < piece.size))
			return false;
	}
	memcpy(to, piece.at, piece.size);
	to[piece.size] = '\0';
	return true;
}

static int bad(char why[POLICY_WHY], struct piece piece, const char *what)
{
	snprintf(why, POLICY_WHY, "'%.*s': %s", (int)(piece.size < 60 ? piece.size : 60), piece.at,
		 what);
	return -EINVAL;
}

static bool parse_who(struct piece who, struct policy_rule *rule)
{
	if (who.size == 1 && *who.at == '*') {
		rule->of = POLICY_RULE_ANY;
		return true;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t n = strlen(kinds[i].word);
		if (who.size <= n || strncmp(who.at, kinds[i].word, n) != 0)
			continue;
		rule->of = (uint8_t)kinds[i].of;
		return copy_name(trimmed(who.at + n, who.size - n), rule->name, sizeof(rule->name));
	}
	return false;
}

static int parse_rule(struct piece piece, struct policy_rule *rule, char why[POLICY_WHY])
{
	const char *arrow = memmem(piece.at, piece.size, "->", 2);

	memset(rule, 0, sizeof(*rule));
	if (!arrow)
		return bad(why, piece, "a rule is WHAT=NAME -> DEVICE");
	size_t before = (size_t)(arrow - piece.at);
	if (!parse_who(trimmed(piece.at, before), rule))
		return bad(why, piece, "begins with kernel=NAME, program=NAME, user=NAME or *");
	if (!copy_name(trimmed(arrow + 2, piece.size - before - 2), rule->device,
		       sizeof(rule->device)))
		return bad(why, piece, "ends in the name of a device, of at most 31 bytes");
	return 0;
}

int policy_rules_parse(const char *text, struct policy_rules *rules, char why[POLICY_WHY])
{
	struct piece all = trimmed(text, strlen(text));

	*rules = (struct policy_rules){0};
	why[0] = '\0';
	while (all.size) {
		const char *comma = memchr(all.at, ',', all.size);
		size_t size = comma ? (size_t)(comma - all.at) : all.size;
		struct piece piece = trimmed(all.at, size);

		if (rules->n == POLICY_RULES)
			return bad(why, piece, "is one rule too many");
		int rc = parse_rule(piece, &rules->rule[rules->n], why);
		if (rc)
			return rc;
		rules->n++;
		if (comma && size + 1 == all.size)
			return bad(why, piece, "is followed by nothing");
		all.at += size + (comma != NULL);
		all.size -= size + (comma != NULL);
	}
	return 0;
}

int policy_seed_parse(const char *text, uint64_t *seed, char why[POLICY_WHY])
{
	struct piece piece = trimmed(text, strlen(text));
	uint64_t value = 0;

	why[0] = '\0';
	*seed = 1;
	if (!piece.size)
		return 0;
	for (size_t i = 0; i < piece.size; i++) {
		unsigned digit = (unsigned)(unsigned char)piece.at[i] - '0';
		if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, digit, &value))
			return bad(why, piece, "is no seed: a decimal number of 64 bits");
	}
	*seed = value;
	return 0;
}

int policy_argument_check(const char *policy, const char *argument, char why[POLICY_WHY])
{
	struct policy_rules rules;
	uint64_t seed;

	why[0] = '\0';
	if (strlen(argument) >= POLICY_ARGUMENT) {
		snprintf(why, POLICY_WHY, "longer than %d bytes", POLICY_ARGUMENT - 1);
		return -EINVAL;
	}
	if (strcmp(policy, "pinned") == 0)
		return policy_rules_parse(argument, &rules, why);
	if (strcmp(policy, "random") == 0)
		return policy_seed_parse(argument, &seed, why);
	if (!trimmed(argument, strlen(argument)).size)
		return 0;
	snprintf(why, POLICY_WHY, "policy %.31s takes no argument", policy);
	return -EINVAL;
}

bool policy_matches(const char *pattern, const char *name)
{
	size_t n = strlen(pattern);

	if (n && pattern[n - 1] == '*')
		return strncmp(pattern, name, n - 1) == 0;
	return strcmp(pattern, name) == 0;
}

int policy_rules_for(const char *text, const char *user, const char *program,
		     char out[POLICY_ARGUMENT])
{
	struct policy_rules rules;
	char why[POLICY_WHY];
	size_t used = 0;

	out[0] = '\0';
	if (strlen(text) >= POLICY_ARGUMENT || policy_rules_parse(text, &rules, why))
		return -EINVAL;
	for (uint32_t i = 0; i < rules.n; i++) {
		const struct policy_rule *rule = &rules.rule[i];
		bool kernel = rule->of == POLICY_RULE_KERNEL;

		if ((rule->of == POLICY_RULE_USER && !policy_matches(rule->name, user)) ||
		    (rule->of == POLICY_RULE_PROGRAM && !policy_matches(rule->name, program)))
			continue;
		/* Never longer than the rule was in the text: no spaces are added. */
		int n = snprintf(out + used, POLICY_ARGUMENT - used, "%s%s%s->%s", used ? "," : "",
				 kernel ? "kernel=" : "*", kernel ? rule->name : "", rule->device);
		if (n < 0 || (size_t)n >= POLICY_ARGUMENT - used)
			return -EINVAL;
		used += (size_t)n;
	}
	return 0;
}
