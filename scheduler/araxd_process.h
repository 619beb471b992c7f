/* SPDX-License-Identifier: Apache-2.0
 *
 * Which process somebody is, so that it can be found again by another araxd and never be taken for
 * one that has come to have the same number.
 */
#ifndef ARAX_SCHEDULER_ARAXD_PROCESS_H
#define ARAX_SCHEDULER_ARAXD_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

/* Within one boot of one machine, and as seen from one PID namespace. */
struct process_id {
	int32_t pid; /* 0: nobody */
	uint32_t pad;
	uint64_t start; /* when it was started, in the kernel's ticks; 0: cannot be told */
	uint64_t inode; /* of its pidfd, where no two processes have the same; else 0 */
};

/**
 * process_identify() - who this is
 * @process: a descriptor of it (pidfd)
 * Return: 0; -ESRCH when it has ended; another -errno when it cannot be told from others.
 */
int process_identify(pid_t pid, int process, struct process_id *id);

/** process_find() - the process that was identified. Return: a descriptor of it (pidfd), -ESRCH
 *  when it has ended, another -errno. */
int process_find(const struct process_id *id);

#endif
