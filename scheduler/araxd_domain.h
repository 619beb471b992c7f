/* SPDX-License-Identifier: Apache-2.0
 *
 * Who a client is: its trust domain, which keys caches, limits and what may be shared.
 */
#ifndef ARAX_SCHEDULER_ARAXD_DOMAIN_H
#define ARAX_SCHEDULER_ARAXD_DOMAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A user in a container. The container is told by its PID namespace: what is in the one of araxd
 * is in none (0). */
struct domain_id {
	uid_t uid;
	uint64_t container;
};

static inline bool domain_same(const struct domain_id *a, const struct domain_id *b)
{
	return a->uid == b->uid && a->container == b->container;
}

/**
 * domain_peer() - who is at the other end of a connection
 * @process: a descriptor of that process
 *
 * By credentials that the kernel took when the connection was made and by the process itself; its
 * number is used only where the kernel knows no other way, and then the process still lives
 * afterwards, so that the number was its own. Who cannot be told is refused.
 *
 * Return: 0, or -errno: -ESRCH when it has ended.
 */
int domain_peer(int socket, struct domain_id *id, pid_t *pid, int *process);

/** domain_alive() - does the process of this descriptor still live? */
bool domain_alive(int process);

#endif
