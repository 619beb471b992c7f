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
#define CONFIG_DEVICES_MAX 14 /* instances; a tenant has its own two CPU devices besides */
#define CONFIG_WEIGHTS_MAX 32
#define CONFIG_USERS_MAX 16
#define CONFIG_LIST 128 /* a comma list of devices, as in struct arax_control_attach */

enum config_backend { CONFIG_BACKEND_NONE, CONFIG_BACKEND_SIM, CONFIG_BACKEND_OPENCL };

/* [device NAME]: a device in a process of its own, or several alike. */
struct config_device {
	char name[24];
	enum config_backend backend;
	char library[128];  /* opencl: soname or path */
	unsigned number;    /* which of the library's devices */
	unsigned instances; /* NAME, or NAME0, NAME1 ... */
	uint64_t memory;    /* bytes; 0: what the device has */
	char options[256];  /* of the back end */
	bool shared;	    /* by the tenants of a trust domain; else each has its own */
	bool has_shared;    /* it was set */
	bool enabled;
	unsigned line; /* where its section begins, for messages */
};

/* How much a user's, or a program's, applications get relative to others' (100). */
struct config_weight {
	bool is_user;
	uint32_t uid;
	char program[64]; /* may end in '*' */
	uint32_t weight;
};

/* Which cgroups tenants run in (araxd_cgroup.h). */
enum config_cgroup { CONFIG_CGROUP_CLIENT, CONFIG_CGROUP_OWN, CONFIG_CGROUP_NONE };

struct config {
	/* [daemon] */
	unsigned pool;	    /* tenants that are kept ready */
	unsigned idle_exit; /* seconds; 0 never */
	bool has_idle_exit; /* it was set, not just the default */
	unsigned max_clients_per_user, max_tenants;
	/* [limits], of a user in one container */
	unsigned tenants_per_domain, builds_per_domain;
	bool fair_cpu;
	enum config_cgroup cgroup;
	uint64_t memory_per_tenant, memory_per_domain; /* bytes; 0: none */
	uint64_t kernel_memory;			       /* bytes beside the buffers; 0: no limit */
	unsigned commands_per_tenant, objects_per_tenant;
	unsigned compile_time_per_domain; /* seconds in a minute; 0: none */
	/* [device] */
	uint32_t type; /* cl_device_type */
	char name[128];
	uint64_t max_work_group_size, local_memory;
	uint64_t global_memory;	   /* 0: what the first tenant reports */
	char devices[CONFIG_LIST]; /* comma list of the tenants' own, each one that there is */
	/* [device NAME] */
	struct config_device device[CONFIG_DEVICES_MAX];
	unsigned ndevices;
	/* [scheduling], and [policy], its older form */
	char policy[32];
	char rules[256]; /* of "pinned" */
	char seed[24];	 /* of "random" */
	struct config_weight weights[CONFIG_WEIGHTS_MAX];
	unsigned nweights;
	struct config_user { /* who is named in the rules */
		char name[64];
		uint32_t uid;
	} users[CONFIG_USERS_MAX];
	unsigned nusers;
	/* [cache] */
	char cache_directory[4096]; /* "": the default */
	uint64_t cache_size;
	/* [variants] */
	char variants_directory[4096]; /* "": only Arax's own */
	/* [limits] */
	unsigned command_time; /* seconds that one command may run; 0: as long as it likes */
	/* [sandbox] */
	bool sandbox;
	unsigned sandbox_require; /* enum sandbox_wall: without these nobody is served */
	/* [compile] */
	unsigned compile_time_limit; /* seconds */
	unsigned compile_parallel;   /* 0: as many as there are CPUs */
	uint64_t compile_memory;     /* bytes of one build; 0: no limit */
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

/** config_device_name() - of one instance. */
void config_device_name(const struct config_device *device, unsigned instance, char name[32]);

/** config_device_options() - of the back end; the memory is one of them. */
void config_device_options(const struct config_device *device, char *options, size_t size);

/** config_all_devices() - the comma list of what a tenant may have: its own devices and all
 *  instances of those that are enabled. */
void config_all_devices(const struct config *config, char list[CONFIG_LIST]);

/** config_weight() - of an application: its user's and its program's together, 100 by default. */
uint32_t config_weight(const struct config *config, uint32_t uid, const char *program);

/** config_user() - the name under which the rules speak of a user; "" when they do not. */
const char *config_user(const struct config *config, uint32_t uid);

/** config_argument() - what a policy of this name is told; "" for most. */
const char *config_argument(const struct config *config, const char *policy);

/** config_policy_known() - is there a policy of this name? */
bool config_policy_known(const char *name);

/**
 * config_narrow() - the devices of a comma list that another allows
 * @allowed: full names
 * @wanted: full names, or what they begin with before '-' or a number ("cpu", "sim"); empty for
 *          all
 * @result: at least CONFIG_LIST bytes
 * Return: 0, -EINVAL when none is left.
 */
int config_narrow(const char *allowed, const char *wanted, char *result);

#endif
