/* SPDX-License-Identifier: Apache-2.0
 *
 * Staging: what a command touches is brought to where it will run, before it runs. Only where there
 * are devices with memory of their own (dispatch.spread); elsewhere no command has a stage.
 *
 * A launch gets a device, memory for all of its objects there at once, then their contents. Uploads
 * go into the stream before it, so it need not wait for them; what has to come home first it waits
 * for. Commands that run at home (the CPU's devices, boxes, the client's turns, maps) need their
 * ranges there. Whatever is not right yet is tried again from the beginning when something has
 * changed, so there is one way through (stage_run()), however often it is interrupted.
 *
 * A launch that a device could not take, because it has no memory or never can, has not run, and
 * the data it was for is where it was: it goes on elsewhere. That holds as long as nothing was
 * given to the device right behind it; so nothing is, behind a kernel that never ran there.
 *
 * Nobody waits for who waits himself: stages hold memory only together with all that they need,
 * and otherwise wait for transfers, launches and builds that are in progress, and end.
 */
#include "scheduler/dispatch_stage.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* ---- lists ---------------------------------------------------------------------------------- */

static unsigned stage_priority(const struct stage *s)
{
	return s->command->queue ? s->command->queue->graph.priority : GRAPH_MEDIUM;
}

void stage_push(struct stage_list *list, struct stage *s)
{
	s->next = NULL;
	if (list->first)
		list->last->next = s;
	else
		list->first = s;
	list->last = s;
}

/* Behind those of its own priority, before those of a lower one. */
void stage_push_by_priority(struct stage_list *list, struct stage *s)
{
	struct stage **at = &list->first;
	unsigned priority = stage_priority(s);
	if (!list->first || stage_priority(list->last) >= priority)
		return stage_push(list, s);
	while (stage_priority(*at) >= priority)
		at = &(*at)->next;
	s->next = *at;
	*at = s;
}

void stage_push_front(struct stage_list *list, struct stage *s)
{
	s->next = list->first;
	if (!list->first)
		list->last = s;
	list->first = s;
}

static struct stage *list_pop(struct stage_list *list)
{
	struct stage *s = list->first;
	if (s)
		list->first = s->next;
	return s;
}

static void list_remove(struct stage_list *list, struct stage *s)
{
	struct stage_list kept = {0};
	struct stage *at;
	while ((at = list_pop(list))) {
		if (at != s)
			stage_push(&kept, at);
	}
	*list = kept;
}

static void list_move(struct stage_list *to, struct stage_list *from)
{
	struct stage *s;
	while ((s = list_pop(from)))
		stage_push(to, s);
}

void stage_wake_storage(struct dispatch *d, struct storage *storage)
{
	struct stage *s = storage->waiters, *ordered = NULL;
	storage->waiters = NULL;
	while (s) {
		struct stage *next = s->next;
		s->next = ordered;
		ordered = s;
		s = next;
	}
	while (ordered) {
		struct stage *next = ordered->next;
		stage_push(&d->again, ordered);
		ordered = next;
	}
}

void stage_wait(struct storage *storage, struct stage *s)
{
	s->next = storage->waiters;
	storage->waiters = s;
}

void stage_wake_memory(struct dispatch *d, unsigned device)
{
	if (d->memory[device].first)
		d->memory_again |= 1u << device;
	list_move(&d->again, &d->full);
}

/* ---- life ----------------------------------------------------------------------------------- */

static struct stage *stage_new(struct command *c)
{
	struct stage *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->command = c;
	s->refs = 1;
	s->device = NOWHERE;
	c->stage = s;
	return s;
}

static void stage_put(struct stage *s)
{
	if (!--s->refs)
		free(s);
}

void stage_ride(struct stage *s)
{
	s->refs++;
	s->riding++;
}

void stage_unride(struct stage *s)
{
	s->riding--;
	stage_put(s);
}

static void uses_end(struct dispatch *d, struct stage *s)
{
	for (uint32_t i = 0; i < s->nuses; i++) {
		if (!s->uses[i].begun)
			continue;
		s->uses[i].begun = false;
		residency_use_end(&d->objects.residency, &s->uses[i].activity);
		stage_wake_storage(d, s->uses[i].use.storage);
	}
}

/* It has no place any more, and is in nobody's way. */
void stage_leave(struct dispatch *d, struct stage *s)
{
	uses_end(d, s);
	for (uint32_t i = 0; i < s->nuses; i++) {
		struct mem *root = s->uses[i].use.storage->owner;
		if (s->uses[i].pinned)
			replica_unpin(s->uses[i].pinned);
		s->uses[i].pinned = NULL;
		object_unref(&d->objects, &root->object);
	}
	free(s->uses);
	s->uses = NULL;
	s->nuses = 0;
	if (s->device == NOWHERE)
		return;
	if (s->counted)
		policy_ended(&d->devices[s->device], s->command->predicted_ns, arax_now_ns());
	if (s->head)
		d->starving &= ~(1u << s->device);
	if (s->unproven)
		d->unproven[s->device]--;
	s->counted = s->head = s->unproven = s->given = s->returned = false;
	stage_wake_memory(d, s->device);
	if (d->draining >> s->device & 1)
		d->place_again = true;
	s->device = NOWHERE;
}

void stage_over(struct dispatch *d, struct command *c)
{
	struct stage *s = c->stage;
	stage_leave(d, s);
	c->stage = NULL;
	s->command = NULL;
	stage_put(s);
	if (d->placing.first)
		d->place_again = true;
}

/* A printing launch keeps its result for what it has printed. */
void stage_fail_because(struct dispatch *d, struct command *c, enum arax_why why)
{
	if (d->exclusive != c)
		c->result = why;
}

/* ---- execution ------------------------------------------------------------------------------ */

static int uses_begin(struct dispatch *d, struct stage *s)
{
	struct residency *r = &d->objects.residency;
	for (uint32_t i = 0; i < s->nuses; i++) {
		if (residency_use_begin(r, &s->uses[i].activity, &s->uses[i].use)) {
			uses_end(d, s);
			return STATUS_OUT_OF_HOST_MEMORY;
		}
		s->uses[i].begun = true;
	}
	return 0;
}

static void uses_given(struct dispatch *d, struct stage *s)
{
	for (uint32_t i = 0; i < s->nuses; i++)
		residency_use_given(&d->objects.residency, &s->uses[i].activity);
}

/* To its device. Return: what that says. */
static int give(struct dispatch *d, struct stage *s)
{
	struct command *c = s->command;
	const struct kernel *kernel = ((const struct launch *)c->work)->kernel;
	int rc = uses_begin(d, s);
	if (rc)
		return rc;
	c->ran = true;
	s->given = true;
	s->serial = ++d->serial;
	if (stage_on_discrete(d, s) && !(kernel->proven >> s->device & 1)) {
		s->unproven = true;
		d->unproven[s->device]++;
	}
	rc = launch_on(d, c, s->device);
	if (!rc) {
		uses_given(d, s);
		s->counted = false; /* settle() sees to it */
		s->head = false;
		return 0;
	}
	if (s->unproven)
		d->unproven[s->device]--;
	s->given = s->unproven = c->ran = false;
	uses_end(d, s);
	return rc;
}

static enum step go_launch(struct dispatch *d, struct stage *s, int *status)
{
	struct command *c = s->command;
	const struct kernel *kernel = ((const struct launch *)c->work)->kernel;
	bool discrete = stage_on_discrete(d, s);
	c->node.state = GRAPH_RUNNING;
	*status = give(d, s);
	if (!*status)
		return STEP_ON;
	c->node.state = GRAPH_READY;
	if (!discrete && !(kernel->failed >> s->device & 1))
		return STEP_FAIL;
	if (*status == STATUS_OUT_OF_RESOURCES && (d->moves[s->device] || d->given[s->device])) {
		stage_push(&d->full, s);
		return STEP_WAIT;
	}
	s->refused = *status;
	return STEP_BACK;
}

/* Whatever it writes at home is newest there now; the client's commands come back to that when
 * they have ended (stage_host_ended()). */
static int overwrite(struct dispatch *d, const struct stage *s)
{
	const struct command *c = s->command;
	bool everything = c->op == ARAX_OP_HOST && !c->len;
	for (uint32_t i = 0; i < s->nuses; i++) {
		struct residency_use use = s->uses[i].use;
		use.write |= everything && c->access & ARAX_ACCESS_WRITE && !use.storage->active;
		if (use.write && residency_overwrite(&d->objects.residency, &use))
			return STATUS_OUT_OF_HOST_MEMORY;
	}
	return 0;
}

static int go_home(struct dispatch *d, struct stage *s)
{
	struct command *c = s->command;
	int status;
	if (c->op == ARAX_OP_COPY || c->op == ARAX_OP_FILL) {
		status = uses_begin(d, s);
		if (!status)
			uses_given(d, s);
	} else {
		status = overwrite(d, s);
		stage_over(d, c);
	}
	return status ? command_end(d, c, status) : command_go(d, c);
}

static enum step prepare(struct dispatch *d, struct stage *s, int *status)
{
	enum step step = STEP_ON;
	if (s->failed) {
		*status = s->failed;
		return STEP_FAIL;
	}
	if (s->refused)
		return fetch_refused(d, s);
	if (s->command->op == ARAX_OP_LAUNCH) {
		if (s->device != NOWHERE && (d->lost | d->draining) >> s->device & 1)
			stage_leave(d, s);
		if (s->device == NOWHERE)
			step = fetch_place(d, s, status);
		if (step == STEP_ON && stage_on_discrete(d, s) && !stage_admitted(s))
			step = fetch_room(d, s, status);
	}
	return step == STEP_ON ? fetch_all(d, s, status) : step;
}

/* Return: 0 or -errno. */
static int stage_run(struct dispatch *d, struct stage *s)
{
	struct command *c = s->command;
	enum step step;
	int status = 0;
	do {
		step = prepare(d, s, &status);
		if (step == STEP_ON && c->op != ARAX_OP_LAUNCH)
			return go_home(d, s);
		if (step == STEP_ON)
			step = go_launch(d, s, &status);
	} while (step == STEP_BACK);
	if (step == STEP_FAIL)
		return command_end(d, c, status);
	if (step == STEP_ON && c->inlined)
		return command_end(d, c, c->status);
	return 0;
}

int stage_launch(struct dispatch *d, struct command *c)
{
	if (launch_keep(c) || (!c->stage && !stage_new(c)))
		return command_end(d, c, STATUS_OUT_OF_HOST_MEMORY);
	return stage_run(d, c->stage);
}

bool stage_home(struct dispatch *d, struct command *c, int *rc)
{
	if (!d->objects.residency.nindex)
		return false;
	struct stage *s = stage_new(c);
	int status = s ? uses_at_home(d, s) : STATUS_OUT_OF_HOST_MEMORY;
	if (!status && !s->nuses) {
		stage_over(d, c);
		return false;
	}
	if (!status && c->work && box_keep(c))
		status = STATUS_OUT_OF_HOST_MEMORY;
	*rc = status ? command_end(d, c, status) : stage_run(d, s);
	return true;
}

/* Right behind its predecessor, without waiting for anything. */
static bool chain_ready(struct dispatch *d, struct stage *s)
{
	struct queue *queue = s->command->queue;
	int status = 0;
	if (stage_on_discrete(d, s)) {
		if (d->unproven[s->device] || d->memory[s->device].first ||
		    d->starving >> s->device & 1 ||
		    queue_on(&d->objects, queue ? queue : d->loose, s->device, &s->stream))
			return false;
		if (uses_of_launch(d, s) || !fetch_has_room(d, s) ||
		    fetch_room(d, s, &status) != STEP_ON)
			return false;
	} else if (uses_of_launch(d, s)) {
		return false;
	}
	for (uint32_t i = 0; i < s->nuses; i++) {
		struct residency_plan plan;
		if (residency_plan(&s->uses[i].use, &plan) != RESIDENCY_READY)
			return false;
	}
	for (uint32_t i = 0; i < s->nuses; i++) {
		bool later = false;
		if (fetch_use(d, s, &s->uses[i], &later, &status) != STEP_ON || later)
			return false;
	}
	return true;
}

bool stage_chain(struct dispatch *d, struct command *c, struct command *before, unsigned device)
{
	if (launch_keep(c) || (!c->stage && !stage_new(c)))
		return false;
	struct stage *s = c->stage;
	s->device = (uint8_t)device;
	if (stage_on_discrete(d, s))
		fetch_count(d, s);
	if (chain_ready(d, s)) {
		enum graph_state state = c->node.state;
		graph_chain(&c->node);
		launch_after(c, before);
		uint64_t behind = d->serial;
		if (!give(d, s)) {
			if (c->queue)
				c->queue->followed[device] = behind;
			return true;
		}
		launch_after(c, NULL);
		c->node.state = state;
	}
	list_remove(&d->full, s);
	stage_fail_because(d, c, ARAX_WHY_NONE);
	stage_over(d, c);
	return false;
}

/* ---- its end -------------------------------------------------------------------------------- */

/* It was not executed, and never will be by this device. */
static bool never_here(int status)
{
	switch (status) {
	case -10: /* CL_IMAGE_FORMAT_NOT_SUPPORTED */
	case -13: /* CL_MISALIGNED_SUB_BUFFER_OFFSET */
	case -40: /* CL_INVALID_IMAGE_SIZE */
		return true;
	default: /* CL_INVALID_PROGRAM_EXECUTABLE to CL_INVALID_GLOBAL_OFFSET */
		return (status <= -45 && status >= -56) || status == -63;
	}
}

/* For the next time. */
static void remember(struct stage *s, int status)
{
	uint32_t bit = 1u << s->device;
	struct kernel *kernel = ((const struct launch *)s->command->work)->kernel;
	if (status >= -48 && status <= -45)
		kernel->failed |= bit;
	if (status != -10 && status != -40)
		return;
	for (uint32_t i = 0; i < s->nuses; i++) {
		struct mem *root = s->uses[i].use.storage->owner;
		if (s->uses[i].use.storage->unit)
			root->failed |= bit;
	}
}

static int once_more(struct dispatch *d, struct command *c)
{
	struct stage *s = c->stage;
	uses_end(d, s);
	if (s->unproven)
		d->unproven[s->device]--;
	s->given = s->returned = s->unproven = false;
	fetch_count(d, s);
	c->ran = false;
	c->start_ns = c->end_ns = 0;
	if (c->node.pending) {
		/* Its predecessor is not through yet: it comes out of the graph later. */
		fetch_exclude(d, s, s->refused);
		s->refused = 0;
		c->node.state = GRAPH_WAITING;
		launch_after(c, NULL);
		return 0;
	}
	c->node.state = GRAPH_READY;
	return stage_run(d, s);
}

static int finish(struct dispatch *d, struct command *c)
{
	struct stage *s = c->stage;
	struct kernel *kernel = ((const struct launch *)c->work)->kernel;
	int status = c->status;
	bool followed = c->queue && s->serial <= c->queue->followed[s->device];
	if (s->broken) {
		status = status < 0 ? status : s->broken;
	} else if (!followed && (status == STATUS_NO_MEMORY || never_here(status))) {
		remember(s, status);
		s->refused = status;
		return once_more(d, c);
	}
	if (!status)
		kernel->proven |= 1u << s->device;
	if (status == STATUS_DEVICE_NOT_AVAILABLE) {
		dispatch_device_lost(d, s->device);
		stage_fail_because(d, c, ARAX_WHY_DEVICE_LOST);
		status = STATUS_OUT_OF_RESOURCES;
	}
	return command_end(d, c, status);
}

bool stage_ended(struct dispatch *d, struct command *c, int *rc)
{
	struct stage *s = c->stage;
	if (!s->given || !stage_on_discrete(d, s)) {
		stage_over(d, c);
		return false;
	}
	stage_wake_memory(d, s->device);
	s->returned = true;
	*rc = s->riding ? 0 : finish(d, c);
	return true;
}

int stage_moved(struct dispatch *d, struct stage *s, const struct transfer *t)
{
	struct command *c = s->command;
	/* It may have gone elsewhere since, where that one is not missed. */
	bool here = t->activity.to == s->device;
	if (t->status && c) {
		if (s->given && here)
			s->broken = t->status;
		else if (!s->given && here)
			s->refused = t->status;
		else if (!s->given && t->activity.to == RESIDENCY_HOME &&
			 t->status != STATUS_DEVICE_NOT_AVAILABLE)
			s->failed = t->status;
	}
	stage_unride(s);
	return c && s->returned && !s->riding ? finish(d, c) : 0;
}

void stage_host_ended(struct dispatch *d, struct command *c)
{
	const struct access range = {.off = c->off, .len = c->len};
	struct residency *r = &d->objects.residency;
	struct storage *storage = NULL;
	if (c->op != ARAX_OP_HOST || !(c->access & ARAX_ACCESS_WRITE))
		return;
	while ((storage = residency_next(r, storage, range.off, range.len))) {
		uint64_t end = range.off + range.len, last = storage->off + storage->size;
		uint64_t from = range.off > storage->off ? range.off : storage->off;
		struct residency_use use = {
		    .storage = storage,
		    .off = from - storage->off,
		    .len = (end < last ? end : last) - from,
		    .place = RESIDENCY_HOME,
		};
		if (storage_at_home(storage))
			continue;
		residency_use_whole(&use);
		residency_reassert(r, &use, c->exact && !use.needs);
		stage_wake_storage(d, storage);
	}
}

/* ---- what has changed ----------------------------------------------------------------------- */

/* Whoever is on his way there needs another place, now: the device may come back as another one. */
void stage_device_lost(struct dispatch *d, unsigned device)
{
	list_move(&d->again, &d->memory[device]);
	list_move(&d->again, &d->full);
	for (struct storage *s = d->objects.residency.all; s; s = s->next)
		stage_wake_storage(d, s);
	for (uint32_t i = 0; i < ARAX_SLOTS; i++) {
		struct stage *s =
		    d->commands[i].node.state == GRAPH_FREE ? NULL : d->commands[i].stage;
		if (s && s->device == device && !s->given)
			stage_leave(d, s);
	}
	d->starving &= ~(1u << device);
	d->memory_again &= ~(1u << device);
	d->place_again = true;
}

bool stage_waits(const struct dispatch *d)
{
	return atomic_load_explicit(&d->moved, memory_order_relaxed) ||
	       atomic_load_explicit(&d->objects.built, memory_order_relaxed) || d->again.first ||
	       d->memory_again || d->place_again ||
	       (d->objects.retry_ns && d->objects.retry_ns <= arax_now_ns());
}

/* Who waits for memory, one after the other, as long as each gets it. */
static int run_memory(struct dispatch *d, unsigned device)
{
	struct stage_list *list = &d->memory[device];
	int rc = 0;
	while (!rc && list->first) {
		struct stage *s = list_pop(list);
		s->head = true;
		s->refs++; /* it may end */
		rc = stage_run(d, s);
		bool waits = list->first == s;
		stage_put(s);
		if (waits)
			break;
	}
	return rc;
}

static int run_placing(struct dispatch *d)
{
	struct stage_list list = d->placing;
	int rc = 0;
	d->placing = (struct stage_list){0};
	d->asked = 0;
	for (unsigned i = 0; i < POLICY_WINDOW && list.first && !rc; i++) {
		d->nplacing--;
		rc = stage_run(d, list_pop(&list));
	}
	/* Those that still wait are older than those that were not asked. */
	while (list.first)
		stage_push_by_priority(&d->placing, list_pop(&list));
	d->asked = d->nplacing;
	return rc;
}

int stage_step(struct dispatch *d)
{
	int rc = 0;
	while (!rc && stage_waits(d)) {
		struct stage *s;
		builds_drain(d);
		if (atomic_load_explicit(&d->moved, memory_order_relaxed))
			rc = transfers_drain(d);
		while (!rc && (s = list_pop(&d->again)))
			rc = stage_run(d, s);
		for (unsigned i = 0; !rc && d->memory_again; i = (i + 1) % POLICY_DEVICES) {
			if (!(d->memory_again >> i & 1))
				continue;
			d->memory_again &= ~(1u << i);
			rc = run_memory(d, i);
		}
		if (!rc && d->objects.retry_ns && d->objects.retry_ns <= arax_now_ns()) {
			d->objects.retry_ns = 0;
			d->place_again = true;
		}
		if (!rc && d->place_again) {
			d->place_again = false;
			rc = run_placing(d);
		}
		move_drain(d);
	}
	return rc;
}
