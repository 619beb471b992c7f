/* SPDX-License-Identifier: Apache-2.0
 *
 * The scheduling simulator: the real placement policies (policy.h) and the real arbiter (lease.h)
 * on a described machine with a described load and a virtual clock. The same description and seed
 * give the same result to the nanosecond.
 *
 * What is modelled: kernels with a time per device and jitter; devices that execute some kernels
 * side by side and share their time between tenants by weight (start-time fair queueing, nothing is
 * interrupted); a link per device and direction with bandwidth and latency, one transfer at a time;
 * residency, write-back and eviction; devices and tenants that come and go; the time until a tenant
 * notices an end, until a lease reaches it, and its own time per command. Not modelled: chains that
 * are forwarded to a device before their predecessors end, transfers straight from device to
 * device.
 *
 * simulate_read.c reads descriptions, simulate_trace.c recorded loads, simulate_load.c makes
 * commands of them, simulate.c and simulate_device.c run, simulate_report.c says what came of it.
 */
#ifndef ARAX_SCHEDULER_SIMULATE_H
#define ARAX_SCHEDULER_SIMULATE_H

#include "scheduler/policy.h"

#include <stddef.h>
#include <stdio.h>

#define SIM_NAME 64
#define SIM_ERROR 512
#define SIM_KERNELS 256
#define SIM_TENANTS 256
#define SIM_CLASSES 16
#define SIM_TENANT_KERNELS 16
#define SIM_LAUNCHES 1000000u /* of one tenant at most */

/* ---- descriptions ---------------------------------------------------------------------------- */

struct sim_rate {
	char class[SIM_NAME];
	double rate;
};

struct sim_device_desc {
	char name[32];
	uint8_t alike; /* as policy_device.alike */
	bool discrete;
	unsigned parallel, slots; /* slots: kernels side by side, each at full rate */
	uint64_t memory;	  /* bytes; 0: no limit */
	double rate;		  /* of kernel classes that are not named */
	struct sim_rate rates[SIM_CLASSES];
	unsigned nrates;
	uint64_t launch_ns; /* added to every kernel */
	double bytes_per_ns;
	uint64_t latency_ns;
	uint64_t appears_ns, leaves_ns; /* 0: never leaves */
};

struct sim_machine {
	struct sim_device_desc devices[POLICY_DEVICES];
	unsigned ndevices;
	uint64_t notice_ns; /* until a tenant sees that a command has ended */
	uint64_t submit_ns; /* of a tenant's thread per command */
	uint64_t lease_ns;  /* until a change of leases has reached the tenants */
};

struct sim_kernel {
	char name[SIM_NAME], class[SIM_NAME];
	uint64_t time_ns; /* where the rate is 1 */
	uint64_t items;
	double jitter; /* times vary by so much of themselves, evenly to both sides */
};

enum sim_shape {
	SIM_INDEPENDENT, /* no order */
	SIM_CHAIN,	 /* width chains side by side */
	SIM_FORK_JOIN,	 /* width commands, then one that needs them all */
	SIM_ITERATIVE,	 /* width commands, each needs its and its neighbours' last results */
	SIM_RECORDED,
};

struct sim_recorded {
	unsigned kernel;
	uint64_t items, time_ns;
	uint64_t after_ns; /* the command before was submitted so long ago; or, */
	bool waited;	   /* everything before had ended so long ago */
	uint32_t deps[8], ndeps;
};

struct sim_tenant_desc {
	char name[SIM_NAME];
	unsigned weight;
	uint64_t arrives_ns, leaves_ns; /* leaves: submits nothing more from then on; 0: never */
	enum sim_shape shape;
	unsigned launches, width;
	unsigned inflight;  /* commands that it has submitted and not seen the end of, at most */
	uint64_t period_ns; /* it submits one command each; 0: as soon as it may */
	unsigned buffers;   /* independent: that it works on in turn; others: any for data at all */
	uint64_t bytes;	    /* of each */
	uint64_t halo;	    /* iterative: of what neighbours need */
	unsigned kernels[SIM_TENANT_KERNELS], nkernels;
	bool mix; /* kernels drawn by the seed, not in turn */
	struct sim_recorded *recorded;
};

struct sim_load {
	struct sim_kernel kernels[SIM_KERNELS];
	unsigned nkernels;
	struct sim_tenant_desc tenants[SIM_TENANTS];
	unsigned ntenants;
};

/** sim_machine_read(), sim_load_read() - Return: 0, or -errno with file, line and reason. */
int sim_machine_read(struct sim_machine *machine, const char *path, char error[SIM_ERROR]);
int sim_load_read(struct sim_load *load, const char *path, char error[SIM_ERROR]);

/** sim_load_trace() - what "arax trace" recorded; times are taken to be those of a device of that
 *  name of the machine, or of a rate of 1. Return: as above. */
int sim_load_trace(struct sim_load *load, const struct sim_machine *machine, const char *path,
		   char error[SIM_ERROR]);
void sim_load_free(struct sim_load *load);

/** sim_rate() - of a class of kernels on a device. */
double sim_rate(const struct sim_device_desc *device, const char *class);

/* ---- running --------------------------------------------------------------------------------- */

struct sim_options {
	const struct policy *policy; /* NULL: the default */
	const char *argument;	     /* of the policy; NULL: none */
	const char *leases;	     /* lease_mode()'s name; NULL: the policy's */
	uint64_t seed;
	const char *costs; /* learned times to begin with (policy_costs.h); NULL: none */
	size_t costs_size;
};

/* What was executed or moved. */
struct sim_span {
	uint64_t start, end;
	uint32_t command; /* number within its tenant; transfers: of the one that wanted it */
	uint16_t tenant, kernel;
	uint32_t device;
	uint32_t moved; /* 0: a kernel; 1: to the device; 2: from it */
	uint64_t bytes;
};

struct sim_tenant_result {
	unsigned commands;
	uint64_t first_ns, last_ns; /* submitted, ended */
	double work_ns;		    /* executed, as it would take where the rate is 1 */
	uint64_t p50_ns, p99_ns;    /* from its submission to its end */
	uint64_t fair_ns;	    /* newcomers: until it had its part; UINT64_MAX: never */
	bool newcomer;
	uint64_t run_ns, explored_ns; /* heterogeneous' account */
};

struct sim_result {
	uint64_t makespan_ns; /* from the first arrival to the last end */
	double ideal_ns;      /* all the work on all that was there, without a gap */
	double work_ns;
	double jain; /* of work by weight, while all had work; 0: they never all had */
	double busy[POLICY_DEVICES]; /* part of the time that it was there */
	uint64_t moved_bytes, evictions;
	uint64_t picks, waits;
	struct sim_tenant_result tenants[SIM_TENANTS];
	struct sim_span *spans;
	size_t nspans;
	char *costs; /* what was learned */
	size_t costs_size;
};

/** simulate() - Return: 0; -EINVAL with a reason: this load cannot run on this machine; -ENOMEM. */
int simulate(const struct sim_machine *machine, const struct sim_load *load,
	     const struct sim_options *options, struct sim_result *result, char error[SIM_ERROR]);
void sim_result_free(struct sim_result *result);

/** simulate_single() - the makespan on that device alone, which is there from the beginning. */
int simulate_single(const struct sim_machine *machine, const struct sim_load *load, unsigned device,
		    uint64_t seed, uint64_t *makespan_ns, char error[SIM_ERROR]);

/* ---- saying ---------------------------------------------------------------------------------- */

struct json_t;

/** sim_report() - for people; single_ns: on the best single device, 0: not known. */
void sim_report(FILE *out, const struct sim_machine *machine, const struct sim_load *load,
		const struct sim_result *result, uint64_t single_ns);
struct json_t *sim_report_json(const struct sim_machine *machine, const struct sim_load *load,
			       const struct sim_result *result, uint64_t single_ns);

/** sim_timeline() - as "arax trace" writes it, for plot.c and Perfetto. */
struct json_t *sim_timeline(const struct sim_machine *machine, const struct sim_load *load,
			    const struct sim_result *result);

#endif
