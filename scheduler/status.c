/* SPDX-License-Identifier: Apache-2.0
 *
 * Status as JSON: the daemon, and what applications did (history.c).
 */
#include "scheduler/status.h"

#include "scheduler/araxd_build.h"
#include "scheduler/history.h"
#include "scheduler/status_internal.h"
#include "transport/wake.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void status_printable(char *to, const char *from, size_t size)
{
	size_t i;

	for (i = 0; i + 1 < size && from[i]; i++)
		to[i] = isprint((unsigned char)from[i]) ? from[i] : '?';
	to[i] = '\0';
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
	    (int)c->tenant_pid, "policy", c->policy, "cgroup", cgroup_name(c->cgroup),
	    "cgroup_error", c->cgroup_error ? strerrordesc_np(c->cgroup_error) ?: "?" : "",
	    "duration_ms", status_ms(c->duration_ns), "commands", status_number(c->stats.commands),
	    "kernels", status_number(c->stats.kernels), "bytes", status_number(c->stats.bytes),
	    "errors", status_number(c->stats.errors), "programs", status_number(c->stats.programs),
	    "memory", status_number(c->stats.memory), "depth", status_number(c->stats.depth),
	    "devices", status_devices(&c->stats), "kernel_times", status_kernels(&c->stats));
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
				       .cgroup = cgroup_where(&t->cgroup),
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

	for (unsigned i = 0; i < HISTORY_CLIENTS && i < history->kept; i++) {
		const struct finished *c =
		    &history->finished[(history->kept - 1 - i) % HISTORY_CLIENTS];

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
