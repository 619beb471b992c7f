/* SPDX-License-Identifier: Apache-2.0
 *
 * arax-device's own process, see device_process.h.
 */
#include "devices/device_process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "kernels/tree.h"
#include "transport/control.h"
#include "transport/socket.h"

static char scratch_dir[PATH_MAX]; /* to be removed at the end */

/* The lock says that the directory is in use for as long as this process lives. */
static int hold(const char *work)
{
	int fd = open(work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return flock(fd, LOCK_SH | LOCK_NB) ? -errno : 0;
}

/* A directory of our own below work, where there is no private one. */
static int scratch_below(const char *work, char *path)
{
	int rc = work ? hold(work) : 0;

	if (rc)
		return rc;
	if (!mkdtemp(path))
		return -errno;
	memcpy(scratch_dir, path, PATH_MAX);
	return 0;
}

static int environment(const char *scratch)
{
	static const char *const names[] = {"TMPDIR", "HOME", "XDG_CACHE_HOME", "ARAX_WORK_DIR"};
	/* For leak checkers and their like, which look for it late. */
	static const char *const kept[] = {"ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"};
	char *values[3] = {NULL};
	int rc = 0;

	for (int i = 0; i < 3; i++)
		if (getenv(kept[i]))
			values[i] = strdup(getenv(kept[i]));
	clearenv();
	for (int i = 0; i < 3; i++) {
		if (values[i] && setenv(kept[i], values[i], 1))
			rc = -ENOMEM;
		free(values[i]);
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (setenv(names[i], scratch, 1))
			rc = -ENOMEM;
	return rc;
}

int process_enter(struct sandbox *sandbox, bool off)
{
	const char *work = getenv("ARAX_WORK_DIR");
	char path[PATH_MAX], scratch[PATH_MAX];
	int rc = sandbox_open(sandbox, SANDBOX_DEVICE, off);

	if (rc)
		return rc;
	if (!getenv("ARAX_DEBUG") && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return -errno;
	if (work && !work[0])
		work = NULL;
	if ((size_t)snprintf(path, sizeof(path), "%s/device-XXXXXX", work ? work : "/tmp") >=
	    sizeof(path))
		return -ENAMETOOLONG;
	if (!(sandbox->holds & SANDBOX_MOUNT))
		rc = scratch_below(work, path);
	rc = rc ?: sandbox_enter(sandbox, path, scratch);
	return rc ?: environment(scratch);
}

int process_seal(struct sandbox *sandbox)
{
	static const int taken[] = {SIGTERM, SIGINT,  SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2,
				    SIGTRAP, SIGSEGV, SIGBUS, SIGILL,  SIGABRT};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* A fault is the end of this process and nothing else; but SIGFPE, which PoCL needs to go
	 * on after an integer division by zero, stays as it is. */
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		signal(taken[i], SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
	    dup2(null, STDERR_FILENO) < 0)
		return -errno;
	close(null);
	return sandbox_seal(sandbox);
}

void process_log(int control, const char *format, ...)
{
	struct arax_control_log message = {
	    .head = {.magic = ARAX_CONTROL_MAGIC, .type = ARAX_CONTROL_LOG, .major = 1}};
	va_list args;

	va_start(args, format);
	(void)vsnprintf(message.line, sizeof(message.line), format, args);
	va_end(args);
	/* Without araxd nobody listens; a person who starts this by hand reads standard error. */
	if (arax_socket_send(control, &message, sizeof(message), NULL, 0))
		fprintf(stderr, "arax-device: %s\n", message.line);
}

_Noreturn void process_leave(int status)
{
	if (scratch_dir[0])
		(void)arax_tree_remove(scratch_dir);
	_exit(status);
}
