/* SPDX-License-Identifier: Apache-2.0
 *
 * out[y][x] = sum of filter[j][i] * in[y + j - fh / 2][x + i - fw / 2], where what lies outside of
 * the picture is 0; fw and fh are odd. Rows are without gaps. Work-items share the picture, however
 * many there are.
 */
kernel void arax_conv2d_float(global float *out, global const float *in, uint width, uint height,
			      global const float *filter, uint fw, uint fh)
{
	for (uint y = get_global_id(1); y < height; y += get_global_size(1)) {
		for (uint x = get_global_id(0); x < width; x += get_global_size(0)) {
			float sum = 0.0f;

			for (uint j = 0; j < fh; j++) {
				for (uint i = 0; i < fw; i++) {
					/* Below 0 they are very large. */
					uint row = y + j - fh / 2, column = x + i - fw / 2;

					if (row < height && column < width)
						sum += filter[j * fw + i] *
						       in[(size_t)row * width + column];
				}
			}
			out[(size_t)y * width + x] = sum;
		}
	}
}
