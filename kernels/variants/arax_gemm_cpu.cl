/* SPDX-License-Identifier: Apache-2.0
 *
 * arax_sgemm for CPUs, where a work-group is one thread: its first work-item does all of the
 * group's work, the others nothing. A group takes tiles of TILE_M x TILE_N of C; for TILE_K of the
 * sum at a time the part of B lies packed in local memory (16 KiB, the first cache), and blocks of
 * 6 x 16 of C are summed up in vector registers.
 */
#define TILE_M 96
#define TILE_N 16
#define TILE_K 256
#define ROWS 6

/* beta belongs to the first part of the sum; then to what is there the next one is added. */
static void arax_gemm_store(global float *to, float8 sum, float alpha, float beta)
{
	if (beta == 0.0f)
		vstore8(alpha * sum, 0, to);
	else
		vstore8(mad((float8)alpha, sum, beta * vload8(0, to)), 0, to);
}

static void arax_gemm_block(uint k, float alpha, global const float *a, uint lda,
			    local const float *b, float beta, global float *c, uint ldc)
{
	float8 l0 = 0, l1 = 0, l2 = 0, l3 = 0, l4 = 0, l5 = 0;
	float8 h0 = 0, h1 = 0, h2 = 0, h3 = 0, h4 = 0, h5 = 0;
	global const float *a0 = a, *a1 = a0 + lda, *a2 = a1 + lda, *a3 = a2 + lda, *a4 = a3 + lda,
			   *a5 = a4 + lda;

	for (uint l = 0; l < k; l++) {
		float8 low = vload8(2 * l, b), high = vload8(2 * l + 1, b), f;

		f = a0[l], l0 = mad(f, low, l0), h0 = mad(f, high, h0);
		f = a1[l], l1 = mad(f, low, l1), h1 = mad(f, high, h1);
		f = a2[l], l2 = mad(f, low, l2), h2 = mad(f, high, h2);
		f = a3[l], l3 = mad(f, low, l3), h3 = mad(f, high, h3);
		f = a4[l], l4 = mad(f, low, l4), h4 = mad(f, high, h4);
		f = a5[l], l5 = mad(f, low, l5), h5 = mad(f, high, h5);
	}
	arax_gemm_store(c, l0, alpha, beta), arax_gemm_store(c + 8, h0, alpha, beta), c += ldc;
	arax_gemm_store(c, l1, alpha, beta), arax_gemm_store(c + 8, h1, alpha, beta), c += ldc;
	arax_gemm_store(c, l2, alpha, beta), arax_gemm_store(c + 8, h2, alpha, beta), c += ldc;
	arax_gemm_store(c, l3, alpha, beta), arax_gemm_store(c + 8, h3, alpha, beta), c += ldc;
	arax_gemm_store(c, l4, alpha, beta), arax_gemm_store(c + 8, h4, alpha, beta), c += ldc;
	arax_gemm_store(c, l5, alpha, beta), arax_gemm_store(c + 8, h5, alpha, beta);
}

/* What is less than a block. */
static void arax_gemm_rest(uint m, uint n, uint k, float alpha, global const float *a, uint lda,
			   local const float *b, float beta, global float *c, uint ldc)
{
	for (uint i = 0; i < m; i++) {
		for (uint j = 0; j < n; j++) {
			global float *to = c + (size_t)i * ldc + j;
			float sum = 0.0f;

			for (uint l = 0; l < k; l++)
				sum += a[(size_t)i * lda + l] * b[l * TILE_N + j];
			*to = beta == 0.0f ? alpha * sum : alpha * sum + beta * *to;
		}
	}
}

/* A part of B as it is wanted: row after row of TILE_N, zeros where B ends. */
static void arax_gemm_pack(uint k, uint n, global const float *b, uint ldb, local float *to)
{
	for (uint l = 0; l < k; l++, b += ldb, to += TILE_N) {
		if (n == TILE_N) {
			vstore16(vload16(0, b), 0, to);
			continue;
		}
		for (uint j = 0; j < TILE_N; j++)
			to[j] = j < n ? b[j] : 0.0f;
	}
}

static void arax_gemm_tile(uint m, uint n, uint k, float alpha, global const float *a, uint lda,
			   global const float *b, uint ldb, float beta, global float *c, uint ldc,
			   local float *packed)
{
	/* At least once: of an empty sum beta * C is left. */
	for (uint from = 0; from == 0 || from < k; from += TILE_K) {
		uint part = min(k - from, (uint)TILE_K), i = 0;
		float scale = from ? 1.0f : beta;

		arax_gemm_pack(part, n, b + (size_t)from * ldb, ldb, packed);
		for (; i + ROWS <= m && n == TILE_N; i += ROWS)
			arax_gemm_block(part, alpha, a + (size_t)i * lda + from, lda, packed, scale,
					c + (size_t)i * ldc, ldc);
		arax_gemm_rest(m - i, n, part, alpha, a + (size_t)i * lda + from, lda, packed,
			       scale, c + (size_t)i * ldc, ldc);
	}
}

kernel void arax_sgemm(uint m, uint n, uint k, float alpha, global const float *a, uint lda,
		       global const float *b, uint ldb, float beta, global float *c, uint ldc)
{
	local float packed[TILE_K * TILE_N];
	size_t group = get_group_id(0) + get_num_groups(0) * get_group_id(1);
	size_t groups = get_num_groups(0) * get_num_groups(1);
	size_t across = (n + TILE_N - 1) / TILE_N, tiles = across * ((m + TILE_M - 1) / TILE_M);

	if (get_local_id(0) || get_local_id(1) || get_global_id(2) != get_global_offset(2))
		return;
	for (size_t tile = group; tile < tiles; tile += groups) {
		uint i = (uint)(tile / across) * TILE_M, j = (uint)(tile % across) * TILE_N;

		arax_gemm_tile(min(m - i, (uint)TILE_M), min(n - j, (uint)TILE_N), k, alpha,
			       a + (size_t)i * lda, lda, b + j, ldb, beta, c + (size_t)i * ldc + j,
			       ldc, packed);
	}
}
