/* SPDX-License-Identifier: Apache-2.0
 *
 * arax_conv2d_float for CPUs, where a work-group is one thread: its first work-item does whole rows,
 * 16 pixels at a time where all of the filter lies within the picture's columns; the others do
 * nothing. The order of each sum is the reference's.
 */
static float arax_conv2d_one(global const float *in, uint width, uint height,
			     global const float *filter, uint fw, uint fh, uint x, uint y)
{
	float sum = 0.0f;

	for (uint j = 0; j < fh; j++) {
		for (uint i = 0; i < fw; i++) {
			uint row = y + j - fh / 2, column = x + i - fw / 2;

			if (row < height && column < width)
				sum += filter[j * fw + i] * in[(size_t)row * width + column];
		}
	}
	return sum;
}

kernel void arax_conv2d_float(global float *out, global const float *in, uint width, uint height,
			      global const float *filter, uint fw, uint fh)
{
	size_t group = get_group_id(0) + get_num_groups(0) * get_group_id(1);
	size_t groups = get_num_groups(0) * get_num_groups(1);
	uint left = min(fw / 2, width), right = width > fw / 2 ? width - fw / 2 : 0;

	if (get_local_id(0) || get_local_id(1) || get_global_id(2) != get_global_offset(2))
		return;
	for (size_t y = group; y < height; y += groups) {
		global float *to = out + y * width;
		uint x = 0;

		for (; x < left; x++)
			to[x] = arax_conv2d_one(in, width, height, filter, fw, fh, x, (uint)y);
		for (; x + 16 <= right; x += 16) {
			float8 low = 0, high = 0;

			for (uint j = 0; j < fh; j++) {
				uint row = (uint)y + j - fh / 2;
				global const float *from = in + (size_t)row * width + x - fw / 2;

				for (uint i = 0; i < fw && row < height; i++) {
					float8 f = filter[j * fw + i];

					low += f * vload8(0, from + i);
					high += f * vload8(1, from + i);
				}
			}
			vstore8(low, 0, to + x);
			vstore8(high, 1, to + x);
		}
		for (; x < width; x++)
			to[x] = arax_conv2d_one(in, width, height, filter, fw, fh, x, (uint)y);
	}
}
