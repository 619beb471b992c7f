/* SPDX-License-Identifier: Apache-2.0
 *
 * Residency: each rule, and then a world of places with bytes in them, in which moves and uses
 * begin, go on side by side, fail and end in any order, devices fill up and are lost. A second
 * account of every byte, kept in the simplest way there is, says what must be where.
 */
#include <stdlib.h>
#include <string.h>

#include "scheduler/residency.h"
#include "transport/protocol.h"
#include "transport/shm.h"
#include "transport/testing.h"

#define HOME RESIDENCY_HOME
#define SIZE 64
static _Atomic uint8_t homes[ARAX_HOMES];
static struct residency r;
static const int stream_a, stream_b; /* their addresses */

static struct storage *make(uint64_t off, uint32_t home, bool unit, bool lost)
{
	struct storage *s = NULL;
	CHECK(!storage_new(&r, off, SIZE, home, unit, lost, &s));
	return s;
}

static enum residency_answer ask(struct storage *s, uint64_t off, uint64_t len, unsigned place,
				 bool write, const void *stream, struct residency_plan *plan)
{
	const struct residency_use use = {.storage = s,
					  .off = off,
					  .len = len,
					  .place = (uint8_t)place,
					  .write = write,
					  .needs = true,
					  .stream = stream};
	return residency_plan(&use, plan);
}

static void use_at(struct activity *a, struct storage *s, uint64_t off, uint64_t len,
		   unsigned place, bool write, const void *stream)
{
	const struct residency_use use = {.storage = s,
					  .off = off,
					  .len = len,
					  .place = (uint8_t)place,
					  .write = write,
					  .needs = true,
					  .stream = stream};
	CHECK(!residency_use_begin(&r, a, &use));
	residency_use_given(&r, a);
}

static void move_all(struct residency_plan *plan, const void *stream)
{
	for (unsigned i = 0; i < plan->nmoves; i++) {
		struct activity a;
		CHECK(!residency_move_begin(&r, &a, &plan->moves[i], stream));
		residency_move_end(&r, &a, true);
	}
}

static void bring(struct storage *s, unsigned place)
{
	struct residency_plan plan;
	if (place != HOME && !s->on[place])
		CHECK(!residency_admit(&r, s, place));
	while (ask(s, 0, SIZE, place, false, NULL, &plan) != RESIDENCY_READY || plan.nmoves) {
		CHECK(plan.nmoves);
		move_all(&plan, NULL);
	}
}

static void test_moves(void)
{
	struct residency_plan plan;
	struct activity write, up, down;
	struct storage *s = make(4096, 7, false, false);
	CHECK(storage_at_home(s) && homes[7] == 0);
	CHECK(storage_missing(s, 0, SIZE, 1) == SIZE && storage_missing(s, 0, SIZE, HOME) == 0);
	CHECK(!residency_admit(&r, s, 1) && !residency_admit(&r, s, 2));

	/* An upload, which the client hears of when it begins. */
	CHECK(ask(s, 8, 16, 1, false, &stream_a, &plan) == RESIDENCY_READY && plan.nmoves == 1);
	CHECK(plan.moves[0].off == 8 && plan.moves[0].len == 16 && plan.moves[0].from == HOME &&
	      plan.moves[0].to == 1);
	CHECK(!residency_move_begin(&r, &up, &plan.moves[0], &stream_a));
	CHECK(homes[7] == ARAX_HOME_REPLICA);
	/* Who comes behind it on the stream rides along, another one waits; neither moves it again.
	 */
	CHECK(ask(s, 8, 16, 1, false, &stream_a, &plan) == RESIDENCY_READY);
	CHECK(plan.nmoves == 0 && plan.nrides == 1 && plan.rides[0] == &up);
	CHECK(ask(s, 8, 16, 1, false, &stream_b, &plan) == RESIDENCY_WAIT && plan.nmoves == 0);
	CHECK(storage_missing(s, 0, SIZE, 1) == SIZE - 16);
	/* Around it is free. */
	CHECK(ask(s, 0, SIZE, 1, false, &stream_b, &plan) == RESIDENCY_WAIT && plan.nmoves == 2);
	/* A writer of the range waits for it, unless it comes behind it. */
	CHECK(ask(s, 0, 9, HOME, true, NULL, &plan) == RESIDENCY_WAIT);
	CHECK(ask(s, 8, 16, 1, true, &stream_a, &plan) == RESIDENCY_READY);
	/* One that fails leaves everything as it was. */
	residency_move_end(&r, &up, false);
	CHECK(storage_missing(s, 0, SIZE, 1) == SIZE && homes[7] == 0 && !s->on[1]->proven);
	bring(s, 1);
	CHECK(s->on[1]->proven && homes[7] == ARAX_HOME_REPLICA);

	/* A writer: the others are wrong from its beginning on. */
	use_at(&write, s, 16, 16, 1, true, &stream_a);
	CHECK(homes[7] == (ARAX_HOME_REPLICA | ARAX_HOME_STALE));
	CHECK(storage_missing(s, 0, SIZE, HOME) == 16);
	/* While it runs its range does not leave, and nobody else uses it. */
	CHECK(ask(s, 0, SIZE, HOME, false, NULL, &plan) == RESIDENCY_WAIT && plan.nmoves == 0);
	CHECK(ask(s, 0, 16, HOME, false, NULL, &plan) == RESIDENCY_READY);
	CHECK(ask(s, 16, 1, 2, false, &stream_b, &plan) == RESIDENCY_WAIT && plan.nmoves == 0);
	CHECK(ask(s, 16, 1, 1, false, &stream_b, &plan) == RESIDENCY_READY);
	residency_use_end(&r, &write);
	/* Nor does anybody write elsewhere what is being read. */
	use_at(&write, s, 0, 16, 1, false, &stream_a);
	CHECK(ask(s, 8, 2, HOME, true, NULL, &plan) == RESIDENCY_WAIT);
	CHECK(ask(s, 8, 2, HOME, false, NULL, &plan) == RESIDENCY_READY);
	CHECK(ask(s, 8, 2, 1, true, &stream_b, &plan) == RESIDENCY_READY);
	residency_use_end(&r, &write);

	/* To another device it goes home first. */
	CHECK(ask(s, 0, SIZE, 2, false, &stream_b, &plan) == RESIDENCY_WAIT && plan.nmoves == 3);
	CHECK(plan.moves[0].to == 2 && plan.moves[1].from == 1 && plan.moves[1].to == HOME &&
	      plan.moves[2].to == 2);
	CHECK(!residency_move_begin(&r, &down, &plan.moves[1], NULL));
	CHECK(ask(s, 16, 16, 2, false, &stream_b, &plan) == RESIDENCY_WAIT && plan.nmoves == 0);
	/* Nobody writes at home while it arrives there. */
	CHECK(ask(s, 31, 1, HOME, true, NULL, &plan) == RESIDENCY_WAIT);
	residency_move_end(&r, &down, true);
	CHECK(homes[7] == ARAX_HOME_REPLICA);
	CHECK(ask(s, 0, SIZE, 2, false, &stream_b, &plan) == RESIDENCY_READY && plan.nmoves == 1);
	storage_free(&r, s);
	CHECK(homes[7] == 0 && r.devices[1].used == 0 && r.devices[2].used == 0);
}

static void test_home_writes(void)
{
	struct residency_plan plan;
	struct activity up;
	struct storage *s = make(4096, 3, false, false);
	struct residency_use use = {
	    .storage = s, .off = 0, .len = 32, .place = HOME, .write = true};
	bring(s, 0);
	/* All of it is written: nothing is fetched, and the copy is wrong. */
	CHECK(residency_plan(&use, &plan) == RESIDENCY_READY && !plan.nmoves);
	CHECK(!residency_overwrite(&r, &use));
	CHECK(storage_missing(s, 0, SIZE, 0) == 32);
	/* Copied too early, by somebody whom the application has not ordered: not believed. */
	CHECK(ask(s, 0, 32, 0, false, &stream_a, &plan) == RESIDENCY_READY && plan.nmoves == 1);
	CHECK(!residency_move_begin(&r, &up, &plan.moves[0], &stream_a));
	residency_reassert(&r, &use, true);
	CHECK(ask(s, 0, 32, 0, false, &stream_a, &plan) == RESIDENCY_WAIT && !plan.nrides);
	residency_move_end(&r, &up, true);
	CHECK(storage_missing(s, 0, SIZE, 0) == 32);
	/* Nor is anything copied to where somebody still reads what was there. */
	use_at(&up, s, 0, 32, 0, false, &stream_a);
	CHECK(ask(s, 0, 32, 0, false, &stream_b, &plan) == RESIDENCY_WAIT && !plan.nmoves);
	CHECK(ask(s, 0, 32, 0, false, &stream_a, &plan) == RESIDENCY_READY && plan.nmoves == 1);
	residency_use_end(&r, &up);
	/* Not exact: only what is at home can have been written. */
	bring(s, 0);
	use_at(&up, s, 8, 8, 0, true, &stream_a);
	residency_use_end(&r, &up);
	residency_reassert(&r, &use, false);
	CHECK(storage_missing(s, 0, SIZE, 0) == 24 && storage_missing(s, 0, SIZE, HOME) == 8);
	storage_free(&r, s);
}

static void test_lost(void)
{
	struct residency_plan plan;
	struct activity write, down;
	struct storage *s = make(4096, 3, false, false), *other = make(8192, 4, false, true);
	/* One that begins without contents. */
	CHECK(storage_poisoned(other) && homes[4] == ARAX_HOME_STALE);
	CHECK(ask(other, 0, 1, HOME, false, NULL, &plan) == RESIDENCY_POISONED);

	bring(s, 5);
	use_at(&write, s, 0, 32, 5, true, &stream_a);
	residency_use_end(&r, &write);
	CHECK(ask(s, 0, 16, HOME, false, NULL, &plan) == RESIDENCY_WAIT && plan.nmoves == 1);
	CHECK(!residency_move_begin(&r, &down, &plan.moves[0], NULL));
	residency_lost(&r, 5);
	CHECK(r.devices[5].used == 0 && !s->on[5] && homes[3] & ARAX_HOME_STALE);
	/* What is on its way may still arrive. */
	CHECK(ask(s, 0, 16, HOME, false, NULL, &plan) == RESIDENCY_WAIT && !plan.nmoves);
	CHECK(ask(s, 16, 1, HOME, false, NULL, &plan) == RESIDENCY_POISONED);
	CHECK(ask(s, 32, 32, HOME, false, NULL, &plan) == RESIDENCY_READY);
	residency_move_end(&r, &down, true);
	CHECK(ask(s, 0, 16, HOME, false, NULL, &plan) == RESIDENCY_READY);
	/* Whoever writes all of it makes it good, byte by byte. */
	const struct residency_use use = {
	    .storage = s, .off = 16, .len = 8, .place = HOME, .write = true};
	CHECK(residency_plan(&use, &plan) == RESIDENCY_READY && !residency_overwrite(&r, &use));
	CHECK(ask(s, 0, 24, HOME, false, NULL, &plan) == RESIDENCY_READY);
	CHECK(ask(s, 0, 25, HOME, false, NULL, &plan) == RESIDENCY_POISONED);
	CHECK(storage_poisoned(s));
	storage_free(&r, s);
	storage_free(&r, other);
}

static void test_units(void)
{
	struct residency_use use = {.storage = make(4096, 1, true, false), .off = 4, .len = 8};
	residency_use_whole(&use);
	CHECK(use.off == 0 && use.len == SIZE && use.needs);
	use.needs = false;
	residency_use_whole(&use);
	CHECK(!use.needs);
	storage_free(&r, use.storage);
}

static void test_index(void)
{
	struct storage *s[3], *none = NULL;
	for (unsigned i = 0; i < 3; i++)
		s[i] = make(4096 + (2 - i) * 100, i, false, false);
	CHECK(storage_new(&r, 4096 + 163, 10, 0, false, false, &none) == -17 && !none);
	CHECK(residency_next(&r, NULL, 0, 4096) == NULL);
	CHECK(residency_next(&r, NULL, 0, 4097) == s[2]);
	CHECK(residency_next(&r, s[2], 0, 4097) == NULL);
	CHECK(residency_next(&r, NULL, 4096 + 64, 36) == NULL);
	CHECK(residency_next(&r, NULL, 4096 + 63, 38) == s[2]);
	CHECK(residency_next(&r, s[2], 4096 + 63, 38) == s[1]);
	CHECK(residency_next(&r, s[1], 4096 + 63, 38) == NULL);
	storage_hide(&r, s[1]);
	CHECK(residency_next(&r, s[2], 0, UINT64_MAX) == s[0]);
	for (unsigned i = 0; i < 3; i++)
		storage_free(&r, s[i]);
	CHECK(!r.all && !r.nindex);
}

static void test_victims(void)
{
	struct storage *s[3];
	struct residency_plan plan;
	struct activity write;
	residency_limit(&r, 0, 2 * SIZE + 10);
	for (unsigned i = 0; i < 3; i++) {
		s[i] = make(4096 + i * 100, i, false, false);
		CHECK(residency_room(&r, 0, SIZE) == (i < 2));
		if (i < 2)
			bring(s[i], 0);
	}
	CHECK(r.devices[0].used == 2 * SIZE);
	CHECK(residency_victim(&r, 0, 0, NULL) == s[0]->on[0]);
	/* Used again, so the other one is the older. */
	use_at(&write, s[0], 0, 8, 0, true, &stream_a);
	CHECK(residency_victim(&r, 0, 0, NULL) == s[1]->on[0]);
	CHECK(residency_victim(&r, 0, 0, s[1]->on[0]) == NULL);
	s[1]->mark = 9;
	CHECK(residency_victim(&r, 0, 9, NULL) == NULL);
	residency_use_end(&r, &write);
	CHECK(residency_victim(&r, 0, 9, NULL) == s[0]->on[0]);
	/* It has something of its own. */
	CHECK(replica_dirty(s[0]->on[0]) && !replica_dirty(s[1]->on[0]));
	residency_writeback(s[0]->on[0], &plan);
	CHECK(plan.nmoves == 1 && plan.moves[0].len == 8 && plan.moves[0].to == HOME);
	CHECK(!residency_move_begin(&r, &write, &plan.moves[0], NULL));
	CHECK(residency_victim(&r, 0, 9, NULL) == NULL);
	residency_move_end(&r, &write, true);
	CHECK(!replica_dirty(s[0]->on[0]));
	residency_drop(&r, s[0]->on[0]);
	CHECK(!s[0]->on[0] && r.devices[0].used == SIZE && storage_at_home(s[0]));
	for (unsigned i = 0; i < 3; i++)
		storage_free(&r, s[i]);
	residency_limit(&r, 0, 0);
}

/* ---- the model ------------------------------------------------------------------------------ */

enum { STORAGES = 4, DEVICES = 3, STREAMS = 2, OPS = 40, PLACES = HOME + 1 };

/* A move or a use that goes on: executed in two steps, then ended; in order on its stream. */
struct op {
	struct activity activity; /* first: a ride is its op */
	bool busy, fails, broken, lost;
	unsigned storage, step, stream; /* 0: none */
	uint64_t serial;
	unsigned nafter;
	struct op *after[RESIDENCY_MOVES]; /* moves that it was begun without waiting for */
	uint64_t after_serial[RESIDENCY_MOVES];
	uint8_t expected[SIZE], checked[SIZE];
	uint8_t value[SIZE];
};

static struct {
	struct storage *s;
	uint8_t bytes[PLACES][SIZE];
	uint8_t newest[SIZE];
	uint32_t valid[SIZE]; /* where, counted again */
	bool undefined[SIZE];
	uint64_t writer[SIZE]; /* the last one's serial */
} w[STORAGES];
static struct op ops[OPS];
static const int streams[DEVICES][STREAMS + 1];
static uint64_t seed, serial, begun[4], poisoned;

static unsigned rnd(unsigned n)
{
	return (unsigned)(test_random(&seed) % n);
}

static const void *stream_of(unsigned place, unsigned stream)
{
	return place == HOME || !stream ? NULL : &streams[place][stream];
}

static struct op *op_new(unsigned storage)
{
	for (unsigned i = 0; i < OPS; i++) {
		if (ops[i].busy)
			continue;
		ops[i] = (struct op){
		    .busy = true, .storage = storage, .serial = ++serial, .fails = !rnd(12)};
		return &ops[i];
	}
	return NULL;
}

static struct op *move_begin(unsigned storage, const struct residency_move *move, unsigned stream)
{
	struct op *op = op_new(storage);
	if (!op)
		return NULL;
	op->stream = stream;
	unsigned device = move->to == HOME ? move->from : move->to;
	CHECK(!residency_move_begin(&r, &op->activity, move, stream_of(device, stream)));
	begun[0]++;
	return op;
}

/* Does the application order these two? At one place it must, or it has no right to expect. */
static bool at_odds(unsigned storage, uint64_t off, uint64_t len, unsigned place, bool write,
		    unsigned stream)
{
	for (unsigned i = 0; i < OPS; i++) {
		const struct activity *a = &ops[i].activity;
		if (!ops[i].busy || a->move || ops[i].storage != storage || a->to != place)
			continue;
		if (a->off < off + len && off < a->off + a->len && (a->write || write) &&
		    !(stream && ops[i].stream == stream))
			return true;
	}
	return false;
}

static void snapshot(struct op *op, bool write)
{
	const struct activity *a = &op->activity;
	unsigned s = op->storage;
	for (uint64_t i = a->off; i < a->off + a->len; i++) {
		op->expected[i] = w[s].newest[i];
		op->checked[i] = !w[s].undefined[i];
		if (!write)
			continue;
		op->value[i] = (uint8_t)rnd(256);
		w[s].newest[i] = op->value[i];
		w[s].undefined[i] = false;
		w[s].writer[i] = op->serial;
		w[s].valid[i] = RESIDENCY_BIT(a->to);
	}
}

static void use_begin(void)
{
	unsigned s = rnd(STORAGES), place = rnd(DEVICES + 1);
	place = place == DEVICES ? HOME : place;
	unsigned stream = place == HOME ? 0 : 1 + rnd(STREAMS);
	uint64_t off = rnd(SIZE), len = 1 + rnd(SIZE - (unsigned)off);
	struct residency_use use = {.storage = w[s].s,
				    .off = off,
				    .len = len,
				    .place = (uint8_t)place,
				    .write = rnd(2),
				    .needs = true,
				    .stream = stream_of(place, stream)};
	struct residency_plan plan;
	struct op *moves[RESIDENCY_MOVES], *op;
	if (place == HOME && use.write)
		use.needs = rnd(2);
	residency_use_whole(&use);
	if (at_odds(s, use.off, use.len, place, use.write, stream))
		return;
	if (place != HOME && !w[s].s->on[place]) {
		if (!residency_room(&r, place, SIZE))
			return;
		CHECK(!residency_admit(&r, w[s].s, place));
	}
	enum residency_answer answer = residency_plan(&use, &plan);
	bool nowhere = false;
	for (uint64_t i = use.off; i < use.off + use.len; i++)
		nowhere |= !w[s].valid[i];
	if (answer == RESIDENCY_POISONED) {
		CHECK(nowhere && use.needs);
		poisoned++;
		return;
	}
	for (unsigned i = 0; i < plan.nmoves; i++) {
		moves[i] = move_begin(s, &plan.moves[i], plan.moves[i].to == place ? stream : 0);
		if (!moves[i])
			return;
	}
	CHECK(!(answer == RESIDENCY_READY && nowhere && use.needs));
	if (answer != RESIDENCY_READY || !(op = op_new(s)))
		return;
	op->stream = stream;
	for (unsigned i = 0; i < plan.nmoves; i++)
		op->after[op->nafter++] = moves[i];
	for (unsigned i = 0; i < plan.nrides && op->nafter < RESIDENCY_MOVES; i++)
		op->after[op->nafter++] = (struct op *)plan.rides[i];
	CHECK(plan.nmoves + plan.nrides <= RESIDENCY_MOVES);
	for (unsigned i = 0; i < op->nafter; i++)
		op->after_serial[i] = op->after[i]->serial;
	CHECK(!residency_use_begin(&r, &op->activity, &use));
	residency_use_given(&r, &op->activity);
	begun[use.write ? 1 : 2]++;
	snapshot(op, use.write);
	if (!use.needs)
		memset(op->checked, 0, sizeof(op->checked));
}

/* Something went wrong with a byte that a use wrote: those after it have no right to expect. */
static void spoil(struct op *op, uint64_t at)
{
	unsigned s = op->storage;
	if (w[s].writer[at] == op->serial)
		w[s].undefined[at] = true;
	for (unsigned i = 0; i < OPS; i++) {
		if (ops[i].busy && ops[i].storage == s && ops[i].serial > op->serial)
			ops[i].checked[at] = false;
	}
}

/* Half of what it does. */
static void execute(struct op *op)
{
	struct activity *a = &op->activity;
	unsigned s = op->storage;
	uint64_t half = a->len / 2, from = a->off + (op->step ? half : 0);
	uint64_t to = op->step ? a->off + a->len : a->off + half;
	for (uint64_t i = from; i < to; i++) {
		uint8_t *there = &w[s].bytes[a->to][i];
		if (op->lost)
			continue;
		if (a->move) {
			*there = op->fails && rnd(2) ? (uint8_t)rnd(256) : w[s].bytes[a->from][i];
			continue;
		}
		if (!op->broken && op->checked[i])
			CHECK(*there == op->expected[i]);
		if (!a->write)
			continue;
		bool spoilt = op->broken || op->fails;
		if (spoilt)
			spoil(op, i);
		*there = spoilt ? (uint8_t)rnd(256) : op->value[i];
	}
}

static void end(struct op *op)
{
	struct activity *a = &op->activity;
	if (!a->move) {
		residency_use_end(&r, a);
	} else {
		bool ok = !op->fails;
		for (unsigned i = 0; i < OPS; i++) {
			for (unsigned n = 0; ops[i].busy && n < ops[i].nafter; n++) {
				if (ops[i].after[n] == op && ops[i].after_serial[n] == op->serial)
					ops[i].broken |= !ok;
			}
		}
		for (uint64_t i = a->off; ok && !a->spoiled && i < a->off + a->len; i++)
			w[op->storage].valid[i] |= RESIDENCY_BIT(a->to);
		residency_move_end(&r, a, ok);
	}
	op->busy = false;
}

static unsigned device_of(const struct activity *a)
{
	return a->to == HOME ? a->from : a->to;
}

static void go_on(void)
{
	struct op *op = &ops[rnd(OPS)];
	if (!op->busy)
		return;
	/* The oldest of its stream. */
	for (unsigned i = 0; op->stream && i < OPS; i++) {
		if (ops[i].busy && ops[i].stream == op->stream &&
		    device_of(&ops[i].activity) == device_of(&op->activity) &&
		    ops[i].serial < op->serial)
			op = &ops[i];
	}
	if (op->step == 2) {
		end(op);
		return;
	}
	execute(op);
	op->step++;
}

static void evict(void)
{
	unsigned device = rnd(DEVICES);
	struct replica *replica = residency_victim(&r, device, 0, NULL);
	struct residency_plan plan;
	if (!replica)
		return;
	unsigned s = 0;
	while (w[s].s != replica->storage)
		s++;
	for (unsigned i = 0; i < OPS; i++)
		CHECK(!ops[i].busy || ops[i].activity.replica != replica);
	residency_writeback(replica, &plan);
	CHECK((plan.nmoves != 0) == replica_dirty(replica));
	for (unsigned i = 0; i < plan.nmoves; i++)
		move_begin(s, &plan.moves[i], 0);
	if (plan.nmoves)
		return;
	for (unsigned i = 0; i < SIZE; i++)
		w[s].valid[i] &= ~RESIDENCY_BIT(device);
	memset(w[s].bytes[device], 0xEE, SIZE);
	residency_drop(&r, replica);
	begun[3]++;
}

static void lose(void)
{
	unsigned device = rnd(DEVICES);
	residency_lost(&r, device);
	CHECK(!r.devices[device].used && !r.devices[device].first);
	for (unsigned s = 0; s < STORAGES; s++) {
		for (unsigned i = 0; i < SIZE; i++)
			w[s].valid[i] &= ~RESIDENCY_BIT(device);
		memset(w[s].bytes[device], 0xDD, SIZE);
	}
	/* Everything comes back from there, but nothing of it has been done. */
	for (unsigned i = 0; i < OPS; i++) {
		if (!ops[i].busy || device_of(&ops[i].activity) != device)
			continue;
		ops[i].fails = ops[i].lost = true;
		for (unsigned n = 0; n < SIZE; n++)
			ops[i].checked[n] = false;
	}
}

static void compare(void)
{
	uint64_t used[DEVICES] = {0};
	for (unsigned s = 0; s < STORAGES; s++) {
		const struct storage *storage = w[s].s;
		uint8_t flags = 0;
		for (uint32_t n = 0; n < storage->nsegments; n++) {
			uint64_t last =
			    n + 1 < storage->nsegments ? storage->segments[n + 1].begin : SIZE;
			CHECK(storage->segments[n].begin < last);
			CHECK(!n || storage->segments[n].valid != storage->segments[n - 1].valid);
			for (uint64_t i = storage->segments[n].begin; i < last; i++)
				CHECK(storage->segments[n].valid == w[s].valid[i]);
		}
		for (unsigned i = 0; i < SIZE; i++) {
			flags |= w[s].valid[i] & RESIDENCY_BIT(HOME) ? 0 : ARAX_HOME_STALE;
			flags |= w[s].valid[i] & ~RESIDENCY_BIT(HOME) ? ARAX_HOME_REPLICA : 0;
		}
		for (const struct activity *a = storage->active; a; a = a->next)
			flags |= a->move ? ARAX_HOME_REPLICA : 0;
		CHECK(homes[s] == flags);
		for (unsigned d = 0; d < DEVICES; d++)
			used[d] += storage->on[d] ? SIZE : 0;
	}
	for (unsigned d = 0; d < DEVICES; d++)
		CHECK(r.devices[d].used == used[d] && used[d] <= r.devices[d].limit);
}

/* Nothing goes on: every copy that counts is right. */
static void compare_bytes(void)
{
	for (unsigned s = 0; s < STORAGES; s++) {
		for (unsigned p = 0; p < PLACES; p++) {
			for (unsigned i = 0; i < SIZE; i++)
				CHECK(!(w[s].valid[i] >> p & 1) || w[s].undefined[i] ||
				      w[s].bytes[p][i] == w[s].newest[i]);
		}
	}
}

static bool anything(void)
{
	for (unsigned i = 0; i < OPS; i++) {
		if (ops[i].busy)
			return true;
	}
	return false;
}

static void test_model(uint64_t from, bool losses)
{
	seed = from;
	for (unsigned s = 0; s < STORAGES; s++) {
		memset(&w[s], 0, sizeof(w[s]));
		w[s].s = make(4096 + s * SIZE, s, s == STORAGES - 1, false);
		for (unsigned i = 0; i < SIZE; i++)
			w[s].valid[i] = RESIDENCY_BIT(HOME);
	}
	for (unsigned d = 0; d < DEVICES; d++)
		residency_limit(&r, d, (d + 1) * SIZE);
	for (unsigned step = 0; step < 20000; step++) {
		unsigned what = rnd(100);
		if (what < 30)
			use_begin();
		else if (what < 40)
			evict();
		else if (losses && what == 99 && !rnd(20))
			lose();
		else
			go_on();
		compare();
		if (step % 500)
			continue;
		while (anything())
			go_on();
		compare();
		compare_bytes();
	}
	while (anything())
		go_on();
	for (unsigned s = 0; s < STORAGES; s++)
		storage_free(&r, w[s].s);
	CHECK(!r.all && !r.nindex);
}

/* Many pieces: they are joined where only copies are lost by that. */
static void test_pieces(void)
{
	struct storage *s;
	struct activity a;
	CHECK(!storage_new(&r, 4096, 1 << 20, 0, false, false, &s));
	CHECK(!residency_admit(&r, s, 0));
	for (unsigned i = 0; i < 20000; i++) {
		const struct residency_move move = {
		    .storage = s, .off = i * 8, .len = 4, .from = HOME, .to = 0};
		CHECK(!residency_move_begin(&r, &a, &move, NULL));
		residency_move_end(&r, &a, true);
		CHECK(s->nsegments <= 1100);
	}
	CHECK(storage_missing(s, 0, 1 << 20, HOME) == 0 && homes[0] == ARAX_HOME_REPLICA);
	storage_free(&r, s);
}

int main(void)
{
	residency_init(&r, homes);
	test_moves();
	test_home_writes();
	test_lost();
	test_units();
	test_index();
	test_victims();
	test_pieces();
	for (uint64_t i = 0; i < 20; i++)
		test_model(1000 + i, i % 2);
	CHECK(begun[0] > 1000 && begun[1] > 1000 && begun[2] > 1000 && begun[3] > 100);
	CHECK(poisoned > 10);
	residency_exit(&r);
	printf("moves %llu, writes %llu, reads %llu, evictions %llu, poisoned %llu\n",
	       (unsigned long long)begun[0], (unsigned long long)begun[1],
	       (unsigned long long)begun[2], (unsigned long long)begun[3],
	       (unsigned long long)poisoned);
	return 0;
}
