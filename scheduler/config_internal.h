/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files that read arax.conf share.
 */
#ifndef ARAX_SCHEDULER_CONFIG_INTERNAL_H
#define ARAX_SCHEDULER_CONFIG_INTERNAL_H

#include "scheduler/config.h"

#include <stdio.h>

struct config_parse {
	struct config *config;
	FILE *file;
	unsigned line;		       /* that is being read */
	unsigned bad;		       /* the first bad one; 0 */
	char what[CONFIG_ERROR - 160]; /* is wrong with it */
};

/** config_wrong() - say what is wrong with the present line, unless an earlier one was. */
void config_wrong(struct config_parse *parse, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** config_next() - the next name of a comma list; false at the end. */
bool config_next(const char **list, const char **name, size_t *length);

/** config_number() - a number, with K, M or G for sizes. */
bool config_number(const char *text, bool size, uint64_t *value);

/** config_append() - a further line of a list; false when it is too long. */
bool config_append(char *list, size_t size, const char *value);

/* [device NAME]: config_device.c. */

/** config_device_section() - the section begins. */
void config_device_section(struct config_parse *parse, const char *name);

/** config_device_key() - a line of it; false when there is no such key. */
bool config_device_key(struct config_parse *parse, const char *name, const char *key,
		       const char *value);

/** config_device_check() - what only all lines together show. */
void config_device_check(struct config_parse *parse);

/* [scheduling]: config_scheduling.c. Return: NULL or what the value must be. */
const char *config_set_rules(struct config_parse *parse, const char *value);
const char *config_set_seed(struct config_parse *parse, const char *value);
const char *config_set_weights(struct config_parse *parse, const char *value);

#endif
