/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's side of the control plane. A connection is opened per purpose: one for enumeration,
 * one that lives as long as the tenant, one for every build, so that threads never queue behind
 * each other's replies.
 *
 * The library never prints (unless ARAX_LOG asks), never exits, installs no signal handlers. The
 * daemon that it starts is a process of its own: double-forked by posix_spawn'ed araxd itself
 * (--daemon returns when the socket listens), with a clean environment and no descriptors of ours.
 */
#include "icd/daemon.h"
#include "icd/icd.h"
#include "transport/control.h"
#include "transport/fault_point.h"
#include "transport/shm.h"
#include "transport/socket.h"
#include "transport/wake.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYSTEM_SOCKET "/run/arax/araxd.sock"
/* araxd's exit status when it failed and has said why on standard error. */
#define DAEMON_REPORTED 3
/* The first answer of a fresh daemon needs a tenant to describe the device. */
#define HELLO_TIMEOUT_MS 20000
#define ATTACH_TIMEOUT_MS 30000

void arax_log(const char *format, ...)
{
	va_list args;

	if (!secure_getenv("ARAX_LOG"))
		return;
	va_start(args, format);
	fputs("arax: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

void daemon_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* The path of the user's own daemon; 0 or -errno. */
static int user_socket(char *path, size_t size)
{
	const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
	int n;

	if (runtime && *runtime == '/')
		n = snprintf(path, size, "%s/arax/araxd.sock", runtime);
	else
		n = snprintf(path, size, "/tmp/arax-%u/araxd.sock", (unsigned)geteuid());
	return n > 0 && (size_t)n < size ? 0 : -ENAMETOOLONG;
}

/* Only root's daemon or our own may serve us. */
static int connect_checked(const char *path)
{
	pid_t pid;
	uid_t uid;
	gid_t gid;
	int fd = arax_socket_connect(path);

	if (fd < 0)
		return fd;
	int err = arax_socket_peer(fd, &pid, &uid, &gid);
	if (!err && uid != 0 && uid != geteuid())
		err = -EPERM;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

static bool executable(const char *path)
{
	return access(path, X_OK) == 0;
}

/* araxd: named by the environment, beside the library, or where it was installed. */
static bool find_daemon(char *path, size_t size)
{
	const char *named = secure_getenv("ARAX_DAEMON");
	static const char *const beside[] = {"", "../bin/", "../sbin/", "../../bin/",
					     "../../sbin/"};
	Dl_info info;

	if (named) {
		snprintf(path, size, "%s", named);
		return executable(path);
	}
	if (dladdr((void *)find_daemon, &info) && info.dli_fname) {
		char real[PATH_MAX];

		if (realpath(info.dli_fname, real)) {
			char *slash = strrchr(real, '/');

			if (slash)
				slash[1] = 0;
			for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
				snprintf(path, size, "%.3000s%saraxd", real, beside[i]);
				if (executable(path))
					return true;
			}
		}
	}
	snprintf(path, size, "%s", ARAX_DAEMON_PATH);
	return executable(path);
}

static void free_environment(char **env)
{
	for (size_t i = 0; env && env[i]; i++)
		free(env[i]);
	free(env);
}

/* What araxd gets of our environment: where to put things, never what changes how it loads code. */
static char **daemon_environment(void)
{
	static const char *const keep[] = {
	    "PATH",
	    "HOME",
	    "LANG",
	    "USER",
	    "XDG_RUNTIME_DIR",
	    "XDG_CACHE_HOME",
	    "XDG_CONFIG_HOME",
	    "TMPDIR",
	    "ARAX_LOG",
	    "ASAN_OPTIONS",
	    "UBSAN_OPTIONS",
	    "TSAN_OPTIONS",
	    "LSAN_OPTIONS",
#ifdef ARAX_FAULT_POINTS
	    "ARAX_FAULT_PAGE",
#endif
	};
	enum { count = sizeof(keep) / sizeof(keep[0]) };
	char **env = calloc(count + 1, sizeof(*env));

	for (size_t i = 0, n = 0; env && i < count; i++) {
		const char *value = getenv(keep[i]);

		if (value && asprintf(&env[n++], "%s=%s", keep[i], value) < 0) {
			env[n - 1] = NULL;
			free_environment(env);
			env = NULL;
		}
	}
	return env;
}

/* Every descriptor above standard error is closed in the child, whoever opened it. */
static int spawn_daemon(const char *program, const char *socket_path)
{
	char *argv[] = {(char *)program, "--daemon", "--socket", (char *)socket_path, NULL};
	char **env = daemon_environment();
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	pid_t pid;

	if (!env)
		return -ENOMEM;
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	int err = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	err = err ?: posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	if (!getenv("ARAX_LOG"))
		err =
		    err ?: posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	err = err ?: posix_spawn_file_actions_addclosefrom_np(&actions, 3);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
					    POSIX_SPAWN_SETSID);
	err = err ?: posix_spawn(&pid, program, &actions, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	free_environment(env);
	if (err)
		return -err;
	ARAX_FAULT_POINT(CLIENT_STARTS_DAEMON);
	/* --daemon: the parent exits as soon as the socket listens (or with an error). */
	int status;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno == ECHILD) /* the application reaps all children or ignores SIGCHLD */
			return 0;
		if (errno != EINTR)
			return -errno;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (!WIFEXITED(status)) { /* somebody killed it: the caller may try again */
		arax_log("%s was ended by signal %d as it started", program, WTERMSIG(status));
		return -ECONNRESET;
	}
	if (WEXITSTATUS(status) != DAEMON_REPORTED)
		arax_log("%s could not be started: it ended with status %d", program,
			 WEXITSTATUS(status));
	return -ECHILD;
}

static int start_daemon(const char *socket_path)
{
	char program[PATH_MAX];

	if (getauxval(AT_SECURE)) {
		arax_log("no daemon answers, and a set-uid program does not start one");
		return -EPERM;
	}
	if (!find_daemon(program, sizeof(program))) {
		arax_log("no daemon answers and araxd was not found (ARAX_DAEMON, beside the "
			 "library, %s)",
			 ARAX_DAEMON_PATH);
		return -ENOENT;
	}
	int err = spawn_daemon(program, socket_path);
	if (err && err != -ECHILD && err != -ECONNRESET) /* those have been reported */
		arax_log("%s could not be started: %s", program, strerror(-err));
	return err;
}

static int connect_or_start(void)
{
	const char *named = secure_getenv("ARAX_SOCKET");
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int fd = -ENOENT;

	if (named) {
		if ((size_t)snprintf(path, sizeof(path), "%s", named) >= sizeof(path)) {
			arax_log("ARAX_SOCKET is too long for a socket's path");
			return -ENAMETOOLONG;
		}
	} else {
		fd = connect_checked(SYSTEM_SOCKET);
		if (fd >= 0)
			return fd;
		int err = user_socket(path, sizeof(path));
		if (err) {
			arax_log("XDG_RUNTIME_DIR is too long for a socket's path");
			return err;
		}
	}
	fd = connect_checked(path);
	if (fd >= 0)
		return fd;
	if (fd != -ENOENT && fd != -ECONNREFUSED) {
		arax_log("%s: %s", path, strerror(-fd));
		return fd;
	}
	int err = start_daemon(path);
	if (err)
		return err;
	return connect_checked(path);
}

/* Sends a request and receives its reply: 0, or -errno of the transport or of the reply. */
static int request(int fd, struct arax_control_head *head, size_t size, uint16_t type,
		   const int *send_fds, unsigned nsend, int fds[ARAX_FDS_MAX], int timeout_ms)
{
	head->magic = ARAX_CONTROL_MAGIC;
	head->type = type;
	head->major = ARAX_PROTOCOL_MAJOR;
	head->minor = ARAX_PROTOCOL_MINOR;
	head->id = 1;
	int err = arax_socket_send(fd, head, size, send_fds, nsend);
	if (err)
		return err;
	ARAX_FAULT_POINT(CLIENT_ASKED);
	ssize_t n = arax_socket_recv(fd, head, size, fds, timeout_ms);
	if (n <= 0)
		return n ? (int)n : -ECONNRESET;
	if ((size_t)n != size || head->magic != ARAX_CONTROL_MAGIC ||
	    head->type != (type | ARAX_CONTROL_REPLY))
		err = -EPROTO;
	else if (head->error)
		err = head->error > 0 ? -head->error : -EPROTO;
	if (err) {
		for (unsigned i = 0; i < ARAX_FDS_MAX; i++)
			daemon_close(fds[i]);
	}
	return err;
}

static int read_info(int fd, struct arax_device_info *info)
{
	const void *data;
	size_t size;
	int err = arax_memfd_map(fd, 1u << 20, &data, &size);

	if (err)
		return err;
	memset(info, 0, sizeof(*info));
	memcpy(info, data, size < sizeof(*info) ? size : sizeof(*info));
	munmap((void *)data, size);
	if (info->size < offsetof(struct arax_device_info, nformats))
		return -EPROTO;
	/* strings are used as such */
	info->name[sizeof(info->name) - 1] = 0;
	info->compiler[sizeof(info->compiler) - 1] = 0;
	info->extensions[sizeof(info->extensions) - 1] = 0;
	info->c_features[sizeof(info->c_features) - 1] = 0;
	info->builtins[sizeof(info->builtins) - 1] = 0;
	if (info->nformats > ARAX_FORMATS_MAX)
		info->nformats = ARAX_FORMATS_MAX;
	return 0;
}

int daemon_hello(struct arax_device_info *info)
{
	struct arax_control_hello hello;
	int fds[ARAX_FDS_MAX];
	int err = 0;

	/* a daemon that was just leaving closes the connection: ask its successor */
	for (int attempt = 0; attempt < 3; attempt++) {
		int fd = connect_or_start();

		if (fd == -ECONNRESET || fd == -ECONNREFUSED) { /* killed as it started */
			err = fd;
			continue;
		}
		if (fd < 0)
			return fd;
		ARAX_FAULT_POINT(CLIENT_CONNECTED);
		memset(&hello, 0, sizeof(hello));
		hello.pid = getpid();
		err = request(fd, &hello.head, sizeof(hello), ARAX_CONTROL_HELLO, NULL, 0, fds,
			      HELLO_TIMEOUT_MS);
		if (!err) {
			if (info)
				err = read_info(fds[0], info);
			for (unsigned i = 0; i < ARAX_FDS_MAX; i++)
				daemon_close(fds[i]);
			if (!err)
				return fd;
		}
		close(fd);
		if (err != -ECONNRESET && err != -EPIPE)
			break;
	}
	arax_log("araxd does not serve this process: %s", strerror(-err));
	return err;
}

static void attach_fill(struct arax_control_attach *attach)
{
	const char *devices = secure_getenv("ARAX_DEVICES");
	const char *policy = secure_getenv("ARAX_POLICY");

	memset(attach, 0, sizeof(*attach));
	snprintf(attach->devices, sizeof(attach->devices), "%s", devices ? devices : "");
	snprintf(attach->policy, sizeof(attach->policy), "%s", policy ? policy : "");
	snprintf(attach->program, sizeof(attach->program), "%s", program_invocation_short_name);
}

static int attach_received(const int fds[ARAX_FDS_MAX])
{
	if (fds[0] >= 0 && fds[1] >= 0)
		return 0;
	for (unsigned i = 0; i < ARAX_FDS_MAX; i++)
		daemon_close(fds[i]);
	return -EPROTO;
}

/* A daemon from before there were limits says 0. */
static void attach_limits(const struct arax_control_attach *attach, struct attached *limits)
{
	*limits = (struct attached){.arena_size = attach->arena_size,
				    .flags = attach->flags,
				    .commands = attach->commands,
				    .objects = attach->objects};
	if (!limits->commands || limits->commands > ARAX_SLOTS)
		limits->commands = ARAX_SLOTS;
	if (!limits->objects)
		limits->objects = UINT32_MAX;
}

int daemon_attach(int fd, int *arena, int *link, int *trace, struct attached *limits)
{
	struct arax_control_attach attach;
	int fds[ARAX_FDS_MAX];

	attach_fill(&attach);
	int err = request(fd, &attach.head, sizeof(attach), ARAX_CONTROL_ATTACH, NULL, 0, fds,
			  ATTACH_TIMEOUT_MS);
	if (err) {
		arax_log("no tenant: %s%s", strerror(-err),
			 err == -EINVAL ? " (ARAX_DEVICES or ARAX_POLICY)" : "");
		return err;
	}
	err = attach_received(fds);
	if (err)
		return err;
	*arena = fds[0];
	*link = fds[1];
	*trace = fds[2];
	attach_limits(&attach, limits);
	return 0;
}

int daemon_replace(int fd, int arena, uint64_t arena_size, char *died)
{
	struct arax_control_attach attach;
	int fds[ARAX_FDS_MAX];

	attach_fill(&attach);
	int err = request(fd, &attach.head, sizeof(attach), ARAX_CONTROL_ATTACH, &arena, 1, fds,
			  ATTACH_TIMEOUT_MS);
	if (!err)
		err = attach_received(fds);
	if (err)
		return err;
	close(fds[0]); /* the same as ours, and so is the trace */
	daemon_close(fds[2]);
	memcpy(died, attach.died, sizeof(attach.died));
	died[sizeof(attach.died) - 1] = 0;
	if (attach.arena_size != arena_size) {
		close(fds[1]);
		return -EPROTO;
	}
	return fds[1];
}

static int build_once(int memfd, unsigned char **result, size_t *size)
{
	struct arax_control_plain build = {0};
	int fds[ARAX_FDS_MAX];
	const void *data;
	int fd = daemon_hello(NULL);

	if (fd < 0)
		return fd;
	ARAX_FAULT_POINT(CLIENT_BUILDS);
	int err = request(fd, &build.head, sizeof(build), ARAX_CONTROL_BUILD, &memfd, 1, fds, -1);
	close(fd);
	if (err)
		return err;
	err = arax_memfd_map(fds[0], ARAX_BUILD_MAX, &data, size);
	for (unsigned i = 0; i < ARAX_FDS_MAX; i++)
		daemon_close(fds[i]);
	if (err)
		return err;
	*result = malloc(*size);
	if (*result)
		memcpy(*result, data, *size);
	munmap((void *)data, *size);
	return *result ? 0 : -ENOMEM;
}

int daemon_build(const void *request_bytes, size_t request_size, unsigned char **result,
		 size_t *size)
{
	int memfd = arax_memfd_from("arax-build", request_bytes, request_size);

	if (memfd < 0)
		return memfd;
	int err = build_once(memfd, result, size);
	/* araxd is crash-only: when it dies under a request, ask its successor, once */
	if (err == -ECONNRESET || err == -EPIPE)
		err = build_once(memfd, result, size);
	close(memfd);
	return err;
}
