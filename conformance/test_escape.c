/*
 * Can a kernel get out? On a CPU it is native code, so each probe is a kernel that makes a system
 * call by itself, with arguments that work where nothing forbids them. A probe passes when it was
 * denied by one of the walls that are there for it; when none of them stands on this machine (`arax
 * status` says) it is listed as skipped, never as passed. The sandbox that is switched off, in
 * containment.py, shows that the probes can tell.
 */
#include "cltest.h"

#include <arpa/inet.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#ifndef __x86_64__
static void test_escape(void)
{
	SKIP("the probes are written for x86-64");
}

static const struct cltest tests[] = {TEST(escape)};
#else

/* The walls by which a probe must be denied; any one of them is enough. */
enum { SECCOMP = 1, LANDLOCK = 2, MOUNT = 4, PID = 8, NET = 16, IPC = 32, IDENTITY = 64 };
enum { FILES = LANDLOCK | MOUNT };

static const char source[] =
    "kernel void call(global long *io)\n"
    "{ __asm__ volatile(\"movq (%%rbx), %%rax; movq 8(%%rbx), %%rdi; movq 16(%%rbx), %%rsi;"
    "movq 24(%%rbx), %%rdx; movq 32(%%rbx), %%r10; movq 40(%%rbx), %%r8; movq 48(%%rbx), %%r9;"
    "syscall; movq %%rax, 56(%%rbx)\" : : \"b\"(io) : \"rax\", \"rdi\", \"rsi\", \"rdx\", "
    "\"r10\", \"r8\", \"r9\", \"rcx\", \"r11\", \"memory\"); }\n"
    "kernel void call32(global long *io)\n"
    "{ long r; __asm__ volatile(\"int $0x80\" : \"=a\"(r) : \"a\"(io[0]), \"b\"(io[1]), "
    "\"c\"(io[2]), \"d\"(io[3]) : \"r8\", \"r9\", \"r10\", \"r11\", \"memory\"); io[7] = (int)r; "
    "}\n"
    "kernel void jump(global long *io, global uchar *code)\n"
    "{ long r; __asm__ volatile(\"subq $256, %%rsp; call *%1; addq $256, %%rsp\" : \"=a\"(r) : "
    "\"r\"(code), \"D\"(io[1]), "
    "\"S\"(io[2]), \"d\"(io[3]) : \"rcx\", \"r11\", \"memory\"); io[7] = r; }\n"
    "kernel void address(global long *io, global uchar *data) { io[7] = (long)data; }\n";

static struct {
	struct cl cl;
	cl_program program;
	cl_kernel call, call32, jump, address;
	cl_mem io, data;
	char *bytes;	/* what data holds for the next probe */
	long base;	/* where data is in the tenant */
	unsigned walls; /* that stand around tenants */
	unsigned compiler_walls;
	int araxd;
	char missing[256];
} s;

#define DATA 65536

/* The path of a program beside this one. */
static const char *beside(const char *name)
{
	static char path[4200];
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	CHECK(n > 0);
	self[n] = 0;
	*strrchr(self, '/') = 0;
	snprintf(path, sizeof(path), "%s/%s", self, name);
	return path;
}

static unsigned walls_of(const char *line)
{
	static const char *const names[] = {"seccomp", "landlock", "mount",   "pid",
					    "net",     "ipc",	   "identity"};
	unsigned walls = 0;
	const char *end = strpbrk(line, ";)"), *at;

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		at = strstr(line, names[i]);
		if (at && (!end || at < end))
			walls |= 1u << i;
	}
	return walls;
}

/* What stands, by `arax status`. */
static void learn_walls(void)
{
	char line[1024], command[4300];

	snprintf(command, sizeof(command), "%s status", beside("arax"));
	FILE *status = popen(command, "r");
	CHECK(status);
	while (fgets(line, sizeof(line), status)) {
		const char *pid = strstr(line, ", process ");

		if (!strncmp(line, "araxd ", 6) && pid)
			s.araxd = atoi(pid + 10);
		if (!strncmp(line, "sandbox   tenants: ", 19)) {
			s.walls = walls_of(line + 19);
			const char *why = strchr(line, ';');
			snprintf(s.missing, sizeof(s.missing), "%.*s",
				 (int)strcspn(why ? why + 2 : "", "\n"), why ? why + 2 : "");
		}
		if (!strncmp(line, "sandbox   compilers: ", 21))
			s.compiler_walls = walls_of(line + 21);
	}
	CHECK_EQ(pclose(status), 0);
	CHECK(s.araxd > 1);
}

static long run(cl_kernel kernel, const long io[8])
{
	long out[8];

	CHECK_CL(clEnqueueWriteBuffer(s.cl.q, s.io, CL_TRUE, 0, sizeof(out), io, 0, NULL, NULL));
	CHECK_CL(clEnqueueWriteBuffer(s.cl.q, s.data, CL_TRUE, 0, DATA, s.bytes, 0, NULL, NULL));
	cltest_arg(kernel, 0, sizeof(s.io), &s.io);
	cltest_launch(s.cl.q, kernel, 1);
	CHECK_CL(clEnqueueReadBuffer(s.cl.q, s.io, CL_TRUE, 0, sizeof(out), out, 0, NULL, NULL));
	return out[7];
}

static void open_probes(void)
{
	if (s.bytes)
		return;
	s.cl = cl_open(0);
	s.program = cltest_build(s.cl.ctx, source, "");
	s.call = cltest_kernel(s.program, "call");
	s.call32 = cltest_kernel(s.program, "call32");
	s.jump = cltest_kernel(s.program, "jump");
	s.address = cltest_kernel(s.program, "address");
	s.io = cltest_buffer(s.cl.ctx, 0, 8 * sizeof(long), NULL);
	s.data = cltest_buffer(s.cl.ctx, 0, DATA, NULL);
	cltest_arg(s.jump, 1, sizeof(s.data), &s.data);
	cltest_arg(s.address, 1, sizeof(s.data), &s.data);
	s.bytes = calloc(1, DATA);
	CHECK(s.bytes);
	s.base = run(s.address, (long[8]){0});
	CHECK(s.base != 0);
	learn_walls();
}

/* A system call made by a kernel. */
static long call(long nr, long a, long b, long c, long d, long e, long f)
{
	return run(s.call, (long[8]){nr, a, b, c, d, e, f, -12345});
}

/* A string or structure at an offset of data, as the kernel sees it. */
static long put(size_t at, const void *bytes, size_t size)
{
	memcpy(s.bytes + at, bytes, size);
	return s.base + (long)at;
}

static long path(size_t at, const char *text)
{
	return put(at, text, strlen(text) + 1);
}

static bool denied(long result)
{
	return result == -EPERM || result == -EACCES || result == -ENOENT || result == -ESRCH ||
	       result == -EROFS;
}

static int passed, open_here;

/* Without any of its walls the probe is not worth a try where it would do harm. */
static void judge(const char *name, unsigned walls, unsigned standing, long result)
{
	if (denied(result) && (walls & standing)) {
		passed++;
		return;
	}
	if (walls & standing)
		FAIL("%s is not denied: it gave %ld", name, result);
	open_here++;
	dprintf(cltest_report_fd, "skip %s.%s: no wall against it stands here; it gave %ld\n",
		cltest_current, name, result);
}

#define PROBE(name, against, ...) judge(name, against, s.walls, run(s.call, (long[8]){__VA_ARGS__}))

/* Where it is not denied it ends the tenant, or makes another one of it. */
#define PROBE_HARMFUL(name, against, ...)                                                  \
	do {                                                                               \
		if ((against)&s.walls) {                                                   \
			PROBE(name, against, __VA_ARGS__);                                 \
		} else {                                                                   \
			open_here++;                                                       \
			dprintf(cltest_report_fd,                                          \
				"skip %s.%s: no wall against it stands here; not tried\n", \
				cltest_current, name);                                     \
		}                                                                          \
	} while (0)

static char secret_path[] = "/tmp/arax-escape-XXXXXX";
#define SECRET "the host's secret, which no kernel may read"

static void make_secret(void)
{
	int fd = mkstemp(secret_path);

	CHECK(fd >= 0 && fchmod(fd, 0666) == 0);
	CHECK(write(fd, SECRET, sizeof(SECRET)) == sizeof(SECRET));
	close(fd);
}

static void check_secret(void)
{
	char text[sizeof(SECRET)] = "";
	int fd = open(secret_path, O_RDONLY);

	CHECK(fd >= 0);
	if (s.walls & FILES)
		CHECK(read(fd, text, sizeof(text)) == sizeof(text) && !strcmp(text, SECRET));
	close(fd);
	unlink(secret_path);
	strcpy(secret_path, "/tmp/arax-escape-XXXXXX");
}

/* The probes' own method works: what is allowed succeeds. */
static void test_control(void)
{
	open_probes();
	CHECK(call(SYS_getpid, 0, 0, 0, 0, 0, 0) > 0);
	long fd = call(SYS_openat, AT_FDCWD, path(0, "/dev/null"), O_RDWR, 0, 0, 0);
	CHECK(fd >= 0);
	CHECK_EQ(call(SYS_write, fd, path(0, "x"), 1, 0, 0, 0), 1);
	CHECK_EQ(call(SYS_close, fd, 0, 0, 0, 0, 0), 0);
	CHECK_EQ(call(SYS_openat, AT_FDCWD, path(0, "/no/such/file"), O_RDONLY, 0, 0, 0), -ENOENT);
}

static void test_files(void)
{
	char text[300];
	const char *cache = getenv("XDG_CACHE_HOME"), *socket_path = getenv("ARAX_SOCKET");

	open_probes();
	make_secret();
	PROBE("open", FILES, SYS_open, path(0, secret_path), O_RDONLY);
	PROBE("openat", FILES, SYS_openat, AT_FDCWD, path(0, "/etc/passwd"), O_RDONLY);
	snprintf(text, sizeof(text), "../../../../../../..%s", secret_path);
	PROBE("open_upwards", FILES, SYS_openat, AT_FDCWD, path(0, text), O_RDONLY);
	PROBE("open_write", FILES, SYS_openat, AT_FDCWD, path(0, secret_path), O_WRONLY | O_TRUNC);
	PROBE("open_create", FILES, SYS_openat, AT_FDCWD, path(0, "/tmp/arax-escaped"),
	      O_WRONLY | O_CREAT | O_EXCL, 0600);
	unlink("/tmp/arax-escaped");
	PROBE("open_root", FILES, SYS_openat, AT_FDCWD, path(0, "/var"), O_RDONLY | O_DIRECTORY);
	PROBE("truncate", SECCOMP | FILES, SYS_truncate, path(0, secret_path), sizeof(SECRET));
	PROBE("rmdir", FILES, SYS_unlinkat, AT_FDCWD, path(0, "/tmp"), AT_REMOVEDIR);
	PROBE("chmod", SECCOMP, SYS_chmod, path(0, secret_path), 0666);
	PROBE("chown", SECCOMP, SYS_chown, path(0, secret_path), -1, -1);
	PROBE("link", SECCOMP, SYS_link, path(0, secret_path), path(100, secret_path));
	PROBE("symlink", SECCOMP, SYS_symlink, path(0, "x"), path(100, secret_path));
	PROBE("mknod", SECCOMP, SYS_mknod, path(0, "/tmp/arax-escaped"), S_IFIFO | 0600, 0);
	unlink("/tmp/arax-escaped");
	PROBE("proc_self_mem", FILES, SYS_openat, AT_FDCWD, path(0, "/proc/self/mem"), O_RDWR);
	PROBE("proc_self_environ", FILES, SYS_openat, AT_FDCWD, path(0, "/proc/self/environ"),
	      O_RDONLY);
	snprintf(text, sizeof(text), "/proc/%d/environ", s.araxd);
	PROBE("proc_araxd_environ", FILES, SYS_openat, AT_FDCWD, path(0, text), O_RDONLY);
	snprintf(text, sizeof(text), "/proc/%d/mem", getpid());
	PROBE("proc_client_mem", FILES, SYS_openat, AT_FDCWD, path(0, text), O_RDWR);
	snprintf(text, sizeof(text), "/proc/%d/root/etc/passwd", s.araxd);
	PROBE("proc_root", FILES, SYS_openat, AT_FDCWD, path(0, text), O_RDONLY);
	PROBE("ptmx", FILES, SYS_openat, AT_FDCWD, path(0, "/dev/ptmx"), O_RDWR);
	PROBE("sysfs", FILES, SYS_openat, AT_FDCWD, path(0, "/sys/kernel"), O_RDONLY | O_DIRECTORY);
	if (cache) {
		snprintf(text, sizeof(text), "%s/arax", cache);
		PROBE("cache", FILES, SYS_openat, AT_FDCWD, path(0, text), O_RDONLY | O_DIRECTORY);
	}
	if (socket_path) {
		snprintf(text, sizeof(text), "%s.lock", socket_path);
		PROBE("daemon_lock", FILES, SYS_openat, AT_FDCWD, path(0, text), O_RDWR);
	}
	PROBE("inotify", SECCOMP, SYS_inotify_init1, 0);
	PROBE("fanotify", SECCOMP, SYS_fanotify_init, 0, 0);
	PROBE("name_to_handle", SECCOMP, SYS_name_to_handle_at, AT_FDCWD, path(0, "/"),
	      s.base + 200, s.base + 100, 0);
	PROBE("open_by_handle", SECCOMP, SYS_open_by_handle_at, AT_FDCWD, s.base, O_RDONLY);
	check_secret();
}

static void test_programs(void)
{
	long argv[2] = {s.base, 0}, clone3_args[11] = {0};

	open_probes();
	argv[0] = path(0, "/bin/true");
	clone3_args[4] = SIGCHLD;
	PROBE_HARMFUL("execve", SECCOMP, SYS_execve, s.base, put(100, argv, sizeof(argv)), 0);
	PROBE_HARMFUL("execveat", SECCOMP, SYS_execveat, AT_FDCWD, s.base,
		      put(100, argv, sizeof(argv)), 0, 0);
	PROBE_HARMFUL("fork", SECCOMP, SYS_fork, 0);
	PROBE_HARMFUL("vfork", SECCOMP, SYS_vfork, 0);
	PROBE_HARMFUL("clone", SECCOMP, SYS_clone, SIGCHLD);
	PROBE_HARMFUL("clone_thread", SECCOMP, SYS_clone,
		      CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD,
		      s.base + DATA);
	PROBE_HARMFUL("clone3", SECCOMP, SYS_clone3, put(0, clone3_args, sizeof(clone3_args)), 88);
	PROBE_HARMFUL("clone_user", SECCOMP, SYS_clone, CLONE_NEWUSER | SIGCHLD);
}

static void test_processes(void)
{
	int me = getpid();
	char secret[] = SECRET, zeros[128] = "";
	const struct {
		long base, size;
	} here = {s.base, 16}, there = {(long)secret, 16};

	open_probes();
	PROBE("kill_araxd", SECCOMP | PID, SYS_kill, s.araxd, 0);
	PROBE("kill_client", SECCOMP | PID, SYS_kill, me, 0);
	PROBE("kill_all", SECCOMP, SYS_kill, -1, 0);
	PROBE("tkill", SECCOMP | PID, SYS_tkill, s.araxd, 0);
	PROBE("tgkill", SECCOMP | PID, SYS_tgkill, s.araxd, s.araxd, 0);
	PROBE("sigqueue", SECCOMP | PID, SYS_rt_sigqueueinfo, s.araxd, 0,
	      put(0, zeros, sizeof(zeros)));
	PROBE("pidfd_open", SECCOMP | PID, SYS_pidfd_open, s.araxd, 0);
	PROBE_HARMFUL("ptrace", SECCOMP | PID, SYS_ptrace, 0x4206, s.araxd, 0, 0); /* SEIZE */
	PROBE("ptrace_me", SECCOMP, SYS_ptrace, 0x4200, 1, 0, 0);
	PROBE("vm_readv", SECCOMP | PID, SYS_process_vm_readv, me, put(0, &here, 16), 1,
	      put(100, &there, 16), 1, 0);
	PROBE("vm_writev", SECCOMP | PID, SYS_process_vm_writev, me, put(0, &here, 16), 1,
	      put(100, &there, 16), 1, 0);
	if (s.walls & SECCOMP)
		CHECK(strcmp(secret, SECRET) == 0);
	PROBE("kcmp", SECCOMP | PID, SYS_kcmp, me, me, 0, 0, 0);
	PROBE("sched_setaffinity", SECCOMP | PID, SYS_sched_setaffinity, me, 8, put(0, "\377", 1));
	PROBE("setpriority", SECCOMP | PID, SYS_setpriority, 0, me, 0);
	PROBE("prlimit", SECCOMP | PID, SYS_prlimit64, me, 7, 0, s.base);
	PROBE("fcntl_setown", SECCOMP, SYS_fcntl, 3, F_SETOWN, me);
	PROBE("setpgid", SECCOMP, SYS_setpgid, 0, 0);
	PROBE("process_madvise", SECCOMP, SYS_process_madvise, -1, s.base, 1, 4, 0);
}

/* The arena of another application: not mapped here, and not to be reached from here. */
static void test_other_tenant(void)
{
	int to_child[2], to_parent[2];
	long address;

	open_probes();
	CHECK(pipe(to_child) == 0 && pipe(to_parent) == 0);
	pid_t child = cltest_fork();
	if (child == 0) {
		struct cl cl = cl_open(0);
		cl_mem b = cltest_buffer(cl.ctx, 0, 4096, NULL);
		void *p = MUST(clEnqueueMapBuffer(cl.q, b, CL_TRUE, CL_MAP_WRITE, 0, 4096, 0, NULL,
						  NULL, &ERR));
		strcpy(p, SECRET);
		address = (long)p;
		CHECK(write(to_parent[1], &address, sizeof(address)) == sizeof(address));
		char go;
		CHECK(read(to_child[0], &go, 1) == 1);
		CHECK(strcmp(p, SECRET) == 0);
		_exit(0);
	}
	CHECK(read(to_parent[0], &address, sizeof(address)) == sizeof(address));
	/* The kernel of the system reads the word for us, without a fault if there is none. */
	CHECK_EQ(call(SYS_futex, address, 0 /* WAIT */, -1, 0, 0, 0), -EFAULT);
	CHECK_EQ(call(SYS_write, 1, address, 8, 0, 0, 0), -EFAULT);
	/* And the client's own heap is as far away; a sanitizer puts all heaps in one place. */
	if (s.walls & SECCOMP)
		CHECK_EQ(call(SYS_futex, (long)s.bytes, 0, -1, 0, 0, 0), -EFAULT);
	CHECK(write(to_child[1], "g", 1) == 1);
	CHECK_EQ(cltest_reap(child), 0);
}

static void test_network(void)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	const char *socket_path = getenv("ARAX_SOCKET");

	open_probes();
	snprintf(name.sun_path, sizeof(name.sun_path), "%s",
		 socket_path ? socket_path : "/run/arax/araxd.sock");
	PROBE("socket_unix", SECCOMP, SYS_socket, AF_UNIX, SOCK_SEQPACKET, 0);
	PROBE("socket_inet", SECCOMP, SYS_socket, AF_INET, SOCK_STREAM, 0);
	PROBE("socket_netlink", SECCOMP, SYS_socket, AF_NETLINK, SOCK_RAW, 0);
	PROBE("socketpair", SECCOMP, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, s.base);
	PROBE("connect_daemon", SECCOMP, SYS_connect, 3, put(0, &name, sizeof(name)), sizeof(name));
	PROBE("bind", SECCOMP, SYS_bind, 3, put(0, &name, 2), 2);
	PROBE("listen", SECCOMP, SYS_listen, 3, 1);
	/* Only araxd's connections are taken, and only in the place of araxd's. */
	PROBE("accept", SECCOMP, SYS_accept4, 3, 0, 0, 0);
	PROBE("dup3", SECCOMP, SYS_dup3, 3, 9, 0, 0);
}

static void test_kernel_doors(void)
{
	char zeros[256] = "";
	struct perf_event_attr perf = {.type = PERF_TYPE_SOFTWARE, .size = sizeof(perf)};

	open_probes();
	PROBE("io_uring", SECCOMP, SYS_io_uring_setup, 1, put(0, zeros, 256));
	PROBE("bpf", SECCOMP, SYS_bpf, 0, put(0, zeros, 256), 64);
	PROBE("perf_event", SECCOMP, SYS_perf_event_open, put(0, &perf, sizeof(perf)), 0, -1, -1,
	      0);
	PROBE("userfaultfd", SECCOMP, SYS_userfaultfd, 0);
	PROBE("keyctl", SECCOMP, SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1);
	PROBE("add_key", SECCOMP, SYS_add_key, path(0, "user"), path(10, "arax"), s.base, 4, -3);
	PROBE("request_key", SECCOMP, SYS_request_key, path(0, "user"), path(10, "arax-x"), 0, 0);
	PROBE("memfd", SECCOMP, SYS_memfd_create, path(0, "x"), 0);
	PROBE("memfd_secret", SECCOMP, 447, 0);
	PROBE("unshare", SECCOMP, SYS_unshare, CLONE_NEWUSER);
	PROBE("setns", SECCOMP, SYS_setns, 3, 0);
	PROBE("mount", SECCOMP, SYS_mount, path(0, "x"), path(10, "/scratch"), path(30, "tmpfs"), 0,
	      0);
	PROBE("umount", SECCOMP, SYS_umount2, path(0, "/scratch"), 0);
	PROBE("fsopen", SECCOMP, SYS_fsopen, path(0, "tmpfs"), 0);
	PROBE("open_tree", SECCOMP, SYS_open_tree, AT_FDCWD, path(0, "/"), 1);
	PROBE("pivot_root", SECCOMP, SYS_pivot_root, path(0, "."), s.base);
	PROBE("chroot", SECCOMP, SYS_chroot, path(0, "/"));
	PROBE("setuid", SECCOMP, SYS_setuid, 0);
	PROBE("setresuid", SECCOMP, SYS_setresuid, 0, 0, 0);
	PROBE("setgroups", SECCOMP, SYS_setgroups, 0, 0);
	PROBE("capset", SECCOMP, SYS_capset, s.base, 0);
	PROBE("prctl", SECCOMP, SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
	PROBE("seccomp", SECCOMP, SYS_seccomp, 2, 0, s.base);
	PROBE("landlock", SECCOMP, 444, 0, 0, 1);
	PROBE("ioctl_tty", SECCOMP, SYS_ioctl, 2, 0x5412 /* TIOCSTI */, path(0, "x"));
	PROBE("shmget", SECCOMP, SYS_shmget, 0x41726178, 4096, 0600);
	PROBE("msgget", SECCOMP, SYS_msgget, 0x41726178, 0600);
	PROBE("semget", SECCOMP, SYS_semget, 0x41726178, 1, 0600);
	PROBE("mq_open", SECCOMP, SYS_mq_open, path(0, "arax"), O_RDWR, 0, 0);
	PROBE("init_module", SECCOMP, SYS_init_module, s.base, 0, s.base);
	PROBE("syslog", SECCOMP, SYS_syslog, 10, 0, 0);
	PROBE("iopl", SECCOMP, SYS_iopl, 3);
	PROBE("modify_ldt", SECCOMP, SYS_modify_ldt, 0, s.base, 16);
	PROBE("clock_settime", SECCOMP, SYS_clock_settime, 0, 0);
	PROBE("sethostname", SECCOMP, SYS_sethostname, s.base, -1);
	PROBE("rt_sigaction", SECCOMP, SYS_rt_sigaction, SIGUSR2, 0, 0, 8);
	PROBE("personality", SECCOMP, SYS_personality, 0xffffffff);
	PROBE("remap_file_pages", SECCOMP, SYS_remap_file_pages, 0, 4096, 0, 0, 0);
	PROBE_HARMFUL("exit_thread", SECCOMP, SYS_exit, 0);
	PROBE("x32", SECCOMP, 0x40000000 | SYS_getpid, 0);
	judge("int80", SECCOMP, s.walls,
	      run(s.call32, (long[8]){20 /* getpid */, 0, 0, 0, 0, 0, 0, 0}));
}

/* A file can be mapped only through a descriptor, and none of one is there. */
static void test_descriptors(void)
{
	int count = 0;

	open_probes();
	/* Else the probes before this one have opened some. */
	if (!(s.walls & SECCOMP) || !(s.walls & FILES))
		SKIP("walls are missing");
	for (long fd = 0; fd < 300; fd++) {
		long r = call(SYS_fstat, fd, s.base + 1024, 0, 0, 0, 0);

		if (r == -EBADF)
			continue;
		CHECK_EQ(r, 0);
		struct stat st;
		CHECK_CL(clEnqueueReadBuffer(s.cl.q, s.data, CL_TRUE, 1024, sizeof(st), &st, 0,
					     NULL, NULL));
		if (S_ISDIR(st.st_mode) && (s.walls & MOUNT))
			FAIL("descriptor %ld is a directory", fd);
		if (S_ISREG(st.st_mode) && st.st_nlink)
			FAIL("descriptor %ld is a file", fd);
		count++;
	}
	/* Standard input, output (a memfd, twice) and error, control, where another araxd connects,
	 * link, and the memory that is mapped anyway: arena, statistics, trace. */
	if (count > 11)
		FAIL("%d descriptors are open", count);
	CHECK_EQ(call(SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE, 200, 0), -EBADF);
}

/* Code that the kernel brings along in a buffer can do no more than the kernel. */
static void test_own_code(void)
{
	static const unsigned char code[] = {0xb8, SYS_socket, 0, 0, 0, 0x0f, 0x05, 0xc3};

	open_probes();
	if (call(SYS_mprotect, s.base & -4096, DATA, PROT_READ | PROT_WRITE | PROT_EXEC, 0, 0, 0))
		return; /* then it cannot even be executed */
	memcpy(s.bytes, code, sizeof(code));
	judge("own_code", SECCOMP, s.walls,
	      run(s.jump, (long[8]){0, AF_UNIX, SOCK_STREAM, 0, 0, 0, 0, 0}));
}

/* What the compiler includes from a file of the host, which it was not sent, or nothing. */
static long stolen(const char *file)
{
	char text[1024];
	size_t one = 1;

	snprintf(text, sizeof(text),
		 "kernel void steal(global uchar *out)\n"
		 "{ const uchar *in; __asm__ volatile(\".pushsection .rodata\\n.Lstolen: .incbin "
		 "\\\"%s\\\"\\n.popsection\\nleaq .Lstolen(%%%%rip), %%0\" : \"=r\"(in));\n"
		 "for (int i = 0; i < 8; i++) out[i] = in[i]; }\n",
		 file);
	memset(s.bytes, 0, DATA);
	cl_program p = cltest_program(s.cl.ctx, text);
	cl_kernel k = NULL;
	if (!clBuildProgram(p, 1, &cltest_device, "", NULL, NULL))
		k = clCreateKernel(p, "steal", &ERR);
	if (k) {
		cltest_arg(k, 0, sizeof(s.data), &s.data);
		CHECK_CL(
		    clEnqueueWriteBuffer(s.cl.q, s.data, CL_TRUE, 0, 8, s.bytes, 0, NULL, NULL));
		if (!clEnqueueNDRangeKernel(s.cl.q, k, 1, NULL, &one, NULL, 0, NULL, NULL))
			CHECK_CL(clEnqueueReadBuffer(s.cl.q, s.data, CL_TRUE, 0, 8, s.bytes, 0,
						     NULL, NULL));
		clReleaseKernel(k);
	}
	clReleaseProgram(p);
	return memcmp(s.bytes, SECRET, 8) ? -EACCES : 8;
}

/* The compiler reads what came with the program, and nothing of the host. */
static void test_compiler(void)
{
	open_probes();
	make_secret();
	long result = stolen(secret_path);
	learn_walls(); /* there is a compiler now */
	judge("incbin", FILES, s.compiler_walls, result);
	check_secret();
}

static void test_count(void)
{
	open_probes();
	dprintf(cltest_report_fd, "%d probes were denied, %d could not be on this machine\n",
		passed, open_here);
	CHECK(passed + open_here >= 90);
	if (!passed)
		SKIP("nothing is denied here: there is no sandbox");
}

static const struct cltest tests[] = {
    TEST(control),	TEST(files),	TEST(programs),	    TEST(processes),
    TEST(other_tenant), TEST(network),	TEST(kernel_doors), TEST(descriptors),
    TEST(own_code),	TEST(compiler), TEST(count),
};
#endif

CLTEST_MAIN(tests)
