/* Out-of-order queues: only wait lists, barriers and markers order commands, and they do. */
#include "cltest.h"

#define N 1024

static const char source[] =
    "kernel void blend(global uint *p, uint a, uint b)\n"
    "{ size_t i = get_global_id(0); p[i] = p[i] * a + b; }\n"
    "kernel void sum(global const uint *a, global const uint *b, global uint *c)\n"
    "{ size_t i = get_global_id(0); c[i] = a[i] + b[i]; }\n";

static struct cl open_ooo(void)
{
	cl_command_queue_properties can = INFO(cl_command_queue_properties, clGetDeviceInfo,
					       cltest_device, CL_DEVICE_QUEUE_ON_HOST_PROPERTIES);

	if (!(can & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE))
		SKIP("no out-of-order queues");
	return cl_open(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
}

static cl_mem zeroed(struct cl *cl)
{
	cl_uint zero[N] = {0};

	return cltest_buffer(cl->ctx, CL_MEM_COPY_HOST_PTR, sizeof(zero), zero);
}

static void mix(struct cl *cl, cl_kernel k, cl_mem m, cl_uint a, cl_uint b, cl_uint n,
		const cl_event *list, cl_event *e)
{
	size_t size = N;

	cltest_arg(k, 0, sizeof(m), &m);
	cltest_arg(k, 1, sizeof(a), &a);
	cltest_arg(k, 2, sizeof(b), &b);
	CHECK_CL(clEnqueueNDRangeKernel(cl->q, k, 1, NULL, &size, NULL, n, list, e));
}

static void check_all(struct cl *cl, cl_mem m, cl_uint expected)
{
	cl_uint out[N];

	CHECK_CL(clEnqueueReadBuffer(cl->q, m, CL_TRUE, 0, sizeof(out), out, 0, NULL, NULL));
	for (int i = 0; i < N; i++)
		CHECK_EQ(out[i], expected);
}

/* A chain by wait lists on one buffer, in which every order but one gives another number. */
static void test_chain(void)
{
	struct cl cl = open_ooo();
	cl_program program = cltest_build(cl.ctx, source, "");
	cl_kernel k = cltest_kernel(program, "blend");
	cl_mem m = zeroed(&cl);
	cl_event last = NULL, next;
	cl_uint expected = 0;

	for (cl_uint i = 1; i <= 200; i++) {
		mix(&cl, k, m, i | 1, i, last ? 1 : 0, last ? &last : NULL, &next);
		if (last)
			CHECK_CL(clReleaseEvent(last));
		last = next;
		expected = expected * (i | 1) + i;
	}
	CHECK_CL(clWaitForEvents(1, &last));
	check_all(&cl, m, expected);
	CHECK_CL(clReleaseEvent(last));
	CHECK_CL(clReleaseMemObject(m));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

/* The same by barriers alone. */
static void test_barriers(void)
{
	struct cl cl = open_ooo();
	cl_program program = cltest_build(cl.ctx, source, "");
	cl_kernel k = cltest_kernel(program, "blend");
	cl_mem m = zeroed(&cl);
	cl_uint expected = 0;

	for (cl_uint i = 1; i <= 100; i++) {
		mix(&cl, k, m, i | 1, i, 0, NULL, NULL);
		CHECK_CL(clEnqueueBarrierWithWaitList(cl.q, 0, NULL, NULL));
		expected = expected * (i | 1) + i;
	}
	check_all(&cl, m, expected);
	CHECK_CL(clReleaseMemObject(m));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

/* A diamond: two independent branches, joined by a kernel that needs both. */
static void test_diamond(void)
{
	struct cl cl = open_ooo();
	cl_program program = cltest_build(cl.ctx, source, "");
	cl_kernel k = cltest_kernel(program, "blend"), s = cltest_kernel(program, "sum");
	cl_mem m[3] = {zeroed(&cl), zeroed(&cl), zeroed(&cl)};
	size_t size = N;

	for (cl_uint round = 0; round < 30; round++) {
		cl_event e[5];

		CHECK_CL(clEnqueueFillBuffer(cl.q, m[0], &round, 4, 0, N * 4, 0, NULL, &e[0]));
		CHECK_CL(clEnqueueCopyBuffer(cl.q, m[0], m[1], 0, 0, N * 4, 1, &e[0], &e[1]));
		mix(&cl, k, m[0], 5, 2, 1, &e[1], &e[2]); /* overwrites what the copy reads */
		mix(&cl, k, m[1], 3, 1, 1, &e[1], &e[3]);
		for (cl_uint i = 0; i < 3; i++)
			cltest_arg(s, i, sizeof(m[i]), &m[i]);
		CHECK_CL(clEnqueueNDRangeKernel(cl.q, s, 1, NULL, &size, NULL, 2, &e[2], &e[4]));
		CHECK_CL(clWaitForEvents(1, &e[4]));
		check_all(&cl, m[2], round * 3 + 1 + round * 5 + 2);
		for (int i = 0; i < 5; i++)
			CHECK_CL(clReleaseEvent(e[i]));
	}
	for (int i = 0; i < 3; i++)
		CHECK_CL(clReleaseMemObject(m[i]));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseKernel(s));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

/* A command behind a closed gate does not hold back those after it in the queue. */
static void test_overtaking(void)
{
	struct cl cl = open_ooo();
	cl_mem a = zeroed(&cl), b = zeroed(&cl);
	cl_event gate = MUST(clCreateUserEvent(cl.ctx, &ERR)), blocked;
	cl_uint v = 6, out = 0;

	SKIP_NATIVE("a blocking read waits for the whole queue");
	CHECK_CL(clEnqueueFillBuffer(cl.q, a, &v, 4, 0, N * 4, 1, &gate, &blocked));
	CHECK_CL(clEnqueueFillBuffer(cl.q, b, &v, 4, 0, N * 4, 0, NULL, NULL));
	CHECK_CL(clFlush(cl.q));
	while (out != 6)
		CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 0, 4, &out, 0, NULL, NULL));
	CHECK(cltest_event_status(blocked) > CL_COMPLETE);
	CHECK_CL(clSetUserEventStatus(gate, CL_COMPLETE));
	CHECK_CL(clFinish(cl.q));
	check_all(&cl, a, 6);
	CHECK_CL(clReleaseEvent(gate));
	CHECK_CL(clReleaseEvent(blocked));
	CHECK_CL(clReleaseMemObject(a));
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

/* A barrier with a closed gate holds back everything after it, a marker nothing. */
static void test_barrier_and_marker(void)
{
	struct cl cl = open_ooo();
	cl_mem a = zeroed(&cl);
	cl_event gate[2], marker, barrier, after;
	cl_uint v = 8, out = 0;

	for (int i = 0; i < 2; i++)
		gate[i] = MUST(clCreateUserEvent(cl.ctx, &ERR));
	CHECK_CL(clEnqueueMarkerWithWaitList(cl.q, 1, &gate[0], &marker));
	CHECK_CL(clEnqueueFillBuffer(cl.q, a, &v, 4, 0, N * 4, 0, NULL, &after));
	CHECK_CL(clWaitForEvents(1, &after)); /* passes the marker */
	CHECK_CL(clReleaseEvent(after));
	CHECK(cltest_event_status(marker) > CL_COMPLETE);
	CHECK_CL(clEnqueueBarrierWithWaitList(cl.q, 1, &gate[1], &barrier));
	v = 9;
	CHECK_CL(clEnqueueFillBuffer(cl.q, a, &v, 4, 0, N * 4, 0, NULL, &after));
	CHECK_CL(clEnqueueReadBuffer(cl.q, a, CL_FALSE, 0, 4, &out, 1, &after, NULL));
	CHECK_CL(clFlush(cl.q));
	CHECK(cltest_event_status(after) > CL_COMPLETE);
	CHECK(cltest_event_status(barrier) > CL_COMPLETE);
	CHECK_CL(clSetUserEventStatus(gate[1], CL_COMPLETE));
	CHECK_CL(clWaitForEvents(1, &after));
	CHECK_EQ(cltest_event_status(barrier), CL_COMPLETE);
	CHECK_CL(clSetUserEventStatus(gate[0], CL_COMPLETE));
	CHECK_CL(clFinish(cl.q));
	CHECK_EQ(out, 9);
	CHECK_EQ(cltest_event_status(marker), CL_COMPLETE);
	CHECK_CL(clReleaseEvent(after));
	CHECK_CL(clReleaseEvent(marker));
	CHECK_CL(clReleaseEvent(barrier));
	for (int i = 0; i < 2; i++)
		CHECK_CL(clReleaseEvent(gate[i]));
	CHECK_CL(clReleaseMemObject(a));
	cl_close(&cl);
}

/* A marker or barrier without a list waits for all before it. */
static void test_marker_waits_for_all(void)
{
	struct cl cl = open_ooo();
	cl_mem m[32];
	cl_event marker;
	cl_uint out[32] = {0};

	for (cl_uint i = 0; i < 32; i++) {
		cl_event e;

		m[i] = zeroed(&cl);
		CHECK_CL(clEnqueueFillBuffer(cl.q, m[i], &i, 4, 0, N * 4, 0, NULL, &e));
		CHECK_CL(clEnqueueReadBuffer(cl.q, m[i], CL_FALSE, 4, 4, &out[i], 1, &e, NULL));
		CHECK_CL(clReleaseEvent(e));
	}
	CHECK_CL(clEnqueueMarkerWithWaitList(cl.q, 0, NULL, &marker));
	CHECK_CL(clWaitForEvents(1, &marker));
	for (cl_uint i = 0; i < 32; i++) {
		CHECK_EQ(out[i], i);
		CHECK_CL(clReleaseMemObject(m[i]));
	}
	CHECK_CL(clReleaseEvent(marker));
	cl_close(&cl);
}

/* Random graphs over several buffers, checked against the same computation on the host. */
static void test_random_graph(void)
{
	enum { BUFFERS = 6, COMMANDS = 400 };
	struct cl cl = open_ooo();
	cl_program program = cltest_build(cl.ctx, source, "");
	cl_kernel k = cltest_kernel(program, "blend");
	cl_mem m[BUFFERS];
	cl_event last[BUFFERS] = {0};
	cl_uint model[BUFFERS] = {0}, seed = 99;

	for (int i = 0; i < BUFFERS; i++)
		m[i] = zeroed(&cl);
	for (int c = 0; c < COMMANDS; c++) {
		cl_event list[2], e;
		cl_uint n = 0, from, to;

		seed = seed * 1664525u + 1013904223u;
		to = (seed >> 8) % BUFFERS;
		from = (seed >> 16) % BUFFERS;
		if (last[to])
			list[n++] = last[to];
		if (from == to) {
			mix(&cl, k, m[to], 7, seed, n, n ? list : NULL, &e);
			model[to] = model[to] * 7 + seed;
		} else {
			if (last[from])
				list[n++] = last[from];
			CHECK_CL(clEnqueueCopyBuffer(cl.q, m[from], m[to], 0, 0, N * 4, n,
						     n ? list : NULL, &e));
			model[to] = model[from];
			/* Later writers of the source must wait for this reader. */
			if (last[from])
				CHECK_CL(clReleaseEvent(last[from]));
			CHECK_CL(clRetainEvent(e));
			last[from] = e;
		}
		if (last[to])
			CHECK_CL(clReleaseEvent(last[to]));
		last[to] = e;
	}
	CHECK_CL(clFinish(cl.q));
	for (int i = 0; i < BUFFERS; i++) {
		check_all(&cl, m[i], model[i]);
		CHECK_CL(clReleaseMemObject(m[i]));
		if (last[i])
			CHECK_CL(clReleaseEvent(last[i]));
	}
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

static const struct cltest tests[] = {
    TEST(chain),	TEST(barriers),		  TEST(diamond),
    TEST(overtaking),	TEST(barrier_and_marker), TEST(marker_waits_for_all),
    TEST(random_graph),
};

CLTEST_MAIN(tests)
