/* SPDX-License-Identifier: Apache-2.0
 *
 * Sums: each work-group leaves the sum of a share of the elements in result[its number]; the shares
 * are disjoint and together everything. One work-group gives the sum itself. One dimension.
 */
#define ARAX_REDUCE_ITEMS 256

#define ARAX_REDUCE(name, type)                                                                    \
	kernel void name(global type *result, global const type *in, uint n)                       \
	{                                                                                          \
		local type part[ARAX_REDUCE_ITEMS];                                                \
		size_t items = min(get_local_size(0), (size_t)ARAX_REDUCE_ITEMS);                  \
		size_t item = get_local_id(0), step = items * get_num_groups(0);                   \
		type sum = 0;                                                                      \
                                                                                                   \
		if (item < items) {                                                                \
			for (size_t i = get_group_id(0) * items + item; i < n; i += step)          \
				sum += in[i];                                                      \
			part[item] = sum;                                                          \
		}                                                                                  \
		barrier(CLK_LOCAL_MEM_FENCE);                                                      \
		if (item == 0) {                                                                   \
			for (size_t i = 1; i < items; i++)                                         \
				sum += part[i];                                                    \
			result[get_group_id(0)] = sum;                                             \
		}                                                                                  \
	}

ARAX_REDUCE(arax_reduce_sum_float, float)
ARAX_REDUCE(arax_reduce_sum_uint, uint)
