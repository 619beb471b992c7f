/* SPDX-License-Identifier: Apache-2.0
 *
 * The zygote: an arax-tenant that serves nobody but has loaded the OpenCL library, so that tenants
 * can be forked from it without the cost of linking it (nine tenths of their start).
 */
#ifndef ARAX_SCHEDULER_TENANT_ZYGOTE_H
#define ARAX_SCHEDULER_TENANT_ZYGOTE_H

struct sandbox;

/**
 * tenant_zygote() - fork a tenant for every SPAWN until araxd has gone
 * @control: socket to araxd
 * @argv: what made this process a zygote; erased in tenants
 * @sandbox: opened; each tenant gets its own copy
 *
 * Returns in the new tenants only, with @control as the tenant's own; no other thread may run.
 * Return: SANDBOX_ADOPT when the tenant listens there for another araxd, else -1.
 */
int tenant_zygote(int control, char **argv, struct sandbox *sandbox);

#endif
