/* SPDX-License-Identifier: Apache-2.0
 *
 * A process that araxd has started, or that its zygote has: tenant or compiler. It has its control
 * socket as descriptor 3, a small environment and nothing else; araxd holds it by pidfd.
 *
 * Whoever loses its parent below araxd becomes araxd's child as well (araxd is a subreaper). That
 * makes the zygote's tenants children like any other, and child_orphans() reaps the rest.
 */
#ifndef ARAX_SCHEDULER_ARAXD_CHILD_H
#define ARAX_SCHEDULER_ARAXD_CHILD_H

#include "scheduler/araxd_loop.h"
#include "transport/control.h"
#include "transport/socket.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/types.h>

struct child {
	const _Atomic unsigned *held; /* not 0: somebody uses its number, so it is not waited for */
	struct loop *loop;
	pid_t pid;    /* 0: not running */
	bool foreign; /* an earlier araxd's: nobody here can wait for it */
	struct child *next;
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

/**
 * child_expect() - another process will start it: make its control socket
 * Return: the child's end, to be closed by the caller; -errno. After success child_adopt() or
 * child_unexpect() must follow.
 */
int child_expect(struct child *child, struct loop *loop);

/**
 * child_adopt() - it was started; it may have ended already, which is reported as usual
 * Return: 0; -ECHILD when it is no child of ours, another -errno: then it is as if unexpected.
 */
int child_adopt(struct child *child, pid_t pid);

/** child_unexpect() - it will not come; if it comes all the same, it finds its socket closed. */
void child_unexpect(struct child *child);

/**
 * child_take() - one that an earlier araxd has started; message and ended are set by the caller
 * @process: a descriptor of it (pidfd)
 * @control: a connection to it, or -1
 *
 * When it ends nobody knows how: si_code is 0.
 *
 * Return: 0, and both descriptors are the child's; -errno.
 */
int child_take(struct child *child, struct loop *loop, pid_t pid, int process, int control);

/** child_orphans() - wait for children that nobody here has started. */
void child_orphans(struct loop *loop);

/** child_kill() - SIGKILL; ended is called later, from the loop. */
void child_kill(struct child *child);

/** child_forget() - let it go on without araxd: nothing will be called any more. */
void child_forget(struct child *child);

/** child_finish() - kill and wait for it now, without a call. */
void child_finish(struct child *child);

/** child_describe() - "exited with 1", "was ended by SIGSEGV", "has ended". */
void child_describe(const siginfo_t *how, char *text, size_t size);

#endif
