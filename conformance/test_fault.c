/*
 * Kernels that fault. The command of such a kernel ends with CL_OUT_OF_RESOURCES, and what waits
 * for it; the application, its context and all other buffers live on, what had not been started
 * runs, and the context is told which kernel it was.
 */
#include "cltest.h"
#include <time.h>

#define N 1024

static const char source[] =
    "kernel void set(global uint *p, uint v) { p[get_global_id(0)] = v; }\n"
    "kernel void add(global uint *p, uint v) { p[get_global_id(0)] += v; }\n"
    "kernel void segfault(global uint *p) { *(volatile global uint *)(ulong)16 = p[0]; }\n"
    "kernel void wild(global uint *p, ulong where) { *(volatile global uint *)where = p[0]; }\n"
    "kernel void illegal(global uint *p) { __builtin_trap(); p[0] = 1; }\n"
    "kernel void divide(global uint *p, uint by) { p[0] = p[1] / by; }\n"
    "kernel void endless(global uint *p)\n"
    "{ volatile uint go = 1; while (go) p[1] += 1; p[0] = 1; }\n"
    "kernel void overflow(global uint *p)\n"
    "{ volatile uint room[1 << 24]; for (uint i = 0; i < 1 << 24; i += 1024) room[i] = p[0] + i;\n"
    "  p[0] = room[p[1] & 4095]; }\n";

static struct {
	atomic_int count;
	char text[600];
} notice;

static void CL_CALLBACK on_notice(const char *text, const void *info, size_t size, void *arg)
{
	(void)info;
	(void)size;
	(void)arg;
	snprintf(notice.text, sizeof(notice.text), "%s", text);
	atomic_fetch_add(&notice.count, 1);
}

struct fault {
	struct cl cl;
	cl_program program;
	cl_kernel set, add;
	cl_mem kept, other;
};

static struct fault fault_open(cl_command_queue_properties properties)
{
	struct fault f = {0};

	atomic_store(&notice.count, 0);
	f.cl.ctx = MUST(clCreateContext(NULL, 1, &cltest_device, on_notice, NULL, &ERR));
	f.cl.q = cltest_queue(f.cl.ctx, properties);
	f.program = cltest_build(f.cl.ctx, source, "");
	f.set = cltest_kernel(f.program, "set");
	f.add = cltest_kernel(f.program, "add");
	f.kept = cltest_buffer(f.cl.ctx, 0, N * 4, NULL);
	f.other = cltest_buffer(f.cl.ctx, 0, N * 4, NULL);
	return f;
}

static void fault_close(struct fault *f)
{
	CHECK_CL(clReleaseKernel(f->set));
	CHECK_CL(clReleaseKernel(f->add));
	CHECK_CL(clReleaseProgram(f->program));
	CHECK_CL(clReleaseMemObject(f->kept));
	CHECK_CL(clReleaseMemObject(f->other));
	cl_close(&f->cl);
}

static cl_event launch(cl_command_queue q, cl_kernel k, cl_mem b, cl_uint value, cl_uint nwait,
		       const cl_event *wait)
{
	size_t n = N;
	cl_event e;

	cltest_arg(k, 0, sizeof(b), &b);
	cltest_arg(k, 1, sizeof(value), &value);
	CHECK_CL(clEnqueueNDRangeKernel(q, k, 1, NULL, &n, NULL, nwait, wait, &e));
	return e;
}

static void check_all(cl_command_queue q, cl_mem b, cl_uint value)
{
	cl_uint out[N];

	CHECK_CL(clEnqueueReadBuffer(q, b, CL_TRUE, 0, sizeof(out), out, 0, NULL, NULL));
	for (int i = 0; i < N; i++)
		CHECK_EQ(out[i], value);
}

/* One launch of a kernel that faults, and all that has to hold afterwards. */
static void survive(const char *name, size_t n, const char *what)
{
	struct fault f = fault_open(0);
	cl_kernel bad = cltest_kernel(f.program, name);
	cl_ulong where = 0xdead000;
	cl_event e;

	CHECK_CL(clWaitForEvents(1, (cl_event[]){launch(f.cl.q, f.set, f.kept, 77, 0, NULL)}));
	cltest_arg(bad, 0, sizeof(f.other), &f.other);
	if (!strcmp(name, "wild"))
		cltest_arg(bad, 1, sizeof(where), &where);
	CHECK_CL(clEnqueueNDRangeKernel(f.cl.q, bad, 1, NULL, &n, NULL, 0, NULL, &e));
	CHECK_ERR(clWaitForEvents(1, &e), CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
	CHECK_EQ(cltest_event_status(e), CL_OUT_OF_RESOURCES);
	CHECK_EQ(atomic_load(&notice.count), 1);
	if (!strstr(notice.text, name) || !strstr(notice.text, what))
		FAIL("the notification says: %s", notice.text);
	/* The same context, queue, program, kernels and buffers. */
	check_all(f.cl.q, f.kept, 77);
	clReleaseEvent(launch(f.cl.q, f.add, f.kept, 3, 0, NULL));
	CHECK_CL(clFinish(f.cl.q));
	check_all(f.cl.q, f.kept, 80);
	CHECK_EQ(atomic_load(&notice.count), 1);
	CHECK_CL(clReleaseEvent(e));
	CHECK_CL(clReleaseKernel(bad));
	fault_close(&f);
}

/* As an application of its own: araxd lets who crashes often wait. */
static void in_child(void (*run)(void))
{
	pid_t pid;

	SKIP_NATIVE("the application dies");
	pid = cltest_fork();
	if (pid == 0) {
		run();
		_exit(0);
	}
	CHECK_EQ(cltest_reap(pid), 0);
}

static void do_segfault(void)
{
	survive("segfault", 1, "SIGSEGV");
	if (!strstr(notice.text, "0x10"))
		FAIL("no address: %s", notice.text);
}

/* On the worker threads, too. */
static void do_segfault_large(void)
{
	survive("segfault", 1 << 16, "SIGSEGV");
}

static void do_wild(void)
{
	survive("wild", 1, "0xdead000");
}

static void do_illegal(void)
{
	survive("illegal", 1, "SIG");
}

static void do_overflow(void)
{
	survive("overflow", 1, "SIGSEGV");
}

static void do_overflow_large(void)
{
	survive("overflow", 1 << 14, "SIGSEGV");
}

static void test_divide(void)
{
	struct fault f = fault_open(0);
	cl_kernel divide = cltest_kernel(f.program, "divide");
	cl_event e = launch(f.cl.q, divide, f.other, 0, 0, NULL);

	/* OpenCL leaves the value undefined, and nothing else. */
	CHECK_CL(clWaitForEvents(1, &e));
	CHECK_EQ(atomic_load(&notice.count), 0);
	CHECK_CL(clReleaseEvent(e));
	CHECK_CL(clReleaseKernel(divide));
	fault_close(&f);
}

/* What had not been started runs; what waits for the fault fails, also over several steps; user
 * events and host work keep their meaning. */
static void do_replay(void)
{
	struct fault f = fault_open(0);
	cl_command_queue other = cltest_queue(f.cl.ctx, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
	cl_kernel bad = cltest_kernel(f.program, "segfault");
	size_t one = 1;
	cl_event user, crash, e[7], early;
	cl_uint seen[N];

	early = launch(other, f.set, f.kept, 5, 0, NULL);
	CHECK_CL(clWaitForEvents(1, &early));
	user = MUST(clCreateUserEvent(f.cl.ctx, &ERR));
	e[0] = launch(other, f.add, f.kept, 1, 2, (cl_event[]){user, early});
	e[1] = launch(other, f.add, f.kept, 2, 1, &e[0]);
	CHECK_CL(
	    clEnqueueReadBuffer(other, f.kept, CL_FALSE, 0, sizeof(seen), seen, 1, &e[1], &e[2]));
	cltest_arg(bad, 0, sizeof(f.other), &f.other);
	CHECK_CL(clEnqueueNDRangeKernel(f.cl.q, bad, 1, NULL, &one, NULL, 0, NULL, &crash));
	e[3] = launch(f.cl.q, f.set, f.other, 9, 0, NULL); /* behind it in its queue */
	e[4] = launch(other, f.add, f.other, 1, 1, &crash);
	CHECK_CL(clEnqueueMarkerWithWaitList(other, 1, &e[4], &e[5]));
	e[6] = launch(other, f.add, f.kept, 100, 2, (cl_event[]){e[5], user});
	CHECK_ERR(clWaitForEvents(1, &crash), CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
	CHECK_EQ(cltest_event_status(crash), CL_OUT_OF_RESOURCES);
	CHECK_ERR(clWaitForEvents(1, &e[4]), CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
	CHECK_ERR(clWaitForEvents(1, &e[5]), CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
	CHECK_CL(clWaitForEvents(1, &e[3]));
	check_all(f.cl.q, f.other, 9);
	CHECK(cltest_event_status(e[0]) > CL_COMPLETE);
	CHECK_CL(clSetUserEventStatus(user, CL_COMPLETE));
	CHECK_CL(clWaitForEvents(1, &e[2]));
	CHECK_EQ(seen[0], 8);
	CHECK_EQ(seen[N - 1], 8);
	CHECK_ERR(clWaitForEvents(1, &e[6]), CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
	check_all(f.cl.q, f.kept, 8);
	for (int i = 0; i < 7; i++)
		CHECK_CL(clReleaseEvent(e[i]));
	CHECK_CL(clReleaseEvent(crash));
	CHECK_CL(clReleaseEvent(early));
	CHECK_CL(clReleaseEvent(user));
	CHECK_CL(clReleaseKernel(bad));
	CHECK_CL(clReleaseCommandQueue(other));
	fault_close(&f);
}

/* Without an event the queue tells, once. */
static void do_no_event(void)
{
	struct fault f = fault_open(0);
	cl_kernel bad = cltest_kernel(f.program, "segfault");

	cltest_arg(bad, 0, sizeof(f.other), &f.other);
	cltest_launch(f.cl.q, bad, 1);
	CHECK_ERR(clFinish(f.cl.q), CL_OUT_OF_RESOURCES);
	CHECK_CL(clFinish(f.cl.q));
	clReleaseEvent(launch(f.cl.q, f.set, f.kept, 4, 0, NULL));
	check_all(f.cl.q, f.kept, 4);
	CHECK_CL(clReleaseKernel(bad));
	fault_close(&f);
}

/* Several in a row, each in the process that took the place of the one before. */
static void do_again(void)
{
	struct fault f = fault_open(0);
	cl_kernel bad = cltest_kernel(f.program, "segfault");
	size_t one = 1;

	for (cl_uint i = 1; i <= 3; i++) {
		cl_event e;

		cltest_arg(bad, 0, sizeof(f.other), &f.other);
		CHECK_CL(clEnqueueNDRangeKernel(f.cl.q, bad, 1, NULL, &one, NULL, 0, NULL, &e));
		CHECK_ERR(clWaitForEvents(1, &e), CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
		CHECK_CL(clReleaseEvent(e));
		CHECK_EQ(atomic_load(&notice.count), (int)i);
		clReleaseEvent(launch(f.cl.q, f.set, f.kept, i, 0, NULL));
		check_all(f.cl.q, f.kept, i);
	}
	/* What is built now works, too. */
	cl_program p = cltest_build(f.cl.ctx,
				    "kernel void k(global uint *p, uint v)\n"
				    "{ p[get_global_id(0)] = v + 1; }\n",
				    "");
	cl_kernel k = cltest_kernel(p, "k");
	clReleaseEvent(launch(f.cl.q, k, f.kept, 10, 0, NULL));
	check_all(f.cl.q, f.kept, 11);
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(p));
	CHECK_CL(clReleaseKernel(bad));
	fault_close(&f);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Who crashes again and again waits longer and longer for the next process, and still gets it. */
static void do_backoff(void)
{
	struct fault f = fault_open(0);
	cl_kernel bad = cltest_kernel(f.program, "segfault");
	uint64_t started = now_ms();

	cltest_arg(bad, 0, sizeof(f.other), &f.other);
	for (cl_uint i = 0; i < 7; i++) {
		cltest_launch(f.cl.q, bad, 1);
		CHECK_ERR(clFinish(f.cl.q), CL_OUT_OF_RESOURCES);
	}
	/* Four are free; the next are held up by 200, 400 and 800 ms. */
	CHECK(now_ms() - started >= 1200);
	clReleaseEvent(launch(f.cl.q, f.set, f.kept, 4, 0, NULL));
	check_all(f.cl.q, f.kept, 4);
	CHECK_CL(clReleaseKernel(bad));
	fault_close(&f);
}

/* An endless kernel, on either device. containment.py starts a daemon with a time limit. */
static void test_endless(void)
{
	const size_t sizes[] = {1, 1 << 16};

	SKIP_NATIVE("the application hangs");
	if (!getenv("ARAX_TEST_TIME_LIMIT"))
		SKIP("this daemon has no time limit");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct fault f = fault_open(0);
		cl_kernel endless = cltest_kernel(f.program, "endless");
		cl_event e, behind;

		clReleaseEvent(launch(f.cl.q, f.set, f.kept, 6, 0, NULL));
		CHECK_CL(clFinish(f.cl.q));
		cltest_arg(endless, 0, sizeof(f.other), &f.other);
		CHECK_CL(
		    clEnqueueNDRangeKernel(f.cl.q, endless, 1, NULL, &sizes[i], NULL, 0, NULL, &e));
		behind = launch(f.cl.q, f.add, f.kept, 1, 0, NULL);
		CHECK_ERR(clWaitForEvents(1, &e), CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
		CHECK_EQ(cltest_event_status(e), CL_OUT_OF_RESOURCES);
		CHECK_CL(clWaitForEvents(1, &behind));
		check_all(f.cl.q, f.kept, 7);
		if (!strstr(notice.text, "endless") || !strstr(notice.text, "for more than 1 s"))
			FAIL("the notification says: %s", notice.text);
		CHECK_CL(clReleaseEvent(e));
		CHECK_CL(clReleaseEvent(behind));
		CHECK_CL(clReleaseKernel(endless));
		fault_close(&f);
	}
}

struct many {
	struct fault *f;
	cl_kernel bad;
};

static void crash_or_work(int index, void *arg)
{
	struct many *m = arg;
	struct fault *f = m->f;
	cl_command_queue q = cltest_queue(f->cl.ctx, 0);
	cl_mem b = cltest_buffer(f->cl.ctx, 0, N * 4, NULL);
	cl_kernel k = cltest_kernel(f->program, "add");
	cl_uint out[N], zero = 0, expected = 0;
	size_t one = 1;
	cl_event e;

	CHECK_CL(clEnqueueFillBuffer(q, b, &zero, 4, 0, N * 4, 0, NULL, NULL));
	CHECK_CL(clFinish(q));
	for (cl_uint i = 0; i < 40; i++) {
		if (index == 0 && i % 20 == 10) {
			CHECK_CL(
			    clEnqueueNDRangeKernel(q, m->bad, 1, NULL, &one, NULL, 0, NULL, &e));
			CHECK_ERR(clWaitForEvents(1, &e),
				  CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
			CHECK_CL(clReleaseEvent(e));
		}
		/* A command that ran with the one that faulted is lost, and says so. */
		e = launch(q, k, b, i, 0, NULL);
		if (clWaitForEvents(1, &e) == CL_SUCCESS) {
			expected += i;
		} else {
			CHECK_EQ(cltest_event_status(e), CL_OUT_OF_RESOURCES);
			expected = 0;
			CHECK_CL(clEnqueueFillBuffer(q, b, &zero, 4, 0, N * 4, 0, NULL, NULL));
		}
		CHECK_CL(clReleaseEvent(e));
		CHECK_CL(clEnqueueReadBuffer(q, b, CL_TRUE, 0, sizeof(out), out, 0, NULL, NULL));
		CHECK_EQ(out[0], expected);
		CHECK_EQ(out[N - 1], expected);
	}
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseMemObject(b));
	CHECK_CL(clReleaseCommandQueue(q));
}

/* While others of the application's threads go on. */
static void do_threads(void)
{
	struct fault f = fault_open(0);
	struct many m = {&f, cltest_kernel(f.program, "segfault")};

	cltest_arg(m.bad, 0, sizeof(f.other), &f.other);
	cltest_threads(4, crash_or_work, &m);
	CHECK_EQ(atomic_load(&notice.count), 2);
	CHECK_CL(clReleaseKernel(m.bad));
	fault_close(&f);
}

static void test_segfault(void)
{
	in_child(do_segfault);
}

static void test_segfault_large(void)
{
	in_child(do_segfault_large);
}

static void test_wild(void)
{
	in_child(do_wild);
}

static void test_illegal(void)
{
	in_child(do_illegal);
}

static void test_overflow(void)
{
	in_child(do_overflow);
}

static void test_overflow_large(void)
{
	in_child(do_overflow_large);
}

static void test_replay(void)
{
	in_child(do_replay);
}

static void test_no_event(void)
{
	in_child(do_no_event);
}

static void test_again(void)
{
	in_child(do_again);
}

static void test_threads(void)
{
	in_child(do_threads);
}

static void test_backoff(void)
{
	in_child(do_backoff);
}

static const struct cltest tests[] = {
    TEST(segfault),	  TEST(segfault_large), TEST(wild),    TEST(illegal),  TEST(overflow),
    TEST(overflow_large), TEST(divide),		TEST(replay),  TEST(no_event), TEST(again),
    TEST(threads),	  TEST(backoff),	TEST(endless),
};

CLTEST_MAIN(tests)
