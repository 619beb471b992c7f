/* SPDX-License-Identifier: Apache-2.0
 *
 * What people do to a daemon that runs: read its configuration again, take devices away and bring
 * them back, change the policy.
 */
#ifndef ARAX_SCHEDULER_ARAXD_MANAGE_H
#define ARAX_SCHEDULER_ARAXD_MANAGE_H

#include "scheduler/araxd.h"

struct devices;
struct tenant;

/**
 * manage_request() - RELOAD, ONLINE, OFFLINE, POLICY of a client: answered here, at once or later
 * Return: 0, or a positive error for the client.
 */
int manage_request(struct client *client, const struct arax_control_manage *request);

/** manage_reload() - read the configuration again; the log says what came of it. */
void manage_reload(struct araxd *daemon);

/** manage_drop() - a client has gone. */
void manage_drop(struct client *client);

/** manage_progress() - devices have changed: who waits for that is answered. */
void manage_progress(struct devices *devices);

/** manage_free() - forget who waits. */
void manage_free(struct devices *devices);

/** manage_attached() - tell a tenant what its policy has to know, when that is something. */
void manage_attached(struct araxd *daemon, struct tenant *tenant);

#endif
