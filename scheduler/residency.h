/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the contents of memory objects are. A storage is an object's range of the arena (parts of
 * buffers and other views lie in the storage of their parent); for each of its bytes is known at
 * which places the newest contents are: at home, which is the arena, and in the memory of each
 * discrete device. Bytes that are nowhere died with a device: they are poisoned until something
 * writes them again.
 *
 * This file knows neither commands nor queues, and moves nothing itself: it says what has to be
 * moved before a range can be used somewhere (residency_plan()), is told when a move or a use
 * begins and ends, and so also knows what may not be done at the same time:
 *
 *   - Two moves never go to the same bytes of a place at once: who wants the same waits for it.
 *   - What is written is not being moved, but for moves that come before on the writer's stream.
 *   - Uses of the same bytes at different places exclude each other when one of them writes.
 *
 * Commands that the application has ordered never wait for each other here; those that it has not,
 * although they touch the same bytes, do, and so every one of them works on what it should.
 *
 * What a use writes is valid there alone from when it was given to whoever executes it, which is
 * after its beginning: one that was refused has changed nothing, even when what was on its way
 * there for it never arrives. When it fails its range has no defined contents, but is not poisoned.
 * A use needs its range to be valid where it is (unless it writes every byte), so one that was
 * given and never ran has spoiled nothing.
 *
 * Threads: the dispatch thread only.
 */
#ifndef ARAX_SCHEDULER_RESIDENCY_H
#define ARAX_SCHEDULER_RESIDENCY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define RESIDENCY_DEVICES 16u
#define RESIDENCY_HOME RESIDENCY_DEVICES /* the place behind the devices */
#define RESIDENCY_BIT(place) (1u << (place))

struct storage;

/* A storage in the memory of a device. */
struct replica {
	struct storage *storage;
	struct replica *prev, *next; /* of the device, the one not used for longest first */
	uint32_t pins;		     /* uses, and who is about to use it */
	uint32_t moves;		     /* to and from it */
	uint8_t device;
	bool proven; /* something was copied there: the memory does exist */
	bool gone;   /* its device is lost, or it was dropped */
	uint8_t failures;
};

/* A move or a use that has begun; memory of the caller's. */
struct activity {
	struct activity *prev, *next; /* of the storage */
	struct storage *storage;
	struct replica *replica; /* at the device that takes part; NULL for uses at home */
	uint64_t off, len;	 /* in the storage */
	uint8_t from, to;	 /* places; of a use: both where it is */
	bool move, write;
	bool spoiled;	    /* a move: what arrives is not what it should be any more */
	const void *stream; /* keeps the order of what has the same; NULL: nothing does */
};

struct segment {
	uint64_t begin; /* the end is where the next one begins */
	uint32_t valid; /* RESIDENCY_BIT() of each place; 0: poisoned */
};

struct storage {
	struct storage *prev, *next; /* all of them */
	uint64_t off, size;	     /* in the arena */
	uint32_t home;		     /* its byte of arax_shm.home, or ARAX_NO_HOME */
	uint8_t flags;		     /* what is there */
	bool unit;		     /* moves as a whole: images */
	bool indexed;		     /* residency_next() finds it */
	uint32_t nsegments, room;
	struct segment *segments;
	struct activity *active;
	uint32_t nactive;
	uint32_t mark; /* of the caller */
	struct replica *on[RESIDENCY_DEVICES];
	void *owner, *waiters; /* of the caller */
};

static inline uint64_t storage_segment_end(const struct storage *s, uint32_t i)
{
	return i + 1 < s->nsegments ? s->segments[i + 1].begin : s->size;
}

/* The segment that holds a byte. */
static inline uint32_t storage_segment(const struct storage *s, uint64_t at)
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

struct residency {
	struct storage *all;
	struct storage **index; /* by offset; no two overlap */
	uint32_t nindex, index_room;
	_Atomic uint8_t *homes; /* arax_shm.home, or NULL */
	struct residency_device {
		struct replica *first, *last;
		uint64_t limit, used; /* bytes; limit 0: not known */
	} devices[RESIDENCY_DEVICES];
};

/** activity_overlaps() - does it have to do with bytes of this range? */
static inline bool activity_overlaps(const struct activity *a, uint64_t off, uint64_t len)
{
	return a->off < off + len && off < a->off + a->len;
}

void residency_init(struct residency *r, _Atomic uint8_t *homes);

/** residency_exit() - frees the index; the storages are their owners'. */
void residency_exit(struct residency *r);

/**
 * storage_new() - all of it at home, or, with lost, nowhere
 * @off, @size: range of the arena
 * @home: index of its byte in arax_shm.home or ARAX_NO_HOME
 * @unit: moves as a whole
 * Return: 0, -ENOMEM, or -EEXIST when it overlaps another one.
 */
int storage_new(struct residency *r, uint64_t off, uint64_t size, uint32_t home, bool unit,
		bool lost, struct storage **storage);

/** storage_free() - nothing of it may be active. Its replicas are dropped. */
void storage_free(struct residency *r, struct storage *s);

/** storage_hide() - its range may come to belong to somebody else; only who has it uses it on. */
void storage_hide(struct residency *r, struct storage *s);

/** residency_next() - the first storage behind @after (NULL: at all) with bytes of the range. */
struct storage *residency_next(const struct residency *r, const struct storage *after, uint64_t off,
			       uint64_t len);

/** storage_at_home() - all of it is at home and nowhere else, and nothing goes on. */
static inline bool storage_at_home(const struct storage *s)
{
	return !s->flags && !s->active;
}

/** storage_missing() - bytes of a range that are neither at a place nor on their way there. */
uint64_t storage_missing(const struct storage *s, uint64_t off, uint64_t len, unsigned place);

/** storage_poisoned() - is any byte of it? */
bool storage_poisoned(const struct storage *s);

/* Something that is to use a range at a place. */
struct residency_use {
	struct storage *storage;
	uint64_t off, len;
	uint8_t place;
	bool write;	    /* it may write there */
	bool needs;	    /* the contents from before; false: it writes every byte */
	const void *stream; /* devices: where it will be executed */
};

/** residency_use_whole() - a range of what moves as a whole becomes all of it. */
void residency_use_whole(struct residency_use *use);

#define RESIDENCY_MOVES 32
struct residency_move {
	struct storage *storage;
	uint64_t off, len;
	uint8_t from, to; /* one of them is home */
};

/* What has to be done before a use. */
struct residency_plan {
	unsigned nmoves, nrides;
	struct residency_move moves[RESIDENCY_MOVES];
	/* Moves in progress, on the use's own stream, without which it would see other things. */
	struct activity *rides[RESIDENCY_MOVES];
};

enum residency_answer {
	RESIDENCY_READY, /* begin the moves, then the use on its stream */
	RESIDENCY_WAIT,	 /* begin the moves; ask again when something of this storage has ended */
	RESIDENCY_POISONED,
};

/** residency_plan() - moves to the place of the use are to go on its stream. */
enum residency_answer residency_plan(const struct residency_use *use, struct residency_plan *plan);

/** residency_move_begin() - Return: 0, or -ENOMEM, and nothing has changed. */
int residency_move_begin(struct residency *r, struct activity *a, const struct residency_move *move,
			 const void *stream);
/** residency_move_end() - one that is not ok leaves things as they were. */
void residency_move_end(struct residency *r, struct activity *a, bool ok);

/** residency_use_begin() - one that residency_plan() found ready. Return: 0 or -ENOMEM. */
int residency_use_begin(struct residency *r, struct activity *a, const struct residency_use *use);
/** residency_use_given() - it will be executed, or has been: what it writes is newest there. */
void residency_use_given(struct residency *r, struct activity *a);
void residency_use_end(struct residency *r, struct activity *a);

/** residency_overwrite() - as a use at home that writes, over in a moment. Return: 0 or -ENOMEM. */
int residency_overwrite(struct residency *r, const struct residency_use *use);

/**
 * residency_reassert() - something outside has just finished to write a range at home, which began
 * with residency_overwrite(): whatever was copied from there meanwhile is not to be trusted.
 * @exact: it has written every byte: this and nothing else is what is newest
 */
void residency_reassert(struct residency *r, const struct residency_use *use, bool exact);

/* Memory of devices. */

/** residency_limit() - how many bytes a device has for us; 0: not known. */
void residency_limit(struct residency *r, unsigned device, uint64_t bytes);

static inline bool residency_room(const struct residency *r, unsigned device, uint64_t bytes)
{
	const struct residency_device *d = &r->devices[device];
	return !d->limit || (bytes <= d->limit && d->used <= d->limit - bytes);
}

/** residency_admit() - a storage gets memory on a device. Return: 0 or -ENOMEM. */
int residency_admit(struct residency *r, struct storage *s, unsigned device);

void replica_pin(struct residency *r, struct replica *replica);
void replica_unpin(struct replica *replica);

/**
 * residency_victim() - of a device's storages that are not in use the one not used for longest
 * @mark: not one with this mark
 * @after: the last answer, to go on behind it, or NULL
 */
struct replica *residency_victim(const struct residency *r, unsigned device, uint32_t mark,
				 const struct replica *after);

/** residency_writeback() - the moves after which a replica is needed no more; none: it is not. */
void residency_writeback(const struct replica *replica, struct residency_plan *plan);

/** replica_dirty() - is something there and nowhere else? */
bool replica_dirty(const struct replica *replica);

/** residency_drop() - of a replica that is not in use and without which nothing is lost. */
void residency_drop(struct residency *r, struct replica *replica);

/** residency_lost() - a device is lost: what was only there is poisoned. */
void residency_lost(struct residency *r, unsigned device);

#endif
