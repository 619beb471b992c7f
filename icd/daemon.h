/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding araxd, starting it where there is none, and the control requests to it.
 */
#ifndef ARAX_ICD_DAEMON_H
#define ARAX_ICD_DAEMON_H

#include <stddef.h>
#include <stdint.h>

struct arax_device_info;

/**
 * daemon_hello() - connect to araxd: $ARAX_SOCKET, or the system's socket, or the user's; starts
 * the user's daemon when none answers (never from a set-uid program)
 * @info: filled with the device's description, or NULL
 * Return: the connection or -errno.
 */
int daemon_hello(struct arax_device_info *info);

/* What an application may have: of its tenant, and of those that take its place. */
struct attached {
	uint64_t arena_size;
	uint32_t flags; /* ARAX_ATTACH_* */
	uint32_t commands, objects;
};

/** daemon_attach() - ask for a tenant on a connection from daemon_hello().
 *  Return: 0 with the arena, the link to the tenant and the limits; -errno. */
int daemon_attach(int fd, int *arena, int *link, int *trace, struct attached *limits);

/** daemon_replace() - ask for another tenant for an arena whose tenant is no good any more, on the
 *  connection that it was asked for on; waits until the former one is gone.
 *  @died: how that ended, 96 bytes. Return: the link to the tenant, or -errno. */
int daemon_replace(int fd, int arena, uint64_t arena_size, char *died);

/** daemon_build() - see connection_build(); on a connection of its own. */
int daemon_build(const void *request, size_t request_size, unsigned char **result, size_t *size);

void daemon_close(int fd);

/** arax_log() - one line on standard error when ARAX_LOG is set in the environment. */
void arax_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
