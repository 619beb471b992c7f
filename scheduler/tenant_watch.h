/* SPDX-License-Identifier: Apache-2.0
 *
 * The watcher of arax-tenant: a thread that ends the process when its client has gone, even while
 * a kernel never returns on the main thread, and that hears what araxd has to say.
 */
#ifndef ARAX_SCHEDULER_TENANT_WATCH_H
#define ARAX_SCHEDULER_TENANT_WATCH_H

struct dispatch;

/** tenant_watch_start() - make the thread, which then waits for something to watch: when there is
 *  a client no thread can be made any more. Return: 0 or -errno. */
int tenant_watch_start(void);

/**
 * tenant_watch() - begin
 * @link: socket to the client; its end ends the process
 * @control: socket to araxd; its end means nothing: applications outlive a daemon
 * @dispatch: gets what comes from there
 */
void tenant_watch(int link, int control, struct dispatch *dispatch);

#endif
