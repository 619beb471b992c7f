/* Kernels: every kind of argument, infos, index spaces and their errors, and what a launch keeps.
 */
#include "cltest.h"

static const char source[] =
    "typedef struct { int a; float b; char c[5]; long d; } pair_t;\n"
    "kernel void scalars(global long *o, char c, uchar uc, short s, ushort us, int i, uint ui,\n"
    "  long l, ulong ul, float f)\n"
    "{ o[0] = c; o[1] = uc; o[2] = s; o[3] = us; o[4] = i; o[5] = ui; o[6] = l;\n"
    "  o[7] = (long)ul; o[8] = (long)(f * 4.0f); }\n"
    "kernel void vectors(global float4 *o, float2 a, float3 b, float4 c, int4 d, float8 e,\n"
    "  uchar16 g)\n"
    "{ o[0] = (float4)(a, 0.0f, 0.0f); o[1] = (float4)(b, 0.0f); o[2] = c;\n"
    "  o[3] = convert_float4(d); o[4] = e.lo; o[5] = e.hi; o[6] = convert_float4(g.s0123);\n"
    "  o[7] = convert_float4(g.scdef); }\n"
    "kernel void structs(global long *o, pair_t p)\n"
    "{ o[0] = p.a; o[1] = (long)p.b; o[2] = p.c[4]; o[3] = p.d; }\n"
    "kernel void add(global uint *p, uint v) { p[get_global_id(0)] += v; }\n"
    "kernel void is_null(global int *o, global int *a, constant int *b)\n"
    "{ o[0] = a == 0; o[1] = b == 0; }\n"
    "kernel void reverse(global int *p, local int *tmp)\n"
    "{ size_t l = get_local_id(0), n = get_local_size(0);\n"
    "  tmp[l] = p[get_global_id(0)]; barrier(CLK_LOCAL_MEM_FENCE);\n"
    "  p[get_global_id(0)] = tmp[n - 1 - l]; }\n"
    "kernel void two_locals(global int *o, local int *a, local long *b)\n"
    "{ size_t l = get_local_id(0); a[l] = (int)l; b[l] = (long)l * 100;\n"
    "  barrier(CLK_LOCAL_MEM_FENCE);\n"
    "  if (l == 0) { long s = 0; for (size_t i = 0; i < get_local_size(0); i++)\n"
    "    s += a[i] + b[i]; o[get_group_id(0)] = (int)s; } }\n"
    "kernel void lookup(global int *o, constant int *t)\n"
    "{ size_t i = get_global_id(0); o[i] = t[i % 16]; }\n"
    "kernel void ids(global uint *o, uint w, uint h)\n"
    "{ size_t x = get_global_id(0) - get_global_offset(0);\n"
    "  size_t y = get_global_id(1) - get_global_offset(1);\n"
    "  size_t z = get_global_id(2) - get_global_offset(2);\n"
    "  global uint *p = o + 8 * ((z * h + y) * w + x);\n"
    "  p[0] = get_global_id(0); p[1] = get_global_id(1); p[2] = get_global_id(2);\n"
    "  p[3] = get_local_id(0) + get_local_size(0) * get_group_id(0);\n"
    "  p[4] = get_local_id(1) + get_local_size(1) * get_group_id(1);\n"
    "  p[5] = get_local_id(2) + get_local_size(2) * get_group_id(2);\n"
    "  p[6] = get_work_dim(); p[7] = get_local_size(0) * 10000 + get_num_groups(0); }\n"
    "kernel void count(global int *n) { atomic_inc(n); }\n"
    "kernel void atoms(global int *v, global uint *u)\n"
    "{ int i = (int)get_global_id(0); atomic_add(v, i); atomic_max(v + 1, i);\n"
    "  atomic_min(v + 2, i); atomic_or(u, 1u << (i & 31)); atomic_xor(u + 1, (uint)i);\n"
    "  int old, seen = v[3]; do { old = seen; seen = atomic_cmpxchg(v + 3, old, old + 2); }\n"
    "  while (seen != old); }\n"
    "kernel void local_sum(global const int *in, global int *out, local int *t)\n"
    "{ size_t l = get_local_id(0); t[l] = in[get_global_id(0)];\n"
    "  for (size_t s = get_local_size(0) / 2; s > 0; s >>= 1) {\n"
    "    barrier(CLK_LOCAL_MEM_FENCE); if (l < s) t[l] += t[l + s]; }\n"
    "  if (l == 0) out[get_group_id(0)] = t[0]; }\n"
    "kernel __attribute__((reqd_work_group_size(8, 1, 1))) void fixed(global int *p)\n"
    "{ p[get_global_id(0)] = (int)get_local_size(0); }\n"
    "kernel void infos(global const float *restrict a, constant int *b, local char *c,\n"
    "  global volatile uint *d, float4 e) { d[0] = (uint)a[0] + b[0] + c[0] + (uint)e.x; }\n";

struct fixture {
	struct cl cl;
	cl_program program;
};

static struct fixture open_fixture(void)
{
	struct fixture f;

	f.cl = cl_open(0);
	f.program = cltest_build(f.cl.ctx, source, "-cl-kernel-arg-info");
	return f;
}

static void close_fixture(struct fixture *f)
{
	CHECK_CL(clReleaseProgram(f->program));
	cl_close(&f->cl);
}

static void read_back(struct fixture *f, cl_mem b, void *data, size_t size)
{
	CHECK_CL(clEnqueueReadBuffer(f->cl.q, b, CL_TRUE, 0, size, data, 0, NULL, NULL));
}

static void test_scalars(void)
{
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "scalars");
	cl_mem b = cltest_buffer(f.cl.ctx, 0, 72, NULL);
	cl_char c = -3;
	cl_uchar uc = 250;
	cl_short s = -30000;
	cl_ushort us = 65000;
	cl_int i = -2000000000;
	cl_uint ui = 4000000000u;
	cl_long l = -9000000000000000000, o[9];
	cl_ulong ul = 0x8123456789abcdefu;
	cl_float fl = -2.75f;

	cltest_arg(k, 0, sizeof(b), &b);
	cltest_arg(k, 1, sizeof(c), &c);
	cltest_arg(k, 2, sizeof(uc), &uc);
	cltest_arg(k, 3, sizeof(s), &s);
	cltest_arg(k, 4, sizeof(us), &us);
	cltest_arg(k, 5, sizeof(i), &i);
	cltest_arg(k, 6, sizeof(ui), &ui);
	cltest_arg(k, 7, sizeof(l), &l);
	cltest_arg(k, 8, sizeof(ul), &ul);
	cltest_arg(k, 9, sizeof(fl), &fl);
	cltest_launch(f.cl.q, k, 1);
	read_back(&f, b, o, sizeof(o));
	const cl_long expected[9] = {c, uc, s, us, i, ui, l, (cl_long)ul, -11};

	for (int n = 0; n < 9; n++)
		CHECK_EQ(o[n], expected[n]);
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	close_fixture(&f);
}

static void test_vectors(void)
{
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "vectors");
	cl_mem b = cltest_buffer(f.cl.ctx, 0, 128, NULL);
	cl_float2 a = {{1, 2}};
	cl_float3 v3 = {{3, 4, 5}};
	cl_float4 c = {{6, 7, 8, 9}};
	cl_int4 d = {{-1, -2, -3, -4}};
	cl_float8 e = {{10, 11, 12, 13, 14, 15, 16, 17}};
	cl_uchar16 g = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 252, 253, 254, 255}};
	static const float expected[32] = {1,  2,  0,  0,  3,  4,  5,	0,   6,	  7,  8,
					   9,  -1, -2, -3, -4, 10, 11,	12,  13,  14, 15,
					   16, 17, 0,  1,  2,  3,  252, 253, 254, 255};
	float o[32];

	cltest_arg(k, 0, sizeof(b), &b);
	cltest_arg(k, 1, sizeof(a), &a);
	cltest_arg(k, 2, sizeof(v3), &v3);
	cltest_arg(k, 3, sizeof(c), &c);
	cltest_arg(k, 4, sizeof(d), &d);
	cltest_arg(k, 5, sizeof(e), &e);
	cltest_arg(k, 6, sizeof(g), &g);
	cltest_launch(f.cl.q, k, 1);
	read_back(&f, b, o, sizeof(o));
	for (int n = 0; n < 32; n++)
		CHECK(o[n] == expected[n]);
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	close_fixture(&f);
}

static void test_struct_by_value(void)
{
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "structs");
	cl_mem b = cltest_buffer(f.cl.ctx, 0, 32, NULL);
	struct {
		cl_int a;
		cl_float b;
		cl_char c[5];
		cl_long d;
	} p = {-7, 8.0f, {1, 2, 3, 4, 99}, -123456789012345};
	cl_long o[4];

	cltest_arg(k, 0, sizeof(b), &b);
	cltest_arg(k, 1, sizeof(p), &p);
	cltest_launch(f.cl.q, k, 1);
	read_back(&f, b, o, sizeof(o));
	CHECK_EQ(o[0], -7);
	CHECK_EQ(o[1], 8);
	CHECK_EQ(o[2], 99);
	CHECK_EQ(o[3], -123456789012345);
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	close_fixture(&f);
}

/* A NULL value and a pointer to a NULL handle both reach the kernel as a null pointer. */
static void test_null_buffers(void)
{
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "is_null");
	cl_mem b = cltest_buffer(f.cl.ctx, 0, 8, NULL), null = NULL;
	int o[2];

	cltest_arg(k, 0, sizeof(b), &b);
	for (int i = 0; i < 4; i++) {
		cltest_arg(k, 1, sizeof(cl_mem), i & 1 ? (i & 2 ? NULL : &null) : &b);
		cltest_arg(k, 2, sizeof(cl_mem), i & 1 ? &b : (i & 2 ? NULL : &null));
		cltest_launch(f.cl.q, k, 1);
		read_back(&f, b, o, sizeof(o));
		CHECK_EQ(o[0], i & 1);
		CHECK_EQ(o[1], !(i & 1));
	}
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	close_fixture(&f);
}

static void test_local_memory(void)
{
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "reverse"), k2;
	int data[256];
	size_t global = 256, local = 32;
	cl_mem b;

	for (int i = 0; i < 256; i++)
		data[i] = i;
	b = cltest_buffer(f.cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(data), data);
	cltest_arg(k, 0, sizeof(b), &b);
	for (int round = 0; round < 2; round++) { /* the second time with another size */
		local = round ? 8 : 32;
		cltest_arg(k, 1, local * sizeof(int), NULL);
		CHECK_CL(
		    clEnqueueNDRangeKernel(f.cl.q, k, 1, NULL, &global, &local, 0, NULL, NULL));
	}
	read_back(&f, b, data, sizeof(data));
	for (int i = 0; i < 256; i++) {
		int once = (i & ~7) | (7 - (i & 7));

		CHECK_EQ(data[i], (once & ~31) | (31 - (once & 31)));
	}
	k2 = cltest_kernel(f.program, "two_locals");
	local = 16;
	cltest_arg(k2, 0, sizeof(b), &b);
	cltest_arg(k2, 1, 16 * sizeof(int), NULL);
	cltest_arg(k2, 2, 16 * sizeof(cl_long), NULL);
	CHECK_CL(clEnqueueNDRangeKernel(f.cl.q, k2, 1, NULL, &global, &local, 0, NULL, NULL));
	read_back(&f, b, data, sizeof(data));
	for (int i = 0; i < 16; i++)
		CHECK_EQ(data[i], 120 * 101);
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseKernel(k2));
	close_fixture(&f);
}

static void test_constant(void)
{
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "lookup");
	int table[16], out[64];
	cl_mem t, b = cltest_buffer(f.cl.ctx, 0, sizeof(out), NULL);

	for (int i = 0; i < 16; i++)
		table[i] = i * i - 50;
	t = cltest_buffer(f.cl.ctx, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, sizeof(table), table);
	cltest_arg(k, 0, sizeof(b), &b);
	cltest_arg(k, 1, sizeof(t), &t);
	cltest_launch(f.cl.q, k, 64);
	read_back(&f, b, out, sizeof(out));
	for (int i = 0; i < 64; i++)
		CHECK_EQ(out[i], table[i % 16]);
	CHECK_CL(clReleaseMemObject(t));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	close_fixture(&f);
}

static void test_arg_errors(void)
{
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "add"), r = cltest_kernel(f.program, "reverse");
	cl_mem b = cltest_buffer(f.cl.ctx, 0, 64, NULL);
	cl_uint v = 1;

	CHECK_ERR(clSetKernelArg(NULL, 0, 8, &b), CL_INVALID_KERNEL);
	CHECK_ERR(clSetKernelArg(k, 2, 4, &v), CL_INVALID_ARG_INDEX);
	CHECK_ERR(clSetKernelArg(k, 0x7fffffff, 4, &v), CL_INVALID_ARG_INDEX);
	CHECK_ERR(clSetKernelArg(k, 0, 4, &b), CL_INVALID_ARG_SIZE);
	CHECK_ERR(clSetKernelArg(k, 1, 8, &v), CL_INVALID_ARG_SIZE);
	CHECK_ERR(clSetKernelArg(k, 1, 1, &v), CL_INVALID_ARG_SIZE);
	CHECK_ERR(clSetKernelArg(k, 1, 0, &v), CL_INVALID_ARG_SIZE);
	CHECK_ERR(clSetKernelArg(k, 1, 4, NULL), CL_INVALID_ARG_VALUE);
	CHECK_ERR(clSetKernelArg(r, 1, 0, NULL), CL_INVALID_ARG_SIZE);
	CHECK_ERR(clSetKernelArg(r, 1, 64, &v), CL_INVALID_ARG_VALUE);
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseKernel(r));
	close_fixture(&f);
}

static void test_not_a_memory_object(void)
{
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "add");
	void *queue = f.cl.q;

	SKIP_NATIVE("does not look at what an argument's handle is");
	CHECK_ERR(clSetKernelArg(k, 0, sizeof(queue), &queue), CL_INVALID_MEM_OBJECT);
	CHECK_CL(clReleaseKernel(k));
	close_fixture(&f);
}

static void test_create_errors(void)
{
	struct cl cl = cl_open(0);
	cl_program program = cltest_program(cl.ctx, source);
	cl_kernel list[32];
	cl_uint n = 0;

	CREATE_ERR(clCreateKernel(NULL, "add", &ERR), CL_INVALID_PROGRAM);
	CREATE_ERR(clCreateKernel(program, "add", &ERR), CL_INVALID_PROGRAM_EXECUTABLE);
	CHECK_ERR(clCreateKernelsInProgram(program, 32, list, &n), CL_INVALID_PROGRAM_EXECUTABLE);
	CHECK_CL(clBuildProgram(program, 0, NULL, NULL, NULL, NULL));
	CREATE_ERR(clCreateKernel(program, "absent", &ERR), CL_INVALID_KERNEL_NAME);
	CREATE_ERR(clCreateKernel(program, "", &ERR), CL_INVALID_KERNEL_NAME);
	CREATE_ERR(clCreateKernel(program, NULL, &ERR), CL_INVALID_VALUE);
	CHECK_CL(clCreateKernelsInProgram(program, 0, NULL, &n));
	CHECK_EQ(n, 14);
	CHECK_ERR(clCreateKernelsInProgram(program, n - 1, list, NULL), CL_INVALID_VALUE);
	CHECK_CL(clCreateKernelsInProgram(program, 32, list, &n));
	for (cl_uint i = 0; i < n; i++) {
		char name[64] = "";

		CHECK_CL(
		    clGetKernelInfo(list[i], CL_KERNEL_FUNCTION_NAME, sizeof(name), name, NULL));
		CHECK(name[0]);
		CHECK_CL(clReleaseKernel(list[i]));
	}
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static void test_kernel_infos(void)
{
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "infos");
	char name[64];
	size_t size;

	CHECK_CL(clGetKernelInfo(k, CL_KERNEL_FUNCTION_NAME, sizeof(name), name, &size));
	CHECK_EQ(size, 6);
	CHECK(!strcmp(name, "infos"));
	CHECK_EQ(INFO(cl_uint, clGetKernelInfo, k, CL_KERNEL_NUM_ARGS), 5);
	CHECK_EQ(INFO(cl_uint, clGetKernelInfo, k, CL_KERNEL_REFERENCE_COUNT), 1);
	CHECK_CL(clRetainKernel(k));
	CHECK_EQ(INFO(cl_uint, clGetKernelInfo, k, CL_KERNEL_REFERENCE_COUNT), 2);
	CHECK_CL(clReleaseKernel(k));
	CHECK(INFO(cl_context, clGetKernelInfo, k, CL_KERNEL_CONTEXT) == f.cl.ctx);
	CHECK(INFO(cl_program, clGetKernelInfo, k, CL_KERNEL_PROGRAM) == f.program);
	CHECK_CL(clGetKernelInfo(k, CL_KERNEL_ATTRIBUTES, 0, NULL, &size));
	CHECK(size >= 1);
	CHECK_ERR(clGetKernelInfo(k, 0x7777, sizeof(name), name, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetKernelInfo(k, CL_KERNEL_FUNCTION_NAME, 5, name, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetKernelInfo(NULL, CL_KERNEL_NUM_ARGS, 4, name, NULL), CL_INVALID_KERNEL);
	CHECK_CL(clReleaseKernel(k));
	close_fixture(&f);
}

/* As declared, without __attribute__ and its parentheses, separated by spaces (section 5.9.4). */
static void test_attributes(void)
{
	static const char source[] =
	    "kernel void none(int i) {}\n"
	    "kernel __attribute__((work_group_size_hint(1, 2, 1))) void one(int i) {}\n"
	    "kernel __attribute__((reqd_work_group_size(4, 2, 1)))\n"
	    "__attribute__((vec_type_hint(float4))) void two(int i) {}\n";
	struct cl cl = cl_open(0);
	cl_program program = cltest_build(cl.ctx, source, "");
	cl_kernel none = cltest_kernel(program, "none"), one = cltest_kernel(program, "one"),
		  two = cltest_kernel(program, "two");
	char text[128];
	size_t size;

	CHECK_CL(clGetKernelInfo(none, CL_KERNEL_ATTRIBUTES, sizeof(text), text, &size));
	CHECK(size == 1 && !text[0]);
	if (strstr(cltest_platform_name, "Arax")) { /* PoCL returns the source text */
		CHECK_CL(clGetKernelInfo(one, CL_KERNEL_ATTRIBUTES, sizeof(text), text, &size));
		CHECK(size == 28 && !strcmp(text, "work_group_size_hint(1,2,1)"));
		CHECK_CL(clGetKernelInfo(two, CL_KERNEL_ATTRIBUTES, sizeof(text), text, NULL));
		CHECK(!strcmp(text, "reqd_work_group_size(4,2,1) vec_type_hint(float4)"));
	}
	CHECK_CL(clReleaseKernel(none));
	CHECK_CL(clReleaseKernel(one));
	CHECK_CL(clReleaseKernel(two));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static void test_arg_infos(void)
{
	static const struct {
		const char *name, *type;
		cl_kernel_arg_address_qualifier address;
		cl_kernel_arg_type_qualifier qualifier;
	} want[] = {
	    {"a", "float*", CL_KERNEL_ARG_ADDRESS_GLOBAL,
	     CL_KERNEL_ARG_TYPE_CONST | CL_KERNEL_ARG_TYPE_RESTRICT},
	    {"b", "int*", CL_KERNEL_ARG_ADDRESS_CONSTANT, CL_KERNEL_ARG_TYPE_CONST},
	    {"c", "char*", CL_KERNEL_ARG_ADDRESS_LOCAL, 0},
	    {"d", "uint*", CL_KERNEL_ARG_ADDRESS_GLOBAL, CL_KERNEL_ARG_TYPE_VOLATILE},
	    {"e", "float4", CL_KERNEL_ARG_ADDRESS_PRIVATE, 0},
	};
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "infos");
	char text[64];
	cl_ulong v;

	for (cl_uint i = 0; i < ARRAY_SIZE(want); i++) {
		CHECK_CL(clGetKernelArgInfo(k, i, CL_KERNEL_ARG_NAME, sizeof(text), text, NULL));
		CHECK(!strcmp(text, want[i].name));
		CHECK_CL(
		    clGetKernelArgInfo(k, i, CL_KERNEL_ARG_TYPE_NAME, sizeof(text), text, NULL));
		CHECK(!strcmp(text, want[i].type));
		v = 0;
		CHECK_CL(clGetKernelArgInfo(k, i, CL_KERNEL_ARG_ADDRESS_QUALIFIER, 4, &v, NULL));
		CHECK_EQ(v, want[i].address);
		v = 0;
		CHECK_CL(clGetKernelArgInfo(k, i, CL_KERNEL_ARG_ACCESS_QUALIFIER, 4, &v, NULL));
		CHECK_EQ(v, CL_KERNEL_ARG_ACCESS_NONE);
		v = 0;
		CHECK_CL(clGetKernelArgInfo(k, i, CL_KERNEL_ARG_TYPE_QUALIFIER, 8, &v, NULL));
		CHECK_EQ(v, want[i].qualifier);
	}
	CHECK_ERR(clGetKernelArgInfo(k, 5, CL_KERNEL_ARG_NAME, sizeof(text), text, NULL),
		  CL_INVALID_ARG_INDEX);
	CHECK_ERR(clGetKernelArgInfo(k, 0, 0x7777, sizeof(text), text, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetKernelArgInfo(k, 0, CL_KERNEL_ARG_NAME, 1, text, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetKernelArgInfo(NULL, 0, CL_KERNEL_ARG_NAME, 1, text, NULL),
		  CL_INVALID_KERNEL);
	CHECK_CL(clReleaseKernel(k));
	close_fixture(&f);
}

static void test_work_group_infos(void)
{
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "fixed"), l = cltest_kernel(f.program, "reverse");
	size_t wg, size, dims[3], max;
	cl_ulong local, before;

	max = INFO(size_t, clGetDeviceInfo, cltest_device, CL_DEVICE_MAX_WORK_GROUP_SIZE);
	CHECK_CL(clGetKernelWorkGroupInfo(k, cltest_device, CL_KERNEL_WORK_GROUP_SIZE, sizeof(wg),
					  &wg, &size));
	CHECK_EQ(size, sizeof(size_t));
	CHECK(wg >= 1 && wg <= max);
	CHECK_CL(clGetKernelWorkGroupInfo(k, NULL, CL_KERNEL_COMPILE_WORK_GROUP_SIZE, sizeof(dims),
					  dims, NULL));
	CHECK(dims[0] == 8 && dims[1] == 1 && dims[2] == 1);
	CHECK_CL(clGetKernelWorkGroupInfo(l, cltest_device, CL_KERNEL_COMPILE_WORK_GROUP_SIZE,
					  sizeof(dims), dims, NULL));
	CHECK(dims[0] == 0 && dims[1] == 0 && dims[2] == 0);
	CHECK_CL(clGetKernelWorkGroupInfo(
	    k, cltest_device, CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE, sizeof(wg), &wg, NULL));
	CHECK(wg >= 1);
	CHECK_CL(
	    clGetKernelWorkGroupInfo(l, cltest_device, CL_KERNEL_LOCAL_MEM_SIZE, 8, &before, NULL));
	cltest_arg(l, 1, 4096, NULL);
	CHECK_CL(
	    clGetKernelWorkGroupInfo(l, cltest_device, CL_KERNEL_LOCAL_MEM_SIZE, 8, &local, NULL));
	CHECK(local >= 4096);
	CHECK_CL(clGetKernelWorkGroupInfo(l, cltest_device, CL_KERNEL_PRIVATE_MEM_SIZE, 8, &local,
					  NULL));
	CHECK_ERR(clGetKernelWorkGroupInfo(k, cltest_device, CL_KERNEL_GLOBAL_WORK_SIZE,
					   sizeof(dims), dims, NULL),
		  CL_INVALID_VALUE);
	CHECK_ERR(clGetKernelWorkGroupInfo(k, cltest_device, 0x7777, sizeof(dims), dims, NULL),
		  CL_INVALID_VALUE);
	CHECK_ERR(
	    clGetKernelWorkGroupInfo(k, cltest_device, CL_KERNEL_WORK_GROUP_SIZE, 4, dims, NULL),
	    CL_INVALID_VALUE);
	CHECK_ERR(
	    clGetKernelWorkGroupInfo(NULL, cltest_device, CL_KERNEL_WORK_GROUP_SIZE, 8, dims, NULL),
	    CL_INVALID_KERNEL);
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseKernel(l));
	close_fixture(&f);
}

/* A clone has its own copy of the arguments set so far. */
static void test_clone(void)
{
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "add"), c;
	cl_uint data[4] = {0}, v = 5;
	cl_mem b = cltest_buffer(f.cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(data), data);

	cltest_arg(k, 0, sizeof(b), &b);
	cltest_arg(k, 1, sizeof(v), &v);
	c = MUST(clCloneKernel(k, &ERR));
	CHECK(c != k);
	CHECK_EQ(INFO(cl_uint, clGetKernelInfo, c, CL_KERNEL_REFERENCE_COUNT), 1);
	CHECK(INFO(cl_program, clGetKernelInfo, c, CL_KERNEL_PROGRAM) == f.program);
	v = 100;
	cltest_arg(k, 1, sizeof(v), &v);
	cltest_launch(f.cl.q, c, 4);
	CHECK_CL(clReleaseKernel(k));
	cltest_launch(f.cl.q, c, 2);
	read_back(&f, b, data, sizeof(data));
	CHECK(data[0] == 10 && data[1] == 10 && data[2] == 5 && data[3] == 5);
	CREATE_ERR(clCloneKernel(NULL, &ERR), CL_INVALID_KERNEL);
	CHECK_CL(clReleaseKernel(c));
	CHECK_CL(clReleaseMemObject(b));
	close_fixture(&f);
}

/* Every index function, for every dimension, offset and local size. */
static void test_index_space(void)
{
	static const struct {
		cl_uint dim;
		size_t offset[3], global[3], local[3];
	} spaces[] = {
	    {1, {0, 0, 0}, {64, 1, 1}, {0, 0, 0}},   {1, {1000, 0, 0}, {60, 1, 1}, {12, 1, 1}},
	    {1, {3, 0, 0}, {7, 1, 1}, {7, 1, 1}},    {2, {0, 0, 0}, {8, 6, 1}, {4, 2, 1}},
	    {2, {5, 9, 0}, {8, 6, 1}, {0, 0, 0}},    {3, {0, 0, 0}, {4, 4, 4}, {2, 2, 2}},
	    {3, {10, 20, 30}, {6, 4, 2}, {3, 1, 2}}, {3, {0, 0, 7}, {1, 1, 16}, {1, 1, 4}},
	    {2, {0, 0, 0}, {1, 37, 1}, {1, 1, 1}},
	};
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "ids");
	cl_mem b = cltest_buffer(f.cl.ctx, 0, 64 * 32, NULL);
	cl_uint out[64 * 8];

	cltest_arg(k, 0, sizeof(b), &b);
	for (size_t s = 0; s < ARRAY_SIZE(spaces); s++) {
		const size_t *g = spaces[s].global, *o = spaces[s].offset, *l = spaces[s].local;
		cl_uint w = (cl_uint)g[0], h = (cl_uint)g[1], *p = out;

		cltest_arg(k, 1, sizeof(w), &w);
		cltest_arg(k, 2, sizeof(h), &h);
		CHECK_CL(clEnqueueNDRangeKernel(f.cl.q, k, spaces[s].dim, o, g, l[0] ? l : NULL, 0,
						NULL, NULL));
		read_back(&f, b, out, sizeof(out));
		for (size_t z = 0; z < g[2]; z++) {
			for (size_t y = 0; y < g[1]; y++) {
				for (size_t x = 0; x < g[0]; x++, p += 8) {
					CHECK_EQ(p[0], x + o[0]);
					CHECK_EQ(p[1], y + o[1]);
					CHECK_EQ(p[2], z + o[2]);
					CHECK_EQ(p[3], x);
					CHECK_EQ(p[4], y);
					CHECK_EQ(p[5], z);
					CHECK_EQ(p[6], spaces[s].dim);
					CHECK_EQ(p[7] / 10000 * (p[7] % 10000), g[0]);
					if (l[0])
						CHECK_EQ(p[7] / 10000, l[0]);
				}
			}
		}
	}
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	close_fixture(&f);
}

static void test_launch_errors(void)
{
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "add"), fixed = cltest_kernel(f.program, "fixed");
	cl_mem b = cltest_buffer(f.cl.ctx, 0, 1 << 20, NULL);
	cl_context other = cltest_context();
	cl_command_queue foreign = cltest_queue(other, 0);
	size_t sizes[3] = {0}, max, n = 64, l8 = 8, l16 = 16, zero = 0, big;
	size_t too_many[3] = {1, 1, 1};
	cl_uint v = 1;

	max = INFO(size_t, clGetDeviceInfo, cltest_device, CL_DEVICE_MAX_WORK_GROUP_SIZE);
	CHECK_CL(clGetDeviceInfo(cltest_device, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof(sizes), sizes,
				 NULL));
	CHECK_ERR(clEnqueueNDRangeKernel(f.cl.q, k, 1, NULL, &n, NULL, 0, NULL, NULL),
		  CL_INVALID_KERNEL_ARGS);
	cltest_arg(k, 0, sizeof(b), &b);
	CHECK_ERR(clEnqueueNDRangeKernel(f.cl.q, k, 1, NULL, &n, NULL, 0, NULL, NULL),
		  CL_INVALID_KERNEL_ARGS);
	cltest_arg(k, 1, sizeof(v), &v);
	cltest_arg(fixed, 0, sizeof(b), &b);
	CHECK_ERR(clEnqueueNDRangeKernel(NULL, k, 1, NULL, &n, NULL, 0, NULL, NULL),
		  CL_INVALID_COMMAND_QUEUE);
	if (!native_bug()) /* PoCL follows the NULL */
		CHECK_ERR(clEnqueueNDRangeKernel(f.cl.q, NULL, 1, NULL, &n, NULL, 0, NULL, NULL),
			  CL_INVALID_KERNEL);
	CHECK_ERR(clEnqueueNDRangeKernel(foreign, k, 1, NULL, &n, NULL, 0, NULL, NULL),
		  CL_INVALID_CONTEXT);
	CHECK_ERR(clEnqueueNDRangeKernel(f.cl.q, k, 0, NULL, &n, NULL, 0, NULL, NULL),
		  CL_INVALID_WORK_DIMENSION);
	CHECK_ERR(clEnqueueNDRangeKernel(f.cl.q, k, 4, NULL, &n, NULL, 0, NULL, NULL),
		  CL_INVALID_WORK_DIMENSION);
	/* Work-group sizes: zero, too large in one dimension, too large in all. */
	if (!native_bug()) { /* PoCL divides by the zero */
		ERR = clEnqueueNDRangeKernel(f.cl.q, k, 1, NULL, &n, &zero, 0, NULL, NULL);
		CHECK(ERR == CL_INVALID_WORK_ITEM_SIZE || ERR == CL_INVALID_WORK_GROUP_SIZE);
	}
	big = sizes[0] * 2;
	ERR = clEnqueueNDRangeKernel(f.cl.q, k, 1, NULL, &big, &big, 0, NULL, NULL);
	CHECK(ERR == CL_INVALID_WORK_ITEM_SIZE || ERR == CL_INVALID_WORK_GROUP_SIZE);
	if (sizes[1] > 1) {
		too_many[0] = max;
		too_many[1] = 2;
		CHECK_ERR(
		    clEnqueueNDRangeKernel(f.cl.q, k, 2, NULL, too_many, too_many, 0, NULL, NULL),
		    CL_INVALID_WORK_GROUP_SIZE);
	}
	/* The kernel demands 8. */
	CHECK_ERR(clEnqueueNDRangeKernel(f.cl.q, fixed, 1, NULL, &n, &l16, 0, NULL, NULL),
		  CL_INVALID_WORK_GROUP_SIZE);
	CHECK_CL(clEnqueueNDRangeKernel(f.cl.q, fixed, 1, NULL, &n, &l8, 0, NULL, NULL));
	/* Offset plus size must fit size_t. */
	n = 64;
	big = SIZE_MAX - 10;
	if (!native_bug()) { /* PoCL runs it, over wild memory */
		ERR = clEnqueueNDRangeKernel(f.cl.q, k, 1, &big, &n, NULL, 0, NULL, NULL);
		CHECK(ERR == CL_INVALID_GLOBAL_OFFSET || ERR == CL_INVALID_GLOBAL_WORK_SIZE);
	}
	CHECK_CL(clFinish(f.cl.q));
	CHECK_CL(clReleaseCommandQueue(foreign));
	CHECK_CL(clReleaseContext(other));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseKernel(fixed));
	close_fixture(&f);
}

/* A non-dividing local size works where the device says so and is an error otherwise. */
static void test_non_uniform(void)
{
	struct fixture f = open_fixture();
	cl_bool able =
	    INFO(cl_bool, clGetDeviceInfo, cltest_device, CL_DEVICE_NON_UNIFORM_WORK_GROUP_SUPPORT);
	cl_program p = cltest_build(f.cl.ctx, source, able ? "-cl-std=CL3.0" : "");
	cl_kernel k = cltest_kernel(p, "add");
	cl_uint data[100] = {0}, v = 3;
	size_t n = 100, l = 16;
	cl_mem b = cltest_buffer(f.cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(data), data);

	cltest_arg(k, 0, sizeof(b), &b);
	cltest_arg(k, 1, sizeof(v), &v);
	CHECK_ERR(clEnqueueNDRangeKernel(f.cl.q, k, 1, NULL, &n, &l, 0, NULL, NULL),
		  able ? CL_SUCCESS : CL_INVALID_WORK_GROUP_SIZE);
	read_back(&f, b, data, sizeof(data));
	for (int i = 0; i < 100; i++)
		CHECK_EQ(data[i], able ? 3 : 0);
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(p));
	close_fixture(&f);
}

/* An empty index space does nothing, and its event still obeys the queue and completes. */
static void test_empty_range(void)
{
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "add");
	cl_uint data[4] = {1, 2, 3, 4}, v = 3;
	size_t zero = 0, mixed[3] = {4, 0, 2};
	cl_mem b = cltest_buffer(f.cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(data), data);
	cl_event e[3], gate;

	gate = MUST(clCreateUserEvent(f.cl.ctx, &ERR));
	cltest_arg(k, 0, sizeof(b), &b);
	cltest_arg(k, 1, sizeof(v), &v);
	CHECK_CL(clEnqueueNDRangeKernel(f.cl.q, k, 1, NULL, &zero, NULL, 1, &gate, &e[0]));
	CHECK_CL(clEnqueueNDRangeKernel(f.cl.q, k, 3, NULL, mixed, NULL, 0, NULL, &e[1]));
	CHECK_CL(clEnqueueNDRangeKernel(f.cl.q, k, 1, NULL, NULL, NULL, 0, NULL, &e[2]));
	CHECK(cltest_event_status(e[0]) > CL_COMPLETE);
	CHECK_CL(clSetUserEventStatus(gate, CL_COMPLETE));
	CHECK_CL(clWaitForEvents(3, e));
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(INFO(cl_command_type, clGetEventInfo, e[i], CL_EVENT_COMMAND_TYPE),
			 CL_COMMAND_NDRANGE_KERNEL);
		CHECK_CL(clReleaseEvent(e[i]));
	}
	read_back(&f, b, data, sizeof(data));
	for (cl_uint i = 0; i < 4; i++)
		CHECK_EQ(data[i], i + 1);
	CHECK_CL(clReleaseEvent(gate));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	close_fixture(&f);
}

static void test_task(void)
{
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "add");
	cl_uint data[4] = {1, 2, 3, 4}, v = 30;
	cl_mem b = cltest_buffer(f.cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(data), data);
	cl_event e;

	cltest_arg(k, 0, sizeof(b), &b);
	cltest_arg(k, 1, sizeof(v), &v);
	CHECK_CL(clEnqueueTask(f.cl.q, k, 0, NULL, &e));
	CHECK_CL(clWaitForEvents(1, &e));
	read_back(&f, b, data, sizeof(data));
	CHECK(data[0] == 31 && data[1] == 2);
	CHECK_CL(clReleaseEvent(e));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	close_fixture(&f);
}

struct native_args {
	int *where;
	int value;
	void *mem[2];
};

static void CL_CALLBACK native(void *args)
{
	struct native_args *a = args;

	*a->where = a->value;
	((int *)a->mem[0])[3] = a->value + 1;
	((int *)a->mem[1])[0] += 1;
}

/* A native kernel runs in the client, on copied arguments, in its place in the queue. */
static void test_native_kernel(void)
{
	struct fixture f = open_fixture();
	int data[8] = {0}, out[8], seen = 0;
	struct native_args args = {&seen, 41, {NULL, NULL}};
	cl_mem list[2];
	const void *locs[2] = {&args.mem[0], &args.mem[1]};
	cl_event e;

	if (!(INFO(cl_device_exec_capabilities, clGetDeviceInfo, cltest_device,
		   CL_DEVICE_EXECUTION_CAPABILITIES) &
	      CL_EXEC_NATIVE_KERNEL)) {
		CHECK_ERR(clEnqueueNativeKernel(f.cl.q, native, &args, sizeof(args), 0, NULL, NULL,
						0, NULL, NULL),
			  CL_INVALID_OPERATION);
		SKIP("no native kernels");
	}
	list[0] = cltest_buffer(f.cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(data), data);
	list[1] = cltest_buffer(f.cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(data), data);
	CHECK_CL(clEnqueueFillBuffer(f.cl.q, list[1], "\1\0\0\0", 4, 0, 32, 0, NULL, NULL));
	CHECK_CL(
	    clEnqueueNativeKernel(f.cl.q, native, &args, sizeof(args), 2, list, locs, 0, NULL, &e));
	args.value = 0; /* was copied */
	read_back(&f, list[0], out, sizeof(out));
	CHECK_EQ(seen, 41);
	CHECK_EQ(out[3], 42);
	read_back(&f, list[1], out, sizeof(out));
	CHECK_EQ(out[0], 2);
	CHECK_EQ(INFO(cl_command_type, clGetEventInfo, e, CL_EVENT_COMMAND_TYPE),
		 CL_COMMAND_NATIVE_KERNEL);
	CHECK_ERR(
	    clEnqueueNativeKernel(f.cl.q, NULL, &args, sizeof(args), 0, NULL, NULL, 0, NULL, NULL),
	    CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueNativeKernel(f.cl.q, native, NULL, 8, 0, NULL, NULL, 0, NULL, NULL),
		  CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueNativeKernel(f.cl.q, native, NULL, 0, 1, list, locs, 0, NULL, NULL),
		  CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueNativeKernel(f.cl.q, native, &args, sizeof(args), 2, NULL, locs, 0, NULL,
					NULL),
		  CL_INVALID_VALUE);
	CHECK_CL(clReleaseEvent(e));
	CHECK_CL(clReleaseMemObject(list[0]));
	CHECK_CL(clReleaseMemObject(list[1]));
	close_fixture(&f);
}

/* Arguments are those at the enqueue, although the kernel runs later and the object is reused. */
static void test_args_are_snapshot(void)
{
	enum { COUNT = 50 };
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "add");
	cl_event gate = MUST(clCreateUserEvent(f.cl.ctx, &ERR));
	cl_mem b[COUNT];
	cl_uint zero = 0, out;

	CHECK_CL(clEnqueueMarkerWithWaitList(f.cl.q, 1, &gate, NULL));
	for (cl_uint i = 0; i < COUNT; i++) {
		b[i] = cltest_buffer(f.cl.ctx, CL_MEM_COPY_HOST_PTR, 4, &zero);
		cltest_arg(k, 0, sizeof(b[i]), &b[i]);
		cltest_arg(k, 1, sizeof(i), &i);
		cltest_launch(f.cl.q, k, 1);
	}
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clSetUserEventStatus(gate, CL_COMPLETE));
	for (cl_uint i = 0; i < COUNT; i++) {
		read_back(&f, b[i], &out, 4);
		CHECK_EQ(out, i);
		CHECK_CL(clReleaseMemObject(b[i]));
	}
	CHECK_CL(clReleaseEvent(gate));
	close_fixture(&f);
}

/* clSetKernelArg does not retain: the buffer's count stays and its release destroys it. */
static void test_set_arg_does_not_retain(void)
{
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "add");
	cl_mem b = cltest_buffer(f.cl.ctx, 0, 64, NULL);
	cl_uint v = 1;

	cltest_arg(k, 0, sizeof(b), &b);
	CHECK_EQ(INFO(cl_uint, clGetMemObjectInfo, b, CL_MEM_REFERENCE_COUNT), 1);
	cltest_arg(k, 1, sizeof(v), &v);
	cltest_launch(f.cl.q, k, 16);
	CHECK_CL(clFinish(f.cl.q));
	CHECK_EQ(INFO(cl_uint, clGetMemObjectInfo, b, CL_MEM_REFERENCE_COUNT), 1);
	CHECK_CL(clReleaseMemObject(b));
	b = cltest_buffer(f.cl.ctx, 0, 64, NULL);
	cltest_arg(k, 0, sizeof(b), &b);
	cltest_launch(f.cl.q, k, 16);
	CHECK_CL(clFinish(f.cl.q));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	close_fixture(&f);
}

static void test_many_async(void)
{
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "add"), c = cltest_kernel(f.program, "count");
	cl_uint data[64] = {0}, v = 1;
	cl_mem b = cltest_buffer(f.cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(data), data);
	cl_mem n = cltest_buffer(f.cl.ctx, CL_MEM_COPY_HOST_PTR, 4, data);

	cltest_arg(k, 0, sizeof(b), &b);
	cltest_arg(k, 1, sizeof(v), &v);
	cltest_arg(c, 0, sizeof(n), &n);
	for (int i = 0; i < 5000; i++) {
		cltest_launch(f.cl.q, k, 64);
		cltest_launch(f.cl.q, c, 8);
	}
	CHECK_CL(clFinish(f.cl.q));
	read_back(&f, b, data, sizeof(data));
	for (int i = 0; i < 64; i++)
		CHECK_EQ(data[i], 5000);
	read_back(&f, n, data, 4);
	CHECK_EQ(data[0], 40000);
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseMemObject(n));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseKernel(c));
	close_fixture(&f);
}

/* Each launch followed by clFinish, as some applications do. */
static void test_launch_and_finish(void)
{
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "add");
	cl_uint word = 0, v = 1;
	cl_mem b = cltest_buffer(f.cl.ctx, CL_MEM_COPY_HOST_PTR, 4, &word);

	cltest_arg(k, 0, sizeof(b), &b);
	cltest_arg(k, 1, sizeof(v), &v);
	for (int i = 0; i < 3000; i++) {
		cltest_launch(f.cl.q, k, 1);
		CHECK_CL(clFinish(f.cl.q));
	}
	read_back(&f, b, &word, 4);
	CHECK_EQ(word, 3000);
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	close_fixture(&f);
}

static void test_atomics(void)
{
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "atoms");
	int v[4] = {0, -1, 1 << 30, 0};
	cl_uint u[2] = {0, 0}, x = 0;
	cl_mem a = cltest_buffer(f.cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(v), v);
	cl_mem b = cltest_buffer(f.cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(u), u);

	cltest_arg(k, 0, sizeof(a), &a);
	cltest_arg(k, 1, sizeof(b), &b);
	cltest_launch(f.cl.q, k, 10000);
	read_back(&f, a, v, sizeof(v));
	read_back(&f, b, u, sizeof(u));
	CHECK_EQ(v[0], 49995000);
	CHECK_EQ(v[1], 9999);
	CHECK_EQ(v[2], 0);
	CHECK_EQ(v[3], 20000);
	CHECK_EQ(u[0], 0xffffffffu);
	for (cl_uint i = 0; i < 10000; i++)
		x ^= i;
	CHECK_EQ(u[1], x);
	CHECK_CL(clReleaseMemObject(a));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	close_fixture(&f);
}

static void test_barriers(void)
{
	enum { COUNT = 4096, LOCAL = 64 };
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "local_sum");
	int in[COUNT], out[COUNT / LOCAL];
	size_t n = COUNT, l = LOCAL;
	cl_mem a, b = cltest_buffer(f.cl.ctx, CL_MEM_WRITE_ONLY, sizeof(out), NULL);

	for (int i = 0; i < COUNT; i++)
		in[i] = (i * 7919) % 1000;
	a = cltest_buffer(f.cl.ctx, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, sizeof(in), in);
	cltest_arg(k, 0, sizeof(a), &a);
	cltest_arg(k, 1, sizeof(b), &b);
	cltest_arg(k, 2, LOCAL * sizeof(int), NULL);
	CHECK_CL(clEnqueueNDRangeKernel(f.cl.q, k, 1, NULL, &n, &l, 0, NULL, NULL));
	read_back(&f, b, out, sizeof(out));
	for (int g = 0; g < COUNT / LOCAL; g++) {
		int sum = 0;

		for (int i = 0; i < LOCAL; i++)
			sum += in[g * LOCAL + i];
		CHECK_EQ(out[g], sum);
	}
	CHECK_CL(clReleaseMemObject(a));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	close_fixture(&f);
}

static void test_fp64(void)
{
	static const char text[] =
	    "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n"
	    "kernel void f(global double *p, double d, double2 v)\n"
	    "{ size_t i = get_global_id(0); p[i] = fma(p[i], d, v.y) + sqrt(v.x); }\n";
	struct cl cl = cl_open(0);
	double data[64], out[64], d = 1.5;
	cl_double2 v = {{2.25, 0.1}};
	cl_program program;
	cl_kernel k;
	cl_mem b;

	if (!INFO(cl_device_fp_config, clGetDeviceInfo, cltest_device, CL_DEVICE_DOUBLE_FP_CONFIG))
		SKIP("no fp64");
	program = cltest_build(cl.ctx, text, NULL);
	k = cltest_kernel(program, "f");
	for (int i = 0; i < 64; i++)
		data[i] = i / 3.0;
	b = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(data), data);
	cltest_arg(k, 0, sizeof(b), &b);
	cltest_arg(k, 1, sizeof(d), &d);
	cltest_arg(k, 2, sizeof(v), &v);
	cltest_launch(cl.q, k, 64);
	CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 0, sizeof(out), out, 0, NULL, NULL));
	for (int i = 0; i < 64; i++) {
		double error = out[i] - (data[i] * 1.5 + 0.1 + 1.5);

		CHECK(error < 1e-12 && error > -1e-12);
	}
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

/* Kernel, program and context counts after everything; a kernel keeps its program. */
static void test_kernel_keeps_program(void)
{
	struct cl cl = cl_open(0);
	cl_program program = cltest_build(cl.ctx, source, "");
	cl_kernel k = cltest_kernel(program, "add");
	cl_uint word = 1, v = 41;
	cl_mem b = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, 4, &word);

	CHECK_CL(clReleaseProgram(program));
	cltest_arg(k, 0, sizeof(b), &b);
	cltest_arg(k, 1, sizeof(v), &v);
	cltest_launch(cl.q, k, 1);
	CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 0, 4, &word, 0, NULL, NULL));
	CHECK_EQ(word, 42);
	CHECK(INFO(cl_program, clGetKernelInfo, k, CL_KERNEL_PROGRAM) == program);
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

/* Many different local sizes of one kernel, each correct (each may be its own binary). */
static void test_local_sizes(void)
{
	static const size_t locals[] = {1, 2, 3, 5, 8, 15, 24, 60, 120, 0};
	struct fixture f = open_fixture();
	cl_kernel k = cltest_kernel(f.program, "add");
	cl_uint data[120] = {0}, v = 1;
	cl_mem b = cltest_buffer(f.cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(data), data);
	size_t n = 120;

	cltest_arg(k, 0, sizeof(b), &b);
	cltest_arg(k, 1, sizeof(v), &v);
	for (size_t i = 0; i < ARRAY_SIZE(locals); i++)
		CHECK_CL(clEnqueueNDRangeKernel(f.cl.q, k, 1, NULL, &n,
						locals[i] ? &locals[i] : NULL, 0, NULL, NULL));
	read_back(&f, b, data, sizeof(data));
	for (int i = 0; i < 120; i++)
		CHECK_EQ(data[i], ARRAY_SIZE(locals));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	close_fixture(&f);
}

static const struct cltest tests[] = {
    TEST(scalars),
    TEST(vectors),
    TEST(struct_by_value),
    TEST(null_buffers),
    TEST(local_memory),
    TEST(constant),
    TEST(arg_errors),
    TEST(not_a_memory_object),
    TEST(create_errors),
    TEST(kernel_infos),
    TEST(attributes),
    TEST(arg_infos),
    TEST(work_group_infos),
    TEST(clone),
    TEST(index_space),
    TEST(launch_errors),
    TEST(non_uniform),
    TEST(empty_range),
    TEST(task),
    TEST(native_kernel),
    TEST(args_are_snapshot),
    TEST(set_arg_does_not_retain),
    TEST(many_async),
    TEST(launch_and_finish),
    TEST(atomics),
    TEST(barriers),
    TEST(fp64),
    TEST(kernel_keeps_program),
    TEST(local_sizes),
};

CLTEST_MAIN(tests)
