/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands of arax share, see arax_cli.h.
 */
#include "scheduler/arax_cli.h"

#include "transport/control.h"
#include "transport/socket.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TIMEOUT_MS 10000
#define JSON_MAX_SIZE (64u << 20)
#define COLUMNS_MAX 12

void (*before_dying)(void);

void die(const char *what, const char *why)
{
	if (before_dying)
		before_dying();
	fprintf(stderr, "arax: %s: %s\n", what, why);
	exit(1);
}

void table_row(struct table *table, ...)
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

void table_print(struct table *table)
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

const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key)) ?: "";
}

const char *format(const char *how, ...)
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

const char *number(const json_t *object, const char *key)
{
	return format("%lld", (long long)json_integer_value(json_object_get(object, key)));
}

const char *bytes_text(double value)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	unsigned unit = 0;

	while (value >= 1024 && unit < 4) {
		value /= 1024;
		unit++;
	}
	return format(unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

const char *bytes(const json_t *object, const char *key)
{
	return bytes_text(json_number_value(json_object_get(object, key)));
}

const char *duration(const json_t *object, const char *key)
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

int daemon_connect(char *used, size_t size)
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

int daemon_open(void)
{
	char path[256];
	int fd = daemon_connect(path, sizeof(path));

	if (fd < 0)
		die(path, fd == -ENOENT || fd == -ECONNREFUSED ? "no daemon is running there"
							       : strerror(-fd));
	return fd;
}

int daemon_ask(int fd, unsigned type)
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

json_t *daemon_json(int fd, unsigned type)
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

void print_json(json_t *root)
{
	if (json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) < 0)
		die("output", "failed");
	putchar('\n');
}
