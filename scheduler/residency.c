/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the contents of memory objects are, see residency.h. A storage's bytes are an array of
 * segments in order, neighbours with the same places merged: nearly always one or two. Whatever
 * begins makes room for the segments that its end may need, so that no end can fail.
 */
#include "scheduler/residency.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/protocol.h"
#include "transport/shm.h"

#define HOME_BIT RESIDENCY_BIT(RESIDENCY_HOME)
#define SEGMENTS_MANY 1024 /* above this copies are given up where that joins segments */

void residency_init(struct residency *r, _Atomic uint8_t *homes)
{
	memset(r, 0, sizeof(*r));
	r->homes = homes;
}

void residency_exit(struct residency *r)
{
	free(r->index);
	memset(r, 0, sizeof(*r));
}

/* ---- segments ------------------------------------------------------------------------------- */

static uint64_t segment_end(const struct storage *s, uint32_t i)
{
	return i + 1 < s->nsegments ? s->segments[i + 1].begin : s->size;
}

/* The segment that holds a byte. */
static uint32_t segment_at(const struct storage *s, uint64_t at)
{
	uint32_t low = 0, high = s->nsegments;
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;
		if (s->segments[middle].begin <= at)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* Every update of a range makes at most two segments more; there is one for each end of what is
 * active, and one now. */
static int reserve(struct storage *s)
{
	uint32_t need = s->nsegments + 2 * (s->nactive + 2);
	if (need <= s->room)
		return 0;
	need += need / 2;
	struct segment *segments = realloc(s->segments, need * sizeof(*segments));
	if (!segments)
		return -ENOMEM;
	s->segments = segments;
	s->room = need;
	return 0;
}

/* A segment begins at this byte. Return: which. */
static uint32_t cut(struct storage *s, uint64_t at)
{
	if (at == s->size)
		return s->nsegments;
	uint32_t i = segment_at(s, at);
	if (s->segments[i].begin == at)
		return i;
	assert(s->nsegments < s->room);
	memmove(&s->segments[i + 2], &s->segments[i + 1],
		(s->nsegments - i - 1) * sizeof(s->segments[0]));
	s->segments[i + 1] = (struct segment){.begin = at, .valid = s->segments[i].valid};
	s->nsegments++;
	return i + 1;
}

/* Joins equal neighbours from the one before first up to the one at last. */
static void join(struct storage *s, uint32_t first, uint32_t last)
{
	uint32_t to = first ? first - 1 : 0;
	if (last >= s->nsegments)
		last = s->nsegments - 1;
	for (uint32_t from = to + 1; from < s->nsegments; from++) {
		if (from <= last && s->segments[from].valid == s->segments[to].valid)
			continue;
		s->segments[++to] = s->segments[from];
		if (from > last && to == from)
			return;
	}
	s->nsegments = to + 1;
}

/* Too many: where two neighbours are both at home, copies that only one of them has are forgotten.
 * That is never wrong, since nobody needs them. */
static void coarsen(struct storage *s)
{
	uint32_t to = 0;
	for (uint32_t from = 1; from < s->nsegments; from++) {
		uint32_t common = s->segments[to].valid & s->segments[from].valid;
		if (s->segments[to].valid == s->segments[from].valid)
			continue;
		if (common & HOME_BIT)
			s->segments[to].valid = common;
		else
			s->segments[++to] = s->segments[from];
	}
	s->nsegments = to + 1;
}

/* What the client sees: written before the outcome of whatever caused it is published. */
static void tell(struct residency *r, struct storage *s)
{
	uint8_t flags = 0;
	for (uint32_t i = 0; i < s->nsegments; i++) {
		uint32_t valid = s->segments[i].valid;
		flags |= valid & HOME_BIT ? 0 : ARAX_HOME_STALE;
		flags |= valid & ~HOME_BIT ? ARAX_HOME_REPLICA : 0;
	}
	for (const struct activity *a = s->active; a; a = a->next)
		flags |= a->move ? ARAX_HOME_REPLICA : 0;
	if (flags == s->flags)
		return;
	s->flags = flags;
	if (r->homes && s->home < ARAX_HOMES && s->indexed)
		atomic_store_explicit(&r->homes[s->home], flags, memory_order_release);
}

static void update(struct residency *r, struct storage *s, uint64_t off, uint64_t len,
		   uint32_t clear, uint32_t set)
{
	if (len) {
		uint32_t first = cut(s, off), last = cut(s, off + len);
		for (uint32_t i = first; i < last; i++)
			s->segments[i].valid = (s->segments[i].valid & ~clear) | set;
		join(s, first, last);
		if (s->nsegments > SEGMENTS_MANY)
			coarsen(s);
	}
	tell(r, s);
}

/* ---- storages ------------------------------------------------------------------------------- */

/* The first of the index that ends behind an offset. */
static uint32_t index_at(const struct residency *r, uint64_t off)
{
	uint32_t low = 0, high = r->nindex;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct storage *s = r->index[middle];
		if (s->off + s->size <= off)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int index_add(struct residency *r, struct storage *s)
{
	uint32_t at = index_at(r, s->off);
	if (at < r->nindex && r->index[at]->off < s->off + s->size)
		return -EEXIST;
	if (r->nindex == r->index_room) {
		uint32_t room = r->index_room ? 2 * r->index_room : 64;
		struct storage **index = realloc(r->index, room * sizeof(struct storage *));
		if (!index)
			return -ENOMEM;
		r->index = index;
		r->index_room = room;
	}
	memmove(&r->index[at + 1], &r->index[at], (r->nindex - at) * sizeof(struct storage *));
	r->index[at] = s;
	r->nindex++;
	s->indexed = true;
	return 0;
}

void storage_hide(struct residency *r, struct storage *s)
{
	if (!s->indexed)
		return;
	uint32_t at = index_at(r, s->off);
	assert(at < r->nindex && r->index[at] == s);
	r->nindex--;
	memmove(&r->index[at], &r->index[at + 1], (r->nindex - at) * sizeof(struct storage *));
	s->indexed = false;
	/* The byte is the next object's. */
	if (r->homes && s->home < ARAX_HOMES)
		atomic_store_explicit(&r->homes[s->home], 0, memory_order_release);
}

int storage_new(struct residency *r, uint64_t off, uint64_t size, uint32_t home, bool unit,
		bool lost, struct storage **out)
{
	struct storage *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->off = off;
	s->size = size;
	s->home = home;
	s->unit = unit;
	int rc = reserve(s);
	if (!rc && size)
		rc = index_add(r, s);
	if (rc) {
		free(s->segments);
		free(s);
		return rc;
	}
	s->nsegments = 1;
	s->segments[0] = (struct segment){.begin = 0, .valid = lost ? 0 : HOME_BIT};
	s->next = r->all;
	if (r->all)
		r->all->prev = s;
	r->all = s;
	tell(r, s);
	*out = s;
	return 0;
}

void storage_free(struct residency *r, struct storage *s)
{
	assert(!s->active);
	storage_hide(r, s);
	for (unsigned i = 0; i < RESIDENCY_DEVICES; i++) {
		if (s->on[i]) {
			/* Nobody wants the contents any more. */
			s->segments[0].valid = HOME_BIT;
			s->nsegments = 1;
			residency_drop(r, s->on[i]);
		}
	}
	if (s->prev)
		s->prev->next = s->next;
	else
		r->all = s->next;
	if (s->next)
		s->next->prev = s->prev;
	free(s->segments);
	free(s);
}

struct storage *residency_next(const struct residency *r, const struct storage *after, uint64_t off,
			       uint64_t len)
{
	if (after) {
		uint64_t end = off + len;
		off = after->off + after->size;
		len = end > off ? end - off : 0;
	}
	if (!len)
		return NULL;
	uint32_t at = index_at(r, off);
	return at < r->nindex && r->index[at]->off < off + len ? r->index[at] : NULL;
}

bool storage_poisoned(const struct storage *s)
{
	for (uint32_t i = 0; i < s->nsegments; i++) {
		if (!s->segments[i].valid && segment_end(s, i) > s->segments[i].begin)
			return true;
	}
	return false;
}

/* ---- what has to be done before a use ------------------------------------------------------- */

static bool overlaps(const struct activity *a, uint64_t off, uint64_t len)
{
	return a->off < off + len && off < a->off + a->len;
}

static bool same_stream(const struct activity *a, const void *stream)
{
	return stream && a->stream == stream;
}

/* Must the use wait until this has ended? */
static bool use_waits(const struct activity *a, const struct residency_use *use)
{
	if (!overlaps(a, use->off, use->len))
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
	if (a->move || !overlaps(a, move->off, move->len))
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
	for (uint32_t i = segment_at(s, use->off); i < s->nsegments; i++) {
		uint64_t from = s->segments[i].begin, to = segment_end(s, i);
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
	for (uint32_t i = segment_at(s, off); i < s->nsegments; i++) {
		uint64_t at = s->segments[i].begin > off ? s->segments[i].begin : off;
		uint64_t last = segment_end(s, i) < end ? segment_end(s, i) : end;
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

/* ---- moves and uses ------------------------------------------------------------------------- */

static void lru_remove(struct residency *r, struct replica *replica)
{
	struct residency_device *d = &r->devices[replica->device];
	if (replica->prev)
		replica->prev->next = replica->next;
	else
		d->first = replica->next;
	if (replica->next)
		replica->next->prev = replica->prev;
	else
		d->last = replica->prev;
	replica->prev = replica->next = NULL;
}

static void lru_append(struct residency *r, struct replica *replica)
{
	struct residency_device *d = &r->devices[replica->device];
	replica->prev = d->last;
	if (d->last)
		d->last->next = replica;
	else
		d->first = replica;
	d->last = replica;
}

static void touch(struct residency *r, struct replica *replica)
{
	if (r->devices[replica->device].last == replica)
		return;
	lru_remove(r, replica);
	lru_append(r, replica);
}

static void replica_put(struct replica *replica)
{
	if (replica->gone && !replica->pins && !replica->moves)
		free(replica);
}

void replica_pin(struct residency *r, struct replica *replica)
{
	replica->pins++;
	if (!replica->gone)
		touch(r, replica);
}

void replica_unpin(struct replica *replica)
{
	assert(replica->pins);
	replica->pins--;
	replica_put(replica);
}

static int activity_begin(struct activity *a, struct storage *s)
{
	s->nactive++;
	if (reserve(s)) {
		s->nactive--;
		return -ENOMEM;
	}
	a->storage = s;
	a->prev = NULL;
	a->next = s->active;
	if (s->active)
		s->active->prev = a;
	s->active = a;
	return 0;
}

static void activity_end(struct activity *a)
{
	struct storage *s = a->storage;
	if (a->prev)
		a->prev->next = a->next;
	else
		s->active = a->next;
	if (a->next)
		a->next->prev = a->prev;
	s->nactive--;
}

int residency_move_begin(struct residency *r, struct activity *a, const struct residency_move *move,
			 const void *stream)
{
	struct storage *s = move->storage;
	unsigned device = move->to == RESIDENCY_HOME ? move->from : move->to;
	assert(device < RESIDENCY_DEVICES && s->on[device]);
	*a = (struct activity){
	    .off = move->off,
	    .len = move->len,
	    .from = move->from,
	    .to = move->to,
	    .move = true,
	    .stream = stream,
	    .replica = s->on[device],
	};
	if (activity_begin(a, s))
		return -ENOMEM;
	a->replica->moves++;
	tell(r, s);
	return 0;
}

void residency_move_end(struct residency *r, struct activity *a, bool ok)
{
	struct storage *s = a->storage;
	struct replica *replica = a->replica;
	activity_end(a);
	if (ok)
		replica->proven = true;
	if (ok && !a->spoiled)
		update(r, s, a->off, a->len, 0, RESIDENCY_BIT(a->to));
	else
		tell(r, s);
	replica->moves--;
	replica_put(replica);
}

int residency_use_begin(struct residency *r, struct activity *a, const struct residency_use *use)
{
	struct storage *s = use->storage;
	*a = (struct activity){
	    .off = use->off,
	    .len = use->len,
	    .from = use->place,
	    .to = use->place,
	    .write = use->write,
	    .stream = use->stream,
	};
	if (use->place != RESIDENCY_HOME) {
		assert(s->on[use->place]);
		a->replica = s->on[use->place];
	}
	if (activity_begin(a, s))
		return -ENOMEM;
	if (a->replica)
		replica_pin(r, a->replica);
	if (use->write)
		update(r, s, use->off, use->len, ~0u, RESIDENCY_BIT(use->place));
	return 0;
}

void residency_use_end(struct residency *r, struct activity *a)
{
	(void)r;
	activity_end(a);
	if (a->replica)
		replica_unpin(a->replica);
}

int residency_overwrite(struct residency *r, const struct residency_use *use)
{
	assert(use->place == RESIDENCY_HOME);
	if (reserve(use->storage))
		return -ENOMEM;
	update(r, use->storage, use->off, use->len, ~0u, HOME_BIT);
	return 0;
}

void residency_reassert(struct residency *r, const struct residency_use *use, bool exact)
{
	struct storage *s = use->storage;
	uint64_t end = use->off + use->len;
	bool room = !reserve(s);
	for (struct activity *a = s->active; a; a = a->next)
		a->spoiled |= a->move && overlaps(a, use->off, use->len);
	if (!room)
		return;
	if (exact) {
		update(r, s, use->off, use->len, ~0u, HOME_BIT);
		return;
	}
	/* From the last to the first, since segments come and go behind the one that is changed. */
	for (uint32_t i = s->nsegments; i-- > 0;) {
		uint64_t from = s->segments[i].begin, to = segment_end(s, i);
		if (to <= use->off)
			break;
		if (from >= end || !(s->segments[i].valid & HOME_BIT))
			continue;
		from = from > use->off ? from : use->off;
		to = to < end ? to : end;
		if (reserve(s))
			return;
		update(r, s, from, to - from, ~0u, HOME_BIT);
		if (i > s->nsegments)
			i = s->nsegments;
	}
}

/* ---- memory of devices ---------------------------------------------------------------------- */

void residency_limit(struct residency *r, unsigned device, uint64_t bytes)
{
	r->devices[device].limit = bytes;
}

int residency_admit(struct residency *r, struct storage *s, unsigned device)
{
	assert(!s->on[device]);
	struct replica *replica = calloc(1, sizeof(*replica));
	if (!replica)
		return -ENOMEM;
	replica->storage = s;
	replica->device = (uint8_t)device;
	s->on[device] = replica;
	r->devices[device].used += s->size;
	lru_append(r, replica);
	return 0;
}

struct replica *residency_victim(const struct residency *r, unsigned device, uint32_t mark,
				 const struct replica *after)
{
	struct replica *replica = after ? after->next : r->devices[device].first;
	while (replica &&
	       (replica->pins || replica->moves || (mark && replica->storage->mark == mark)))
		replica = replica->next;
	return replica;
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
		    .len = segment_end(s, i) - s->segments[i].begin,
		    .from = replica->device,
		    .to = RESIDENCY_HOME,
		};
		if (!plan_move(plan, &move))
			return;
	}
}

bool replica_dirty(const struct replica *replica)
{
	const struct storage *s = replica->storage;
	for (uint32_t i = 0; i < s->nsegments; i++) {
		if (s->segments[i].valid == RESIDENCY_BIT(replica->device))
			return true;
	}
	return false;
}

static void replica_remove(struct residency *r, struct replica *replica)
{
	struct storage *s = replica->storage;
	lru_remove(r, replica);
	r->devices[replica->device].used -= s->size;
	s->on[replica->device] = NULL;
	replica->gone = true;
	update(r, s, 0, s->size, RESIDENCY_BIT(replica->device), 0);
}

void residency_drop(struct residency *r, struct replica *replica)
{
	assert(!replica->pins && !replica->moves && !replica_dirty(replica));
	replica_remove(r, replica);
	replica_put(replica);
}

void residency_lost(struct residency *r, unsigned device)
{
	struct replica *replica;
	while ((replica = r->devices[device].first)) {
		for (struct activity *a = replica->storage->active; a; a = a->next)
			a->spoiled |= a->move && a->to == device;
		replica_remove(r, replica);
		replica_put(replica);
	}
}
