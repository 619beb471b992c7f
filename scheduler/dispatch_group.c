/* SPDX-License-Identifier: Apache-2.0
 *
 * The size of work-groups where the application left it open. PoCL's own choice may exceed the
 * limit that the virtual device reports, so the tenant chooses: groups must divide the range, be
 * large (a group is what PoCL schedules), multiples of 8 in the first dimension (it vectorises
 * along it), and at least two per core where several cores share the launch.
 */
#include "scheduler/dispatch_internal.h"

#define SIMD 8

/* The largest divisor of n up to cap; a multiple of 8 if there is one at least half as large. */
static size_t divisor(size_t n, size_t cap)
{
	size_t best = 0;
	if (cap > n)
		cap = n;
	for (size_t d = cap; d > 1; d--) {
		if (best && d < (best + 1) / 2)
			break;
		if (n % d)
			continue;
		if (d % SIMD == 0)
			return d;
		if (!best)
			best = d;
	}
	return best ? best : 1;
}

void group_choose(const size_t global[3], unsigned dims, unsigned parallel, size_t max,
		  size_t local[3])
{
	size_t total = 1, left = max;
	for (unsigned i = 0; i < dims; i++) {
		/* Beyond this the number does not matter any more. */
		total = global[i] > SIZE_MAX / 2 / total ? SIZE_MAX / 2 : total * global[i];
	}
	if (parallel > 1) {
		size_t share = total / ((size_t)2 * parallel);
		if (share < left)
			left = share > SIMD ? share : SIMD;
		if (left > max)
			left = max;
	}
	for (unsigned i = 0; i < 3; i++) {
		local[i] = i < dims ? divisor(global[i], left) : 1;
		left /= local[i];
		if (!left)
			left = 1;
	}
}
