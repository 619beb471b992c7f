/* SPDX-License-Identifier: Apache-2.0
 *
 * Preloaded into a process of Arax (or an application that uses it), this library numbers every
 * allocation and system call that Arax's own code makes and lets the Nth fail, or all from the Nth
 * on. Whose call it is tells the return address: what libc, the loader, PoCL or the application
 * call is passed on untouched, unless their names are asked for.
 *
 * It is controlled and read through a file that the runner (faults.py) makes and maps:
 *
 *   FAULTS_PAGE     its name; without it nothing fails and nothing is counted
 *   FAULTS_MODULES  comma list of what the file names of the modules concerned begin with
 *
 * Everything is opened before main(), so that it works in a sandbox that is closed later, and the
 * page is shared by what is forked. What a module allocated and nobody has freed is counted too,
 * by which the runner sees leaks.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))
#define TRACE 65536

/* faults.py knows this layout. */
struct page {
	_Atomic uint32_t armed;
	uint32_t from; /* 0: the call number at alone; 1: all from it on */
	uint64_t at;   /* 0: none, only count */
	uint64_t kinds;
	_Atomic uint64_t count, failed;
	_Atomic int64_t live;
	_Atomic uint64_t first; /* that failed: kind and place */
	uint64_t unused[505];
	_Atomic uint64_t trace[TRACE]; /* of call n: its kind and its place in the module */
};
_Static_assert(offsetof(struct page, trace) == 4096, "layout");

enum kind { MEMORY, MAP, MEMFD, SEND, RECEIVE, SPAWN, FUTEX, SOCKET, FILES, THREAD, OTHER };

static struct page *page;
static const char *modules;
#define RANGES 16
static struct range {
	uintptr_t base, start, end;
} ranges[RANGES];
static _Atomic unsigned nranges;

/* ---- whose call is it? ---------------------------------------------------------------------- */

static bool wanted(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	for (const char *at = modules; at && *at;) {
		size_t length = strcspn(at, ",");

		if (length && !strncmp(name, at, length))
			return true;
		at += length + (at[length] == ',');
	}
	return false;
}

static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
	static char self[4096];
	const char *path = info->dlpi_name;

	(void)size, (void)arg;
	if (!*path && !self[0] && readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 0;
	if (!wanted(*path ? path : self))
		return 0;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + header->p_vaddr;
		unsigned n = nranges, at = 0;

		if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
			continue;
		while (at < n && ranges[at].start != start)
			at++;
		if (at < n || n == RANGES)
			continue;
		ranges[n] = (struct range){info->dlpi_addr, start, start + header->p_memsz};
		nranges = n + 1;
	}
	return 0;
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("FAULTS_PAGE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

	modules = getenv("FAULTS_MODULES");
	if (fd < 0 || !modules)
		return;
	void *map = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return;
	modules = strdup(modules);
	/* What is executed from here is another process, with its own settings or none. */
	unsetenv("LD_PRELOAD");
	dl_iterate_phdr(look, NULL);
	page = map;
}

/* The place of a call within its module, 0 when it is not one of those. */
static uintptr_t place(const void *caller)
{
	uintptr_t address = (uintptr_t)caller;

	for (unsigned i = 0; i < nranges; i++)
		if (address >= ranges[i].start && address < ranges[i].end)
			return address - ranges[i].base;
	return 0;
}

static bool fails(enum kind kind, const void *caller)
{
	if (!page || !atomic_load_explicit(&page->armed, memory_order_relaxed) ||
	    !(page->kinds >> kind & 1))
		return false;
	uintptr_t site = place(caller);
	if (!site)
		return false;
	uint64_t n = atomic_fetch_add(&page->count, 1) + 1;
	uint64_t what = (uint64_t)kind << 56 | site, none = 0;
	if (n < TRACE)
		page->trace[n] = what;
	if (!page->at || (page->from ? n < page->at : n != page->at))
		return false;
	page->failed++;
	atomic_compare_exchange_strong(&page->first, &none, what);
	return true;
}

/* ---- what the module has allocated ---------------------------------------------------------- */

#define LIVE (1u << 16)
#define GONE 1u
static struct {
	uintptr_t pointer, site;
} live[LIVE];
static atomic_flag live_lock = ATOMIC_FLAG_INIT;

static unsigned bucket(uintptr_t pointer)
{
	return (unsigned)(pointer >> 4) * 2654435761u % LIVE;
}

static void lock(void)
{
	while (atomic_flag_test_and_set_explicit(&live_lock, memory_order_acquire))
		;
}

static void unlock(void)
{
	atomic_flag_clear_explicit(&live_lock, memory_order_release);
}

static void *keep(void *pointer, const void *caller)
{
	uintptr_t site = page && pointer ? place(caller) : 0;
	unsigned at = bucket((uintptr_t)pointer);

	if (!site)
		return pointer;
	lock();
	for (unsigned i = 0; i < LIVE; i++, at = (at + 1) % LIVE) {
		if (live[at].pointer > GONE)
			continue;
		live[at].pointer = (uintptr_t)pointer;
		live[at].site = site;
		page->live++;
		break;
	}
	unlock();
	return pointer;
}

static void drop(void *pointer)
{
	unsigned at = bucket((uintptr_t)pointer);

	if (!page || !pointer || !page->live)
		return;
	lock();
	for (unsigned i = 0; i < LIVE && live[at].pointer; i++, at = (at + 1) % LIVE) {
		if (live[at].pointer != (uintptr_t)pointer)
			continue;
		live[at].pointer = GONE;
		page->live--;
		break;
	}
	unlock();
}

/* For the application: stop failing, and what is left. */
PUBLIC void faults_arm(int armed)
{
	if (page)
		page->armed = (uint32_t)armed;
}

PUBLIC void faults_left(void)
{
	for (unsigned i = 0; page && i < LIVE; i++)
		if (live[i].pointer > GONE)
			fprintf(stderr, "left %#lx\n", (unsigned long)live[i].site);
}

/* ---- memory --------------------------------------------------------------------------------- */

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

#define CALLER __builtin_return_address(0)
#define NO_MEMORY                    \
	if (fails(MEMORY, CALLER)) { \
		errno = ENOMEM;      \
		return NULL;         \
	}

PUBLIC void *malloc(size_t size)
{
	NO_MEMORY
	return keep(__libc_malloc(size), CALLER);
}

PUBLIC void *calloc(size_t n, size_t size)
{
	NO_MEMORY
	return keep(__libc_calloc(n, size), CALLER);
}

PUBLIC void *realloc(void *old, size_t size)
{
	NO_MEMORY
	drop(old);
	void *pointer = __libc_realloc(old, size);
	return keep(pointer ? pointer : size ? old : NULL, CALLER) ? pointer : NULL;
}

PUBLIC void *reallocarray(void *old, size_t n, size_t size)
{
	size_t bytes;

	NO_MEMORY
	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	drop(old);
	void *pointer = __libc_realloc(old, bytes);
	return keep(pointer ? pointer : bytes ? old : NULL, CALLER) ? pointer : NULL;
}

PUBLIC void *aligned_alloc(size_t align, size_t size)
{
	NO_MEMORY
	return keep(__libc_memalign(align, size), CALLER);
}

PUBLIC void free(void *pointer)
{
	drop(pointer);
	__libc_free(pointer);
}

PUBLIC char *strndup(const char *text, size_t most)
{
	size_t size = strnlen(text, most);

	NO_MEMORY
	char *copy = keep(__libc_malloc(size + 1), CALLER);
	if (copy) {
		memcpy(copy, text, size);
		copy[size] = 0;
	}
	return copy;
}

PUBLIC char *strdup(const char *text)
{
	size_t size = strlen(text) + 1;

	NO_MEMORY
	char *copy = keep(__libc_malloc(size), CALLER);
	return copy ? memcpy(copy, text, size) : NULL;
}

PUBLIC int asprintf(char **out, const char *format, ...)
{
	va_list args;

	if (fails(MEMORY, CALLER)) {
		errno = ENOMEM;
		return -1;
	}
	va_start(args, format);
	int n = vasprintf(out, format, args);
	va_end(args);
	if (n >= 0)
		keep(*out, CALLER);
	return n;
}

/* ---- calls ---------------------------------------------------------------------------------- */

#define HOOK(kind, type, name, parameters, arguments, error, bad)          \
	PUBLIC type name parameters                                        \
	{                                                                  \
		static __typeof__(&name) next;                             \
                                                                           \
		if (fails(kind, CALLER)) {                                 \
			errno = error;                                     \
			return bad;                                        \
		}                                                          \
		if (!next)                                                 \
			next = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
		return next arguments;                                     \
	}

HOOK(MAP, void *, mmap, (void *a, size_t n, int p, int f, int fd, off_t o), (a, n, p, f, fd, o),
     ENOMEM, MAP_FAILED)
HOOK(MEMFD, int, memfd_create, (const char *name, unsigned flags), (name, flags), EMFILE, -1)
HOOK(MEMFD, int, ftruncate, (int fd, off_t size), (fd, size), ENOSPC, -1)
HOOK(MEMFD, int, fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size), ENOSPC,
     -1)
HOOK(SEND, ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags), ENOBUFS,
     -1)
HOOK(RECEIVE, ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags), ENOMEM, -1)
HOOK(OTHER, int, poll, (struct pollfd * p, nfds_t n, int timeout), (p, n, timeout), ENOMEM, -1)
HOOK(SPAWN, pid_t, fork, (void), (), EAGAIN, -1)
HOOK(SOCKET, int, socket, (int domain, int type, int protocol), (domain, type, protocol), EMFILE,
     -1)
HOOK(SOCKET, int, socketpair, (int d, int t, int p, int fds[2]), (d, t, p, fds), EMFILE, -1)
HOOK(SOCKET, int, connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n), EAGAIN, -1)
HOOK(SOCKET, int, bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n), ENOMEM, -1)
HOOK(SOCKET, int, listen, (int fd, int n), (fd, n), ENOBUFS, -1)
HOOK(SOCKET, int, accept4, (int fd, struct sockaddr *a, socklen_t *n, int f), (fd, a, n, f), EMFILE,
     -1)
HOOK(SOCKET, int, getsockopt, (int fd, int l, int o, void *v, socklen_t *n), (fd, l, o, v, n),
     ENOBUFS, -1)
HOOK(OTHER, int, epoll_create1, (int flags), (flags), EMFILE, -1)
HOOK(OTHER, int, epoll_wait, (int e, struct epoll_event *v, int n, int t), (e, v, n, t), EINTR, -1)
HOOK(OTHER, int, signalfd, (int fd, const sigset_t *mask, int flags), (fd, mask, flags), EMFILE, -1)
HOOK(FILES, int, pipe2, (int ends[2], int flags), (ends, flags), EMFILE, -1)
HOOK(FILES, ssize_t, read, (int fd, void *data, size_t n), (fd, data, n), EIO, -1)
HOOK(FILES, ssize_t, pread, (int fd, void *data, size_t n, off_t at), (fd, data, n, at), EIO, -1)
HOOK(FILES, ssize_t, write, (int fd, const void *data, size_t n), (fd, data, n), ENOSPC, -1)
HOOK(FILES, ssize_t, pwrite, (int fd, const void *data, size_t n, off_t at), (fd, data, n, at),
     ENOSPC, -1)
HOOK(FILES, FILE *, fopen, (const char *path, const char *mode), (path, mode), EMFILE, NULL)
HOOK(FILES, int, mkdir, (const char *path, mode_t mode), (path, mode), ENOSPC, -1)
HOOK(FILES, char *, mkdtemp, (char *path), (path), ENOSPC, NULL)
HOOK(FILES, int, rename, (const char *from, const char *to), (from, to), ENOSPC, -1)
HOOK(FILES, int, dup2, (int from, int to), (from, to), EMFILE, -1)
HOOK(FILES, int, dup3, (int from, int to, int flags), (from, to, flags), EMFILE, -1)
HOOK(OTHER, ssize_t, getrandom, (void *data, size_t n, unsigned flags), (data, n, flags), EAGAIN,
     -1)

/* To take something out or to change it needs no memory: that does not fail. */
PUBLIC int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	static __typeof__(&epoll_ctl) next;

	if (operation == EPOLL_CTL_ADD && fails(OTHER, CALLER)) {
		errno = ENOMEM;
		return -1;
	}
	if (!next)
		next = (__typeof__(&epoll_ctl))dlsym(RTLD_NEXT, "epoll_ctl");
	return next(epoll, operation, fd, event);
}

PUBLIC int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attributes, char *const argv[], char *const env[])
{
	static __typeof__(&posix_spawn) next;

	if (fails(SPAWN, CALLER))
		return EAGAIN;
	if (!next)
		next = (__typeof__(&posix_spawn))dlsym(RTLD_NEXT, "posix_spawn");
	return next(pid, path, actions, attributes, argv, env);
}

PUBLIC int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
			  void *(*main)(void *), void *arg)
{
	static __typeof__(&pthread_create) next;

	if (fails(THREAD, CALLER))
		return EAGAIN;
	if (!next)
		next = (__typeof__(&pthread_create))dlsym(RTLD_NEXT, "pthread_create");
	return next(thread, attributes, main, arg);
}

PUBLIC int open(const char *path, int flags, ...)
{
	mode_t mode = 0;

	if (fails(FILES, CALLER)) {
		errno = EMFILE;
		return -1;
	}
	if (flags & (O_CREAT | O_TMPFILE)) {
		va_list args;

		va_start(args, flags);
		mode = va_arg(args, mode_t);
		va_end(args);
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

PUBLIC int fcntl(int fd, int command, ...)
{
	va_list args;

	if (fails(MEMFD, CALLER)) {
		errno = ENOMEM;
		return -1;
	}
	va_start(args, command);
	long arg = va_arg(args, long);
	va_end(args);
	static int (*next)(int, int, ...);
	if (!next)
		next = (int (*)(int, int, ...))dlsym(RTLD_NEXT, "fcntl");
	return next(fd, command, arg);
}

/* Arax's own: futex, pidfd_open, pidfd_send_signal and what libc has no function for. */
PUBLIC long syscall(long number, ...)
{
	static long (*next)(long, ...);
	va_list args;
	long a[6];

	if (fails(number == SYS_futex ? FUTEX : OTHER, CALLER)) {
		errno = number == SYS_pidfd_open ? EMFILE : ENOMEM;
		return -1;
	}
	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (!next)
		next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* A module may come late: the ICD loader opens the client's library. */
PUBLIC void *dlopen(const char *path, int flags)
{
	static __typeof__(&dlopen) next;

	if (!next)
		next = (__typeof__(&dlopen))dlsym(RTLD_NEXT, "dlopen");
	void *handle = next(path, flags);
	if (handle && page)
		dl_iterate_phdr(look, NULL);
	return handle;
}
