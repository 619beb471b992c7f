/*
 * Kernels that write over what their tenant shares with its client: rings, slots, wake words,
 * everything. That harms this client alone, and what it sees of it are errors of OpenCL: no call of
 * it crashes or hangs, whatever it reads there, and a process beside it notices nothing. This is
 * the one test that knows how the shared memory looks, to know where it hurts.
 */
#include "cltest.h"
#include "../transport/shm.h"

#define N 1024

static const char source[] =
    "kernel void set(global uint *p, uint v) { p[get_global_id(0)] = v + get_global_id(0); }\n"
    "uint next(uint x) { x ^= x << 13; x ^= x >> 17; return x ^ x << 5; }\n"
    "kernel void scribble(global uint *p, ulong where, uint words, uint seed, uint way)\n"
    "{ volatile global uint *at = (volatile global uint *)where; uint x = seed;\n"
    "  for (uint i = 0; i < words; i++) { x = next(x);\n"
    "    at[i] = way == 0 ? x : way == 1 ? 0xffffffffu : way == 2 ? at[i] + 1 : 0; }\n"
    "  p[0] = x; }\n"
    "kernel void storm(global uint *p, ulong where, uint words, uint seed, uint times)\n"
    "{ volatile global uint *at = (volatile global uint *)where; uint x = seed;\n"
    "  for (uint i = 0; i < times; i++) { x = next(x); at[x % words] = x >> (x & 31); }\n"
    "  p[0] = x; }\n";

enum { RANDOM, ONES, MORE, ZERO };

struct place {
	const char *name;
	size_t offset, size;
};

#define PLACE(name, member)                                                                     \
	{                                                                                       \
		name, offsetof(struct arax_shm, member), sizeof(((struct arax_shm *)0)->member) \
	}

static const struct place places[] = {
    PLACE("tenant_wake", tenant_wake),
    PLACE("client_wake", client_wake),
    PLACE("client_slot", client_slot),
    PLACE("client_room", client_room),
    PLACE("tenant_idle", tenant_idle),
    PLACE("crash", crash),
    PLACE("sq", sq),
    PLACE("hq", hq),
    PLACE("cq", cq),
    PLACE("slots", slots),
    PLACE("hq_entries", hq_entries),
    PLACE("cq_entries", cq_entries),
    PLACE("home", home),
    PLACE("sq_data", sq_data),
    {"everything", 0, sizeof(struct arax_shm)},
};

struct victim {
	struct cl cl;
	cl_command_queue other;
	cl_program program;
	cl_kernel set, scribble, storm;
	cl_mem buffer, kept;
	cl_ulong arena;
};

/* The arena begins where a GiB does, and its first allocations lie in its first. */
static void victim_open(struct victim *v)
{
	v->cl = cl_open(0);
	v->other = cltest_queue(v->cl.ctx, 0);
	v->program = cltest_build(v->cl.ctx, source, "");
	v->set = cltest_kernel(v->program, "set");
	v->scribble = cltest_kernel(v->program, "scribble");
	v->storm = cltest_kernel(v->program, "storm");
	v->buffer = cltest_buffer(v->cl.ctx, 0, N * 4, NULL);
	v->kept = cltest_buffer(v->cl.ctx, 0, N * 4, NULL);
	void *p = MUST(clEnqueueMapBuffer(v->cl.q, v->buffer, CL_TRUE, CL_MAP_READ, 0, N * 4, 0,
					  NULL, NULL, &ERR));
	v->arena = (cl_ulong)p & ~((1ull << 30) - 1);
	const struct arax_shm *shm = (const struct arax_shm *)v->arena;
	CHECK(atomic_load(&shm->sq.tail) && atomic_load(&shm->sq.tail) < ARAX_SQ_BYTES);
	CHECK_CL(clEnqueueUnmapMemObject(v->cl.q, v->buffer, p, 0, NULL, NULL));
	CHECK_CL(clFinish(v->cl.q));
}

static void check_computes(struct cl *cl, cl_kernel k, cl_mem buffer, cl_uint value)
{
	cl_uint out[N];

	cltest_arg(k, 0, sizeof(buffer), &buffer);
	cltest_arg(k, 1, sizeof(value), &value);
	cltest_launch(cl->q, k, N);
	CHECK_CL(clEnqueueReadBuffer(cl->q, buffer, CL_TRUE, 0, sizeof(out), out, 0, NULL, NULL));
	for (cl_uint i = 0; i < N; i++)
		CHECK_EQ(out[i], value + i);
}

/* Whatever comes back, it comes back. */
static void use_everything(struct victim *v)
{
	static cl_uint data[N];
	const size_t n = N, one = 1;
	cl_event events[2] = {NULL};
	cl_int status;

	for (cl_uint i = 0; i < 20; i++) {
		cl_command_queue q = i & 1 ? v->other : v->cl.q;

		clSetKernelArg(v->set, 0, sizeof(v->kept), &v->kept);
		clSetKernelArg(v->set, 1, sizeof(i), &i);
		if (clEnqueueNDRangeKernel(q, v->set, 1, NULL, &n, NULL, 0, NULL, &events[0]))
			events[0] = NULL;
		if (clEnqueueMarkerWithWaitList(v->cl.q, events[0] ? 1 : 0,
						events[0] ? events : NULL, &events[1]))
			events[1] = NULL;
		clEnqueueWriteBuffer(q, v->buffer, i % 3 == 0, 0, sizeof(data), data, 0, NULL,
				     NULL);
		clEnqueueReadBuffer(q, v->kept, i % 3 == 1, 0, sizeof(data), data, 0, NULL, NULL);
		clEnqueueCopyBuffer(q, v->kept, v->buffer, 0, 0, N * 4, 0, NULL, NULL);
		clEnqueueFillBuffer(q, v->buffer, &i, 4, 0, N * 4, 0, NULL, NULL);
		void *p = clEnqueueMapBuffer(q, v->buffer, CL_TRUE, CL_MAP_WRITE, 0, N * 4, 0, NULL,
					     NULL, NULL);
		if (p)
			clEnqueueUnmapMemObject(q, v->buffer, p, 0, NULL, NULL);
		clEnqueueNDRangeKernel(q, v->set, 1, NULL, &one, NULL, 0, NULL, NULL);
		for (int e = 0; e < 2; e++) {
			if (!events[e])
				continue;
			clWaitForEvents(1, &events[e]);
			clGetEventInfo(events[e], CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(status),
				       &status, NULL);
			if (status > 0)
				FAIL("an event that was waited for has status %d", status);
			clReleaseEvent(events[e]);
		}
		clFinish(q);
	}
}

static void victim_leave(struct victim *v)
{
	clReleaseMemObject(v->buffer);
	clReleaseMemObject(v->kept);
	clReleaseKernel(v->set);
	clReleaseKernel(v->scribble);
	clReleaseKernel(v->storm);
	clReleaseProgram(v->program);
	clReleaseCommandQueue(v->other);
	clReleaseCommandQueue(v->cl.q);
	clReleaseContext(v->cl.ctx);
}

static void do_scribble(const struct place *place, cl_uint way, cl_uint seed)
{
	struct victim v;
	const size_t one = 1;
	cl_uint words = (cl_uint)(place->size / 4);
	cl_ulong where;

	victim_open(&v);
	where = v.arena + place->offset;
	cltest_arg(v.scribble, 0, sizeof(v.buffer), &v.buffer);
	cltest_arg(v.scribble, 1, sizeof(where), &where);
	cltest_arg(v.scribble, 2, sizeof(words), &words);
	cltest_arg(v.scribble, 3, sizeof(seed), &seed);
	cltest_arg(v.scribble, 4, sizeof(way), &way);
	CHECK_CL(clEnqueueNDRangeKernel(v.cl.q, v.scribble, 1, NULL, &one, NULL, 0, NULL, NULL));
	clFinish(v.cl.q);
	use_everything(&v);
	victim_leave(&v);
}

/* While the client goes on using it. */
static void do_storm(const struct place *place, cl_uint seed)
{
	struct victim v;
	const size_t one = 1;
	cl_uint words = (cl_uint)(place->size / 4), times = 20000000;
	cl_ulong where;

	victim_open(&v);
	where = v.arena + place->offset;
	cltest_arg(v.storm, 0, sizeof(v.buffer), &v.buffer);
	cltest_arg(v.storm, 1, sizeof(where), &where);
	cltest_arg(v.storm, 2, sizeof(words), &words);
	cltest_arg(v.storm, 3, sizeof(seed), &seed);
	cltest_arg(v.storm, 4, sizeof(times), &times);
	CHECK_CL(clEnqueueNDRangeKernel(v.other, v.storm, 1, NULL, &one, NULL, 0, NULL, NULL));
	clFlush(v.other);
	use_everything(&v);
	victim_leave(&v);
}

static void in_child(const struct place *place, int way, cl_uint seed)
{
	pid_t pid = cltest_fork();

	if (pid == 0) {
		if (way < 0)
			do_storm(place, seed);
		else
			do_scribble(place, (cl_uint)way, seed);
		/* not through the application's end: threads may still wait for its tenant */
		_exit(0);
	}
	int status = cltest_reap(pid);
	if (status)
		FAIL("%s, way %d, seed %u: ended with %d", place->name, way, seed, status);
}

/* A neighbour that must notice nothing; and who comes later is served. */
static void beside(void (*attack)(void))
{
	SKIP_NATIVE("there is nothing shared");
	struct cl cl = cl_open(0);
	cl_program program = cltest_build(cl.ctx, source, "");
	cl_kernel k = cltest_kernel(program, "set");
	cl_mem buffer = cltest_buffer(cl.ctx, 0, N * 4, NULL);

	check_computes(&cl, k, buffer, 1);
	attack();
	check_computes(&cl, k, buffer, 2);
	CHECK_CL(clReleaseMemObject(buffer));
	CHECK_CL(clReleaseKernel(k));
	CHECK_CL(clReleaseProgram(program));
	cl_close(&cl);
}

/* SCRIBBLE_SEED: others than in the tests of every day. */
static void each_place(int way)
{
	const char *seed = getenv("SCRIBBLE_SEED");

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		cltest_watch();
		in_child(&places[i], way, (cl_uint)(seed ? atoi(seed) * 100 : 0) + (cl_uint)i + 1);
	}
}

static void attack_random(void)
{
	each_place(RANDOM);
}

static void attack_ones(void)
{
	each_place(ONES);
}

static void attack_more(void)
{
	each_place(MORE);
}

static void attack_zero(void)
{
	each_place(ZERO);
}

static void attack_storm(void)
{
	each_place(-1);
}

static void test_random(void)
{
	beside(attack_random);
}

static void test_ones(void)
{
	beside(attack_ones);
}

static void test_more(void)
{
	beside(attack_more);
}

static void test_zero(void)
{
	beside(attack_zero);
}

static void test_storm(void)
{
	beside(attack_storm);
}

static const struct cltest tests[] = {
    TEST(random), TEST(ones), TEST(more), TEST(zero), TEST(storm),
};

CLTEST_MAIN(tests)
