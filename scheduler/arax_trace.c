/* SPDX-License-Identifier: Apache-2.0
 *
 * arax trace: asks araxd for the traces of applications, reads them as they are written and makes
 * one file of them (trace_json.c). Ends with a signal, after a time, or with the program that it
 * was told to start; whatever happens to the applications meanwhile, the file is whole.
 */
#include "scheduler/arax_cli.h"
#include "scheduler/trace_json.h"
#include "transport/control.h"
#include "transport/socket.h"
#include "transport/trace.h"
#include "transport/wake.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_MIB 1024
#define TIMEOUT_MS 10000
#define BUSY_MS 2    /* how often rings are looked at while there is something in them */
#define QUIET_MS 20  /* and when there is not; they are good for more than that */
#define CONNECT_MS 2 /* the program that was started may start the daemon */
#define BATCH 4096u  /* of one ring, before the next one's turn */
#define BUFFER (1u << 20)

extern char **environ;

struct app {
	struct app *next;
	uint64_t serial;
	const struct arax_trace *trace;
	struct arax_trace_reader readers[ARAX_TRACE_SOURCES];
	struct trace_app *json;
};

struct tracer {
	const char *path;
	FILE *file;
	struct trace_json *json;
	struct app *apps;
	int daemon, signals;
	bool lost, stop;
	uint64_t deadline_ns, seen; /* 0: none; entries in the last round */
	char **program;
	pid_t pid; /* of the program, 0: it does not run */
	int status;
};

/* ---- applications --------------------------------------------------------------------------- */

static void app_begin(struct tracer *t, const struct arax_control_trace *message, int fd)
{
	/* Another tenant in the place of one that has died: the trace goes on. */
	for (const struct app *known = t->apps; known; known = known->next)
		if (known->serial == message->serial)
			return;
	struct app *app = calloc(1, sizeof(*app));
	char program[sizeof(message->program)];

	if (!app)
		die("trace", strerror(ENOMEM));
	int error = fd < 0 ? -EPROTO : arax_trace_map(fd, &app->trace);
	if (error) {
		fprintf(stderr, "arax: process %d cannot be traced: %s\n", message->pid,
			strerror(-error));
		free(app);
		return;
	}
	memcpy(program, message->program, sizeof(program));
	program[sizeof(program) - 1] = '\0';
	app->serial = message->serial;
	for (unsigned i = 0; i < ARAX_TRACE_SOURCES; i++)
		arax_trace_reader_init(&app->readers[i], app->trace, i, message->from[i]);
	app->json =
	    trace_json_app(t->json, message->pid, message->uid, message->tenant_pid, program);
	if (!app->json)
		die("trace", strerror(ENOMEM));
	app->next = t->apps;
	t->apps = app;
}

/* Return: entries read; at most a batch of each ring. */
static uint64_t app_read_batch(struct app *app, bool final)
{
	struct arax_trace_event event;
	uint64_t n = 0;

	trace_json_devices(app->json, &app->trace->head);
	/* First the tenant's: what they depend on is then in the client's. */
	for (unsigned source = 0; source < ARAX_TRACE_SOURCES; source++) {
		for (unsigned i = 0; i < BATCH; i++) {
			if (!arax_trace_take(&app->readers[source], &event, final))
				break;
			trace_json_event(app->json, source, &event, arax_now_ns());
			n++;
		}
	}
	trace_json_settle(app->json);
	return n;
}

/* All that is there now. A hostile application writes for ever, so not more than its rings hold. */
static uint64_t app_read(struct app *app, bool final)
{
	uint64_t n = 0, most = ARAX_TRACE_TENANT_ENTRIES + ARAX_TRACE_CLIENT_ENTRIES, batch;

	do {
		batch = app_read_batch(app, final);
		n += batch;
	} while (batch && n < most);
	trace_json_dropped(app->json, app->readers[0].dropped + app->readers[1].dropped);
	return n;
}

static void app_end(struct tracer *t, uint64_t serial)
{
	for (struct app **at = &t->apps; *at; at = &(*at)->next) {
		struct app *app = *at;

		if (app->serial != serial)
			continue;
		app_read(app, true);
		*at = app->next;
		arax_trace_unmap(app->trace);
		free(app);
		return;
	}
}

static void read_all(struct tracer *t, bool final)
{
	t->seen = 0;
	for (struct app *app = t->apps; app; app = app->next)
		t->seen += app_read(app, final);
	if (ferror(t->file))
		die(t->path, strerror(errno ? errno : EIO));
}

/* ---- the daemon ----------------------------------------------------------------------------- */

static void daemon_gone(struct tracer *t)
{
	fprintf(stderr, "arax: araxd has gone: applications that come are not traced\n");
	close(t->daemon);
	t->daemon = -1;
	t->lost = true;
}

/* Return: false when there is no message. */
static bool daemon_message(struct tracer *t, int timeout_ms)
{
	struct arax_control_trace message;
	int fds[ARAX_FDS_MAX];
	ssize_t n = arax_socket_recv(t->daemon, &message, sizeof(message), fds, timeout_ms);

	if (n == -ETIMEDOUT)
		return false;
	if (n <= 0) {
		daemon_gone(t);
		return false;
	}
	/* An answer without our fields: one who does not know the question. */
	if (n != sizeof(message) && (size_t)n >= sizeof(message.head))
		die("araxd", strerror(message.head.error > 0 ? message.head.error : EPROTO));
	if (n != sizeof(message))
		die("araxd", strerror(EPROTO));
	if (message.head.error)
		die("araxd", strerror(abs(message.head.error)));
	if (message.what == ARAX_TRACED_BEGIN)
		app_begin(t, &message, fds[0]);
	else if (message.what == ARAX_TRACED_END)
		app_end(t, message.serial);
	for (unsigned i = 0; i < ARAX_FDS_MAX; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return true;
}

static void daemon_messages(struct tracer *t)
{
	while (t->daemon >= 0 && daemon_message(t, 0))
		;
}

static void daemon_subscribe(struct tracer *t)
{
	const struct arax_control_trace message = {
	    .head = {.magic = ARAX_CONTROL_MAGIC, .type = ARAX_CONTROL_TRACE, .major = 1, .id = 1},
	    .descendants = t->program != NULL,
	};
	int error = arax_socket_send(t->daemon, &message, sizeof(message), NULL, 0);

	if (error)
		die("asking araxd", strerror(-error));
	if (!daemon_message(t, TIMEOUT_MS))
		die("araxd", "it does not answer");
}

/* Without a daemon there are no applications, but one to be started can start it. */
static void daemon_try(struct tracer *t)
{
	char path[256];

	t->daemon = t->program ? daemon_connect(path, sizeof(path)) : daemon_open();
	if (t->daemon >= 0)
		daemon_subscribe(t);
	else
		t->daemon = -1;
}

/* ---- the program ---------------------------------------------------------------------------- */

static int program_start(struct tracer *t)
{
	posix_spawnattr_t attributes;
	sigset_t none;

	/* What it leaves behind when it ends, descends from us all the same. */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	int error = posix_spawnp(&t->pid, t->program[0], NULL, &attributes, t->program, environ);
	posix_spawnattr_destroy(&attributes);
	if (error)
		t->pid = 0;
	return error;
}

static void program_reap(struct tracer *t)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != t->pid)
			continue;
		t->pid = 0;
		t->stop = true;
		t->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	}
}

/* The program is asked to end, then; the second signal is for us. A terminal has asked it already.
 */
static void on_signal(struct tracer *t)
{
	static bool asked;
	struct signalfd_siginfo info;

	if (read(t->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD) {
		program_reap(t);
		return;
	}
	if (!t->pid || asked)
		t->stop = true;
	else if (info.ssi_code != SI_KERNEL)
		kill(t->pid, (int)info.ssi_signo);
	asked = true;
}

static void signals_open(struct tracer *t)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN); /* becomes an error of the file */
	t->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (t->signals < 0)
		die("signals", strerror(errno));
}

/* ---- the loop ------------------------------------------------------------------------------- */

static int wait_ms(const struct tracer *t)
{
	int ms = t->apps ? t->seen ? BUSY_MS : QUIET_MS : -1;

	if (t->daemon < 0 && !t->lost)
		ms = CONNECT_MS;
	if (t->deadline_ns) {
		uint64_t now = arax_now_ns();
		uint64_t left =
		    now < t->deadline_ns ? (t->deadline_ns - now + 999999) / 1000000 : 0;

		if (ms < 0 || left < (uint64_t)ms)
			ms = left < 3600000 ? (int)left : 3600000;
	}
	return ms;
}

static void follow(struct tracer *t)
{
	while (!t->stop) {
		struct pollfd fds[] = {{.fd = t->signals, .events = POLLIN},
				       {.fd = t->daemon, .events = POLLIN}};

		if (poll(fds, 2, wait_ms(t)) < 0 && errno != EINTR)
			die("poll", strerror(errno));
		if (t->daemon < 0 && !t->lost)
			daemon_try(t);
		daemon_messages(t);
		read_all(t, false);
		if (fds[0].revents)
			on_signal(t);
		if (t->deadline_ns && arax_now_ns() >= t->deadline_ns)
			t->stop = true;
	}
	/* What the program has seen completed was written before, and its coming told of. */
	if (t->daemon < 0 && !t->lost)
		daemon_try(t);
	daemon_messages(t);
	read_all(t, true);
}

static void report(const struct tracer *t, const struct trace_totals *totals)
{
	fprintf(stderr, "arax: %s: %llu commands of %llu applications\n", t->path,
		(unsigned long long)totals->commands, (unsigned long long)totals->apps);
	if (totals->dropped)
		fprintf(stderr, "arax: %llu were lost: they came faster than they were read\n",
			(unsigned long long)totals->dropped);
	if (totals->unwanted)
		fprintf(stderr, "arax: %llu were left out: the file has its largest size\n",
			(unsigned long long)totals->unwanted);
	if (totals->invalid)
		fprintf(stderr, "arax: %llu entries were left out: they make no sense\n",
			(unsigned long long)totals->invalid);
	if (t->program && t->daemon < 0 && !t->lost)
		fprintf(stderr, "arax: no daemon was there: %s has not used Arax\n", t->program[0]);
}

static void usage(void)
{
	fputs("usage: arax trace FILE [--seconds N] [--limit MIB]\n"
	      "       arax trace FILE [--limit MIB] -- PROGRAM [ARGUMENTS...]\n"
	      "\n"
	      "Writes every command of every application that you may see to FILE, until Ctrl-C,\n"
	      "for N seconds, or of PROGRAM until it ends. FILE is for https://ui.perfetto.dev,\n"
	      "chrome://tracing and arax plot; it grows to 1024 MiB at most.\n",
	      stderr);
}

/* Return: -1 to go on, else the exit status. */
static int options(struct tracer *t, double *seconds, double *limit, int argc, char **argv)
{
	static const struct option longs[] = {{"seconds", required_argument, NULL, 's'},
					      {"limit", required_argument, NULL, 'l'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	char *end;

	for (int option; (option = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		double *value = option == 's' ? seconds : limit;

		if (option == 'h' || option == '?')
			return usage(), option == 'h' ? 0 : 2;
		*value = strtod(optarg, &end);
		if (*end || !*optarg || !(*value > 0) || *value > 1e9) {
			fprintf(stderr, "arax: %s is not a number above 0\n", optarg);
			return 2;
		}
	}
	if (optind == argc || (optind + 1 < argc && *seconds > 0))
		return usage(), 2;
	t->path = argv[optind];
	t->program = optind + 1 < argc ? argv + optind + 1 : NULL;
	return -1;
}

int command_trace(int argc, char **argv)
{
	struct tracer t = {.daemon = -1, .signals = -1};
	double seconds = 0, limit = LIMIT_MIB;
	struct trace_totals totals;
	int status = options(&t, &seconds, &limit, argc, argv);

	if (status >= 0)
		return status;
	signals_open(&t);
	if (!t.program) /* before the file is made */
		t.daemon = daemon_open();
	t.file = fopen(t.path, "we");
	if (!t.file)
		die(t.path, strerror(errno));
	setvbuf(t.file, NULL, _IOFBF, BUFFER);
	t.json = trace_json_new(t.file, arax_now_ns(), (uint64_t)(limit * (1 << 20)));
	if (!t.json)
		die("trace", strerror(ENOMEM));
	if (t.program)
		daemon_try(&t);
	else
		daemon_subscribe(&t);
	if (!t.program)
		fprintf(stderr, "arax: tracing to %s; Ctrl-C ends it\n", t.path);
	int error = t.program ? program_start(&t) : 0;
	if (error)
		fprintf(stderr, "arax: %s: %s\n", t.program[0], strerror(error));
	if (seconds > 0)
		t.deadline_ns = arax_now_ns() + (uint64_t)(seconds * 1e9);
	if (!error)
		follow(&t);
	int failed = trace_json_finish(t.json, &totals);
	if (fclose(t.file) && !failed)
		failed = -errno;
	if (failed)
		die(t.path, strerror(-failed));
	if (!error)
		report(&t, &totals);
	return error ? 1 : t.status;
}
