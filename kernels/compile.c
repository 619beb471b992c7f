/* SPDX-License-Identifier: Apache-2.0
 *
 * arax-compile: the compiler role. A zygote that has loaded and warmed up PoCL forks one child for
 * each program; the child builds it, writes the result into a memfd that was made for it, and
 * ends. So nothing of one program survives to the next, and a compiler that crashes (PoCL aborts
 * when a link fails) is a failed build. The zygote never looks at what it forwards beyond the
 * number of the kind.
 *
 * Started by araxd with descriptor 3 as control; leaves when that is closed.
 */
#include "kernels/compile_build.h"
#include "kernels/compile_pocl.h"
#include "kernels/sandbox.h"
#include "kernels/tree.h"
#include "transport/build.h"
#include "transport/control.h"
#include "transport/fault_point.h"
#include "transport/socket.h"
#include "transport/wake.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONTROL_FD 3
#define PARALLEL_MAX 64
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)
#define LOG_TAIL 8192

/* How a child ends that could not do its part. */
enum { JOB_NO_SANDBOX = 2, JOB_NO_BUILD, JOB_NO_RESULT };

struct job {
	pid_t pid; /* 0: free */
	int pidfd, result, output;
	uint32_t kind;
	uint64_t id, deadline_ns;
	bool late;
	char directory[64];
};

struct zygote {
	struct pocl pocl;
	unsigned parallel, running, made;
	uint64_t time_limit_ns, memory;
	char *directory;
	bool sandbox_off;
	struct sandbox sandbox;
	struct job jobs[PARALLEL_MAX];
};

static int zygote_write_all(int fd, const unsigned char *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

/* PoCL's and LLVM's handlers want to explain a crash at length; the zygote has the number. */
static void job_default_signals(void)
{
	static const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS,  SIGILL, SIGFPE,	SIGTRAP,
				    SIGSYS,  SIGINT,  SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};

	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		signal(fatal[i], SIG_DFL);
}

/* The control socket, the other builds' files: nothing of the zygote's comes along. */
static int job_close_others(const int keep[4])
{
	int last = STDERR_FILENO;

	for (int i = 0; i < 4; i++) {
		int next = INT_MAX;

		for (int j = 0; j < 4; j++)
			next = keep[j] > last && keep[j] < next ? keep[j] : next;
		if (next > last + 1 && close_range((unsigned)last + 1, (unsigned)next - 1, 0) < 0)
			return -errno;
		if (next == INT_MAX)
			return 0;
		last = next;
	}
	return close_range((unsigned)last + 1, ~0u, 0) < 0 ? -errno : 0;
}

/* Into the sandbox, in a directory that no other build sees. Its own files there are all that the
 * compiler can write; what it can read are libraries, its own headers and what came with the
 * request. */
static int job_enter(const struct zygote *zygote, const struct job *job, int request, int variants)
{
	struct sandbox sandbox = zygote->sandbox;
	sandbox.memory = zygote->memory;
	char directory[PATH_MAX];

	const int keep[] = {request, job->result, sandbox.proc, variants};
	int error = job_close_others(keep);
	if (!error && chdir(job->directory) < 0)
		error = -errno;
	if (!error)
		error = getcwd(directory, sizeof(directory))
			    ? sandbox_enter(&sandbox, directory, directory)
			    : -errno;
	if (!error && mkdir("cache", 0700) < 0)
		error = -errno;
	return error ?: sandbox_seal(&sandbox);
}

/* The registered variants that came with a request; *registry NULL when there are none. */
static int job_variants(int fd, struct registry **registry)
{
	const void *data;
	size_t size;

	*registry = NULL;
	if (fd < 0)
		return 0;
	int error = arax_memfd_map(fd, ARAX_BUILD_MAX, &data, &size);
	if (error)
		return error;
	*registry = registry_read(data, size);
	error = *registry ? 0 : -errno;
	munmap((void *)(uintptr_t)data, size);
	return error;
}

/* The child from its fork to its end: one program. */
static _Noreturn void job_child(const struct zygote *zygote, const struct job *job, int request,
				int variants, pid_t parent)
{
	struct registry *registry;
	struct arax_writer writer = {0};
	const void *data;
	size_t size;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	setpgid(0, 0);
	ARAX_FAULT_POINT(COMPILE_JOB_BEGINS);
	job_default_signals();
	dup2(job->output, STDOUT_FILENO);
	dup2(job->output, STDERR_FILENO);
	if (job_enter(zygote, job, request, variants) < 0)
		_exit(JOB_NO_SANDBOX);
	ARAX_FAULT_POINT(COMPILE_JOB_ENTERED);
	/* Another user than before has lost it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	if (arax_memfd_map(request, ARAX_BUILD_MAX, &data, &size) < 0 ||
	    job_variants(variants, &registry) < 0 ||
	    build_run(&zygote->pocl, data, size, registry, &writer) < 0)
		_exit(JOB_NO_BUILD);
	ARAX_FAULT_POINT(COMPILE_JOB_BUILT);
	if (zygote_write_all(job->result, writer.data, writer.size) < 0 ||
	    fcntl(job->result, F_ADD_SEALS, SEALS) < 0)
		_exit(JOB_NO_RESULT);
	ARAX_FAULT_POINT(COMPILE_JOB_WRITTEN);
	_exit(0);
}

static int zygote_reply(uint64_t id, int error, int result)
{
	struct arax_control_plain reply = {
	    .head = {.magic = ARAX_CONTROL_MAGIC,
		     .type = ARAX_CONTROL_COMPILE | ARAX_CONTROL_REPLY,
		     .major = 1,
		     .error = error,
		     .id = id},
	};

	return arax_socket_send(CONTROL_FD, &reply, sizeof(reply), &result, result >= 0 ? 1 : 0);
}

/* The last that the compiler said, for the log of a build that it did not survive. */
static void job_output(const struct job *job, char *text, size_t capacity)
{
	off_t end = lseek(job->output, 0, SEEK_END);
	off_t start = end > (off_t)capacity - 1 ? end - (off_t)capacity + 1 : 0;
	ssize_t n = end < 0 ? -1 : pread(job->output, text, capacity - 1, start);
	size_t at = 0;

	for (ssize_t i = 0; i < n; i++)
		if (text[i])
			text[at++] = text[i];
	text[at] = '\0';
}

static int job_failure(const struct job *job, const siginfo_t *how)
{
	struct arax_writer writer = {0};
	char log[LOG_TAIL + 256], output[LOG_TAIL];

	job_output(job, output, sizeof(output));
	if (job->late)
		snprintf(log, sizeof(log), "error: the compiler ran out of time\n%s", output);
	else if (how->si_code == CLD_EXITED)
		snprintf(log, sizeof(log), "error: the compiler gave up (%d)\n%s", how->si_status,
			 output);
	else
		snprintf(log, sizeof(log), "error: the compiler was ended by signal %d (SIG%s)\n%s",
			 how->si_status, sigabbrev_np(how->si_status) ?: "?", output);
	build_failure(&writer, job->kind,
		      how->si_code == CLD_EXITED && how->si_status >= JOB_NO_SANDBOX &&
			  how->si_status <= JOB_NO_RESULT,
		      log);
	int fd = writer.failed ? -ENOMEM : arax_memfd_from("arax-result", writer.data, writer.size);
	arax_writer_free(&writer);
	return fd;
}

static bool job_result_good(int fd)
{
	uint32_t head[2] = {0};
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & SEALS) == SEALS &&
	       pread(fd, head, sizeof(head), 0) == sizeof(head) && head[0] == ARAX_RESULT_MAGIC;
}

static void job_release(struct zygote *zygote, struct job *job)
{
	arax_tree_remove(job->directory);
	if (job->pidfd >= 0)
		close(job->pidfd);
	if (job->result >= 0)
		close(job->result);
	if (job->output >= 0)
		close(job->output);
	*job = (struct job){0};
	zygote->running--;
}

/* The child has ended: what it started with it, and send what it left. */
static int job_end(struct zygote *zygote, struct job *job)
{
	siginfo_t how = {0};
	int fd, error;

	/* Not yet waited for, so the group's number is still its own. */
	kill(-job->pid, SIGKILL);
	ARAX_FAULT_POINT(COMPILE_JOB_ENDED);
	if (waitid(P_PID, (id_t)job->pid, &how, WEXITED) < 0)
		return -errno;
	if (how.si_code == CLD_EXITED && how.si_status == 0 && job_result_good(job->result)) {
		error = zygote_reply(job->id, 0, job->result);
	} else {
		fd = job_failure(job, &how);
		error = zygote_reply(job->id, fd < 0 ? -fd : 0, fd < 0 ? -1 : fd);
		if (fd >= 0)
			close(fd);
	}
	ARAX_FAULT_POINT(COMPILE_ANSWERED);
	job_release(zygote, job);
	return error;
}

static int job_prepare(struct zygote *zygote, struct job *job, int request)
{
	uint32_t kind = 0;

	job->pidfd = job->result = job->output = -1;
	if (pread(request, &kind, sizeof(kind), 8) != sizeof(kind))
		return -EPROTO;
	job->kind = kind;
	snprintf(job->directory, sizeof(job->directory), "build-%u", zygote->made++);
	if (mkdir(job->directory, 0700) < 0)
		return -errno;
	job->result = memfd_create("arax-result", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	job->output = memfd_create("arax-output", MFD_CLOEXEC);
	if (job->result < 0 || job->output < 0)
		return -errno;
	/* Both of PoCL's streams append here. */
	return fcntl(job->output, F_SETFL, O_APPEND) < 0 ? -errno : 0;
}

static int job_start(struct zygote *zygote, uint64_t id, int request, int variants)
{
	struct job *job = zygote->jobs;
	pid_t self = getpid();

	while (job->pid)
		job++;
	zygote->running++;
	job->id = id;
	int error = job_prepare(zygote, job, request);
	if (!error) {
		job->pid = fork();
		if (job->pid == 0)
			job_child(zygote, job, request, variants, self);
		error = job->pid < 0 ? -errno : 0;
	}
	if (!error) {
		ARAX_FAULT_POINT(COMPILE_FORKED);
		setpgid(job->pid, job->pid);
		job->pidfd = (int)syscall(SYS_pidfd_open, job->pid, 0);
		job->deadline_ns = arax_now_ns() + zygote->time_limit_ns;
		if (job->pidfd < 0) {
			error = -errno;
			kill(job->pid, SIGKILL);
			waitpid(job->pid, NULL, 0);
		}
	}
	if (error)
		job_release(zygote, job);
	return error;
}

static int zygote_request(struct zygote *zygote)
{
	struct arax_control_plain message;
	int fds[ARAX_FDS_MAX];
	ssize_t n = arax_socket_recv(CONTROL_FD, &message, sizeof(message), fds, -1);

	if (n <= 0)
		return n == 0 ? -ESHUTDOWN : (int)n;
	ARAX_FAULT_POINT(COMPILE_ASKED);
	int error = -EPROTO;
	if (n == sizeof(message) && message.head.magic == ARAX_CONTROL_MAGIC &&
	    message.head.type == ARAX_CONTROL_COMPILE && fds[0] >= 0)
		error = job_start(zygote, message.head.id, fds[0], fds[1]);
	for (int i = 0; i < ARAX_FDS_MAX; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return error ? zygote_reply(message.head.id, -error, -1) : 0;
}

static int zygote_timeout(struct zygote *zygote)
{
	uint64_t now = arax_now_ns(), next = UINT64_MAX;

	for (unsigned i = 0; i < PARALLEL_MAX; i++) {
		struct job *job = &zygote->jobs[i];

		if (!job->pid || job->late)
			continue;
		if (job->deadline_ns <= now) {
			job->late = true;
			kill(-job->pid, SIGKILL);
			continue;
		}
		if (job->deadline_ns < next)
			next = job->deadline_ns;
	}
	if (next == UINT64_MAX)
		return -1;
	uint64_t ms = (next - now) / 1000000 + 1;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

static int zygote_serve(struct zygote *zygote)
{
	struct pollfd polled[PARALLEL_MAX + 1];
	struct job *job_of[PARALLEL_MAX + 1];

	for (;;) {
		int timeout = zygote_timeout(zygote);
		nfds_t count = 1;

		/* Without a free place only the control's end is of interest. */
		polled[0] = (struct pollfd){
		    .fd = CONTROL_FD,
		    .events = zygote->running < zygote->parallel ? POLLIN : 0,
		};
		for (unsigned i = 0; i < PARALLEL_MAX; i++) {
			if (!zygote->jobs[i].pid)
				continue;
			job_of[count] = &zygote->jobs[i];
			polled[count++] =
			    (struct pollfd){.fd = zygote->jobs[i].pidfd, .events = POLLIN};
		}
		if (poll(polled, count, timeout) < 0 && errno != EINTR)
			return -errno;
		int error = 0;
		for (nfds_t i = 1; i < count && !error; i++)
			if (polled[i].revents)
				error = job_end(zygote, job_of[i]);
		if (!error && (polled[0].revents & (POLLHUP | POLLERR)))
			return 0;
		if (!error && (polled[0].revents & POLLIN))
			error = zygote_request(zygote);
		if (error)
			return error == -ESHUTDOWN ? 0 : error;
	}
}

static int zygote_directory(struct zygote *zygote)
{
	const char *work =
	    zygote->sandbox.holds & SANDBOX_MOUNT ? SANDBOX_HOME : getenv("ARAX_WORK_DIR");

	if (asprintf(&zygote->directory, "%s/compile-XXXXXX", work && *work ? work : "/tmp") < 0)
		return -ENOMEM;
	if (!mkdtemp(zygote->directory))
		return -errno;
	return chdir(zygote->directory) < 0 ? -errno : 0;
}

static int zygote_ready(const struct zygote *zygote)
{
	struct arax_control_ready ready = {
	    .head = {.magic = ARAX_CONTROL_MAGIC, .type = ARAX_CONTROL_READY, .major = 1},
	    .sandbox = zygote->sandbox.holds,
	};

	snprintf(ready.missing, sizeof(ready.missing), "%s", zygote->sandbox.missing);

	return arax_socket_send(CONTROL_FD, &ready, sizeof(ready), NULL, 0);
}

/* fork() copies only the calling thread: with others, a child could hang in one of their locks. */
static unsigned zygote_threads(void)
{
	DIR *tasks = opendir("/proc/self/task");
	unsigned count = 0;

	if (!tasks)
		return 1;
	for (const struct dirent *entry; (entry = readdir(tasks));)
		count += entry->d_name[0] != '.';
	closedir(tasks);
	return count;
}

static int zygote_prepare(struct zygote *zygote)
{
	struct pocl_helper helper;
	int error = sandbox_open(&zygote->sandbox, SANDBOX_COMPILER, zygote->sandbox_off);

	if (error)
		fprintf(stderr, "arax-compile: sandbox: %s\n", strerror(-error));
	else
		error = zygote_directory(zygote);

	/* The cache is below the current directory, which each child changes to its own. */
	if (!error && (setenv("POCL_CACHE_DIR", "cache", 1) < 0 ||
		       setenv("POCL_WORK_GROUP_SPECIALIZATION", "0", 1) < 0 ||
		       unsetenv("POCL_EXTRA_BUILD_FLAGS") < 0))
		error = -errno;
	if (error)
		return error;
	bool helped = pocl_pthread_id_start(&helper) == 0;
	error = pocl_open(&zygote->pocl, "basic");
	if (!error)
		error = pocl_warm_up(&zygote->pocl);
	if (helped)
		pocl_pthread_id_read(&zygote->pocl, &helper);
	/* What was freed here would be copied by every child that allocates. */
	malloc_trim(0);
	if (error)
		fprintf(stderr, "arax-compile: %s\n", zygote->pocl.error);
	if (!error && zygote_threads() != 1) {
		fprintf(stderr, "arax-compile: PoCL has threads, so no child can be forked\n");
		error = -ENOTSUP;
	}
	return error;
}

static int zygote_options(struct zygote *zygote, int argc, char **argv)
{
	cpu_set_t cpus;

	zygote->time_limit_ns = 300ull * 1000000000;
	zygote->parallel =
	    sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (unsigned)CPU_COUNT(&cpus) : 1;
	for (int i = 1; i < argc; i++) {
		unsigned long value = i + 1 < argc ? strtoul(argv[i + 1], NULL, 10) : 0;

		if (strcmp(argv[i], "--version") == 0) {
			puts("arax-compile " ARAX_VERSION);
			exit(0);
		}
		if (strcmp(argv[i], "--sandbox=off") == 0) {
			zygote->sandbox_off = true;
			continue;
		}
		if (strcmp(argv[i], "--time-limit") == 0 && value && value < 1000000)
			zygote->time_limit_ns = value * 1000000000ull;
		else if (strcmp(argv[i], "--parallel") == 0 && value)
			zygote->parallel = (unsigned)value;
		else if (strcmp(argv[i], "--memory") == 0 && i + 1 < argc)
			zygote->memory = value;
		else
			return -EINVAL;
		i++;
	}
	if (zygote->parallel > PARALLEL_MAX)
		zygote->parallel = PARALLEL_MAX;
	return 0;
}

int main(int argc, char **argv)
{
	static struct zygote zygote;
	int error = zygote_options(&zygote, argc, argv);

	if (error || fcntl(CONTROL_FD, F_GETFD) < 0) {
		fprintf(
		    stderr,
		    "arax-compile is started by araxd: [--time-limit SECONDS] "
		    "[--parallel N] [--memory BYTES] with its control socket as descriptor 3\n");
		return 2;
	}
	fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC);
	umask(077);
	prctl(PR_SET_NAME, "arax-compile");
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* without araxd nobody asks; it is single-threaded */
	error = zygote_prepare(&zygote);
	ARAX_FAULT_POINT(COMPILE_WARM);
	if (!error)
		error = zygote_ready(&zygote);
	ARAX_FAULT_POINT(COMPILE_READY);
	if (!error)
		error = zygote_serve(&zygote);
	if (error)
		fprintf(stderr, "arax-compile: %s\n", strerror(-error));
	for (unsigned i = 0; i < PARALLEL_MAX; i++)
		if (zygote.jobs[i].pid)
			kill(-zygote.jobs[i].pid, SIGKILL);
	if (zygote.directory)
		arax_tree_remove(zygote.directory);
	/* Not exit(): neither PoCL's nor LLVM's destructors are of use here. */
	_exit(error ? 1 : 0);
}
