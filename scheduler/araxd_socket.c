/* SPDX-License-Identifier: Apache-2.0
 *
 * The listening socket: systemd's, or our own. Both under a lock, so that two that start at once
 * end as one daemon and the other knows that it is there to be connected to, and the journal is
 * one's.
 */
#include "scheduler/araxd_socket.h"

#include "transport/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#define SOCKET_SYSTEM_DIRECTORY "/run/arax"
#define SOCKET_NAME "araxd.sock"
#define SOCKET_RACE_STEPS 1000
#define SOCKET_RACE_STEP_NS 5000000

/* A directory that is ours alone, made when it is not there. */
static int socket_private_directory(const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	if (lstat(path, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
		return -EPERM;
	return 0;
}

/* The path when none was given. */
static int socket_usual_path(struct araxd *daemon)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char *directory = NULL;
	int length, error;

	if (geteuid() == 0 && (mkdir(SOCKET_SYSTEM_DIRECTORY, 0755) == 0 || errno == EEXIST) &&
	    access(SOCKET_SYSTEM_DIRECTORY, W_OK) == 0) {
		daemon->system = true;
		daemon->socket_path = strdup(SOCKET_SYSTEM_DIRECTORY "/" SOCKET_NAME);
		return daemon->socket_path ? 0 : -ENOMEM;
	}
	if (runtime && runtime[0] == '/')
		length = asprintf(&directory, "%s/arax", runtime);
	else
		length = asprintf(&directory, "/tmp/arax-%u", geteuid());
	if (length < 0)
		return -ENOMEM;
	error = socket_private_directory(directory);
	if (!error && asprintf(&daemon->socket_path, "%s/" SOCKET_NAME, directory) < 0) {
		daemon->socket_path = NULL;
		error = -ENOMEM;
	}
	if (error)
		araxd_error("%s: %s", directory, strerror(-error));
	free(directory);
	return error;
}

/* Is there somebody behind the socket? */
static bool socket_answers(const char *path)
{
	int fd = arax_socket_connect(path);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Takes the lock; who does not get it waits until the one that has it can be connected to, or,
 * where systemd listens, until that has ended. */
static int socket_lock(struct araxd *daemon)
{
	const struct timespec step = {.tv_nsec = SOCKET_RACE_STEP_NS};
	char *path;

	if (asprintf(&path, "%s.lock", daemon->socket_path) < 0)
		return -ENOMEM;
	daemon->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int error = daemon->lock < 0 ? -errno : 0;
	free(path);
	for (int i = 0; !error && i < SOCKET_RACE_STEPS; i++) {
		if (flock(daemon->lock, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (!daemon->activated && socket_answers(daemon->socket_path))
			return -EEXIST;
		nanosleep(&step, NULL);
	}
	return error ? error : -EBUSY;
}

static int socket_inherited(struct araxd *daemon)
{
	struct sockaddr_un address = {0};
	socklen_t size = sizeof(address);
	int count = sd_listen_fds(1);

	if (count <= 0)
		return count;
	if (count != 1 || sd_is_socket(SD_LISTEN_FDS_START, AF_UNIX, SOCK_SEQPACKET, 1) <= 0)
		return -EINVAL;
	daemon->listening.fd = SD_LISTEN_FDS_START;
	daemon->activated = true;
	daemon->system = geteuid() == 0;
	if (getsockname(SD_LISTEN_FDS_START, (struct sockaddr *)&address, &size) < 0)
		return -errno;
	daemon->socket_path = strndup(address.sun_path, sizeof(address.sun_path));
	return daemon->socket_path ? 1 : -ENOMEM;
}

int socket_open(struct araxd *daemon, const char *path)
{
	int error = path ? 0 : socket_inherited(daemon);

	if (error < 0)
		return error;
	if (error == 0) {
		if (path)
			daemon->socket_path = strdup(path);
		else
			error = socket_usual_path(daemon);
		if (!error && !daemon->socket_path)
			error = -ENOMEM;
		if (!error)
			error = socket_lock(daemon);
		if (error)
			return error;
		/* Whoever left it there does not hold the lock. */
		unlink(daemon->socket_path);
		daemon->listening.fd =
		    arax_socket_listen(daemon->socket_path, daemon->system ? 0666 : 0600);
		if (daemon->listening.fd < 0)
			return daemon->listening.fd;
	}
	error = daemon->activated ? socket_lock(daemon) : 0;
	if (error)
		return error;
	int flags = fcntl(daemon->listening.fd, F_GETFL);
	return fcntl(daemon->listening.fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

void socket_close(struct araxd *daemon)
{
	if (daemon->listening.fd >= 0 && !daemon->activated)
		unlink(daemon->socket_path);
	loop_remove(&daemon->loop, &daemon->listening);
	/* The lock's file stays: removing it would let two hold a lock of that name. */
	if (daemon->lock >= 0)
		close(daemon->lock);
	daemon->lock = -1;
}
