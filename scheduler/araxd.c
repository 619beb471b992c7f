/* SPDX-License-Identifier: Apache-2.0
 *
 * araxd: accepts and identifies clients, keeps tenants and the compiler running, hands tenants
 * out, and watches all of them. One thread; no command of a client passes through it and no code
 * of a client runs in it.
 *
 * Crash-only: applications that have their tenant go on without it, and the next araxd takes them
 * over (araxd_adopt.h).
 */
#include "scheduler/araxd.h"

#include "scheduler/araxd_adopt.h"
#include "scheduler/araxd_build.h"
#include "scheduler/araxd_cgroup.h"
#include "scheduler/araxd_child.h"
#include "scheduler/araxd_device.h"
#include "scheduler/araxd_manage.h"
#include "scheduler/araxd_socket.h"
#include "scheduler/araxd_variants.h"
#include "scheduler/araxd_work.h"
#include "scheduler/pool.h"
#include "scheduler/status.h"
#include "transport/fault_point.h"
#include "transport/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/* Failed, and said why: the library that started it then adds nothing (icd/daemon.c). */
#define EXIT_REPORTED 3
#define USER_IDLE_EXIT 30

struct options {
	const char *socket, *config, *libexec;
	long idle_exit; /* -1: as configured */
	bool daemonise;
};

void araxd_log(int level, const char *format, ...)
{
	/* systemd takes the number as the level; elsewhere it would only confuse. */
	static int journal = -1;
	va_list arguments;

	if (journal < 0)
		journal = getenv("JOURNAL_STREAM") != NULL;
	if (journal)
		fprintf(stderr, "<%d>", level);
	else
		fputs("araxd: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

void araxd_progress(struct araxd *daemon)
{
	struct request **at = &daemon->waiting;

	/* The first tenant is there: now the compiler, which nobody needs to see a device. */
	builder_warm(daemon->builder);
	devices_notice(daemon->devices);
	while (*at) {
		struct request *request = *at, *next = request->next;

		*at = next;
		if (client_serve(request))
			continue;
		/* Serving may have changed the list behind it, but nothing before it. */
		request->next = *at;
		*at = request;
		at = &request->next;
	}
}

void araxd_unavailable(struct araxd *daemon, int error)
{
	struct request *list = daemon->waiting;

	daemon->waiting = NULL;
	while (list) {
		struct request *request = list;

		list = request->next;
		if (request->head.type == ARAX_CONTROL_ATTACH)
			request->client->attaching = false;
		client_reply_plain(request->client, &request->head, error, -1);
		request_free(request);
	}
}

/* Requests that have waited too long. */
static void araxd_expire(struct timer *timer)
{
	struct araxd *daemon = CONTAINER(timer, struct araxd, waiting_timer);
	struct request **at = &daemon->waiting;
	uint64_t now = arax_now_ns();

	while (*at) {
		struct request *request = *at;

		if (request->deadline_ns > now) {
			at = &request->next;
			continue;
		}
		*at = request->next;
		if (request->head.type == ARAX_CONTROL_ATTACH)
			request->client->attaching = false;
		client_reply_plain(request->client, &request->head, ETIMEDOUT, -1);
		request_free(request);
	}
	/* The oldest is the first. */
	if (daemon->waiting)
		timer_set(&daemon->loop, timer, (daemon->waiting->deadline_ns - now) / 1000000 + 1);
}

void araxd_idle(struct araxd *daemon)
{
	bool tenants = daemon->pool && pool_count(daemon->pool).attached;
	bool idle = !daemon->nclients && !tenants;

	if (daemon->stopping && !tenants)
		daemon->loop.quit = true;
	if (!idle || !daemon->config.idle_exit)
		timer_clear(&daemon->loop, &daemon->idle_timer);
	else if (!daemon->idle_timer.at_ns)
		timer_set(&daemon->loop, &daemon->idle_timer,
			  (uint64_t)daemon->config.idle_exit * 1000);
}

static void araxd_idle_out(struct timer *timer)
{
	struct araxd *daemon = CONTAINER(timer, struct araxd, idle_timer);

	araxd_info("leaving: nobody was here for %u s", daemon->config.idle_exit);
	daemon->loop.quit = true;
}

static void araxd_listening(struct source *source, uint32_t events)
{
	(void)events;
	client_accept(CONTAINER(source, struct araxd, listening));
}

static void araxd_signal(struct source *source, uint32_t events)
{
	struct araxd *daemon = CONTAINER(source, struct araxd, signals);
	struct signalfd_siginfo info;

	(void)events;
	if (read(source->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD)
		child_orphans(&daemon->loop);
	else if (info.ssi_signo == SIGHUP)
		manage_reload(daemon);
	else
		daemon->loop.quit = true;
}

static int araxd_signals(struct araxd *daemon)
{
	sigset_t signals;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
		return -errno;
	daemon->signals.ready = araxd_signal;
	daemon->signals.fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (daemon->signals.fd < 0)
		return -errno;
	return loop_add(&daemon->loop, &daemon->signals, EPOLLIN);
}

static bool araxd_has_programs(const char *directory)
{
	char path[PATH_MAX];
	int length = snprintf(path, sizeof(path), "%s/arax-tenant", directory);

	return length > 0 && (size_t)length < sizeof(path) && access(path, X_OK) == 0;
}

/* Where the children's programs are: as asked, beside this one, or where they are installed. */
static int araxd_libexec(struct araxd *daemon, const char *asked)
{
	char self[PATH_MAX], beside[PATH_MAX + 32];
	ssize_t n = asked ? -1 : readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *found = asked ? asked : ARAX_LIBEXECDIR;

	if (n > 0) {
		self[n] = '\0';
		char *directory = dirname(self);

		snprintf(beside, sizeof(beside), "%s/../libexec/arax", directory);
		if (araxd_has_programs(directory))
			found = directory;
		else if (araxd_has_programs(beside))
			found = beside;
	}
	daemon->libexec = strdup(found);
	return daemon->libexec ? 0 : -ENOMEM;
}

/* To the background, only now that the socket can be connected to. */
static int araxd_detach(void)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0)
		return -errno;
	if (pid > 0)
		_exit(0);
	if (setsid() < 0 || chdir("/") < 0)
		return -errno;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return -errno;
	for (int fd = 0; fd < 3; fd++)
		if (dup2(null, fd) < 0)
			return -errno;
	if (null > 2)
		close(null);
	return 0;
}

void araxd_idle_seconds(const struct araxd *daemon, struct config *config)
{
	if (daemon->idle_exit >= 0)
		config->idle_exit = (unsigned)daemon->idle_exit;
	else if (!config->has_idle_exit)
		config->idle_exit = daemon->system ? 0 : USER_IDLE_EXIT;
}

static int araxd_open(struct araxd *daemon, const struct options *options)
{
	char error[CONFIG_ERROR];
	int result = socket_open(daemon, options->socket);

	if (result == -EEXIST)
		return result;
	if (result) {
		if (daemon->socket_path) /* else its directory was the matter, and was reported */
			araxd_error("%s: %s", daemon->socket_path, strerror(-result));
		return result;
	}
	ARAX_FAULT_POINT(ARAXD_LISTENS);
	result = config_load(&daemon->config, options->config, daemon->system, error);
	if (result) {
		araxd_error("%s", error[0] ? error : strerror(-result));
		return result;
	}
	/* It is read again from another directory (araxd_detach()). */
	daemon->config_path = options->config ? realpath(options->config, NULL) : NULL;
	if (options->config && !daemon->config_path) {
		araxd_error("%s: %s", options->config, strerror(errno));
		return -errno;
	}
	daemon->idle_exit = options->idle_exit;
	araxd_idle_seconds(daemon, &daemon->config);
	result = araxd_libexec(daemon, options->libexec);
	if (result)
		araxd_error("start: %s", strerror(-result));
	return result;
}

static int araxd_start(struct araxd *daemon, const struct options *options)
{
	int error = options->daemonise ? araxd_detach() : 0;

	/* What the zygote forks becomes ours. Not inherited, so not before the fork above. */
	if (!error && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		error = -errno;
	if (!error)
		error = work_open(daemon);
	ARAX_FAULT_POINT(ARAXD_HAS_WORK_DIRECTORY);
	if (!error)
		error = loop_init(&daemon->loop);
	if (!error)
		error = araxd_signals(daemon);
	daemon->listening.ready = araxd_listening;
	if (!error)
		error = loop_add(&daemon->loop, &daemon->listening, EPOLLIN);
	daemon->history = history_new();
	if (!error && !daemon->history)
		error = -ENOMEM;
	if (!error)
		error = variants_load(daemon);
	if (!error)
		error = cgroups_new(NULL, NULL, &daemon->cgroups);
	if (!error)
		error = pool_new(daemon, &daemon->pool);
	if (!error)
		error = builder_new(daemon, &daemon->builder);
	if (!error)
		error = devices_new(daemon, &daemon->devices);
	if (error)
		return error;
	daemon->started_ns = arax_now_ns();
	daemon->waiting_timer.fire = araxd_expire;
	daemon->idle_timer.fire = araxd_idle_out;
	daemon->accept_timer.fire = client_accept_again;
	error = adopt_all(daemon);
	if (error)
		return error;
	pool_fill(daemon->pool);
	araxd_idle(daemon);
	sd_notify(0, "READY=1\nSTATUS=Serving");
	ARAX_FAULT_POINT(ARAXD_STARTED);
	return 0;
}

static void araxd_stop(struct araxd *daemon)
{
	sd_notify(0, "STOPPING=1");
	adopt_close(daemon);
	/* Their tenants go on: from here on they belong to nobody. */
	while (daemon->clients) {
		daemon->clients->tenant = NULL;
		client_free(daemon->clients);
	}
	devices_free(daemon->devices);
	cgroups_free(daemon->cgroups);
	pool_free(daemon->pool);
	adopt_free(daemon);
	builder_free(daemon->builder);
	history_free(daemon->history);
	variants_free(daemon);
	loop_remove(&daemon->loop, &daemon->signals);
	work_close(daemon);
	/* Last: whoever listens next finds everything as it is to stay. */
	socket_close(daemon);
	loop_fini(&daemon->loop);
	if (daemon->spare >= 0)
		close(daemon->spare);
	free(daemon->config_path);
	free(daemon->libexec);
	free(daemon->socket_path);
}

static void araxd_help(void)
{
	puts("araxd serves the Arax OpenCL platform to applications.\n"
	     "\n"
	     "  --socket PATH        listen here (default: systemd's socket, /run/arax/araxd.sock\n"
	     "                       for root, else $XDG_RUNTIME_DIR/arax/araxd.sock)\n"
	     "  --config FILE        configuration (default: see arax.conf(5))\n"
	     "  --idle-exit SECONDS  leave when nobody was here for so long; 0: never\n"
	     "  --libexec DIR        where arax-tenant and arax-compile are\n"
	     "  -f, --foreground     stay in the foreground (default)\n"
	     "  --daemon             go to the background once the socket listens\n"
	     "  --version, --help");
}

/* Return: -1 to go on, else the exit status. */
static int araxd_options(struct options *options, int argc, char **argv)
{
	enum { SOCKET = 256, CONFIG, IDLE, LIBEXEC, DAEMON, VERSION, HELP };
	static const struct option longs[] = {
	    {"socket", required_argument, NULL, SOCKET},
	    {"config", required_argument, NULL, CONFIG},
	    {"idle-exit", required_argument, NULL, IDLE},
	    {"libexec", required_argument, NULL, LIBEXEC},
	    {"daemon", no_argument, NULL, DAEMON},
	    {"foreground", no_argument, NULL, 'f'},
	    {"version", no_argument, NULL, VERSION},
	    {"help", no_argument, NULL, HELP},
	    {0},
	};
	char *end;

	for (int option; (option = getopt_long(argc, argv, "f", longs, NULL)) != -1;) {
		switch (option) {
		case SOCKET:
			options->socket = optarg;
			break;
		case CONFIG:
			options->config = optarg;
			break;
		case IDLE:
			options->idle_exit = strtol(optarg, &end, 10);
			if (*end || !*optarg || options->idle_exit < 0 ||
			    options->idle_exit > INT_MAX)
				return araxd_error("--idle-exit takes seconds"), 2;
			break;
		case LIBEXEC:
			options->libexec = optarg;
			break;
		case DAEMON:
			options->daemonise = true;
			break;
		case 'f':
			options->daemonise = false;
			break;
		case VERSION:
			return puts("araxd " ARAX_VERSION), 0;
		case HELP:
			return araxd_help(), 0;
		default:
			return 2;
		}
	}
	if (optind < argc)
		return araxd_error("%s is not an option", argv[optind]), 2;
	return -1;
}

int main(int argc, char **argv)
{
	static struct araxd daemon = {
	    .lock = -1, .work_lock = -1, .adopt_folder = -1, .listening.fd = -1, .signals.fd = -1};
	struct options options = {.idle_exit = -1};
	struct rlimit files;
	int status = araxd_options(&options, argc, argv);

	if (status >= 0)
		return status;
	/* Four descriptors for each client and more for its tenant. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	umask(077);
	daemon.loop.epoll = -1;
	daemon.spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int error = araxd_open(&daemon, &options);
	if (error == -EEXIST)
		return 0; /* there is one already, and it can be connected to */
	if (!error) {
		error = araxd_start(&daemon, &options);
		if (!error)
			error = loop_run(&daemon.loop);
		if (error)
			araxd_error("%s", strerror(-error));
		else if (daemon.broken)
			error = -EIO;
	}
	araxd_stop(&daemon);
	return error ? EXIT_REPORTED : 0;
}
