/* SPDX-License-Identifier: Apache-2.0
 *
 * On which processors a tenant runs, and how urgently: as its client does, and so that trust
 * domains have equal parts; and for how long one command may run.
 */
#include "scheduler/pool.h"

#include "transport/wake.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* For every thread of a tenant; a process that we have not waited for keeps its number. */
static void tenant_threads(const struct tenant *tenant, const cpu_set_t *cpus, const int *nice)
{
	char path[64];

	if (tenant->child.foreign && !domain_alive(tenant->child.process.fd))
		return;
	snprintf(path, sizeof(path), "/proc/%d/task", tenant->pid);
	DIR *threads = opendir(path);
	if (!threads)
		return;
	for (const struct dirent *e; (e = readdir(threads));) {
		int thread = atoi(e->d_name);

		if (thread <= 0)
			continue;
		if (cpus && sched_setaffinity(thread, sizeof(*cpus), cpus) < 0)
			araxd_warn("affinity of tenant %d: %s", tenant->pid, strerror(errno));
		if (nice && setpriority(PRIO_PROCESS, (id_t)thread, *nice) < 0)
			araxd_warn("niceness of tenant %d: %s", tenant->pid, strerror(errno));
	}
	closedir(threads);
}

/* Where and how urgently the client runs is where and how its kernels run. */
void cpu_adopt(struct tenant *tenant, const struct client *client)
{
	cpu_set_t cpus;
	bool has_cpus = sched_getaffinity(client->pid, sizeof(cpus), &cpus) == 0;

	errno = 0;
	int nice = getpriority(PRIO_PROCESS, (id_t)client->pid);
	bool has_nice = errno == 0 && nice > getpriority(PRIO_PROCESS, 0);

	/* A number without a process could be somebody else's. */
	if (client->pid <= 0 || !domain_alive(client->process.fd))
		return;
	tenant->nice = has_nice ? nice : getpriority(PRIO_PROCESS, 0);
	tenant_threads(tenant, has_cpus ? &cpus : NULL, has_nice ? &nice : NULL);
}

/* By how much nicer each of so many must be to have together the share of one: a step of niceness
 * is a factor of 1.25. */
static int share_nicer(unsigned count)
{
	int steps = 0;

	for (double share = 1.25; share <= count * 1.06; share *= 1.25)
		steps++;
	return steps;
}

/* Where the kernel schedules by sessions, their niceness is what counts, not the threads'. */
static void tenant_session_nice(const struct tenant *tenant, int nice)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/autogroup", tenant->pid);
	file = fopen(path, "we");
	if (!file)
		return;
	if (fprintf(file, "%d", nice) < 0 || fflush(file))
		araxd_info("session of tenant %d: %s", tenant->pid, strerror(errno));
	fclose(file);
}

/* Domains share the processors equally, however many tenants each of them has. Where cgroups are
 * not ours to make niceness does it; to take it back needs a privilege, so only root's araxd. */
void cpu_share(struct araxd *daemon)
{
	if (!daemon->config.fair_cpu || geteuid() != 0)
		return;
	unsigned all = pool_count(daemon->pool).attached;
	for (struct tenant *t = pool_list(daemon->pool); t; t = t->next) {
		if (t->state != TENANT_ATTACHED)
			continue;
		unsigned own = pool_count_of(daemon->pool, &t->id, true);
		int nicer = own == all ? 0 : share_nicer(own);

		/* Its domain's cgroup has its share, whoever is in it. */
		if (cgroup_shares(daemon->cgroups, &t->cgroup))
			nicer = 0;

		if (nicer == t->nicer)
			continue;
		t->nicer = nicer;
		int nice = t->nice + nicer < 19 ? t->nice + nicer : 19;
		tenant_threads(t, NULL, &nice);
		tenant_session_nice(t, nice);
	}
}

void cpu_watch(struct araxd *daemon)
{
	unsigned limit = daemon->config.command_time;
	uint64_t now = arax_now_ns();

	for (struct tenant *t = pool_list(daemon->pool); t; t = t->next) {
		for (unsigned i = 0; t->stats && !t->refused[0] && i < ARAX_STATS_DEVICES; i++) {
			uint64_t running =
			    atomic_load_explicit(&t->stats->running[i], memory_order_relaxed);

			if (!running || running != t->running[i]) {
				t->running[i] = running;
				t->since_ns[i] = now;
			} else if (now - t->since_ns[i] > limit * 1000000000ull) {
				snprintf(t->refused, sizeof(t->refused),
					 "was ended: a command ran for more than %u s", limit);
				child_kill(&t->child);
			}
		}
	}
}
