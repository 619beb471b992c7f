/* SPDX-License-Identifier: Apache-2.0
 *
 * araxd's side of the zygote: the process that tenants are forked from.
 */
#ifndef ARAX_SCHEDULER_ZYGOTE_H
#define ARAX_SCHEDULER_ZYGOTE_H

#include "scheduler/araxd_child.h"

struct zygote {
	struct child child;
	const char *libexec, *work; /* where its program is; its ARAX_WORK_DIR */
	bool sandbox;		    /* as configured */
	uint64_t last_id;
	/* A tenant was forked (pid; to be adopted now) or could not be (-errno). */
	void (*forked)(struct zygote *zygote, uint64_t id, int pid);
	/* It has ended; what was asked for and not answered will not come. */
	void (*ended)(struct zygote *zygote, const siginfo_t *how);
};

/** zygote_start() - start it unless it runs. Return: 0 or -errno. */
int zygote_start(struct zygote *zygote, struct loop *loop);

/**
 * zygote_spawn() - ask for a tenant
 * @tenant: its child_expect() is done here
 * @work: its ARAX_WORK_DIR
 * @memory: bytes that it may have beside its arena; 0: no limit
 * @adopt: where it shall listen for another araxd; -1: nowhere
 * @id: what forked() will be called with
 * Return: 0 or -errno.
 */
int zygote_spawn(struct zygote *zygote, struct loop *loop, struct child *tenant, const char *work,
		 uint64_t memory, int adopt, uint64_t *id);

/** zygote_finish() - end it now, without a call. */
void zygote_finish(struct zygote *zygote);

#endif
