/* SPDX-License-Identifier: Apache-2.0
 *
 * arax: asks araxd how it is and prints the answer. Finds the daemon as applications do; never
 * starts one.
 */
#include "transport/control.h"
#include "transport/socket.h"

#include <dlfcn.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TIMEOUT_MS 10000
#define JSON_MAX_SIZE (64u << 20)
#define COLUMNS_MAX 10

/* A table whose columns are as wide as what is in them; those of numbers are set to the right. */
struct table {
	unsigned columns, rows, capacity;
	const char *kinds; /* for each column 'l' or 'r' */
	char **cells;
};

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "arax: %s: %s\n", what, why);
	exit(1);
}

static void table_row(struct table *table, ...)
{
	va_list arguments;

	if (table->rows == table->capacity) {
		table->capacity = table->capacity ? table->capacity * 2 : 16;
		table->cells = reallocarray(table->cells, (size_t)table->capacity * table->columns,
					    sizeof(*table->cells));
		if (!table->cells)
			die("table", strerror(ENOMEM));
	}
	va_start(arguments, table);
	for (unsigned i = 0; i < table->columns; i++) {
		char *cell = strdup(va_arg(arguments, const char *));

		if (!cell)
			die("table", strerror(ENOMEM));
		table->cells[table->rows * table->columns + i] = cell;
	}
	va_end(arguments);
	table->rows++;
}

/* Prints and empties it. */
static void table_print(struct table *table)
{
	int widths[COLUMNS_MAX] = {0};

	for (unsigned i = 0; i < table->rows * table->columns; i++) {
		int length = (int)strlen(table->cells[i]);

		if (length > widths[i % table->columns])
			widths[i % table->columns] = length;
	}
	for (unsigned r = 0; r < table->rows; r++) {
		for (unsigned c = 0; c < table->columns; c++) {
			char *cell = table->cells[r * table->columns + c];
			bool last = c + 1 == table->columns;

			if (table->kinds[c] == 'r')
				printf("%*s%s", widths[c], cell, last ? "" : "  ");
			else if (last)
				fputs(cell, stdout);
			else
				printf("%-*s  ", widths[c], cell);
			free(cell);
		}
		putchar('\n');
	}
	free(table->cells);
	table->cells = NULL;
	table->rows = table->capacity = 0;
}

static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key)) ?: "";
}

/* A number for people; a few of them may be in use at a time. */
static const char *format(const char *how, ...) __attribute__((format(printf, 1, 2)));
static const char *format(const char *how, ...)
{
	static char buffers[16][64];
	static unsigned next;
	char *buffer = buffers[next++ % 16];
	va_list arguments;

	va_start(arguments, how);
	vsnprintf(buffer, sizeof(buffers[0]), how, arguments);
	va_end(arguments);
	return buffer;
}

static const char *number(const json_t *object, const char *key)
{
	return format("%lld", (long long)json_integer_value(json_object_get(object, key)));
}

static const char *bytes(const json_t *object, const char *key)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double value = json_number_value(json_object_get(object, key));
	unsigned unit = 0;

	while (value >= 1024 && unit < 4) {
		value /= 1024;
		unit++;
	}
	return format(unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

static const char *duration(const json_t *object, const char *key)
{
	double ms = json_number_value(json_object_get(object, key));

	if (ms < 1000)
		return format("%.3f ms", ms);
	if (ms < 60000)
		return format("%.2f s", ms / 1000);
	if (ms < 3600000)
		return format("%d min %02d s", (int)(ms / 60000), (int)(ms / 1000) % 60);
	return format("%d h %02d min", (int)(ms / 3600000), (int)(ms / 60000) % 60);
}

static int try_path(const char *path, char *used, size_t size)
{
	snprintf(used, size, "%s", path);
	return arax_socket_connect(path);
}

/* The daemon's socket, looked for where applications look. */
static int daemon_connect(char *used, size_t size)
{
	const char *set = getenv("ARAX_SOCKET"), *runtime = getenv("XDG_RUNTIME_DIR");
	char path[256];

	if (set && *set)
		return try_path(set, used, size);
	int fd = try_path("/run/arax/araxd.sock", used, size);
	if (fd >= 0)
		return fd;
	if (runtime && runtime[0] == '/')
		snprintf(path, sizeof(path), "%s/arax/araxd.sock", runtime);
	else
		snprintf(path, sizeof(path), "/tmp/arax-%u/araxd.sock", geteuid());
	return try_path(path, used, size);
}

/* Asks one question. Return: the descriptor that came with the answer, -1 for none. */
static int daemon_ask(int fd, unsigned type)
{
	struct arax_control_plain message = {
	    .head = {.magic = ARAX_CONTROL_MAGIC, .type = (uint16_t)type, .major = 1, .id = 1}};
	int fds[ARAX_FDS_MAX];
	int error = arax_socket_send(fd, &message, sizeof(message), NULL, 0);

	if (error)
		die("asking araxd", strerror(-error));
	ssize_t n = arax_socket_recv(fd, &message, sizeof(message), fds, TIMEOUT_MS);
	if (n < 0)
		die("araxd does not answer", strerror((int)-n));
	if (n != sizeof(message))
		die("araxd", "the connection was closed");
	if (message.head.error)
		die("araxd", strerror(abs(message.head.error)));
	return fds[0];
}

static json_t *daemon_json(int fd, unsigned type)
{
	const void *data;
	json_error_t wrong;
	size_t size;
	int memfd = daemon_ask(fd, type);
	int error = memfd < 0 ? -EPROTO : arax_memfd_map(memfd, JSON_MAX_SIZE, &data, &size);

	if (error)
		die("araxd's answer", strerror(-error));
	json_t *root = json_loadb(data, size, 0, &wrong);
	if (!root)
		die("araxd's answer", wrong.text);
	munmap((void *)(uintptr_t)data, size);
	close(memfd);
	return root;
}

static void print_json(json_t *root)
{
	if (json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) < 0)
		die("output", "failed");
	putchar('\n');
}

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

static int command_devices(int fd, bool json)
{
	json_t *root = daemon_json(fd, ARAX_CONTROL_DEVICES);
	json_t *devices = json_object_get(root, "devices");
	const json_t *virtual = json_object_get(root, "virtual"), *device;
	struct table table = {.columns = 3, .kinds = "lll"};
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
	table_row(&table, "DEVICE", "WHAT", "STATE");
	json_array_foreach(devices, i, device)
	    table_row(&table, text(device, "name"), text(device, "what"), text(device, "state"));
	table_row(&table, "compiler", "builds programs for the CPU devices",
		  text(root, "compiler"));
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
	fputs("usage: arax status [--json]   the daemon, its clients and what ran where\n"
	      "       arax devices [--json]  the devices and their state\n"
	      "       arax stop              end the daemon when its clients have left\n"
	      "       arax --help | --version\n"
	      "\n"
	      "The daemon is the one at $ARAX_SOCKET, else the system's, else the user's own.\n",
	      out);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int fd, bool json);
	} commands[] = {
	    {"status", command_status}, {"devices", command_devices}, {"stop", command_stop}};
	bool json = argc == 3 && strcmp(argv[2], "--json") == 0;
	char path[256];

	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return puts("arax " ARAX_VERSION) < 0;
	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
		return help(stdout), 0;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (argc < 2 || argc > (json ? 3 : 2) || strcmp(argv[1], commands[i].name) != 0)
			continue;
		int fd = daemon_connect(path, sizeof(path));
		if (fd < 0)
			die(path, fd == -ENOENT || fd == -ECONNREFUSED
				      ? "no daemon is running there"
				      : strerror(-fd));
		int status = commands[i].run(fd, json);
		close(fd);
		return status;
	}
	help(stderr);
	return 2;
}
