/* SPDX-License-Identifier: Apache-2.0
 *
 * What araxd writes down for the next one (journal.h): who has which tenant with what limits, which
 * processes of devices tenants are linked to, and what applications did that have finished. Nothing
 * of it comes from tenants but the counts of the latter.
 */
#ifndef ARAX_SCHEDULER_ARAXD_JOURNAL_H
#define ARAX_SCHEDULER_ARAXD_JOURNAL_H

#include "scheduler/araxd.h"
#include "scheduler/araxd_process.h"
#include "scheduler/journal.h"

enum record_type {
	RECORD_TENANT = 1, /* struct record_tenant: it gets its client now */
	RECORD_POLICY,	   /* struct record_policy */
	RECORD_GONE,	   /* struct record_key: it never had its client */
	RECORD_FINISHED,   /* of history.c, begins with the key: it has ended */
	RECORD_LINK,	   /* struct record_link: it is told of a device */
	RECORD_UNLINK,	   /* struct record_link, of which key and index count */
	RECORD_TOTALS,	   /* of history.c */
};

#define RECORD_WORK 512

struct record_key {
	uint64_t key; /* of the tenant, never used again; first in all of them */
};

struct record_tenant {
	uint64_t key;
	struct process_id process, client;
	uint32_t uid, own_policy;
	uint64_t container, arena_size, attached_ns;
	int32_t nice;
	uint32_t next_index;	  /* of its devices */
	uint32_t deaths, crashes; /* of its client's tenants so far */
	char died[96];
	char adopt[ADOPT_NAME]; /* where it listens */
	char devices[CONFIG_LIST], wanted[CONFIG_LIST];
	char policy[32], program[64];
	char work[RECORD_WORK];
};

struct record_policy {
	uint64_t key;
	char policy[32];
};

struct record_link {
	uint64_t key;
	uint32_t index, pad; /* in the tenant */
	struct process_id process;
	char device[32];
	char work[RECORD_WORK]; /* of the process */
};

/* A tenant as the journal has it. */
struct record_found {
	struct record_tenant tenant;
	unsigned nlinks;
	struct record_link links[ARAX_STATS_DEVICES];
	bool gone;
};

struct records {
	struct record_found *found;
	size_t count, room;
	uint64_t last_key;
	struct history *history; /* what has finished is added there */
};

/** records_take() - a journal_take; arg is a struct records. */
bool records_take(void *arg, uint32_t type, const void *data, size_t size);
void records_free(struct records *records);

/** note_begin() - begin the journal, from what there is. Return: 0 or -errno. */
int note_begin(struct araxd *daemon, const char *path);

/** note_tenant() - before it is told of its client; note_gone(): it was not. */
void note_tenant(struct tenant *tenant);
void note_gone(struct tenant *tenant);

/** note_policy() - before it gets another one. */
void note_policy(const struct tenant *tenant, const char *policy);

struct link;

/** note_link(), note_unlink() - before the tenant is told of a device; it has none to it. */
void note_link(struct link *link);
void note_unlink(struct link *link);

#endif
