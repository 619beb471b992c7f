/* SPDX-License-Identifier: Apache-2.0
 *
 * Who uses which ranges of memory: the search for conflicts between the commands of one queue
 * (scheduler/graph.c). A set of uses, each a range, read or written, of one command that has not
 * ended. Asked for a further use it names those that conflict with it, and then takes it in; what
 * the new one hides from all that come later is forgotten, so that a command is found by its next
 * conflict only, however many are in flight.
 *
 * A treap by the ranges' begins, with the farthest ends below each use: a question costs the
 * logarithm of the number of uses, and as many steps as there are conflicts.
 *
 * Threads: one.
 */
#ifndef ARAX_SCHEDULER_RANGES_H
#define ARAX_SCHEDULER_RANGES_H

#include <stdbool.h>
#include <stdint.h>

/* One use. Lives in the caller's memory. */
struct range_use {
	uint64_t begin, end; /* [begin, end), not empty */
	bool write;
	uint32_t priority; /* above its children's */
	uint32_t epoch;	   /* of the set when it was taken in; 0: in none, or hidden */
	void *user;
	struct range_use *up, *left, *right;
	uint64_t farthest, farthest_write; /* end of those below it and itself; may be too far */
	struct range_use *next;		   /* the caller's */
};

struct ranges {
	struct range_use *root;
	uint32_t epoch;
	uint32_t random;
};

/** ranges_init() - an empty set; zeroed memory is none. */
void ranges_init(struct ranges *ranges);

/** ranges_forget() - empties the set, at once however large it is. */
void ranges_forget(struct ranges *ranges);

/**
 * ranges_find() - what conflicts with a use of [begin, end)
 * @found: filled with up to @max uses, in no particular order
 *
 * Two uses conflict when they overlap and one of them writes.
 *
 * Return: how many there are; @max + 1 when there are more.
 */
unsigned ranges_find(const struct ranges *ranges, uint64_t begin, uint64_t end, bool write,
		     struct range_use **found, unsigned max);

/**
 * ranges_add() - take a use in (begin, end, write, user are set)
 * @found, @nfound: what ranges_find() said about it just now, all of it
 *
 * When it writes, the found ones are forgotten as far as it covers them: who conflicts with them
 * there conflicts with the new one, which comes after them.
 */
void ranges_add(struct ranges *ranges, struct range_use *use, struct range_use **found,
		unsigned nfound);

/** ranges_remove() - a use ends; harmless when it is hidden or forgotten. */
void ranges_remove(struct ranges *ranges, struct range_use *use);

#endif
