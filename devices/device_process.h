/* SPDX-License-Identifier: Apache-2.0
 *
 * What arax-device does to its own process before a tenant reaches it: walls, environment, signals,
 * the log.
 */
#ifndef ARAX_DEVICES_DEVICE_PROCESS_H
#define ARAX_DEVICES_DEVICE_PROCESS_H

#include "kernels/sandbox.h"

/**
 * process_enter() - into the sandbox, with an environment of nothing but scratch directories
 *
 * While there is one thread. TMPDIR, HOME, XDG_CACHE_HOME and ARAX_WORK_DIR name the only directory
 * that can be written. Return: 0 or -errno.
 */
int process_enter(struct sandbox *sandbox, bool off);

/** process_seal() - when the back end is open: libraries' signal handlers go, standard error goes
 *  (lines go to araxd), and the system call list comes. Return: 0 or -errno. */
int process_seal(struct sandbox *sandbox);

/** process_log() - one line for people: to araxd, or to standard error when that is not there. */
void process_log(int control, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** process_leave() - remove what was written and end at once, whatever else runs. */
_Noreturn void process_leave(int status);

#endif
