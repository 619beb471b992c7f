/* SPDX-License-Identifier: Apache-2.0
 *
 * The control groups (version 2) that tenants run in: their client's, so that what a container, a
 * session or Slurm limits holds for kernels, too; where that is not permitted, one of araxd's own
 * for each trust domain, if it has been given a part of the tree to have them in.
 */
#ifndef ARAX_SCHEDULER_ARAXD_CGROUP_H
#define ARAX_SCHEDULER_ARAXD_CGROUP_H

#include "scheduler/araxd_domain.h"
#include "scheduler/config.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum cgroup_where {
	CGROUP_ARAXD, /* nowhere else than araxd itself */
	CGROUP_CLIENT,
	CGROUP_OWN,
};

/* A tenant's; zero at first. */
struct cgroup_seat {
	_Atomic unsigned moving; /* its process must not be waited for: its number is in use */
	_Atomic unsigned where;	 /* enum cgroup_where */
	_Atomic int error;	 /* why not the client's; -errno */
};

struct cgroups;

/**
 * cgroups_new() - look at what there is
 * @tree, @self: where cgroup2 is mounted, and araxd's path in it; NULL: to be found
 *
 * Without cgroup2 tenants stay where araxd is, and cgroups_state() says why.
 *
 * Return: 0 or -errno.
 */
int cgroups_new(const char *tree, const char *self, struct cgroups **cgroups);

/** cgroups_free() - waits for moves that are under way. */
void cgroups_free(struct cgroups *cgroups);

/**
 * cgroup_enter() - move a tenant to where it belongs
 * @client, @process: whose cgroup it is, and a descriptor of it: the number alone decides nothing
 * @memory: bytes that the domain may have in araxd's own cgroup; 0: no limit
 *
 * A move takes some 10 ms in the kernel, so a thread makes it; the seat says when it has ended.
 */
void cgroup_enter(struct cgroups *cgroups, enum config_cgroup use, struct cgroup_seat *seat,
		  pid_t tenant, pid_t client, int process, const struct domain_id *id,
		  uint64_t memory);

/** cgroup_gone() - a domain has no tenant any more. */
void cgroup_gone(struct cgroups *cgroups, const struct domain_id *id);

/** cgroup_shares() - is the processor shared between domains by cgroups, with this tenant? */
bool cgroup_shares(const struct cgroups *cgroups, const struct cgroup_seat *seat);

/** cgroups_state() - for people: which controllers there are, or why there are none. */
const char *cgroups_state(const struct cgroups *cgroups);

/** cgroup_where() - where a tenant is. */
enum cgroup_where cgroup_where(const struct cgroup_seat *seat);

/** cgroup_name() - for people. */
const char *cgroup_name(enum cgroup_where where);
/** cgroup_error() - why it is not with its client: an error's number, 0. */
int cgroup_error(const struct cgroup_seat *seat);

#endif
