/* SPDX-License-Identifier: Apache-2.0
 *
 * The control plane's messages and the sealed memory that travels with them. Both ends may be
 * hostile to each other: a message is taken whole or not at all, no descriptor is leaked by one
 * that is refused, and a descriptor is mapped only when its owner can no longer change, shrink or
 * withhold what is in it.
 */
#include "transport/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "transport/wake.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

static int address_make(struct sockaddr_un *address, const char *path)
{
	size_t size = strlen(path);

	if (!size)
		return -EINVAL;
	if (size >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, path, size);
	return 0;
}

static int socket_new(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

int arax_socket_connect(const char *path)
{
	struct sockaddr_un address;
	int err, fd;

	err = address_make(&address, path);
	if (err)
		return err;
	fd = socket_new();
	if (fd < 0)
		return fd;
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		if (errno != EINTR) {
			err = -errno;
			close(fd);
			return err;
		}
	return fd;
}

/* 0 when the path is free or holds a socket at which nobody listens any more. */
static int path_check(const char *path)
{
	struct stat st;
	int fd;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = arax_socket_connect(path);
	if (fd == -ECONNREFUSED || fd == -ENOENT)
		return 0;
	if (fd >= 0)
		close(fd);
	return -EADDRINUSE;
}

/* Made under another name and then renamed, so that the path never shows a socket that does not
 * listen yet or has the wrong mode, and a dead predecessor's is replaced in one step. */
int arax_socket_listen(const char *path, mode_t mode)
{
	struct sockaddr_un address;
	char name[sizeof(address.sun_path)];
	int err, fd;

	err = path_check(path);
	if (err)
		return err;
	if ((size_t)snprintf(name, sizeof(name), "%s.%d", path, getpid()) >= sizeof(name))
		return -ENAMETOOLONG;
	err = address_make(&address, name);
	if (err)
		return err;
	fd = socket_new();
	if (fd < 0)
		return fd;
	unlink(name);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address))) {
		err = -errno;
		close(fd);
		return err;
	}
	if (chmod(name, mode) || listen(fd, SOMAXCONN) || rename(name, path)) {
		err = -errno;
		unlink(name);
		close(fd);
		return err;
	}
	return fd;
}

union control {
	struct cmsghdr align;
	/* One more than allowed, so that too many are seen and not only cut. */
	char data[CMSG_SPACE(sizeof(int) * (ARAX_FDS_MAX + 1))];
};

int arax_socket_send(int fd, const void *data, size_t size, const int *fds, unsigned nfds)
{
	struct iovec iov = {(void *)data, size};
	union control control = {0};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *cmsg;
	ssize_t sent;

	/* An empty message could not be told from the end. */
	if (!size || nfds > ARAX_FDS_MAX)
		return -EINVAL;
	if (nfds) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * nfds);
	}
	do
		sent = sendmsg(fd, &msg, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

/* Takes the descriptors out of a message; how many there were, those beyond the room closed. */
static unsigned fds_take(struct msghdr *msg, int fds[ARAX_FDS_MAX])
{
	struct cmsghdr *cmsg;
	unsigned n = 0;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t count;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++, n++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
			if (n < ARAX_FDS_MAX)
				fds[n] = fd;
			else
				close(fd);
		}
	}
	return n;
}

static void fds_close(int fds[ARAX_FDS_MAX])
{
	for (int i = 0; i < ARAX_FDS_MAX; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

/* Return: 0 when there is something to receive. */
static int wait_readable(int fd, uint64_t start, int timeout_ms)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};
	int left = timeout_ms;
	int n;

	if (timeout_ms > 0) {
		uint64_t gone = (arax_now_ns() - start) / 1000000u;

		left = gone >= (uint64_t)timeout_ms ? 0 : timeout_ms - (int)gone;
	}
	n = poll(&poller, 1, left);
	if (n < 0)
		return -errno;
	return n ? 0 : -ETIMEDOUT;
}

static ssize_t receive(int fd, void *data, size_t capacity, int fds[ARAX_FDS_MAX])
{
	struct iovec iov = {data, capacity};
	union control control;
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	ssize_t size = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (size < 0)
		return errno == ECONNRESET ? 0 : -errno;
	if (fds_take(&msg, fds) > ARAX_FDS_MAX || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		size = -EPROTO;
	if (size <= 0)
		fds_close(fds);
	return size;
}

ssize_t arax_socket_recv(int fd, void *data, size_t capacity, int fds[ARAX_FDS_MAX], int timeout_ms)
{
	uint64_t start = arax_now_ns();
	ssize_t result;

	for (int i = 0; i < ARAX_FDS_MAX; i++)
		fds[i] = -1;
	do {
		result = wait_readable(fd, start, timeout_ms);
		if (!result)
			result = receive(fd, data, capacity, fds);
	} while (result == -EINTR || result == -EAGAIN);
	return result;
}

int arax_socket_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size))
		return -errno;
	*pid = cred.pid;
	*uid = cred.uid;
	*gid = cred.gid;
	return 0;
}

int arax_socket_hung_up(int fd)
{
	struct pollfd poller = {.fd = fd, .events = POLLRDHUP};

	if (poll(&poller, 1, 0) <= 0)
		return 0;
	return (poller.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

static int memfd_create_any(const char *name)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create(name, flags);
	return fd < 0 ? -errno : fd;
}

int arax_memfd_new(const char *name, size_t size)
{
	int err, fd = memfd_create_any(name);

	if (fd < 0)
		return fd;
	if (ftruncate(fd, (off_t)size) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static int write_all(int fd, const char *data, size_t size)
{
	size_t at = 0;

	while (at < size) {
		ssize_t n = pwrite(fd, data + at, size - at, (off_t)at);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			at += (size_t)n;
	}
	return 0;
}

int arax_memfd_from(const char *name, const void *data, size_t size)
{
	int err, fd = memfd_create_any(name);

	if (fd < 0)
		return fd;
	err = write_all(fd, data, size);
	if (!err &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL))
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

/* A hole would be filled at our cost when we read it, and a huge page may be missing and then
 * raise SIGBUS: only ordinary memory that is there already is accepted. */
static int memfd_check(int fd, size_t max, size_t *size)
{
	const int need = F_SEAL_SHRINK | F_SEAL_WRITE;
	struct statfs fs;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || (seals & need) != need)
		return -EPERM;
	if (fstatfs(fd, &fs) || fstat(fd, &st))
		return -errno;
	if (fs.f_type != TMPFS_MAGIC)
		return -EPERM;
	if (st.st_size <= 0)
		return -EPROTO;
	if ((uint64_t)st.st_size > max)
		return -EFBIG;
	if ((uint64_t)st.st_blocks < ((uint64_t)st.st_size + 511) / 512)
		return -EPROTO;
	*size = (size_t)st.st_size;
	return 0;
}

int arax_memfd_map(int fd, size_t max, const void **data, size_t *size)
{
	size_t length;
	void *map;
	int err;

	err = memfd_check(fd, max, &length);
	if (err)
		return err;
	/* Without F_SEAL_GROW the file may grow: what lies behind length is never looked at. */
	map = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*data = map;
	*size = length;
	return 0;
}
