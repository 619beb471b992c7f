/* SPDX-License-Identifier: Apache-2.0
 *
 * Trust domains, see araxd_domain.h. A process can put itself into a container (a new PID
 * namespace) and so into a domain of its own: it then shares less, and what its user may have in
 * all counts it nevertheless.
 */
#include "scheduler/araxd_domain.h"

#include "transport/socket.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef PIDFD_GET_PID_NAMESPACE
#define PIDFD_GET_PID_NAMESPACE _IO(0xFF, 5)
#endif

/* A process that may not be looked at (set-uid, not dumpable) is in a container of its kind. */
#define CONTAINER_UNKNOWN UINT64_MAX

bool domain_alive(int process)
{
	struct pollfd ended = {.fd = process, .events = POLLIN};

	return poll(&ended, 1, 0) == 0;
}

static int peer_process(int socket, pid_t pid)
{
	int fd = -1;
	socklen_t size = sizeof(fd);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) == 0)
		return fd;
	if (errno != ENOPROTOOPT)
		return errno == EINVAL || errno == ENODATA ? -ESRCH : -errno;
	/* An older kernel: between connect and here it may have ended and left its number. */
	fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	if (fd < 0)
		return pid > 0 ? -errno : -ESRCH;
	if (arax_socket_hung_up(socket)) {
		close(fd);
		return -ESRCH;
	}
	return fd;
}

static int namespace_number(int fd, uint64_t *number)
{
	struct stat st;
	int error = fstat(fd, &st) ? -errno : 0;

	*number = error ? 0 : st.st_ino;
	close(fd);
	return error;
}

/* It does not change: asked for once. */
static int own_namespace(uint64_t *number)
{
	static uint64_t own;
	struct stat st;

	if (!own && stat("/proc/self/ns/pid", &st))
		return -errno;
	if (!own)
		own = st.st_ino;
	*number = own;
	return 0;
}

static int peer_namespace(int process, pid_t pid, uint64_t *number)
{
	struct stat st;
	char path[64];
	int fd = ioctl(process, PIDFD_GET_PID_NAMESPACE, 0);

	if (fd >= 0)
		return namespace_number(fd, number);
	if (errno == ESRCH)
		return -ESRCH;
	*number = CONTAINER_UNKNOWN;
	if (errno == EPERM || errno == EACCES || pid <= 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	if (stat(path, &st) == 0)
		*number = st.st_ino;
	else if (errno != EACCES && errno != EPERM)
		return -errno;
	return domain_alive(process) ? 0 : -ESRCH;
}

int domain_peer(int socket, struct domain_id *id, pid_t *pid, int *process)
{
	uint64_t own = 0;
	gid_t gid;
	int error = arax_socket_peer(socket, pid, &id->uid, &gid);

	if (error)
		return error;
	*process = peer_process(socket, *pid);
	if (*process < 0)
		return *process;
	error = own_namespace(&own);
	if (!error)
		error = peer_namespace(*process, *pid, &id->container);
	if (error) {
		close(*process);
		return error;
	}
	if (id->container == own)
		id->container = 0;
	return 0;
}
