/* SPDX-License-Identifier: Apache-2.0
 *
 * Conflicts between uses of memory, see ranges.h.
 */
#include "scheduler/ranges.h"

#include <assert.h>
#include <stddef.h>

struct question {
	uint64_t begin, end;
	bool write;
	struct range_use **found;
	unsigned n, max;
};

void ranges_init(struct ranges *ranges)
{
	*ranges = (struct ranges){.epoch = 1, .random = 0x9E3779B9u};
}

void ranges_forget(struct ranges *ranges)
{
	ranges->root = NULL;
	if (++ranges->epoch == 0)
		ranges->epoch = 1;
}

static uint64_t reach(const struct range_use *use, bool write)
{
	return write ? use->farthest : use->farthest_write;
}

/* To the left by recursion, whose depth is the logarithm of the size; to the right in the loop. */
static void find(struct range_use *use, struct question *q)
{
	while (use && q->n <= q->max && reach(use, q->write) > q->begin) {
		find(use->left, q);
		if (use->begin >= q->end)
			return;
		if (use->end > q->begin && (q->write || use->write)) {
			if (q->n < q->max)
				q->found[q->n] = use;
			q->n++;
		}
		use = use->right;
	}
}

unsigned ranges_find(const struct ranges *ranges, uint64_t begin, uint64_t end, bool write,
		     struct range_use **found, unsigned max)
{
	struct question q = {
	    .begin = begin, .end = end, .write = write, .found = found, .max = max};

	assert(begin < end);
	find(ranges->root, &q);
	return q.n > max ? max + 1 : q.n;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void measure(struct range_use *use)
{
	use->farthest = use->end;
	use->farthest_write = use->write ? use->end : 0;
	for (int side = 0; side < 2; side++) {
		const struct range_use *child = side ? use->right : use->left;

		if (!child)
			continue;
		use->farthest = later(use->farthest, child->farthest);
		use->farthest_write = later(use->farthest_write, child->farthest_write);
	}
}

static struct range_use **place_of(struct ranges *ranges, const struct range_use *use)
{
	if (!use->up)
		return &ranges->root;
	return use->up->left == use ? &use->up->left : &use->up->right;
}

/* A use goes up, above the one that was above it. */
static void rotate(struct ranges *ranges, struct range_use *use)
{
	struct range_use *down = use->up, **place = place_of(ranges, down), *middle;

	if (down->left == use) {
		middle = down->left = use->right;
		use->right = down;
	} else {
		middle = down->right = use->left;
		use->left = down;
	}
	if (middle)
		middle->up = down;
	use->up = down->up;
	down->up = use;
	*place = use;
	measure(down);
	measure(use);
}

static void insert(struct ranges *ranges, struct range_use *use)
{
	struct range_use **place = &ranges->root, *up = NULL;

	/* xorshift */
	ranges->random ^= ranges->random << 13;
	ranges->random ^= ranges->random >> 17;
	ranges->random ^= ranges->random << 5;
	use->priority = ranges->random;
	use->epoch = ranges->epoch;
	use->left = use->right = NULL;
	while (*place) {
		up = *place;
		up->farthest = later(up->farthest, use->end);
		if (use->write)
			up->farthest_write = later(up->farthest_write, use->end);
		place = use->begin < up->begin ? &up->left : &up->right;
	}
	*place = use;
	use->up = up;
	measure(use);
	while (use->up && use->up->priority < use->priority)
		rotate(ranges, use);
}

void ranges_remove(struct ranges *ranges, struct range_use *use)
{
	if (use->epoch != ranges->epoch) {
		use->epoch = 0;
		return;
	}
	use->epoch = 0;
	while (use->left && use->right)
		rotate(ranges, use->left->priority > use->right->priority ? use->left : use->right);
	struct range_use *child = use->left ? use->left : use->right, *up = use->up;
	*place_of(ranges, use) = child;
	if (child)
		child->up = up;
	/* Higher up the ends may be too far now; that costs a step, not an answer. */
	if (up)
		measure(up);
}

/* The new use takes the place of one that it covers. */
static void replace(struct ranges *ranges, struct range_use *old, struct range_use *use)
{
	*place_of(ranges, old) = use;
	use->up = old->up;
	use->left = old->left;
	use->right = old->right;
	use->priority = old->priority;
	use->epoch = old->epoch;
	old->epoch = 0;
	if (use->left)
		use->left->up = use;
	if (use->right)
		use->right->up = use;
	measure(use);
}

/* Old and new are the same range: nothing above changes but, perhaps, that it is written now. */
static bool same(const struct range_use *old, const struct range_use *use)
{
	return old->begin == use->begin && old->end == use->end && old->write == use->write;
}

/* What stays of a use that the new one does not cover whole. One that sticks out on both sides
 * stays as it is: it will be found where it need not be, and has ended by then or is waited for
 * twice. All that begin inside the new range were found, so the order of begins stays. */
static void trim(struct range_use *old, const struct range_use *use)
{
	if (old->begin < use->begin && old->end > use->end)
		return;
	if (old->begin < use->begin)
		old->end = use->begin;
	else
		old->begin = use->end;
}

void ranges_add(struct ranges *ranges, struct range_use *use, struct range_use **found,
		unsigned nfound)
{
	if (nfound == 1 && use->write && same(found[0], use)) {
		replace(ranges, found[0], use);
		return;
	}
	for (unsigned i = 0; i < nfound && use->write; i++) {
		struct range_use *old = found[i];

		if (old->begin >= use->begin && old->end <= use->end)
			ranges_remove(ranges, old);
		else
			trim(old, use);
	}
	insert(ranges, use);
}
