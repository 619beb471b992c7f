/* SPDX-License-Identifier: Apache-2.0
 *
 * What applications did: those that have finished one by one, for a while, and the sum of all.
 */
#ifndef ARAX_SCHEDULER_HISTORY_H
#define ARAX_SCHEDULER_HISTORY_H

#include "scheduler/pool.h"
#include "scheduler/status.h"

#define HISTORY_CLIENTS 16
#define HISTORY_KERNELS 256

/* What a tenant's page said at one time, bounded. */
struct snapshot_kernel {
	char name[48];
	uint64_t launches[ARAX_STATS_DEVICES], busy_ns[ARAX_STATS_DEVICES];
};
struct snapshot {
	uint64_t commands, kernels, bytes, errors, programs, depth, memory;
	unsigned ndevices, nkernels;
	struct snapshot_device {
		char name[32];
		uint64_t commands, busy_ns, bytes_in, bytes_out, resident, queued;
		struct lease lease; /* of those that araxd lends; else zero */
	} devices[ARAX_STATS_DEVICES];
	struct snapshot_kernel kernel[ARAX_STATS_KERNELS];
};

struct finished {
	pid_t pid, tenant_pid;
	uid_t uid;
	char program[64], policy[32];
	uint32_t cgroup;      /* enum cgroup_where */
	int32_t cgroup_error; /* why it was not its client's: a number of errno's, or 0 */
	uint64_t duration_ns, ended_ns;
	struct snapshot stats;
};

/* One kernel on one device over all clients that have finished. */
struct kernel_total {
	char name[48], device[32];
	uid_t uid;
	uint64_t launches, busy_ns;
};

struct history {
	unsigned count; /* all that ever finished */
	unsigned kept;	/* of them, whether there is still room for them or not */
	struct finished finished[HISTORY_CLIENTS];
	unsigned nkernels;
	struct kernel_total kernels[HISTORY_KERNELS];
	uint64_t commands, launches, bytes, errors;
};

/** snapshot_take() - what a tenant has done until now. */
void snapshot_take(struct snapshot *to, const struct tenant *tenant);

struct journal;

/** history_write() - all of it, for a journal that is begun. */
void history_write(const struct history *history, struct journal *journal);

/** history_finished(), history_totals() - what a journal says (RECORD_FINISHED, RECORD_TOTALS), in
 *  the order in which it was written. Return: false when that makes no sense. */
bool history_finished(struct history *history, const void *data, size_t size, uint64_t *key);
bool history_totals(struct history *history, const void *data, size_t size);

#endif
