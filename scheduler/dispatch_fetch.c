/* SPDX-License-Identifier: Apache-2.0
 *
 * Staging: a device for a launch, memory there for all of its objects at once, and their contents.
 * Each function says whether the command can go on (STEP_ON), is in a list and will be tried again
 * (STEP_WAIT), has to begin again since something is different now (STEP_BACK), or has failed.
 */
#include "scheduler/dispatch_stage.h"

/* It belongs to the device's backlog from now on. */
void fetch_count(struct dispatch *d, struct stage *s)
{
	struct command *c = s->command;
	c->predicted_ns = place_predict(d, c->work, s->device);
	policy_began(&d->devices[s->device], c->predicted_ns, arax_now_ns());
	s->counted = true;
}

enum step fetch_place(struct dispatch *d, struct stage *s, int *status)
{
	const struct launch *launch = s->command->work;
	uint32_t able = place_able(d, launch) & ~s->excluded;
	if (!able) {
		*status = s->last ? s->last : STATUS_INVALID_PROGRAM_EXECUTABLE;
		return STEP_FAIL;
	}
	uint32_t now = place_now(d, launch, able);
	unsigned device = now ? place_pick(d, launch, now, d->asked) : POLICY_WAIT;
	if (device == POLICY_WAIT) {
		stage_push_by_priority(&d->placing, s);
		d->nplacing++;
		d->asked++;
		return STEP_WAIT;
	}
	s->device = (uint8_t)device;
	struct arax_device *dev = device_at(d, s->device);
	if (dev->discrete) {
		struct queue *queue = s->command->queue;
		fetch_count(d, s);
		*status = queue_on(&d->objects, queue ? queue : d->loose, s->device, &s->stream);
		if (*status) {
			s->refused = *status;
			return STEP_BACK;
		}
	}
	*status = uses_of_launch(d, s);
	return *status ? STEP_FAIL : STEP_ON;
}

/* This device will not have it. */
void fetch_exclude(struct dispatch *d, struct stage *s, int status)
{
	s->last = status;
	s->excluded |= 1u << s->device;
	stage_leave(d, s);
}

static enum step wait_memory(struct dispatch *d, struct stage *s)
{
	if (s->head)
		stage_push_front(&d->memory[s->device], s);
	else
		stage_push(&d->memory[s->device], s);
	return STEP_WAIT;
}

/* Is anything there in use that is not its own? It will be free then. */
static bool others_use(const struct dispatch *d, unsigned device, uint32_t mark)
{
	const struct replica *replica = d->objects.residency.devices[device].first;
	for (; replica; replica = replica->next) {
		if ((replica->pins || replica->moves) && replica->storage->mark != mark)
			return true;
	}
	return false;
}

static enum step make_room(struct dispatch *d, struct stage *s, uint64_t bytes)
{
	d->room_for = s->command->trace_id;
	int rc = move_evict(d, s->device, bytes, d->mark);
	d->room_for = 0;
	if (rc > 0)
		return STEP_ON;
	if (rc < 0 && !others_use(d, s->device, d->mark)) {
		fetch_exclude(d, s, STATUS_NO_MEMORY);
		return STEP_BACK;
	}
	/* From now on it comes before whatever is new there. */
	if (rc < 0)
		d->starving |= 1u << s->device;
	return wait_memory(d, s);
}

/* Marks what it uses there. Return: bytes of that which have no memory there yet. */
static uint64_t mark_uses(struct dispatch *d, const struct stage *s)
{
	uint64_t need = 0;
	if (!++d->mark)
		d->mark = 1;
	for (uint32_t i = 0; i < s->nuses; i++) {
		struct storage *storage = s->uses[i].use.storage;
		if (storage->mark != d->mark && !storage->on[s->device])
			need += storage->size;
		storage->mark = d->mark;
	}
	return need;
}

bool fetch_has_room(struct dispatch *d, struct stage *s)
{
	return residency_room(&d->objects.residency, s->device, mark_uses(d, s));
}

enum step fetch_room(struct dispatch *d, struct stage *s, int *status)
{
	struct residency *r = &d->objects.residency;
	struct residency_device *memory = &r->devices[s->device];
	uint64_t need = mark_uses(d, s);
	bool behind = d->memory[s->device].first || d->starving >> s->device & 1;
	if (!s->head && (need ? behind : d->starving >> s->device & 1))
		return wait_memory(d, s);
	while (need && !residency_room(r, s->device, need)) {
		enum step step = make_room(d, s, memory->used + need - memory->limit);
		if (step != STEP_ON)
			return step;
	}
	for (uint32_t i = 0; i < s->nuses; i++) {
		struct storage *storage = s->uses[i].use.storage;
		if (!storage->on[s->device] && residency_admit(r, storage, s->device)) {
			*status = STATUS_OUT_OF_HOST_MEMORY;
			return STEP_FAIL;
		}
		s->uses[i].pinned = storage->on[s->device];
		replica_pin(r, s->uses[i].pinned);
	}
	move_resident(d, s->device);
	if (s->head)
		d->starving &= ~(1u << s->device);
	return STEP_ON;
}

/* It lets go of what it has there, so that those who wait for memory never wait for each other. */
static void let_go(struct dispatch *d, struct stage *s)
{
	for (uint32_t i = 0; i < s->nuses; i++) {
		if (s->uses[i].pinned)
			replica_unpin(s->uses[i].pinned);
		s->uses[i].pinned = NULL;
	}
	/* Those behind it wait for it in any case. */
	if (!s->head)
		stage_wake_memory(d, s->device);
}

/* The device has said that it cannot. */
enum step fetch_refused(struct dispatch *d, struct stage *s)
{
	int status = s->refused;
	s->refused = 0;
	if (s->device == NOWHERE)
		return STEP_BACK;
	if (status == STATUS_NO_MEMORY) {
		uint64_t largest = 1;
		for (uint32_t i = 0; i < s->nuses; i++) {
			if (s->uses[i].use.storage->size > largest)
				largest = s->uses[i].use.storage->size;
		}
		let_go(d, s);
		mark_uses(d, s);
		enum step step = make_room(d, s, largest);
		return step == STEP_ON ? STEP_BACK : step;
	}
	if (status == STATUS_DEVICE_NOT_AVAILABLE && d->discrete >> s->device & 1) {
		s->last = STATUS_OUT_OF_RESOURCES;
		dispatch_device_lost(d, s->device);
	} else {
		fetch_exclude(d, s, status);
	}
	return STEP_BACK;
}

/* A move could not be begun. */
static enum step move_refused(struct dispatch *d, struct stage *s,
			      const struct residency_move *move, int rc, int *status)
{
	unsigned device = move->to == RESIDENCY_HOME ? move->from : move->to;
	*status = rc;
	if (rc == STATUS_OUT_OF_RESOURCES && (d->moves[device] || d->given[device])) {
		stage_push(&d->full, s);
		return STEP_WAIT;
	}
	if (rc == STATUS_DEVICE_NOT_AVAILABLE) {
		dispatch_device_lost(d, device);
		return STEP_BACK;
	}
	if (move->to == RESIDENCY_HOME || rc == STATUS_OUT_OF_HOST_MEMORY)
		return STEP_FAIL;
	s->refused = rc;
	return STEP_BACK;
}

/* *later: something has to end first. */
enum step fetch_use(struct dispatch *d, struct stage *s, struct stage_use *use, bool *later,
		    int *status)
{
	struct residency_plan plan;
	enum residency_answer answer = residency_plan(&use->use, &plan);
	if (answer == RESIDENCY_POISONED) {
		stage_fail_because(d, s->command, ARAX_WHY_POISONED);
		*status = STATUS_OUT_OF_RESOURCES;
		return STEP_FAIL;
	}
	for (unsigned i = 0; i < plan.nrides; i++) {
		if (!transfer_ride((struct transfer *)plan.rides[i], s))
			answer = RESIDENCY_WAIT;
	}
	for (unsigned i = 0; i < plan.nmoves; i++) {
		const struct residency_move *move = &plan.moves[i];
		int rc = transfer_begin(d, move, move->to == s->device ? s->stream : NULL, s);
		if (rc)
			return move_refused(d, s, move, rc, status);
	}
	/* The first that is copied there says whether there is any memory for it. */
	if (use->pinned && !use->pinned->proven && use->pinned->moves)
		answer = RESIDENCY_WAIT;
	*later = answer == RESIDENCY_WAIT;
	return STEP_ON;
}

/* Everything that is missing sets out at once; then it waits for one of them. */
enum step fetch_all(struct dispatch *d, struct stage *s, int *status)
{
	struct storage *wait = NULL;
	for (uint32_t i = 0; i < s->nuses; i++) {
		bool later = false;
		enum step step = fetch_use(d, s, &s->uses[i], &later, status);
		if (step != STEP_ON)
			return step;
		if (later && !wait)
			wait = s->uses[i].use.storage;
	}
	if (!wait)
		return STEP_ON;
	stage_wait(wait, s);
	return STEP_WAIT;
}
