/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels on a discrete OpenCL device against a reference in C: integers must be equal, floating
 * point within the specification's bounds.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "devices/test_discrete.h"

#define N 1024u

static const char source[] =
    "kernel void add(global const uint *a, global const uint *b, global uint *out) {\n"
    "	size_t i = get_global_id(0); out[i] = a[i] + b[i]; }\n"
    "kernel void hash(global const uint *a, global ulong *out) {\n"
    "	size_t i = get_global_id(0); ulong v = a[i];\n"
    "	for (int k = 0; k < 9; k++) v = v * 6364136223846793005UL + (v >> 29) + rotate(v, 7UL);\n"
    "	out[i] = v / (a[i] | 1) + v % (a[i] | 1); }\n"
    "kernel void narrow(global const uchar *a, global const char *b, global short *out) {\n"
    "	size_t i = get_global_id(0);\n"
    "	out[i] = (short)(add_sat(b[i], (char)100) * 3 + (popcount(a[i]) << 9) + clz(a[i])\n"
    "		+ (a[i] >> 3) - abs_diff(a[i], (uchar)77) + hadd(a[i], (uchar)9)\n"
    "		+ mul_hi((short)(a[i] * 100), (short)(b[i] * 99))); }\n"
    "kernel void math(global const float *a, global float *out) {\n"
    "	size_t i = get_global_id(0), n = get_global_size(0); float x = a[i];\n"
    "	out[i] = sqrt(x); out[n + i] = exp(x * 0.125f); out[2 * n + i] = sin(x);\n"
    "	out[3 * n + i] = x / 3.0f; out[4 * n + i] = log(x + 1.0f); out[5 * n + i] = fma(x, x, x); "
    "}\n"
    "kernel void vectors(global const int4 *a, global int4 *out, global int2 *pairs) {\n"
    "	size_t i = get_global_id(0); int4 v = a[i];\n"
    "	out[i] = v.wzyx * (int4)(1, 2, 3, 4) + select(v, -v, v > (int4)(500));\n"
    "	pairs[i] = v.even + v.odd; int3 t = vload3(i, (global int *)a); pairs[i].x ^= t.z; }\n"
    "kernel void group_sum(global const int *a, local int *tmp, global int *out) {\n"
    "	local int twice[64]; size_t l = get_local_id(0), n = get_local_size(0);\n"
    "	tmp[l] = a[get_global_id(0)]; barrier(CLK_LOCAL_MEM_FENCE);\n"
    "	for (size_t s = n / 2; s > 0; s >>= 1) { if (l < s) tmp[l] += tmp[l + s];\n"
    "		barrier(CLK_LOCAL_MEM_FENCE); }\n"
    "	twice[l] = tmp[0] * 2 + (int)l; barrier(CLK_LOCAL_MEM_FENCE);\n"
    "	if (l == 0) out[get_group_id(0)] = twice[n - 1]; }\n"
    "kernel void scan(global const int *a, global int *out) {\n"
    "	local int t[2][128]; int l = get_local_id(0), in = 0;\n"
    "	t[0][l] = a[get_global_id(0)]; barrier(CLK_LOCAL_MEM_FENCE);\n"
    "	for (int d = 1; d < 128; d *= 2) { t[1 - in][l] = t[in][l] + (l >= d ? t[in][l - d] : 0);\n"
    "		in = 1 - in; barrier(CLK_LOCAL_MEM_FENCE); }\n"
    "	out[get_global_id(0)] = t[in][l]; }\n"
    "kernel void shift(global const int *a, global int *out) {\n"
    "	local int t[1024]; int l = get_local_id(0), n = get_local_size(0), s = 0;\n"
    "	for (int k = 1; k <= 3; k++) { t[l] = a[get_global_id(0)] + k;\n"
    "		barrier(CLK_LOCAL_MEM_FENCE);\n"
    "		s = s * 7 + t[(l + k) % n]; barrier(CLK_LOCAL_MEM_FENCE); }\n"
    "	out[get_global_id(0)] = s; }\n"
    "kernel void count(global const uint *a, volatile global uint *bins, volatile global int "
    "*most,\n"
    "		volatile global uint *cas) {\n"
    "	local uint mine[16]; size_t l = get_local_id(0);\n"
    "	if (l < 16) mine[l] = 0;\n"
    "	barrier(CLK_LOCAL_MEM_FENCE);\n"
    "	atomic_inc(&mine[a[get_global_id(0)] & 15]); barrier(CLK_LOCAL_MEM_FENCE);\n"
    "	if (l < 16) atomic_add(&bins[l], mine[l]);\n"
    "	atomic_max(most, (int)(a[get_global_id(0)] & 0xffff));\n"
    "	uint old, seen = *cas;\n"
    "	do { old = seen; seen = atomic_cmpxchg(cas, old, old + 3); } while (seen != old); }\n"
    "struct pair { char c; int i; short s[3]; long l; };\n"
    "kernel void structs(global const struct pair *a, struct pair by, global long *out) {\n"
    "	size_t i = get_global_id(0);\n"
    "	out[i] = a[i].c * by.i + a[i].i * by.s[1] + a[i].s[2] + (a[i].l ^ by.l) + sizeof(by); }\n"
    "kernel void members(global const struct pair *a, global long *out) {\n"
    "	size_t i = get_global_id(0); out[i] = a[i].s[i % 3]; }\n"
    "kernel void wide(int16 a, float16 b, uchar16 c, short8 d, long4 e, ulong8 f, uint16 g,\n"
    "		global long *out) {\n"
    "	out[get_global_id(0)] = a.sf + (long)b.s3 + c.sa + d.s7 + e.w + f.s6 + g.s1; }\n"
    "kernel void transpose(global const int *a, global int *out) {\n"
    "	local int tile[8][9]; int x = get_local_id(0), y = get_local_id(1);\n"
    "	int w = get_global_size(0), h = get_global_size(1);\n"
    "	tile[y][x] = a[get_global_id(1) * w + get_global_id(0)]; barrier(CLK_LOCAL_MEM_FENCE);\n"
    "	out[(get_group_id(0) * 8 + y) * h + get_group_id(1) * 8 + x] = tile[x][y]; }\n"
    "kernel void where(global int *out) {\n"
    "	size_t x = get_global_id(0) - get_global_offset(0), y = get_global_id(1) -\n"
    "	 get_global_offset(1), z = get_global_id(2) - get_global_offset(2);\n"
    "	size_t at = (z * get_global_size(1) + y) * get_global_size(0) + x;\n"
    "	out[at] = get_global_id(0) + 100 * get_global_id(1) + 10000 * get_global_id(2)\n"
    "	 + 1000000 * get_local_id(0) + 10000000 * get_group_id(2) + 100000000 * get_work_dim(); }\n"
    "constant int primes[8] = {2, 3, 5, 7, 11, 13, 17, 19};\n"
    "kernel void lookup(constant uint *table, global const uchar *a, global uint *out) {\n"
    "	size_t i = get_global_id(0); out[i] = table[a[i]] * primes[a[i] & 7]; }\n"
    "kernel void collatz(global const uint *a, global uint *out) {\n"
    "	size_t i = get_global_id(0); uint v = (a[i] & 0xfff) + 1, n = 0;\n"
    "	while (v != 1) { v = v & 1 ? 3 * v + 1 : v / 2; if (++n == 200) break; }\n"
    "	switch (n % 4) { case 0: n += 1000; break; case 1: n *= 2; case 2: n += 7; }\n"
    "	out[i] = n; }\n"
    "static void exchange(uint *a, uint *b) { uint t = *a; *a = *b; *b = t; }\n"
    "kernel void sort(global uint *a) {\n"
    "	uint v[16]; global uint *mine = a + 16 * get_global_id(0);\n"
    "	for (int i = 0; i < 16; i++) v[i] = mine[i];\n"
    "	for (int i = 0; i < 16; i++) for (int j = i + 1; j < 16; j++)\n"
    "		if (v[j] < v[i]) exchange(&v[i], &v[j]);\n"
    "	for (int i = 0; i < 16; i++) mine[i] = v[i]; }\n"
    "kernel void convert(global const float *a, global int *out) {\n"
    "	size_t i = get_global_id(0), n = get_global_size(0);\n"
    "	out[i] = convert_int_rte(a[i]); out[n + i] = convert_int_rtz(a[i] * 1.5f);\n"
    "	out[2 * n + i] = convert_uchar_sat(a[i] * 3.0f); out[3 * n + i] = as_int(a[i]); }\n"
    "kernel void halves(global const float *a, global half *h, global float *out) {\n"
    "	size_t i = get_global_id(0); vstore_half(a[i], i, h); out[i] = vload_half(i, h); }\n"
    "struct big { int v[120]; };\n"
    "kernel void large(struct big b, int a0, long a1, short a2, char a3, int4 a4, float a5, uchar "
    "a6,\n"
    "	int a7, int a8, int a9, int a10, int a11, int a12, int a13, int a14, int a15,\n"
    "	global int *out) {\n"
    "	uint s = 0; for (int i = 0; i < 120; i++) s = s * 31 + b.v[i];\n"
    "	out[get_global_id(0)] = s + a0 + (int)a1 + a2 + a3 + a4.x + 2 * a4.w + (int)a5 + a6 + a7\n"
    "	 - a8 + a9 - a10 + a11 - a12 + a13 - a14 + a15 + (int)get_global_id(0); }\n"
    "kernel void nulls(global int *a, global int *out) { out[0] = a == 0 ? 17 : 4; }\n"
    "kernel void fetch(global const int *a, global int *out) {\n"
    "	local int t[64]; event_t e = async_work_group_copy(t, a + 64 * get_group_id(0), 64, 0);\n"
    "	wait_group_events(1, &e); out[get_global_id(0)] = t[63 - get_local_id(0)]; }\n";

static uint64_t state = 1;

static uint32_t draw(void)
{
	return (uint32_t)test_random(&state);
}

static void fill(struct test_buffer buffer)
{
	for (size_t i = 0; i < buffer.size; i++)
		((unsigned char *)buffer.host)[i] = (unsigned char)draw();
	PUT(buffer);
}

#define AS(type, buffer) ((type *)(buffer).host)

static void test_integers(struct arax_device_program *program)
{
	struct test_buffer a = test_buffer_new(N * 4), b = test_buffer_new(N * 4),
			   out = test_buffer_new(N * 8);
	fill(a);
	fill(b);
	const struct arax_launch_arg three[] = {MEM(a), MEM(b), MEM(out)},
				     two[] = {MEM(a), MEM(out)};
	RUN(program, "add", RANGE1(N, 64), three);
	GET(out);
	for (unsigned i = 0; i < N; i++)
		CHECK(AS(uint32_t, out)[i] == AS(uint32_t, a)[i] + AS(uint32_t, b)[i]);
	RUN(program, "hash", RANGE1(N, 32), two);
	GET(out);
	for (unsigned i = 0; i < N; i++) {
		uint64_t v = AS(uint32_t, a)[i], odd = AS(uint32_t, a)[i] | 1;
		for (int k = 0; k < 9; k++)
			v = v * 6364136223846793005u + (v >> 29) + (v << 7 | v >> 57);
		CHECK(AS(uint64_t, out)[i] == v / odd + v % odd);
	}
	RUN(program, "collatz", RANGE1(N, 0), two);
	GET(out);
	for (unsigned i = 0; i < N; i++) {
		uint32_t v = (AS(uint32_t, a)[i] & 0xfff) + 1, n = 0;
		for (; v != 1 && n < 200; n++)
			v = v & 1 ? 3 * v + 1 : v / 2;
		n = n % 4 == 0 ? n + 1000 : n % 4 == 1 ? n * 2 + 7 : n % 4 == 2 ? n + 7 : n;
		CHECK(AS(uint32_t, out)[i] == n);
	}
	test_buffer_free(&a);
	test_buffer_free(&b);
	test_buffer_free(&out);
}

static int narrow_reference(unsigned a, int b)
{
	int sat = b + 100 > 127 ? 127 : b + 100;
	int high = (int16_t)(a * 100) * (int16_t)(b * 99) >> 16;
	return (int16_t)(sat * 3 + (__builtin_popcount(a) << 9) + (a ? __builtin_clz(a) - 24 : 8) +
			 (int)(a >> 3) - (a > 77 ? (int)a - 77 : 77 - (int)a) +
			 (int)((a + 9) >> 1) + high);
}

static void test_narrow(struct arax_device_program *program)
{
	struct test_buffer a = test_buffer_new(N), b = test_buffer_new(N),
			   out = test_buffer_new(N * 2);
	fill(a);
	fill(b);
	const struct arax_launch_arg args[] = {MEM(a), MEM(b), MEM(out)};
	RUN(program, "narrow", RANGE1(N, 128), args);
	GET(out);
	for (unsigned i = 0; i < N; i++)
		CHECK(AS(int16_t, out)[i] == narrow_reference(AS(uint8_t, a)[i], AS(int8_t, b)[i]));
	test_buffer_free(&a);
	test_buffer_free(&b);
	test_buffer_free(&out);
}

/* How many units in the last place of the true value's float lie between. */
static double ulps(float got, double want)
{
	float nearest = (float)want;
	double unit = (double)nextafterf(fabsf(nearest), INFINITY) - (double)fabsf(nearest);
	return fabs((double)got - want) / unit;
}

static void test_math(struct arax_device_program *program)
{
	struct test_buffer a = test_buffer_new(N * 4), out = test_buffer_new(6 * N * 4);
	for (unsigned i = 0; i < N; i++)
		AS(float, a)[i] = (float)(draw() % 100000) / 1024.0f;
	PUT(a);
	const struct arax_launch_arg args[] = {MEM(a), MEM(out)};
	RUN(program, "math", RANGE1(N, 64), args);
	GET(out);
	double worst[6] = {0};
	for (unsigned i = 0; i < N; i++) {
		double x = (double)AS(float, a)[i];
		const double want[6] = {
		    sqrt(x), exp((double)(AS(float, a)[i] * 0.125f)), sin(x),
		    x / 3.0, log((double)(AS(float, a)[i] + 1.0f)),   x * x + x};
		for (unsigned k = 0; k < 6; k++)
			worst[k] = fmax(worst[k], ulps(AS(float, out)[k * N + i], want[k]));
	}
	printf("ulp: sqrt %.2f exp %.2f sin %.2f div %.2f log %.2f fma %.2f\n", worst[0], worst[1],
	       worst[2], worst[3], worst[4], worst[5]);
	/* The full profile's bounds; fma is rounded once. */
	static const double bounds[6] = {3, 3, 4, 2.5, 3, 0.5001};
	for (unsigned k = 0; k < 6; k++)
		CHECK(worst[k] <= bounds[k]);
	test_buffer_free(&a);
	test_buffer_free(&out);
}

static void test_vectors(struct arax_device_program *program)
{
	struct test_buffer a = test_buffer_new(N * 16), out = test_buffer_new(N * 16),
			   pairs = test_buffer_new(N * 8);
	for (unsigned i = 0; i < 4 * N; i++)
		AS(int, a)[i] = (int)(draw() % 1000);
	PUT(a);
	const struct arax_launch_arg args[] = {MEM(a), MEM(out), MEM(pairs)};
	RUN(program, "vectors", RANGE1(N, 16), args);
	GET(out);
	GET(pairs);
	for (unsigned i = 0; i < N; i++) {
		const int *v = AS(int, a) + 4 * i;
		for (int k = 0; k < 4; k++)
			CHECK(AS(int, out)[4 * i + (unsigned)k] ==
			      v[3 - k] * (k + 1) + (v[k] > 500 ? -v[k] : v[k]));
		CHECK(AS(int, pairs)[2 * i] == ((v[0] + v[1]) ^ AS(int, a)[3 * i + 2]));
		CHECK(AS(int, pairs)[2 * i + 1] == v[2] + v[3]);
	}
	test_buffer_free(&a);
	test_buffer_free(&out);
	test_buffer_free(&pairs);
}

static void test_groups(struct arax_device_program *program)
{
	struct test_buffer a = test_buffer_new(N * 4), out = test_buffer_new(N * 4);
	for (unsigned i = 0; i < N; i++)
		AS(int, a)[i] = (int)(draw() % 10000);
	PUT(a);
	const struct arax_launch_arg sums[] = {MEM(a), LOCAL(64 * 4), MEM(out)},
				     two[] = {MEM(a), MEM(out)};
	RUN(program, "group_sum", RANGE1(N, 64), sums);
	GET(out);
	for (unsigned g = 0; g < N / 64; g++) {
		int sum = 0;
		for (unsigned i = 0; i < 64; i++)
			sum += AS(int, a)[64 * g + i];
		CHECK(AS(int, out)[g] == 2 * sum + 63);
	}
	RUN(program, "scan", RANGE1(N, 128), two);
	GET(out);
	for (unsigned i = 0, sum = 0; i < N; i++) {
		sum = (i % 128 ? sum : 0) + AS(uint32_t, a)[i];
		CHECK(AS(uint32_t, out)[i] == sum);
	}
	RUN(program, "fetch", RANGE1(N, 64), two);
	GET(out);
	for (unsigned i = 0; i < N; i++)
		CHECK(AS(int, out)[i] == AS(int, a)[i / 64 * 64 + 63 - i % 64]);
	test_buffer_free(&a);
	test_buffer_free(&out);
}

/* Groups of sizes that are round for nobody, up to the largest. */
static void test_group_sizes(struct arax_device_program *program)
{
	static const size_t sizes[] = {1, 3, 7, 33, 64, 100, 255, 1000, 1024};
	struct test_buffer a = test_buffer_new(4096), out = test_buffer_new(4096);
	for (unsigned i = 0; i < 1024; i++)
		AS(int, a)[i] = (int)(draw() % 10000);
	PUT(a);
	const struct arax_launch_arg args[] = {MEM(a), MEM(out)};
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		size_t n = sizes[s], all = 1024 / n * n;
		RUN(program, "shift", RANGE1(all, n), args);
		GET(out);
		for (size_t i = 0; i < all; i++) {
			const int *group = AS(int, a) + i / n * n;
			int want = 0;
			for (size_t k = 1; k <= 3; k++)
				want = want * 7 + group[(i % n + k) % n] + (int)k;
			CHECK(AS(int, out)[i] == want);
		}
	}
	test_buffer_free(&a);
	test_buffer_free(&out);
}

static void test_atomics(struct arax_device_program *program)
{
	struct test_buffer a = test_buffer_new(N * 4), bins = test_buffer_new(64),
			   most = test_buffer_new(4), cas = test_buffer_new(4);
	fill(a);
	memset(bins.host, 0, 64);
	*AS(int, most) = -1;
	*AS(uint32_t, cas) = 5;
	PUT(bins);
	PUT(most);
	PUT(cas);
	const struct arax_launch_arg args[] = {MEM(a), MEM(bins), MEM(most), MEM(cas)};
	RUN(program, "count", RANGE1(N, 64), args);
	uint32_t want[16] = {0}, largest = 0;
	for (unsigned i = 0; i < N; i++) {
		uint32_t v = AS(uint32_t, a)[i];
		want[v & 15]++;
		largest = (v & 0xffff) > largest ? v & 0xffff : largest;
	}
	GET(bins);
	GET(most);
	GET(cas);
	CHECK(!memcmp(bins.host, want, sizeof(want)));
	CHECK(*AS(uint32_t, most) == largest && *AS(uint32_t, cas) == 5 + 3 * N);
	test_buffer_free(&a);
	test_buffer_free(&bins);
	test_buffer_free(&most);
	test_buffer_free(&cas);
}

static void expect_refused(struct arax_device_program *program, const char *name,
			   const struct test_range *range, const struct arax_launch_arg *args,
			   uint32_t nargs)
{
	struct arax_device_kernel *kernel = test_kernel(program, name);
	CHECK(test_launch(0, kernel, range, args, nargs) == CL_INVALID_ARG_VALUE);
	OPS->kernel_free(&test_dev, kernel);
}

static void test_structs(struct arax_device_program *program)
{
	struct pair {
		int8_t c;
		int32_t i;
		int16_t s[3];
		int64_t l;
	} by = {3, 1234, {1, -77, 5}, 0x123456789abcdef};
	struct test_buffer a = test_buffer_new(N * sizeof(by)), out = test_buffer_new(N * 8);
	fill(a);
	for (unsigned i = 0; i < N; i++)
		AS(struct pair, a)[i].i %= 100000;
	PUT(a);
	const struct arax_launch_arg args[] = {MEM(a), VALUE(by), MEM(out)};
	const struct arax_launch_arg two[] = {MEM(a), MEM(out)};
	RUN(program, "members", RANGE1(N, 64), two);
	GET(out);
	for (unsigned i = 0; i < N; i++)
		CHECK(AS(int64_t, out)[i] == AS(struct pair, a)[i].s[i % 3]);
	if (test_structs_refused) {
		expect_refused(program, "structs", RANGE1(N, 64), args, 3);
		test_buffer_free(&a);
		test_buffer_free(&out);
		return;
	}
	RUN(program, "structs", RANGE1(N, 64), args);
	GET(out);
	for (unsigned i = 0; i < N; i++) {
		const struct pair *p = &AS(struct pair, a)[i];
		int sum = p->c * by.i + p->i * by.s[1] + p->s[2];
		CHECK(AS(uint64_t, out)[i] == (uint64_t)sum + (uint64_t)(p->l ^ by.l) + sizeof(by));
	}
	test_buffer_free(&a);
	test_buffer_free(&out);
}

static void test_ranges(struct arax_device_program *program)
{
	struct test_buffer a = test_buffer_new(32 * 48 * 4), out = test_buffer_new(32 * 48 * 4);
	fill(a);
	const struct arax_launch_arg two[] = {MEM(a), MEM(out)}, one[] = {MEM(out)};
	RUN(program, "transpose", (&(struct test_range){2, {32, 48, 1}, {8, 8, 0}, {0}}), two);
	GET(out);
	for (unsigned y = 0; y < 48; y++)
		for (unsigned x = 0; x < 32; x++)
			CHECK(AS(int, out)[x * 48 + y] == AS(int, a)[y * 32 + x]);
	static const struct test_range ranges[] = {
	    {3, {8, 6, 4}, {4, 3, 2}, {0}},
	    {3, {8, 6, 4}, {4, 3, 2}, {5, 7, 9}},
	    {1, {48, 1, 1}, {16, 0, 0}, {21, 0, 0}},
	};
	for (size_t r = 0; r < sizeof(ranges) / sizeof(ranges[0]); r++) {
		const struct test_range *range = &ranges[r];
		if (test_offsets_refused && range->dim == 3 && range->offset[0]) {
			struct arax_device_kernel *kernel = test_kernel(program, "where");
			CHECK(test_launch(0, kernel, range, one, 1) == CL_INVALID_GLOBAL_OFFSET);
			OPS->kernel_free(&test_dev, kernel);
			continue;
		}
		RUN(program, "where", range, one);
		GET(out);
		int at = 0;
		for (size_t z = 0; z < range->global[2]; z++)
			for (size_t y = 0; y < range->global[1]; y++)
				for (size_t x = 0; x < range->global[0]; x++, at++)
					CHECK((size_t)AS(int, out)[at] ==
					      x + range->offset[0] + 100 * (y + range->offset[1]) +
						  10000 * (z + range->offset[2]) +
						  1000000 * (x % range->local[0]) +
						  10000000 *
						      (range->local[2] ? z / range->local[2] : 0) +
						  100000000 * range->dim);
	}
	test_buffer_free(&a);
	test_buffer_free(&out);
}

static void test_constants(struct arax_device_program *program)
{
	static const int primes[8] = {2, 3, 5, 7, 11, 13, 17, 19};
	struct test_buffer table = test_buffer_new(256 * 4), a = test_buffer_new(N),
			   out = test_buffer_new(N * 4);
	fill(table);
	fill(a);
	const struct arax_launch_arg args[] = {MEM(table), MEM(a), MEM(out)};
	RUN(program, "lookup", RANGE1(N, 64), args);
	GET(out);
	for (unsigned i = 0; i < N; i++) {
		unsigned at = AS(uint8_t, a)[i];
		CHECK(AS(uint32_t, out)[i] == AS(uint32_t, table)[at] * (uint32_t)primes[at & 7]);
	}
	test_buffer_free(&table);
	test_buffer_free(&a);
	test_buffer_free(&out);
}

static void test_private(struct arax_device_program *program)
{
	struct test_buffer a = test_buffer_new(N * 4);
	uint64_t sum = 0;
	fill(a);
	for (unsigned i = 0; i < N; i++)
		sum += AS(uint32_t, a)[i];
	const struct arax_launch_arg args[] = {MEM(a)};
	RUN(program, "sort", RANGE1(N / 16, 16), args);
	GET(a);
	for (unsigned i = 0; i < N; i++) {
		CHECK(i % 16 == 0 || AS(uint32_t, a)[i - 1] <= AS(uint32_t, a)[i]);
		sum -= AS(uint32_t, a)[i];
	}
	CHECK(!sum);
	test_buffer_free(&a);
}

static void test_conversions(struct arax_device_program *program)
{
	struct test_buffer a = test_buffer_new(N * 4), out = test_buffer_new(4 * N * 4),
			   halves = test_buffer_new(N * 2);
	for (unsigned i = 0; i < N; i++) /* halves and quarters, so that ties occur */
		AS(float, a)[i] = (float)((int)(draw() % 2001) - 1000) / 4.0f;
	PUT(a);
	const struct arax_launch_arg args[] = {MEM(a), MEM(out)},
				     three[] = {MEM(a), MEM(halves), MEM(out)};
	RUN(program, "convert", RANGE1(N, 64), args);
	GET(out);
	const int *got = AS(int, out);
	for (unsigned i = 0; i < N; i++) {
		float x = AS(float, a)[i];
		int bits;
		memcpy(&bits, &x, 4);
		CHECK(got[i] == (int)rintf(x) && got[N + i] == (int)(x * 1.5f));
		CHECK(got[2 * N + i] == (x < 0 ? 0 : x * 3 > 255 ? 255 : (int)(x * 3.0f)));
		CHECK(got[3 * N + i] == bits);
	}
	RUN(program, "halves", RANGE1(N, 64), three);
	GET(out);
	for (unsigned i = 0; i < N; i++) /* eleven bits are enough for these */
		CHECK(AS(float, out)[i] == AS(float, a)[i]);
	test_buffer_free(&a);
	test_buffer_free(&out);
	test_buffer_free(&halves);
}

/* 416 bytes of arguments that are no structs. */
static void test_wide(struct arax_device_program *program)
{
	struct test_buffer out = test_buffer_new(8 * 8);
	_Alignas(64) const int32_t a[16] = {[15] = -3};
	_Alignas(64) const float b[16] = {[3] = 1000.0f};
	_Alignas(16) const uint8_t c[16] = {[10] = 200};
	_Alignas(16) const int16_t d[8] = {[7] = -30000};
	_Alignas(32) const int64_t e[4] = {[3] = 1ll << 40};
	_Alignas(64) const uint64_t f[8] = {[6] = 1ull << 50};
	_Alignas(64) const uint32_t g[16] = {[1] = 4000000000u};
	const struct arax_launch_arg args[] = {VALUE(a), VALUE(b), VALUE(c), VALUE(d),
					       VALUE(e), VALUE(f), VALUE(g), MEM(out)};
	RUN(program, "wide", RANGE1(8, 8), args);
	GET(out);
	for (unsigned i = 0; i < 8; i++)
		CHECK(AS(int64_t, out)[i] ==
		      -3 + 1000 + 200 - 30000 + e[3] + (int64_t)f[6] + 4000000000ll);
	test_buffer_free(&out);
}

static void test_arguments(struct arax_device_program *program)
{
	struct test_buffer out = test_buffer_new(64 * 4);
	struct {
		int v[120];
	} big;
	const int a[16] = {1, -20, 300, -4000, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
	const int64_t a1 = -50000;
	const int16_t a2 = -321;
	const int8_t a3 = -12;
	const int32_t a4[4] = {7, 8, 9, 1000};
	const float a5 = 12345.0f;
	const uint8_t a6 = 250;
	uint32_t s = 0;
	for (unsigned i = 0; i < 120; i++) {
		big.v[i] = (int)draw();
		s = s * 31 + (uint32_t)big.v[i];
	}
	const struct arax_launch_arg args[] = {
	    VALUE(big),	  VALUE(a[0]),	VALUE(a1),    VALUE(a2),    VALUE(a3),	  VALUE(a4),
	    VALUE(a5),	  VALUE(a6),	VALUE(a[7]),  VALUE(a[8]),  VALUE(a[9]),  VALUE(a[10]),
	    VALUE(a[11]), VALUE(a[12]), VALUE(a[13]), VALUE(a[14]), VALUE(a[15]), MEM(out)};
	if (test_structs_refused)
		expect_refused(program, "large", RANGE1(64, 64), args, 18);
	else
		RUN(program, "large", RANGE1(64, 64), args);
	GET(out);
	for (unsigned i = 0; i < 64 && !test_structs_refused; i++) {
		int32_t rest = a[0] - 50000 - 321 - 12 + 7 + 2000 + 12345 + 250 + a[7] - a[8] +
			       a[9] - a[10] + a[11] - a[12] + a[13] - a[14] + a[15] + (int)i;
		CHECK(AS(uint32_t, out)[i] == s + (uint32_t)rest);
	}
	test_wide(program);
	const struct arax_launch_arg nulls[] = {{.kind = ARAX_ARG_MEM}, MEM(out)},
				     there[] = {MEM(out), MEM(out)};
	RUN(program, "nulls", RANGE1(1, 1), nulls);
	GET(out);
	CHECK(AS(int, out)[0] == 17);
	RUN(program, "nulls", RANGE1(1, 1), there);
	GET(out);
	CHECK(AS(int, out)[0] == 4);
	test_buffer_free(&out);
}

static void test_double(void)
{
	static const char doubles[] =
	    "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n"
	    "kernel void poly(global const double *a, global double *out) {\n"
	    "	size_t i = get_global_id(0); out[i] = fma(a[i], a[i], 0.125) - a[i] / 4.0; }\n";
	struct arax_writer request;
	if (!(test_dev.caps.features & ARAX_FEATURE_FP64)) {
		printf("no double precision\n");
		return;
	}
	struct arax_device_program *program = test_program(doubles, "", NULL, 0, &request);
	struct test_buffer a = test_buffer_new(N * 8), out = test_buffer_new(N * 8);
	for (unsigned i = 0; i < N; i++) /* few bits: every step is exact */
		AS(double, a)[i] = (double)(draw() % 65536) / 256.0;
	PUT(a);
	const struct arax_launch_arg args[] = {MEM(a), MEM(out)};
	RUN(program, "poly", RANGE1(N, 64), args);
	GET(out);
	for (unsigned i = 0; i < N; i++) {
		double x = AS(double, a)[i];
		CHECK(AS(double, out)[i] == x * x + 0.125 - x / 4.0);
	}
	test_buffer_free(&a);
	test_buffer_free(&out);
	OPS->program_free(&test_dev, program);
	arax_writer_free(&request);
}

void test_kernels(void)
{
	struct arax_writer request;
	struct arax_device_program *program = test_program(source, "", NULL, 0, &request);
	test_integers(program);
	test_narrow(program);
	test_math(program);
	test_vectors(program);
	test_groups(program);
	test_group_sizes(program);
	test_atomics(program);
	test_structs(program);
	test_ranges(program);
	test_constants(program);
	test_private(program);
	test_conversions(program);
	test_arguments(program);
	OPS->program_free(&test_dev, program);
	arax_writer_free(&request);
	test_double();
	test_arena_reset();
}
