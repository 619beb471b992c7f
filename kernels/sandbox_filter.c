/* SPDX-License-Identifier: Apache-2.0
 *
 * The system calls that sandboxed processes may use: what PoCL, LLVM and libc were seen to need
 * once everything has started, and what is harmless and libc may come to need. All else fails with
 * EPERM, so that a library which only tries something goes on without it. A tenant has nothing that
 * makes processes or threads, opens sockets or memory files, or names another process; a compiler
 * may also execute a program (Landlock says which); a device process makes threads.
 *
 * The list becomes a BPF program once; loading it costs a process some microseconds.
 */
#include "kernels/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* its reports, its threads and its allocator do what they like */
#else
#define SANITIZED 0
#endif

/* By name, because not every architecture has them all. */
static const char *const filter_both[] = {
    /* memory */
    "brk", "madvise", "mprotect", "mremap", "munmap",
    /* threads that are there */
    "futex", "get_robust_list", "getpid", "gettid", "rseq", "sched_getaffinity", "sched_yield",
    "set_robust_list", "rt_sigprocmask", "rt_sigreturn", "restart_syscall", "exit_group",
    /* time */
    "clock_getres", "clock_gettime", "clock_nanosleep", "gettimeofday", "nanosleep", "time",
    /* descriptors that are there */
    "close", "dup", "fdatasync", "flock", "fstat", "fstatfs", "fsync", "ftruncate", "lseek", "poll",
    "ppoll", "pread64", "pwrite64", "read", "readv", "recvfrom", "recvmsg", "sendmsg", "sendto",
    "write", "writev",
    /* files; which ones is Landlock's and the root directory's business */
    "access", "faccessat", "faccessat2", "getcwd", "getdents64", "lstat", "mkdir", "mkdirat",
    "newfstatat", "open", "openat", "readlink", "readlinkat", "rename", "renameat", "renameat2",
    "rmdir", "stat", "statfs", "statx", "unlink", "unlinkat",
    /* about ourselves */
    "getegid", "geteuid", "getgid", "getrandom", "getrusage", "getuid", "sysinfo", "uname"};

/* No thread of a tenant ever ends: a kernel that ends its own leaves the others waiting for it. */
static const char *const filter_compiler[] = {
    "exit",  "arch_prctl",   "chdir",		"chmod",       "dup2",
    "dup3",  "execve",	     "fadvise64",	"getppid",     "getrlimit",
    "pipe2", "rt_sigaction", "set_tid_address", "sigaltstack", "symlink",
    "umask", "vfork",	     "wait4",		"waitid"};

/* Libraries that compile and execute inside, and make threads when they like. */
static const char *const filter_device[] = {
    "exit",	  "eventfd2",	  "fadvise64", "getcpu",       "getppid",	    "getrlimit",
    "membarrier", "memfd_create", "pipe2",     "rt_sigaction", "sched_setaffinity", "sigaltstack"};

static int filter_names(scmp_filter_ctx ctx, const char *const *names, size_t count)
{
	int error = 0;

	for (size_t i = 0; i < count && !error; i++) {
		int number = seccomp_syscall_resolve_name(names[i]);

		if (number != __NR_SCMP_ERROR && number >= 0)
			error = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, number, 0);
	}
	return error;
}

/* fcntl() can also choose who gets signals. */
static int filter_fcntl(scmp_filter_ctx ctx, enum sandbox_role role)
{
	static const int commands[] = {F_GETFD,	 F_SETFD,	  F_GETFL,    F_SETFL,
				       F_DUPFD,	 F_DUPFD_CLOEXEC, F_GETLK,    F_SETLK,
				       F_SETLKW, F_GET_SEALS,	  F_ADD_SEALS};
	size_t count = sizeof(commands) / sizeof(commands[0]) - (role == SANDBOX_TENANT);
	int error = 0;

	for (size_t i = 0; i < count && !error; i++)
		error = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
					 SCMP_A1_32(SCMP_CMP_EQ, (unsigned)commands[i]));
	return error;
}

/* Only a tenant's arena is shared, and it has a file: without one shared memory would be nobody's,
 * and no limit would hold for it, nor for what grows like a stack. */
static int filter_mmap(scmp_filter_ctx ctx, enum sandbox_role role)
{
	const unsigned kinds = MAP_ANONYMOUS | MAP_GROWSDOWN;

	if (role != SANDBOX_TENANT)
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 0);
	int error = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				     SCMP_A3_32(SCMP_CMP_MASKED_EQ, kinds, 0));
	return error
		   ?: seccomp_rule_add(
			  ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
			  SCMP_A3_32(SCMP_CMP_MASKED_EQ, kinds | MAP_SHARED, MAP_ANONYMOUS));
}

static int filter_arguments(scmp_filter_ctx ctx, enum sandbox_role role)
{
	const unsigned spaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
				CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
	int error = filter_fcntl(ctx, role);

	error = error ?: filter_mmap(ctx, role);

	/* Signals to ourselves only: see filter_self(). abort() needs them. */
	error = error ?: seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 0);
	/* Limits can be asked for, not set, and only our own. */
	error = error
		    ?: seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2,
					SCMP_A0_32(SCMP_CMP_EQ, 0), SCMP_A2_64(SCMP_CMP_EQ, 0));
	if (role == SANDBOX_TENANT) {
		error = error
			    ?: seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(accept4), 1,
						SCMP_A0_32(SCMP_CMP_EQ, SANDBOX_ADOPT));
		return error
			   ?: seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(dup3), 1,
					       SCMP_A1_32(SCMP_CMP_EQ, SANDBOX_CONTROL));
	}
	/* clone3()'s flags cannot be seen from here; libc then takes clone(). */
	error = error ?: seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (role == SANDBOX_DEVICE) {
		/* Threads, no processes; and their names. */
		error = error
			    ?: seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
						SCMP_A0_32(SCMP_CMP_MASKED_EQ,
							   spaces | CLONE_THREAD, CLONE_THREAD));
		return error
			   ?: seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
					       SCMP_A0_32(SCMP_CMP_EQ, PR_SET_NAME));
	}
	return error
		   ?: seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				       SCMP_A0_32(SCMP_CMP_MASKED_EQ, spaces, 0));
}

static int filter_export(scmp_filter_ctx ctx, struct sock_fprog **filter)
{
	struct stat st;
	int fd = memfd_create("arax-filter", MFD_CLOEXEC);
	int error = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);

	if (!error && fstat(fd, &st) < 0)
		error = -errno;
	struct sock_fprog *made = error ? NULL : malloc(sizeof(*made) + (size_t)st.st_size);
	if (!error && !made)
		error = -ENOMEM;
	if (!error && pread(fd, made + 1, (size_t)st.st_size, 0) != st.st_size)
		error = -EIO;
	if (error) {
		free(made);
	} else {
		made->len = (unsigned short)((size_t)st.st_size / sizeof(struct sock_filter));
		made->filter = (struct sock_filter *)(made + 1);
		*filter = made;
	}
	if (fd >= 0)
		close(fd);
	return error;
}

int sandbox_filter(enum sandbox_role role, struct sock_fprog **filter)
{
	const uint32_t needed = SECCOMP_RET_ERRNO;

	if (SANITIZED)
		return -ENOTSUP;
	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &needed) < 0)
		return -ENOSYS;
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (!ctx)
		return -ENOMEM;
	int error = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));
	/* A tree instead of a list of comparisons. */
	error = error ?: seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	error =
	    error ?: filter_names(ctx, filter_both, sizeof(filter_both) / sizeof(filter_both[0]));
	if (role == SANDBOX_COMPILER)
		error = error
			    ?: filter_names(ctx, filter_compiler,
					    sizeof(filter_compiler) / sizeof(filter_compiler[0]));
	if (role == SANDBOX_DEVICE)
		error = error
			    ?: filter_names(ctx, filter_device,
					    sizeof(filter_device) / sizeof(filter_device[0]));
	error = error ?: filter_arguments(ctx, role);
	error = error ?: filter_export(ctx, filter);
	seccomp_release(ctx);
	return error;
}

static int filter_set(const struct sock_fprog *filter)
{
	/* All threads at once; and without the mitigation that some kernels couple with filters: it
	 * slows all code down and protects a process from itself only. */
	long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			      SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW, filter);

	return result < 0 ? -errno : result > 0 ? -ESRCH : 0;
}

/* tgkill() for this process only; its number is not known before it is there. */
static int filter_self(void)
{
	const size_t low = offsetof(struct seccomp_data, args[0]) +
			   (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? sizeof(uint32_t) : 0);
	struct sock_filter program[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 0, 3),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)low),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)getpid(), 1, 0),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog filter = {.len = sizeof(program) / sizeof(program[0]),
					  .filter = program};

	return filter_set(&filter);
}

int sandbox_filter_load(const struct sock_fprog *filter)
{
	/* What a compiler executes has another number, and would abort without a signal. */
	int error = filter_self();

	return error ?: filter_set(filter);
}
