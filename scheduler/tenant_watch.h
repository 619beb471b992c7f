/* SPDX-License-Identifier: Apache-2.0
 *
 * The watcher of arax-tenant: a thread that ends the process when its client has gone, even while
 * a kernel never returns on the main thread, and that hears what araxd has to say.
 */
#ifndef ARAX_SCHEDULER_TENANT_WATCH_H
#define ARAX_SCHEDULER_TENANT_WATCH_H

#define TENANT_OFFERS 3

struct dispatch;

/* What another araxd needs of a tenant that it adopts. */
struct tenant_offer {
	int adopt;		/* where it connects; -1: nowhere */
	int fds[TENANT_OFFERS]; /* statistics, arena, trace (or -1) */
};

/** tenant_watch_start() - make the thread, which then waits for something to watch: when there is
 *  a client no thread can be made any more. Return: 0 or -errno. */
int tenant_watch_start(void);

/**
 * tenant_watch() - begin
 * @link: socket to the client; its end ends the process
 * @control: socket to araxd; its end means nothing: applications outlive a daemon
 * @offer: for the next one, whose connection takes the place of @control
 * @dispatch: gets what comes from there
 */
void tenant_watch(int link, int control, const struct tenant_offer *offer,
		  struct dispatch *dispatch);

#endif
