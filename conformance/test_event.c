/* Events: statuses, dependencies across queues, failures, callbacks, profiling and their errors. */
#include "cltest.h"

static const char source[] =
    "kernel void add(global uint *p, uint v) { p[get_global_id(0)] += v; }\n"
    "kernel void spin(global uint *p, uint n)\n"
    "{ uint x = p[0]; for (uint i = 0; i < n; i++) x = x * 1664525u + 1013904223u; p[0] = x; }\n";

struct note {
	atomic_int calls;
	atomic_int status;
	cl_event event;
	int order; /* the number of calls of the shared counter before this one */
	atomic_int *counter;
};

static void CL_CALLBACK on_event(cl_event event, cl_int status, void *user)
{
	struct note *note = user;

	note->event = event;
	if (note->counter)
		note->order = atomic_fetch_add(note->counter, 1);
	atomic_store(&note->status, status);
	atomic_fetch_add(&note->calls, 1);
}

static cl_event user_event(struct cl *cl)
{
	return MUST(clCreateUserEvent(cl->ctx, &ERR));
}

static cl_command_queue second_queue(struct cl *cl)
{
	return cltest_queue(cl->ctx, 0);
}

static void test_user_event_infos(void)
{
	struct cl cl = cl_open(0);
	cl_event e = user_event(&cl);

	CHECK(INFO(cl_context, clGetEventInfo, e, CL_EVENT_CONTEXT) == cl.ctx);
	CHECK(INFO(cl_command_queue, clGetEventInfo, e, CL_EVENT_COMMAND_QUEUE) == NULL);
	CHECK_EQ(INFO(cl_command_type, clGetEventInfo, e, CL_EVENT_COMMAND_TYPE), CL_COMMAND_USER);
	CHECK_EQ(INFO(cl_uint, clGetEventInfo, e, CL_EVENT_REFERENCE_COUNT), 1);
	CHECK_EQ(cltest_event_status(e), CL_SUBMITTED);
	CHECK_CL(clRetainEvent(e));
	CHECK_EQ(INFO(cl_uint, clGetEventInfo, e, CL_EVENT_REFERENCE_COUNT), 2);
	CHECK_CL(clReleaseEvent(e));
	CHECK_CL(clSetUserEventStatus(e, CL_COMPLETE));
	CHECK_EQ(cltest_event_status(e), CL_COMPLETE);
	CHECK_CL(clWaitForEvents(1, &e));
	CHECK_CL(clReleaseEvent(e));
	cl_close(&cl);
}

static void test_user_event_errors(void)
{
	struct cl cl = cl_open(0);
	cl_event e = user_event(&cl), command;

	CREATE_ERR(clCreateUserEvent(NULL, &ERR), CL_INVALID_CONTEXT);
	CHECK_ERR(clSetUserEventStatus(NULL, CL_COMPLETE), CL_INVALID_EVENT);
	CHECK_ERR(clSetUserEventStatus(e, CL_SUBMITTED), CL_INVALID_VALUE);
	CHECK_ERR(clSetUserEventStatus(e, CL_RUNNING), CL_INVALID_VALUE);
	CHECK_ERR(clSetUserEventStatus(e, CL_QUEUED), CL_INVALID_VALUE);
	CHECK_ERR(clSetUserEventStatus(e, 5), CL_INVALID_VALUE);
	CHECK_CL(clSetUserEventStatus(e, CL_COMPLETE));
	CHECK_ERR(clSetUserEventStatus(e, CL_COMPLETE), CL_INVALID_OPERATION);
	CHECK_ERR(clSetUserEventStatus(e, -1), CL_INVALID_OPERATION);
	CHECK_CL(clEnqueueMarkerWithWaitList(cl.q, 0, NULL, &command));
	CHECK_ERR(clSetUserEventStatus(command, CL_COMPLETE), CL_INVALID_EVENT);
	CHECK_CL(clReleaseEvent(command));
	CHECK_CL(clReleaseEvent(e));
	cl_close(&cl);
}

/* Every command's event has the client's own queue and context and its command type. */
static void test_command_infos(void)
{
	struct cl cl = cl_open(0);
	cl_mem a = cltest_buffer(cl.ctx, 0, 4096, NULL), b = cltest_buffer(cl.ctx, 0, 4096, NULL);
	cl_program program = cltest_build(cl.ctx, source, "");
	cl_kernel k = cltest_kernel(program, "add");
	const size_t zero[3] = {0}, region[3] = {4, 4, 1}, n = 16;
	char h[64] = {0};
	cl_uint v = 1;
	cl_event e[16];
	void *p;
	size_t i = 0;
	static const cl_command_type types[] = {CL_COMMAND_WRITE_BUFFER,
						CL_COMMAND_READ_BUFFER,
						CL_COMMAND_COPY_BUFFER,
						CL_COMMAND_FILL_BUFFER,
						CL_COMMAND_WRITE_BUFFER_RECT,
						CL_COMMAND_READ_BUFFER_RECT,
						CL_COMMAND_COPY_BUFFER_RECT,
						CL_COMMAND_NDRANGE_KERNEL,
						CL_COMMAND_MAP_BUFFER,
						CL_COMMAND_UNMAP_MEM_OBJECT,
						CL_COMMAND_MARKER,
						CL_COMMAND_BARRIER,
						CL_COMMAND_MIGRATE_MEM_OBJECTS};

	cltest_arg(k, 0, sizeof(a), &a);
	cltest_arg(k, 1, sizeof(v), &v);
	CHECK_CL(clEnqueueWriteBuffer(cl.q, a, CL_FALSE, 0, 64, h, 0, NULL, &e[i++]));
	CHECK_CL(clEnqueueReadBuffer(cl.q, a, CL_FALSE, 0, 64, h, 0, NULL, &e[i++]));
	CHECK_CL(clEnqueueCopyBuffer(cl.q, a, b, 0, 0, 64, 0, NULL, &e[i++]));
	CHECK_CL(clEnqueueFillBuffer(cl.q, a, h, 4, 0, 64, 0, NULL, &e[i++]));
	CHECK_CL(clEnqueueWriteBufferRect(cl.q, a, CL_FALSE, zero, zero, region, 0, 0, 0, 0, h, 0,
					  NULL, &e[i++]));
	CHECK_CL(clEnqueueReadBufferRect(cl.q, a, CL_FALSE, zero, zero, region, 0, 0, 0, 0, h, 0,
					 NULL, &e[i++]));
	CHECK_CL(
	    clEnqueueCopyBufferRect(cl.q, a, b, zero, zero, region, 0, 0, 0, 0, 0, NULL, &e[i++]));
	CHECK_CL(clEnqueueNDRangeKernel(cl.q, k, 1, NULL, &n, NULL, 0, NULL, &e[i++]));
	p = MUST(clEnqueueMapBuffer(cl.q, a, CL_FALSE, CL_MAP_READ, 0, 64, 0, NULL, &e[i++], &ERR));
	CHECK_CL(clEnqueueUnmapMemObject(cl.q, a, p, 0, NULL, &e[i++]));
	CHECK_CL(clEnqueueMarkerWithWaitList(cl.q, 0, NULL, &e[i++]));
	CHECK_CL(clEnqueueBarrierWithWaitList(cl.q, 0, NULL, &e[i++]));
	CHECK_CL(clEnqueueMigrateMemObjects(cl.q, 1, &a, 0, 0, NULL, &e[i++]));
	CHECK_EQ(i, ARRAY_SIZE(types));
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		CHECK(INFO(cl_context, clGetEventInfo, e[i], CL_EVENT_CONTEXT) == cl.ctx);
		CHECK(INFO(cl_command_queue, clGetEventInfo, e[i], CL_EVENT_COMMAND_QUEUE) == cl.q);
		CHECK_EQ(INFO(cl_command_type, clGetEventInfo, e[i], CL_EVENT_COMMAND_TYPE),
			 types[i]);
		CHECK_CL(clWaitForEvents(1, &e[i]));
		CHECK_EQ(cltest_event_status(e[i]), CL_COMPLETE);
		CHECK_CL(clReleaseEvent(e[i]));
	}
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	CHECK_CL(clReleaseMemObject(a));
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

static void test_info_errors(void)
{
	struct cl cl = cl_open(0);
	cl_event e = user_event(&cl);
	cl_ulong v;

	CHECK_ERR(clGetEventInfo(NULL, CL_EVENT_CONTEXT, 8, &v, NULL), CL_INVALID_EVENT);
	CHECK_ERR(clGetEventInfo(e, 0x7777, 8, &v, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetEventInfo(e, CL_EVENT_CONTEXT, 4, &v, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetEventInfo(e, CL_EVENT_REFERENCE_COUNT, 2, &v, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clGetEventProfilingInfo(e, CL_PROFILING_COMMAND_END, 8, &v, NULL),
		  CL_PROFILING_INFO_NOT_AVAILABLE);
	CHECK_ERR(clRetainEvent(NULL), CL_INVALID_EVENT);
	CHECK_ERR(clReleaseEvent(NULL), CL_INVALID_EVENT);
	CHECK_ERR(clSetEventCallback(NULL, CL_COMPLETE, on_event, NULL), CL_INVALID_EVENT);
	CHECK_ERR(clSetEventCallback(e, CL_COMPLETE, NULL, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clSetEventCallback(e, CL_QUEUED, on_event, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clSetEventCallback(e, -5, on_event, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clSetEventCallback(e, 17, on_event, NULL), CL_INVALID_VALUE);
	CHECK_CL(clSetUserEventStatus(e, CL_COMPLETE));
	CHECK_CL(clReleaseEvent(e));
	cl_close(&cl);
}

static void test_wait_errors(void)
{
	struct cl cl = cl_open(0);
	cl_context other = cltest_context();
	cl_event e[2] = {user_event(&cl), MUST(clCreateUserEvent(other, &ERR))};
	cl_event null[1] = {NULL};

	CHECK_CL(clSetUserEventStatus(e[0], CL_COMPLETE));
	CHECK_CL(clSetUserEventStatus(e[1], CL_COMPLETE));
	CHECK_ERR(clWaitForEvents(0, e), CL_INVALID_VALUE);
	CHECK_ERR(clWaitForEvents(1, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clWaitForEvents(1, null), CL_INVALID_EVENT);
	CHECK_ERR(clWaitForEvents(2, e), CL_INVALID_CONTEXT);
	CHECK_CL(clReleaseEvent(e[0]));
	CHECK_CL(clReleaseEvent(e[1]));
	CHECK_CL(clReleaseContext(other));
	cl_close(&cl);
}

/* The wait list of every kind of command is checked the same way. */
static void test_wait_list_errors(void)
{
	struct cl cl = cl_open(0);
	cl_context other = cltest_context();
	cl_mem a = cltest_buffer(cl.ctx, 0, 64, NULL), b = cltest_buffer(cl.ctx, 0, 64, NULL);
	cl_event foreign = MUST(clCreateUserEvent(other, &ERR)), good = user_event(&cl);
	cl_event null = NULL;
	cl_program program = cltest_build(cl.ctx, source, "");
	cl_kernel k = cltest_kernel(program, "add");
	const size_t zero[3] = {0}, region[3] = {4, 4, 1}, one = 1;
	cl_uint v = 1;
	char h[64];
	struct {
		cl_uint n;
		const cl_event *list;
		cl_int error;
	} cases[] = {
	    {1, NULL, CL_INVALID_EVENT_WAIT_LIST},
	    {0, &good, CL_INVALID_EVENT_WAIT_LIST},
	    {1, &null, CL_INVALID_EVENT_WAIT_LIST},
	    {1, &foreign, CL_INVALID_CONTEXT},
	};

	cltest_arg(k, 0, sizeof(a), &a);
	cltest_arg(k, 1, sizeof(v), &v);
	CHECK_CL(clSetUserEventStatus(foreign, CL_COMPLETE));
	CHECK_CL(clSetUserEventStatus(good, CL_COMPLETE));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cl_uint n = cases[i].n;
		const cl_event *l = cases[i].list;
		cl_int error = cases[i].error;

		if (i == 2 && native_bug()) /* PoCL follows the NULL */
			continue;
		CHECK_ERR(clEnqueueReadBuffer(cl.q, a, CL_TRUE, 0, 64, h, n, l, NULL), error);
		CHECK_ERR(clEnqueueWriteBuffer(cl.q, a, CL_TRUE, 0, 64, h, n, l, NULL), error);
		CHECK_ERR(clEnqueueCopyBuffer(cl.q, a, b, 0, 0, 64, n, l, NULL), error);
		CHECK_ERR(clEnqueueFillBuffer(cl.q, a, h, 4, 0, 64, n, l, NULL), error);
		CHECK_ERR(
		    clEnqueueCopyBufferRect(cl.q, a, b, zero, zero, region, 0, 0, 0, 0, n, l, NULL),
		    error);
		CREATE_ERR(
		    clEnqueueMapBuffer(cl.q, a, CL_TRUE, CL_MAP_READ, 0, 64, n, l, NULL, &ERR),
		    error);
		CHECK_ERR(clEnqueueMigrateMemObjects(cl.q, 1, &a, 0, n, l, NULL), error);
		CHECK_ERR(clEnqueueMarkerWithWaitList(cl.q, n, l, NULL), error);
		CHECK_ERR(clEnqueueBarrierWithWaitList(cl.q, n, l, NULL), error);
		if (!native_bug()) /* PoCL does not check the wait list of a launch and crashes */
			CHECK_ERR(clEnqueueNDRangeKernel(cl.q, k, 1, NULL, &one, NULL, n, l, NULL),
				  error);
	}
	CHECK_CL(clReleaseEvent(foreign));
	CHECK_CL(clReleaseEvent(good));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	CHECK_CL(clReleaseMemObject(a));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseContext(other));
	cl_close(&cl);
}

/* A gate holds a chain of commands back; nothing of it happens before the gate opens. */
static void test_user_event_gates(void)
{
	struct cl cl = cl_open(0);
	cl_mem b = cltest_buffer(cl.ctx, 0, 4, NULL);
	cl_command_queue other = second_queue(&cl);
	cl_event gate = user_event(&cl), e[3];
	cl_uint zero = 0, one = 1, out = 7;

	CHECK_CL(clEnqueueWriteBuffer(cl.q, b, CL_TRUE, 0, 4, &zero, 0, NULL, NULL));
	CHECK_CL(clEnqueueWriteBuffer(cl.q, b, CL_FALSE, 0, 4, &one, 1, &gate, &e[0]));
	CHECK_CL(clEnqueueMarkerWithWaitList(cl.q, 0, NULL, &e[1]));
	CHECK_CL(clEnqueueBarrierWithWaitList(cl.q, 0, NULL, &e[2]));
	CHECK_CL(clFlush(cl.q));
	CHECK_CL(clEnqueueReadBuffer(other, b, CL_TRUE, 0, 4, &out, 0, NULL, NULL));
	CHECK_EQ(out, 0);
	for (int i = 0; i < 3; i++)
		CHECK(cltest_event_status(e[i]) > CL_RUNNING);
	CHECK_CL(clSetUserEventStatus(gate, CL_COMPLETE));
	CHECK_CL(clWaitForEvents(3, e));
	CHECK_CL(clEnqueueReadBuffer(other, b, CL_TRUE, 0, 4, &out, 0, NULL, NULL));
	CHECK_EQ(out, 1);
	for (int i = 0; i < 3; i++)
		CHECK_CL(clReleaseEvent(e[i]));
	CHECK_CL(clReleaseEvent(gate));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseCommandQueue(other));
	cl_close(&cl);
}

/* One queue blocked by a gate; another queue, of the same and of another context, keeps working. */
static void test_blocked_does_not_stall(void)
{
	struct cl cl = cl_open(0), far = cl_open(0);
	cl_program program = cltest_build(cl.ctx, source, "");
	cl_kernel k = cltest_kernel(program, "add");
	cl_mem b = cltest_buffer(cl.ctx, 0, 4096, NULL), c = cltest_buffer(cl.ctx, 0, 4096, NULL);
	cl_mem f = cltest_buffer(far.ctx, 0, 4, NULL);
	cl_command_queue other = second_queue(&cl);
	cl_event gate = user_event(&cl);
	cl_uint zero = 0, v = 1, out = 0;

	CHECK_CL(clEnqueueFillBuffer(cl.q, b, &zero, 4, 0, 4096, 0, NULL, NULL));
	CHECK_CL(clEnqueueFillBuffer(cl.q, c, &zero, 4, 0, 4096, 0, NULL, NULL));
	CHECK_CL(clFinish(cl.q));
	CHECK_CL(clEnqueueMarkerWithWaitList(cl.q, 1, &gate, NULL));
	cltest_arg(k, 1, sizeof(v), &v);
	cltest_arg(k, 0, sizeof(b), &b);
	for (int i = 0; i < 200; i++)
		cltest_launch(cl.q, k, 1024);
	CHECK_CL(clFlush(cl.q));
	cltest_arg(k, 0, sizeof(c), &c);
	for (int i = 0; i < 200; i++)
		cltest_launch(other, k, 1024);
	CHECK_CL(clEnqueueReadBuffer(other, c, CL_TRUE, 4092, 4, &out, 0, NULL, NULL));
	CHECK_EQ(out, 200);
	CHECK_CL(clEnqueueFillBuffer(far.q, f, &v, 4, 0, 4, 0, NULL, NULL));
	CHECK_CL(clEnqueueReadBuffer(far.q, f, CL_TRUE, 0, 4, &out, 0, NULL, NULL));
	CHECK_EQ(out, 1);
	CHECK_CL(clEnqueueReadBuffer(other, b, CL_TRUE, 0, 4, &out, 0, NULL, NULL));
	CHECK_EQ(out, 0);
	CHECK_CL(clSetUserEventStatus(gate, CL_COMPLETE));
	CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 0, 4, &out, 0, NULL, NULL));
	CHECK_EQ(out, 200);
	CHECK_CL(clReleaseEvent(gate));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseMemObject(c));
	CHECK_CL(clReleaseMemObject(f));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	CHECK_CL(clReleaseCommandQueue(other));
	cl_close(&far);
	cl_close(&cl);
}

/* Adds 1 on one queue and doubles on another, alternating by events alone: order decides the sum.
 */
static void test_across_queues(void)
{
	static const char alternate[] =
	    "kernel void inc(global uint *p) { p[get_global_id(0)] += 1; }\n"
	    "kernel void twice(global uint *p) { p[get_global_id(0)] *= 3; }\n";
	enum { COUNT = 256, ROUNDS = 60 };
	struct cl cl = cl_open(0);
	cl_command_queue q[2] = {cl.q, second_queue(&cl)};
	cl_program program = cltest_build(cl.ctx, alternate, "");
	cl_kernel k[2] = {cltest_kernel(program, "inc"), cltest_kernel(program, "twice")};
	cl_uint out[COUNT] = {0}, expected = 0;
	cl_mem b = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(out), out);
	cl_event last = NULL;
	const size_t n = COUNT;

	for (int i = 0; i < 2; i++)
		cltest_arg(k[i], 0, sizeof(b), &b);
	for (int i = 0; i < ROUNDS; i++) {
		cl_event next;

		CHECK_CL(clEnqueueNDRangeKernel(q[i % 2], k[i % 2], 1, NULL, &n, NULL, last ? 1 : 0,
						last ? &last : NULL, &next));
		CHECK_CL(clFlush(q[i % 2]));
		if (last)
			CHECK_CL(clReleaseEvent(last));
		last = next;
		expected = i % 2 ? expected * 3 : expected + 1;
	}
	CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 0, sizeof(out), out, 1, &last, NULL));
	for (int i = 0; i < COUNT; i++)
		CHECK_EQ(out[i], expected);
	CHECK_CL(clReleaseEvent(last));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k[0]));
	CHECK_CL(clReleaseKernel(k[1]));
	CHECK_CL(clReleaseProgram(program));
	CHECK_CL(clReleaseCommandQueue(q[1]));
	cl_close(&cl);
}

/* An event seen complete has all its dependencies complete, data included. */
static void test_order_is_visible(void)
{
	struct cl cl = cl_open(0);
	cl_command_queue other = second_queue(&cl);
	cl_mem b = cltest_buffer(cl.ctx, 0, 4, NULL);

	for (cl_uint i = 0; i < 200; i++) {
		cl_event a, c;
		cl_uint out = 0;

		CHECK_CL(clEnqueueFillBuffer(cl.q, b, &i, 4, 0, 4, 0, NULL, &a));
		CHECK_CL(clEnqueueReadBuffer(other, b, CL_FALSE, 0, 4, &out, 1, &a, &c));
		CHECK_CL(clFlush(cl.q));
		CHECK_CL(clFlush(other));
		while (cltest_event_status(c) != CL_COMPLETE)
			sched_yield();
		CHECK_EQ(cltest_event_status(a), CL_COMPLETE);
		CHECK_EQ(out, i);
		CHECK_CL(clReleaseEvent(a));
		CHECK_CL(clReleaseEvent(c));
	}
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseCommandQueue(other));
	cl_close(&cl);
}

/* A failed user event fails what depends on it, through a chain and across queues; data stays. */
static void test_failure_propagates(void)
{
	struct cl cl = cl_open(0);
	cl_command_queue other = second_queue(&cl);
	cl_uint value = 5, bad = 6, out = 0;
	cl_mem b = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, 4, &value);
	cl_event gate = user_event(&cl), e[3];

	CHECK_CL(clEnqueueWriteBuffer(cl.q, b, CL_FALSE, 0, 4, &bad, 1, &gate, &e[0]));
	CHECK_CL(clEnqueueFillBuffer(other, b, &bad, 4, 0, 4, 1, &e[0], &e[1]));
	CHECK_CL(clEnqueueMarkerWithWaitList(other, 1, &e[1], &e[2]));
	CHECK_CL(clFlush(cl.q));
	CHECK_CL(clFlush(other));
	CHECK_CL(clSetUserEventStatus(gate, -77));
	CHECK_ERR(clWaitForEvents(1, &gate), CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
	for (int i = 0; i < 3; i++) {
		CHECK_ERR(clWaitForEvents(1, &e[i]), CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
		CHECK(cltest_event_status(e[i]) < 0);
	}
	CHECK_EQ(cltest_event_status(gate), -77);
	CHECK_CL(clFinish(cl.q));
	CHECK_CL(clFinish(other));
	/* The queues still work and the failed commands changed nothing. */
	CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 0, 4, &out, 0, NULL, NULL));
	CHECK_EQ(out, 5);
	for (int i = 0; i < 3; i++)
		CHECK_CL(clReleaseEvent(e[i]));
	CHECK_CL(clReleaseEvent(gate));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseCommandQueue(other));
	cl_close(&cl);
}

/* A blocking read whose wait list fails says so and leaves the memory alone. */
static void test_blocking_with_failed_wait(void)
{
	struct cl cl = cl_open(0);
	cl_uint value = 5, out = 9;
	cl_mem b = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, 4, &value);
	cl_event gate = user_event(&cl);

	SKIP_NATIVE("a blocking read with a failed wait list hangs");
	CHECK_CL(clSetUserEventStatus(gate, -1));
	CHECK_ERR(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 0, 4, &out, 1, &gate, NULL),
		  CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
	CHECK_EQ(out, 9);
	CHECK_CL(clReleaseEvent(gate));
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

/* One callback for each status, each called exactly once, none before its status. */
static void test_callbacks_each_once(void)
{
	static const cl_int kinds[] = {CL_SUBMITTED, CL_RUNNING, CL_COMPLETE};
	struct cl cl = cl_open(0);
	cl_mem b = cltest_buffer(cl.ctx, 0, 4096, NULL);
	cl_event gate = user_event(&cl), e;
	struct note notes[3] = {0};
	cl_uint v = 3;

	CHECK_CL(clEnqueueFillBuffer(cl.q, b, &v, 4, 0, 4096, 1, &gate, &e));
	for (int i = 0; i < 3; i++)
		CHECK_CL(clSetEventCallback(e, kinds[i], on_event, &notes[i]));
	CHECK_EQ(atomic_load(&notes[1].calls), 0);
	CHECK_EQ(atomic_load(&notes[2].calls), 0);
	CHECK_CL(clSetUserEventStatus(gate, CL_COMPLETE));
	CHECK_CL(clFinish(cl.q));
	for (int i = 0; i < 3; i++) {
		cltest_await(&notes[i].calls, 1);
		CHECK(notes[i].event == e);
		CHECK_EQ(atomic_load(&notes[i].status), kinds[i]);
	}
	/* Registered late: called all the same. */
	for (int i = 0; i < 3; i++) {
		struct note late = {0};

		CHECK_CL(clSetEventCallback(e, kinds[i], on_event, &late));
		cltest_await(&late.calls, 1);
	}
	for (int i = 0; i < 3; i++)
		CHECK_EQ(atomic_load(&notes[i].calls), 1);
	CHECK_CL(clReleaseEvent(e));
	CHECK_CL(clReleaseEvent(gate));
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

/* On a negative status every callback that has not run yet is called once, with that status. */
static void test_callbacks_on_failure(void)
{
	static const cl_int kinds[] = {CL_SUBMITTED, CL_RUNNING, CL_COMPLETE};
	struct cl cl = cl_open(0);
	cl_event gate = user_event(&cl), e;
	struct note user = {0}, notes[3] = {0};

	SKIP_NATIVE("clSetEventCallback is not fired on errors");
	CHECK_CL(clSetEventCallback(gate, CL_COMPLETE, on_event, &user));
	CHECK_CL(clEnqueueMarkerWithWaitList(cl.q, 1, &gate, &e));
	for (int i = 0; i < 3; i++)
		CHECK_CL(clSetEventCallback(e, kinds[i], on_event, &notes[i]));
	CHECK_CL(clSetUserEventStatus(gate, -42));
	cltest_await(&user.calls, 1);
	CHECK_EQ(atomic_load(&user.status), -42);
	for (int i = 0; i < 3; i++)
		cltest_await(&notes[i].calls, 1);
	CHECK(atomic_load(&notes[1].status) < 0);
	CHECK(atomic_load(&notes[2].status) < 0);
	CHECK_CL(clFinish(cl.q));
	for (int i = 0; i < 3; i++)
		CHECK_EQ(atomic_load(&notes[i].calls), 1);
	CHECK_CL(clReleaseEvent(e));
	CHECK_CL(clReleaseEvent(gate));
	cl_close(&cl);
}

static void test_user_event_callback(void)
{
	struct cl cl = cl_open(0);
	cl_event e = user_event(&cl);
	struct note notes[3] = {0};

	for (int i = 0; i < 3; i++)
		CHECK_CL(clSetEventCallback(e, CL_COMPLETE, on_event, &notes[i]));
	for (int i = 0; i < 3; i++)
		CHECK_EQ(atomic_load(&notes[i].calls), 0);
	CHECK_CL(clSetUserEventStatus(e, CL_COMPLETE));
	for (int i = 0; i < 3; i++) {
		cltest_await(&notes[i].calls, 1);
		CHECK_EQ(atomic_load(&notes[i].status), CL_COMPLETE);
		CHECK(notes[i].event == e);
	}
	CHECK_CL(clReleaseEvent(e));
	cl_close(&cl);
}

struct chain {
	struct cl *cl;
	cl_mem buffer;
	cl_uint value;
	atomic_int done, errors;
};

/* Enqueues further commands from inside the callback, as PyOpenCL and OpenCV do. */
static void CL_CALLBACK on_event_enqueue(cl_event event, cl_int status, void *user)
{
	struct chain *chain = user;
	size_t size;
	cl_context ctx;

	if (status != CL_COMPLETE || clRetainEvent(event) || clReleaseEvent(event) ||
	    clGetEventInfo(event, CL_EVENT_CONTEXT, sizeof(ctx), &ctx, &size) ||
	    ctx != chain->cl->ctx ||
	    clEnqueueFillBuffer(chain->cl->q, chain->buffer, &chain->value, 4, 0, 64, 0, NULL,
				NULL) ||
	    clFlush(chain->cl->q))
		atomic_fetch_add(&chain->errors, 1);
	atomic_fetch_add(&chain->done, 1);
}

static void test_callback_calls_opencl(void)
{
	struct cl cl = cl_open(0);
	cl_uint zero = 0, out[16];
	struct chain chain = {&cl, cltest_buffer(cl.ctx, 0, 64, NULL), 77, 0, 0};
	cl_event e;

	CHECK_CL(clEnqueueFillBuffer(cl.q, chain.buffer, &zero, 4, 0, 64, 0, NULL, &e));
	CHECK_CL(clSetEventCallback(e, CL_COMPLETE, on_event_enqueue, &chain));
	CHECK_CL(clFlush(cl.q));
	cltest_await(&chain.done, 1);
	CHECK_EQ(atomic_load(&chain.errors), 0);
	CHECK_CL(clEnqueueReadBuffer(cl.q, chain.buffer, CL_TRUE, 0, 64, out, 0, NULL, NULL));
	for (int i = 0; i < 16; i++)
		CHECK_EQ(out[i], 77);
	CHECK_CL(clReleaseEvent(e));
	CHECK_CL(clReleaseMemObject(chain.buffer));
	cl_close(&cl);
}

static void CL_CALLBACK on_event_open(cl_event event, cl_int status, void *gate)
{
	(void)event;
	(void)status;
	clSetUserEventStatus(gate, CL_COMPLETE);
}

/* A callback opens the gate that the same queue waits for. */
static void test_callback_opens_gate(void)
{
	struct cl cl = cl_open(0);
	cl_event gate = user_event(&cl), e;
	cl_mem b = cltest_buffer(cl.ctx, 0, 4, NULL);
	cl_uint v = 1, w = 2, out = 0;

	CHECK_CL(clEnqueueFillBuffer(cl.q, b, &v, 4, 0, 4, 0, NULL, &e));
	CHECK_CL(clSetEventCallback(e, CL_COMPLETE, on_event_open, gate));
	CHECK_CL(clEnqueueFillBuffer(cl.q, b, &w, 4, 0, 4, 1, &gate, NULL));
	CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_TRUE, 0, 4, &out, 0, NULL, NULL));
	CHECK_EQ(out, 2);
	CHECK_CL(clReleaseEvent(e));
	CHECK_CL(clReleaseEvent(gate));
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

/* A callback per command and only clFinish, the pattern of OpenCV. */
static void test_many_callbacks(void)
{
	enum { COUNT = 2000 };
	struct cl cl = cl_open(0);
	cl_mem b = cltest_buffer(cl.ctx, 0, 64, NULL);
	struct note note = {0};

	for (cl_uint i = 0; i < COUNT; i++) {
		cl_event e;

		CHECK_CL(clEnqueueFillBuffer(cl.q, b, &i, 4, 0, 64, 0, NULL, &e));
		CHECK_CL(clSetEventCallback(e, CL_COMPLETE, on_event, &note));
		CHECK_CL(clReleaseEvent(e));
	}
	CHECK_CL(clFinish(cl.q));
	cltest_await(&note.calls, COUNT);
	CHECK_EQ(atomic_load(&note.calls), COUNT);
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

static void test_marker_and_barrier(void)
{
	struct cl cl = cl_open(0);
	cl_command_queue other = second_queue(&cl);
	cl_mem b = cltest_buffer(cl.ctx, 0, 4, NULL);
	cl_event gate = user_event(&cl), written, marker, barrier;
	cl_uint v = 1, out = 0;

	CHECK_CL(clEnqueueFillBuffer(other, b, &v, 4, 0, 4, 1, &gate, &written));
	CHECK_CL(clFlush(other));
	CHECK_CL(clEnqueueBarrierWithWaitList(cl.q, 1, &written, &barrier));
	CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_FALSE, 0, 4, &out, 0, NULL, NULL));
	CHECK_CL(clEnqueueMarkerWithWaitList(cl.q, 0, NULL, &marker));
	CHECK_CL(clFlush(cl.q));
	CHECK(cltest_event_status(barrier) > CL_COMPLETE);
	CHECK(cltest_event_status(marker) > CL_COMPLETE);
	CHECK_CL(clSetUserEventStatus(gate, CL_COMPLETE));
	CHECK_CL(clWaitForEvents(1, &marker));
	CHECK_EQ(out, 1);
	CHECK_EQ(cltest_event_status(barrier), CL_COMPLETE);
	CHECK_CL(clReleaseEvent(gate));
	CHECK_CL(clReleaseEvent(written));
	CHECK_CL(clReleaseEvent(marker));
	CHECK_CL(clReleaseEvent(barrier));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseCommandQueue(other));
	cl_close(&cl);
}

/* The deprecated calls of 1.0 that the loader still carries. */
static void test_deprecated(void)
{
	struct cl cl = cl_open(0);
	cl_event gate = user_event(&cl), marker;

	SKIP_NATIVE("clEnqueueWaitForEvents is not implemented and aborts");
	CHECK_CL(clSetUserEventStatus(gate, CL_COMPLETE));
	CHECK_CL(clEnqueueWaitForEvents(cl.q, 1, &gate));
	CHECK_CL(clEnqueueBarrier(cl.q));
	CHECK_CL(clEnqueueMarker(cl.q, &marker));
	CHECK_CL(clWaitForEvents(1, &marker));
	CHECK_ERR(clEnqueueMarker(cl.q, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueWaitForEvents(cl.q, 0, NULL), CL_INVALID_VALUE);
	CHECK_ERR(clEnqueueBarrier(NULL), CL_INVALID_COMMAND_QUEUE);
	CHECK_CL(clReleaseEvent(marker));
	CHECK_CL(clReleaseEvent(gate));
	cl_close(&cl);
}

static void test_profiling(void)
{
	struct cl cl = cl_open(CL_QUEUE_PROFILING_ENABLE);
	cl_program program = cltest_build(cl.ctx, source, "");
	cl_kernel k = cltest_kernel(program, "spin");
	cl_mem b = cltest_buffer(cl.ctx, 0, 64, NULL);
	cl_event e[20];
	cl_ulong before = 0;
	cl_uint n = 200000;
	const size_t one = 1;

	cltest_arg(k, 0, sizeof(b), &b);
	cltest_arg(k, 1, sizeof(n), &n);
	for (int i = 0; i < 20; i++) {
		if (i % 2)
			CHECK_CL(clEnqueueFillBuffer(cl.q, b, &n, 4, 0, 64, 0, NULL, &e[i]));
		else
			CHECK_CL(
			    clEnqueueNDRangeKernel(cl.q, k, 1, NULL, &one, NULL, 0, NULL, &e[i]));
	}
	CHECK_CL(clFinish(cl.q));
	for (int i = 0; i < 20; i++) {
		cl_ulong t[4];

		for (cl_uint j = 0; j < 4; j++)
			t[j] = INFO(cl_ulong, clGetEventProfilingInfo, e[i],
				    CL_PROFILING_COMMAND_QUEUED + j);
		CHECK(t[0] > 0);
		CHECK(t[0] <= t[1]);
		CHECK(t[1] <= t[2]);
		CHECK(t[2] <= t[3]);
		CHECK(before <= t[3]);
		/* An in-order queue starts a kernel no earlier than the one before ended. */
		if (i % 2 == 0)
			CHECK(before <= t[2]);
		before = t[3];
		CHECK(INFO(cl_ulong, clGetEventProfilingInfo, e[i],
			   CL_PROFILING_COMMAND_COMPLETE) >= t[3]);
		CHECK_ERR(clGetEventProfilingInfo(e[i], CL_PROFILING_COMMAND_END, 4, t, NULL),
			  CL_INVALID_VALUE);
		CHECK_ERR(clGetEventProfilingInfo(e[i], 0x7777, 8, t, NULL), CL_INVALID_VALUE);
		CHECK_CL(clReleaseEvent(e[i]));
	}
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

static void test_profiling_unavailable(void)
{
	struct cl cl = cl_open(0), p = cl_open(CL_QUEUE_PROFILING_ENABLE);
	cl_event e, gate = MUST(clCreateUserEvent(p.ctx, &ERR));
	cl_ulong t;

	CHECK_CL(clEnqueueMarkerWithWaitList(cl.q, 0, NULL, &e));
	CHECK_CL(clFinish(cl.q));
	CHECK_ERR(clGetEventProfilingInfo(e, CL_PROFILING_COMMAND_END, sizeof(t), &t, NULL),
		  CL_PROFILING_INFO_NOT_AVAILABLE);
	CHECK_CL(clReleaseEvent(e));
	/* Not yet complete. */
	CHECK_CL(clEnqueueMarkerWithWaitList(p.q, 1, &gate, &e));
	CHECK_ERR(clGetEventProfilingInfo(e, CL_PROFILING_COMMAND_END, sizeof(t), &t, NULL),
		  CL_PROFILING_INFO_NOT_AVAILABLE);
	CHECK_CL(clSetUserEventStatus(gate, CL_COMPLETE));
	CHECK_CL(clWaitForEvents(1, &e));
	CHECK_CL(clGetEventProfilingInfo(e, CL_PROFILING_COMMAND_END, sizeof(t), &t, NULL));
	CHECK_CL(clReleaseEvent(e));
	CHECK_CL(clReleaseEvent(gate));
	cl_close(&p);
	cl_close(&cl);
}

/* Many profiling queries must be cheap: they are local memory. */
static void test_profiling_queries_in_bulk(void)
{
	struct cl cl = cl_open(CL_QUEUE_PROFILING_ENABLE);
	cl_event e;

	CHECK_CL(clEnqueueMarkerWithWaitList(cl.q, 0, NULL, &e));
	CHECK_CL(clFinish(cl.q));
	for (int i = 0; i < 40000; i++)
		CHECK(INFO(cl_ulong, clGetEventProfilingInfo, e, CL_PROFILING_COMMAND_END) > 0);
	CHECK_CL(clReleaseEvent(e));
	cl_close(&cl);
}

/* Everything is released while commands wait; the result still arrives in the host's memory. */
static void test_release_everything(void)
{
	struct cl cl = cl_open(0);
	cl_program program = cltest_build(cl.ctx, source, "");
	cl_kernel k = cltest_kernel(program, "add");
	cl_uint data[256], out[256] = {0}, v = 1000;
	cl_event gate = user_event(&cl), e[2];
	struct note note = {0};
	const size_t n = 256;
	cl_mem b;

	for (cl_uint i = 0; i < 256; i++)
		data[i] = i;
	b = cltest_buffer(cl.ctx, CL_MEM_COPY_HOST_PTR, sizeof(data), data);
	cltest_arg(k, 0, sizeof(b), &b);
	cltest_arg(k, 1, sizeof(v), &v);
	CHECK_CL(clEnqueueNDRangeKernel(cl.q, k, 1, NULL, &n, NULL, 1, &gate, &e[0]));
	CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_FALSE, 0, sizeof(out), out, 0, NULL, &e[1]));
	CHECK_CL(clSetEventCallback(e[1], CL_COMPLETE, on_event, &note));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	CHECK_CL(clReleaseEvent(e[0]));
	CHECK_CL(clReleaseEvent(e[1]));
	CHECK_CL(clReleaseCommandQueue(cl.q)); /* flushes */
	CHECK_CL(clReleaseContext(cl.ctx));
	CHECK_CL(clSetUserEventStatus(gate, CL_COMPLETE));
	cltest_await(&note.calls, 1);
	CHECK_EQ(atomic_load(&note.status), CL_COMPLETE);
	for (cl_uint i = 0; i < 256; i++)
		CHECK_EQ(out[i], i + 1000);
	CHECK_CL(clReleaseEvent(gate));
}

/* The application may release a user event in use before its status is set, and then set it. */
static void test_release_event_in_wait_list(void)
{
	struct cl cl = cl_open(0);
	cl_event gate = user_event(&cl), e;

	CHECK_CL(clEnqueueMarkerWithWaitList(cl.q, 1, &gate, &e));
	CHECK_CL(clSetUserEventStatus(gate, CL_COMPLETE));
	CHECK_CL(clReleaseEvent(gate));
	CHECK_CL(clWaitForEvents(1, &e));
	CHECK_CL(clReleaseEvent(e));
	cl_close(&cl);
}

/* Duplicates and long lists. */
static void test_long_wait_list(void)
{
	enum { COUNT = 300 };
	struct cl cl = cl_open(0);
	cl_event e[COUNT + 2], last;
	cl_mem b = cltest_buffer(cl.ctx, 0, COUNT * 4, NULL);
	cl_uint out[COUNT];

	for (cl_uint i = 0; i < COUNT; i++)
		CHECK_CL(clEnqueueFillBuffer(cl.q, b, &i, 4, i * 4, 4, 0, NULL, &e[i]));
	e[COUNT] = e[0];
	e[COUNT + 1] = e[7];
	CHECK_CL(clEnqueueReadBuffer(cl.q, b, CL_FALSE, 0, sizeof(out), out, COUNT + 2, e, &last));
	CHECK_CL(clWaitForEvents(1, &last));
	CHECK_CL(clWaitForEvents(COUNT + 2, e));
	for (cl_uint i = 0; i < COUNT; i++) {
		CHECK_EQ(out[i], i);
		CHECK_CL(clReleaseEvent(e[i]));
	}
	CHECK_CL(clReleaseEvent(last));
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

/* Thousands of events held at once: a result outlives its slot. */
static void test_many_live_events(void)
{
	enum { COUNT = 20000 };
	struct cl cl = cl_open(CL_QUEUE_PROFILING_ENABLE);
	cl_event *e = malloc(COUNT * sizeof(*e));
	cl_mem b = cltest_buffer(cl.ctx, 0, 4, NULL);

	for (cl_uint i = 0; i < COUNT; i++)
		CHECK_CL(clEnqueueFillBuffer(cl.q, b, &i, 4, 0, 4, 0, NULL, &e[i]));
	CHECK_CL(clFinish(cl.q));
	for (int i = 0; i < COUNT; i++) {
		CHECK_EQ(cltest_event_status(e[i]), CL_COMPLETE);
		CHECK_CL(clReleaseEvent(e[i]));
	}
	free(e);
	CHECK_CL(clReleaseMemObject(b));
	cl_close(&cl);
}

static const struct cltest tests[] = {
    TEST(user_event_infos),
    TEST(user_event_errors),
    TEST(command_infos),
    TEST(info_errors),
    TEST(wait_errors),
    TEST(wait_list_errors),
    TEST(user_event_gates),
    TEST(blocked_does_not_stall),
    TEST(across_queues),
    TEST(order_is_visible),
    TEST(failure_propagates),
    TEST(blocking_with_failed_wait),
    TEST(callbacks_each_once),
    TEST(callbacks_on_failure),
    TEST(user_event_callback),
    TEST(callback_calls_opencl),
    TEST(callback_opens_gate),
    TEST(many_callbacks),
    TEST(marker_and_barrier),
    TEST(deprecated),
    TEST(profiling),
    TEST(profiling_unavailable),
    TEST(profiling_queries_in_bulk),
    TEST(release_everything),
    TEST(release_event_in_wait_list),
    TEST(long_wait_list),
    TEST(many_live_events),
};

CLTEST_MAIN(tests)
