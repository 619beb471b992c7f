/* SPDX-License-Identifier: Apache-2.0
 *
 * C = alpha * A * B + beta * C, row-major: A is m x k, B is k x n, C is m x n; lda, ldb, ldc are the
 * elements from one row to the next. Where beta is 0, C is only written. Work-items share the
 * elements of C, however many there are.
 */
kernel void arax_sgemm(uint m, uint n, uint k, float alpha, global const float *a, uint lda,
		       global const float *b, uint ldb, float beta, global float *c, uint ldc)
{
	for (size_t i = get_global_id(1); i < m; i += get_global_size(1)) {
		for (size_t j = get_global_id(0); j < n; j += get_global_size(0)) {
			global float *to = c + i * ldc + j;
			float sum = 0.0f;

			for (size_t l = 0; l < k; l++)
				sum += a[i * lda + l] * b[l * ldb + j];
			*to = beta == 0.0f ? alpha * sum : alpha * sum + beta * *to;
		}
	}
}
