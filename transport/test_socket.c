/* SPDX-License-Identifier: Apache-2.0
 *
 * Control messages: descriptors travel and are not leaked by refused messages, cut and oversized
 * messages are refused, the peer is known, and only sealed memory is mapped.
 */
#include "transport/socket.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "transport/testing.h"

static int fd_count(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	CHECK(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void pair_new(int pair[2])
{
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
}

static void test_descriptors(void)
{
	int before = fd_count(), pair[2], fds[ARAX_FDS_MAX], sent[ARAX_FDS_MAX];
	char text[32];

	pair_new(pair);
	for (unsigned n = 0; n <= ARAX_FDS_MAX; n++) {
		for (unsigned i = 0; i < n; i++) {
			sent[i] = arax_memfd_from("test", "0123456789", i + 1);
			CHECK(sent[i] >= 0);
		}
		CHECK(arax_socket_send(pair[0], "hello", 5, sent, n) == 0);
		CHECK(arax_socket_recv(pair[1], text, sizeof(text), fds, -1) == 5);
		CHECK(!memcmp(text, "hello", 5));
		for (unsigned i = 0; i < ARAX_FDS_MAX; i++) {
			const void *data;
			size_t size;

			CHECK((fds[i] >= 0) == (i < n));
			if (i >= n)
				continue;
			CHECK(fcntl(fds[i], F_GETFD) == FD_CLOEXEC);
			CHECK(arax_memfd_map(fds[i], 100, &data, &size) == 0 && size == i + 1);
			CHECK(!memcmp(data, "0123456789", size));
			munmap((void *)data, size);
			close(fds[i]);
			close(sent[i]);
		}
	}
	CHECK(arax_socket_send(pair[0], "x", 1, sent, ARAX_FDS_MAX + 1) == -EINVAL);
	CHECK(arax_socket_send(pair[0], "", 0, NULL, 0) == -EINVAL);
	close(pair[0]);
	close(pair[1]);
	CHECK(fd_count() == before);
}

/* A peer that does not use our function. */
static void send_many(int fd, int what, int n)
{
	char control[CMSG_SPACE(sizeof(int) * 64)] = {0};
	struct iovec iov = {"x", 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
	for (int i = 0; i < n; i++)
		memcpy(CMSG_DATA(cmsg) + (size_t)i * sizeof(int), &what, sizeof(int));
	CHECK(sendmsg(fd, &msg, 0) == 1);
}

static void test_refused(void)
{
	int pair[2], fds[ARAX_FDS_MAX], before;
	char big[64] = {0}, small[8];

	pair_new(pair);
	before = fd_count();
	for (int n = ARAX_FDS_MAX + 1; n <= 64; n++) {
		send_many(pair[0], pair[0], n);
		CHECK(arax_socket_recv(pair[1], small, sizeof(small), fds, -1) == -EPROTO);
		for (int i = 0; i < ARAX_FDS_MAX; i++)
			CHECK(fds[i] == -1);
		CHECK(fd_count() == before);
	}
	/* Cut, with a descriptor that must not stay. */
	CHECK(arax_socket_send(pair[0], big, sizeof(big), pair, 1) == 0);
	CHECK(arax_socket_recv(pair[1], small, sizeof(small), fds, -1) == -EPROTO);
	CHECK(fds[0] == -1 && fd_count() == before);
	CHECK(arax_socket_send(pair[0], big, sizeof(small), NULL, 0) == 0);
	CHECK(arax_socket_recv(pair[1], small, sizeof(small), fds, -1) == sizeof(small));
	CHECK(arax_socket_recv(pair[1], small, sizeof(small), fds, 5) == -ETIMEDOUT);
	CHECK(arax_socket_recv(pair[1], small, sizeof(small), fds, 0) == -ETIMEDOUT);
	CHECK(!arax_socket_hung_up(pair[1]));
	/* What was sent before the end arrives before the end. */
	CHECK(arax_socket_send(pair[0], "bye", 3, NULL, 0) == 0);
	close(pair[0]);
	CHECK(arax_socket_hung_up(pair[1]));
	CHECK(arax_socket_recv(pair[1], small, sizeof(small), fds, -1) == 3);
	CHECK(arax_socket_recv(pair[1], small, sizeof(small), fds, -1) == 0);
	CHECK(arax_socket_send(pair[1], "x", 1, NULL, 0) == -EPIPE);
	close(pair[1]);
}

static void test_listen(void)
{
	char dir[] = "/tmp/arax-test-XXXXXX", path[64], small[8], long_path[200] = "";
	int listener, client, server, fds[ARAX_FDS_MAX], status;
	struct stat st;
	pid_t pid, peer;
	uid_t uid;
	gid_t gid;

	CHECK(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sock", dir);
	CHECK(arax_socket_connect(path) == -ENOENT);
	listener = arax_socket_listen(path, 0640);
	CHECK(listener >= 0 && fcntl(listener, F_GETFD) == FD_CLOEXEC);
	CHECK(!stat(path, &st) && (st.st_mode & 07777) == 0640);
	CHECK(arax_socket_listen(path, 0600) == -EADDRINUSE);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		client = arax_socket_connect(path);
		CHECK(client >= 0 && fcntl(client, F_GETFD) == FD_CLOEXEC);
		CHECK(arax_socket_send(client, "hi", 2, NULL, 0) == 0);
		CHECK(arax_socket_recv(client, small, sizeof(small), fds, -1) == 0);
		_exit(0);
	}
	/* The check for a living predecessor left a connection that is closed already. */
	do {
		server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		CHECK(server >= 0);
		CHECK(arax_socket_peer(server, &peer, &uid, &gid) == 0);
		if (peer != pid)
			close(server);
	} while (peer != pid);
	CHECK(uid == getuid() && gid == getgid());
	CHECK(arax_socket_recv(server, small, sizeof(small), fds, -1) == 2);
	close(server);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	/* A dead predecessor's socket is replaced, another file is not. */
	close(listener);
	CHECK(arax_socket_connect(path) == -ECONNREFUSED);
	listener = arax_socket_listen(path, 0600);
	CHECK(listener >= 0);
	close(listener);
	unlink(path);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	CHECK(arax_socket_listen(path, 0600) == -EEXIST);
	unlink(path);
	CHECK(!rmdir(dir));
	memset(path, 'x', sizeof(path));
	CHECK(arax_socket_connect("") == -EINVAL);
	/* Too long: at once, and only with what is added to it until it is renamed. */
	memset(long_path, 'x', sizeof(long_path) - 1);
	CHECK(arax_socket_connect(long_path) == -ENAMETOOLONG);
	CHECK(arax_socket_listen(long_path, 0600) < 0);
	snprintf(long_path, sizeof(long_path), "/tmp/%0100d", 0);
	CHECK(arax_socket_listen(long_path, 0600) == -ENAMETOOLONG);
}

static int memfd_make(size_t size, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char byte = 1;

	CHECK(fd >= 0);
	for (size_t i = 0; i < size; i++)
		CHECK(pwrite(fd, &byte, 1, (off_t)i) == 1);
	CHECK(!fcntl(fd, F_ADD_SEALS, seals));
	return fd;
}

static void refuse(int fd, size_t max, int err)
{
	const void *data;
	size_t size;

	CHECK(arax_memfd_map(fd, max, &data, &size) == err);
	close(fd);
}

static void test_seals(void)
{
	const void *data;
	size_t size;
	char *map;
	int fd, pipes[2];

	refuse(memfd_make(100, 0), 1000, -EPERM);
	refuse(memfd_make(100, F_SEAL_SHRINK), 1000, -EPERM);
	refuse(memfd_make(100, F_SEAL_WRITE), 1000, -EPERM);
	refuse(memfd_make(100, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE), 1000, -EPERM);
	refuse(memfd_make(100, F_SEAL_SHRINK | F_SEAL_WRITE), 99, -EFBIG);
	refuse(memfd_make(0, F_SEAL_SHRINK | F_SEAL_WRITE), 99, -EPROTO);
	fd = memfd_make(100, 0);
	CHECK(!ftruncate(fd, 1 << 20));
	CHECK(!fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE));
	refuse(fd, 1 << 20, -EPROTO); /* a hole */
	CHECK(!pipe2(pipes, O_CLOEXEC));
	refuse(pipes[0], 1000, -EPERM);
	close(pipes[1]);
	fd = memfd_make(100, F_SEAL_SHRINK | F_SEAL_WRITE);
	CHECK(arax_memfd_map(fd, 100, &data, &size) == 0 && size == 100);
	munmap((void *)data, size);
	close(fd);
	/* The arena: writable, of fixed size, its seals final. */
	fd = arax_memfd_new("arena", 1 << 20);
	CHECK(fd >= 0 && ftruncate(fd, 1 << 19) && ftruncate(fd, 1 << 21));
	CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) && errno == EPERM);
	map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	map[100] = 1;
	munmap(map, 1 << 20);
	refuse(fd, 1 << 20, -EPERM);
	fd = arax_memfd_from("const", "abc", 3);
	CHECK(fd >= 0 && pwrite(fd, "x", 1, 0) < 0);
	close(fd);
}

int main(void)
{
	test_descriptors();
	test_refused();
	test_listen();
	test_seals();
	return 0;
}
