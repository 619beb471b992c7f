/* SPDX-License-Identifier: Apache-2.0
 *
 * What came of a simulation: as text, as JSON, and as a timeline.
 */
#include "scheduler/simulate.h"

#include <inttypes.h>
#include <jansson.h>

#define MS 1e6

static double explored(const struct sim_result *result, const struct sim_load *load)
{
	double run = 0, spent = 0;

	for (unsigned i = 0; i < load->ntenants; i++) {
		run += (double)result->tenants[i].run_ns;
		spent += (double)result->tenants[i].explored_ns;
	}
	return run > 0 ? spent / run : 0;
}

static double speedup(const struct sim_result *result, uint64_t single_ns)
{
	return result->makespan_ns ? (double)single_ns / (double)result->makespan_ns : 0;
}

static void report_tenants(FILE *out, const struct sim_load *load, const struct sim_result *result)
{
	fprintf(out, "\n%-20s %9s %12s %12s %12s %12s\n", "TENANT", "COMMANDS", "WORK ms", "P50 ms",
		"P99 ms", "ITS PART ms");
	for (unsigned i = 0; i < load->ntenants; i++) {
		const struct sim_tenant_result *t = &result->tenants[i];

		fprintf(out, "%-20s %9u %12.3f %12.3f %12.3f ", load->tenants[i].name, t->commands,
			t->work_ns / MS, (double)t->p50_ns / MS, (double)t->p99_ns / MS);
		if (!t->newcomer)
			fprintf(out, "%12s\n", "");
		else if (t->fair_ns == UINT64_MAX)
			fprintf(out, "%12s\n", "never");
		else
			fprintf(out, "%12.3f\n", (double)t->fair_ns / MS);
	}
}

void sim_report(FILE *out, const struct sim_machine *machine, const struct sim_load *load,
		const struct sim_result *result, uint64_t single_ns)
{
	fprintf(out, "makespan            %.3f ms\n", (double)result->makespan_ns / MS);
	fprintf(out, "of the ideal        %.3f (all devices, no gap: %.3f ms)\n",
		result->ideal_ns / (double)result->makespan_ns, result->ideal_ns / MS);
	if (single_ns)
		fprintf(out, "speed-up            %.2f (best single device: %.3f ms)\n",
			speedup(result, single_ns), (double)single_ns / MS);
	if (load->ntenants > 1)
		fprintf(out, "Jain's index        %.4f\n", result->jain);
	fprintf(out, "moved               %.3f MiB, %" PRIu64 " evictions\n",
		(double)result->moved_bytes / 1048576, result->evictions);
	fprintf(out, "exploring           %.2f %% of run time\n", 100 * explored(result, load));
	fprintf(out, "decisions           %" PRIu64 ", %" PRIu64 " of them to wait\n",
		result->picks, result->waits);
	fprintf(out, "\n%-20s %9s\n", "DEVICE", "BUSY");
	for (unsigned i = 0; i < machine->ndevices; i++)
		fprintf(out, "%-20s %7.1f %%\n", machine->devices[i].name, 100 * result->busy[i]);
	report_tenants(out, load, result);
}

static json_t *tenants_json(const struct sim_load *load, const struct sim_result *result)
{
	json_t *tenants = json_array();

	for (unsigned i = 0; i < load->ntenants; i++) {
		const struct sim_tenant_result *t = &result->tenants[i];
		json_t *one =
		    json_pack("{s:s, s:i, s:f, s:I, s:I}", "name", load->tenants[i].name,
			      "commands", (int)t->commands, "work_ns", t->work_ns, "p50_ns",
			      (json_int_t)t->p50_ns, "p99_ns", (json_int_t)t->p99_ns);
		if (t->newcomer)
			json_object_set_new(one, "fair_after_ns",
					    t->fair_ns == UINT64_MAX
						? json_null()
						: json_integer((json_int_t)t->fair_ns));
		json_array_append_new(tenants, one);
	}
	return tenants;
}

json_t *sim_report_json(const struct sim_machine *machine, const struct sim_load *load,
			const struct sim_result *result, uint64_t single_ns)
{
	json_t *devices = json_array();

	for (unsigned i = 0; i < machine->ndevices; i++)
		json_array_append_new(devices,
				      json_pack("{s:s, s:f}", "name", machine->devices[i].name,
						"busy", result->busy[i]));
	json_t *root = json_pack(
	    "{s:I, s:f, s:f, s:f, s:I, s:I, s:f, s:I, s:I, s:o, s:o}", "makespan_ns",
	    (json_int_t)result->makespan_ns, "ideal_ns", result->ideal_ns, "of_ideal",
	    result->ideal_ns / (double)result->makespan_ns, "jain", result->jain, "moved_bytes",
	    (json_int_t)result->moved_bytes, "evictions", (json_int_t)result->evictions,
	    "exploring", explored(result, load), "decisions", (json_int_t)result->picks,
	    "decisions_to_wait", (json_int_t)result->waits, "devices", devices, "tenants",
	    tenants_json(load, result));
	if (root && single_ns) {
		json_object_set_new(root, "single_ns", json_integer((json_int_t)single_ns));
		json_object_set_new(root, "speedup", json_real(speedup(result, single_ns)));
	}
	return root;
}

json_t *sim_timeline(const struct sim_machine *machine, const struct sim_load *load,
		     const struct sim_result *result)
{
	json_t *events = json_array();

	for (unsigned i = 0; i < load->ntenants; i++)
		json_array_append_new(events,
				      json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "ph", "M", "name",
						"process_name", "pid", (int)i + 1, "tid", 0, "args",
						"name", load->tenants[i].name));
	for (size_t i = 0; i < result->nspans; i++) {
		const struct sim_span *span = &result->spans[i];
		const struct sim_device_desc *d = &machine->devices[span->device];
		char lane[48], name[SIM_NAME + 16];

		snprintf(lane, sizeof(lane), "%s%s", d->name,
			 span->moved == 1   ? " in"
			 : span->moved == 2 ? " out"
					    : "");
		if (span->moved)
			snprintf(name, sizeof(name), "%" PRIu64 " bytes", span->bytes);
		else
			snprintf(name, sizeof(name), "%s", load->kernels[span->kernel].name);
		json_array_append_new(
		    events,
		    json_pack("{s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:{s:s}}", "ph", "X", "name",
			      name, "cat", span->moved ? "transfer" : "kernel", "pid",
			      (int)span->tenant + 1, "tid",
			      (int)(span->device * 3 + span->moved + 1), "ts",
			      (double)span->start / 1e3, "dur",
			      (double)(span->end - span->start) / 1e3, "args", "device", lane));
	}
	return json_pack("{s:s, s:o}", "displayTimeUnit", "ns", "traceEvents", events);
}
