/*
 * For variants.py: a program with a kernel that says who it is. A registered variant of it says
 * something else.
 *
 *   helper_variants --source       the program's source
 *   helper_variants LOCAL...       a launch of 64 work-items for each (0: the size is left open);
 *                                  prints what the kernel said, a number for each
 *   helper_variants --builtin NAMES   makes a program of built-in kernels; prints the error
 */
#include "cltest.h"

static const char source[] = "kernel void which(global int *to, int add)\n"
			     "{ to[get_global_id(0)] = 1000 + add + (int)get_local_size(0); }\n"
			     "kernel void other(global int *to) { to[get_global_id(0)] = 7; }\n";

static void launch(const struct cl *cl, cl_kernel kernel, cl_mem mem, size_t local)
{
	const size_t global = 64;
	int got[64];

	CHECK_CL(clEnqueueNDRangeKernel(cl->q, kernel, 1, NULL, &global, local ? &local : NULL, 0,
					NULL, NULL));
	CHECK_CL(clEnqueueReadBuffer(cl->q, mem, CL_TRUE, 0, sizeof(got), got, 0, NULL, NULL));
	for (int i = 1; i < 64; i++)
		CHECK_EQ(got[i], got[0]);
	printf("%d\n", got[0]);
}

static char **arguments;

static void test_launches(void)
{
	struct cl cl = cl_open(0);
	cl_program program = cltest_build(cl.ctx, source, "-DNOTHING");
	cl_kernel kernel = cltest_kernel(program, "which"), other = cltest_kernel(program, "other");
	cl_mem mem = cltest_buffer(cl.ctx, CL_MEM_READ_WRITE, 256, NULL);
	const cl_int add = 500;

	cltest_arg(kernel, 0, sizeof(mem), &mem);
	cltest_arg(kernel, 1, sizeof(add), &add);
	cltest_arg(other, 0, sizeof(mem), &mem);
	for (char **at = arguments; *at; at++)
		launch(&cl, kernel, mem, strtoul(*at, NULL, 10));
	launch(&cl, other, mem, 0);
	CHECK_CL(clReleaseKernel(kernel));
	CHECK_CL(clReleaseKernel(other));
	CHECK_CL(clReleaseMemObject(mem));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static void test_builtin(void)
{
	cl_context context = cltest_context();
	cl_int error = 1;
	cl_program program =
	    clCreateProgramWithBuiltInKernels(context, 1, &cltest_device, arguments[0], &error);

	printf("%s\n", cltest_error(error));
	if (program)
		CHECK_CL(clReleaseProgram(program));
	CHECK_CL(clReleaseContext(context));
}

int main(int argc, char **argv)
{
	static const struct cltest launches[] = {TEST(launches)}, builtin[] = {TEST(builtin)};

	if (argc == 2 && !strcmp(argv[1], "--source"))
		return fputs(source, stdout) < 0;
	arguments = argv + 1;
	if (argc != 3 || strcmp(argv[1], "--builtin") != 0)
		return cltest_main(1, argv, launches, 1);
	arguments = argv + 2;
	return cltest_main(1, argv, builtin, 1);
}
