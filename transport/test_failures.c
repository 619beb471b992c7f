/* SPDX-License-Identifier: Apache-2.0
 *
 * Every allocation and system call of the transport fails once: the first, the second and so on
 * until a run needs no more of them, and then every one from the N-th on. Each time there is an
 * error or all is well, and no descriptor and no memory is left behind (the sanitizers watch). Then
 * interruptions, after which everything is as if they had not been.
 *
 * The calls come here by the linker's --wrap (CMakeLists.txt).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "transport/build.h"
#include "transport/heap.h"
#include "transport/socket.h"
#include "transport/testing.h"

static unsigned long calls, fail_at; /* 0: none */
static bool persistent, interrupt;

static bool fails(void)
{
	calls++;
	return fail_at && !interrupt && (persistent ? calls >= fail_at : calls == fail_at);
}

/* About every second call that may be interrupted is. */
static bool interrupted(void)
{
	static uint64_t state;

	return interrupt && test_random(&state) % 2;
}

#define RETRIES 1
#define WRAP(retries, type, failure, error, name, parameters, arguments) \
	type __real_##name parameters;                                   \
	type __wrap_##name parameters;                                   \
	type __wrap_##name parameters                                    \
	{                                                                \
		if (retries && interrupted()) {                          \
			errno = EINTR;                                   \
			return failure;                                  \
		}                                                        \
		if (fails()) {                                           \
			errno = error;                                   \
			return failure;                                  \
		}                                                        \
		return __real_##name arguments;                          \
	}

WRAP(0, void *, NULL, ENOMEM, malloc, (size_t size), (size))
WRAP(0, void *, NULL, ENOMEM, calloc, (size_t count, size_t size), (count, size))
WRAP(0, void *, NULL, ENOMEM, realloc, (void *old, size_t size), (old, size))
WRAP(0, int, -1, EMFILE, socket, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(RETRIES, int, -1, EACCES, connect, (int fd, const struct sockaddr *address, socklen_t size),
     (fd, address, size))
WRAP(0, int, -1, EACCES, bind, (int fd, const struct sockaddr *address, socklen_t size),
     (fd, address, size))
WRAP(0, int, -1, EADDRINUSE, listen, (int fd, int backlog), (fd, backlog))
WRAP(0, int, -1, EPERM, chmod, (const char *path, mode_t mode), (path, mode))
WRAP(0, int, -1, EACCES, rename, (const char *from, const char *to), (from, to))
WRAP(0, int, -1, EACCES, lstat, (const char *path, struct stat *st), (path, st))
WRAP(RETRIES, ssize_t, -1, ENOBUFS, sendmsg, (int fd, const struct msghdr *msg, int flags),
     (fd, msg, flags))
WRAP(RETRIES, ssize_t, -1, ECONNRESET, recvmsg, (int fd, struct msghdr *msg, int flags),
     (fd, msg, flags))
WRAP(RETRIES, int, -1, ENOMEM, poll, (struct pollfd * fds, nfds_t n, int timeout),
     (fds, n, timeout))
WRAP(0, int, -1, ENOTCONN, getsockopt, (int fd, int level, int name, void *value, socklen_t *size),
     (fd, level, name, value, size))
WRAP(0, int, -1, EMFILE, memfd_create, (const char *name, unsigned flags), (name, flags))
WRAP(0, int, -1, ENOSPC, ftruncate, (int fd, off_t size), (fd, size))
WRAP(RETRIES, ssize_t, -1, ENOSPC, pwrite, (int fd, const void *data, size_t size, off_t at),
     (fd, data, size, at))
WRAP(0, int, -1, EIO, fstatfs, (int fd, struct statfs *fs), (fd, fs))
WRAP(0, void *, MAP_FAILED, ENOMEM, mmap,
     (void *at, size_t size, int protection, int flags, int fd, off_t offset),
     (at, size, protection, flags, fd, offset))

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
	va_list args;
	long arg;

	va_start(args, command);
	arg = va_arg(args, long);
	va_end(args);
	if (fails()) {
		errno = EPERM;
		return -1;
	}
	return __real_fcntl(fd, command, arg);
}

static void fds_close(int fds[ARAX_FDS_MAX])
{
	for (int i = 0; i < ARAX_FDS_MAX; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* Each scenario: returns whether all went well, and leaves nothing behind. */

static bool scenario_memory(void)
{
	const void *data;
	size_t size;
	int arena = arax_memfd_new("arena", 1 << 20), fd = arax_memfd_from("text", "text", 4),
	    err = -1;

	if (fd >= 0)
		err = arax_memfd_map(fd, 100, &data, &size);
	if (!err) {
		CHECK(size == 4 && !memcmp(data, "text", 4));
		munmap((void *)data, size);
	}
	if (arena >= 0)
		close(arena);
	if (fd >= 0)
		close(fd);
	return arena >= 0 && !err;
}

static bool talk(int pair[2])
{
	int fds[ARAX_FDS_MAX];
	char text[8];
	pid_t pid;
	uid_t uid;
	gid_t gid;
	ssize_t n;

	if (arax_socket_send(pair[0], "hello", 5, pair, 2))
		return false;
	n = arax_socket_recv(pair[1], text, sizeof(text), fds, 1000);
	if (n <= 0) /* the peer's end, which recvmsg() told, is 0 */
		return false;
	CHECK(n == 5 && fds[0] >= 0 && fds[1] >= 0 && fds[2] == -1);
	fds_close(fds);
	return !arax_socket_peer(pair[1], &pid, &uid, &gid) && pid == getpid();
}

static bool scenario_talk(void)
{
	int pair[2];
	bool well;

	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	well = talk(pair);
	close(pair[0]);
	close(pair[1]);
	return well;
}

static char directory[] = "/tmp/arax-test-XXXXXX";

static bool scenario_listen(void)
{
	char path[64];
	int listener, again, client = -1;
	bool well;

	snprintf(path, sizeof(path), "%s/sock", directory);
	listener = arax_socket_listen(path, 0600);
	if (listener >= 0)
		client = arax_socket_connect(path);
	well = listener >= 0 && client >= 0;
	if (client >= 0)
		close(client);
	if (listener >= 0)
		close(listener);
	/* In place of a dead one. */
	again = arax_socket_listen(path, 0600);
	well = well && again >= 0;
	if (again >= 0)
		close(again);
	unlink(path);
	return well;
}

static bool scenario_build(void)
{
	struct arax_arg_info args[] = {{"x", "float*", 1, 2, 3, 8}, {"n", "int", 1, 2, 3, 4}};
	struct arax_kernel_info kernels[] = {
	    {.name = "k", .attributes = "", .nargs = 2, .args = args}};
	struct arax_target targets[] = {{"cpu", 7}};
	struct arax_result result = {.options = "-DN=3",
				     .ntargets = 1,
				     .targets = targets,
				     .nkernels = 1,
				     .kernels = kernels,
				     .binary = "binary",
				     .binary_size = 6};
	struct arax_writer w = {0};
	struct arax_result *read = NULL;

	arax_result_write(&w, &result);
	if (!w.failed) {
		read = arax_result_parse(w.data, w.size);
		CHECK(read || errno == ENOMEM);
	}
	arax_writer_free(&w);
	arax_result_free(read);
	return read;
}

static bool scenario_heap(void)
{
	struct arax_heap *heap = arax_heap_new(1 << 20, 64 << 20, -1, 1 << 20);
	uint64_t offsets[300];
	unsigned n = 0;
	bool well = heap;

	for (; well && n < 300; n++)
		if (arax_heap_alloc(heap, 256 + n, 256, &offsets[n])) {
			well = false;
			break;
		}
	while (n)
		arax_heap_release(heap, offsets[--n]);
	CHECK(!heap || !arax_heap_used(heap));
	arax_heap_free(heap);
	return well;
}

static void test_scenario(bool (*scenario)(void))
{
	unsigned long failed = 0;

	for (int always = 0; always < 2; always++) {
		bool untouched = false;

		persistent = always;
		for (unsigned long n = 1; !untouched; n++) {
			int before = test_fds_open();
			bool well;

			calls = 0;
			fail_at = n;
			well = scenario();
			fail_at = 0;
			untouched = calls < n;
			CHECK(test_fds_open() == before);
			CHECK(well || !untouched);
			failed += !well;
			CHECK(n < 10000);
		}
	}
	CHECK(failed);
	interrupt = true;
	CHECK(scenario());
	interrupt = false;
}

int main(void)
{
	CHECK(mkdtemp(directory));
	test_scenario(scenario_memory);
	test_scenario(scenario_talk);
	test_scenario(scenario_listen);
	test_scenario(scenario_build);
	test_scenario(scenario_heap);
	CHECK(!rmdir(directory));
	return 0;
}
