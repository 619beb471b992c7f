/* SPDX-License-Identifier: Apache-2.0
 *
 * The watcher of arax-tenant: a thread that ends the process when its client has gone, even while
 * a kernel never returns on the main thread.
 */
#ifndef ARAX_SCHEDULER_TENANT_WATCH_H
#define ARAX_SCHEDULER_TENANT_WATCH_H

/**
 * tenant_watch() - start the watcher
 * @link: socket to the client; its end ends the process
 * @control: socket to araxd; its end means nothing: applications outlive a daemon
 * Return: 0 or -errno.
 */
int tenant_watch(int link, int control);

#endif
