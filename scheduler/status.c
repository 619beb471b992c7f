/* SPDX-License-Identifier: Apache-2.0
 *
 * Status as JSON. Statistics come from a page that the tenant writes, and what the client executes
 * itself from one that the client writes; hostile ones write what they like: every count is
 * bounded, every name made printable, and nothing is decided by them.
 */
#include "scheduler/status.h"

#include "scheduler/araxd_build.h"
#include "scheduler/araxd_device.h"
#include "scheduler/pool.h"
#include "scheduler/status_internal.h"
#include "transport/shm.h"
#include "transport/wake.h"

#include <ctype.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HISTORY_CLIENTS 16
#define HISTORY_KERNELS 256
#define COUNT_MAX (1ull << 53) /* what JSON readers can hold */

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
	const char *cgroup, *cgroup_error;
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
	struct finished finished[HISTORY_CLIENTS];
	unsigned nkernels;
	struct kernel_total kernels[HISTORY_KERNELS];
	uint64_t commands, launches, bytes, errors;
};

struct history *history_new(void)
{
	return calloc(1, sizeof(struct history));
}

void history_free(struct history *history)
{
	free(history);
}

static uint64_t bounded(const _Atomic uint64_t *value)
{
	uint64_t now = atomic_load_explicit(value, memory_order_relaxed);

	return now < COUNT_MAX ? now : COUNT_MAX;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
	return a + b < COUNT_MAX ? a + b : COUNT_MAX;
}

void status_printable(char *to, const char *from, size_t size)
{
	size_t i;

	for (i = 0; i + 1 < size && from[i]; i++)
		to[i] = isprint((unsigned char)from[i]) ? from[i] : '?';
	to[i] = '\0';
}

static void snapshot_device(struct snapshot_device *to, const struct arax_stats_device *stats)
{
	status_printable(to->name, stats->name, sizeof(to->name));
	to->commands = bounded(&stats->commands);
	to->busy_ns = bounded(&stats->busy_ns);
	to->bytes_in = bounded(&stats->bytes_in);
	to->bytes_out = bounded(&stats->bytes_out);
	to->resident = bounded(&stats->resident);
	to->queued = atomic_load_explicit(&stats->queued, memory_order_relaxed);
}

/* What the device itself has counted is better than what the tenant says. */
static void snapshot_link(struct snapshot *to, const struct link *link)
{
	const struct arax_link_usage *usage = link_usage(link);
	struct snapshot_device *device = &to->devices[link->index];

	if (link->index >= to->ndevices)
		to->ndevices = link->index + 1;
	snprintf(device->name, sizeof(device->name), "%s", link->device->name);
	device->lease = link->told;
	if (!usage)
		return;
	device->commands = bounded(&usage->commands);
	device->busy_ns = bounded(&usage->busy_ns);
	device->bytes_in = bounded(&usage->bytes_in);
	device->bytes_out = bounded(&usage->bytes_out);
	device->resident = bounded(&usage->memory);
	device->queued = atomic_load_explicit(&usage->waiting, memory_order_relaxed);
}

static void snapshot_take(struct snapshot *to, const struct tenant *tenant)
{
	const struct arax_stats *stats = tenant->stats;
	const struct arax_shm *shm = tenant->shm;

	memset(to, 0, sizeof(*to));
	if (!stats || !shm)
		return;
	unsigned ndevices = atomic_load_explicit(&stats->ndevices, memory_order_acquire);
	unsigned nkernels = atomic_load_explicit(&stats->nkernels, memory_order_acquire);

	to->commands = sum(bounded(&stats->commands), bounded(&shm->client_commands));
	to->kernels = bounded(&stats->kernels);
	to->bytes = sum(bounded(&stats->bytes), bounded(&shm->client_bytes));
	to->errors = bounded(&stats->errors);
	to->programs = bounded(&stats->programs);
	to->depth = bounded(&stats->depth);
	to->memory = bounded(&shm->client_memory);
	to->ndevices = ndevices < ARAX_STATS_DEVICES ? ndevices : ARAX_STATS_DEVICES;
	to->nkernels = nkernels < ARAX_STATS_KERNELS ? nkernels : ARAX_STATS_KERNELS;
	for (unsigned i = 0; i < to->ndevices; i++)
		snapshot_device(&to->devices[i], &stats->devices[i]);
	for (const struct link *l = tenant->links; l; l = l->next_of_tenant)
		snapshot_link(to, l);
	for (unsigned k = 0; k < to->nkernels; k++) {
		status_printable(to->kernel[k].name, stats->kernel[k].name,
				 sizeof(to->kernel[k].name));
		for (unsigned i = 0; i < to->ndevices; i++) {
			to->kernel[k].launches[i] = bounded(&stats->kernel[k].launches[i]);
			to->kernel[k].busy_ns[i] = bounded(&stats->kernel[k].busy_ns[i]);
		}
	}
}

static void history_add_kernel(struct history *history, uid_t uid, const char *name,
			       const char *device, uint64_t launches, uint64_t busy_ns)
{
	struct kernel_total *total = history->kernels;

	for (unsigned i = 0; i < history->nkernels; i++, total++)
		if (total->uid == uid && strcmp(total->name, name) == 0 &&
		    strcmp(total->device, device) == 0)
			break;
	if (total == history->kernels + history->nkernels) {
		if (history->nkernels == HISTORY_KERNELS)
			return;
		history->nkernels++;
		snprintf(total->name, sizeof(total->name), "%s", name);
		snprintf(total->device, sizeof(total->device), "%s", device);
		total->uid = uid;
	}
	total->launches = sum(total->launches, launches);
	total->busy_ns = sum(total->busy_ns, busy_ns);
}

void history_add(struct history *history, const struct tenant *tenant)
{
	struct finished *record = &history->finished[history->count++ % HISTORY_CLIENTS];
	const struct snapshot *stats = &record->stats;

	*record = (struct finished){.pid = tenant->client_pid,
				    .tenant_pid = tenant->pid,
				    .uid = tenant->id.uid,
				    .cgroup = cgroup_name(&tenant->cgroup),
				    .cgroup_error = cgroup_error(&tenant->cgroup),
				    .ended_ns = arax_now_ns()};
	record->duration_ns = record->ended_ns - tenant->attached_ns;
	status_printable(record->program, tenant->program, sizeof(record->program));
	status_printable(record->policy, tenant->policy, sizeof(record->policy));
	snapshot_take(&record->stats, tenant);
	record->stats.memory = record->stats.depth = 0; /* nothing of it is there any more */

	history->commands = sum(history->commands, stats->commands);
	history->launches = sum(history->launches, stats->kernels);
	history->bytes = sum(history->bytes, stats->bytes);
	history->errors = sum(history->errors, stats->errors);
	for (unsigned k = 0; k < stats->nkernels; k++)
		for (unsigned i = 0; i < stats->ndevices; i++)
			if (stats->kernel[k].launches[i])
				history_add_kernel(history, tenant->id.uid, stats->kernel[k].name,
						   stats->devices[i].name,
						   stats->kernel[k].launches[i],
						   stats->kernel[k].busy_ns[i]);
}

json_t *status_number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

json_t *status_ms(uint64_t ns)
{
	return json_real((double)ns / 1e6);
}

static json_t *status_devices(const struct snapshot *stats)
{
	json_t *devices = json_array();

	for (unsigned i = 0; i < stats->ndevices; i++) {
		const struct snapshot_device *d = &stats->devices[i];

		/* One that was never there, or is no more. */
		if (!d->name[0])
			continue;
		json_array_append_new(
		    devices,
		    json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:i}", "name", d->name,
			      "commands", status_number(d->commands), "busy_ms",
			      status_ms(d->busy_ns), "bytes_in", status_number(d->bytes_in),
			      "bytes_out", status_number(d->bytes_out), "resident",
			      status_number(d->resident), "queued", status_number(d->queued),
			      "share", (int)d->lease.share, "depth", (int)d->lease.depth));
	}
	return devices;
}

static json_t *status_kernel(const char *name, const char *device, uint64_t launches,
			     uint64_t busy_ns)
{
	return json_pack("{s:s, s:s, s:o, s:o}", "name", name, "device", device, "launches",
			 status_number(launches), "busy_ms", status_ms(busy_ns));
}

static json_t *status_kernels(const struct snapshot *stats)
{
	json_t *kernels = json_array();

	for (unsigned k = 0; k < stats->nkernels; k++)
		for (unsigned i = 0; i < stats->ndevices; i++)
			if (stats->kernel[k].launches[i])
				json_array_append_new(kernels,
						      status_kernel(stats->kernel[k].name,
								    stats->devices[i].name,
								    stats->kernel[k].launches[i],
								    stats->kernel[k].busy_ns[i]));
	return kernels;
}

static json_t *status_client(const struct finished *c)
{
	return json_pack(
	    "{s:i, s:i, s:s, s:i, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
	    "pid", (int)c->pid, "uid", (int)c->uid, "program", c->program, "tenant_pid",
	    (int)c->tenant_pid, "policy", c->policy, "cgroup", c->cgroup, "cgroup_error",
	    c->cgroup_error, "duration_ms", status_ms(c->duration_ns), "commands",
	    status_number(c->stats.commands), "kernels", status_number(c->stats.kernels), "bytes",
	    status_number(c->stats.bytes), "errors", status_number(c->stats.errors), "programs",
	    status_number(c->stats.programs), "memory", status_number(c->stats.memory), "depth",
	    status_number(c->stats.depth), "devices", status_devices(&c->stats), "kernel_times",
	    status_kernels(&c->stats));
}

bool status_visible(uid_t viewer, uid_t uid)
{
	return viewer == 0 || viewer == geteuid() || viewer == uid;
}

static json_t *status_running(const struct araxd *daemon, uid_t viewer)
{
	json_t *clients = json_array();

	for (const struct tenant *t = pool_tenants(daemon->pool); t; t = t->next) {
		struct finished now = {.pid = t->client_pid,
				       .tenant_pid = t->pid,
				       .uid = t->id.uid,
				       .cgroup = cgroup_name(&t->cgroup),
				       .cgroup_error = cgroup_error(&t->cgroup)};

		if (t->state != TENANT_ATTACHED || !status_visible(viewer, t->id.uid))
			continue;
		now.duration_ns = arax_now_ns() - t->attached_ns;
		status_printable(now.program, t->program, sizeof(now.program));
		status_printable(now.policy, t->policy, sizeof(now.policy));
		snapshot_take(&now.stats, t);
		json_array_append_new(clients, status_client(&now));
	}
	return clients;
}

/* The latest first. */
static json_t *status_finished(const struct history *history, uid_t viewer)
{
	json_t *clients = json_array();

	for (unsigned i = 0; i < HISTORY_CLIENTS && i < history->count; i++) {
		const struct finished *c =
		    &history->finished[(history->count - 1 - i) % HISTORY_CLIENTS];

		if (status_visible(viewer, c->uid))
			json_array_append_new(clients, status_client(c));
	}
	return clients;
}

static json_t *status_totals(const struct history *history, uid_t viewer)
{
	json_t *kernels = json_array();

	for (unsigned i = 0; i < history->nkernels; i++) {
		const struct kernel_total *k = &history->kernels[i];

		if (status_visible(viewer, k->uid))
			json_array_append_new(
			    kernels, status_kernel(k->name, k->device, k->launches, k->busy_ns));
	}
	return json_pack("{s:i, s:o, s:o, s:o, s:o, s:o}", "clients", (int)history->count,
			 "commands", status_number(history->commands), "kernels",
			 status_number(history->launches), "bytes", status_number(history->bytes),
			 "errors", status_number(history->errors), "kernel_times", kernels);
}

json_t *status_sandbox(const struct sandbox_state *state)
{
	char walls[128];

	if (!state->known)
		return json_null();
	sandbox_format(state->walls, walls, sizeof(walls));
	return json_pack("{s:s, s:b, s:s}", "walls", walls, "complete",
			 (int)(state->walls == state->whole), "missing", state->missing);
}

static json_t *status_pool(const struct araxd *daemon)
{
	struct pool_count count = pool_count(daemon->pool);

	return json_pack(
	    "{s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:s, s:s, s:o}", "configured",
	    (int)daemon->config.pool, "extra", (int)count.extra, "starting", (int)count.starting,
	    "ready", (int)count.ready, "attached", (int)count.attached, "zygote",
	    (int)pool_zygote(daemon->pool), "resting", (int)pool_broken(daemon->pool), "error",
	    pool_error(daemon->pool), "cgroups",
	    daemon->config.cgroup == CONFIG_CGROUP_NONE ? "not used, by configuration"
							: cgroups_state(daemon->cgroups),
	    "sandbox", status_sandbox(pool_sandbox(daemon->pool)));
}

static json_t *status_compiler(const struct araxd *daemon)
{
	struct builder_state state = builder_state(daemon->builder);
	const char *word = state.ready ? "ready" : state.running ? "starting" : "not running";

	return json_pack("{s:s, s:i, s:i, s:i, s:o, s:o, s:o, s:s, s:o}", "state", word, "pid",
			 (int)state.pid, "waiting", (int)state.waiting, "compiling",
			 (int)state.compiling, "cache_hits", status_number(state.hits),
			 "cache_misses", status_number(state.misses), "failed_builds",
			 status_number(state.failures), "error", state.error, "sandbox",
			 status_sandbox(state.sandbox));
}

char *status_dump(json_t *root)
{
	char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;

	json_decref(root);
	return text;
}

char *status_json(const struct araxd *daemon, uid_t viewer)
{
	return status_dump(json_pack(
	    "{s:{s:i, s:s, s:s, s:s, s:o, s:b, s:b, s:i}, s:o, s:o, s:o, s:o, s:o}", "daemon",
	    "pid", (int)getpid(), "version", ARAX_VERSION, "socket", daemon->socket_path, "policy",
	    daemon->config.policy, "uptime_ms", status_ms(arax_now_ns() - daemon->started_ns),
	    "system", (int)daemon->system, "stopping", (int)daemon->stopping, "connections",
	    (int)daemon->nclients, "pool", status_pool(daemon), "compiler", status_compiler(daemon),
	    "clients", status_running(daemon, viewer), "finished",
	    status_finished(daemon->history, viewer), "totals",
	    status_totals(daemon->history, viewer)));
}
