/* Programs: building, compiling and linking, options, logs, headers, binaries, infos and errors. */
#include "cltest.h"
#include <sys/stat.h>

static const char good[] = "kernel void put(global int *p) { p[get_global_id(0)] = VALUE; }\n"
			   "kernel void other(global int *p) { p[0] = -VALUE; }\n";
static const char simple[] = "kernel void put(global int *p) { p[get_global_id(0)] = 12; }\n";
static const char bad[] = "kernel void put(global int *p) { p[0] = undeclared_name_xyz; }\n";

/* Runs the kernel "put" of a built program and returns the word that it stores. */
static int run_put(struct cl *cl, cl_program program)
{
	cl_kernel k = cltest_kernel(program, "put");
	cl_mem b = cltest_buffer(cl->ctx, 0, 16, NULL);
	int out[4] = {0};

	cltest_arg(k, 0, sizeof(b), &b);
	cltest_launch(cl->q, k, 4);
	CHECK_CL(clEnqueueReadBuffer(cl->q, b, CL_TRUE, 0, sizeof(out), out, 0, NULL, NULL));
	CHECK(out[0] == out[1] && out[0] == out[2] && out[0] == out[3]);
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseMemObject(b));
	return out[0];
}

static cl_build_status build_status(cl_program program)
{
	cl_build_status status = 99;

	CHECK_CL(clGetProgramBuildInfo(program, cltest_device, CL_PROGRAM_BUILD_STATUS,
				       sizeof(status), &status, NULL));
	return status;
}

static cl_program_binary_type binary_type(cl_program program)
{
	cl_program_binary_type type = 99;

	CHECK_CL(clGetProgramBuildInfo(program, cltest_device, CL_PROGRAM_BINARY_TYPE, sizeof(type),
				       &type, NULL));
	return type;
}

static cl_int build(cl_program program, const char *options)
{
	return clBuildProgram(program, 1, &cltest_device, options, NULL, NULL);
}

static void test_build(void)
{
	struct cl cl = cl_open(0);
	cl_program program = cltest_program(cl.ctx, good);

	CHECK_EQ(build_status(program), CL_BUILD_NONE);
	CHECK_EQ(binary_type(program), CL_PROGRAM_BINARY_TYPE_NONE);
	CHECK_CL(build(program, "-DVALUE=77"));
	CHECK_EQ(build_status(program), CL_BUILD_SUCCESS);
	CHECK_EQ(binary_type(program), CL_PROGRAM_BINARY_TYPE_EXECUTABLE);
	CHECK_EQ(run_put(&cl, program), 77);
	/* Built again with other options, by a device list of NULL. */
	CHECK_CL(clBuildProgram(program, 0, NULL, "-D VALUE=5 -cl-mad-enable", NULL, NULL));
	CHECK_EQ(run_put(&cl, program), 5);
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static void test_source_pieces(void)
{
	static const char *pieces[] = {"kernel void put(global int *p) ", "{ p[get_global_id(0)]",
				       "", " = 3XXX", "1; }\nGARBAGE"};
	const size_t lengths[] = {0, 0, 0, 4, 5};
	struct cl cl = cl_open(0);
	cl_program program;
	char source[256];
	size_t size;

	program = MUST(clCreateProgramWithSource(cl.ctx, 5, pieces, lengths, &ERR));
	CHECK_CL(clGetProgramInfo(program, CL_PROGRAM_SOURCE, sizeof(source), source, &size));
	CHECK(!strcmp(source, "kernel void put(global int *p) { p[get_global_id(0)] = 31; }\n"));
	CHECK_EQ(size, strlen(source) + 1);
	CHECK_CL(build(program, NULL));
	CHECK_EQ(run_put(&cl, program), 31);
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static void test_create_errors(void)
{
	struct cl cl = cl_open(0);
	const char *null[] = {simple, NULL}, *one = simple;
	const unsigned char junk[] = "this is no program binary at all", *junks[] = {junk};
	const unsigned char *null_binary[] = {NULL};
	size_t length = sizeof(junk), zero = 0;
	cl_int status = 77;

	CREATE_ERR(clCreateProgramWithSource(NULL, 1, &one, NULL, &ERR), CL_INVALID_CONTEXT);
	CREATE_ERR(clCreateProgramWithSource(cl.ctx, 0, &one, NULL, &ERR), CL_INVALID_VALUE);
	if (!native_bug()) { /* PoCL follows the NULL */
		CREATE_ERR(clCreateProgramWithSource(cl.ctx, 1, NULL, NULL, &ERR),
			   CL_INVALID_VALUE);
		CREATE_ERR(clCreateProgramWithSource(cl.ctx, 2, null, NULL, &ERR),
			   CL_INVALID_VALUE);
	}
	CREATE_ERR(
	    clCreateProgramWithBinary(NULL, 1, &cltest_device, &length, junks, &status, &ERR),
	    CL_INVALID_CONTEXT);
	CREATE_ERR(
	    clCreateProgramWithBinary(cl.ctx, 0, &cltest_device, &length, junks, &status, &ERR),
	    CL_INVALID_VALUE);
	CREATE_ERR(clCreateProgramWithBinary(cl.ctx, 1, NULL, &length, junks, &status, &ERR),
		   CL_INVALID_VALUE);
	CREATE_ERR(clCreateProgramWithBinary(cl.ctx, 1, &cltest_device, NULL, junks, &status, &ERR),
		   CL_INVALID_VALUE);
	CREATE_ERR(
	    clCreateProgramWithBinary(cl.ctx, 1, &cltest_device, &zero, junks, &status, &ERR),
	    CL_INVALID_VALUE);
	CREATE_ERR(clCreateProgramWithBinary(cl.ctx, 1, &cltest_device, &length, null_binary,
					     &status, &ERR),
		   CL_INVALID_VALUE);
	CREATE_ERR(
	    clCreateProgramWithBinary(cl.ctx, 1, &cltest_device, &length, junks, &status, &ERR),
	    CL_INVALID_BINARY);
	CHECK_EQ(status, CL_INVALID_BINARY);
	cl_close(&cl);
}

static void test_il_unsupported(void)
{
	struct cl cl = cl_open(0);
	static const cl_uint spirv[8] = {0x07230203, 0x00010000, 0, 1, 0};
	char versions[256] = "x";

	CHECK_CL(
	    clGetDeviceInfo(cltest_device, CL_DEVICE_IL_VERSION, sizeof(versions), versions, NULL));
	if (versions[0])
		SKIP("the device takes an IL");
	SKIP_NATIVE("judges the IL before whether the device takes any");
	CREATE_ERR(clCreateProgramWithIL(cl.ctx, spirv, sizeof(spirv), &ERR), CL_INVALID_OPERATION);
	cl_close(&cl);
}

static void test_built_in_kernels(void)
{
	struct cl cl = cl_open(0);

	CREATE_ERR(clCreateProgramWithBuiltInKernels(NULL, 1, &cltest_device, "x", &ERR),
		   CL_INVALID_CONTEXT);
	CREATE_ERR(clCreateProgramWithBuiltInKernels(cl.ctx, 0, NULL, "x", &ERR), CL_INVALID_VALUE);
	CREATE_ERR(clCreateProgramWithBuiltInKernels(cl.ctx, 1, &cltest_device, NULL, &ERR),
		   CL_INVALID_VALUE);
	CREATE_ERR(
	    clCreateProgramWithBuiltInKernels(cl.ctx, 1, &cltest_device, "no.such.kernel", &ERR),
	    CL_INVALID_VALUE);
	cl_close(&cl);
}

/* An option nobody knows is CL_INVALID_BUILD_OPTIONS; an OpenCV module depends on it. */
static void test_invalid_options(void)
{
	struct cl cl = cl_open(0);
	cl_program program = cltest_program(cl.ctx, simple);

	CHECK_ERR(build(program, "-foo-bar-nonsense"), CL_INVALID_BUILD_OPTIONS);
	CHECK_ERR(build(program, "-cl-std=CL1.2 --this-is-no-option"), CL_INVALID_BUILD_OPTIONS);
	CHECK_ERR(
	    clCompileProgram(program, 0, NULL, "-foo-bar-nonsense", 0, NULL, NULL, NULL, NULL),
	    CL_INVALID_COMPILER_OPTIONS);
	CHECK_CL(build(program, ""));
	CHECK_EQ(run_put(&cl, program), 12);
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static void test_valid_options(void)
{
	static const char *options[] = {
	    "",
	    "-cl-opt-disable",
	    "-cl-fast-relaxed-math",
	    "-cl-std=CL1.2",
	    "-cl-std=CL1.1 -w",
	    "-cl-single-precision-constant -cl-denorms-are-zero",
	    "-cl-finite-math-only -cl-no-signed-zeros -cl-unsafe-math-optimizations",
	    "-cl-kernel-arg-info",
	    "-DA -D B=3 -I . -I/tmp",
	    "  -DX   -DY  ",
	};
	struct cl cl = cl_open(0);

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		cl_program program = cltest_build(cl.ctx, simple, options[i]);
		char text[256];
		size_t size;

		CHECK_EQ(run_put(&cl, program), 12);
		CHECK_CL(clGetProgramBuildInfo(program, cltest_device, CL_PROGRAM_BUILD_OPTIONS,
					       sizeof(text), text, &size));
		if (!native_bug()) /* PoCL reports what it made of them */
			CHECK(!strcmp(text, options[i]));
		CHECK_EQ(size, strlen(text) + 1);
		CHECK_CL(clReleaseProgram(program));
	}
	cl_close(&cl);
}

static void test_failing_build(void)
{
	struct cl cl = cl_open(0);
	cl_program program = cltest_program(cl.ctx, bad);
	char log[16384] = "";
	size_t size = 0;

	CHECK_ERR(build(program, NULL), CL_BUILD_PROGRAM_FAILURE);
	CHECK_EQ(build_status(program), CL_BUILD_ERROR);
	CHECK_CL(
	    clGetProgramBuildInfo(program, cltest_device, CL_PROGRAM_BUILD_LOG, 0, NULL, &size));
	CHECK(size > 1 && size < sizeof(log));
	CHECK_CL(clGetProgramBuildInfo(program, cltest_device, CL_PROGRAM_BUILD_LOG, sizeof(log),
				       log, NULL));
	CHECK(strstr(log, "undeclared_name_xyz"));
	CHECK_ERR(clGetProgramBuildInfo(program, cltest_device, CL_PROGRAM_BUILD_LOG, 1, log, NULL),
		  CL_INVALID_VALUE);
	CREATE_ERR(clCreateKernel(program, "put", &ERR), CL_INVALID_PROGRAM_EXECUTABLE);
	/* #error directives and warnings reach the log too. */
	CHECK_CL(clReleaseProgram(program));
	program = cltest_program(cl.ctx, "#error tell_me_so\n");
	CHECK_ERR(build(program, NULL), CL_BUILD_PROGRAM_FAILURE);
	CHECK_CL(clGetProgramBuildInfo(program, cltest_device, CL_PROGRAM_BUILD_LOG, sizeof(log),
				       log, NULL));
	CHECK(strstr(log, "tell_me_so"));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static void test_build_errors(void)
{
	struct cl cl = cl_open(0);
	cl_program program = cltest_program(cl.ctx, simple);
	cl_kernel k;

	CHECK_ERR(clBuildProgram(NULL, 0, NULL, NULL, NULL, NULL), CL_INVALID_PROGRAM);
	CHECK_ERR(clBuildProgram(program, 1, NULL, NULL, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clBuildProgram(program, 0, &cltest_device, NULL, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clBuildProgram(program, 0, NULL, NULL, NULL, &cl), CL_INVALID_VALUE);
	CHECK_CL(build(program, NULL));
	k = cltest_kernel(program, "put");
	CHECK_ERR(build(program, NULL), CL_INVALID_OPERATION);
	CHECK_ERR(clCompileProgram(program, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL),
		  CL_INVALID_OPERATION);
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(build(program, NULL));
	CHECK_EQ(run_put(&cl, program), 12);
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

struct notify {
	atomic_int calls;
	cl_program program;
	cl_build_status status;
};

static void CL_CALLBACK on_built(cl_program program, void *user)
{
	struct notify *n = user;

	n->program = program;
	clGetProgramBuildInfo(program, cltest_device, CL_PROGRAM_BUILD_STATUS, sizeof(n->status),
			      &n->status, NULL);
	atomic_fetch_add(&n->calls, 1);
}

/* The call-back runs once, in the client, on success and on failure, and may query the program. */
static void test_async_build(void)
{
	struct cl cl = cl_open(0);
	cl_program program = cltest_program(cl.ctx, simple);
	struct notify n = {0};

	CHECK_CL(clBuildProgram(program, 1, &cltest_device, "-DQ", on_built, &n));
	cltest_await(&n.calls, 1);
	CHECK(n.program == program);
	CHECK_EQ(n.status, CL_BUILD_SUCCESS);
	CHECK_EQ(run_put(&cl, program), 12);
	CHECK_EQ(atomic_load(&n.calls), 1);
	CHECK_CL(clReleaseProgram(program));
	program = cltest_program(cl.ctx, bad);
	n = (struct notify){0};
	ERR = clBuildProgram(program, 1, &cltest_device, NULL, on_built, &n);
	CHECK(ERR == CL_SUCCESS || ERR == CL_BUILD_PROGRAM_FAILURE);
	cltest_await(&n.calls, 1);
	CHECK_EQ(n.status, CL_BUILD_ERROR);
	CHECK_EQ(build_status(program), CL_BUILD_ERROR);
	CHECK_EQ(atomic_load(&n.calls), 1);
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static void test_async_compile_and_link(void)
{
	struct cl cl = cl_open(0);
	cl_program program = cltest_program(cl.ctx, simple), linked;
	struct notify n = {0}, m = {0};

	CHECK_CL(clCompileProgram(program, 1, &cltest_device, NULL, 0, NULL, NULL, on_built, &n));
	cltest_await(&n.calls, 1);
	CHECK(n.program == program);
	CHECK_EQ(n.status, CL_BUILD_SUCCESS);
	linked =
	    MUST(clLinkProgram(cl.ctx, 1, &cltest_device, NULL, 1, &program, on_built, &m, &ERR));
	cltest_await(&m.calls, 1);
	CHECK(m.program == linked);
	CHECK_EQ(m.status, CL_BUILD_SUCCESS);
	CHECK_EQ(run_put(&cl, linked), 12);
	CHECK_CL(clReleaseProgram(linked));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static void test_compile_and_link(void)
{
	static const char lib[] = "#include \"twice.h\"\nint twice(int x) { return x * FACTOR; }\n";
	static const char user[] = "#include \"deep/twice.h\"\n"
				   "kernel void put(global int *p)"
				   "{ p[get_global_id(0)] = twice(21); }\n";
	static const char header[] = "#define FACTOR 2\nint twice(int x);\n";
	struct cl cl = cl_open(0);
	cl_program h = cltest_program(cl.ctx, header), p[2], linked;
	const char *name1 = "twice.h", *name2 = "deep/twice.h";

	p[0] = cltest_program(cl.ctx, lib);
	p[1] = cltest_program(cl.ctx, user);
	CHECK_CL(clCompileProgram(p[0], 1, &cltest_device, NULL, 1, &h, &name1, NULL, NULL));
	CHECK_CL(clCompileProgram(p[1], 1, &cltest_device, NULL, 1, &h, &name2, NULL, NULL));
	CHECK_EQ(binary_type(p[0]), CL_PROGRAM_BINARY_TYPE_COMPILED_OBJECT);
	if (!native_bug()) /* PoCL says CL_INVALID_KERNEL_NAME */
		CREATE_ERR(clCreateKernel(p[1], "put", &ERR), CL_INVALID_PROGRAM_EXECUTABLE);
	linked = MUST(clLinkProgram(cl.ctx, 1, &cltest_device, NULL, 2, p, NULL, NULL, &ERR));
	CHECK_EQ(binary_type(linked), CL_PROGRAM_BINARY_TYPE_EXECUTABLE);
	CHECK_CL(clReleaseProgram(h));
	CHECK_CL(clReleaseProgram(p[0]));
	CHECK_CL(clReleaseProgram(p[1]));
	CHECK_EQ(run_put(&cl, linked), 42);
	CHECK_CL(clReleaseProgram(linked));
	cl_close(&cl);
}

/* A library made by -create-library is linked into a program in a second step. */
static void test_library(void)
{
	static const char lib[] = "int twice(int x) { return x + x; }\n";
	static const char user[] = "int twice(int x);\nkernel void put(global int *p)"
				   "{ p[get_global_id(0)] = twice(33); }\n";
	struct cl cl = cl_open(0);
	cl_program p[2], library, linked;

	p[0] = cltest_program(cl.ctx, lib);
	p[1] = cltest_program(cl.ctx, user);
	for (int i = 0; i < 2; i++)
		CHECK_CL(clCompileProgram(p[i], 0, NULL, NULL, 0, NULL, NULL, NULL, NULL));
	library = MUST(clLinkProgram(cl.ctx, 0, NULL, "-create-library", 1, p, NULL, NULL, &ERR));
	CHECK_EQ(binary_type(library), CL_PROGRAM_BINARY_TYPE_LIBRARY);
	CHECK_CL(clReleaseProgram(p[0]));
	p[0] = library;
	linked = MUST(clLinkProgram(cl.ctx, 0, NULL, "", 2, p, NULL, NULL, &ERR));
	CHECK_EQ(run_put(&cl, linked), 66);
	CHECK_CL(clReleaseProgram(library));
	CHECK_CL(clReleaseProgram(p[1]));
	CHECK_CL(clReleaseProgram(linked));
	cl_close(&cl);
}

static void test_failing_compile(void)
{
	struct cl cl = cl_open(0);
	cl_program program = cltest_program(cl.ctx, bad), h = cltest_program(cl.ctx, "\n");
	const char *name = "x.h";
	char log[8192] = "";

	CHECK_ERR(clCompileProgram(program, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL),
		  CL_COMPILE_PROGRAM_FAILURE);
	CHECK_EQ(build_status(program), CL_BUILD_ERROR);
	CHECK_CL(clGetProgramBuildInfo(program, cltest_device, CL_PROGRAM_BUILD_LOG, sizeof(log),
				       log, NULL));
	CHECK(strstr(log, "undeclared_name_xyz"));
	CHECK_ERR(clCompileProgram(NULL, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL),
		  CL_INVALID_PROGRAM);
	if (!native_bug()) { /* PoCL does not look at the header arguments */
		CHECK_ERR(clCompileProgram(program, 0, NULL, NULL, 0, &h, &name, NULL, NULL),
			  CL_INVALID_VALUE);
		CHECK_ERR(clCompileProgram(program, 0, NULL, NULL, 1, NULL, NULL, NULL, NULL),
			  CL_INVALID_VALUE);
		CHECK_ERR(clCompileProgram(program, 0, NULL, NULL, 1, &h, NULL, NULL, NULL),
			  CL_INVALID_VALUE);
	}
	CHECK_CL(clReleaseProgram(program));
	CHECK_CL(clReleaseProgram(h));
	cl_close(&cl);
}

/* A link that fails gives a program all the same, with its status and log. */
static void test_failing_link(void)
{
	static const char user[] = "int missing_function(int x);\nkernel void put(global int *p)"
				   "{ p[0] = missing_function(p[1]); }\n";
	struct cl cl = cl_open(0);
	cl_program program = cltest_program(cl.ctx, user), linked;
	size_t size = 0;

	SKIP_NATIVE("a failed link gives no program");
	CHECK_CL(clCompileProgram(program, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL));
	linked = clLinkProgram(cl.ctx, 1, &cltest_device, NULL, 1, &program, NULL, NULL, &ERR);
	CHECK_EQ(ERR, CL_LINK_PROGRAM_FAILURE);
	CHECK(linked);
	CHECK_EQ(build_status(linked), CL_BUILD_ERROR);
	CHECK_CL(
	    clGetProgramBuildInfo(linked, cltest_device, CL_PROGRAM_BUILD_LOG, 0, NULL, &size));
	CHECK(size > 1);
	CREATE_ERR(clCreateKernel(linked, "put", &ERR), CL_INVALID_PROGRAM_EXECUTABLE);
	CHECK_CL(clReleaseProgram(linked));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static void test_link_errors(void)
{
	struct cl cl = cl_open(0);
	cl_program program = cltest_program(cl.ctx, simple), p[1] = {program};

	CREATE_ERR(clLinkProgram(NULL, 0, NULL, NULL, 1, p, NULL, NULL, &ERR), CL_INVALID_CONTEXT);
	CREATE_ERR(clLinkProgram(cl.ctx, 0, NULL, NULL, 0, p, NULL, NULL, &ERR), CL_INVALID_VALUE);
	CREATE_ERR(clLinkProgram(cl.ctx, 0, NULL, NULL, 1, NULL, NULL, NULL, &ERR),
		   CL_INVALID_VALUE);
	CREATE_ERR(clLinkProgram(cl.ctx, 1, NULL, NULL, 1, p, NULL, NULL, &ERR), CL_INVALID_VALUE);
	if (!native_bug()) /* PoCL looks at the programs first */
		CREATE_ERR(clLinkProgram(cl.ctx, 0, NULL, NULL, 1, p, NULL, &cl, &ERR),
			   CL_INVALID_VALUE);
	CREATE_ERR(clLinkProgram(cl.ctx, 0, NULL, NULL, 1, p, NULL, NULL, &ERR),
		   CL_INVALID_OPERATION);
	CHECK_CL(clCompileProgram(program, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL));
	CREATE_ERR(clLinkProgram(cl.ctx, 0, NULL, "-not-a-linker-option", 1, p, NULL, NULL, &ERR),
		   CL_INVALID_LINKER_OPTIONS);
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

/* Many programs in one link (the CTS links 256, which would take minutes here). */
static void test_link_many(void)
{
	enum { COUNT = 64 };
	struct cl cl = cl_open(0);
	char *text = malloc(COUNT * 64 + 512), part[128];
	cl_program p[COUNT + 1], linked;
	size_t at = 0;

	for (int i = 0; i < COUNT; i++) {
		snprintf(part, sizeof(part), "int f%d(int x) { return x + %d; }\n", i, i);
		p[i] = cltest_program(cl.ctx, part);
		CHECK_CL(clCompileProgram(p[i], 0, NULL, NULL, 0, NULL, NULL, NULL, NULL));
		at += (size_t)sprintf(text + at, "int f%d(int x);\n", i);
	}
	sprintf(text + at, "kernel void put(global int *p) { p[get_global_id(0)] = f0(f7(f63(1))); "
			   "}\n");
	p[COUNT] = cltest_program(cl.ctx, text);
	CHECK_CL(clCompileProgram(p[COUNT], 0, NULL, NULL, 0, NULL, NULL, NULL, NULL));
	linked = MUST(clLinkProgram(cl.ctx, 0, NULL, NULL, COUNT + 1, p, NULL, NULL, &ERR));
	for (int i = 0; i <= COUNT; i++)
		CHECK_CL(clReleaseProgram(p[i]));
	CHECK_EQ(run_put(&cl, linked), 71);
	CHECK_CL(clReleaseProgram(linked));
	free(text);
	cl_close(&cl);
}

/* The binary of a program, malloc-ed. */
static unsigned char *get_binary(cl_program program, size_t *size)
{
	unsigned char *binary;
	size_t bytes;

	*size = INFO(size_t, clGetProgramInfo, program, CL_PROGRAM_BINARY_SIZES);
	CHECK(*size > 0);
	binary = malloc(*size);
	CHECK_CL(clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof(binary), &binary, &bytes));
	CHECK_EQ(bytes, sizeof(binary));
	return binary;
}

/* Source, binary, build, binary again, build, each time the same kernel. */
static void test_binary_round_trip(void)
{
	struct cl cl = cl_open(0);
	cl_program program = cltest_build(cl.ctx, good, "-DVALUE=19");

	for (int round = 0; round < 3; round++) {
		unsigned char *binary;
		cl_int status = 77;
		size_t size;

		CHECK_EQ(run_put(&cl, program), 19);
		binary = get_binary(program, &size);
		CHECK_CL(clReleaseProgram(program));
		program =
		    MUST(clCreateProgramWithBinary(cl.ctx, 1, &cltest_device, &size,
						   (const unsigned char **)&binary, &status, &ERR));
		memset(binary, 0, size);
		free(binary);
		CHECK_EQ(status, CL_SUCCESS);
		CHECK_EQ(binary_type(program), CL_PROGRAM_BINARY_TYPE_EXECUTABLE);
		CHECK_CL(build(program, NULL));
		CHECK_EQ(INFO(size_t, clGetProgramInfo, program, CL_PROGRAM_NUM_KERNELS), 2);
	}
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

/* A compiled object and a library survive the way through a binary too. */
static void test_object_binary(void)
{
	static const char lib[] = "int twice(int x) { return x + x; }\n";
	static const char user[] = "int twice(int x);\nkernel void put(global int *p)"
				   "{ p[get_global_id(0)] = twice(8); }\n";
	struct cl cl = cl_open(0);
	const char *sources[2] = {lib, user};
	cl_program p[2], linked;

	for (int i = 0; i < 2; i++) {
		cl_program c = cltest_program(cl.ctx, sources[i]);
		unsigned char *binary;
		size_t size;

		CHECK_CL(clCompileProgram(c, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL));
		binary = get_binary(c, &size);
		CHECK_CL(clReleaseProgram(c));
		p[i] = MUST(clCreateProgramWithBinary(cl.ctx, 1, &cltest_device, &size,
						      (const unsigned char **)&binary, NULL, &ERR));
		free(binary);
		CHECK_EQ(binary_type(p[i]), CL_PROGRAM_BINARY_TYPE_COMPILED_OBJECT);
	}
	linked = MUST(clLinkProgram(cl.ctx, 0, NULL, NULL, 2, p, NULL, NULL, &ERR));
	CHECK_EQ(run_put(&cl, linked), 16);
	CHECK_CL(clReleaseProgram(p[0]));
	CHECK_CL(clReleaseProgram(p[1]));
	CHECK_CL(clReleaseProgram(linked));
	cl_close(&cl);
}

static cl_int run_named(const struct cl *cl, cl_program program, const char *name)
{
	cl_kernel k = cltest_kernel(program, name);
	cl_mem b = cltest_buffer(cl->ctx, 0, 4, NULL);
	char *said = malloc(strlen(name) + 1);
	cl_int out = 0;

	CHECK_CL(clGetKernelInfo(k, CL_KERNEL_FUNCTION_NAME, strlen(name) + 1, said, NULL));
	CHECK(!strcmp(said, name));
	cltest_arg(k, 0, sizeof(b), &b);
	cltest_launch(cl->q, k, 1);
	CHECK_CL(clEnqueueReadBuffer(cl->q, b, CL_TRUE, 0, 4, &out, 0, NULL, NULL));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseMemObject(b));
	free(said);
	return out;
}

/* Kernels' names may be of any length: built at once, through a binary, and linked. */
static void test_long_names(void)
{
	static const char form[] = "int %.*sf(int x) { return x + %d; }\n"
				   "kernel void %.*sk(global int *p) { *p = %.*sf(%d); }\n";
	static const int lengths[] = {127, 199, 250, 256, 1024, 3000};
	struct cl cl = cl_open(0);
	char letters[3001], *source, name[3002];

	if (native_bug()) /* PoCL aborts when it executes one */
		return;
	memset(letters, 'n', sizeof(letters));
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		int n = lengths[i];
		cl_program program, linked;
		unsigned char *binary;
		size_t size;

		CHECK(asprintf(&source, form, n, letters, 3, n, letters, n, letters, n) > 0);
		snprintf(name, sizeof(name), "%.*sk", n, letters);
		program = cltest_build(cl.ctx, source, "");
		CHECK_EQ(run_named(&cl, program, name), n + 3);
		CHECK_EQ(INFO(size_t, clGetProgramInfo, program, CL_PROGRAM_NUM_KERNELS), 1);
		binary = get_binary(program, &size);
		CHECK_CL(clReleaseProgram(program));
		program = MUST(clCreateProgramWithBinary(
		    cl.ctx, 1, &cltest_device, &size, (const unsigned char **)&binary, NULL, &ERR));
		CHECK_CL(build(program, NULL));
		CHECK_EQ(run_named(&cl, program, name), n + 3);
		CHECK_CL(clReleaseProgram(program));
		free(binary);

		program = cltest_program(cl.ctx, source);
		CHECK_CL(clCompileProgram(program, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL));
		linked = MUST(clLinkProgram(cl.ctx, 0, NULL, NULL, 1, &program, NULL, NULL, &ERR));
		CHECK_EQ(run_named(&cl, linked, name), n + 3);
		CHECK_CL(clReleaseProgram(linked));
		CHECK_CL(clReleaseProgram(program));
		free(source);
	}
	cl_close(&cl);
}

static void test_infos(void)
{
	struct cl cl = cl_open(0);
	cl_program program = cltest_program(cl.ctx, good);
	char text[512];
	size_t size;

	CHECK_EQ(INFO(cl_uint, clGetProgramInfo, program, CL_PROGRAM_REFERENCE_COUNT), 1);
	CHECK_CL(clRetainProgram(program));
	CHECK_EQ(INFO(cl_uint, clGetProgramInfo, program, CL_PROGRAM_REFERENCE_COUNT), 2);
	CHECK_CL(clReleaseProgram(program));
	CHECK(INFO(cl_context, clGetProgramInfo, program, CL_PROGRAM_CONTEXT) == cl.ctx);
	CHECK_EQ(INFO(cl_uint, clGetProgramInfo, program, CL_PROGRAM_NUM_DEVICES), 1);
	CHECK(INFO(cl_device_id, clGetProgramInfo, program, CL_PROGRAM_DEVICES) == cltest_device);
	CHECK_ERR(clGetProgramInfo(program, CL_PROGRAM_NUM_KERNELS, sizeof(size), &size, NULL),
		  CL_INVALID_PROGRAM_EXECUTABLE);
	CHECK_ERR(clGetProgramInfo(program, CL_PROGRAM_KERNEL_NAMES, sizeof(text), text, NULL),
		  CL_INVALID_PROGRAM_EXECUTABLE);
	CHECK_CL(clGetProgramInfo(program, CL_PROGRAM_SOURCE, sizeof(text), text, &size));
	CHECK(!strcmp(text, good));
	CHECK_CL(build(program, "-DVALUE=1"));
	CHECK_EQ(INFO(size_t, clGetProgramInfo, program, CL_PROGRAM_NUM_KERNELS), 2);
	CHECK_CL(clGetProgramInfo(program, CL_PROGRAM_KERNEL_NAMES, sizeof(text), text, &size));
	CHECK(!strcmp(text, "put;other") || !strcmp(text, "other;put"));
	CHECK_EQ(size, 10);
	CHECK_EQ(INFO(cl_bool, clGetProgramInfo, program, CL_PROGRAM_SCOPE_GLOBAL_CTORS_PRESENT),
		 CL_FALSE);
	CHECK_EQ(INFO(cl_bool, clGetProgramInfo, program, CL_PROGRAM_SCOPE_GLOBAL_DTORS_PRESENT),
		 CL_FALSE);
	CHECK_CL(clGetProgramInfo(program, CL_PROGRAM_IL, 0, NULL, &size));
	CHECK_EQ(size, 0);
	size = 77;
	CHECK_CL(clGetProgramBuildInfo(program, cltest_device,
				       CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE, sizeof(size),
				       &size, NULL));
	CHECK_EQ(size, 0);
	CHECK_ERR(clGetProgramInfo(program, 0x7777, sizeof(text), text, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetProgramInfo(program, CL_PROGRAM_SOURCE, 5, text, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetProgramInfo(NULL, CL_PROGRAM_SOURCE, 5, text, NULL), CL_INVALID_PROGRAM);
	CHECK_ERR(clGetProgramBuildInfo(program, cltest_device, 0x7777, sizeof(text), text, NULL),
		  CL_INVALID_VALUE);
	CHECK_ERR(
	    clGetProgramBuildInfo(program, NULL, CL_PROGRAM_BUILD_LOG, sizeof(text), text, NULL),
	    CL_INVALID_DEVICE);
	CHECK_ERR(clGetProgramBuildInfo(NULL, cltest_device, CL_PROGRAM_BUILD_LOG, sizeof(text),
					text, NULL),
		  CL_INVALID_PROGRAM);
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static void put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (!f)
		FAIL("%s: %s", path, strerror(errno));
	fputs(text, f);
	fclose(f);
}

/* Includes found through -I, relative to this process's working directory, nested ones included. */
static void test_includes(void)
{
	static const char text[] = "#include \"a.h\"\n#include \"./b.h\"\n#include \"sub/c.h\"\n"
				   "kernel void put(global int *p)"
				   "{ p[get_global_id(0)] = A + B + C + D; }\n";
	static const char *const options[] = {"-I .", "-I.", "-I ./", "-I inc/..", NULL};
	char dir[] = "/tmp/cltest-XXXXXX", old[4096], absolute[64];
	struct cl cl = cl_open(0);
	cl_program program;

	CHECK(getcwd(old, sizeof(old)));
	CHECK(mkdtemp(dir));
	CHECK(!chdir(dir));
	CHECK(!mkdir("sub", 0700) && !mkdir("inc", 0700));
	put_file("a.h", "#define A 1\n");
	put_file("b.h", "#include \"inc/nested.h\"\n#define B 10\n");
	put_file("sub/c.h", "#include \"d.h\"\n#define C 100\n");
	put_file("sub/d.h", "#define D (1000 + NESTED)\n");
	put_file("inc/nested.h", "#define NESTED 10000\n");
	for (int i = 0; options[i]; i++) {
		program = cltest_build(cl.ctx, text, options[i]);
		CHECK_EQ(run_put(&cl, program), 11111);
		CHECK_CL(clReleaseProgram(program));
	}
	snprintf(absolute, sizeof(absolute), "-I %s", dir);
	CHECK(!chdir("/"));
	program = cltest_build(cl.ctx, text, absolute);
	CHECK_EQ(run_put(&cl, program), 11111);
	CHECK_CL(clReleaseProgram(program));
	/* A header that has changed must be seen: no cache may go by the source alone. */
	CHECK(!chdir(dir));
	put_file("a.h", "#define A 2\n");
	program = cltest_build(cl.ctx, text, "-I .");
	CHECK_EQ(run_put(&cl, program), 11112);
	CHECK_CL(clReleaseProgram(program));
	unlink("a.h");
	program = cltest_program(cl.ctx, text);
	CHECK_ERR(build(program, "-I ."), CL_BUILD_PROGRAM_FAILURE);
	CHECK_CL(clReleaseProgram(program));
	unlink("b.h");
	unlink("sub/c.h");
	unlink("sub/d.h");
	unlink("inc/nested.h");
	rmdir("sub");
	rmdir("inc");
	CHECK(!chdir(old));
	rmdir(dir);
	cl_close(&cl);
}

/* Two programs with the same kernel name and different code do not mix. */
static void test_same_names(void)
{
	struct cl cl = cl_open(0);
	cl_program p[4];

	for (int i = 0; i < 4; i++) {
		char options[32];

		snprintf(options, sizeof(options), "-DVALUE=%d", i * 11 + 1);
		p[i] = cltest_build(cl.ctx, good, options);
	}
	for (int i = 0; i < 4; i++)
		CHECK_EQ(run_put(&cl, p[i]), i * 11 + 1);
	for (int i = 0; i < 4; i++)
		CHECK_CL(clReleaseProgram(p[i]));
	cl_close(&cl);
}

/* Any order of releases: the context first, the kernel last. */
static void test_release_order(void)
{
	struct cl cl = cl_open(0);
	cl_program program = cltest_build(cl.ctx, simple, "");
	cl_kernel k = cltest_kernel(program, "put");
	cl_mem b = cltest_buffer(cl.ctx, 0, 64, NULL);
	int out = 0;

	CHECK_CL(clReleaseContext(cl.ctx));
	CHECK_CL(clReleaseProgram(program));
	cltest_arg(k, 0, sizeof(b), &b);
	cltest_launch(cl.q, k, 16);
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 60, 4, &out, 0, NULL, NULL));
	CHECK_EQ(out, 12);
	CHECK_CL(clReleaseCommandQueue(cl.q));
	CHECK_CL(clReleaseMemObject(b));
}

/* Unloading the compiler is a hint: what was built stays, and building goes on. */
/* Applications look at buffers that nobody wrote; what they find is no promise, but it must not be
 * what the implementation itself put there on a program's way to its device. */
static void test_no_traces(void)
{
	enum { SIZE = 1 << 20 };
	struct cl cl = cl_open(0);
	cl_program program = cltest_build(cl.ctx, simple, NULL);
	unsigned char *bytes = malloc(SIZE);

	CHECK(bytes);
	CHECK_EQ(run_put(&cl, program), 12);
	for (size_t each = 512; each <= SIZE; each *= 2) {
		cl_mem buffer = cltest_buffer(cl.ctx, 0, each, NULL);

		CHECK_CL(clEnqueueReadBuffer(cl.q, buffer, CL_TRUE, 0, each, bytes, 0, NULL, NULL));
		CHECK(!memmem(bytes, each, "\177ELF", 4));
		CHECK_CL(clReleaseMemObject(buffer));
	}
	free(bytes);
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static void test_deprecated(void)
{
	struct cl cl = cl_open(0);
	cl_program program = cltest_build(cl.ctx, simple, "");

	CHECK_CL(clUnloadCompiler());
	CHECK_CL(clUnloadPlatformCompiler(cltest_platform));
	ERR = clSetProgramReleaseCallback(program, NULL, NULL);
	CHECK(ERR == CL_INVALID_VALUE || ERR == CL_INVALID_OPERATION);
	CHECK_EQ(run_put(&cl, program), 12);
	CHECK_CL(clReleaseProgram(program));
	program = cltest_build(cl.ctx, simple, "-DAGAIN");
	CHECK_EQ(run_put(&cl, program), 12);
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static const struct cltest tests[] = {
    TEST(build),
    TEST(source_pieces),
    TEST(create_errors),
    TEST(il_unsupported),
    TEST(built_in_kernels),
    TEST(invalid_options),
    TEST(valid_options),
    TEST(failing_build),
    TEST(build_errors),
    TEST(async_build),
    TEST(async_compile_and_link),
    TEST(compile_and_link),
    TEST(library),
    TEST(failing_compile),
    TEST(failing_link),
    TEST(link_errors),
    TEST(link_many),
    TEST(binary_round_trip),
    TEST(object_binary),
    TEST(long_names),
    TEST(infos),
    TEST(includes),
    TEST(same_names),
    TEST(release_order),
    TEST(no_traces),
    TEST(deprecated),
};

CLTEST_MAIN(tests)
