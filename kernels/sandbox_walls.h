/* SPDX-License-Identifier: Apache-2.0
 *
 * The names of the walls of a sandbox, as configuration, messages and status know them.
 */
#ifndef ARAX_KERNELS_SANDBOX_WALLS_H
#define ARAX_KERNELS_SANDBOX_WALLS_H

#include <stdbool.h>
#include <stddef.h>

enum sandbox_wall {
	SANDBOX_SECCOMP = 1u << 0,  /* a list of system calls */
	SANDBOX_LANDLOCK = 1u << 1, /* a list of files */
	SANDBOX_MOUNT = 1u << 2,    /* a root directory and scratch space of its own */
	SANDBOX_PID = 1u << 3,	    /* sees no other process (tenants) */
	SANDBOX_NET = 1u << 4,	    /* no network, no abstract sockets */
	SANDBOX_IPC = 1u << 5,	    /* no System V objects, no message queues */
	SANDBOX_IDENTITY = 1u << 6, /* a user of its own, or a user namespace; no capabilities */
};
#define SANDBOX_ALL 0x7fu
/* A compiler is not alone in a pid namespace: it has a list of system calls instead. */
#define SANDBOX_ALL_COMPILER (SANDBOX_ALL & ~(unsigned)SANDBOX_PID)
/* A device process is not, either. */
#define SANDBOX_ALL_DEVICE (SANDBOX_ALL & ~(unsigned)SANDBOX_PID)

/** sandbox_parse() - "all", "none" or a comma list of names. Return: is it one? */
bool sandbox_parse(const char *list, unsigned *walls);

/** sandbox_format() - the names, separated by spaces; "none" when there are none. */
void sandbox_format(unsigned walls, char *text, size_t size);

#endif
