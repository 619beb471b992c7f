/* Several threads of one application: own queues, a shared queue, shared objects, own contexts. */
#include "cltest.h"

#define THREADS 8
#define N 256

static const char source[] = "kernel void blend(global uint *p, uint a, uint b)\n"
			     "{ size_t i = get_global_id(0); p[i] = p[i] * a + b; }\n"
			     "kernel void count(global int *n) { atomic_inc(n); }\n";

struct shared {
	cl_context ctx;
	cl_program program;
	cl_command_queue q;
	cl_mem counter;
	cl_event gate;
};

static struct shared open_shared(void)
{
	struct shared s = {.ctx = cltest_context()};
	int zero = 0;

	s.program = cltest_build(s.ctx, source, "");
	s.q = cltest_queue(s.ctx, 0);
	s.counter = cltest_buffer(s.ctx, CL_MEM_COPY_HOST_PTR, 4, &zero);
	return s;
}

static void close_shared(struct shared *s)
{
	CHECK_CL(clReleaseMemObject(s->counter));
	CHECK_CL(clReleaseCommandQueue(s->q));
	CHECK_CL(clReleaseProgram(s->program));
	CHECK_CL(clReleaseContext(s->ctx));
}

/* A computation whose result depends on the order and on the thread. */
static void compute(cl_context ctx, cl_command_queue q, cl_program program, cl_uint seed)
{
	cl_kernel k = cltest_kernel(program, "blend");
	cl_uint data[N], model = seed;
	cl_event last;
	cl_mem b;

	for (int i = 0; i < N; i++)
		data[i] = seed;
	b = cltest_buffer(ctx, CL_MEM_COPY_HOST_PTR, sizeof(data), data);
	cltest_arg(k, 0, sizeof(b), &b);
	for (cl_uint i = 0; i < 100; i++) {
		cl_uint a = 2 * i + 1, c = seed ^ i;

		cltest_arg(k, 1, sizeof(a), &a);
		cltest_arg(k, 2, sizeof(c), &c);
		cltest_launch(q, k, N);
		model = model * a + c;
	}
	CHECK_CL(clEnqueueReadBuffer(q, b, CL_FALSE, 0, sizeof(data), data, 0, NULL, &last));
	CHECK_CL(clFlush(q));
	CHECK_CL(clWaitForEvents(1, &last));
	for (int i = 0; i < N; i++)
		CHECK_EQ(data[i], model);
	CHECK_CL(clReleaseEvent(last));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseKernel(k));
}

static void run_own_queue(int index, void *arg)
{
	struct shared *s = arg;
	cl_command_queue q = cltest_queue(s->ctx, 0);

	for (cl_uint i = 0; i < 10; i++)
		compute(s->ctx, q, s->program, (cl_uint)index * 100 + i);
	CHECK_CL(clReleaseCommandQueue(q));
}

static void test_own_queues(void)
{
	struct shared s = open_shared();

	cltest_threads(THREADS, run_own_queue, &s);
	close_shared(&s);
}

static void run_shared_queue(int index, void *arg)
{
	struct shared *s = arg;

	for (cl_uint i = 0; i < 10; i++)
		compute(s->ctx, s->q, s->program, (cl_uint)index * 100 + i);
}

static void test_shared_queue(void)
{
	struct shared s = open_shared();

	cltest_threads(THREADS, run_shared_queue, &s);
	close_shared(&s);
}

static void run_own_context(int index, void *arg)
{
	(void)arg;
	for (cl_uint i = 0; i < 3; i++) {
		struct cl cl = cl_open(0);
		cl_program program = cltest_build(cl.ctx, source, "");

		compute(cl.ctx, cl.q, program, (cl_uint)index * 100 + i);
		CHECK_CL(clReleaseProgram(program));
		cl_close(&cl);
	}
}

static void test_own_contexts(void)
{
	cltest_threads(4, run_own_context, NULL);
}

static void run_count(int index, void *arg)
{
	struct shared *s = arg;
	cl_kernel k = cltest_kernel(s->program, "count");

	(void)index;
	cltest_arg(k, 0, sizeof(s->counter), &s->counter);
	for (int i = 0; i < 200; i++)
		cltest_launch(s->q, k, 4);
	CHECK_CL(clFinish(s->q));
	CHECK_CL(clReleaseKernel(k));
}

/* Eight producers on one in-order queue: nothing lost, nothing twice. */
static void test_producers(void)
{
	struct shared s = open_shared();
	int n = 0;

	cltest_threads(THREADS, run_count, &s);
	CHECK_CL(clEnqueueReadBuffer(s.q, s.counter, CL_TRUE, 0, 4, &n, 0, NULL, NULL));
	CHECK_EQ(n, THREADS * 200 * 4);
	close_shared(&s);
}

static void run_refcounts(int index, void *arg)
{
	struct shared *s = arg;

	(void)index;
	for (int i = 0; i < 5000; i++) {
		CHECK_CL(clRetainContext(s->ctx));
		CHECK_CL(clRetainMemObject(s->counter));
		CHECK_CL(clRetainCommandQueue(s->q));
		CHECK_CL(clRetainProgram(s->program));
		CHECK_CL(clRetainEvent(s->gate));
		CHECK(INFO(cl_uint, clGetMemObjectInfo, s->counter, CL_MEM_REFERENCE_COUNT) >= 2);
		CHECK_CL(clReleaseEvent(s->gate));
		CHECK_CL(clReleaseProgram(s->program));
		CHECK_CL(clReleaseCommandQueue(s->q));
		CHECK_CL(clReleaseMemObject(s->counter));
		CHECK_CL(clReleaseContext(s->ctx));
	}
}

static void test_refcounts(void)
{
	struct shared s = open_shared();

	s.gate = MUST(clCreateUserEvent(s.ctx, &ERR));
	cltest_threads(THREADS, run_refcounts, &s);
	CHECK_EQ(INFO(cl_uint, clGetMemObjectInfo, s.counter, CL_MEM_REFERENCE_COUNT), 1);
	CHECK_EQ(INFO(cl_uint, clGetCommandQueueInfo, s.q, CL_QUEUE_REFERENCE_COUNT), 1);
	CHECK_EQ(INFO(cl_uint, clGetEventInfo, s.gate, CL_EVENT_REFERENCE_COUNT), 1);
	CHECK_CL(clSetUserEventStatus(s.gate, CL_COMPLETE));
	CHECK_CL(clReleaseEvent(s.gate));
	close_shared(&s);
}

static void run_create(int index, void *arg)
{
	struct shared *s = arg;

	for (cl_uint i = 0; i < 300; i++) {
		cl_uint v = (cl_uint)index << 16 | i, out = 0;
		cl_mem b = cltest_buffer(s->ctx, CL_MEM_COPY_HOST_PTR, 4, &v);
		cl_event e = MUST(clCreateUserEvent(s->ctx, &ERR));
		cl_kernel k = cltest_kernel(s->program, "count");

		CHECK_CL(clSetUserEventStatus(e, CL_COMPLETE));
		CHECK_CL(clEnqueueReadBuffer(s->q, b, CL_TRUE, 0, 4, &out, 1, &e, NULL));
		CHECK_EQ(out, v);
		CHECK_CL(clReleaseKernel(k));
		CHECK_CL(clReleaseEvent(e));
		CHECK_CL(clReleaseMemObject(b));
	}
}

static void test_creation(void)
{
	struct shared s = open_shared();

	cltest_threads(THREADS, run_create, &s);
	close_shared(&s);
}

/* All wait for one gate on queues of their own; the last thread, which waits for none, opens it. */
static void run_gate(int index, void *arg)
{
	struct shared *s = arg;
	cl_command_queue q;
	cl_uint v = (cl_uint)index, out = 99;
	cl_mem b;

	if (index == THREADS - 1) {
		CHECK_CL(clSetUserEventStatus(s->gate, CL_COMPLETE));
		return;
	}
	q = cltest_queue(s->ctx, 0);
	b = cltest_buffer(s->ctx, 0, 4, NULL);
	CHECK_CL(clEnqueueFillBuffer(q, b, &v, 4, 0, 4, 1, &s->gate, NULL));
	CHECK_CL(clEnqueueReadBuffer(q, b, CL_TRUE, 0, 4, &out, 0, NULL, NULL));
	CHECK_EQ(out, v);
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseCommandQueue(q));
}

static void test_gate(void)
{
	for (int i = 0; i < 20; i++) {
		struct shared s = open_shared();

		s.gate = MUST(clCreateUserEvent(s.ctx, &ERR));
		cltest_threads(THREADS, run_gate, &s);
		CHECK_CL(clReleaseEvent(s.gate));
		close_shared(&s);
	}
}

static void run_build(int index, void *arg)
{
	struct shared *s = arg;
	char options[32];
	cl_program program;

	snprintf(options, sizeof(options), "-DINDEX=%d", index % 3);
	program = cltest_build(s->ctx, source, options);
	compute(s->ctx, s->q, program, (cl_uint)index);
	CHECK_CL(clReleaseProgram(program));
}

/* Builds at once, some of the same program with the same options. */
static void test_builds(void)
{
	struct shared s = open_shared();

	cltest_threads(6, run_build, &s);
	close_shared(&s);
}

static const struct cltest tests[] = {
    TEST(own_queues), TEST(shared_queue), TEST(own_contexts), TEST(producers),
    TEST(refcounts),  TEST(creation),	  TEST(gate),	      TEST(builds),
};

CLTEST_MAIN(tests)
