/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking over from an araxd that has gone: its tenants with their clients, and the processes of
 * devices that they are linked to. Who they are and what they may have says its journal
 * (araxd_journal.h); they are found by process, not by number, and what a tenant sends is checked
 * like what any other sends.
 *
 * Beside the listening socket PATH lie PATH.journal and the folder PATH.tenants, where each tenant
 * listens at a socket of its own.
 */
#ifndef ARAX_SCHEDULER_ARAXD_ADOPT_H
#define ARAX_SCHEDULER_ARAXD_ADOPT_H

#include "scheduler/araxd.h"
#include "transport/socket.h"

struct tenant;

/**
 * adopt_all() - take over what is there, and begin a journal of our own
 *
 * Once, when everything but the loop is there. What is wrong with the journal or with a tenant
 * costs just that, and is said. Return: 0, or -ENOMEM.
 */
int adopt_all(struct araxd *daemon);

/** adopt_close() - nothing is noted any more: what still runs is for the next araxd. When nothing
 *  does no journal stays. */
void adopt_close(struct araxd *daemon);

/** adopt_free() - last, when the pool is gone. */
void adopt_free(struct araxd *daemon);

/**
 * adopt_socket() - where a new tenant shall listen
 * @name: set; adopt_forget() when the tenant has ended
 * Return: a socket that is bound there, or -1: it will not be found again.
 */
int adopt_socket(struct araxd *daemon, char name[ADOPT_NAME]);
void adopt_forget(struct araxd *daemon, const char *name);

/** adopt_answer() - a tenant that was found has answered ADOPT. Return: 0, or -errno: it is ended.
 */
int adopt_answer(struct araxd *daemon, struct tenant *tenant, size_t size, int fds[ARAX_FDS_MAX]);

/** adopt_widowed() - the tenant of an absent client has ended: it may come for another, for a
 * while. The client may be free afterwards. */
void adopt_widowed(struct client *client);

/** adopt_return() - a client that wants another tenant in the place of one that araxd did not give
 *  it: if it is an absent one, it is that from now on. */
void adopt_return(struct client *client, int arena);

#endif
