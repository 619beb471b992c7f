/* SPDX-License-Identifier: Apache-2.0
 *
 * Arguments of policies, as the configuration and "arax policy" give them: the seed of "random" and
 * the rules of "pinned". araxd checks them and leaves to a tenant those that are about it; the
 * tenant checks them again and follows them. No dependencies: this file is part of both.
 *
 * Rules are separated by commas, and the first that matches counts:
 *
 *	kernel=NAME -> DEVICE, program=NAME -> DEVICE, user=NAME -> DEVICE, * -> DEVICE
 *
 * NAME and DEVICE may end in '*', which stands for any end.
 */
#ifndef ARAX_SCHEDULER_POLICY_RULES_H
#define ARAX_SCHEDULER_POLICY_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POLICY_WHY 160
#define POLICY_ARGUMENT 256 /* with its end: struct arax_control_policy */
#define POLICY_RULES 16

enum policy_rule_of { POLICY_RULE_KERNEL, POLICY_RULE_PROGRAM, POLICY_RULE_USER, POLICY_RULE_ANY };

struct policy_rule {
	uint8_t of; /* enum policy_rule_of */
	char name[64];
	char device[32];
};

struct policy_rules {
	uint32_t n;
	struct policy_rule rule[POLICY_RULES];
};

/** policy_rules_parse() - Return: 0, or -EINVAL with a line that says why. */
int policy_rules_parse(const char *text, struct policy_rules *rules, char why[POLICY_WHY]);

/** policy_seed_parse() - a decimal number; "" is 1. Return: as above. */
int policy_seed_parse(const char *text, uint64_t *seed, char why[POLICY_WHY]);

/** policy_argument_check() - may this policy have this argument? Return: as above. */
int policy_argument_check(const char *policy, const char *argument, char why[POLICY_WHY]);

/**
 * policy_rules_for() - the rules that are left for one tenant: without user= and program=
 * @user, @program: of its client
 * @out: rules for policy_rules_parse()
 * Return: 0; -EINVAL when they are wrong.
 */
int policy_rules_for(const char *text, const char *user, const char *program,
		     char out[POLICY_ARGUMENT]);

/** policy_matches() - is it that name, or does the pattern's '*' cover its end? */
bool policy_matches(const char *pattern, const char *name);

#endif
