/* SPDX-License-Identifier: Apache-2.0
 *
 * Prefix sums: out[i] is the sum of all in[j] with j < i (exclusive) or j <= i (inclusive), modulo
 * 2^32; out may be in. The first work-group does it all, so one is enough. One dimension.
 */
#define ARAX_SCAN_ITEMS 256

/* Where an item's piece begins; rounding leaves no element out. */
static size_t arax_scan_begin(size_t item, size_t items, uint n)
{
	return (size_t)((ulong)n * item / items);
}

#define ARAX_SCAN(name, inclusive)                                                                 \
	kernel void name(global uint *out, global const uint *in, uint n)                          \
	{                                                                                          \
		local uint part[ARAX_SCAN_ITEMS];                                                  \
		size_t items = min(get_local_size(0), (size_t)ARAX_SCAN_ITEMS);                    \
		size_t item = get_local_id(0);                                                     \
		bool mine = get_group_id(0) == 0 && item < items;                                  \
		size_t begin = mine ? arax_scan_begin(item, items, n) : 0;                         \
		size_t end = mine ? arax_scan_begin(item + 1, items, n) : 0;                       \
		uint sum = 0;                                                                      \
                                                                                                   \
		for (size_t i = begin; i < end; i++)                                               \
			sum += in[i];                                                              \
		if (item < items)                                                                  \
			part[item] = sum;                                                          \
		barrier(CLK_LOCAL_MEM_FENCE);                                                      \
		sum = 0;                                                                           \
		for (size_t i = 0; mine && i < item; i++)                                          \
			sum += part[i];                                                            \
		for (size_t i = begin; i < end; i++) {                                             \
			uint value = in[i];                                                        \
                                                                                                   \
			out[i] = inclusive ? sum + value : sum;                                    \
			sum += value;                                                              \
		}                                                                                  \
	}

ARAX_SCAN(arax_scan_exclusive_uint, false)
ARAX_SCAN(arax_scan_inclusive_uint, true)
