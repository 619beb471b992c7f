/* SPDX-License-Identifier: Apache-2.0
 *
 * A process that araxd has started: tenant or compiler. It inherits its control socket as
 * descriptor 3, a small environment and nothing else; araxd holds it by pidfd.
 */
#ifndef ARAX_SCHEDULER_ARAXD_CHILD_H
#define ARAX_SCHEDULER_ARAXD_CHILD_H

#include "scheduler/araxd_loop.h"
#include "transport/control.h"
#include "transport/socket.h"

#include <signal.h>
#include <sys/types.h>

struct child {
	struct loop *loop;
	pid_t pid; /* 0: not running */
	struct source control, process;
	/* A message came; fds are closed afterwards unless set to -1. */
	void (*message)(struct child *child, const struct arax_control_head *head, size_t size,
			int fds[ARAX_FDS_MAX]);
	/* It has ended and been waited for; the child may be freed. */
	void (*ended)(struct child *child, const siginfo_t *how);
};

/**
 * child_start() - start a program; message and ended are set by the caller
 * @work: the child's ARAX_WORK_DIR
 * Return: 0 or -errno.
 */
int child_start(struct child *child, struct loop *loop, const char *path, char *const argv[],
		const char *work);

/** child_kill() - SIGKILL; ended is called later, from the loop. */
void child_kill(struct child *child);

/** child_forget() - let it go on without araxd: nothing will be called any more. */
void child_forget(struct child *child);

/** child_finish() - kill and wait for it now, without a call. */
void child_finish(struct child *child);

/** child_describe() - "exited with 1", "was ended by SIGSEGV". */
void child_describe(const siginfo_t *how, char *text, size_t size);

#endif
