/* SPDX-License-Identifier: Apache-2.0
 *
 * What has to be moved, and what has to end, before a range can be used somewhere: the rules at the
 * head of residency.h. Nothing is changed here.
 */
#include "scheduler/residency.h"

#include <stddef.h>

#define HOME_BIT RESIDENCY_BIT(RESIDENCY_HOME)

static bool same_stream(const struct activity *a, const void *stream)
{
	return stream && a->stream == stream;
}

/* Must the use wait until this has ended? */
static bool use_waits(const struct activity *a, const struct residency_use *use)
{
	if (!activity_overlaps(a, use->off, use->len))
		return false;
	if (!a->move)
		return a->to != use->place && (a->write || use->write);
	/* What is on its way to the place of a use that only reads is looked at byte by byte. */
	return use->write && !(a->to == use->place && same_stream(a, use->stream));
}

/* Must a move wait until this use has ended? */
static bool move_waits(const struct activity *a, const struct residency_move *move,
		       const void *stream)
{
	if (a->move || !activity_overlaps(a, move->off, move->len))
		return false;
	if (a->write)
		return !(a->to == move->from && same_stream(a, stream));
	return a->to == move->to && !same_stream(a, stream);
}

/* A move to a place that is in progress at a byte; else where the next one begins, at most at end.
 */
static struct activity *coming(const struct storage *s, unsigned place, uint64_t at, uint64_t *end)
{
	for (struct activity *a = s->active; a; a = a->next) {
		if (!a->move || a->to != place || a->off + a->len <= at)
			continue;
		if (a->off <= at)
			return a;
		if (a->off < *end)
			*end = a->off;
	}
	return NULL;
}

static bool plan_move(struct residency_plan *plan, const struct residency_move *move)
{
	struct residency_move *last = plan->nmoves ? &plan->moves[plan->nmoves - 1] : NULL;
	if (last && last->storage == move->storage && last->from == move->from &&
	    last->to == move->to && last->off + last->len == move->off) {
		last->len += move->len;
		return true;
	}
	if (plan->nmoves == RESIDENCY_MOVES)
		return false;
	plan->moves[plan->nmoves++] = *move;
	return true;
}

static bool plan_ride(struct residency_plan *plan, struct activity *a)
{
	for (unsigned i = 0; i < plan->nrides; i++) {
		if (plan->rides[i] == a)
			return true;
	}
	if (plan->nrides == RESIDENCY_MOVES)
		return false;
	plan->rides[plan->nrides++] = a;
	return true;
}

static bool plan_allowed(const struct residency_use *use, const struct residency_move *move)
{
	const void *stream = move->to == use->place ? use->stream : NULL;
	for (const struct activity *a = move->storage->active; a; a = a->next) {
		if (move_waits(a, move, stream))
			return false;
	}
	return true;
}

/* Bytes with the same places, none of them on its way to where the use is. Return: READY when they
 * will be there in time. */
static enum residency_answer plan_bytes(const struct residency_use *use,
					struct residency_plan *plan, uint32_t valid, uint64_t at,
					uint64_t end)
{
	struct storage *s = use->storage;
	bool first = use->place == RESIDENCY_HOME || !(valid & HOME_BIT); /* to home, that is */
	struct residency_move move = {
	    .storage = s,
	    .from = first ? (uint8_t)__builtin_ctz(valid & ~HOME_BIT) : RESIDENCY_HOME,
	    .to = first ? RESIDENCY_HOME : use->place,
	};
	enum residency_answer answer = first ? RESIDENCY_WAIT : RESIDENCY_READY;
	while (at < end) {
		uint64_t to = end;
		struct activity *a = first ? coming(s, RESIDENCY_HOME, at, &to) : NULL;
		if (a) {
			at = a->off + a->len;
			continue;
		}
		move.off = at;
		move.len = to - at;
		if (!plan_allowed(use, &move) || !plan_move(plan, &move))
			answer = RESIDENCY_WAIT;
		at = to;
	}
	return answer;
}

static enum residency_answer plan_segment(const struct residency_use *use,
					  struct residency_plan *plan, uint32_t valid, uint64_t at,
					  uint64_t end)
{
	enum residency_answer answer = RESIDENCY_READY;
	while (at < end) {
		uint64_t to = end;
		struct activity *a = coming(use->storage, use->place, at, &to);
		enum residency_answer part = RESIDENCY_READY;
		if (a) {
			to = a->off + a->len < end ? a->off + a->len : end;
			if (!same_stream(a, use->stream) || a->spoiled || !plan_ride(plan, a))
				part = RESIDENCY_WAIT;
		} else if (!valid) {
			/* It may be on its way home from the device that was lost then. */
			struct activity *last = coming(use->storage, RESIDENCY_HOME, at, &to);
			if (!last)
				return RESIDENCY_POISONED;
			to = last->off + last->len < end ? last->off + last->len : end;
			part = RESIDENCY_WAIT;
		} else {
			part = plan_bytes(use, plan, valid, at, to);
		}
		answer = part > answer ? part : answer;
		at = to;
	}
	return answer;
}

void residency_use_whole(struct residency_use *use)
{
	const struct storage *s = use->storage;
	if (!s->unit || !use->len || (use->off == 0 && use->len == s->size))
		return;
	use->off = 0;
	use->len = s->size;
	use->needs = true;
}

enum residency_answer residency_plan(const struct residency_use *use, struct residency_plan *plan)
{
	const struct storage *s = use->storage;
	enum residency_answer answer = RESIDENCY_READY;
	uint64_t end = use->off + use->len;
	plan->nmoves = plan->nrides = 0;
	for (const struct activity *a = s->active; a; a = a->next) {
		if (use_waits(a, use))
			answer = RESIDENCY_WAIT;
	}
	if (!use->needs || !use->len)
		return answer;
	for (uint32_t i = storage_segment(s, use->off); i < s->nsegments; i++) {
		uint64_t from = s->segments[i].begin, to = storage_segment_end(s, i);
		uint32_t valid = s->segments[i].valid;
		if (from >= end)
			break;
		if (valid & RESIDENCY_BIT(use->place))
			continue;
		enum residency_answer part = plan_segment(
		    use, plan, valid, from > use->off ? from : use->off, to < end ? to : end);
		answer = part > answer ? part : answer;
	}
	return answer;
}

uint64_t storage_missing(const struct storage *s, uint64_t off, uint64_t len, unsigned place)
{
	uint64_t missing = 0, end = off + len;
	for (uint32_t i = storage_segment(s, off); i < s->nsegments; i++) {
		uint64_t at = s->segments[i].begin > off ? s->segments[i].begin : off;
		uint64_t last = storage_segment_end(s, i) < end ? storage_segment_end(s, i) : end;
		if (s->segments[i].begin >= end)
			break;
		if (s->segments[i].valid & RESIDENCY_BIT(place))
			continue;
		while (at < last) {
			uint64_t to = last;
			const struct activity *a = coming(s, place, at, &to);
			if (a)
				to = a->off + a->len < last ? a->off + a->len : last;
			else
				missing += to - at;
			at = to;
		}
	}
	return missing;
}

void residency_writeback(const struct replica *replica, struct residency_plan *plan)
{
	const struct storage *s = replica->storage;
	plan->nmoves = plan->nrides = 0;
	for (uint32_t i = 0; i < s->nsegments; i++) {
		if (s->segments[i].valid != RESIDENCY_BIT(replica->device))
			continue;
		const struct residency_move move = {
		    .storage = replica->storage,
		    .off = s->segments[i].begin,
		    .len = storage_segment_end(s, i) - s->segments[i].begin,
		    .from = replica->device,
		    .to = RESIDENCY_HOME,
		};
		if (!plan_move(plan, &move))
			return;
	}
}
