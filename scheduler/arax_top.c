/* SPDX-License-Identifier: Apache-2.0
 *
 * arax top: the daemon's status, again and again, as rates: how loaded each device is, and which
 * application loads it, how much memory it has, how many commands wait, what it moves. Lines are
 * made once and shown by ncurses or, for scripts, printed.
 */
#include "scheduler/arax_cli.h"
#include "transport/control.h"
#include "transport/wake.h"

#include <curses.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INTERVAL 1.0
#define LINES_ROOM 64

enum mode { LIVE, ONCE, BATCH };

struct sample {
	json_t *status, *devices;
	uint64_t at_ns;
};

/* Two looks at the daemon, and the text that comes of them. */
struct top {
	int daemon;
	struct sample before, now;
	double interval; /* seconds */
	enum mode mode;
	long count; /* BATCH: how often; 0: for ever */
	char **lines;
	size_t nlines, room;
};

static volatile sig_atomic_t ended;

static void on_end(int signal)
{
	(void)signal;
	ended = 1;
}

/* ---- lines ---------------------------------------------------------------------------------- */

static void add_line(struct top *t, const char *how, ...) __attribute__((format(printf, 2, 3)));
static void add_line(struct top *t, const char *how, ...)
{
	va_list arguments;

	if (t->nlines == t->room) {
		t->room = t->room ? t->room * 2 : LINES_ROOM;
		t->lines = reallocarray(t->lines, t->room, sizeof(*t->lines));
		if (!t->lines)
			die("top", strerror(ENOMEM));
	}
	va_start(arguments, how);
	if (vasprintf(&t->lines[t->nlines], how, arguments) < 0)
		die("top", strerror(ENOMEM));
	va_end(arguments);
	t->nlines++;
}

static void clear_lines(struct top *t)
{
	while (t->nlines)
		free(t->lines[--t->nlines]);
}

/* ---- rates ---------------------------------------------------------------------------------- */

static double value(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

/* The same application at the time before, or NULL. */
static const json_t *client_before(const struct top *t, const json_t *client)
{
	const json_t *other;
	size_t i;

	json_array_foreach(json_object_get(t->before.status, "clients"), i, other)
	{
		if (value(other, "pid") == value(client, "pid") &&
		    value(other, "tenant_pid") == value(client, "tenant_pid"))
			return other;
	}
	return NULL;
}

static double elapsed(const struct top *t)
{
	return (double)(t->now.at_ns - t->before.at_ns) / 1e9;
}

/* What grew by how much in a second; what has just come has grown from nothing. */
static double rate(const struct top *t, const json_t *client, const char *key)
{
	double grown = value(client, key) - value(client_before(t, client), key);

	return grown > 0 ? grown / elapsed(t) : 0;
}

static double device_value(const json_t *client, const char *name, const char *key)
{
	const json_t *device;
	size_t i;

	json_array_foreach(json_object_get(client, "devices"), i, device)
	{
		if (strcmp(text(device, "name"), name) == 0)
			return value(device, key);
	}
	return 0;
}

static double device_rate(const struct top *t, const json_t *client, const char *name,
			  const char *key)
{
	double grown =
	    device_value(client, name, key) - device_value(client_before(t, client), name, key);

	return grown > 0 ? grown / elapsed(t) : 0;
}

/* A share of time: 1000 ms of work in a second are 100 %. */
static const char *percent(double ms_per_second)
{
	return format("%.0f%%", ms_per_second / 10);
}

static const char *count_text(double n)
{
	if (n < 10000)
		return format("%.0f", n);
	return n < 1e7 ? format("%.1fk", n / 1e3) : format("%.1fM", n / 1e6);
}

/* ---- what is shown -------------------------------------------------------------------------- */

static void show_daemon(struct top *t)
{
	const json_t *daemon = json_object_get(t->now.status, "daemon");
	const json_t *pool = json_object_get(t->now.status, "pool");

	add_line(t, "araxd %s  up %s  policy %s  applications %s  spare tenants %s",
		 text(daemon, "version"), duration(daemon, "uptime_ms"), text(daemon, "policy"),
		 number(pool, "attached"), number(pool, "ready"));
}

/* Of those in processes of their own; the others work in the tenants' memory. */
static bool own_process(const json_t *device)
{
	return json_is_string(json_object_get(device, "backend"));
}

static const char *device_queue(const json_t *device)
{
	return own_process(device)
		   ? count_text(value(device, "waiting") + value(device, "in_flight"))
		   : "";
}

static const char *device_memory(const json_t *device)
{
	return own_process(device)
		   ? format("%s of %s", bytes(device, "memory_used"), bytes(device, "memory"))
		   : "";
}

static void show_devices(struct top *t)
{
	const json_t *clients = json_object_get(t->now.status, "clients"), *device, *client;
	size_t i, k;

	add_line(t, "%s", "");
	add_line(t, "%-14s %7s %10s %6s %10s %21s  %s", "DEVICE", "LOAD", "KERNELS/s", "QUEUE",
		 "MOVED/s", "MEMORY", "STATE");
	json_array_foreach(json_object_get(t->now.devices, "devices"), i, device)
	{
		const char *name = text(device, "name");
		double load = 0, commands = 0, moved = 0;

		json_array_foreach(clients, k, client)
		{
			load += device_rate(t, client, name, "busy_ms");
			commands += device_rate(t, client, name, "commands");
			moved += device_rate(t, client, name, "bytes_in") +
				 device_rate(t, client, name, "bytes_out");
		}
		add_line(t, "%-14s %7s %10s %6s %10s %21s  %s", name, percent(load),
			 count_text(commands), device_queue(device),
			 own_process(device) ? bytes_text(moved) : "", device_memory(device),
			 text(device, "state"));
	}
}

/* "cpu-basic 12%, cpu-pthread 80%" */
static void show_loads(const struct top *t, const json_t *client, char *to, size_t size)
{
	const json_t *device;
	size_t i, used = 0;

	to[0] = '\0';
	json_array_foreach(json_object_get(client, "devices"), i, device)
	{
		const char *name = text(device, "name");
		int n = snprintf(to + used, size - used, "%s%s %s", used ? ", " : "", name,
				 percent(device_rate(t, client, name, "busy_ms")));

		if (n < 0 || (size_t)n >= size - used)
			break;
		used += (size_t)n;
	}
}

static void show_clients(struct top *t)
{
	const json_t *clients = json_object_get(t->now.status, "clients"), *client;
	char loads[256];
	size_t i;

	add_line(t, "%s", "");
	add_line(t, "%8s %-16s %6s %10s %10s %6s %10s %10s  %s", "PID", "APPLICATION", "UID",
		 "COMMANDS/s", "KERNELS/s", "QUEUE", "MOVED/s", "MEMORY", "LOAD");
	json_array_foreach(clients, i, client)
	{
		show_loads(t, client, loads, sizeof(loads));
		add_line(t, "%8s %-16.16s %6s %10s %10s %6s %10s %10s  %s", number(client, "pid"),
			 text(client, "program"), number(client, "uid"),
			 count_text(rate(t, client, "commands")),
			 count_text(rate(t, client, "kernels")), count_text(value(client, "depth")),
			 bytes_text(rate(t, client, "bytes")), bytes(client, "memory"), loads);
	}
	if (!json_array_size(clients))
		add_line(t, "%8s no application", "");
}

static void show(struct top *t)
{
	clear_lines(t);
	show_daemon(t);
	show_devices(t);
	show_clients(t);
}

/* ---- the loop ------------------------------------------------------------------------------- */

static void sample(struct top *t)
{
	json_decref(t->before.status);
	json_decref(t->before.devices);
	t->before = t->now;
	t->now.status = daemon_json(t->daemon, ARAX_CONTROL_STATUS);
	t->now.devices = daemon_json(t->daemon, ARAX_CONTROL_DEVICES);
	t->now.at_ns = arax_now_ns();
}

/* Return: the key that was pressed, or 0 when the time has come. */
static int wait_next(const struct top *t)
{
	struct pollfd keyboard = {.fd = t->mode == LIVE ? STDIN_FILENO : -1, .events = POLLIN};
	uint64_t end = t->now.at_ns + (uint64_t)(t->interval * 1e9);

	while (!ended) {
		uint64_t now = arax_now_ns();
		uint64_t left = now < end ? (end - now + 999999) / 1000000 : 0;
		int ready = left ? poll(&keyboard, 1, left < 3600000 ? (int)left : 3600000) : 0;

		if (ready > 0 && keyboard.revents & (POLLHUP | POLLERR))
			return 'q';
		if (t->mode == LIVE) {
			int key = getch();

			if (key != ERR)
				return key;
		}
		if (!left)
			return 0;
	}
	return 'q';
}

static void print_lines(const struct top *t)
{
	for (size_t i = 0; i < t->nlines; i++)
		puts(t->lines[i]);
	if (fflush(stdout) || ferror(stdout))
		die("output", strerror(errno));
}

static void run_batch(struct top *t)
{
	long turns = t->mode == ONCE ? 1 : t->count;

	for (long i = 0; (!turns || i < turns) && wait_next(t) != 'q'; i++) {
		sample(t);
		show(t);
		if (i)
			putchar('\n');
		print_lines(t);
	}
}

static void draw(const struct top *t)
{
	erase();
	for (size_t i = 0; i < t->nlines && (int)i < LINES - 1; i++) {
		bool title = strstr(t->lines[i], "DEVICE") == t->lines[i] ||
			     strstr(t->lines[i], "APPLICATION") != NULL;

		if (title)
			attron(A_REVERSE);
		mvaddnstr((int)i, 0, t->lines[i], COLS);
		if (title)
			attroff(A_REVERSE);
	}
	mvaddnstr(LINES - 1, 0, "q: quit", COLS);
	refresh();
}

static void screen_end(void)
{
	if (!isendwin())
		endwin();
}

static void run_live(struct top *t)
{
	if (!initscr())
		die("terminal", "it cannot be used; try --batch");
	before_dying = screen_end;
	cbreak();
	noecho();
	curs_set(0);
	nodelay(stdscr, TRUE);
	keypad(stdscr, TRUE);
	for (int key = 0; key != 'q' && key != 'Q'; key = wait_next(t)) {
		if (key && key != KEY_RESIZE && key != ' ')
			continue;
		if (key != KEY_RESIZE)
			sample(t);
		show(t);
		draw(t);
	}
	screen_end();
}

static void usage(FILE *out)
{
	fputs("usage: arax top [--interval SECONDS] [--once | --batch [--count N]]\n"
	      "\n"
	      "Devices and applications, live; q ends it. --once prints what happened during one\n"
	      "interval, --batch goes on (N times) until it is interrupted.\n",
	      out);
}

static bool positive(const char *from, double most, double *to)
{
	char *end;

	*to = strtod(from, &end);
	if (!*end && *from && *to > 0 && *to <= most)
		return true;
	fprintf(stderr, "arax: %s is not a number above 0\n", from);
	return false;
}

/* Return: -1 to go on, else the exit status. */
static int options(struct top *t, int argc, char **argv)
{
	static const struct option longs[] = {
	    {"interval", required_argument, NULL, 'i'}, {"count", required_argument, NULL, 'c'},
	    {"once", no_argument, NULL, 'o'},		{"batch", no_argument, NULL, 'b'},
	    {"help", no_argument, NULL, 'h'},		{0}};
	double count = 0;

	for (int option; (option = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		switch (option) {
		case 'i':
			if (!positive(optarg, 86400, &t->interval))
				return 2;
			break;
		case 'c':
			if (!positive(optarg, 1e9, &count))
				return 2;
			break;
		case 'o':
			t->mode = ONCE;
			break;
		case 'b':
			t->mode = BATCH;
			break;
		default:
			usage(option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	t->count = (long)ceil(count);
	if (optind == argc && (!t->count || t->mode == BATCH))
		return -1;
	usage(stderr);
	return 2;
}

int command_top(int argc, char **argv)
{
	struct top t = {.interval = INTERVAL};
	const struct sigaction action = {.sa_handler = on_end};
	int status = options(&t, argc, argv);

	if (status >= 0)
		return status;
	if (t.mode == LIVE && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
		die("top", "this is no terminal; try --once or --batch");
	t.daemon = daemon_open();
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sample(&t);
	t.before = t.now;
	json_incref(t.before.status);
	json_incref(t.before.devices);
	if (t.mode == LIVE)
		run_live(&t);
	else
		run_batch(&t);
	clear_lines(&t);
	free(t.lines);
	json_decref(t.before.status);
	json_decref(t.before.devices);
	json_decref(t.now.status);
	json_decref(t.now.devices);
	close(t.daemon);
	return 0;
}
