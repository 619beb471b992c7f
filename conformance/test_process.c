/* Several processes: fork after use, two at once, and a child that dies amid its commands. */
#include "cltest.h"
#include <spawn.h>

#define N 4096

static const char source[] =
    "kernel void blend(global uint *p, uint a, uint b)\n"
    "{ size_t i = get_global_id(0); p[i] = p[i] * a + b; }\n"
    "kernel void spin(global uint *p, uint n)\n"
    "{ uint x = p[0]; for (uint i = 0; i < n; i++) x = x * 1664525u + 1013904223u;\n"
    "  p[get_global_id(0)] = x; }\n";

struct work {
	struct cl cl;
	cl_program program;
	cl_kernel k;
	cl_mem b;
	cl_uint model;
};

static struct work open_work(cl_uint seed)
{
	struct work w = {.cl = cl_open(0), .model = seed};

	w.program = cltest_build(w.cl.ctx, source, "");
	w.k = cltest_kernel(w.program, "blend");
	w.b = cltest_buffer(w.cl.ctx, 0, N * 4, NULL);
	CHECK_CL(clEnqueueFillBuffer(w.cl.q, w.b, &seed, 4, 0, N * 4, 0, NULL, NULL));
	cltest_arg(w.k, 0, sizeof(w.b), &w.b);
	return w;
}

static void more_work(struct work *w, cl_uint rounds)
{
	for (cl_uint i = 0; i < rounds; i++) {
		cl_uint a = 2 * i + 3;

		cltest_arg(w->k, 1, sizeof(a), &a);
		cltest_arg(w->k, 2, sizeof(i), &i);
		cltest_launch(w->cl.q, w->k, N);
		w->model = w->model * a + i;
	}
}

static void check_work(struct work *w)
{
	cl_uint *out = malloc(N * 4);

	CHECK_CL(clEnqueueReadBuffer(w->cl.q, w->b, CL_TRUE, 0, N * 4, out, 0, NULL, NULL));
	for (int i = 0; i < N; i++)
		CHECK_EQ(out[i], w->model);
	free(out);
}

static void close_work(struct work *w)
{
	CHECK_CL(clReleaseMemObject(w->b));
	CHECK_CL(clReleaseKernel(w->k));
	CHECK_CL(clReleaseProgram(w->program));
	cl_close(&w->cl);
}

static void whole_work(cl_uint seed, cl_uint rounds)
{
	struct work w = open_work(seed);

	more_work(&w, rounds);
	check_work(&w);
	close_work(&w);
}

/* After the parent used OpenCL, its child makes a connection of its own; both go on. */
static void test_fork_after_use(void)
{
	struct work w;
	pid_t pid;

	SKIP_NATIVE("a child of fork hangs, its threads are gone");
	w = open_work(17);
	more_work(&w, 50);
	pid = cltest_fork();
	if (pid == 0) {
		/* The handles of the platform and the device are the parent's and still valid. */
		whole_work(1000, 50);
		_exit(0);
	}
	more_work(&w, 50);
	check_work(&w);
	CHECK_EQ(cltest_reap(pid), 0);
	more_work(&w, 5);
	check_work(&w);
	close_work(&w);
}

/* The parent's objects are dead in the child: calls on them fail and neither hang nor crash. */
static void test_inherited_objects(void)
{
	struct work w;
	pid_t pid;

	SKIP_NATIVE("a child of fork hangs, its threads are gone");
	w = open_work(3);
	more_work(&w, 10);
	CHECK_CL(clFinish(w.cl.q));
	pid = cltest_fork();
	if (pid == 0) {
		cl_uint out = 0;

		if (clEnqueueReadBuffer(w.cl.q, w.b, CL_TRUE, 0, 4, &out, 0, NULL, NULL) ==
			CL_SUCCESS &&
		    out != w.model)
			_exit(5);
		clFinish(w.cl.q);
		clReleaseMemObject(w.b);
		clReleaseKernel(w.k);
		clReleaseProgram(w.program);
		clReleaseCommandQueue(w.cl.q);
		clReleaseContext(w.cl.ctx);
		whole_work(5, 10);
		_exit(0);
	}
	CHECK_EQ(cltest_reap(pid), 0);
	/* Nothing that the child released or did is seen here. */
	more_work(&w, 10);
	check_work(&w);
	close_work(&w);
}

/* A child that only execs, the most common fork of all, disturbs nothing. */
static void test_fork_and_exec(void)
{
	struct work w = open_work(23);
	pid_t pids[5];

	for (int i = 0; i < 5; i++) {
		more_work(&w, 20);
		pids[i] = cltest_fork();
		if (pids[i] == 0) {
			execl("/bin/true", "true", (char *)NULL);
			_exit(127);
		}
	}
	for (int i = 0; i < 5; i++)
		CHECK_EQ(cltest_reap(pids[i]), 0);
	check_work(&w);
	close_work(&w);
}

/* Starts this program again as a process of its own that knows nothing of this one. */
static pid_t start(const char *subtest, const char *seed)
{
	char *env[512], setting[64];
	char *argv[] = {(char *)"test_process", (char *)"--child", (char *)subtest, NULL};
	extern char **environ;
	size_t n = 0;
	pid_t pid;

	snprintf(setting, sizeof(setting), "CLTEST_SEED=%s", seed);
	for (char **e = environ; *e && n < ARRAY_SIZE(env) - 2; e++)
		env[n++] = *e;
	env[n++] = setting;
	env[n] = NULL;
	if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, env))
		FAIL("posix_spawn");
	return pid;
}

/* Three processes at once on different data, this one among them. */
static void test_processes_at_once(void)
{
	pid_t a = start("compute", "111"), b = start("compute", "222");

	for (cl_uint i = 0; i < 10; i++)
		whole_work(333 + i, 60);
	CHECK_EQ(cltest_reap(a), 0);
	CHECK_EQ(cltest_reap(b), 0);
}

/* Processes that die with commands in flight: by _exit, by SIGKILL, by a null store. */
static void test_abrupt_ends(void)
{
	static const struct {
		const char *how;
		int status;
	} ends[] = {{"exit", 7}, {"kill", 1000 + SIGKILL}, {"abort", 1000 + SIGABRT}};
	struct work w = open_work(29);

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
			pid_t pid = start(ends[i].how, "5");

			more_work(&w, 50);
			CHECK_EQ(cltest_reap(pid), ends[i].status);
			more_work(&w, 50);
		}
	}
	check_work(&w);
	whole_work(31, 20);
	close_work(&w);
}

/* A process that ends by return from main without releasing anything ends at once and cleanly. */
static void test_exit_without_release(void)
{
	pid_t pid = start("leak", "5");

	CHECK_EQ(cltest_reap(pid), 0);
	whole_work(37, 20);
}

/* Many short processes one after the other. */
static void test_short_processes(void)
{
	for (int i = 0; i < 8; i++) {
		char seed[16];

		snprintf(seed, sizeof(seed), "%d", i);
		CHECK_EQ(cltest_reap(start("compute", seed)), 0);
	}
}

/* What start() runs; a failed check ends it with status 1. */
static int child(const char *how)
{
	cl_uint seed = (cl_uint)atoi(getenv("CLTEST_SEED")), n = 30000000;
	struct work w;
	cl_kernel k;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	cltest_watch();
	signal(SIGABRT, SIG_DFL);
	cltest_select();
	if (!strcmp(how, "compute")) {
		for (cl_uint i = 0; i < 5; i++)
			whole_work(seed + i, 60);
		return 0;
	}
	w = open_work(seed);
	more_work(&w, 20);
	if (!strcmp(how, "leak")) {
		check_work(&w);
		return 0;
	}
	k = cltest_kernel(w.program, "spin");
	cltest_arg(k, 0, sizeof(w.b), &w.b);
	cltest_arg(k, 1, sizeof(n), &n);
	cltest_launch(w.cl.q, k, 4);
	more_work(&w, 50);
	CHECK_CL(clFlush(w.cl.q));
	if (!strcmp(how, "kill"))
		raise(SIGKILL);
	if (!strcmp(how, "abort"))
		abort();
	_exit(7);
}

static const struct cltest tests[] = {
    TEST(fork_after_use),    TEST(inherited_objects), TEST(fork_and_exec),
    TEST(processes_at_once), TEST(abrupt_ends),	      TEST(exit_without_release),
    TEST(short_processes),
};

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--child"))
		return child(argv[2]);
	return cltest_main(argc, argv, tests, ARRAY_SIZE(tests));
}
