/* SPDX-License-Identifier: Apache-2.0
 *
 * What araxd knows of the sandboxes of its children, and whether that is enough.
 */
#ifndef ARAX_SCHEDULER_ARAXD_SANDBOX_H
#define ARAX_SCHEDULER_ARAXD_SANDBOX_H

#include "kernels/sandbox_walls.h"
#include "scheduler/config.h"
#include "transport/control.h"

struct sandbox_state {
	bool known;
	unsigned walls, whole; /* enum sandbox_wall: those that stand, those that there could be */
	char missing[256];     /* why not all of them; printable */
};

/**
 * sandbox_take() - a child is ready: note what it says
 * @whole: the walls that a child of its kind can have
 * @why: set to what is lacking, at least 128 bytes
 * Return: false when the configuration requires more, so that it may serve nobody.
 */
bool sandbox_take(struct sandbox_state *state, const struct arax_control_ready *ready,
		  unsigned whole, const struct config *config, char *why);

#endif
