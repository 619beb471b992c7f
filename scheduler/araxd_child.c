/* SPDX-License-Identifier: Apache-2.0
 *
 * Starting and watching araxd's children. Signals go through the pidfd only, so never to a process
 * that has come to have the same number.
 */
#include "scheduler/araxd_child.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_CONTROL 3

extern char **environ;

static bool child_passes(const char *variable)
{
	static const char *const names[] = {
	    "PATH=",
	    "LANG=",
	    "ARAX_LOG=",
	    "ASAN_OPTIONS=",
	    "TSAN_OPTIONS=",
	    "UBSAN_OPTIONS=",
	    "POCL_",
#ifdef ARAX_FAULT_POINTS
	    "ARAX_FAULT_PAGE=",
#endif
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(variable, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/* The child's environment: an array whose strings are environ's but for the first. */
static char **child_environment(const char *work)
{
	size_t count = 0, used = 0;

	while (environ && environ[count])
		count++;
	char **env = calloc(count + 2, sizeof(*env));
	if (!env || asprintf(&env[used++], "ARAX_WORK_DIR=%s", work) < 0) {
		free(env);
		return NULL;
	}
	for (size_t i = 0; i < count; i++)
		if (child_passes(environ[i]))
			env[used++] = environ[i];
	return env;
}

static int child_spawn(pid_t *pid, const char *path, char *const argv[], char *const env[],
		       int control)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int error;

	sigemptyset(&none);
	sigfillset(&all);
	if (posix_spawn_file_actions_init(&actions) != 0)
		return -ENOMEM;
	if (posix_spawnattr_init(&attributes) != 0) {
		posix_spawn_file_actions_destroy(&actions);
		return -ENOMEM;
	}
	error = posix_spawn_file_actions_adddup2(&actions, control, CHILD_CONTROL);
	error = error ?: posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	error = error ?: posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	error = error ?: posix_spawn_file_actions_addclosefrom_np(&actions, CHILD_CONTROL + 1);
	error = error ?: posix_spawnattr_setsigmask(&attributes, &none);
	error = error ?: posix_spawnattr_setsigdefault(&attributes, &all);
	error = error
		    ?: posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK |
								 POSIX_SPAWN_SETSIGDEF |
								 POSIX_SPAWN_SETSID);
	error = error ?: posix_spawn(pid, path, &actions, &attributes, argv, env);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return -error;
}

static void child_close(struct child *child)
{
	for (struct child **at = &child->loop->children; *at; at = &(*at)->next) {
		if (*at == child) {
			*at = child->next;
			break;
		}
	}
	loop_remove(child->loop, &child->control);
	loop_remove(child->loop, &child->process);
	child->pid = 0;
}

static bool child_known(const struct loop *loop, pid_t pid)
{
	for (const struct child *c = loop->children; c; c = c->next)
		if (c->pid == pid)
			return true;
	return false;
}

void child_orphans(struct loop *loop)
{
	/* A tenant whose number has not come from the zygote yet would look like an orphan. */
	while (!loop->expected) {
		siginfo_t how = {0};

		if (waitid(P_ALL, 0, &how, WEXITED | WNOHANG | WNOWAIT) < 0 || how.si_pid == 0)
			return;
		/* Its own event comes, and afterwards we are called again. */
		if (child_known(loop, how.si_pid))
			return;
		if (waitid(P_PID, (id_t)how.si_pid, &how, WEXITED | WNOHANG) < 0)
			return;
	}
}

static void child_process_ready(struct source *source, uint32_t events)
{
	struct child *child = CONTAINER(source, struct child, process);
	struct loop *loop = child->loop;
	siginfo_t how = {0};

	(void)events;
	/* That takes some milliseconds; until then the loop comes back to this. */
	if (child->held && atomic_load(child->held))
		return;
	if (!child->foreign &&
	    (waitid(P_PIDFD, (id_t)source->fd, &how, WEXITED | WNOHANG) < 0 || how.si_pid == 0))
		return;
	child_close(child);
	child->ended(child, &how);
	child_orphans(loop);
}

static void child_control_ready(struct source *source, uint32_t events)
{
	struct child *child = CONTAINER(source, struct child, control);
	union {
		struct arax_control_head head;
		char bytes[ARAX_CONTROL_MAX];
	} message;
	int fds[ARAX_FDS_MAX];

	(void)events;
	ssize_t n = arax_socket_recv(source->fd, &message, sizeof(message), fds, 0);
	if (n == -ETIMEDOUT || n == -EAGAIN || n == -EINTR)
		return;
	if (n < (ssize_t)sizeof(message.head) || message.head.magic != ARAX_CONTROL_MAGIC) {
		/* It closed its end or speaks nonsense; its end is reported by the pidfd. */
		child_kill(child);
		loop_remove(child->loop, source);
		if (n <= 0)
			return;
	} else {
		child->message(child, &message.head, (size_t)n, fds);
	}
	for (int i = 0; i < ARAX_FDS_MAX; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* Makes the two ends of the control socket; ours does not block. Return: the child's, -errno. */
static int child_connect(struct child *child, struct loop *loop)
{
	int sockets[2];

	child->loop = loop;
	child->pid = 0;
	child->foreign = false;
	child->control = (struct source){.fd = -1, .ready = child_control_ready};
	child->process = (struct source){.fd = -1, .ready = child_process_ready};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return -errno;
	if (fcntl(sockets[0], F_SETFL, O_NONBLOCK) < 0) {
		int error = -errno;

		close(sockets[0]);
		close(sockets[1]);
		return error;
	}
	child->control.fd = sockets[0];
	return sockets[1];
}

/* It is not waited for before this, so the number is still its own. */
static int child_watch(struct child *child)
{
	child->process.fd = (int)syscall(SYS_pidfd_open, child->pid, 0);
	if (child->process.fd < 0)
		return -errno;
	int error = loop_add(child->loop, &child->control, EPOLLIN);
	return error ?: loop_add(child->loop, &child->process, EPOLLIN);
}

static void child_enlist(struct child *child)
{
	child->next = child->loop->children;
	child->loop->children = child;
}

int child_start(struct child *child, struct loop *loop, const char *path, char *const argv[],
		const char *work)
{
	int other = child_connect(child, loop);

	if (other < 0)
		return other;
	char **env = child_environment(work);
	int error = env ? child_spawn(&child->pid, path, argv, env, other) : -ENOMEM;
	close(other);
	if (env)
		free(env[0]);
	free(env);
	if (error) {
		child_close(child);
		return error;
	}
	child_enlist(child);
	error = child_watch(child);
	if (error)
		child_finish(child);
	return error;
}

int child_expect(struct child *child, struct loop *loop)
{
	int other = child_connect(child, loop);

	if (other >= 0)
		loop->expected++;
	return other;
}

void child_unexpect(struct child *child)
{
	child_close(child);
	child->loop->expected--;
	child_orphans(child->loop);
}

int child_adopt(struct child *child, pid_t pid)
{
	siginfo_t how;

	child->pid = pid;
	int error = child_watch(child);
	if (!error &&
	    waitid(P_PIDFD, (id_t)child->process.fd, &how, WEXITED | WNOHANG | WNOWAIT) < 0)
		error = -errno;
	if (error) {
		/* Not killed: it might be somebody else's. Ours leaves with its socket. */
		child_unexpect(child);
		return error;
	}
	child_enlist(child);
	child->loop->expected--;
	child_orphans(child->loop);
	return 0;
}

int child_take(struct child *child, struct loop *loop, pid_t pid, int process, int control)
{
	int error = 0;

	child->loop = loop;
	child->pid = pid;
	child->foreign = true;
	child->control = (struct source){.fd = control, .ready = child_control_ready};
	child->process = (struct source){.fd = process, .ready = child_process_ready};
	if (control >= 0)
		error = loop_add(loop, &child->control, EPOLLIN);
	if (!error)
		error = loop_add(loop, &child->process, EPOLLIN);
	if (!error)
		return 0;
	loop_forget(loop, &child->control);
	loop_forget(loop, &child->process);
	child->pid = 0;
	return error;
}

void child_kill(struct child *child)
{
	if (child->pid && child->process.fd >= 0)
		syscall(SYS_pidfd_send_signal, child->process.fd, SIGKILL, NULL, 0);
}

void child_forget(struct child *child)
{
	child_close(child);
}

void child_finish(struct child *child)
{
	siginfo_t how;

	if (!child->pid)
		return;
	if (child->process.fd >= 0)
		child_kill(child);
	else
		kill(child->pid, SIGKILL);
	while (waitid(P_PID, (id_t)child->pid, &how, WEXITED) < 0 && errno == EINTR)
		;
	child_close(child);
}

void child_describe(const siginfo_t *how, char *text, size_t size)
{
	if (how->si_code == 0)
		snprintf(text, size, "has ended");
	else if (how->si_code == CLD_EXITED)
		snprintf(text, size, "exited with %d", how->si_status);
	else
		snprintf(text, size, "was ended by SIG%s", sigabbrev_np(how->si_status) ?: "?");
}
