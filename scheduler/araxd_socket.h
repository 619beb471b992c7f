/* SPDX-License-Identifier: Apache-2.0
 *
 * Where araxd listens, and that it is the only one there.
 */
#ifndef ARAX_SCHEDULER_ARAXD_SOCKET_H
#define ARAX_SCHEDULER_ARAXD_SOCKET_H

#include "scheduler/araxd.h"

/**
 * socket_open() - find, lock and open the listening socket
 * @path: as asked on the command line, or NULL
 * Return: 0, -EEXIST when another araxd serves there, another -errno.
 */
int socket_open(struct araxd *daemon, const char *path);

/** socket_close() - stop listening; unlinks what socket_open() made. */
void socket_close(struct araxd *daemon);

#endif
