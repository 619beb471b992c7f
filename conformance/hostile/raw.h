/* SPDX-License-Identifier: Apache-2.0
 *
 * A client without a library: the protocol as bytes, and nothing that would keep it from sending
 * what it should not. See hostile.c.
 */
#ifndef ARAX_CONFORMANCE_HOSTILE_RAW_H
#define ARAX_CONFORMANCE_HOSTILE_RAW_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/control.h"
#include "transport/protocol.h"
#include "transport/ring.h"
#include "transport/shm.h"

struct raw {
	int daemon, link, arena_fd; /* -1 when closed */
	uint64_t size;
	char *base; /* of the arena */
	struct arax_shm *shm;
	struct arax_ring sq, hq, cq;
};

/* All of these end the process with a message when something on our side does not work. */

/** raw_connect() - a connection to araxd. Return: fd, or -errno. */
int raw_connect(void);

/** raw_head() - the head of a control message. */
struct arax_control_head raw_head(unsigned type);

/** raw_ask() - a message and its reply; descriptors that come are closed. Return: the reply's error
 *  (positive errno), or -errno when araxd hung up or did not answer. */
int raw_ask(int fd, void *message, size_t size, const int *fds, unsigned nfds);

/** raw_attach() - araxd's HELLO and ATTACH and the arena mapped, its address not yet settled.
 *  Return: 0, or a positive error of araxd's (then nothing is open). */
int raw_attach(struct raw *raw);

/** raw_map() - propose an address to the tenant. Return: its error (positive errno), -errno when it
 *  hung up. */
int raw_map(struct raw *raw, uint64_t base);

/** raw_open() - attached, settled, rings ready. Waits while araxd has no tenant. */
void raw_open(struct raw *raw);
void raw_close(struct raw *raw);

/** raw_send() - a record as it is; waits for room. Return: false when the tenant has gone. */
bool raw_send(struct raw *raw, const void *record, uint32_t size);

/** raw_taken() - until the tenant has read all records, or has gone. Return: is it still there? */
bool raw_taken(struct raw *raw);

/** raw_gone() - has the tenant gone, at most so many ms from now? */
bool raw_gone(const struct raw *raw, int ms);

/** raw_wake() - ring, for a tenant that sleeps. */
void raw_wake(struct raw *raw);

#endif
