/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of staging share: dispatch_stage.c (the way of a command through it),
 * dispatch_uses.c (what it touches), dispatch_fetch.c (a device, memory and contents).
 */
#ifndef ARAX_SCHEDULER_DISPATCH_STAGE_H
#define ARAX_SCHEDULER_DISPATCH_STAGE_H

#include "scheduler/dispatch_internal.h"

#define NOWHERE 0xFF

struct stage_use {
	struct residency_use use;
	struct activity activity;
	struct replica *pinned;
	bool begun;
};

struct stage {
	struct command *command; /* NULL: it has ended */
	struct stage *next;	 /* of the list that it waits in */
	uint32_t refs, riding;	 /* the command's and one for each transfer; these */
	uint32_t excluded;	 /* bit n: device n could not take it */
	uint8_t device;		 /* of a launch */
	bool counted;		 /* among the device's queued launches */
	bool head;		 /* it is its turn to get memory */
	bool given, returned;
	bool unproven;
	int last;    /* why the last device could not take it */
	int refused; /* ... this one, to be seen to */
	int failed;  /* what it needs could not be brought home */
	int broken;  /* of a transfer that it was given without waiting for */
	uint64_t serial;
	uint32_t nuses;
	struct stage_use *uses;
	struct arax_device_stream *stream; /* discrete devices */
};

enum step {
	STEP_ON,   /* nothing in the way */
	STEP_BACK, /* something is different now: from the beginning */
	STEP_WAIT, /* it is in a list */
	STEP_FAIL,
};

/* dispatch_stage.c */
void stage_push(struct stage_list *list, struct stage *s);
void stage_push_by_priority(struct stage_list *list, struct stage *s);
void stage_push_front(struct stage_list *list, struct stage *s);
void stage_wait(struct storage *storage, struct stage *s);
/** stage_leave() - it has no place any more, and is in nobody's way. */
void stage_leave(struct dispatch *d, struct stage *s);
void stage_fail_because(struct dispatch *d, struct command *c, enum arax_why why);
static inline bool stage_on_discrete(const struct dispatch *d, const struct stage *s)
{
	return s->device != NOWHERE && device_at(d, s->device)->discrete;
}

static inline bool stage_admitted(const struct stage *s)
{
	return !s->nuses || s->uses[0].pinned;
}

/* dispatch_uses.c: fill stage.uses. Return: 0 or a negative OpenCL error. */
int uses_of_launch(struct dispatch *d, struct stage *s);
int uses_at_home(struct dispatch *d, struct stage *s);

/* dispatch_fetch.c */
enum step fetch_place(struct dispatch *d, struct stage *s, int *status);
void fetch_count(struct dispatch *d, struct stage *s);
/** fetch_room() - memory for all that it uses. */
enum step fetch_room(struct dispatch *d, struct stage *s, int *status);
/** fetch_has_room() - without anything having to leave? */
bool fetch_has_room(struct dispatch *d, struct stage *s);
/** fetch_refused() - the device has said that it cannot: stage.refused. */
enum step fetch_refused(struct dispatch *d, struct stage *s);
void fetch_exclude(struct dispatch *d, struct stage *s, int status);
/** fetch_use() - *later: something has to end first. */
enum step fetch_use(struct dispatch *d, struct stage *s, struct stage_use *use, bool *later,
		    int *status);
enum step fetch_all(struct dispatch *d, struct stage *s, int *status);

#endif
