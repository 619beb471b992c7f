/* SPDX-License-Identifier: Apache-2.0
 *
 * The order in which the walls go up, see sandbox.h. Everything that is costly and alike for all
 * (namespaces, the root directory, the system call list) is done once, in sandbox_open(); what a
 * process adds is its scratch space, its user and its Landlock rules, and that is done before it
 * has a client.
 */
#include "kernels/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Users that nobody has: above what systemd gives to containers, below where 32 bits get signed. */
#define UID_BASE 0x70000000u

#define THREADS_TRIED 65536

/* Newer than the headers of the oldest system that this is built on. */
#define ACCESS_FS_REFER (1ull << 13)
#define ACCESS_FS_TRUNCATE (1ull << 14)
#define ACCESS_FS_IOCTL_DEV (1ull << 15)
#define ACCESS_FS_ABI1 ((1ull << 13) - 1)
#define ACCESS_NET_TCP 3ull
#define SCOPE_ABSTRACT_AND_SIGNAL 3ull

struct ruleset_attr {
	uint64_t fs, net, scoped;
};

static void missing(struct sandbox *sandbox, enum sandbox_wall wall, const char *why)
{
	size_t used = strlen(sandbox->missing);
	char name[16];

	sandbox->holds &= ~(unsigned)wall;
	sandbox_format(wall, name, sizeof(name));
	snprintf(sandbox->missing + used, sizeof(sandbox->missing) - used, "%s%s: %s",
		 used ? "; " : "", name, why);
}

static int limit(int resource, rlim_t most)
{
	struct rlimit now;

	if (getrlimit(resource, &now) < 0)
		return -errno;
	if (now.rlim_max == RLIM_INFINITY || now.rlim_max > most)
		now.rlim_max = most;
	if (now.rlim_cur == RLIM_INFINITY || now.rlim_cur > now.rlim_max)
		now.rlim_cur = now.rlim_max;
	return setrlimit(resource, &now) < 0 ? -errno : 0;
}

static int limits(void)
{
	static const struct {
		int resource;
		rlim_t most;
	} table[] = {
	    {RLIMIT_CORE, 0},	{RLIMIT_MEMLOCK, 0},  {RLIMIT_MSGQUEUE, 0},
	    {RLIMIT_RTPRIO, 0}, {RLIMIT_NOFILE, 256}, {RLIMIT_FSIZE, (rlim_t)4 << 30},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		int error = limit(table[i].resource, table[i].most);

		if (error)
			return error;
	}
	return 0;
}

/* ---- namespaces ----------------------------------------------------------------------------- */

static int write_proc(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	ssize_t n = write(fd, text, strlen(text));
	int error = n < 0 ? -errno : 0;
	close(fd);
	return error;
}

/* A user namespace in which we are who we were, for those who may not make others without. */
static int user_namespace(struct sandbox *sandbox)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char map[64];

	if (unshare(CLONE_NEWUSER) < 0)
		return -errno;
	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	int error = write_proc("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	if (!error)
		error = write_proc("/proc/self/setgroups", "deny");
	if (!error)
		error = write_proc("/proc/self/gid_map", map);
	sandbox->user_ns = !error;
	/* Half of it is nobody's identity, and nothing works in it. */
	return error ? -ENOTRECOVERABLE : 0;
}

/* A want that passes, and whoever causes it, must not cost a wall: the process ends, and is started
 * again. What the kernel does not have or does not permit it will not have later either. */
static bool passing(int error)
{
	return error == ENOMEM || error == EMFILE || error == ENFILE || error == EIO ||
	       error == EINTR;
}

static int wall_missing(struct sandbox *sandbox, enum sandbox_wall wall, int error)
{
	if (passing(error))
		return -error;
	missing(sandbox, wall, strerror(error));
	return 0;
}

static int namespaces(struct sandbox *sandbox)
{
	static const struct {
		int flag;
		enum sandbox_wall wall;
	} kinds[] = {
	    {CLONE_NEWNET, SANDBOX_NET}, {CLONE_NEWIPC, SANDBOX_IPC}, {CLONE_NEWNS, SANDBOX_MOUNT}};

	int error = 0;

	if (unshare(kinds[0].flag) < 0) {
		error = user_namespace(sandbox);
		if (error == -ENOTRECOVERABLE || passing(-error))
			return error;
		error =
		    unshare(kinds[0].flag) < 0 ? wall_missing(sandbox, kinds[0].wall, errno) : 0;
	}
	for (size_t i = 1; i < sizeof(kinds) / sizeof(kinds[0]) && !error; i++)
		if (unshare(kinds[i].flag) < 0)
			error = wall_missing(sandbox, kinds[i].wall, errno);
	if (error || !(sandbox->holds & SANDBOX_MOUNT))
		return error;
	error = sandbox_root(sandbox->role);
	if (error && error != -ENOTRECOVERABLE)
		error = error == -ENOSPC ? error : wall_missing(sandbox, SANDBOX_MOUNT, -error);
	return error;
}

int sandbox_unshare_pids(struct sandbox *sandbox)
{
	if (sandbox->off || !(sandbox->holds & SANDBOX_PID) || unshare(CLONE_NEWPID) == 0)
		return 0;
	return wall_missing(sandbox, SANDBOX_PID, errno);
}

/* ---- identity ------------------------------------------------------------------------------- */

static int capabilities(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capget, &head, data) < 0 ? -errno : 0;
}

/* Who takes another user must still be watched and tuned by araxd, which needs these, too. */
static bool may_change_user(void)
{
	const unsigned needed =
	    1u << CAP_SETUID | 1u << CAP_SETGID | 1u << CAP_KILL | 1u << CAP_SYS_NICE;
	struct __user_cap_data_struct data[2] = {0};

	return capabilities(data) == 0 && (data[0].effective & needed) == needed;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[2] = {0};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	return syscall(SYS_capset, &head, none) < 0 ? -errno : 0;
}

static int become(const struct sandbox *sandbox, uid_t uid)
{
	if (sandbox->own_uid && (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 ||
				 setresuid(uid, uid, uid) < 0))
		return -errno;
	return drop_capabilities();
}

/* ---- Landlock ------------------------------------------------------------------------------- */

/* 0 when there is none; -errno when that cannot be told now. */
static int landlock_version(void)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1u);

	if (version < 0)
		return passing(errno) ? -errno : 0;
	return (int)version;
}

static uint64_t landlock_handled(unsigned version)
{
	return ACCESS_FS_ABI1 | (version >= 2 ? ACCESS_FS_REFER : 0) |
	       (version >= 3 ? ACCESS_FS_TRUNCATE : 0) | (version >= 5 ? ACCESS_FS_IOCTL_DEV : 0);
}

/* Return: 0, also when the path is not there; -errno. */
static int landlock_allow(int ruleset, const char *path, uint64_t access)
{
	struct stat st;
	int fd = open(path, O_PATH | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT || errno == EACCES ? 0 : -errno;
	int error = fstat(fd, &st) < 0 ? -errno : 0;
	if (!error && !S_ISDIR(st.st_mode))
		access &= LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
			  LANDLOCK_ACCESS_FS_READ_FILE | ACCESS_FS_TRUNCATE;
	const struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
	if (!error &&
	    syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		error = -errno;
	close(fd);
	return error;
}

static int landlock_rules(const struct sandbox *sandbox, int ruleset, const char *scratch)
{
	const uint64_t read = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
	uint64_t all = landlock_handled(sandbox->landlock);
	int error = landlock_allow(
	    ruleset, scratch,
	    all & ~(uint64_t)(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
			      LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SOCK |
			      LANDLOCK_ACCESS_FS_MAKE_FIFO | ACCESS_FS_IOCTL_DEV));

	for (const struct sandbox_path *p = sandbox_paths; p->path && !error; p++) {
		uint64_t access =
		    p->write ? LANDLOCK_ACCESS_FS_WRITE_FILE | (all & ACCESS_FS_TRUNCATE) : 0;

		if (p->root_only || !sandbox_needs(sandbox->role, p))
			continue;
		if (p->execute)
			access |= LANDLOCK_ACCESS_FS_EXECUTE;
		error = landlock_allow(ruleset, p->path, access | read);
	}
	if (!error && (sandbox->holds & SANDBOX_MOUNT))
		error = landlock_allow(ruleset, SANDBOX_HOME, read);
	else if (!error && getenv("HWLOC_XMLFILE"))
		error = landlock_allow(ruleset, getenv("HWLOC_XMLFILE"), read);
	return error;
}

static int landlock(const struct sandbox *sandbox, const char *scratch)
{
	unsigned version = sandbox->landlock;
	const struct ruleset_attr attr = {.fs = landlock_handled(version),
					  .net = ACCESS_NET_TCP,
					  .scoped = SCOPE_ABSTRACT_AND_SIGNAL};
	size_t size = version >= 6 ? sizeof(attr) : version >= 4 ? 16 : 8;
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);

	if (ruleset < 0)
		return -errno;
	int error = landlock_rules(sandbox, ruleset, scratch);
	if (!error && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		error = -errno;
	close(ruleset);
	return error;
}

/* ---- the three steps ------------------------------------------------------------------------ */

int sandbox_open(struct sandbox *sandbox, enum sandbox_role role, bool off)
{
	*sandbox =
	    (struct sandbox){.role = role, .off = off, .proc = -1, .tasks = -1, .status = -1};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	int error = limits();
	if (error || off) {
		snprintf(sandbox->missing, sizeof(sandbox->missing), "switched off");
		return error;
	}
	sandbox->holds = role == SANDBOX_COMPILER ? SANDBOX_ALL_COMPILER
			 : role == SANDBOX_DEVICE ? SANDBOX_ALL_DEVICE
						  : SANDBOX_ALL;
	sandbox->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (sandbox->proc < 0)
		return -errno;
	error = landlock_version();
	if (error < 0)
		return error;
	sandbox->landlock = (unsigned)error;
	if (!sandbox->landlock)
		missing(sandbox, SANDBOX_LANDLOCK, "not in this kernel");
	/* Before the user namespace, in which everybody has all capabilities. */
	sandbox->own_uid = may_change_user();
	error = namespaces(sandbox);
	/* Another user cannot come to a scratch directory outside, and inside has no other. */
	sandbox->own_uid =
	    sandbox->own_uid && !sandbox->user_ns && (sandbox->holds & SANDBOX_MOUNT);
	if (!error && !sandbox->own_uid && !sandbox->user_ns)
		missing(sandbox, SANDBOX_IDENTITY,
			"no user namespace, no right to change the user");
	if (!error)
		error = sandbox_filter(role, &sandbox->filter);
	if (error == -ENOTSUP || error == -ENOSYS) {
		missing(sandbox, SANDBOX_SECCOMP,
			error == -ENOTSUP ? "a sanitizer's build" : "not in this kernel");
		error = 0;
	}
	return error;
}

pid_t sandbox_pid(const struct sandbox *sandbox)
{
	char number[16] = "";

	if (sandbox->proc < 0 || readlinkat(sandbox->proc, "self", number, sizeof(number) - 1) <= 0)
		return getpid();
	return atoi(number);
}

/* In a PID namespace of its own the numbers in the directory are those of outside, and files in it
 * cannot be opened any more; but there are so many threads, numbered from 1 on, and nobody else. */
static int threads_inside(unsigned count, int (*each)(pid_t thread))
{
	for (pid_t thread = 1; count && thread < THREADS_TRIED; thread++) {
		if (syscall(SYS_tgkill, getpid(), thread, 0) < 0)
			continue;
		count--;
		int error = each(thread);
		if (error)
			return error;
	}
	return count ? -ESRCH : 0;
}

int sandbox_threads(const struct sandbox *sandbox, int (*each)(pid_t thread))
{
	bool inside = getpid() != sandbox_pid(sandbox);
	unsigned count = 0;
	int error = 0;
	int fd = fcntl(sandbox->tasks, F_DUPFD_CLOEXEC, 3);
	DIR *tasks = fd < 0 ? NULL : fdopendir(fd);

	if (!tasks) {
		error = -errno;
		if (fd >= 0)
			close(fd);
		return error;
	}
	for (const struct dirent *e; !error && (e = readdir(tasks));) {
		if (e->d_name[0] == '.')
			continue;
		count++;
		if (!inside)
			error = each(atoi(e->d_name));
	}
	closedir(tasks);
	return error ?: inside ? threads_inside(count, each) : 0;
}

int sandbox_enter(struct sandbox *sandbox, const char *work, char *scratch)
{
	uid_t uid = sandbox->own_uid ? UID_BASE + (uid_t)sandbox_pid(sandbox) : geteuid();
	gid_t gid = sandbox->own_uid ? uid : getegid();
	int error = 0;

	if (snprintf(scratch, PATH_MAX, "%s", work) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (sandbox->holds & SANDBOX_MOUNT)
		error = sandbox_scratch(uid, gid, scratch);
	if (sandbox->proc < 0)
		sandbox->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	sandbox->tasks = openat(sandbox->proc, "self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!error && sandbox->tasks < 0)
		error = -errno;
	sandbox->status = openat(sandbox->proc, "self/status", O_RDONLY | O_CLOEXEC);
	if (!error && sandbox->status < 0)
		error = -errno;
	if (!error && !sandbox->off)
		error = become(sandbox, uid);
	if (!error && (sandbox->holds & SANDBOX_LANDLOCK))
		error = landlock(sandbox, scratch);
	return error;
}

/* Memory of one's own: heaps, stacks, private mappings. What is shared is a file, and so limited
 * otherwise; the system call list lets tenants share no memory that has no file. */
static int memory_limit(const struct sandbox *sandbox)
{
	char text[4096];
	ssize_t n = pread(sandbox->status, text, sizeof(text) - 1, 0);

	if (n < 0)
		return -errno;
	text[n] = '\0';
	const char *data = strstr(text, "\nVmData:");
	uint64_t has = data ? strtoull(data + 8, NULL, 10) << 10 : 0;
	return data ? limit(RLIMIT_DATA, has + sandbox->memory) : -ENODATA;
}

int sandbox_seal(struct sandbox *sandbox)
{
	int *const outside[] = {&sandbox->proc, &sandbox->tasks, &sandbox->status};
	int error = sandbox->memory ? memory_limit(sandbox) : 0;

	if (error)
		return error;
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
		if (*outside[i] >= 0)
			close(*outside[i]);
		*outside[i] = -1;
	}
	if (!(sandbox->holds & SANDBOX_SECCOMP))
		return 0;
	return sandbox_filter_load(sandbox->filter);
}
