/* SPDX-License-Identifier: Apache-2.0
 *
 * The tenants: those that are ready for a client, those that serve one.
 */
#ifndef ARAX_SCHEDULER_POOL_H
#define ARAX_SCHEDULER_POOL_H

#include "scheduler/araxd.h"
#include "scheduler/araxd_cgroup.h"
#include "scheduler/araxd_child.h"
#include "scheduler/araxd_process.h"
#include "scheduler/araxd_sandbox.h"
#include "scheduler/araxd_trace.h"
#include "scheduler/lease.h"

enum tenant_state {
	TENANT_STARTING,
	TENANT_READY,
	TENANT_ATTACHED,
	TENANT_SURPLUS, /* on its way out, because nobody needs it any more */
};

struct tenant {
	struct child child;
	struct pool *pool;
	enum tenant_state state;
	struct client *client; /* NULL when it has gone */
	char *work;	       /* its own scratch directory */
	uint64_t key;	       /* in the journal */
	struct process_id process, client_process;
	char adopt[ADOPT_NAME]; /* where it listens for another araxd; "" */
	bool adopting;		/* an earlier araxd's, which has not answered yet */
	uint64_t spawn;		/* what the zygote was asked for and has not answered; 0 */
	const struct arax_stats *stats;
	const struct arax_shm *shm; /* what the client counts itself; the first page only */
	struct cgroup_seat cgroup;
	int nice, nicer; /* its client's, and what it has beyond that for a fair share */
	struct trace_memory trace;
	uint64_t attached_ns;
	pid_t pid, client_pid; /* stay known after the process has ended */
	struct domain_id id;
	uint64_t arena_size;
	char devices[128], policy[32], program[64];
	char refused[128];		      /* why it was ended by us; "" */
	uint64_t running[ARAX_STATS_DEVICES]; /* what the watchdog saw last, and since when */
	uint64_t since_ns[ARAX_STATS_DEVICES];
	unsigned lines;	 /* that it has sent for the log */
	bool own_policy; /* its client asked for it */
	/* Devices that have processes of their own (araxd_device.h). */
	int arena_fd;
	struct link *links;
	unsigned next_index;
	bool full;		   /* no index is left */
	struct arax_costs *costs;  /* what it knows about kernels; NULL */
	struct lease_tenant lease; /* the arbiter's */
	uint64_t claims_ns;	   /* since when it says that it works, and nothing shows it */
	struct tenant *next;
};

struct link;

struct pool_count {
	unsigned starting, ready, attached;
	unsigned extra; /* how many more than configured are kept ready at the moment */
};

int pool_new(struct araxd *daemon, struct pool **pool);

/** pool_free() - ends what serves nobody; tenants with a client go on by themselves. */
void pool_free(struct pool *pool);

/** pool_waited() - a client did not find a tenant ready: keep more of them for a while. */
void pool_waited(struct pool *pool);

/** pool_fill() - start what is missing. Call when the demand may have changed. */
void pool_fill(struct pool *pool);

/** pool_info() - what the virtual device is, NULL until the first tenant was ready. */
const struct arax_device_info *pool_info(const struct pool *pool);

/** pool_describe() - what does not come from a tenant has changed: tell the clients to come. */
void pool_describe(struct pool *pool);
int pool_info_fd(const struct pool *pool);

/**
 * pool_attach() - give a client a tenant
 * @former: the arena of a tenant that has died, to be taken over; -1 for a new one
 * @arena, @link: for the client, to be closed by the caller
 * Return: 0, -EAGAIN when none is ready, another -errno.
 */
int pool_attach(struct pool *pool, struct client *client, const struct arax_control_start *start,
		const char *program, int former, int *arena, int *link);

/** pool_end() - end a tenant whose client stays. */
void pool_end(struct tenant *tenant);

/** pool_release() - the client has gone, and so its tenant must. */
void pool_release(struct tenant *tenant);

/** pool_new_tenant() - of an earlier araxd, to be filled by the caller; NULL without memory. */
struct tenant *pool_new_tenant(struct pool *pool);

/** pool_cgroup() - it goes where its client is, with that one's limits, or with those of its
 * domain. */
void pool_cgroup(struct tenant *tenant, const struct client *client);

/** pool_lost() - one that is not there any more, or never will be. */
void pool_lost(struct tenant *tenant);

/** pool_taken() - what there was of an earlier araxd has been added. */
void pool_taken(struct pool *pool);

/** pool_memory_check() - is that memory like araxd itself makes for a tenant, of this size? Who
 *  sent it can have made it himself. Return: 0 or -errno. */
int pool_memory_check(int fd, uint64_t size);

/** pool_map_counts() - what the tenant (statistics) and its client (in the arena) count; readable
 *  for as long as the tenant is known. Return: 0 or -errno. */
int pool_map_counts(struct tenant *tenant, int stats, int arena);

struct pool_count pool_count(const struct pool *pool);

/** pool_count_of() - tenants that a user has, or (domain) that user in that container. */
unsigned pool_count_of(const struct pool *pool, const struct domain_id *id, bool domain);

/** pool_memory_of() - bytes that the arenas of a domain's tenants can come to. */
uint64_t pool_memory_of(const struct pool *pool, const struct domain_id *id);
const struct tenant *pool_tenants(const struct pool *pool);
struct tenant *pool_list(struct pool *pool);

/** pool_configure() - the configuration has changed. */
void pool_configure(struct pool *pool);

/** cpu_adopt() - a tenant runs where and how its client does. */
void cpu_adopt(struct tenant *tenant, const struct client *client);

/** cpu_share() - the tenants that there are have changed. */
void cpu_share(struct araxd *daemon);

/** cpu_watch() - end tenants in which one command has run for longer than it may. */
void cpu_watch(struct araxd *daemon);

/** pool_zygote() - its pid, 0 when it does not run. */
pid_t pool_zygote(const struct pool *pool);

/** pool_sandbox() - how tenants are sandboxed, as the latest said. */
const struct sandbox_state *pool_sandbox(const struct pool *pool);

/** pool_error() - why tenants do not start; "" when they do. */
const char *pool_error(const struct pool *pool);

/** pool_broken() - have tenants failed so often that nobody should wait for one now? */
bool pool_broken(const struct pool *pool);

#endif
