/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated accelerator: its options, see sim.h. Needs nothing else of the back end, so that a
 * configuration can be checked where no device is opened.
 */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/sim_internal.h"

static _Thread_local char message[160];

__attribute__((format(printf, 2, 3))) static int refuse(const char **error, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	*error = message;
	return -EINVAL;
}

struct suffix {
	const char *name;
	double factor;
};

static const struct suffix none[] = {{"", 1}, {NULL, 0}};
static const struct suffix sizes[] = {
    {"", 1}, {"K", 1024}, {"M", 1 << 20}, {"G", 1 << 30}, {NULL, 0}};
static const struct suffix rates[] = {{"", 1}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {NULL, 0}};
static const struct suffix times[] = {{"", 1},	   {"ns", 1},  {"us", 1e3},
				      {"ms", 1e6}, {"s", 1e9}, {NULL, 0}};

/* Digits, perhaps with a fraction, and a suffix. Return: false when it is nothing of the kind. */
static bool number(const char *text, const struct suffix *suffixes, double *value)
{
	if (*text < '0' || *text > '9' || text[1] == 'x' || text[1] == 'X')
		return false;
	char *end;
	*value = strtod(text, &end);
	for (const struct suffix *s = suffixes; s->name; s++) {
		if (!strcmp(end, s->name)) {
			*value *= s->factor;
			return true;
		}
	}
	return false;
}

struct key {
	const char *name;
	const struct suffix *suffixes;
	double least, most;
	bool real; /* a double; else a uint64_t */
	size_t offset;
};

#define OPTION(member) offsetof(struct sim_options, member)
static const struct key keys[] = {
    {"memory", sizes, 4096, 1ull << 44, false, OPTION(memory)},
    {"bandwidth", rates, 1, 1e15, false, OPTION(bandwidth)},
    {"latency", times, 0, 1e12, false, OPTION(latency_ns)},
    {"rate", none, 1e-6, 1e6, true, OPTION(rate)},
    {"item_ns", none, 0, 1e9, true, OPTION(item_ns)},
    {"units", none, 1, 65536, false, OPTION(units)},
    {"local", sizes, 0, 1 << 30, false, OPTION(local_mem)},
    {"streams", none, 1, SIM_STREAMS_MAX, false, OPTION(streams)},
    {"copies", none, 1, 2, false, OPTION(copies)},
    {"seed", none, 0, 1ull << 53, false, OPTION(seed)},
    {"jitter", none, 0, 1, true, OPTION(jitter)},
};

static int set(struct sim_options *options, const struct key *key, const char *value,
	       const char **error)
{
	double number_;
	if (!number(value, key->suffixes, &number_))
		return refuse(error, "%s=%.40s: not a number of its kind", key->name, value);
	if (!(number_ >= key->least && number_ <= key->most))
		return refuse(error, "%s=%.40s: not from %.16g to %.16g", key->name, value,
			      key->least, key->most);
	if (!key->real && number_ != (double)(uint64_t)number_)
		return refuse(error, "%s=%.40s: not a whole number", key->name, value);
	void *at = (char *)options + key->offset;
	if (key->real)
		*(double *)at = number_;
	else
		*(uint64_t *)at = (uint64_t)number_;
	return 0;
}

static const char *const fault_names[SIM_FAULT_KINDS] = {
    [SIM_FAULT_OOM] = "oom",	       [SIM_FAULT_LAUNCH] = "launch", [SIM_FAULT_HANG] = "hang",
    [SIM_FAULT_TRANSFER] = "transfer", [SIM_FAULT_LOST] = "lost",
};

static int add_fault(struct sim_options *options, char *text, const char **error)
{
	char *at = strchr(text, '@');
	unsigned kind = 0;
	double value;
	if (!at)
		return refuse(error, "faults=%.40s: not SORT@NUMBER", text);
	*at++ = 0;
	while (kind < SIM_FAULT_KINDS && strcmp(text, fault_names[kind]))
		kind++;
	if (kind == SIM_FAULT_KINDS)
		return refuse(error, "faults=%.40s@%.40s: no such sort of fault", text, at);
	if (kind == SIM_FAULT_LOST && *at == '+') {
		if (!number(at + 1, times, &value) || value > 1e18)
			return refuse(error, "faults=lost@%.40s: not a time", at);
		options->lost_after_ns = (uint64_t)value;
		return 0;
	}
	if (!number(at, none, &value) || value < 1 || value > 1e15 ||
	    value != (double)(uint64_t)value)
		return refuse(error, "faults=%s@%.40s: not a number from 1", text, at);
	if (options->nfaults == SIM_FAULTS_MAX)
		return refuse(error, "faults: more than %d", SIM_FAULTS_MAX);
	options->faults[options->nfaults++] =
	    (struct sim_fault){.kind = (enum sim_fault_kind)kind, .at = (uint64_t)value};
	return 0;
}

static int add_faults(struct sim_options *options, char *list, const char **error)
{
	char *rest = NULL;
	for (char *one = strtok_r(list, ";", &rest); one; one = strtok_r(NULL, ";", &rest)) {
		int rc = add_fault(options, one, error);
		if (rc)
			return rc;
	}
	return 0;
}

static int set_one(struct sim_options *options, char *text, const char **error)
{
	char *value = strchr(text, '=');
	if (!value)
		return refuse(error, "%.40s: not KEY=VALUE", text);
	*value++ = 0;
	if (!strcmp(text, "faults"))
		return add_faults(options, value, error);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!strcmp(text, keys[i].name))
			return set(options, &keys[i], value, error);
	}
	return refuse(error, "%.40s: a simulated device has no such option", text);
}

int sim_options_parse(const char *text, struct sim_options *options, const char **error)
{
	*options = (struct sim_options){
	    .memory = 256u << 20,
	    .bandwidth = 8000000000u,
	    .latency_ns = 10000,
	    .local_mem = 32u << 10,
	    .units = 16,
	    .streams = 4,
	    .copies = 2,
	    .seed = 1,
	    .rate = 1,
	    .lost_after_ns = UINT64_MAX,
	};
	char *copy = strdup(text ? text : ""), *rest = NULL;
	int rc = copy ? 0 : refuse(error, "no memory");
	for (char *one = copy ? strtok_r(copy, ",", &rest) : NULL; one && !rc;
	     one = strtok_r(NULL, ",", &rest))
		rc = set_one(options, one, error);
	free(copy);
	return rc;
}

int arax_sim_check(const char *text, const char **error)
{
	struct sim_options options;
	*error = NULL;
	return sim_options_parse(text, &options, error);
}
