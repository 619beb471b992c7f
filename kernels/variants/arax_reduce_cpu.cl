/* SPDX-License-Identifier: Apache-2.0
 *
 * arax_reduce_sum_* for CPUs, where a work-group is one thread: its first work-item adds up the
 * group's share, which lies in one piece, in vectors; the others do nothing.
 */
#define ARAX_REDUCE(name, type)                                                                    \
	kernel void name(global type *result, global const type *in, uint n)                       \
	{                                                                                          \
		ulong group = get_group_id(0), groups = get_num_groups(0);                         \
		ulong i = n * group / groups, end = n * (group + 1) / groups;                      \
		type##8 s0 = 0, s1 = 0, s2 = 0, s3 = 0;                                            \
		type sum;                                                                          \
                                                                                                   \
		if (get_local_id(0))                                                               \
			return;                                                                    \
		for (; i + 32 <= end; i += 32) {                                                   \
			s0 += vload8(0, in + i);                                                   \
			s1 += vload8(1, in + i);                                                   \
			s2 += vload8(2, in + i);                                                   \
			s3 += vload8(3, in + i);                                                   \
		}                                                                                  \
		s0 = (s0 + s1) + (s2 + s3);                                                        \
		sum = ((s0.s0 + s0.s1) + (s0.s2 + s0.s3)) + ((s0.s4 + s0.s5) + (s0.s6 + s0.s7));   \
		for (; i < end; i++)                                                               \
			sum += in[i];                                                              \
		result[group] = sum;                                                               \
	}

ARAX_REDUCE(arax_reduce_sum_float, float)
ARAX_REDUCE(arax_reduce_sum_uint, uint)
