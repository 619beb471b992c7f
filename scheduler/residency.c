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
	uint32_t i = storage_segment(s, at);
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
		if (!s->segments[i].valid && storage_segment_end(s, i) > s->segments[i].begin)
			return true;
	}
	return false;
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
	return 0;
}

void residency_use_given(struct residency *r, struct activity *a)
{
	if (a->write && !(a->replica && a->replica->gone))
		update(r, a->storage, a->off, a->len, ~0u, RESIDENCY_BIT(a->to));
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
		a->spoiled |= a->move && activity_overlaps(a, use->off, use->len);
	if (!room)
		return;
	if (exact) {
		update(r, s, use->off, use->len, ~0u, HOME_BIT);
		return;
	}
	/* From the last to the first, since segments come and go behind the one that is changed. */
	for (uint32_t i = s->nsegments; i-- > 0;) {
		uint64_t from = s->segments[i].begin, to = storage_segment_end(s, i);
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
