/* SPDX-License-Identifier: Apache-2.0
 *
 * araxd's configuration, arax.conf.
 */
#ifndef ARAX_SCHEDULER_CONFIG_H
#define ARAX_SCHEDULER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_ERROR 512

struct config {
	/* [daemon] */
	unsigned pool;	    /* tenants that are kept ready */
	unsigned idle_exit; /* seconds; 0 never */
	bool has_idle_exit; /* it was set, not just the default */
	unsigned max_clients_per_user, max_tenants;
	/* [limits], of a user in one container */
	unsigned tenants_per_domain, builds_per_domain;
	bool fair_cpu;
	uint64_t memory_per_tenant, memory_per_domain; /* bytes; 0: none */
	/* [device] */
	uint32_t type; /* cl_device_type */
	char name[128];
	uint64_t max_work_group_size, local_memory;
	uint64_t global_memory; /* 0: what the first tenant reports */
	char devices[128];	/* comma list, each one that there is */
	/* [policy] */
	char policy[32];
	/* [cache] */
	char cache_directory[4096]; /* "": the default */
	uint64_t cache_size;
	/* [limits] */
	unsigned command_time; /* seconds that one command may run; 0: as long as it likes */
	/* [sandbox] */
	bool sandbox;
	unsigned sandbox_require; /* enum sandbox_wall: without these nobody is served */
	/* [compile] */
	unsigned compile_time_limit; /* seconds */
	unsigned compile_parallel;   /* 0: as many as there are CPUs */
};

/** config_defaults() - what holds without a file. */
void config_defaults(struct config *config);

/**
 * config_read() - read one file over what is there
 * @error: what is wrong, with file and line
 * Return: 0, -ENOENT when there is no such file, -EINVAL, another -errno.
 */
int config_read(struct config *config, const char *path, char error[CONFIG_ERROR]);

/**
 * config_load() - defaults, then the file that was named or else the usual one if it exists
 * @path: NULL for the usual one
 */
int config_load(struct config *config, const char *path, bool system, char error[CONFIG_ERROR]);

/** config_policy_known() - is there a policy of this name? */
bool config_policy_known(const char *name);

/**
 * config_narrow() - the devices of a comma list that another allows
 * @allowed: full names
 * @wanted: full names, or what they begin with before '-' ("cpu"); empty for all
 * @result: at least 128 bytes
 * Return: 0, -EINVAL when none is left.
 */
int config_narrow(const char *allowed, const char *wanted, char *result);

#endif
