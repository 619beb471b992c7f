/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts bytes: adds to histogram[v], of 256 elements, how often v is among n of them. Work-items
 * share them, however many there are. One dimension.
 */
kernel void arax_histogram_uint8(global uint *histogram, global const uchar *in, uint n)
{
	local uint counts[256];

	for (size_t i = get_local_id(0); i < 256; i += get_local_size(0))
		counts[i] = 0;
	barrier(CLK_LOCAL_MEM_FENCE);
	for (size_t i = get_global_id(0); i < n; i += get_global_size(0))
		atomic_inc(&counts[in[i]]);
	barrier(CLK_LOCAL_MEM_FENCE);
	for (size_t i = get_local_id(0); i < 256; i += get_local_size(0))
		if (counts[i])
			atomic_add(&histogram[i], counts[i]);
}
