/* SPDX-License-Identifier: Apache-2.0
 *
 * SOCK_SEQPACKET messages with descriptors, and who the peer is. All descriptors are CLOEXEC.
 */
#ifndef ARAX_TRANSPORT_SOCKET_H
#define ARAX_TRANSPORT_SOCKET_H

#include <stddef.h>
#include <sys/types.h>

#define ARAX_FDS_MAX 4

/**
 * arax_socket_listen() - bind and listen at a path, mode as given
 *
 * A socket at which nobody listens any more is replaced; a living one is -EADDRINUSE (two callers
 * that start at the same moment need a lock of their own), another file -EEXIST.
 *
 * Return: fd or -errno.
 */
int arax_socket_listen(const char *path, mode_t mode);

/** arax_socket_connect() - connect to a path. Return: fd or -errno. */
int arax_socket_connect(const char *path);

/**
 * arax_socket_send() - one message with up to ARAX_FDS_MAX descriptors (MSG_NOSIGNAL)
 * Return: 0 or -errno.
 */
int arax_socket_send(int fd, const void *data, size_t size, const int *fds, unsigned nfds);

/**
 * arax_socket_recv() - one message
 * @fds: room for ARAX_FDS_MAX descriptors, filled with what came and -1
 * @timeout_ms: negative for none
 *
 * Messages that were cut, or with more descriptors than allowed, are refused and their descriptors
 * closed.
 *
 * Return: bytes; 0 when the peer has closed; -ETIMEDOUT; -EPROTO; another -errno.
 */
ssize_t arax_socket_recv(int fd, void *data, size_t capacity, int fds[ARAX_FDS_MAX],
			 int timeout_ms);

/** arax_socket_peer() - SO_PEERCRED. Return: 0 or -errno. */
int arax_socket_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid);

/** arax_socket_hung_up() - poll without waiting: has the peer gone? */
int arax_socket_hung_up(int fd);

/** arax_memfd_new() - sealed-size memfd (SHRINK, GROW and SEAL). Return: fd or -errno. */
int arax_memfd_new(const char *name, size_t size);

/** arax_memfd_from() - memfd with these contents, sealed against every change. */
int arax_memfd_from(const char *name, const void *data, size_t size);

/**
 * arax_memfd_map() - map a received descriptor for reading after checking that it is a memfd
 * sealed against shrinking and writing, of 1 to max bytes, without holes (reading those would
 * charge their memory to the reader). Return: 0 or -errno.
 */
int arax_memfd_map(int fd, size_t max, const void **data, size_t *size);

#endif
