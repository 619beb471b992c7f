/*
 * Built-in kernels: the list that the device gives, clCreateProgramWithBuiltInKernels and the
 * queries of such programs (sections 5.8.1 and 5.8.8), and each kernel against the host, over sizes
 * that fit no block, with work-groups of several sizes: exact for integers, within the bound of
 * section 7.4 for sums (each of n additions and multiplications is off by half an ulp at most).
 */
#include "cltest.h"

#include <float.h>
#include <math.h>

static const char *const all[] = {"arax_sgemm",
				  "arax_reduce_sum_float",
				  "arax_reduce_sum_uint",
				  "arax_scan_exclusive_uint",
				  "arax_scan_inclusive_uint",
				  "arax_conv2d_float",
				  "arax_histogram_uint8"};

static void need_builtins(void)
{
	char names[2048] = "";

	CHECK_CL(
	    clGetDeviceInfo(cltest_device, CL_DEVICE_BUILT_IN_KERNELS, sizeof(names), names, NULL));
	if (!strstr(names, "arax_sgemm"))
		SKIP("the device has no built-in kernels");
}

static cl_program builtin_program(cl_context context, const char *names)
{
	return MUST(clCreateProgramWithBuiltInKernels(context, 1, &cltest_device, names, &ERR));
}

struct run {
	struct cl cl;
	cl_program program;
	cl_kernel kernel;
};

static struct run run_open(const char *name)
{
	struct run run;

	need_builtins();
	run.cl = cl_open(0);
	run.program = builtin_program(run.cl.ctx, name);
	run.kernel = cltest_kernel(run.program, name);
	return run;
}

static void run_close(struct run *run)
{
	CHECK_CL(clReleaseKernel(run->kernel));
	CHECK_CL(clReleaseProgram(run->program));
	cl_close(&run->cl);
}

static cl_mem buffer_with(const struct run *run, const void *data, size_t size)
{
	return cltest_buffer(run->cl.ctx, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, size,
			     (void *)(uintptr_t)data);
}

static void read_back(const struct run *run, cl_mem mem, void *data, size_t size)
{
	CHECK_CL(clEnqueueReadBuffer(run->cl.q, mem, CL_TRUE, 0, size, data, 0, NULL, NULL));
}

static void launch(const struct run *run, cl_uint dims, const size_t *global, const size_t *local)
{
	CHECK_CL(clEnqueueNDRangeKernel(run->cl.q, run->kernel, dims, NULL, global, local, 0, NULL,
					NULL));
}

static uint64_t next(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

static float *floats(size_t n, uint64_t seed)
{
	float *list = malloc((n ? n : 1) * sizeof(*list));

	CHECK(list);
	for (size_t i = 0; i < n; i++)
		list[i] = (float)(int)(next(&seed) % 2001) / 1000.0f - 1.0f;
	return list;
}

static cl_uint *uints(size_t n, uint64_t seed)
{
	cl_uint *list = malloc((n ? n : 1) * sizeof(*list));

	CHECK(list);
	for (size_t i = 0; i < n; i++)
		list[i] = (cl_uint)next(&seed);
	return list;
}

/* magnitude: the sum of what was added, without signs; n: how many operations. */
static void check_sum(float got, double expected, double magnitude, double n, const char *what,
		      size_t at)
{
	if (!(fabs(got - expected) <= magnitude * (n + 2) * FLT_EPSILON + FLT_MIN))
		FAIL("%s: element %zu is %.9g, expected %.9g", what, at, got, expected);
}

/* ---- the programs ---------------------------------------------------------------------------- */

static void test_lists(void)
{
	char names[2048] = "";
	size_t size = 0, count = 0;

	need_builtins();
	CHECK_CL(
	    clGetDeviceInfo(cltest_device, CL_DEVICE_BUILT_IN_KERNELS, sizeof(names), names, NULL));
	CHECK_CL(clGetDeviceInfo(cltest_device, CL_DEVICE_BUILT_IN_KERNELS_WITH_VERSION, 0, NULL,
				 &size));
	cl_name_version *versions = malloc(size);
	CHECK(versions && size % sizeof(*versions) == 0);
	CHECK_CL(clGetDeviceInfo(cltest_device, CL_DEVICE_BUILT_IN_KERNELS_WITH_VERSION, size,
				 versions, NULL));
	for (char *state, *name = strtok_r(names, ";", &state); name;
	     name = strtok_r(NULL, ";", &state)) {
		CHECK(count < size / sizeof(*versions));
		CHECK(!strcmp(versions[count].name, name) && versions[count].version);
		count++;
	}
	CHECK_EQ(count, size / sizeof(*versions));
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		bool found = false;

		for (size_t j = 0; j < count; j++)
			found |= !strcmp(versions[j].name, all[i]);
		CHECK(found);
	}
	free(versions);
}

static void test_errors(void)
{
	struct cl cl;
	cl_device_id *none = NULL;

	need_builtins();
	cl = cl_open(0);
#define REFUSED(context, n, devices, names, error)                                           \
	do {                                                                                 \
		cl_int got = 1;                                                              \
		CHECK(!clCreateProgramWithBuiltInKernels(context, n, devices, names, &got)); \
		CHECK_EQ(got, error);                                                        \
		CHECK(!clCreateProgramWithBuiltInKernels(context, n, devices, names, NULL)); \
	} while (0)
	REFUSED(NULL, 1, &cltest_device, "arax_sgemm", CL_INVALID_CONTEXT);
	REFUSED(cl.ctx, 0, &cltest_device, "arax_sgemm", CL_INVALID_VALUE);
	REFUSED(cl.ctx, 1, none, "arax_sgemm", CL_INVALID_VALUE);
	REFUSED(cl.ctx, 1, &cltest_device, NULL, CL_INVALID_VALUE);
	REFUSED(cl.ctx, 1, &cltest_device, "", CL_INVALID_VALUE);
	REFUSED(cl.ctx, 1, &cltest_device, "arax_sgem", CL_INVALID_VALUE);
	REFUSED(cl.ctx, 1, &cltest_device, "arax_sgemm;", CL_INVALID_VALUE);
	REFUSED(cl.ctx, 1, &cltest_device, "arax_sgemm;;arax_conv2d_float", CL_INVALID_VALUE);
	REFUSED(cl.ctx, 1, &cltest_device, "arax_sgemm;unknown", CL_INVALID_VALUE);
	REFUSED(cl.ctx, 1, &cltest_device, " arax_sgemm", CL_INVALID_VALUE);
	cl_device_id wrong = (cl_device_id)cl.ctx;
	REFUSED(cl.ctx, 1, &wrong, "arax_sgemm", CL_INVALID_DEVICE);
#undef REFUSED
	cl_close(&cl);
}

static void no_call(cl_program program, void *arg)
{
	(void)program;
	(void)arg;
}

static void test_queries(void)
{
	static const char two[] = "arax_scan_inclusive_uint;arax_reduce_sum_uint";
	struct cl cl;
	char text[256];
	size_t size = 1, most[3] = {0};
	unsigned char byte = 7, *where = &byte;
	cl_build_status status;
	cl_program_binary_type type = 0;

	need_builtins();
	cl = cl_open(0);
	cl_program program = builtin_program(cl.ctx, two);
	CHECK_EQ(INFO(cl_uint, clGetProgramInfo, program, CL_PROGRAM_NUM_DEVICES), 1);
	CHECK_EQ(INFO(size_t, clGetProgramInfo, program, CL_PROGRAM_NUM_KERNELS), 2);
	CHECK_CL(clGetProgramInfo(program, CL_PROGRAM_KERNEL_NAMES, sizeof(text), text, NULL));
	CHECK(!strcmp(text, two));
	CHECK_CL(clGetProgramInfo(program, CL_PROGRAM_SOURCE, sizeof(text), text, &size));
	CHECK(size == 1 && !text[0]);
	CHECK_EQ(INFO(size_t, clGetProgramInfo, program, CL_PROGRAM_BINARY_SIZES), 0);
	CHECK_CL(clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof(where), &where, NULL));
	CHECK(byte == 7);
	CHECK_CL(clGetProgramBuildInfo(program, cltest_device, CL_PROGRAM_BUILD_STATUS,
				       sizeof(status), &status, NULL));
	CHECK_EQ(status, CL_BUILD_SUCCESS);
	CHECK_CL(clGetProgramBuildInfo(program, cltest_device, CL_PROGRAM_BINARY_TYPE, sizeof(type),
				       &type, NULL));
	CHECK_EQ(type, CL_PROGRAM_BINARY_TYPE_EXECUTABLE);
	CHECK_CL(clGetProgramBuildInfo(program, cltest_device, CL_PROGRAM_BUILD_OPTIONS,
				       sizeof(text), text, NULL));
	CHECK(!text[0]);

	/* It is built, and neither to be built nor compiled nor linked. */
	CHECK_ERR(clBuildProgram(program, 0, NULL, "", NULL, NULL), CL_INVALID_OPERATION);
	CHECK_ERR(clBuildProgram(program, 1, &cltest_device, NULL, no_call, NULL),
		  CL_INVALID_OPERATION);
	CHECK_ERR(clCompileProgram(program, 0, NULL, "", 0, NULL, NULL, NULL, NULL),
		  CL_INVALID_OPERATION);
	cl_int error = 0;
	CHECK(!clLinkProgram(cl.ctx, 0, NULL, "", 1, &program, NULL, NULL, &error));
	CHECK_EQ(error, CL_INVALID_OPERATION);

	cl_kernel kernels[3] = {0}, other;
	cl_uint count = 0;
	CHECK_CL(clCreateKernelsInProgram(program, 3, kernels, &count));
	CHECK_EQ(count, 2);
	other = clCreateKernel(program, "arax_reduce_sum_float", &error);
	CHECK(!other);
	CHECK_EQ(error, CL_INVALID_KERNEL_NAME);
	CHECK_EQ(INFO(cl_uint, clGetKernelInfo, kernels[0], CL_KERNEL_NUM_ARGS), 3);
	CHECK(INFO(cl_program, clGetKernelInfo, kernels[0], CL_KERNEL_PROGRAM) == program);
	CHECK_CL(clGetKernelInfo(kernels[0], CL_KERNEL_ATTRIBUTES, sizeof(text), text, NULL));
	CHECK(!text[0]);
	CHECK_CL(
	    clGetKernelArgInfo(kernels[0], 1, CL_KERNEL_ARG_TYPE_NAME, sizeof(text), text, NULL));
	CHECK(!strcmp(text, "uint*"));
	CHECK_CL(clGetKernelWorkGroupInfo(kernels[0], cltest_device, CL_KERNEL_GLOBAL_WORK_SIZE,
					  sizeof(most), most, NULL));
	CHECK(most[0] && most[1] && most[2]);
	for (int i = 0; i < 2; i++)
		CHECK_CL(clReleaseKernel(kernels[i]));
	CHECK_CL(clReleaseProgram(program));

	/* Of other programs' kernels nobody can ask that. */
	program = cltest_build(cl.ctx, "kernel void nothing() {}", "");
	other = cltest_kernel(program, "nothing");
	CHECK_ERR(clGetKernelWorkGroupInfo(other, cltest_device, CL_KERNEL_GLOBAL_WORK_SIZE,
					   sizeof(most), most, NULL),
		  CL_INVALID_VALUE);
	CHECK_CL(clReleaseKernel(other));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

/* ---- the kernels ----------------------------------------------------------------------------- */

struct gemm {
	cl_uint m, n, k, lda, ldb, ldc;
	float alpha, beta;
};

static void gemm_check(const struct gemm *g, const float *a, const float *b, const float *before,
		       const float *c)
{
	for (size_t i = 0; i < g->m; i++) {
		for (size_t j = 0; j < g->ldc; j++) {
			double sum = 0, magnitude = 0, old = before[i * g->ldc + j];

			if (j >= g->n) {
				CHECK(!memcmp(&c[i * g->ldc + j], &before[i * g->ldc + j], 4));
				continue;
			}
			for (size_t l = 0; l < g->k; l++) {
				double term = (double)a[i * g->lda + l] * b[l * g->ldb + j];

				sum += term;
				magnitude += fabs(term);
			}
			sum *= g->alpha;
			magnitude *= fabs(g->alpha);
			if (g->beta != 0) {
				sum += g->beta * old;
				magnitude += fabs(g->beta * old);
			}
			check_sum(c[i * g->ldc + j], sum, magnitude, g->k + 2.0, "sgemm",
				  i * g->ldc + j);
		}
	}
}

static void gemm_run(const struct run *run, const struct gemm *g, const size_t *global,
		     const size_t *local)
{
	size_t na = (size_t)g->m * g->lda, nb = (size_t)(g->k ? g->k : 1) * g->ldb,
	       nc = (size_t)g->m * g->ldc;
	float *a = floats(na, 1), *b = floats(nb, 2), *before = floats(nc, 3);
	float *c = floats(nc, 4);

	/* Without beta whatever is there is not read. */
	for (size_t i = 0; g->beta == 0 && i < nc; i++)
		before[i] = NAN;
	cl_mem ma = buffer_with(run, a, na * 4), mb = buffer_with(run, b, nb * 4),
	       mc = buffer_with(run, before, nc * 4);
	const struct {
		size_t size;
		const void *value;
	} args[] = {{4, &g->m},	       {4, &g->n},	  {4, &g->k},	     {4, &g->alpha},
		    {sizeof(ma), &ma}, {4, &g->lda},	  {sizeof(mb), &mb}, {4, &g->ldb},
		    {4, &g->beta},     {sizeof(mc), &mc}, {4, &g->ldc}};
	for (cl_uint i = 0; i < ARRAY_SIZE(args); i++)
		cltest_arg(run->kernel, i, args[i].size, args[i].value);
	launch(run, 2, global, local);
	read_back(run, mc, c, nc * 4);
	gemm_check(g, a, b, before, c);
	CHECK_CL(clReleaseMemObject(ma));
	CHECK_CL(clReleaseMemObject(mb));
	CHECK_CL(clReleaseMemObject(mc));
	free(a);
	free(b);
	free(c);
	free(before);
}

static void test_sgemm(void)
{
	static const struct gemm shapes[] = {
	    {1, 1, 1, 1, 1, 1, 1, 0},	      {6, 16, 256, 256, 16, 16, 1, 0},
	    {7, 17, 3, 5, 19, 23, 2, 0.5f},   {97, 33, 40, 40, 33, 33, -1, 1},
	    {13, 40, 300, 301, 41, 42, 1, 0}, {5, 9, 0, 1, 9, 9, 1, 3}};
	static const size_t globals[][2] = {{1, 1}, {8, 4}, {64, 2}},
			    locals[][2] = {{4, 2}, {8, 1}};
	struct run run = run_open("arax_sgemm");

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		const struct gemm *g = &shapes[i];
		/* llvmpipe ends a work-item's loops after 65535 rounds, without a word. */
		bool many = (size_t)g->m * g->n * (g->k + 1) > 30000;

		for (size_t j = many; j < ARRAY_SIZE(globals); j++)
			gemm_run(&run, &shapes[i], globals[j], NULL);
		gemm_run(&run, &shapes[i], globals[1], locals[0]);
		gemm_run(&run, &shapes[i], globals[2], locals[1]);
	}
	run_close(&run);
}

/* Of n elements, in groups of that size. */
static void reduce_run(const struct run *run, cl_uint n, size_t groups, size_t local, bool whole)
{
	cl_uint *in = uints(n, n);
	float *values = floats(n, n), *sums = floats(groups, 1);
	cl_uint *counts = uints(groups, 1), total = 0, got = 0;
	double sum = 0, magnitude = 0, result = 0;
	size_t global = groups * local;
	cl_mem min = buffer_with(run, whole ? (void *)in : values, (n ? n : 1) * 4),
	       mresult = buffer_with(run, counts, groups * 4);

	cltest_arg(run->kernel, 0, sizeof(mresult), &mresult);
	cltest_arg(run->kernel, 1, sizeof(min), &min);
	cltest_arg(run->kernel, 2, sizeof(n), &n);
	launch(run, 1, &global, &local);
	read_back(run, mresult, whole ? (void *)counts : sums, groups * 4);
	for (cl_uint i = 0; i < n; i++) {
		total += in[i];
		sum += values[i];
		magnitude += fabs(values[i]);
	}
	for (size_t i = 0; i < groups; i++) {
		got += counts[i];
		result += whole ? 0 : sums[i];
	}
	if (whole)
		CHECK_EQ(got, total);
	else
		check_sum((float)result, sum, magnitude, n, "reduce", n);
	CHECK_CL(clReleaseMemObject(min));
	CHECK_CL(clReleaseMemObject(mresult));
	free(in);
	free(values);
	free(sums);
	free(counts);
}

static void reduce_all(const char *name, bool whole)
{
	static const cl_uint sizes[] = {0, 1, 31, 257, 4096, 10007};
	struct run run = run_open(name);

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		reduce_run(&run, sizes[i], 1, 1, whole);
		reduce_run(&run, sizes[i], 1, 64, whole);
		reduce_run(&run, sizes[i], 5, 7, whole);
		reduce_run(&run, sizes[i], 4, 64, whole);
	}
	run_close(&run);
}

static void test_reduce_sum_float(void)
{
	reduce_all("arax_reduce_sum_float", false);
}

static void test_reduce_sum_uint(void)
{
	reduce_all("arax_reduce_sum_uint", true);
}

static void scan_run(const struct run *run, cl_uint n, size_t local, size_t groups, bool inclusive,
		     bool in_place)
{
	cl_uint *in = uints(n, n + 1), *out = uints(n, 9), sum = 0;
	size_t size = (n ? n : 1) * sizeof(*in), global = groups * local;
	cl_mem min = buffer_with(run, in, size),
	       mout = in_place ? min : buffer_with(run, out, size);

	cltest_arg(run->kernel, 0, sizeof(mout), &mout);
	cltest_arg(run->kernel, 1, sizeof(min), &min);
	cltest_arg(run->kernel, 2, sizeof(n), &n);
	launch(run, 1, &global, &local);
	read_back(run, mout, out, size);
	for (cl_uint i = 0; i < n; i++) {
		CHECK_EQ(out[i], inclusive ? sum + in[i] : sum);
		sum += in[i];
	}
	CHECK_CL(clReleaseMemObject(min));
	if (!in_place)
		CHECK_CL(clReleaseMemObject(mout));
	free(in);
	free(out);
}

static void test_scan(void)
{
	static const cl_uint sizes[] = {0, 1, 63, 64, 1000, 5003};

	for (int inclusive = 0; inclusive < 2; inclusive++) {
		struct run run =
		    run_open(inclusive ? "arax_scan_inclusive_uint" : "arax_scan_exclusive_uint");

		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			scan_run(&run, sizes[i], 1, 1, inclusive, false);
			scan_run(&run, sizes[i], 64, 1, inclusive, false);
			scan_run(&run, sizes[i], 33, 3, inclusive, false);
			scan_run(&run, sizes[i], 64, 1, inclusive, true);
		}
		run_close(&run);
	}
}

static void conv_check(const float *in, const float *filter, const float *out, cl_uint width,
		       cl_uint height, cl_uint fw, cl_uint fh)
{
	for (int y = 0; y < (int)height; y++) {
		for (int x = 0; x < (int)width; x++) {
			double sum = 0, magnitude = 0;

			for (int j = 0; j < (int)fh; j++) {
				for (int i = 0; i < (int)fw; i++) {
					int row = y + j - (int)fh / 2, column = x + i - (int)fw / 2;

					if (row < 0 || row >= (int)height || column < 0 ||
					    column >= (int)width)
						continue;
					double term = (double)filter[j * (int)fw + i] *
						      in[row * (int)width + column];
					sum += term;
					magnitude += fabs(term);
				}
			}
			check_sum(out[y * (int)width + x], sum, magnitude, fw * fh, "conv2d",
				  (size_t)(y * (int)width + x));
		}
	}
}

static void test_conv2d(void)
{
	static const struct {
		cl_uint width, height, fw, fh;
		size_t global[2];
	} shapes[] = {{1, 1, 1, 1, {1, 1}},   {40, 9, 3, 3, {8, 2}}, {67, 13, 5, 1, {4, 4}},
		      {33, 8, 1, 7, {64, 1}}, {3, 5, 9, 9, {2, 2}},  {130, 6, 7, 5, {16, 3}}};
	struct run run = run_open("arax_conv2d_float");

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		cl_uint width = shapes[i].width, height = shapes[i].height, fw = shapes[i].fw,
			fh = shapes[i].fh;
		size_t n = (size_t)width * height;
		float *in = floats(n, 5), *filter = floats(fw * fh, 6), *out = floats(n, 7);
		cl_mem min = buffer_with(&run, in, n * 4),
		       mfilter = buffer_with(&run, filter, fw * fh * 4),
		       mout = buffer_with(&run, out, n * 4);

		cltest_arg(run.kernel, 0, sizeof(mout), &mout);
		cltest_arg(run.kernel, 1, sizeof(min), &min);
		cltest_arg(run.kernel, 2, sizeof(width), &width);
		cltest_arg(run.kernel, 3, sizeof(height), &height);
		cltest_arg(run.kernel, 4, sizeof(mfilter), &mfilter);
		cltest_arg(run.kernel, 5, sizeof(fw), &fw);
		cltest_arg(run.kernel, 6, sizeof(fh), &fh);
		launch(&run, 2, shapes[i].global, NULL);
		read_back(&run, mout, out, n * 4);
		conv_check(in, filter, out, width, height, fw, fh);
		CHECK_CL(clReleaseMemObject(min));
		CHECK_CL(clReleaseMemObject(mfilter));
		CHECK_CL(clReleaseMemObject(mout));
		free(in);
		free(filter);
		free(out);
	}
	run_close(&run);
}

static void test_histogram(void)
{
	static const size_t globals[] = {1, 64, 320};
	struct run run = run_open("arax_histogram_uint8");
	cl_uint before[256], expected[256], got[256], n = 5001;
	unsigned char in[5001];
	uint64_t state = 3;

	for (size_t i = 0; i < 256; i++)
		before[i] = (cl_uint)i * 3;
	for (size_t i = 0; i < ARRAY_SIZE(globals); i++) {
		size_t local = globals[i] == 1 ? 1 : 32;

		memcpy(expected, before, sizeof(before));
		for (size_t j = 0; j < n; j++) {
			in[j] = (unsigned char)(next(&state) % (i ? 256 : 3));
			expected[in[j]]++;
		}
		cl_mem min = buffer_with(&run, in, n), mout = buffer_with(&run, before, 1024);
		cltest_arg(run.kernel, 0, sizeof(mout), &mout);
		cltest_arg(run.kernel, 1, sizeof(min), &min);
		cltest_arg(run.kernel, 2, sizeof(n), &n);
		launch(&run, 1, &globals[i], &local);
		read_back(&run, mout, got, sizeof(got));
		CHECK_BYTES(got, expected, sizeof(got));
		CHECK_CL(clReleaseMemObject(min));
		CHECK_CL(clReleaseMemObject(mout));
	}
	run_close(&run);
}

static const struct cltest tests[] = {
    TEST(lists),	   TEST(errors), TEST(queries), TEST(sgemm),	 TEST(reduce_sum_float),
    TEST(reduce_sum_uint), TEST(scan),	 TEST(conv2d),	TEST(histogram),
};

CLTEST_MAIN(tests)
