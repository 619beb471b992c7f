/* SPDX-License-Identifier: Apache-2.0
 *
 * arax-tenant's own process: restrictions, PoCL's environment, standard output, signals and the
 * way out. See tenant_setup.h.
 */
#include "scheduler/tenant_setup.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "transport/control.h"
#include "transport/fault_point.h"
#include "transport/shm.h"
#include "transport/socket.h"

static char cache_dir[PATH_MAX]; /* to be removed at the end */
static int log_socket = -1;	 /* instead of stderr */
static pid_t outer_pid;
static _Atomic(struct arax_crash *) crash_note;
static sem_t stack_given;

#define FAULT_STACK (64u << 10)
#define STACK_SECONDS 5

int tenant_hide(void)
{
	return !getenv("ARAX_DEBUG") && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ? -errno : 0;
}

/* The lock says that the directory is in use for as long as this process lives: tenants outlive
 * their araxd, and the next one sweeps what nobody holds. */
static int hold(const char *work)
{
	int fd = open(work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return flock(fd, LOCK_SH | LOCK_NB) ? -errno : 0;
}

/* A directory of our own below work, or work itself when that is nobody else's already. */
static int make_scratch(struct sandbox *sandbox, char *scratch)
{
	const char *work = getenv("ARAX_WORK_DIR");
	bool own = sandbox->holds & SANDBOX_MOUNT;
	int rc = !own && work && work[0] ? hold(work) : 0;
	if (rc)
		return rc;
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/tenant-XXXXXX", work && work[0] ? work : "/tmp");
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	if (!own) {
		if (!mkdtemp(path))
			return -errno;
		memcpy(cache_dir, path, sizeof(cache_dir));
	}
	return sandbox_enter(sandbox, path, scratch);
}

int tenant_environment(struct sandbox *sandbox)
{
	char scratch[PATH_MAX];
	outer_pid = sandbox_pid(sandbox);
	int rc = make_scratch(sandbox, scratch);
	if (rc)
		return rc;
	/* basic is first: its index is also the order of preference for loading programs. */
	if (setenv("POCL_DEVICES", "basic pthread", 1) ||
	    setenv("POCL_WORK_GROUP_SPECIALIZATION", "0", 1) ||
	    setenv("POCL_CACHE_DIR", scratch, 1) || unsetenv("POCL_MEMORY_LIMIT"))
		return -errno;
	return 0;
}

int tenant_stdout(void)
{
	/* stdio of a library could hold a line back, and must not share the kernels' buffer. */
	fflush(stdout);
	int fd = memfd_create("arax-stdout", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_APPEND) || dup2(fd, STDOUT_FILENO) < 0) {
		int err = errno;
		close(fd);
		return -err;
	}
	return fd;
}

void tenant_crash_at(struct arax_crash *crash)
{
	atomic_store(&crash_note, crash);
}

/* The handler is gone when this returns, so the fault happens again and kills. */
static void on_fault(int number, siginfo_t *info, void *context)
{
	struct arax_crash *crash = atomic_load(&crash_note);
	uint32_t none = 0;
	(void)context;
	if (!crash || !atomic_compare_exchange_strong(&crash->signal, &none, (uint32_t)number))
		return;
	crash->code = info->si_code;
	crash->address = (uint64_t)(uintptr_t)info->si_addr;
}

/* In each thread: what a handler leaves in its context is in force when it returns. */
static void on_give_stack(int number, siginfo_t *info, void *context)
{
	ucontext_t *interrupted = context;
	(void)number;
	(void)info;
	void *stack =
	    mmap(NULL, FAULT_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack != MAP_FAILED)
		interrupted->uc_stack = (stack_t){.ss_sp = stack, .ss_size = FAULT_STACK};
	sem_post(&stack_given);
}

/* ThreadSanitizer holds signals back and has a thread that takes none: no stacks there. */
#ifdef __SANITIZE_THREAD__
#define GIVE_STACKS 0
#else
#define GIVE_STACKS 1
#endif

static int give_stack(pid_t thread)
{
	struct timespec limit;
	if (syscall(SYS_tgkill, getpid(), thread, SIGRTMIN))
		return -errno;
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += STACK_SECONDS;
	while (sem_timedwait(&stack_given, &limit))
		if (errno != EINTR)
			return -errno;
	return 0;
}

int tenant_signals(const struct sandbox *sandbox)
{
	static const int taken[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTRAP};
	static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGABRT};
	const struct sigaction fault = {.sa_sigaction = on_fault,
					.sa_flags = SA_SIGINFO | SA_ONSTACK | (int)SA_RESETHAND};
	const struct sigaction stack = {.sa_sigaction = on_give_stack,
					.sa_flags = SA_SIGINFO | SA_RESTART};
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		signal(taken[i], SIG_DFL);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		if (sigaction(faults[i], &fault, NULL))
			return -errno;
	signal(SIGPIPE, SIG_IGN);
	if (sem_init(&stack_given, 0, 0) || sigaction(SIGRTMIN, &stack, NULL))
		return -errno;
	int rc = GIVE_STACKS ? sandbox_threads(sandbox, give_stack) : 0;
	signal(SIGRTMIN, SIG_DFL);
	return rc;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	/* Best effort: what stays is swept by araxd, and nobody could be told here. */
	int ignored = remove(path);
	(void)ignored;
	return 0;
}

_Noreturn void tenant_leave(int status)
{
	ARAX_FAULT_POINT(TENANT_LEAVES);
	if (cache_dir[0])
		nftw(cache_dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	_exit(status);
}

int tenant_seal(struct sandbox *sandbox, int control)
{
	/* Whatever it was, a terminal or a file, kernels have no business with it. */
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null < 0 || dup2(null, STDERR_FILENO) < 0)
		return -errno;
	close(null);
	log_socket = control;
	return sandbox_seal(sandbox);
}

/* A line that cannot be sent is lost: araxd has gone, or it does not listen to so many. */
static void log_send(const char *line)
{
	struct arax_control_log message = {
	    .head = {.magic = ARAX_CONTROL_MAGIC, .type = ARAX_CONTROL_LOG, .major = 1}};
	snprintf(message.line, sizeof(message.line), "%s", line);
	(void)arax_socket_send(log_socket, &message, sizeof(message), NULL, 0);
}

void tenant_log(const char *format, ...)
{
	char line[512];
	va_list args;
	int n = snprintf(line, sizeof(line),
			 "arax-tenant[%d]: ", (int)(outer_pid ? outer_pid : getpid()));
	va_start(args, format);
	int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
	va_end(args);
	if (m >= 0 && log_socket >= 0)
		return log_send(line + n);
	size_t length = strlen(line);
	if (m < 0 || length == 0)
		return;
	line[length++] = '\n';
	/* One write, so that lines of several tenants do not mix; nothing helps if it fails. */
	if (write(STDERR_FILENO, line, length) < 0)
		return;
}
