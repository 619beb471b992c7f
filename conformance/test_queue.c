/* Queues: creation and its errors, infos, order, flushing, release and numbers of them. */
#include "cltest.h"

static const char source[] = "kernel void advance(global uint *p, uint i)\n"
			     "{ size_t g = get_global_id(0); p[g] = p[g] * 31u + i; }\n";

static void test_create_errors(void)
{
	cl_context ctx = cltest_context();
	const cl_queue_properties unknown[] = {0x7777, 1, 0};
	const cl_queue_properties bits[] = {CL_QUEUE_PROPERTIES, (cl_queue_properties)1 << 40, 0};
	const cl_queue_properties size[] = {CL_QUEUE_SIZE, 1024, 0};
	const cl_queue_properties priority[] = {CL_QUEUE_PRIORITY_KHR, 3, 0};

	CREATE_ERR(clCreateCommandQueueWithProperties(NULL, cltest_device, NULL, &ERR),
		   CL_INVALID_CONTEXT);
	CREATE_ERR(clCreateCommandQueueWithProperties(ctx, NULL, NULL, &ERR), CL_INVALID_DEVICE);
	CREATE_ERR(clCreateCommandQueueWithProperties(ctx, cltest_device, unknown, &ERR),
		   CL_INVALID_VALUE);
	CREATE_ERR(clCreateCommandQueueWithProperties(ctx, cltest_device, bits, &ERR),
		   CL_INVALID_VALUE);
	if (!native_bug()) /* a size is for device queues only; PoCL ignores it */
		CREATE_ERR(clCreateCommandQueueWithProperties(ctx, cltest_device, size, &ERR),
			   CL_INVALID_VALUE);
	if (!native_bug()) /* PoCL has no priorities, and ignores them */
		CREATE_ERR(clCreateCommandQueueWithProperties(ctx, cltest_device, priority, &ERR),
			   CL_INVALID_VALUE);
	CREATE_ERR(clCreateCommandQueue(NULL, cltest_device, 0, &ERR), CL_INVALID_CONTEXT);
	CREATE_ERR(clCreateCommandQueue(ctx, NULL, 0, &ERR), CL_INVALID_DEVICE);
	CREATE_ERR(
	    clCreateCommandQueue(ctx, cltest_device, (cl_command_queue_properties)1 << 40, &ERR),
	    CL_INVALID_VALUE);
	CHECK_ERR(clRetainCommandQueue(NULL), CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(clReleaseCommandQueue(NULL), CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(clFlush(NULL), CL_INVALID_COMMAND_QUEUE);
	CHECK_ERR(clFinish(NULL), CL_INVALID_COMMAND_QUEUE);
	CHECK_CL(clReleaseContext(ctx));
}

/* On-device queues: made where the device has them, refused where it has not. */
static void test_device_queue_refused(void)
{
	cl_context ctx = cltest_context();
	const cl_queue_properties list[] = {CL_QUEUE_PROPERTIES,
					    CL_QUEUE_ON_DEVICE | CL_QUEUE_ON_DEVICE_DEFAULT |
						CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE,
					    0};
	const cl_queue_properties only[] = {CL_QUEUE_PROPERTIES, CL_QUEUE_ON_DEVICE, 0};

	SKIP_NATIVE("aborts on CL_QUEUE_ON_DEVICE");
	CREATE_ERR(clCreateCommandQueueWithProperties(ctx, cltest_device, only, &ERR),
		   CL_INVALID_VALUE);
	if (INFO(cl_uint, clGetDeviceInfo, cltest_device, CL_DEVICE_MAX_ON_DEVICE_QUEUES) == 0)
		CREATE_ERR(clCreateCommandQueueWithProperties(ctx, cltest_device, list, &ERR),
			   CL_INVALID_QUEUE_PROPERTIES);
	CHECK_CL(clReleaseContext(ctx));
}

static void check_info(cl_command_queue q, cl_context ctx, cl_command_queue_properties props)
{
	CHECK(INFO(cl_context, clGetCommandQueueInfo, q, CL_QUEUE_CONTEXT) == ctx);
	CHECK(INFO(cl_device_id, clGetCommandQueueInfo, q, CL_QUEUE_DEVICE) == cltest_device);
	CHECK_EQ(INFO(cl_uint, clGetCommandQueueInfo, q, CL_QUEUE_REFERENCE_COUNT), 1);
	CHECK_EQ(INFO(cl_command_queue_properties, clGetCommandQueueInfo, q, CL_QUEUE_PROPERTIES),
		 props);
}

/* cl_khr_priority_hints: commands of all priorities are executed, and waits hold across them. */
static void test_priorities(void)
{
	static const cl_queue_properties priorities[] = {
	    CL_QUEUE_PRIORITY_LOW_KHR, CL_QUEUE_PRIORITY_MED_KHR, CL_QUEUE_PRIORITY_HIGH_KHR};
	cl_uint value = 1, expected = 1, start = 1;
	cl_command_queue queues[3];
	cl_event last = NULL;
	char extensions[4096];
	size_t one = 1;

	SKIP_NATIVE("has no priorities");
	CHECK_CL(clGetDeviceInfo(cltest_device, CL_DEVICE_EXTENSIONS, sizeof(extensions),
				 extensions, NULL));
	CHECK(strstr(extensions, "cl_khr_priority_hints"));
	cl_context ctx = cltest_context();
	cl_program program = cltest_build(ctx, source, "");
	cl_kernel kernel = MUST(clCreateKernel(program, "advance", &ERR));
	cl_mem mem;

	mem = MUST(clCreateBuffer(ctx, CL_MEM_COPY_HOST_PTR, sizeof(start), &start, &ERR));
	CHECK_CL(clSetKernelArg(kernel, 0, sizeof(mem), &mem));
	for (int i = 0; i < 3; i++) {
		const cl_queue_properties list[] = {CL_QUEUE_PRIORITY_KHR, priorities[i], 0};
		cl_queue_properties got[3];
		size_t size;

		queues[i] =
		    MUST(clCreateCommandQueueWithProperties(ctx, cltest_device, list, &ERR));
		CHECK_CL(clGetCommandQueueInfo(queues[i], CL_QUEUE_PROPERTIES_ARRAY, sizeof(got),
					       got, &size));
		CHECK(size == sizeof(list) && !memcmp(got, list, size));
	}
	for (cl_uint i = 0; i < 60; i++) {
		cl_event event;

		CHECK_CL(clSetKernelArg(kernel, 1, sizeof(i), &i));
		CHECK_CL(clEnqueueNDRangeKernel(queues[i % 3], kernel, 1, NULL, &one, NULL,
						last != NULL, last ? &last : NULL, &event));
		if (last)
			CHECK_CL(clReleaseEvent(last));
		last = event;
		expected = expected * 31u + i;
	}
	CHECK_CL(
	    clEnqueueReadBuffer(queues[0], mem, CL_TRUE, 0, sizeof(value), &value, 1, &last, NULL));
	CHECK_EQ(value, expected);
	CHECK_CL(clReleaseEvent(last));
	for (int i = 0; i < 3; i++)
		CHECK_CL(clReleaseCommandQueue(queues[i]));
	CHECK_CL(clReleaseMemObject(mem));
	CHECK_CL(clReleaseKernel(kernel));
	CHECK_CL(clReleaseProgram(program));
	CHECK_CL(clReleaseContext(ctx));
}

static void test_infos(void)
{
	static const cl_command_queue_properties all[] = {
	    0, CL_QUEUE_PROFILING_ENABLE, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE,
	    CL_QUEUE_PROFILING_ENABLE | CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE};
	cl_context ctx = cltest_context();
	cl_queue_properties got[8];
	cl_command_queue q;
	size_t size;
	cl_uint v[4];

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		const cl_queue_properties list[] = {CL_QUEUE_PROPERTIES, all[i], 0};

		q = MUST(clCreateCommandQueueWithProperties(ctx, cltest_device, list, &ERR));
		check_info(q, ctx, all[i]);
		CHECK_CL(
		    clGetCommandQueueInfo(q, CL_QUEUE_PROPERTIES_ARRAY, sizeof(got), got, &size));
		CHECK_EQ(size, sizeof(list));
		CHECK(!memcmp(got, list, sizeof(list)));
		CHECK_CL(clReleaseCommandQueue(q));
		q = MUST(clCreateCommandQueue(ctx, cltest_device, all[i], &ERR));
		check_info(q, ctx, all[i]);
		CHECK_CL(
		    clGetCommandQueueInfo(q, CL_QUEUE_PROPERTIES_ARRAY, sizeof(got), got, &size));
		CHECK_EQ(size, 0);
		CHECK_CL(clReleaseCommandQueue(q));
	}
	q = MUST(clCreateCommandQueueWithProperties(ctx, cltest_device, NULL, &ERR));
	check_info(q, ctx, 0);
	CHECK_ERR(clGetCommandQueueInfo(q, CL_QUEUE_SIZE, sizeof(v), v, NULL),
		  CL_INVALID_COMMAND_QUEUE);
	CHECK(INFO(cl_command_queue, clGetCommandQueueInfo, q, CL_QUEUE_DEVICE_DEFAULT) == NULL);
	CHECK_ERR(clGetCommandQueueInfo(q, 0x7777, sizeof(v), v, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetCommandQueueInfo(q, CL_QUEUE_CONTEXT, 4, v, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetCommandQueueInfo(NULL, CL_QUEUE_CONTEXT, 8, v, NULL),
		  CL_INVALID_COMMAND_QUEUE);
	CHECK_CL(clRetainCommandQueue(q));
	CHECK_EQ(INFO(cl_uint, clGetCommandQueueInfo, q, CL_QUEUE_REFERENCE_COUNT), 2);
	CHECK_CL(clReleaseCommandQueue(q));
	CHECK_CL(clReleaseCommandQueue(q));
	CHECK_CL(clReleaseContext(ctx));
}

/* Kernels, fills, copies and reads of one in-order queue without a single wait list. */
static void test_in_order(void)
{
	enum { COUNT = 512, ROUNDS = 300 };
	struct cl cl = cl_open(0);
	cl_program program = cltest_build(cl.ctx, source, "");
	cl_kernel k = cltest_kernel(program, "advance");
	cl_mem a = cltest_buffer(cl.ctx, 0, COUNT * 4, NULL);
	cl_mem b = cltest_buffer(cl.ctx, 0, COUNT * 4, NULL);
	cl_uint zero = 0, expected = 0, out[COUNT];

	CHECK_CL(clEnqueueFillBuffer(cl.q, a, &zero, 4, 0, COUNT * 4, 0, NULL, NULL));
	for (cl_uint i = 0; i < ROUNDS; i++) {
		cl_mem from = i % 2 ? b : a, to = i % 2 ? a : b;

		cltest_arg(k, 0, sizeof(from), &from);
		cltest_arg(k, 1, sizeof(i), &i);
		cltest_launch(cl.q, k, COUNT);
		CHECK_CL(clEnqueueCopyBuffer(cl.q, from, to, 0, 0, COUNT * 4, 0, NULL, NULL));
		CHECK_CL(clEnqueueFillBuffer(cl.q, from, &i, 4, 0, COUNT * 4, 0, NULL, NULL));
		expected = expected * 31u + i;
	}
	CHECK_CL(clEnqueueReadBuffer(cl.q, a, CL_TRUE, 0, sizeof(out), out, 0, NULL, NULL));
	for (int i = 0; i < COUNT; i++)
		CHECK_EQ(out[i], expected);
	CHECK_CL(clReleaseMemObject(a));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

/* Completion in an in-order queue is seen in queue order, also with kernels on disjoint data. */
static void test_in_order_completion(void)
{
	enum { COUNT = 64 };
	struct cl cl = cl_open(0);
	cl_program program = cltest_build(cl.ctx, source, "");
	cl_kernel k = cltest_kernel(program, "advance");
	cl_event e[COUNT];
	cl_mem b[COUNT];

	for (cl_uint i = 0; i < COUNT; i++) {
		size_t n = i % 2 ? 4 : 200000;

		b[i] = cltest_buffer(cl.ctx, 0, n * 4, NULL);
		cltest_arg(k, 0, sizeof(b[i]), &b[i]);
		cltest_arg(k, 1, sizeof(i), &i);
		CHECK_CL(clEnqueueNDRangeKernel(cl.q, k, 1, NULL, &n, NULL, 0, NULL, &e[i]));
	}
	CHECK_CL(clFlush(cl.q));
	for (int i = COUNT - 1; i > 0; i--) {
		if (cltest_event_status(e[i]) == CL_COMPLETE)
			CHECK_EQ(cltest_event_status(e[i - 1]), CL_COMPLETE);
	}
	CHECK_CL(clWaitForEvents(1, &e[COUNT - 1]));
	for (int i = 0; i < COUNT; i++) {
		CHECK_EQ(cltest_event_status(e[i]), CL_COMPLETE);
		CHECK_CL(clReleaseEvent(e[i]));
		CHECK_CL(clReleaseMemObject(b[i]));
	}
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

/* After clFlush alone the commands run: polling sees the end. */
static void test_flush(void)
{
	struct cl cl = cl_open(0);
	cl_mem b = cltest_buffer(cl.ctx, 0, 64, NULL);
	cl_uint v = 9, out[16] = {0};
	cl_event e;

	CHECK_CL(clEnqueueFillBuffer(cl.q, b, &v, 4, 0, 64, 0, NULL, NULL));
	CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_FALSE, 0, 64, out, 0, NULL, &e));
	CHECK_CL(clFlush(cl.q));
	while (cltest_event_status(e) != CL_COMPLETE)
		sched_yield();
	for (int i = 0; i < 16; i++)
		CHECK_EQ(out[i], 9);
	CHECK_CL(clReleaseEvent(e));
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

/* Releasing a queue flushes it; its commands complete and their events stay valid. */
static void test_release_flushes(void)
{
	struct cl cl = cl_open(0);
	cl_mem b = cltest_buffer(cl.ctx, 0, 64, NULL);
	cl_uint v = 11, out[16] = {0};
	cl_event e;

	for (int i = 0; i < 50; i++) {
		cl_command_queue q = cltest_queue(cl.ctx, 0);

		v++;
		CHECK_CL(clEnqueueFillBuffer(q, b, &v, 4, 0, 64, 0, NULL, NULL));
		CHECK_CL(clEnqueueReadBuffer(q, b, CL_FALSE, 0, 64, out, 0, NULL, &e));
		CHECK_CL(clReleaseCommandQueue(q));
		while (cltest_event_status(e) != CL_COMPLETE)
			sched_yield();
		CHECK_EQ(out[0], v);
		CHECK_EQ(out[15], v);
		CHECK_CL(clReleaseEvent(e));
	}
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

static void test_many_queues(void)
{
	enum { COUNT = 100 };
	cl_context ctx = cltest_context();
	cl_program program = cltest_build(ctx, source, "");
	cl_kernel k = cltest_kernel(program, "advance");
	cl_command_queue q[COUNT];
	cl_mem b[COUNT];
	cl_uint zero = 0, out;

	for (cl_uint i = 0; i < COUNT; i++) {
		q[i] = cltest_queue(ctx, i % 2 ? CL_QUEUE_PROFILING_ENABLE : 0);
		b[i] = cltest_buffer(ctx, 0, 256, NULL);
		CHECK_CL(clEnqueueFillBuffer(q[i], b[i], &zero, 4, 0, 256, 0, NULL, NULL));
		cltest_arg(k, 0, sizeof(b[i]), &b[i]);
		cltest_arg(k, 1, sizeof(i), &i);
		cltest_launch(q[i], k, 64);
	}
	for (cl_uint i = 0; i < COUNT; i++)
		CHECK_CL(clFlush(q[i]));
	for (cl_uint i = 0; i < COUNT; i++) {
		CHECK_CL(clEnqueueReadBuffer(q[i], b[i], CL_TRUE, 252, 4, &out, 0, NULL, NULL));
		CHECK_EQ(out, i);
		CHECK_CL(clReleaseMemObject(b[i]));
		CHECK_CL(clReleaseCommandQueue(q[i]));
	}
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	CHECK_CL(clReleaseContext(ctx));
}

/* An empty queue finishes at once, again and again. */
static void test_finish_empty(void)
{
	struct cl cl = cl_open(0);

	for (int i = 0; i < 20000; i++) {
		CHECK_CL(clFlush(cl.q));
		CHECK_CL(clFinish(cl.q));
	}
	cl_close(&cl);
}

/* More commands in flight than any ring holds, behind a closed gate. */
static void test_deep_queue(void)
{
	struct cl cl = cl_open(0);
	cl_mem b = cltest_buffer(cl.ctx, 0, 64, NULL);
	cl_event gate = MUST(clCreateUserEvent(cl.ctx, &ERR));
	cl_uint i, out;
	cl_int err = CL_SUCCESS;

	CHECK_CL(clEnqueueMarkerWithWaitList(cl.q, 1, &gate, NULL));
	for (i = 0; i < 20000; i++) {
		err = clEnqueueFillBuffer(cl.q, b, &i, 4, 0, 64, 0, NULL, NULL);
		if (err)
			break;
	}
	/* A limit may refuse further commands but must not hang, nor lose those it took. */
	CHECK(err == CL_SUCCESS || err == CL_OUT_OF_RESOURCES);
	CHECK(i >= 256);
	CHECK_CL(clSetUserEventStatus(gate, CL_COMPLETE));
	CHECK_CL(clFinish(cl.q));
	CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 0, 4, &out, 0, NULL, NULL));
	CHECK_EQ(out, i - 1);
	CHECK_CL(clReleaseEvent(gate));
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

/* clSetCommandQueueProperty is deprecated since 1.1; it works all the same. */
static void test_set_property(void)
{
	struct cl cl = cl_open(0);

	SKIP_NATIVE("its slot in the dispatch table is NULL");
	cl_command_queue_properties old = ~(cl_command_queue_properties)0;

	CHECK_CL(clSetCommandQueueProperty(cl.q, CL_QUEUE_PROFILING_ENABLE, CL_TRUE, &old));
	CHECK_EQ(old, 0);
	CHECK_EQ(
	    INFO(cl_command_queue_properties, clGetCommandQueueInfo, cl.q, CL_QUEUE_PROPERTIES),
	    CL_QUEUE_PROFILING_ENABLE);
	CHECK_CL(clSetCommandQueueProperty(cl.q, CL_QUEUE_PROFILING_ENABLE, CL_FALSE, NULL));
	CHECK_ERR(clSetCommandQueueProperty(cl.q, 1 << 20, CL_TRUE, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clSetCommandQueueProperty(NULL, 0, CL_TRUE, NULL), CL_INVALID_COMMAND_QUEUE);
	cl_close(&cl);
}

static void test_default_device_queue(void)
{
	struct cl cl = cl_open(0);

	if (INFO(cl_uint, clGetDeviceInfo, cltest_device, CL_DEVICE_MAX_ON_DEVICE_QUEUES) == 0)
		CHECK_ERR(clSetDefaultDeviceCommandQueue(cl.ctx, cltest_device, cl.q),
			  CL_INVALID_OPERATION);
	cl_close(&cl);
}

static const struct cltest tests[] = {
    TEST(create_errors),   TEST(device_queue_refused), TEST(infos),
    TEST(in_order),	   TEST(in_order_completion),  TEST(flush),
    TEST(release_flushes), TEST(many_queues),	       TEST(finish_empty),
    TEST(deep_queue),	   TEST(set_property),	       TEST(default_device_queue),
    TEST(priorities),
};

CLTEST_MAIN(tests)
