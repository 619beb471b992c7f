/*
 * How fast the built-in kernels are: the reference, whose source is built like any application's,
 * and what clCreateProgramWithBuiltInKernels gives, which is a variant tuned for the device where
 * there is one. Prints a line for each; no test.
 *
 *   bench_builtin FOLDER [SIZE]    the folder with the references (kernels/variants)
 */
#include "cltest.h"

#include <math.h>
#include <time.h>

#define ROUNDS 5

struct bench {
	struct cl cl;
	const char *folder;
	cl_mem a, b, c;
	cl_uint n;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static cl_program from_source(const struct bench *bench, const char *file)
{
	char path[4096], *text = calloc(1, 1 << 20);

	snprintf(path, sizeof(path), "%s/%s", bench->folder, file);
	FILE *in = fopen(path, "r");
	CHECK(text && in && fread(text, 1, (1 << 20) - 1, in) > 0);
	fclose(in);
	cl_program program = cltest_build(bench->cl.ctx, text, "");
	free(text);
	return program;
}

/* Seconds of the fastest of some rounds, after one that does not count. */
static double measure(const struct bench *bench, cl_kernel kernel, cl_uint dims,
		      const size_t *global, const size_t *local)
{
	double best = INFINITY;

	for (int i = 0; i <= ROUNDS; i++) {
		double begin = now();

		CHECK_CL(clEnqueueNDRangeKernel(bench->cl.q, kernel, dims, NULL, global, local, 0,
						NULL, NULL));
		CHECK_CL(clFinish(bench->cl.q));
		if (i && now() - begin < best)
			best = now() - begin;
	}
	return best;
}

static void args_gemm(const struct bench *bench, cl_kernel kernel)
{
	const float one = 1, zero = 0;
	const cl_uint n = bench->n;

	for (cl_uint i = 0; i < 3; i++)
		cltest_arg(kernel, i, sizeof(n), &n);
	cltest_arg(kernel, 3, sizeof(one), &one);
	cltest_arg(kernel, 4, sizeof(cl_mem), &bench->a);
	cltest_arg(kernel, 5, sizeof(n), &n);
	cltest_arg(kernel, 6, sizeof(cl_mem), &bench->b);
	cltest_arg(kernel, 7, sizeof(n), &n);
	cltest_arg(kernel, 8, sizeof(zero), &zero);
	cltest_arg(kernel, 9, sizeof(cl_mem), &bench->c);
	cltest_arg(kernel, 10, sizeof(n), &n);
}

static void args_reduce(const struct bench *bench, cl_kernel kernel)
{
	const cl_uint n = bench->n * bench->n;

	cltest_arg(kernel, 0, sizeof(cl_mem), &bench->c);
	cltest_arg(kernel, 1, sizeof(cl_mem), &bench->a);
	cltest_arg(kernel, 2, sizeof(n), &n);
}

static void args_conv(const struct bench *bench, cl_kernel kernel)
{
	const cl_uint filter = 5;

	cltest_arg(kernel, 0, sizeof(cl_mem), &bench->c);
	cltest_arg(kernel, 1, sizeof(cl_mem), &bench->a);
	cltest_arg(kernel, 2, sizeof(cl_uint), &bench->n);
	cltest_arg(kernel, 3, sizeof(cl_uint), &bench->n);
	cltest_arg(kernel, 4, sizeof(cl_mem), &bench->b);
	cltest_arg(kernel, 5, sizeof(filter), &filter);
	cltest_arg(kernel, 6, sizeof(filter), &filter);
}

static const struct subject {
	const char *name, *file;
	void (*args)(const struct bench *bench, cl_kernel kernel);
	cl_uint dims;
	size_t global[2], local[2];
	double operations[4]; /* n^0, n^1 ... */
} subjects[] = {
    {"arax_sgemm", "arax_gemm.cl", args_gemm, 2, {256, 64}, {16, 1}, {0, 0, 0, 2}},
    {"arax_reduce_sum_float", "arax_reduce.cl", args_reduce, 1, {4096, 1}, {64, 1}, {0, 0, 1}},
    {"arax_reduce_sum_uint", "arax_reduce.cl", args_reduce, 1, {4096, 1}, {64, 1}, {0, 0, 1}},
    {"arax_conv2d_float", "arax_conv2d.cl", args_conv, 2, {256, 64}, {16, 1}, {0, 0, 50}},
};

static void run(const struct bench *bench, const struct subject *subject)
{
	cl_program programs[2] = {from_source(bench, subject->file),
				  MUST(clCreateProgramWithBuiltInKernels(
				      bench->cl.ctx, 1, &cltest_device, subject->name, &ERR))};
	double rates[2], operations = 0;

	for (int i = 3; i >= 0; i--)
		operations = operations * bench->n + subject->operations[i];
	for (int i = 0; i < 2; i++) {
		cl_kernel kernel = cltest_kernel(programs[i], subject->name);

		subject->args(bench, kernel);
		rates[i] = operations * 1e-9 /
			   measure(bench, kernel, subject->dims, subject->global, subject->local);
		CHECK_CL(clReleaseKernel(kernel));
		CHECK_CL(clReleaseProgram(programs[i]));
	}
	printf("%-22s n %5u   reference %8.3f   built-in %8.3f   G operations/s   %5.1fx\n",
	       subject->name, bench->n, rates[0], rates[1], rates[1] / rates[0]);
}

static struct bench bench;

static void test_bench(void)
{
	size_t size = (size_t)bench.n * bench.n * 4;

	bench.cl = cl_open(0);
	bench.a = cltest_buffer(bench.cl.ctx, CL_MEM_READ_WRITE, size, NULL);
	bench.b = cltest_buffer(bench.cl.ctx, CL_MEM_READ_WRITE, size, NULL);
	bench.c = cltest_buffer(bench.cl.ctx, CL_MEM_READ_WRITE, size, NULL);
	const float value = 0.5f;
	CHECK_CL(clEnqueueFillBuffer(bench.cl.q, bench.a, &value, 4, 0, size, 0, NULL, NULL));
	CHECK_CL(clEnqueueFillBuffer(bench.cl.q, bench.b, &value, 4, 0, size, 0, NULL, NULL));
	for (size_t i = 0; i < ARRAY_SIZE(subjects); i++)
		run(&bench, &subjects[i]);
	CHECK_CL(clReleaseMemObject(bench.a));
	CHECK_CL(clReleaseMemObject(bench.b));
	CHECK_CL(clReleaseMemObject(bench.c));
	cl_close(&bench.cl);
}

int main(int argc, char **argv)
{
	static const struct cltest tests[] = {TEST(bench)};

	if (argc < 2)
		return fputs("usage: bench_builtin FOLDER [SIZE]\n", stderr), 2;
	bench.folder = argv[1];
	bench.n = argc > 2 ? (cl_uint)strtoul(argv[2], NULL, 10) : 1024;
	return cltest_main(1, argv, tests, ARRAY_SIZE(tests));
}
