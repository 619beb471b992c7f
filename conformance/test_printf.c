/* Kernel printf: the text is in the client's stdout before the command's event completes. */
#include "cltest.h"

static const char source[] =
    "kernel void hello(int n) { printf(\"hello %d\\n\", n); }\n"
    "kernel void kinds(void)\n"
    "{ printf(\"%d|%5d|%-5d|%05d|%x|%X|%o|%u\\n\", -7, 42, 42, 42, 255, 255, 8, 4000000000u);\n"
    "  printf(\"%s|%c|%%|%.3f|%e|%g\\n\", \"text\", 'z', 3.14159f, 1.5f, 0.25f);\n"
    "  printf(\"%ld|%hhd\\n\", -1234567890123L, (char)-5); }\n"
    "kernel void vectors(void) { printf(\"%v2hld|%v4hlx\\n\", (int2)(1, -2), (int4)(3, 4, 5, "
    "255)); }\n"
    "kernel void items(int base) { printf(\"item %d\\n\", base + (int)get_global_id(0)); }\n"
    "kernel void much(void) { for (int i = 0; i < 1000; i++) printf(\"line %d\\n\", i); }\n";

struct fixture {
	struct cl cl;
	cl_program program;
	char path[32];
	int saved; /* the stdout of the harness */
};

/* From here stdout is a file, by freopen as the applications' tests do it. */
static void redirect(struct fixture *f)
{
	int fd;

	strcpy(f->path, "/tmp/cltest-XXXXXX");
	fd = mkstemp(f->path);
	CHECK(fd >= 0);
	close(fd);
	fflush(stdout);
	f->saved = dup(1);
	CHECK(freopen(f->path, "w", stdout));
}

static void restore(struct fixture *f)
{
	fflush(stdout);
	dup2(f->saved, 1);
	close(f->saved);
	unlink(f->path);
}

static struct fixture open_fixture(void)
{
	struct fixture f;

	f.cl = cl_open(0);
	f.program = cltest_build(f.cl.ctx, source, "");
	return f;
}

static void close_fixture(struct fixture *f)
{
	CHECK_CL(clReleaseProgram(f->program));
	cl_close(&f->cl);
}

/* What the file has now, through a descriptor of its own. */
static char *contents(struct fixture *f)
{
	static char text[1 << 16];
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	text[0] = '\0';
	if (fd < 0)
		return text;
	n = read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	close(fd);
	return text;
}

static void launch(struct fixture *f, const char *name, const int *arg, size_t n)
{
	cl_kernel k = cltest_kernel(f->program, name);

	if (arg)
		cltest_arg(k, 0, sizeof(*arg), arg);
	cltest_launch(f->cl.q, k, n);
	CHECK_CL(clReleaseKernel(k));
}

/* Runs one kernel with stdout redirected and returns what it printed. */
static char *printed(struct fixture *f, const char *name, const int *arg, size_t n)
{
	char *text;

	redirect(f);
	launch(f, name, arg, n);
	CHECK_CL(clFinish(f->cl.q));
	fflush(stdout);
	text = contents(f);
	restore(f);
	return text;
}

static void test_formats(void)
{
	struct fixture f = open_fixture();
	char *text = printed(&f, "kinds", NULL, 1);

	if (strcmp(text, "-7|   42|42   |00042|ff|FF|10|4000000000\n"
			 "text|z|%|3.142|1.500000e+00|0.25\n"
			 "-1234567890123|-5\n"))
		FAIL("printed %s", text);
	close_fixture(&f);
}

static void test_vectors(void)
{
	struct fixture f = open_fixture();
	char *text;

	text = printed(&f, "vectors", NULL, 1);
	if (strcmp(text, "1,-2|3,4,5,ff\n"))
		FAIL("printed %s", text);
	close_fixture(&f);
}

/* Every work-item prints its own whole line exactly once. */
static void test_items(void)
{
	struct fixture f = open_fixture();
	int base = 100, seen[64] = {0}, n;
	char *text = printed(&f, "items", &base, 64), *line, *save = NULL;

	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		CHECK(sscanf(line, "item %d", &n) == 1);
		CHECK(n >= 100 && n < 164);
		seen[n - 100]++;
	}
	for (int i = 0; i < 64; i++)
		CHECK_EQ(seen[i], 1);
	close_fixture(&f);
}

static void test_much(void)
{
	struct fixture f = open_fixture();
	char *text = printed(&f, "much", NULL, 1), want[16000] = "", *end = want;

	for (int i = 0; i < 1000; i++)
		end += sprintf(end, "line %d\n", i);
	CHECK(!strcmp(text, want));
	close_fixture(&f);
}

/* Complete at the event of the very command, without a finish, and in queue order. */
static void test_before_event(void)
{
	struct fixture f = open_fixture();
	char want[2000] = "", *end = want;

	redirect(&f);
	for (int i = 0; i < 50; i++) {
		cl_kernel k = cltest_kernel(f.program, "hello");
		size_t one = 1;
		cl_event e;

		cltest_arg(k, 0, sizeof(i), &i);
		CHECK_CL(clEnqueueNDRangeKernel(f.cl.q, k, 1, NULL, &one, NULL, 0, NULL, &e));
		CHECK_CL(clFlush(f.cl.q));
		while (cltest_event_status(e) != CL_COMPLETE)
			sched_yield();
		end += sprintf(end, "hello %d\n", i);
		if (strcmp(contents(&f), want)) {
			restore(&f);
			FAIL("after command %d the text is not there", i);
		}
		CHECK_CL(clReleaseEvent(e));
		CHECK_CL(clReleaseKernel(k));
	}
	restore(&f);
	close_fixture(&f);
}

/* The kernel's text and the application's own stand in the order of the calls. */
static void test_order_with_host(void)
{
	struct fixture f = open_fixture();
	int n = 1;
	char *text;

	redirect(&f);
	printf("before\n");
	fflush(stdout);
	launch(&f, "hello", &n, 1);
	CHECK_CL(clFinish(f.cl.q));
	printf("after\n");
	fflush(stdout);
	text = contents(&f);
	restore(&f);
	if (strcmp(text, "before\nhello 1\nafter\n"))
		FAIL("printed %s", text);
	close_fixture(&f);
}

/* Many launches in flight; nothing is lost and the order is the queue's. */
static void test_async(void)
{
	struct fixture f = open_fixture();
	char want[4000] = "", *end = want, *text;

	redirect(&f);
	for (int i = 0; i < 200; i++) {
		launch(&f, "hello", &i, 1);
		end += sprintf(end, "hello %d\n", i);
	}
	CHECK_CL(clFinish(f.cl.q));
	fflush(stdout);
	text = contents(&f);
	restore(&f);
	CHECK(!strcmp(text, want));
	close_fixture(&f);
}

static const struct cltest tests[] = {
    TEST(formats),	TEST(vectors),	       TEST(items), TEST(much),
    TEST(before_event), TEST(order_with_host), TEST(async),
};

CLTEST_MAIN(tests)
