/* SPDX-License-Identifier: Apache-2.0
 *
 * What araxd tells about itself: clients now and before, what ran where, devices.
 */
#ifndef ARAX_SCHEDULER_STATUS_H
#define ARAX_SCHEDULER_STATUS_H

#include "scheduler/araxd.h"

/* Clients that have finished and the sum of what they did. */
struct history;

struct history *history_new(void);
void history_free(struct history *history);

struct journal;

/** history_add() - a tenant has ended: keep what it did, in the journal (or NULL) first. */
void history_add(struct history *history, const struct tenant *tenant, struct journal *journal);

/** status_visible() - may this user see what belongs to that one? Root and the daemon's user may,
 *  others see what is their own. */
bool status_visible(uid_t viewer, uid_t uid);

/** status_printable() - copy what a client or tenant says its name is: size bytes at most, and
 *  nothing that a terminal obeys. */
void status_printable(char *to, const char *from, size_t size);

/**
 * status_json() - the daemon and its clients as JSON, to be freed; NULL without memory
 * @viewer: sees only what is its own, unless it is root or the daemon's user
 */
char *status_json(const struct araxd *daemon, uid_t viewer);

/** status_devices_json() - the virtual device and those behind it. */
char *status_devices_json(const struct araxd *daemon, uid_t viewer);

#endif
