/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of the daemon share: starting it with fake children (fake_child.c) in a directory
 * of its own, being its client, looking at what it says.
 */
#ifndef ARAX_SCHEDULER_TEST_DAEMON_H
#define ARAX_SCHEDULER_TEST_DAEMON_H

#include "transport/control.h"
#include "transport/socket.h"
#include "transport/testing.h"
#include "transport/wake.h"

#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/types.h>

#define TIMEOUT_MS 20000

/* A condition that becomes true by somebody else's doing. */
#define CHECK_SOON(condition)                                           \
	do {                                                            \
		uint64_t end = arax_now_ns() + TIMEOUT_MS * 1000000ull; \
		bool holds;                                             \
		while (!(holds = (condition)) && arax_now_ns() < end)   \
			poll(NULL, 0, 2);                               \
		CHECK(holds);                                           \
	} while (0)

extern char directory[];      /* of everything: the socket, the programs, the configuration */
extern char socket_path[128]; /* the daemon's */

/** daemon_prepare() - arguments: the daemon, the fake child. Return: false when they are not. */
bool daemon_prepare(int argc, char **argv);

/** configure() - write the configuration: what every test has, and more. */
void configure(const char *more);

/** daemon_start() - with one option more, or NULL. */
pid_t daemon_start(const char *option, const char *value);

/** ended() - wait for what was started here. Return: its status, or 128 + the signal. */
int ended(pid_t pid);

/** stop() - ask the daemon to end, and wait for it. */
void stop(int fd, pid_t daemon);

/** client() - connect. */
int client(void);

struct arax_control_head head_of(unsigned type);

/** ask() - send a message and take its reply of the same size. Return: the reply's error. */
int ask(int fd, void *message, size_t size, int attached, int fds[ARAX_FDS_MAX]);
int ask_plain(int fd, unsigned type, int attached, int fds[ARAX_FDS_MAX]);
int attach(int fd, const char *devices, const char *policy, struct arax_control_attach *reply,
	   int fds[ARAX_FDS_MAX]);

/** json_has() - does the text of a JSON reply hold this? */
bool json_has(int fd, unsigned type, const char *text);

bool alive(pid_t pid);

/** process_stat() - the state of a process as /proc has it, 0 when it is gone. */
char process_stat(pid_t pid, pid_t *parent);

/** zombies() - how many children have ended and were not waited for. */
int zombies(pid_t of);

#endif
