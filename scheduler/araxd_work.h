/* SPDX-License-Identifier: Apache-2.0
 *
 * Scratch space for araxd's children.
 */
#ifndef ARAX_SCHEDULER_ARAXD_WORK_H
#define ARAX_SCHEDULER_ARAXD_WORK_H

#include "scheduler/araxd.h"

/**
 * work_open() - find or make daemon->work, and remove what others have left
 *
 * Call in the process that stays: the directory's name holds its number.
 *
 * Return: 0 or -errno.
 */
int work_open(struct araxd *daemon);

/** work_close() - remove it, unless tenants that go on still use it. */
void work_close(struct araxd *daemon);

#endif
