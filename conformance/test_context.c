/* Contexts: creation, properties, infos, errors, destructor callbacks and reference counts. */
#include "cltest.h"

static void test_create(void)
{
	const cl_context_properties props[] = {CL_CONTEXT_PLATFORM,
					       (cl_context_properties)cltest_platform, 0};
	cl_context_properties got[8] = {0};
	cl_context ctx;
	size_t size = 77;

	ctx = MUST(clCreateContext(props, 1, &cltest_device, NULL, NULL, &ERR));
	CHECK_CL(clGetContextInfo(ctx, CL_CONTEXT_PROPERTIES, sizeof(got), got, &size));
	CHECK_EQ(size, sizeof(props));
	CHECK(!memcmp(got, props, sizeof(props)));
	CHECK_CL(clReleaseContext(ctx));
	ctx = MUST(clCreateContext(NULL, 1, &cltest_device, NULL, NULL, &ERR));
	CHECK_CL(clGetContextInfo(ctx, CL_CONTEXT_PROPERTIES, sizeof(got), got, &size));
	CHECK(size == 0 || (size == sizeof(got[0]) && !got[0]));
	CHECK_EQ(INFO(cl_uint, clGetContextInfo, ctx, CL_CONTEXT_NUM_DEVICES), 1);
	CHECK_EQ(INFO(cl_uint, clGetContextInfo, ctx, CL_CONTEXT_REFERENCE_COUNT), 1);
	CHECK(INFO(cl_device_id, clGetContextInfo, ctx, CL_CONTEXT_DEVICES) == cltest_device);
	CHECK_ERR(clGetContextInfo(ctx, 0x7777, sizeof(got), got, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetContextInfo(ctx, CL_CONTEXT_DEVICES, 4, got, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetContextInfo(NULL, CL_CONTEXT_DEVICES, 8, got, NULL), CL_INVALID_CONTEXT);
	CHECK_CL(clReleaseContext(ctx));
}

static void test_from_type(void)
{
	cl_context_properties props[] = {CL_CONTEXT_PLATFORM,
					 (cl_context_properties)cltest_platform, 0};
	cl_device_type type = INFO(cl_device_type, clGetDeviceInfo, cltest_device, CL_DEVICE_TYPE);
	cl_device_type have[] = {CL_DEVICE_TYPE_ALL, CL_DEVICE_TYPE_DEFAULT,
				 type & ~(cl_device_type)CL_DEVICE_TYPE_DEFAULT};
	static const cl_device_type all[] = {CL_DEVICE_TYPE_CPU, CL_DEVICE_TYPE_GPU,
					     CL_DEVICE_TYPE_ACCELERATOR};
	cl_context ctx;

	for (size_t i = 0; i < ARRAY_SIZE(have); i++) {
		ctx = MUST(clCreateContextFromType(props, have[i], NULL, NULL, &ERR));
		CHECK(INFO(cl_device_id, clGetContextInfo, ctx, CL_CONTEXT_DEVICES) ==
		      cltest_device);
		CHECK_CL(clReleaseContext(ctx));
	}
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (!(type & all[i]) && !native_bug()) /* PoCL leaks a context beside its error */
			CREATE_ERR(clCreateContextFromType(props, all[i], NULL, NULL, &ERR),
				   CL_DEVICE_NOT_FOUND);
	}
	if (!native_bug()) /* PoCL says CL_DEVICE_NOT_FOUND */
		CREATE_ERR(clCreateContextFromType(props, 1 << 20, NULL, NULL, &ERR),
			   CL_INVALID_DEVICE_TYPE);
	CREATE_ERR(clCreateContextFromType(props, CL_DEVICE_TYPE_ALL, NULL, props, &ERR),
		   CL_INVALID_VALUE);
}

static void test_errors(void)
{
	const cl_context_properties unknown[] = {0x7777, 1, 0};
	const cl_context_properties null_platform[] = {CL_CONTEXT_PLATFORM, 0, 0};
	const cl_context_properties twice[] = {CL_CONTEXT_INTEROP_USER_SYNC, 0,
					       CL_CONTEXT_INTEROP_USER_SYNC, 0, 0};
	cl_device_id null = NULL;

	CREATE_ERR(clCreateContext(NULL, 0, &cltest_device, NULL, NULL, &ERR), CL_INVALID_VALUE);
	CREATE_ERR(clCreateContext(NULL, 1, NULL, NULL, NULL, &ERR), CL_INVALID_VALUE);
	CREATE_ERR(clCreateContext(NULL, 1, &cltest_device, NULL, &null, &ERR), CL_INVALID_VALUE);
	CREATE_ERR(clCreateContext(NULL, 1, &null, NULL, NULL, &ERR), CL_INVALID_DEVICE);
	CREATE_ERR(clCreateContext(unknown, 1, &cltest_device, NULL, NULL, &ERR),
		   CL_INVALID_PROPERTY);
	CREATE_ERR(clCreateContext(null_platform, 1, &cltest_device, NULL, NULL, &ERR),
		   CL_INVALID_PLATFORM);
	if (!native_bug()) /* PoCL does not look for repetitions */
		CREATE_ERR(clCreateContext(twice, 1, &cltest_device, NULL, NULL, &ERR),
			   CL_INVALID_PROPERTY);
	CHECK_ERR(clRetainContext(NULL), CL_INVALID_CONTEXT);
	CHECK_ERR(clReleaseContext(NULL), CL_INVALID_CONTEXT);
}

struct order {
	int list[4];
	atomic_int calls;
	cl_context ctx;
};

struct order_call {
	struct order *order;
	int number;
};

static void CL_CALLBACK on_destroy(cl_context ctx, void *user)
{
	struct order_call *call = user;

	call->order->list[atomic_load(&call->order->calls)] =
	    ctx == call->order->ctx ? call->number : -1;
	atomic_fetch_add(&call->order->calls, 1);
}

/* In reverse order of registration, when the last holder, here a buffer, has gone. */
static void test_destructor_callbacks(void)
{
	struct order order = {.ctx = cltest_context()};
	struct order_call calls[4];
	cl_mem b = cltest_buffer(order.ctx, 0, 64, NULL);

	for (int i = 0; i < 4; i++) {
		calls[i] = (struct order_call){&order, i};
		CHECK_CL(clSetContextDestructorCallback(order.ctx, on_destroy, &calls[i]));
	}
	CHECK_ERR(clSetContextDestructorCallback(order.ctx, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clSetContextDestructorCallback(NULL, on_destroy, NULL), CL_INVALID_CONTEXT);
	CHECK_CL(clRetainContext(order.ctx));
	CHECK_CL(clReleaseContext(order.ctx));
	CHECK_EQ(atomic_load(&order.calls), 0);
	CHECK_CL(clReleaseContext(order.ctx));
	CHECK_EQ(atomic_load(&order.calls), 0);
	CHECK_CL(clReleaseMemObject(b));
	cltest_await(&order.calls, 4);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(order.list[i], 3 - i);
}

/* The application's count is its own: objects of the context do not show in it on a fresh one. */
static void test_reference_counts(void)
{
	cl_context ctx = cltest_context();

	for (cl_uint i = 1; i <= 10; i++) {
		CHECK_EQ(INFO(cl_uint, clGetContextInfo, ctx, CL_CONTEXT_REFERENCE_COUNT), i);
		CHECK_CL(clRetainContext(ctx));
	}
	for (cl_uint i = 11; i >= 1; i--) {
		CHECK_EQ(INFO(cl_uint, clGetContextInfo, ctx, CL_CONTEXT_REFERENCE_COUNT), i);
		CHECK_CL(clReleaseContext(ctx));
	}
}

static void test_many_live(void)
{
	enum { COUNT = 200 };
	struct cl cl[COUNT];
	cl_mem b[COUNT];
	cl_uint out;

	for (cl_uint i = 0; i < COUNT; i++) {
		cl[i] = cl_open(0);
		b[i] = cltest_buffer(cl[i].ctx, 0, 1024, NULL);
		CHECK_CL(clEnqueueFillBuffer(cl[i].q, b[i], &i, 4, 0, 1024, 0, NULL, NULL));
	}
	for (cl_uint i = 0; i < COUNT; i++) {
		CHECK_CL(clEnqueueReadBuffer(cl[i].q, b[i], CL_TRUE, 1020, 4, &out, 0, NULL, NULL));
		CHECK_EQ(out, i);
		CHECK_CL(clReleaseMemObject(b[i]));
		cl_close(&cl[i]);
	}
}

static void test_churn(void)
{
	for (int i = 0; i < 500; i++) {
		struct cl cl = cl_open(0);

		cl_close(&cl);
	}
}

/* Objects of one context are refused in another. */
static void test_foreign_objects(void)
{
	static const char text[] = "kernel void f(global int *p) { p[0] = 1; }\n";
	struct cl a = cl_open(0), b = cl_open(0);
	cl_program program = cltest_build(a.ctx, text, "");
	cl_kernel k = cltest_kernel(program, "f");
	cl_mem m = cltest_buffer(b.ctx, 0, 64, NULL), own = cltest_buffer(a.ctx, 0, 64, NULL);
	size_t one = 1;

	cltest_arg(k, 0, sizeof(own), &own);
	CHECK_ERR(clEnqueueNDRangeKernel(b.q, k, 1, NULL, &one, NULL, 0, NULL, NULL),
		  CL_INVALID_CONTEXT);
	CHECK_ERR(clEnqueueFillBuffer(a.q, m, &one, 8, 0, 64, 0, NULL, NULL), CL_INVALID_CONTEXT);
	CHECK_ERR(clEnqueueCopyBuffer(a.q, own, m, 0, 0, 8, 0, NULL, NULL), CL_INVALID_CONTEXT);
	CHECK_ERR(clEnqueueMigrateMemObjects(a.q, 1, &m, 0, 0, NULL, NULL), CL_INVALID_CONTEXT);
	CREATE_ERR(clEnqueueMapBuffer(a.q, m, CL_TRUE, CL_MAP_READ, 0, 8, 0, NULL, NULL, &ERR),
		   CL_INVALID_CONTEXT);
	CHECK_CL(clReleaseMemObject(m));
	CHECK_CL(clReleaseMemObject(own));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&a);
	cl_close(&b);
}

static const struct cltest tests[] = {
    TEST(create),	    TEST(from_type), TEST(errors), TEST(destructor_callbacks),
    TEST(reference_counts), TEST(many_live), TEST(churn),  TEST(foreign_objects),
};

CLTEST_MAIN(tests)
