/* SPDX-License-Identifier: Apache-2.0
 *
 * What arax-tenant does to its own process before a byte of a client reaches it.
 */
#ifndef ARAX_SCHEDULER_TENANT_SETUP_H
#define ARAX_SCHEDULER_TENANT_SETUP_H

#include "kernels/sandbox.h"

/** tenant_hide() - nobody else may look into this process. Return: 0 or -errno. */
int tenant_hide(void);

/** tenant_environment() - enter the sandbox, and what PoCL reads: a private cache directory.
 *  Return: 0 or -errno. */
int tenant_environment(struct sandbox *sandbox);

/** tenant_stdout() - a memfd becomes standard output: kernels print there. Return: fd or -errno. */
int tenant_stdout(void);

/** tenant_signals() - undo what the libraries did to signals, except SIGFPE, which PoCL needs to
 *  go on after an integer division by zero. A fault is noted (tenant_crash_at()) and then kills.
 *  All threads get a stack on which that works even when their own is used up.
 *  Return: 0 or -errno. */
int tenant_signals(const struct sandbox *sandbox);

struct arax_crash;

/** tenant_crash_at() - where to write what a fault was. */
void tenant_crash_at(struct arax_crash *crash);

/** tenant_leave() - remove the cache directory and end the process at once, whatever else runs. */
_Noreturn void tenant_leave(int status);

/** tenant_seal() - last, with all threads there: give up stderr (lines go to araxd from now on)
 *  and close the sandbox. Return: 0 or -errno. */
int tenant_seal(struct sandbox *sandbox, int control);

/** tenant_log() - one line for people. */
void tenant_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
