/* SPDX-License-Identifier: Apache-2.0
 *
 * arax: asks araxd how it is and prints the answer. Finds the daemon as applications do; never
 * starts one. The larger commands are in arax_top.c, arax_trace.c, arax_plot.c and
 * arax_simulate.c.
 */
#include "scheduler/arax_cli.h"
#include "transport/control.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What stands around tenants or compilers. */
static void print_sandbox(const char *of, const json_t *sandbox)
{
	if (!json_is_object(sandbox))
		return;
	if (json_is_true(json_object_get(sandbox, "complete")))
		printf("sandbox   %s: complete (%s)\n", of, text(sandbox, "walls"));
	else
		printf("sandbox   %s: DEGRADED, only %s; %s\n", of, text(sandbox, "walls"),
		       text(sandbox, "missing"));
}

static void print_daemon(const json_t *root)
{
	const json_t *daemon = json_object_get(root, "daemon"),
		     *pool = json_object_get(root, "pool");
	const json_t *compiler = json_object_get(root, "compiler");

	printf("araxd %s, process %s, up %s, policy %s%s\n", text(daemon, "version"),
	       number(daemon, "pid"), duration(daemon, "uptime_ms"), text(daemon, "policy"),
	       json_is_true(json_object_get(daemon, "stopping")) ? ", stopping" : "");
	printf("socket    %s\n", text(daemon, "socket"));
	printf("tenants   %s attached, %s ready, %s starting (pool %s + %s)\n",
	       number(pool, "attached"), number(pool, "ready"), number(pool, "starting"),
	       number(pool, "configured"), number(pool, "extra"));
	if (*text(pool, "error"))
		printf("          %s\n", text(pool, "error"));
	printf("compiler  %s; cache: %s hits, %s misses; %s failed builds\n",
	       text(compiler, "state"), number(compiler, "cache_hits"),
	       number(compiler, "cache_misses"), number(compiler, "failed_builds"));
	if (*text(compiler, "error"))
		printf("          %s\n", text(compiler, "error"));
	print_sandbox("tenants", json_object_get(pool, "sandbox"));
	print_sandbox("compilers", json_object_get(compiler, "sandbox"));
	printf("cgroups   %s\n", text(pool, "cgroups"));
}

/* What happens on devices that have processes of their own, for each application there. */
static void print_shares(const json_t *clients)
{
	struct table table = {.columns = 9, .kinds = "rlrrrrrrr"};
	const json_t *client, *device;
	size_t i, j;

	table_row(&table, "PID", "DEVICE", "COMMANDS", "BUSY", "IN", "OUT", "RESIDENT", "SHARE",
		  "DEPTH");
	json_array_foreach(clients, i, client)
	{
		json_array_foreach(json_object_get(client, "devices"), j, device)
		{
			long long share = json_integer_value(json_object_get(device, "share"));

			if (!share && !json_integer_value(json_object_get(device, "bytes_in")))
				continue;
			table_row(&table, number(client, "pid"), text(device, "name"),
				  number(device, "commands"), duration(device, "busy_ms"),
				  bytes(device, "bytes_in"), bytes(device, "bytes_out"),
				  bytes(device, "resident"),
				  format("%.0f %%", (double)share * 100 / 1024),
				  number(device, "depth"));
		}
	}
	if (table.rows > 1)
		putchar('\n');
	else
		table.rows = 0;
	table_print(&table);
}

/* "cpu-basic 12 ms, cpu-pthread 3 ms" */
static void device_times(const json_t *client, char *to, size_t size)
{
	const json_t *device;
	size_t i, used = 0;

	to[0] = '\0';
	json_array_foreach(json_object_get(client, "devices"), i, device)
	{
		int n = snprintf(to + used, size - used, "%s%s %s", used ? ", " : "",
				 text(device, "name"), duration(device, "busy_ms"));
		if (n < 0 || (size_t)n >= size - used)
			break;
		used += (size_t)n;
	}
}

static void print_clients(const char *title, const json_t *clients)
{
	struct table table = {.columns = 9, .kinds = "rrlrrrrrl"};
	const json_t *client;
	char times[512];
	size_t i;

	printf("\n%s: %zu\n", title, json_array_size(clients));
	if (!json_array_size(clients))
		return;
	table_row(&table, "PID", "UID", "PROGRAM", "TENANT", "COMMANDS", "KERNELS", "BYTES", "TIME",
		  "DEVICES");
	json_array_foreach(clients, i, client)
	{
		device_times(client, times, sizeof(times));
		table_row(&table, number(client, "pid"), number(client, "uid"),
			  text(client, "program"), number(client, "tenant_pid"),
			  number(client, "commands"), number(client, "kernels"),
			  bytes(client, "bytes"), duration(client, "duration_ms"), times);
	}
	table_print(&table);
}

static void table_kernels(struct table *table, const json_t *kernels, const char *who)
{
	const json_t *kernel;
	size_t i;

	json_array_foreach(kernels, i, kernel)
	    table_row(table, text(kernel, "name"), text(kernel, "device"),
		      number(kernel, "launches"), duration(kernel, "busy_ms"), who);
}

static void print_kernels(const json_t *root)
{
	struct table table = {.columns = 5, .kinds = "llrrl"};
	const json_t *client;
	size_t i;

	table_row(&table, "KERNEL", "DEVICE", "LAUNCHES", "TIME", "CLIENT");
	json_array_foreach(json_object_get(root, "clients"), i, client)
	    table_kernels(&table, json_object_get(client, "kernel_times"), number(client, "pid"));
	table_kernels(&table, json_object_get(json_object_get(root, "totals"), "kernel_times"),
		      "finished");
	if (table.rows > 1)
		putchar('\n');
	else
		table.rows = 0;
	table_print(&table);
}

static int command_status(int fd, bool json)
{
	json_t *root = daemon_json(fd, ARAX_CONTROL_STATUS);

	if (json) {
		print_json(root);
	} else {
		print_daemon(root);
		print_clients("clients", json_object_get(root, "clients"));
		print_shares(json_object_get(root, "clients"));
		print_clients("finished", json_object_get(root, "finished"));
		print_kernels(root);
	}
	json_decref(root);
	return 0;
}

/* Accelerators: the driver's library tells whether there could be one. */
static void add_accelerators(json_t *devices)
{
	static const struct {
		const char *name, *what, *library;
	} accelerators[] = {
	    {"cuda", "NVIDIA GPUs", "libcuda.so.1"},
	    {"hip", "AMD GPUs", "libamdhip64.so"},
	    {"xrt", "AMD FPGAs", "libxrt_coreutil.so.2"},
	};

	for (size_t i = 0; i < sizeof(accelerators) / sizeof(accelerators[0]); i++) {
		char state[512];
		void *library = dlopen(accelerators[i].library, RTLD_LAZY | RTLD_LOCAL);

		if (library)
			snprintf(state, sizeof(state), "%s is there, but no back end yet",
				 accelerators[i].library);
		else
			snprintf(state, sizeof(state), "not found: %s", dlerror());
		json_array_append_new(devices,
				      json_pack("{s:s, s:s, s:s}", "name", accelerators[i].name,
						"what", accelerators[i].what, "state", state));
	}
}

/* "12.0 MiB of 1.0 GiB" */
static const char *device_memory(const json_t *device)
{
	if (!json_integer_value(json_object_get(device, "memory")))
		return "";
	return format("%s of %s", bytes(device, "memory_used"), bytes(device, "memory"));
}

static int command_devices(int fd, bool json)
{
	json_t *root = daemon_json(fd, ARAX_CONTROL_DEVICES);
	json_t *devices = json_object_get(root, "devices");
	const json_t *virtual = json_object_get(root, "virtual"), *device;
	struct table table = {.columns = 6, .kinds = "llrrrl"};
	size_t i;

	add_accelerators(devices);
	if (json) {
		print_json(root);
		json_decref(root);
		return 0;
	}
	if (json_is_object(virtual))
		printf(
		    "Applications see: %s, %s compute units, %s of memory, work-groups of %s\n\n",
		    text(virtual, "name"), number(virtual, "compute_units"),
		    bytes(virtual, "global_memory"), number(virtual, "max_work_group_size"));
	table_row(&table, "DEVICE", "WHAT", "PID", "TENANTS", "MEMORY", "STATE");
	json_array_foreach(devices, i, device)
	{
		bool own = json_is_string(json_object_get(device, "backend"));
		bool runs = json_integer_value(json_object_get(device, "pid")) != 0;

		table_row(&table, text(device, "name"), text(device, "what"),
			  runs ? number(device, "pid") : "", own ? number(device, "tenants") : "",
			  own ? device_memory(device) : "", text(device, "state"));
	}
	table_row(&table, "compiler", "builds programs for the CPU devices", "", "", "",
		  text(root, "compiler"));
	table_print(&table);
	json_decref(root);
	return 0;
}

static int command_variants(int fd, bool json)
{
	json_t *root = daemon_json(fd, ARAX_CONTROL_VARIANTS), *variant;
	struct table table = {.columns = 6, .kinds = "llllll"};
	size_t i;

	if (json) {
		print_json(root);
		json_decref(root);
		return 0;
	}
	table_row(&table, "NAME", "KERNEL", "TARGET", "FILE", "STATE", "REASON");
	json_array_foreach(json_object_get(root, "variants"), i, variant)
	{
		char reason[1024] = "";

		if (*text(variant, "reason"))
			snprintf(reason, sizeof(reason), "%s:%s: %s", text(variant, "manifest"),
				 number(variant, "line"), text(variant, "reason"));
		table_row(&table, text(variant, "name"), text(variant, "kernel"),
			  text(variant, "target"), text(variant, "file"), text(variant, "state"),
			  reason);
	}
	table_print(&table);
	json_decref(root);
	return 0;
}

static int command_stop(int fd, bool json)
{
	(void)json;
	daemon_ask(fd, ARAX_CONTROL_STOP);
	puts("araxd leaves when its last client has left.");
	return 0;
}

static void help(FILE *out)
{
	fputs(
	    "usage: arax status [--json]   the daemon, its clients and what ran where\n"
	    "       arax devices [--json]  the devices and their state\n"
	    "       arax variants [--json] registered variants and built-in kernels\n"
	    "       arax top [--once | --batch] [--interval SECONDS]\n"
	    "                              devices and applications, live\n"
	    "       arax trace FILE [--seconds N | -- PROGRAM ARGUMENTS...]\n"
	    "                              every command on every device, as a Perfetto timeline\n"
	    "       arax plot TRACE.json OUT.svg\n"
	    "                              a picture of such a timeline\n"
	    "       arax simulate MACHINE.ini LOAD.ini|TRACE.json [OPTIONS]\n"
	    "                              the scheduler on a machine that is described\n"
	    "       arax device offline|online NAME\n"
	    "                              take a device away from all applications, and back\n"
	    "       arax policy [--json | NAME [ARGUMENT]]\n"
	    "                              how commands are placed; changes it\n"
	    "       arax reload            read the configuration again\n"
	    "       arax stop              end the daemon when its clients have left\n"
	    "       arax --help | --version\n"
	    "\n"
	    "The daemon is the one at $ARAX_SOCKET, else the system's, else the user's own.\n",
	    out);
}

/* Commands with options of their own. Return: -1 when it is none of them. */
static int run_large(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} commands[] = {{"top", command_top},	    {"trace", command_trace},
			{"plot", command_plot},	    {"simulate", command_simulate},
			{"reload", command_reload}, {"device", command_device},
			{"policy", command_policy}};

	for (size_t i = 0; argc >= 2 && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	return -1;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int fd, bool json);
	} commands[] = {{"status", command_status},
			{"devices", command_devices},
			{"variants", command_variants},
			{"stop", command_stop}};
	bool json = argc == 3 && strcmp(argv[2], "--json") == 0;
	int status = run_large(argc, argv);

	if (status >= 0)
		return status;
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return puts("arax " ARAX_VERSION) < 0;
	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
		return help(stdout), 0;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (argc < 2 || argc > (json ? 3 : 2) || strcmp(argv[1], commands[i].name) != 0)
			continue;
		int fd = daemon_open();
		status = commands[i].run(fd, json);
		close(fd);
		return status;
	}
	help(stderr);
	return 2;
}
