/* SPDX-License-Identifier: Apache-2.0
 *
 * The devices as JSON: the one that applications see, the tenants' own, and those that have
 * processes of their own, with what these processes have counted.
 */
#include "scheduler/status.h"

#include "scheduler/araxd_build.h"
#include "scheduler/araxd_device.h"
#include "scheduler/status_internal.h"

#include <jansson.h>
#include <stdio.h>

static json_t *status_device(const struct araxd *daemon, const char *name, const char *what)
{
	const char *error = pool_error(daemon->pool);
	char allowed[128], state[320];

	if (config_narrow(daemon->config.devices, name, allowed) < 0)
		snprintf(state, sizeof(state), "not allowed by the configuration");
	else if (pool_info(daemon->pool))
		snprintf(state, sizeof(state), "ready");
	else if (*error)
		snprintf(state, sizeof(state), "failed: %s", error);
	else
		snprintf(state, sizeof(state), "starting");
	return json_pack("{s:s, s:s, s:s}", "name", name, "what", what, "state", state);
}

static json_t *status_virtual(const struct arax_device_info *info)
{
	if (!info)
		return json_null();
	return json_pack("{s:s, s:i, s:i, s:o, s:o, s:o, s:s}", "name", info->name, "type",
			 (int)info->type, "compute_units", (int)info->compute_units,
			 "global_memory", status_number(info->global_mem_size), "local_memory",
			 status_number(info->local_mem_size), "max_work_group_size",
			 status_number(info->max_group_size), "compiler", info->compiler);
}

/* What the links of a device come to together. */
struct load {
	unsigned tenants;
	uint64_t commands, busy_ns, memory, waiting, in_flight;
};

static struct load load_of(const struct seat *seat)
{
	struct load load = {0};

	for (const struct link *l = seat->links; l; l = l->next) {
		const struct arax_link_usage *usage = link_usage(l);

		load.tenants += l->state == LINK_UP || l->state == LINK_DRAINING;
		if (!usage)
			continue;
		load.commands += atomic_load_explicit(&usage->commands, memory_order_relaxed);
		load.busy_ns += atomic_load_explicit(&usage->busy_ns, memory_order_relaxed);
		load.memory += atomic_load_explicit(&usage->memory, memory_order_relaxed);
		load.waiting += atomic_load_explicit(&usage->waiting, memory_order_relaxed);
		load.in_flight += atomic_load_explicit(&usage->in_flight, memory_order_relaxed);
	}
	return load;
}

static json_t *status_seat(const struct seat *seat, const struct load *load)
{
	static const char *const states[] = {[SEAT_EMPTY] = "not running",
					     [SEAT_STARTING] = "starting",
					     [SEAT_READY] = "ready",
					     [SEAT_ENDING] = "ending"};
	bool runs = seat->state != SEAT_EMPTY;

	return json_pack("{s:i, s:i, s:s, s:i, s:o, s:o, s:o, s:o, s:o}", "pid",
			 runs ? (int)seat->pid : 0, "uid", (int)seat->domain.uid, "state",
			 states[seat->state], "tenants", (int)load->tenants, "commands",
			 status_number(load->commands), "busy_ms", status_ms(load->busy_ns),
			 "memory_used", status_number(load->memory), "waiting",
			 status_number(load->waiting), "in_flight", status_number(load->in_flight));
}

/* Processes of those whose applications the viewer may see. */
static json_t *status_own_process(const struct device *device, uid_t viewer)
{
	bool sim = device->config.backend == CONFIG_BACKEND_SIM;
	char state[320], what[192];
	struct load sum = {0};
	json_t *processes = json_array();
	pid_t pid = 0;

	for (const struct seat *s = device->seats; s; s = s->next) {
		struct load load = load_of(s);

		sum.tenants += load.tenants;
		sum.memory += load.memory;
		sum.waiting += load.waiting;
		sum.in_flight += load.in_flight;
		if (!status_visible(viewer, s->domain.uid))
			continue;
		pid = pid ? pid : s->state == SEAT_EMPTY ? 0 : s->pid;
		json_array_append_new(processes, status_seat(s, &load));
	}
	device_state(device, state, sizeof(state));
	if (sim)
		snprintf(what, sizeof(what), "SIMULATED accelerator%s",
			 device->config.shared ? "" : ", one for each application");
	else
		snprintf(what, sizeof(what), "%s, one process for each application",
			 device->config.library);
	return json_pack(
	    "{s:s, s:s, s:s, s:s, s:b, s:b, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "name",
	    device->name, "what", what, "state", state, "backend", sim ? "sim" : "opencl",
	    "simulated", (int)(sim || device->caps.features & ARAX_FEATURE_SIMULATED), "shared",
	    (int)device->config.shared, "pid", (int)pid, "tenants", (int)sum.tenants, "memory",
	    status_number(device->known ? device->caps.memory : device->config.memory),
	    "memory_used", status_number(sum.memory), "waiting", status_number(sum.waiting),
	    "in_flight", status_number(sum.in_flight), "sandbox", status_sandbox(&device->sandbox),
	    "processes", processes);
}

char *status_devices_json(const struct araxd *daemon, uid_t viewer)
{
	struct builder_state builder = builder_state(daemon->builder);
	json_t *devices = json_array();
	char compiler[320];

	snprintf(compiler, sizeof(compiler), "%s%s",
		 builder.error[0] ? "failed: "
		 : builder.ready  ? "ready"
				  : "starting",
		 builder.error);
	json_array_append_new(devices, status_device(daemon, "cpu-basic",
						     "CPU, short kernels in the dispatch thread"));
	json_array_append_new(devices,
			      status_device(daemon, "cpu-pthread", "CPU, kernels on all cores"));
	for (const struct device *d = daemon->devices->list; d; d = d->next)
		json_array_append_new(devices, status_own_process(d, viewer));
	return status_dump(json_pack("{s:o, s:o, s:s}", "virtual",
				     status_virtual(pool_info(daemon->pool)), "devices", devices,
				     "compiler", compiler));
}
